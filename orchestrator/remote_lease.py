"""Who works on a trial of an object store, where there is neither a lock nor a write on a condition.

Whoever asks writes a claim, the object `lock/<kind>.<key>.<its own id>`, and then lists them. It holds the trial if its
claim is the only one of the trial; otherwise it withdraws it and asks again a random moment later. Of two that ask
at once the one that wrote later sees the other's claim, so both may withdraw, but never both hold.

The holder writes its claim anew at each beat, with its progress. Whoever waits and has seen the same claim for
STALE_SECONDS, by its own monotonic clock (lease.Watch), removes it; a claim of a process of this machine that has died,
at once. A holder whose last beat is older than it may be, or whose claim is gone, has lost the trial for good:
`Claim.is_lost` says so within a beat, and ends the trial; `Claim.check` is asked before DONE is written.
"""

import contextlib
import json
import os
import random
import socket
import threading
import time
import uuid
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from orchestrator import lease
from orchestrator.lease import Holder, Watch, born
from orchestrator.objects import Objects

FOLDER = "lock"
LOOK_SECONDS = 1.0
"""The most that one waits between two looks; half of it on average."""
READERS = 8


class Claim:
    """This process's claim on a trial, `<kind>.<key>`. `progress` is asked at each beat."""

    def __init__(self, objects: Objects, trial: str, who: Mapping[str, Any], progress: Callable[[], Any]) -> None:
        self.objects, self.who, self.progress = objects, who, progress
        self.prefix = f"{FOLDER}/{trial}."
        self.name = self.prefix + uuid.uuid4().hex[:16]
        self.beat, self.begun, self.lost = 0, 0.0, False

    def check(self) -> None:
        """OSError when this process has lost the trial, or cannot be sure that it has not."""
        if not self.stands():
            raise OSError(f"{self.name}: the lease is lost, another process may work on the trial; it is tried again")

    def stands(self) -> bool:
        """Whether this process has the trial still, by a look at the store; a loss is for good. OSError where the store
        does not answer."""
        self.lost = self.lost or not self.is_fresh() or self.name not in self.all() or not self.is_fresh()
        return not self.lost

    def is_lost(self) -> bool:
        """As far as this process knows without a look: the last beat has found the claim gone, or is too old."""
        return self.lost or not self.is_fresh()

    def all(self) -> set[str]:
        """Names of all claims on the trial."""
        return {name for name in self.objects.names(FOLDER) if name.startswith(self.prefix)}

    def is_fresh(self) -> bool:
        """Whether the last beat is so young that nobody can have seen it as stale."""
        return time.monotonic() - self.begun < _limit()

    def write(self) -> None:
        """Writes the claim, which begins a beat."""
        begun = time.monotonic()
        said = {**self.who, "beat": self.beat, "progress": self.progress()}
        self.objects.write(self.name, json.dumps(said).encode())
        self.begun, self.beat = begun, self.beat + 1

    def renew(self) -> None:
        """The next beat. A claim that others have removed, or may have removed by now, is not written again."""
        if not self.stands():
            return
        before = self.begun
        self.write()
        if time.monotonic() - before > _limit():  # this process hung meanwhile, and wrote what others had removed
            self.lost = True
            self.withdraw()

    def withdraw(self) -> None:
        """Removes the claim."""
        self.objects.delete(self.name)


@contextlib.contextmanager
def hold(
    objects: Objects,
    trial: str,
    give_up: Callable[[], bool],
    node: str = "",
    sweep: str = "",
    progress: Callable[[], Any] = lambda: None,
    beaten: Callable[[], None] = lambda: None,
) -> Iterator[Claim]:
    """Holds a trial, `<kind>.<key>`. Waits while another live process holds it, until `give_up()`; then raises
    BlockingIOError. `beaten` is called after each beat, in a thread."""
    who = {"host": socket.gethostname(), "process": os.getpid(), "born": born(), "machine": machine()}
    claim = Claim(objects, trial, {**who, "node": node, "sweep": sweep}, progress)
    watches: defaultdict[str, Watch] = defaultdict(Watch)
    while not _granted(claim):
        if _swept(claim, watches):
            continue
        if give_up():
            raise BlockingIOError(f"{trial}: another live process works on this trial")
        time.sleep(random.uniform(0, LOOK_SECONDS))
    ended = threading.Event()
    beats = threading.Thread(target=_beat, args=(claim, beaten, ended), name="remote lease", daemon=True)
    beats.start()
    try:
        yield claim
    finally:
        ended.set()
        beats.join()
        with contextlib.suppress(OSError):  # the store does not answer: the claim will be stale
            claim.withdraw()


def holders(objects: Objects) -> dict[tuple[str, str], tuple[Holder, Any]]:
    """Who works on which trial now, by (kind, key), and its progress."""
    with ThreadPoolExecutor(READERS) as pool:
        names = objects.names(FOLDER)
        found = list(pool.map(objects.read, names))
    told: dict[tuple[str, str], tuple[Holder, Any]] = {}
    for (name, written), content in zip(names.items(), found, strict=True):
        kind, key, _ = (name.removeprefix(f"{FOLDER}/") + "..").split(".", 2)
        with contextlib.suppress(KeyError, TypeError, ValueError):
            said = json.loads(content or b"")
            seconds = max(0.0, time.time() - written / 1e9)
            process, begun, beat = int(said["process"]), int(said["born"]), int(said["beat"])
            by = Holder(str(said["host"]), process, begun, str(said["node"]), str(said["sweep"]), beat, seconds)
            if (kind, key) not in told or told[kind, key][0].beat < beat:  # others only ask
                told[kind, key] = by, said["progress"]
    return told


def machine() -> str:
    """Of two processes with one such name each can tell whether the other lives: the kernel's run and the namespace of
    process ids. Empty where there is no /proc."""
    with contextlib.suppress(OSError):
        return Path("/proc/sys/kernel/random/boot_id").read_text().strip() + os.readlink("/proc/self/ns/pid")
    return ""


def _limit() -> float:
    """Seconds since the beginning of the last beat within which nobody can have seen the claim as stale."""
    return lease.STALE_SECONDS - lease.BEAT_SECONDS


def _granted(claim: Claim) -> bool:
    """Asks once; a claim that is not granted is withdrawn."""
    if claim.all():  # nothing to ask for
        return False
    try:
        claim.write()
        granted = claim.all() == {claim.name} and claim.is_fresh()
    except BaseException:
        with contextlib.suppress(OSError):
            claim.withdraw()
        raise
    if not granted:
        claim.withdraw()
    return granted


def _swept(claim: Claim, watches: Mapping[str, Watch]) -> bool:
    """Removes the claims of those that are dead or show no beat; whether any was there."""
    over = []
    for name in claim.all():
        content = claim.objects.read(name)
        if content is not None and (watches[name].unchanged(content) or _is_dead(content, str(claim.who["machine"]))):
            over.append(name)
    claim.objects.delete(*over)
    return bool(over)


def _is_dead(content: bytes, here: str) -> bool:
    with contextlib.suppress(ValueError, KeyError, TypeError):
        said = json.loads(content)
        return bool(here) and said["machine"] == here and born(int(said["process"])) != said["born"]
    return False


def _beat(claim: Claim, beaten: Callable[[], None], ended: threading.Event) -> None:
    while not ended.wait(lease.BEAT_SECONDS):
        with contextlib.suppress(OSError):  # the store does not answer: the next beat may get through
            claim.renew()
        beaten()

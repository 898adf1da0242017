"""Who works on a trial: one live process at a time, on one machine or many.

The holder has an flock on the file `lock`, which the kernel drops when the process dies, however it dies: after a kill
nobody waits, and there is no stale lock to remove. While it lives, a thread writes {host, process, beat} into the file.
A process that hangs, or whose node is frozen or cut off, shows no beat although its flock stays. Whoever waits measures
by its own monotonic clock how long it has seen the same beat; no two clocks are compared, so one that jumps changes
nothing. After STALE_SECONDS it puts a lock of its own in the place of the old one. What the old holder may still do is
the caller's business (`Store.claim`): it gives each one who asks a folder, the fence, and removes those of others once
it holds the lock. A fence is made before the lock is tried for. So whoever moves files out of its fence or into it, and
changes nothing otherwise, fails from the moment on at which another has taken the lock over, wherever it was stopped.
"""

import contextlib
import fcntl
import json
import os
import socket
import threading
import time
import uuid
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

from orchestrator.reaper import fields

BEAT_SECONDS = 5.0
STALE_SECONDS = 30.0
"""Six beats: a busy disk or a short stop of the network is not an end."""
LOOK_SECONDS = 0.1
PAUSE_SECONDS = 1.0
"""The most that counts as one look's waiting."""


@dataclass(frozen=True)
class Holder:
    """Who has a lock, as the lock says."""

    host: str
    process: int
    born: int
    """When the process was started, in the kernel's ticks: ids are used again."""
    node: str
    """Ray's id of the node; empty outside Ray."""
    sweep: str
    """Which sweep's worker it is; empty outside one."""
    beat: int
    seconds: float
    """Since its last sign of life, by the clocks of this machine and of the storage: for people to read."""


@contextlib.contextmanager
def hold(
    path: Path, give_up: Callable[[], bool], node: str = "", sweep: str = "", fence: Path | None = None
) -> Iterator[None]:
    """Holds the lock `path`, whose folder exists. Waits while another live process holds it, until `give_up()`; then
    raises BlockingIOError. `fence`: a folder that has been there since before the lock was held."""
    watch = Watch()
    while (file := _fenced(path, watch, fence)) is None:
        if give_up():
            raise BlockingIOError(f"{path.parent}: another live process works on this trial")
        time.sleep(LOOK_SECONDS)
    ended = threading.Event()
    who = {"host": socket.gethostname(), "process": os.getpid(), "born": born(), "node": node, "sweep": sweep}
    beats = threading.Thread(target=_beat, args=(file, who, ended), name="lease", daemon=True)
    with file:
        _write(file, who, 0)
        beats.start()
        try:
            yield
        finally:
            ended.set()
            beats.join()
            with contextlib.suppress(OSError):  # a full disk; the lock is dropped all the same
                file.truncate(0)


@dataclass
class Watch:
    """How long one who waits has seen the same beat of the same lock."""

    seen: object = None
    last: float = 0.0
    waited: float = 0.0

    def stale(self, file: IO[bytes]) -> bool:
        """Whether the holder of an open lock file has shown no life for STALE_SECONDS in which this process looked: a
        pause of its own, or of the storage, in which nobody could beat or look, does not count."""
        file.seek(0)
        return self.unchanged((os.fstat(file.fileno()).st_ino, file.read()))

    def unchanged(self, sign: object) -> bool:
        """As `stale`, of a sign of life that the caller has read."""
        before, self.last = self.last, time.monotonic()
        self.waited = self.waited + min(self.last - before, PAUSE_SECONDS) if sign == self.seen else 0.0
        self.seen = sign
        return self.waited > STALE_SECONDS


def holder(path: Path) -> Holder | None:
    """Who wrote last into a lock; None when nobody did, or it was released."""
    try:
        said = json.loads(path.read_bytes())
        seconds = max(0.0, time.time() - path.stat().st_mtime)
        return Holder(
            str(said["host"]),
            int(said["process"]),
            int(said["born"]),
            str(said["node"]),
            str(said["sweep"]),
            int(said["beat"]),
            seconds,
        )
    except (OSError, ValueError, KeyError, TypeError):
        return None


def born(process: int | None = None) -> int:
    """When a process was started, this one unless given, in ticks since the machine was; 0 where there is none, or no
    /proc."""
    with contextlib.suppress(OSError):
        return int(fields(Path(f"/proc/{process or os.getpid()}/stat"))[19])
    return 0


def _fenced(path: Path, watch: Watch, fence: Path | None) -> IO[bytes] | None:
    """As _taken. Where the holder before has removed the fence, the lock is tried for again, with another one."""
    while True:
        if fence:
            fence.mkdir(exist_ok=True)
        file = _taken(path, watch)
        if not file or not fence or fence.is_dir():
            return file
        file.close()


def _taken(path: Path, watch: Watch) -> IO[bytes] | None:
    """The lock's file, locked; None when another process has it."""
    file = _open(path)
    if _locked(file):
        if _is_at(path, file):
            return file
        file.close()  # another took the lock over while this one waited
        return None
    with file:
        return _replaced(path, file) if watch.stale(file) else None


def _replaced(path: Path, stale: IO[bytes]) -> IO[bytes] | None:
    """A lock of this process in the place of a stale one; None when another process was faster."""
    with open(path.with_name(".lock"), "ab") as turn:  # one after the other: a few system calls long
        if not _locked(turn) or not _is_at(path, stale):
            return None
        for left in path.parent.glob(".lock.*"):  # by who died here: this process alone is at it
            left.unlink()
        new = path.with_name(f".lock.{uuid.uuid4().hex[:12]}")
        file = _open(new)
        _locked(file)
        os.replace(new, path)
        return file


def _open(path: Path) -> IO[bytes]:
    """A file to read and to write at any place, which is made where it is not there; who holds the lock closes it."""
    return os.fdopen(os.open(path, os.O_RDWR | os.O_CREAT, 0o666), "r+b", buffering=0)


def _locked(file: IO[bytes]) -> bool:
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _is_at(path: Path, file: IO[bytes]) -> bool:
    with contextlib.suppress(FileNotFoundError):
        return os.path.samestat(os.stat(path), os.fstat(file.fileno()))
    return False


def _beat(file: IO[bytes], who: Mapping[str, Any], ended: threading.Event) -> None:
    beat = 0
    while not ended.wait(BEAT_SECONDS):
        _write(file, who, beat := beat + 1)


def _write(file: IO[bytes], who: Mapping[str, Any], beat: int) -> None:
    with contextlib.suppress(OSError):  # a full disk, or storage that is away: the next beat may get through
        os.pwrite(file.fileno(), json.dumps({**who, "beat": beat}).encode().ljust(300), 0)
        if beat:
            os.fsync(file.fileno())  # or NFS would keep it from other machines for half a minute

"""A store in an object store: `runtime.storage: s3://bucket/prefix`.

    manifests.json  sources.json        as beside the trials of a folder
    <kind>/<key>/spec.json  attempts.jsonl  checkpoint/<inputs>/<step>-<digest>.pt
    <kind>/<key>/<seal>/record.json ... the results of one run of the trial; `seal` is the digest of its record
    done/<kind>/<key>                   what DONE says: status and seal. Written last; without it nothing is finished
    lock/<kind>.<key>.<id>              who works on a trial, or asks to (remote_lease.py)
    stop/<host>-<process>               a sweep's trials are asked to end

Two runs of one trial never write to one object, and DONE changes from one to the other in one step. Each node works on
a copy of its own, an ordinary folder below `runtime.cache`, and brings to it what it reads. A trial is finished in the
copy first, and then here; `.shared` in the copy holds the seal that was here, so that a finished trial which is only in
the copy can be told from one that has been reopened since.
"""

import contextlib
import functools
import hashlib
import json
import os
import shutil
import tempfile
import time
import uuid
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from orchestrator import lease, remote_lease, transfer
from orchestrator.disk import write_atomic
from orchestrator.fence import clear, discard, lost, place
from orchestrator.history import attempts, note_attempt, sound_attempt, sound_progress
from orchestrator.identity import Address, key
from orchestrator.objects import Objects
from orchestrator.spec import KINDS, Trial
from orchestrator.store import FINISHED, Damaged, Store
from orchestrator.transfer import AWAY, done_name

SHARED = ".shared"
THREADS = 8
LOOK_SECONDS = 5.0
"""The most that what is known of running trials is behind, besides a beat."""


def open_store(storage: str, cache: str) -> Store:
    """The store at a path, or this node's copy of one in an object store. `cache`: a grid's runtime.cache."""
    return _replica(storage, cache, os.getcwd()) if "://" in storage else Store(storage)


@functools.lru_cache(maxsize=8)
def _replica(storage: str, cache: str, place: str) -> "Replica":
    """One for all that a process does with it; `place` is what a relative path of the cache is relative to."""
    endpoint = os.environ.get("AWS_ENDPOINT_URL_S3") or os.environ.get("AWS_ENDPOINT_URL") or ""
    name = hashlib.sha256(json.dumps([storage, endpoint]).encode()).hexdigest()[:16]
    return Replica(storage, Path(place) / Path(os.path.expandvars(cache)).expanduser() / "stores" / name)


class Replica(Store):
    """This node's copy of a store in an object store."""

    ALLOWED = "a bucket that is there and that every node may read, write and list, and a cache with room"

    def __init__(self, storage: str, folder: Path) -> None:
        super().__init__(folder)
        self.storage, self.objects = storage, Objects(storage)
        self.claims: dict[Address, remote_lease.Claim] = {}
        """Of this process."""
        self.seen: dict[Address, tuple[lease.Holder, Any]] = {}
        self.looked = -LOOK_SECONDS
        self.stops: dict[str, bool] = {}
        """The requests to stop that are looked for, and whether they were seen."""
        self.checkpoints: dict[str, set[str]] = {}
        """By folder: checkpoints in the object store that go when a newer one of this process is there."""

    def __str__(self) -> str:
        return self.storage.partition("?")[0]

    @property
    def address(self) -> str:
        """By which other processes and nodes open this store."""
        return self.storage

    def bring_finished(self) -> None:
        """Brings all that is finished to the copy."""
        self.index()

    def index(self) -> dict[Address, str]:
        """As of a folder; brings all that is finished to the copy, and gives what was finished in the copy alone."""
        there = self._there()
        here = {address: status for address, status in super().index().items() if address not in there}
        for address, status in here.items():
            if status in FINISHED and not self._mark(*address):
                with contextlib.suppress(BlockingIOError), self.claim(*address):
                    there |= {address: 0} if self.status(*address) in FINISHED else {}
        with ThreadPoolExecutor(THREADS) as pool:
            found = dict(zip(there, pool.map(lambda address: self._look(address, there[address]), there), strict=True))
        return found | {address: status for address, status in here.items() if status == "failed"}

    def prepare(self, spec: Trial) -> Path:
        """As of a folder, and for all nodes."""
        folder = super().prepare(spec)
        self.objects.write(f"{spec.KIND}/{key(spec)}/spec.json", (folder / "spec.json").read_bytes())
        return folder

    @contextlib.contextmanager
    def probe(self) -> Iterator[str]:
        """The name of an object that is there for a moment. OSError where the store cannot be written to."""
        with super().probe() as name:
            try:
                self.objects.write(name, b"x")
                yield name
            finally:
                with contextlib.suppress(OSError):
                    self.objects.delete(name)

    def is_full(self, file: str) -> bool:
        """An object store has room; a full disk is that of this node alone."""
        return False

    def sees(self, probe: str) -> bool:
        """Whether the probe of another process is there."""
        return self.objects.read(probe) is not None

    def finish(self, work: Path, record: dict[str, Any], **attempt: Any) -> None:
        """Completes a trial in the copy, then in the object store. OSError where that does not answer, or another
        process has taken the lease."""
        super().finish(work, record, **attempt)
        self._push(record["kind"], record["key"])

    def reopen(self, kind: str, key: str, why: Callable[[], str], outcome: str = "damaged") -> bool:
        """As of a folder; the object store's DONE goes first."""
        with self._held(kind, key) as folder:
            there = self.objects.read(done_name((kind, key))) is not None
            if not (there or self.status(kind, key) in FINISHED) or not (reason := why()):
                return False
            self.objects.delete(done_name((kind, key)))
            self.objects.delete_folder(f"{kind}/{key}/checkpoint")
            discard(folder, self.own[kind, key])
            note_attempt(folder, outcome=outcome, note=reason)
            return True

    def size(self, kind: str, key: str) -> int:
        """Bytes of a trial in the object store."""
        return sum(self.objects.sizes(f"{kind}/{key}").values())

    def remove(self, kind: str, key: str) -> None:
        """Removes a trial from the object store and from this node's copy. Copies on other nodes are discarded when
        somebody looks at them."""
        with self._held(kind, key) as folder:
            self.objects.delete(done_name((kind, key)))
            self.objects.delete_folder(f"{kind}/{key}")
            clear(folder, self.own[kind, key])

    @contextlib.contextmanager
    def claim(
        self, kind: str, key: str, give_up: Callable[[], bool] = lambda: True, node: str = "", sweep: str = ""
    ) -> Iterator[Path]:
        """As of a folder, on all nodes. The copy is brought to what the object store has, or the other way round where
        only the copy is finished; a finished trial that is damaged in both is unfinished then."""
        with self._held(kind, key, give_up, node, sweep) as folder:
            try:
                self._settle(kind, key)
            except Damaged as damage:
                self.objects.delete(done_name((kind, key)))
                note_attempt(folder, outcome="damaged", note=str(damage))
            if self.status(kind, key) not in FINISHED and (spec := self.objects.read(f"{kind}/{key}/spec.json")):
                write_atomic(folder / "spec.json", spec.decode())
            yield folder

    def fetch(self, kind: str, key: str) -> None:
        """Brings the copy of a trial to what the object store has. Raises Damaged where that was damaged."""
        said = self.objects.read(done_name((kind, key)))
        if said != self._seal(kind, key) or (said is not None and self.away(kind, key)):
            with self._filled(kind, key):
                self._settle(kind, key, whole=True)

    def fetch_again(self, kind: str, key: str) -> bool:
        """Puts what the object store has in the place of a damaged copy; False where it has nothing."""
        said = self.objects.read(done_name((kind, key)))
        if said is not None:
            with self._filled(kind, key):
                self._pull(kind, key, said, whole=not self.away(kind, key))
        return said is not None

    def away(self, kind: str, key: str) -> frozenset[str]:
        """Files of a finished trial that the copy does without."""
        with contextlib.suppress(FileNotFoundError, ValueError):
            return frozenset(json.loads((self.folder(kind, key) / AWAY).read_text()))
        return frozenset()

    def audit(self, trials: Iterable[Address]) -> dict[Address, str]:
        """What is wrong with finished trials in the object store, every byte of which is read."""

        def look(address: Address) -> str:
            with tempfile.TemporaryDirectory(dir=self.root, prefix=".audit-") as folder:
                try:
                    if (said := self.objects.read(done_name(address))) is not None:
                        transfer.download(self.objects, address, said, Path(folder), whole=True)
                except Damaged as error:
                    return str(error)
            return ""

        return {address: fault for address in trials if (fault := look(address))}

    def give_again(self, kind: str, key: str) -> bool:
        """Puts the copy in the place of what the object store has, which is damaged; whether the copy was whole."""
        with self._held(kind, key):
            if self.status(kind, key) in FINISHED and not self.away(kind, key):
                with contextlib.suppress(Damaged):
                    self.objects.write(f"{kind}/{key}/spec.json", (self.folder(kind, key) / "spec.json").read_bytes())
                    self._push(kind, key)
                    return True
        return False

    def bring(self, name: str) -> None:
        """Brings a file beside the trials to the copy; where only the copy has it, gives it to all."""
        there, path = self.objects.read(name), self.root / name
        here = path.read_bytes() if path.exists() else None
        if there is None and here is not None:
            self.share(name)
        elif there is not None and there != here:
            self.root.mkdir(parents=True, exist_ok=True)
            write_atomic(path, there.decode(errors="replace"))

    def share(self, name: str) -> None:
        """Gives a file beside the trials to all nodes."""
        self.objects.write(name, (self.root / name).read_bytes())

    def bring_checkpoints(self, folder: Path) -> None:
        """Brings the newest checkpoint, unless the copy has one that is as new. Its name says what its bytes must be:
        whoever loads it looks."""
        there = sorted(self.objects.names(self._name(folder)))
        self.checkpoints[self._name(folder)] = set(there)
        here = sorted(path.name for path in folder.glob("*.pt"))
        if there and (not here or Path(there[-1]).name > here[-1]):
            folder.mkdir(parents=True, exist_ok=True)
            temporary = folder / f".{uuid.uuid4().hex}"
            if self.objects.download(there[-1], temporary):
                os.replace(temporary, folder / Path(there[-1]).name)

    def share_checkpoint(self, path: Path) -> None:
        """Keeps a checkpoint; those that were there before it, and only those, go when it is there. One who has lost
        the trial keeps none (`lost` ends it). Where the store does not answer the next one may get through: training
        goes on."""
        name, (kind, key) = self._name(path), path.relative_to(self.root).parts[:2]
        known = self.checkpoints.setdefault(self._name(path.parent), set())
        with contextlib.suppress(OSError):
            if not self.claims[kind, key].stands():
                return
            self.objects.upload(name, path)
            before = known - {name}
            known.add(name)
            if self.claims[kind, key].stands():
                self.objects.delete(*before)
                known -= before

    def lost(self, kind: str, key: str) -> bool:
        """Whether another process, on any node, may work on a trial that this process has claimed."""
        return self.claims[kind, key].is_lost()

    def holder(self, kind: str, key: str) -> lease.Holder | None:
        """Who works on a trial, on any node."""
        self._look_at_claims()
        return self.seen[kind, key][0] if (kind, key) in self.seen else None

    def progress(self, kind: str, key: str) -> dict[str, Any] | None:
        """Of a running trial, on any node."""
        self._look_at_claims()
        return self.seen[kind, key][1] if (kind, key) in self.seen else None

    def attempts(self, kind: str, key: str) -> list[dict[str, Any]]:
        """The history of a trial's attempts on all nodes, oldest first."""
        known: list[str] = []
        with contextlib.suppress(OSError):  # what is known here must do
            known = self._shared_history(kind, key)
        return [json.loads(line) for line in self._history(kind, key, known)]

    def note(self, kind: str, key: str, **what: Any) -> None:
        """Adds to a trial's history what its process could not say."""
        super().note(kind, key, **what)
        with contextlib.suppress(OSError):
            self._share_history(kind, key, self._history(kind, key, self._shared_history(kind, key)))

    def request_stop(self, name: str) -> None:
        """Asks a sweep's trials to end: those of this node at once."""
        super().request_stop(name)
        self.objects.write(f"stop/{name}", b"")

    def forget_stop(self, name: str) -> None:
        """Takes a request back."""
        super().forget_stop(name)
        self.objects.delete(f"stop/{name}")

    def stops_requested(self) -> set[str]:
        """Names of all requests."""
        return super().stops_requested() | {name.removeprefix("stop/") for name in self.objects.names("stop")}

    def stop_requested(self, name: str) -> bool:
        """Whether a sweep's trials are asked to end. The object store is asked the first time, and then at each beat of
        this process's leases: a trial does not wait for a store that does not answer."""
        if name not in self.stops:
            self.stops[name] = False
            self._look_for_stops()
        return self.stops[name] or super().stop_requested(name)

    def _look_for_stops(self) -> None:
        with contextlib.suppress(OSError):
            there = self.objects.names("stop") if self.stops else ()
            self.stops = {name: f"stop/{name}" in there for name in self.stops}

    def _there(self) -> dict[Address, int]:
        """All trials that are finished in the object store, with the time of their DONE by its clock."""
        parts = {tuple(name.split("/")): written for name, written in self.objects.names("done").items()}
        return {(part[1], part[2]): written for part, written in parts.items() if len(part) == 3 and part[1] in KINDS}

    def _look(self, address: Address, written: int) -> str:
        """The status of a trial that is finished in the object store, which the copy then has, unless it is damaged."""
        mark = self._mark(*address)
        if not mark or mark[1:] != [str(written)] or self.status(*address) not in FINISHED:
            with contextlib.suppress(Damaged):  # integrity.py tells of it, when it looks at the copy
                if self.objects.read(done_name(address)) != self._seal(*address):
                    with self._filled(*address):
                        self._settle(*address)
                write_atomic(self.folder(*address) / SHARED, f"{self._sealed(*address)} {written}")
        status = self.status(*address)
        return status if status in FINISHED else "done"

    @contextlib.contextmanager
    def _held(
        self, kind: str, key: str, give_up: Callable[[], bool] = lambda: True, node: str = "", sweep: str = ""
    ) -> Iterator[Path]:
        """This node's lease on the copy, and that on the trial."""
        self.folder(kind, key).mkdir(parents=True, exist_ok=True)
        beats = functools.partial(super().progress, kind, key), self._look_for_stops
        with (
            super().claim(kind, key, give_up, node, sweep) as folder,
            remote_lease.hold(self.objects, f"{kind}.{key}", give_up, node, sweep, *beats) as claim,
        ):
            self.claims[kind, key] = claim
            (folder / "progress.json").unlink(missing_ok=True)  # of an attempt that was killed
            known = self._shared_history(kind, key)
            if known:
                merged = "".join(f"{line}\n" for line in self._history(kind, key, known))
                write_atomic(folder / "attempts.jsonl", merged)
            try:
                yield folder
            finally:
                del self.claims[kind, key]
                self.stops.pop(key, None)
                if (now := self._history(kind, key, known)) != known:
                    with contextlib.suppress(OSError):  # of a store that does not answer: the next attempt tells
                        self._share_history(kind, key, now)

    @contextlib.contextmanager
    def _filled(self, kind: str, key: str) -> Iterator[None]:
        """This node's lease on the copy, which one who has the trial has already. However large a trial is, one who
        wants its copy waits for a process of this node that makes it; one that hangs loses the lease."""
        if (kind, key) in self.claims:
            yield
            return
        self.folder(kind, key).mkdir(parents=True, exist_ok=True)
        with super().claim(kind, key, give_up=lambda: False):
            yield

    def _settle(self, kind: str, key: str, whole: bool = False) -> None:
        """Brings copy and object store together, by one who has the lease on the copy."""
        there, here = self.objects.read(done_name((kind, key))), self._seal(kind, key)
        if there is not None and (there != here or (whole and self.away(kind, key))):
            self._pull(kind, key, there, whole)
        elif there is not None:
            self._set_mark(kind, key)
        elif here is not None and self._mark(kind, key):
            discard(self.folder(kind, key), self.own[kind, key])  # it was reopened
        elif here is not None and (kind, key) in self.claims:
            try:
                self._push(kind, key)
            except Damaged:
                discard(self.folder(kind, key), self.own[kind, key])

    def _push(self, kind: str, key: str) -> None:
        """Gives a trial that is finished in the copy, whose lease this process holds, to the object store."""
        transfer.upload(self.objects, (kind, key), self.folder(kind, key), self.claims[kind, key].check)
        self._set_mark(kind, key)

    def _pull(self, kind: str, key: str, said: bytes, whole: bool) -> None:
        """Puts a finished trial of the object store, whose DONE is `said`, in the place of what the copy has of it."""
        folder, own = self.folder(kind, key), self.own[kind, key]
        work = place(own)
        try:
            transfer.download(self.objects, (kind, key), said, work, whole)
            transfer.move_in(work, folder)
        except Damaged:
            discard(folder, own)
            raise
        except FileNotFoundError:
            if own.is_dir():
                raise
            raise lost(own) from None
        finally:
            shutil.rmtree(work, ignore_errors=True)
        self._set_mark(kind, key)

    def _seal(self, kind: str, key: str) -> bytes | None:
        """What the copy's DONE says; None where the copy is not finished."""
        with contextlib.suppress(FileNotFoundError, NotADirectoryError):
            return (self.folder(kind, key) / "DONE").read_bytes()
        return None

    def _sealed(self, kind: str, key: str) -> str:
        return self.seal(kind, key)[1]

    def _mark(self, kind: str, key: str) -> list[str]:
        """[seal, time of its DONE where that was seen], if the object store had what the copy has; else empty."""
        with contextlib.suppress(FileNotFoundError, NotADirectoryError):
            mark = (self.folder(kind, key) / SHARED).read_text().split()
            return mark if mark[:1] == [self._sealed(kind, key)] else []
        return []

    def _set_mark(self, kind: str, key: str) -> None:
        if not self._mark(kind, key):
            write_atomic(self.folder(kind, key) / SHARED, self._sealed(kind, key))

    def _shared_history(self, kind: str, key: str) -> list[str]:
        there = self.objects.read(f"{kind}/{key}/attempts.jsonl") or b""
        return there.decode(errors="replace").splitlines()

    def _history(self, kind: str, key: str, known: list[str]) -> list[str]:
        """Lines of the attempts that the object store knows, and of those here, oldest first."""
        here = [json.dumps(attempt) for attempt in attempts(self.folder(kind, key))]
        whole = {}
        for line in (*known, *here):
            if found := sound_attempt(line):
                whole[line] = float(found["time"])
        return sorted(whole, key=lambda line: whole[line])

    def _share_history(self, kind: str, key: str, lines: list[str]) -> None:
        self.objects.write(f"{kind}/{key}/attempts.jsonl", "".join(f"{line}\n" for line in lines).encode())

    def _look_at_claims(self) -> None:
        """Not more often than each few seconds. A store that does not answer says nothing about trials: then what was
        seen last counts as seen again, with a progress that is another, so that none of them seems to hang."""
        if time.monotonic() - self.looked < LOOK_SECONDS:
            return
        self.looked = time.monotonic()
        try:
            found = remote_lease.holders(self.objects)
            self.seen = {one: (by, sound_progress(at)) for one, (by, at) in found.items()}
        except OSError:
            unknown = {"step": 0, "steps": 0}
            self.seen = {one: (by, {**(at or unknown), "time": self.looked}) for one, (by, at) in self.seen.items()}

    def _name(self, path: Path) -> str:
        """The object's name of a path in the copy."""
        return path.relative_to(self.root).as_posix()

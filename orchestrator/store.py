"""The truth: a folder for each trial, `<root>/<kind>/<key>/`, in which `DONE` is written last.

    spec.json       resolved, each parent replaced by {kind, key}
    checkpoint/     what training needs to go on (removed when done)
    weights/        what children need
    scores.parquet  per-image scores;  curves.parquet  learning curves;  images/  restored images
    record.json     status, digests and sizes of files, digests of inputs, numbers, seconds, device, versions, attempts
    DONE            the status and the digest of record.json, moved in last: a folder without it is unfinished, whatever
                    else it holds

What a trial's process printed, if anything, is in `log.txt`, on the node that ran it. A trial that failed has
`attempts.jsonl` and no DONE. Whoever works on a trial holds the lease `lock` (lease.py) and has a `work.*` folder of
its own, which is older than its lease: results are written there, and moved when all of them have reached the disk, and
what is to be removed is moved there first. Whoever gets the lease removes the work folders of those before: a holder
that hung, lost its lease and goes on later, wherever it was, finds no place to write to, and no move of it can succeed.
"""

import contextlib
import hashlib
import json
import os
import shutil
import socket
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from orchestrator import disk, history, lease
from orchestrator.disk import NO_ROOM, remove, sha256, sync_folder, token, write_atomic
from orchestrator.fence import HELD, OWN, WORK, clear, discard, empty, is_work, leftovers, place, put_away
from orchestrator.history import note_attempt
from orchestrator.identity import Address, digest, key, spec_json
from orchestrator.spec import KINDS, Trial, parents

FINISHED = ("done", "diverged")
RETRY = "retry-"
"""Before a trial's key: the name of a request to run it again."""
BESIDE = (".probe-*", ".*.json.*", ".audit-*", ".restore-*")
"""What kills leave beside the trials."""


class Damaged(ValueError):
    """What a finished trial, or an object store's part of it, holds is not what was written."""


class Unseen(OSError):
    """This node does not see what the driver has prepared."""


class Store:
    """A folder of trials on a POSIX file system. Every read works while others write. Where nodes share no folder, it
    is a node's copy of what an object store has (remote.Replica)."""

    ALLOWED = "a folder that can be written, with room"
    """What a preflight asks of a store's place."""

    def __init__(self, root: str | Path) -> None:
        self.root = Path(root)
        self.own: dict[Address, Path] = {}
        """The work folder of each trial that this process holds."""

    @property
    def address(self) -> str:
        """By which other processes and nodes open this store."""
        return str(self.root.resolve())

    def folder(self, kind: str, key: str) -> Path:
        """Where the trial is or would be."""
        return self.root / kind / key

    def status(self, kind: str, key: str) -> str | None:
        """ "done" or "diverged" (both finished), "failed", or None when nothing is there or it is unfinished. A DONE
        with another word is that of a finished trial, too: integrity.py finds that it is damaged."""
        status = self.seal(kind, key)[0]
        return status if status in (*FINISHED, "failed", None) else "done"

    def seal(self, kind: str, key: str) -> tuple[str | None, str]:
        """The status as it is written, and of a finished trial the digest of its record, which older ones lack."""
        folder = self.folder(kind, key)
        with contextlib.suppress(FileNotFoundError, NotADirectoryError):
            status, _, digest = (folder / "DONE").read_text(errors="replace").partition("\n")
            return status.strip(), digest.strip()
        return ("failed" if (folder / "FAILED").exists() else None), ""

    def index(self) -> dict[tuple[str, str], str]:
        """(kind, key) -> status for all that is finished or failed, in one walk of the folders."""
        found = {}
        for kind in KINDS:
            with contextlib.suppress(FileNotFoundError), os.scandir(self.root / kind) as entries:
                for entry in entries:
                    if status := self.status(kind, entry.name):
                        found[kind, entry.name] = status
        return found

    def record(self, kind: str, key: str) -> dict[str, Any]:
        """`record.json`, parsed. FileNotFoundError when the trial has none."""
        return dict(json.loads((self.folder(kind, key) / "record.json").read_text()))

    def prepare(self, spec: Trial) -> Path:
        """Makes the trial's folder with its `spec.json` and returns it. OSError when the store cannot be written."""
        folder = self.folder(spec.KIND, key(spec))
        folder.mkdir(parents=True, exist_ok=True)
        content = spec_json(spec)
        with contextlib.suppress(FileNotFoundError):
            if (folder / "spec.json").read_bytes() == content.encode():
                content = ""
        if content:  # also in the place of a damaged one; whoever finishes the trial syncs it
            write_atomic(folder / "spec.json", content, sync=False)
        for stale in ("FAILED", "progress.json"):
            (folder / stale).unlink(missing_ok=True)
        return folder

    def check_writable(self) -> None:
        """OSError when the store cannot be written to."""
        with self.probe():
            pass

    def is_full(self, file: str) -> bool:
        """Whether the disk on which there is no room, for `file` where that is known, is the store's: of all nodes."""
        if file and Path(file).absolute().is_relative_to(self.root.absolute()):
            return True
        try:
            self.check_writable()
        except OSError as error:
            return error.errno in NO_ROOM
        return False

    @contextlib.contextmanager
    def probe(self) -> Iterator[str]:
        """The name of a file in the store that is there for a moment. OSError when the store cannot be written to."""
        self.root.mkdir(parents=True, exist_ok=True)
        probe = self.root / f".probe-{token()}"
        try:
            write_atomic(probe, "x")
            yield probe.name
        finally:
            probe.unlink(missing_ok=True)

    def sees(self, probe: str) -> bool:
        """Whether the probe of another process is there."""
        return (self.root / probe).exists()

    def __str__(self) -> str:
        return str(self.root)

    def fetch(self, kind: str, key: str) -> None:
        """Brings this node's copy of a trial, with all files, to what all nodes share. A folder is shared itself."""

    def fetch_again(self, kind: str, key: str) -> bool:
        """Puts what all nodes share in the place of this node's copy, which is damaged; whether that was possible.
        Raises Damaged where what they share is damaged, too."""
        return False

    def away(self, kind: str, key: str) -> frozenset[str]:
        """Files of a finished trial that this node's copy does without: nobody has asked for them here."""
        return frozenset()

    def audit(self, trials: Iterable[Address]) -> dict[Address, str]:
        """What is wrong with finished trials in what all nodes share, byte by byte, where this is no folder."""
        return {}

    def give_again(self, kind: str, key: str) -> bool:
        """Puts this node's copy in the place of what all nodes share, which is damaged; whether the copy was whole.
        Raises BlockingIOError while a live process works on the trial."""
        return False

    def bring_finished(self) -> None:
        """Brings this node's copy of all finished trials to what all nodes share, but for files `away`."""

    def bring(self, name: str) -> None:
        """Brings this node's copy of a file beside the trials to what all nodes share."""

    def share(self, name: str) -> None:
        """Gives a file beside the trials, as this process has written it, to all nodes."""

    def bring_checkpoints(self, folder: Path) -> None:
        """Brings the newest checkpoint of a trial, whose lease this process holds, to its folder of checkpoints."""

    def share_checkpoint(self, path: Path) -> None:
        """Keeps a checkpoint of a trial, whose lease this process holds, where other nodes find it."""

    def lost(self, kind: str, key: str) -> bool:
        """Whether another process may work by now on a trial that this process has claimed, which is then to end."""
        return not self.own[kind, key].is_dir()

    def holder(self, kind: str, key: str) -> lease.Holder | None:
        """Who works on a trial, or did when it was killed."""
        return lease.holder(self.folder(kind, key) / "lock")

    def progress(self, kind: str, key: str) -> dict[str, Any] | None:
        """{time, step, steps, ...} of a running trial, and what else runner.Said knows of it; None when it has not
        started or has ended."""
        with contextlib.suppress(OSError):
            return history.sound_progress(history.parsed((self.folder(kind, key) / "progress.json").read_bytes()))
        return None

    def attempts(self, kind: str, key: str) -> list[dict[str, Any]]:
        """The history of a trial's attempts on all nodes, oldest first."""
        return history.attempts(self.folder(kind, key))

    def note(self, kind: str, key: str, **what: Any) -> None:
        """Adds to a trial's history what its process could not say."""
        note_attempt(self.folder(kind, key), **what)

    def request_stop(self, name: str) -> None:
        """Asks those who look for `name`, a sweep's trials or the one of this key, to save a checkpoint and end; with
        RETRY before a key, the sweep for which that trial has failed to run it again."""
        (self.root / "stop").mkdir(parents=True, exist_ok=True)
        (self.root / "stop" / name).touch()

    def forget_stop(self, name: str) -> None:
        """Takes a request back, where there is one."""
        (self.root / "stop" / name).unlink(missing_ok=True)

    def stops_requested(self) -> set[str]:
        """Names of all requests."""
        with contextlib.suppress(FileNotFoundError):
            return set(os.listdir(self.root / "stop"))
        return set()

    def stop_requested(self, name: str) -> bool:
        """Whether a sweep's trials, or one trial, are asked to end."""
        return (self.root / "stop" / name).exists()

    def workspace(self, kind: str, key: str) -> Path:
        """An empty folder for the results of a trial whose lease this process holds and that is not finished. What an
        attempt before it has moved out of its own is removed; its checkpoint stays. BlockingIOError when another
        process has taken the lease."""
        folder, own = self.folder(kind, key), self.own[kind, key]
        for name in os.listdir(folder):
            if name.startswith(".progress.") or (name not in OWN and not name.startswith((".", WORK))):
                put_away(folder / name, own)
        empty(own)
        place(own, HELD)
        return place(own)

    def finish(self, work: Path, record: dict[str, Any], **attempt: Any) -> None:
        """Completes a trial: the files in its workspace reach the disk, their digests `record.json`, all is moved to
        the trial's folder, DONE last. Only then is its checkpoint removed: a kill before DONE costs no training.
        `attempt` is noted of the one that ends here. FileNotFoundError when another process has taken the lease."""
        own, folder = work.parent, work.parents[1]
        os.rmdir(own / HELD)
        ended = {"time": round(time.time(), 3), "outcome": record["status"], **attempt}
        record["attempts"] = [*history.attempts(folder), ended]
        record["spec"] = sha256(folder / "spec.json", sync=True)
        record["files"] = {path: sha256(work / path, sync=True) for path in data_files(work)}
        record["bytes"] = {path: (work / path).stat().st_size for path in record["files"]}
        content = json.dumps(record, indent=1) + "\n"
        disk.write(work / "record.json", content)
        disk.write(work / "DONE", done(record["status"], content))
        for inside in {above for path in record["files"] for above in Path(path).parents} - {Path(".")}:  # moved below
            sync_folder(work / inside)
        for part in sorted({Path(path).parts[0] for path in record["files"]}):
            os.rename(work / part, folder / part)
        os.replace(work / "record.json", folder / "record.json")
        sync_folder(folder)
        os.replace(work / "DONE", folder / "DONE")
        sync_folder(folder)
        note_attempt(folder, **ended)
        with contextlib.suppress(OSError):
            for path in leftovers(folder):
                put_away(path, own)

    def inputs(self, parents: Mapping[str, Mapping[str, str]]) -> dict[str, str]:
        """Digest of each parent's files as they are now, by role; `parents` as in a record."""
        return {role: self.content(self.record(parent["kind"], parent["key"])) for role, parent in parents.items()}

    @staticmethod
    def content(record: dict[str, Any]) -> str:
        """Digest of all files of a finished trial, from its record."""
        return hashlib.sha256(json.dumps(record.get("files", {}), sort_keys=True).encode()).hexdigest()

    def reopen(self, kind: str, key: str, why: Callable[[], str], outcome: str = "damaged") -> bool:
        """Makes a finished trial an unfinished one, without results and checkpoints, if `why()`, asked when nobody else
        can change it, still gives a reason; whether it did. Its history then ends with `outcome`. Raises
        BlockingIOError while a live process works on it."""
        with self.claim(kind, key) as folder:
            if self.status(kind, key) not in FINISHED or not (reason := why()):
                return False  # another process was faster
            discard(folder, self.own[kind, key])
            note_attempt(folder, outcome=outcome, note=reason)
            return True

    def size(self, kind: str, key: str) -> int:
        """Bytes of all files of a trial."""
        return sum(path.stat().st_size for path in self.folder(kind, key).rglob("*") if path.is_file())

    def remove(self, kind: str, key: str) -> None:
        """Removes a trial with all its files. Raises BlockingIOError while a live process works on it."""
        with self.claim(kind, key) as folder:
            clear(folder, self.own[kind, key])

    def leftovers(self, kind: str, key: str) -> list[Path]:
        """What a kill after DONE, or a holder that had hung, has left in a finished trial's folder: nobody needs it."""
        return leftovers(self.folder(kind, key))

    def tidy(self, finished: Iterable[Address]) -> int:
        """Removes the leftovers of finished trials that no live process holds, and what kills a day ago or earlier have
        left beside the trials; returns how many trials had some."""
        for path in (path for pattern in BESIDE for path in self.root.glob(pattern)):
            with contextlib.suppress(FileNotFoundError):  # whoever made it was alive, and is done with it
                if time.time() - path.stat().st_mtime > 86_400:
                    remove(path)
        untidy = [address for address in finished if self.leftovers(*address)]
        for address in untidy:
            with contextlib.suppress(BlockingIOError), self.claim(*address):
                pass
        return len(untidy)

    def fail(self, kind: str, key: str, reason: str) -> None:
        """Marks a trial failed. Its attempts and their tracebacks are in `attempts.jsonl`; the next sweep retries."""
        if self.status(kind, key) in FINISHED:
            return  # another sweep's worker has done it
        write_atomic(self.folder(kind, key) / "FAILED", reason + "\n")

    @contextlib.contextmanager
    def claim(
        self,
        kind: str,
        key: str,
        give_up: Callable[[], bool] = lambda: True,
        node: str = "",
        sweep: str = "",
    ) -> Iterator[Path]:
        """Holds the trial's folder for this process. Waits while another live process holds it, until `give_up()`;
        then raises BlockingIOError, as where this process hung here and lost it. Work folders of those who held it
        before are gone, and the leftovers of a finished trial. `node`, `sweep`: for those who look at the lease
        (lease.Holder). Raises Unseen where nobody has prepared it."""
        folder = self.folder(kind, key)
        if not folder.is_dir():  # on a node that joined after the others were asked
            raise Unseen(
                f"node {socket.gethostname()} does not see runtime.storage, {self.root}: allowed is a folder on "
                "storage that every node has at the same path; mount it there, or take the node out of the cluster"
            )
        own = folder / f"{WORK}{token()}"
        try:
            with lease.hold(folder / "lock", give_up, node, sweep, own):
                for name in os.listdir(folder):
                    if is_work(name):  # it may belong to a holder that has only hung
                        put_away(folder / name, own)
                for path in self.leftovers(kind, key) if self.status(kind, key) in FINISHED else ():
                    put_away(path, own)
                empty(own)
                self.own[kind, key] = own
                try:
                    yield folder
                finally:
                    del self.own[kind, key]
        finally:
            shutil.rmtree(own, ignore_errors=True)


def identity_record(spec: Trial) -> dict[str, Any]:
    """The part of a record that follows from the spec alone: kind, key, whole digest, digest of `spec.json`, parents by
    role."""
    by_role = {role: {"kind": parent.KIND, "key": key(parent)} for role, parent in parents(spec)}
    written = hashlib.sha256(spec_json(spec).encode()).hexdigest()
    return {"kind": spec.KIND, "key": key(spec), "digest": digest(spec), "spec": written, "parents": by_role}


def done(status: str, record: str) -> str:
    """What DONE holds for the text of a record."""
    return f"{status}\n{hashlib.sha256(record.encode()).hexdigest()}\n"


def data_files(folder: Path) -> list[str]:
    """Relative paths of a trial's results: everything but the store's own bookkeeping and the checkpoint."""
    files = (path.relative_to(folder) for path in folder.rglob("*") if path.is_file())
    return sorted(
        str(path)
        for path in files
        if path.parts[0] not in OWN and not path.parts[0].startswith((".", WORK)) and not path.name.startswith(".")
    )

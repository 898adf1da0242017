"""Runs one prepared trial in the process that calls it, and leaves its record in the store.

Imports the workers only when a trial runs: the driver knows this module too.
"""

import hashlib
import json
import os
import socket
import time
import traceback
from collections.abc import Callable, Mapping
from contextlib import ExitStack, redirect_stderr, redirect_stdout, suppress
from functools import partial
from pathlib import Path
from typing import Any

from orchestrator import integrity
from orchestrator.disk import NO_ROOM
from orchestrator.history import Printed, note_attempt, note_progress
from orchestrator.lease import STALE_SECONDS
from orchestrator.manifests import SOURCES
from orchestrator.remote import open_store
from orchestrator.spec import decode
from orchestrator.store import FINISHED, Damaged, Store

PATIENCE_SECONDS = STALE_SECONDS + 15.0
"""How long a worker, with all that it reserves, waits for a trial that another driver's worker holds: long enough to
see whether that one hangs."""


FULL = "no room"
"""Status of a trial that found the store full."""
LOST = "its lease is lost: it gave no sign of life for too long, and another process may work on it"

Heard = Callable[[Mapping[str, Any]], None]


def run_trial(config: Mapping[str, Any], hear: Heard = lambda said: None) -> str:
    """Runs one prepared trial in this process: done, diverged, interrupted, held by another driver's worker (from the
    beginning, or after this one lost its lease), `without input`: the files of one are damaged, which is unfinished
    now, or `no room`: the store is full. Other exceptions are noted in the trial's history and raised again, so that
    Tune retries. `hear` takes what is said of its progress, as store.progress gives it."""
    store = open_store(config["store"], config["cache"])
    try:
        return _run(config, store, hear)
    except OSError as error:
        if _is_full(store, error):  # from the beginning
            return FULL
        raise


def _run(config: Mapping[str, Any], store: Store, hear: Heard) -> str:
    kind, key = config["kind"], config["key"]
    stopped, since = partial(store.stop_requested, config["stop"]), time.monotonic()
    cancelled = NowAndThen(partial(store.stop_requested, key))
    store.bring(SOURCES)

    def impatient() -> bool:
        return stopped() or time.monotonic() - since > PATIENCE_SECONDS

    from workers import trial  # before the lease: the first import takes seconds without a sign of progress
    from workers.context import Interrupted

    with ExitStack() as held:
        try:
            who = config.get("node", ""), config.get("sweep", "")
            folder = held.enter_context(store.claim(kind, key, impatient, *who))
            if (status := store.status(kind, key)) in FINISHED:
                return str(status)  # another driver was faster
            work = store.workspace(kind, key)
        except BlockingIOError:
            return "interrupted" if stopped() else "held"
        started = {"host": socket.gethostname(), "process": os.getpid(), "node": config.get("node", "")}
        note_progress(folder, 0, 0)
        note_attempt(folder, outcome="started", **started)
        try:
            if damaged := _damaged_inputs(store, config["identity"]["parents"]):
                note_attempt(folder, outcome="without input", note=damaged, **started)
                return "without input"
            inputs = store.inputs(config["identity"]["parents"])  # as they are read, not as they will be
            made_of = hashlib.sha256(json.dumps(inputs, sort_keys=True).encode()).hexdigest()[:16]
            checkpoints = folder / "checkpoint" / made_of
            store.bring_checkpoints(checkpoints)
            said, printed = Said(folder, config["device"], hear), Printed(folder)
            lost = NowAndThen(partial(store.lost, kind, key))
            context = _context(config, store, work, checkpoints, said, lambda: stopped() or cancelled() or lost())
            said.measured = context.measured
            with redirect_stdout(printed), redirect_stderr(printed):
                record = trial.run(_spec(folder, config["identity"]["spec"]), context)
            whole = {**config["identity"], **record, "inputs": inputs, "provenance": config["provenance"]}
            store.finish(work, whole, **started)
        except Interrupted as stop:
            outcome, note = ("held", LOST) if store.lost(kind, key) else ("interrupted", str(stop))
            note_attempt(folder, outcome=outcome, note=note, **started)
            return outcome
        except Exception as error:
            if store.lost(kind, key):
                note_attempt(folder, outcome="held", note=LOST, **started)
                return "held"
            if isinstance(error, OSError) and _is_full(store, error):  # asked while what filled it is there
                return FULL
            note_attempt(folder, outcome="error", traceback=traceback.format_exc(), **started)
            raise
        return str(record["status"])


def _is_full(store: Store, error: OSError) -> bool:
    """Whether an error says that a disk is full, and it is that of the store."""
    return error.errno in NO_ROOM and store.is_full(os.fsdecode(error.filename or ""))


def _spec(folder: Path, digest: str) -> Any:
    """What the trial is. ValueError where `spec.json` is another's: its results would be taken for this trial's."""
    content = (folder / "spec.json").read_bytes()
    if hashlib.sha256(content).hexdigest() != digest:
        raise ValueError(f"{folder}/spec.json is damaged: not the one of this key; it is written again next time")
    return decode(json.loads(content))


def _damaged_inputs(store: Store, parents: Mapping[str, Mapping[str, str]]) -> str:
    """What is wrong with the inputs of a trial, every byte of which is looked at; empty where nothing is. Damaged ones
    are unfinished from now on: the next round of the sweep runs them again."""
    for parent in parents.values():
        with suppress(Damaged):  # told below
            store.fetch(parent["kind"], parent["key"])
    found = integrity.faults(store, [(parent["kind"], parent["key"]) for parent in parents.values()], deep=True)
    integrity.reopen(store, found)
    return "; ".join(f"{kind}/{key}: {fault}" for (kind, key), fault in found.items())


class NowAndThen:
    """Asks a question once a second at most; a yes stands."""

    def __init__(self, ask: Callable[[], bool]) -> None:
        self.ask, self.asked, self.answer = ask, time.monotonic(), False

    def __call__(self) -> bool:
        if not self.answer and time.monotonic() - self.asked > 1.0:
            self.asked, self.answer = time.monotonic(), self.ask()
        return self.answer


PEAKS = {"host_bytes": "host", "gpu_bytes": "device"}
"""What a trial says of its memory, by its names in workers.trial.peak_bytes."""


class Said:
    """Says how far a trial is and how fast it goes, in its folder and to who listens in this process."""

    def __init__(self, folder: Path, device: str, hear: Heard) -> None:
        self.folder, self.device, self.hear = folder, device, hear
        self.measured: Mapping[str, float] = {}
        """What the trial measures of itself (Context.measured)."""
        self.last: tuple[float, float, int] | None = None
        """When it last said something, by the monotonic clock, the processor's seconds, and its step then."""

    def __call__(self, step: int, steps: int, values: Mapping[str, float]) -> None:
        from workers.trial import peak_bytes

        now, busy, before = time.monotonic(), time.process_time(), self.last
        self.last = now, busy, step
        peak = peak_bytes(self.device)
        more: dict[str, Any] = {"values": dict(values)} if values else {}
        more |= {name: peak[where] for name, where in PEAKS.items() if where in peak}
        if before and now > before[0]:
            more["cpus"] = (busy - before[1]) / (now - before[0])
            if step > before[2]:  # the first time it may have gone on from a checkpoint
                more["per_second"] = (step - before[2]) / (now - before[0])
        if "seconds_waiting" in self.measured:
            more["seconds_waiting"] = self.measured["seconds_waiting"]
        note_progress(self.folder, step, steps, **more)
        self.hear({"step": step, "steps": steps, **more})


def _context(
    config: Mapping[str, Any], store: Store, work: Path, checkpoints: Path, report: Said, stop: Callable[[], bool]
) -> Any:
    """`checkpoints` is named by the trial's inputs: one that was trained with others is none of this trial's."""
    from workers import sources
    from workers.context import Context

    parents = config["identity"]["parents"]
    return Context(
        inputs={role: store.folder(parent["kind"], parent["key"]) for role, parent in parents.items()},
        out=work,
        checkpoints=checkpoints,
        key=config["key"],
        device=config["device"],
        count_flops=config.get("rehearsal", False),
        sources=sources.read(store.root / SOURCES, Path(os.path.expandvars(config["cache"])).expanduser()),
        checkpoint_seconds=config["checkpoint_seconds"],
        report=report,
        should_stop=stop,
        keep=store.share_checkpoint,
    )

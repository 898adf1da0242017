"""Runs one prepared trial in the process that calls it, and leaves its record in the store.

Imports the workers only when a trial runs: the driver knows this module too.
"""

import json
import os
import socket
import traceback
from collections.abc import Mapping
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from orchestrator.manifests import SOURCES
from orchestrator.spec import decode, parents
from orchestrator.store import FINISHED, Store, note_attempt, note_progress


def run_trial(config: Mapping[str, Any]) -> str:
    """Runs one prepared trial in this process: done, diverged or interrupted. Exceptions are noted in the trial's
    history and raised again, so that Tune retries."""
    store, kind, key = Store(config["store"]), config["kind"], config["key"]
    with ExitStack() as held:
        try:
            folder = held.enter_context(store.claim(kind, key, give_up=Path(config["stop"]).exists))
        except BlockingIOError:  # stopped while another driver's worker holds the trial
            return "interrupted"
        if (status := store.status(kind, key)) in FINISHED:
            return str(status)  # another driver was faster
        from workers import trial
        from workers.context import Interrupted

        started = {"host": socket.gethostname(), "process": os.getpid()}
        note_progress(folder, 0, 0)
        note_attempt(folder, outcome="started", **started)
        try:
            inputs = store.inputs(config["identity"]["parents"])  # as they are read, not as they will be
            record = trial.run(*_spec_and_context(config, store, folder))
        except Interrupted as stop:
            note_attempt(folder, outcome="interrupted", note=str(stop), **started)
            return "interrupted"
        except Exception:
            note_attempt(folder, outcome="error", traceback=traceback.format_exc(), **started)
            raise
        note_attempt(folder, outcome=record["status"], **started)
        store.finish(kind, key, {**config["identity"], **record, "inputs": inputs, "provenance": config["provenance"]})
        return str(record["status"])


def _spec_and_context(config: Mapping[str, Any], store: Store, folder: Path) -> tuple[Any, Any]:
    from workers import sources
    from workers.context import Context

    spec = decode(json.loads((folder / "spec.json").read_text()))
    return spec, Context(
        inputs={role: store.folder(parent.kind, parent.key) for role, parent in parents(spec)},
        out=folder,
        key=config["key"],
        device=config["device"],
        count_flops=config.get("rehearsal", False),
        sources=sources.read(store.root / SOURCES, Path(os.path.expandvars(config["cache"])).expanduser()),
        checkpoint_seconds=config["checkpoint_seconds"],
        report=lambda step, steps, values: note_progress(folder, step, steps),
        should_stop=Path(config["stop"]).exists,
    )

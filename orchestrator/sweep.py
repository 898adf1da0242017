"""The verb `sweep`: plan, run what is to do, mirror, check the machinery, aggregate."""

import hashlib
import json
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

from rich.console import Console

from orchestrator import checks, cost, matrix, naming, plan, show
from orchestrator.grid import load
from orchestrator.identity import key
from orchestrator.ready import ReadyQueue
from orchestrator.sections import Grid
from orchestrator.spec import TRAINING_KINDS
from orchestrator.store import Store, write_atomic

EXIT_DONE, EXIT_INCOMPLETE, EXIT_USAGE, EXIT_INTERRUPTED = 0, 1, 2, 130
PROGRESS_SECONDS = 10.0
LAST_SWEEP = Path("results/last_sweep")


class Sweep:
    """A grid, its plan against the store, and where its results go."""

    def __init__(self, file: Path) -> None:
        """Raises GridError for a wrong grid."""
        self.file = file
        self.grid: Grid = load(file)
        self.store = Store(self.grid.runtime.storage)
        self.study = matrix.expand(self.grid)
        self.plan, self.names = self.replan()
        self.results = Path("results") / self.grid.name

    def replan(self) -> tuple[plan.Plan, dict[str, str]]:
        """The plan against the store as it is now, and readable names of its trials."""
        index = self.store.index()
        specs = [label.spec for label in self.study.labels]
        finished = ((spec, key(spec)) for spec in specs if (spec.KIND, key(spec)) in index)
        costs = cost.Costs.from_store(self.store, finished)
        planned = plan.build(specs, index, costs.seconds)
        plan.explain(planned, self.study.labels)
        return planned, naming.names(self.study.labels, (node.spec for node in planned.nodes.values()))

    def digest(self) -> str:
        """Fingerprint of the planned trials and their states: equal digests have equal tables."""
        states = sorted((name, node.status) for name, node in self.plan.nodes.items())
        return hashlib.sha256(json.dumps(states).encode()).hexdigest()

    def identity(self) -> str:
        """Fingerprint of the planned trials alone: it names the sweep's parent run."""
        return hashlib.sha256(json.dumps(sorted(self.plan.nodes)).encode()).hexdigest()[:16]


def run(file: Path, out: Console) -> int:
    """Runs the sweep of a grid file and returns the exit code. Raises GridError for a wrong grid and OSError for a
    store that cannot be written."""
    sweep = Sweep(file)
    sweep.store.check_writable()
    sweep.results.mkdir(parents=True, exist_ok=True)
    write_atomic(LAST_SWEEP, f"{file}\n")
    show.plan(out, sweep.grid.name, sweep.study.cells, sweep.plan, sweep.names, why=False)
    stamp = sweep.results / "sweep.json"
    if not sweep.plan.to_do() and _stamped(stamp, sweep.digest()):
        out.print(f"nothing to do: every trial is finished and {sweep.results}/report.html is up to date")
        return EXIT_DONE
    code = _run_trials(sweep, out) if sweep.plan.to_do() else _mirror_only(sweep, out)
    sweep.plan, _ = sweep.replan()
    if code == EXIT_INTERRUPTED:
        return code
    _check(sweep, out)
    _aggregate(sweep, out)
    if code == EXIT_DONE:
        write_atomic(stamp, json.dumps({"digest": sweep.digest()}) + "\n")
    return code


def _run_trials(sweep: Sweep, out: Console) -> int:
    from orchestrator import schedule  # imports ray, which a finished sweep does not need

    mirror = _mirror(sweep)
    for node in sweep.plan.nodes.values():
        if node.status in ("done", "diverged"):
            mirror.add(node)
    stop = schedule.Stop(sweep.store.root / "stop" / f"{sweep.identity()}")
    stop.file.unlink(missing_ok=True)
    with ExitStack() as while_running:

        def started(address: str, queue: ReadyQueue) -> None:
            _announce(sweep, address, out)
            while_running.enter_context(show.Progress(out, queue, sweep.store, sweep.names, PROGRESS_SECONDS))

        def ended(node: plan.Node, status: str) -> None:
            if status in ("done", "diverged"):
                mirror.add(node)

        while_running.enter_context(_signals(stop))
        listener = schedule.Listener(started, ended)
        outcome = schedule.run(sweep.plan, sweep.store, sweep.grid.runtime, stop, _provenance(), listener)
    states = set(outcome.queue.state.values())
    incomplete = bool(states & {"failed", "blocked"})
    mirror.close("KILLED" if outcome.interrupted else "FAILED" if incomplete else "FINISHED")
    _tell_faults(mirror, out)
    if outcome.fault:
        raise outcome.fault
    show.outcome(out, sweep.plan, outcome.queue, outcome.tracebacks, sweep.names)
    if outcome.interrupted:
        out.print(f"interrupted: what is done is kept; go on with: make sweep GRID={sweep.file}")
        return EXIT_INTERRUPTED
    return EXIT_INCOMPLETE if incomplete else EXIT_DONE


def _mirror_only(sweep: Sweep, out: Console) -> int:
    """All trials are finished, but a kill may have cut the mirror or the tables short."""
    mirror = _mirror(sweep)
    for node in sweep.plan.nodes.values():
        if node.status in ("done", "diverged"):
            mirror.add(node)
    mirror.close("FINISHED")
    _tell_faults(mirror, out)
    return EXIT_DONE


def _mirror(sweep: Sweep) -> Any:
    from orchestrator.tracking import Mirror

    tags = {"sweep": sweep.identity(), "grid": str(sweep.file), "labels": sweep.study.label_kind}
    return Mirror(sweep.grid.runtime.tracking, sweep.grid.name, sweep.store, sweep.names, tags)


def _tell_faults(mirror: Any, out: Console) -> None:
    if mirror.faults:
        out.print(f"[yellow]MLflow was not filled[/] ({mirror.faults[0]}); nothing is lost, the next sweep fills it")


def _announce(sweep: Sweep, address: str, out: Console) -> None:
    tracking = sweep.grid.runtime.tracking
    out.print(f"Ray dashboard: {address}")
    out.print("MLflow: make mlflow" + ("" if "://" in tracking else f"  (reads {tracking})"))


def _check(sweep: Sweep, out: Console) -> None:
    trained = [node for node in sweep.plan.nodes.values() if node.kind in TRAINING_KINDS and node.status == "done"]
    show.checks(out, checks.machinery(sweep.store.record(node.kind, node.key) for node in trained))


def _aggregate(sweep: Sweep, out: Console) -> None:
    from orchestrator.aggregate.__main__ import aggregate  # imports pandas and matplotlib

    aggregate(sweep.file, sweep.results, out)


def _stamped(stamp: Path, digest: str) -> bool:
    try:
        return (stamp.parent / "report.html").exists() and json.loads(stamp.read_text())["digest"] == digest
    except (OSError, ValueError, KeyError):
        return False


def _provenance() -> dict[str, Any]:
    """Commit of the code, and whether it was changed since; None where there is no repository."""
    root = Path(__file__).parent.parent

    def git(*arguments: str) -> str | None:
        try:
            return subprocess.run(
                ["git", "-C", str(root), *arguments], capture_output=True, text=True, check=True
            ).stdout.strip()
        except (OSError, subprocess.CalledProcessError):
            return None

    commit, changes = git("rev-parse", "HEAD"), git("status", "--porcelain", "--untracked-files=no")
    return {"git_commit": commit, "git_dirty": None if changes is None else bool(changes)}


@contextmanager
def _signals(stop: Any) -> Iterator[None]:
    """First Ctrl-C or SIGTERM: running trials save a checkpoint and end. Second: stop now."""

    def handle(number: int, frame: object) -> None:
        if stop.requested:
            raise KeyboardInterrupt
        stop.request()
        print("\nstopping: running trials save a checkpoint; once more to stop at once", file=sys.stderr, flush=True)

    before = {number: signal.signal(number, handle) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)

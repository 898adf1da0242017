"""The verb `sweep`: plan, run what is to do, mirror, check the machinery, aggregate."""

import hashlib
import json
import os
import shutil
import subprocess
from collections import Counter
from contextlib import ExitStack
from functools import partial
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.markup import escape

from orchestrator import checks, cost, integrity, matrix, naming, plan, preflight, show
from orchestrator.composing import RAN
from orchestrator.disk import write_atomic
from orchestrator.driving import Addresses, Listener, Stop, forget_dead, stop_name
from orchestrator.forecast import Forecast, forecast, memory_faults, shares
from orchestrator.grid import LAST_SWEEP, RESULTS, GridError, load
from orchestrator.identity import Address, key
from orchestrator.interrupts import EXIT_INTERRUPTED, draining
from orchestrator.manifests import Manifests, requests
from orchestrator.matrix import FACTORS
from orchestrator.mirrored import public
from orchestrator.progress import Progress, Tally
from orchestrator.ready import ReadyQueue
from orchestrator.remote import open_store
from orchestrator.sections import Grid
from orchestrator.spec import KINDS, TRAINING_KINDS
from orchestrator.store import FINISHED, RETRY
from orchestrator.work import Work

EXIT_DONE, EXIT_INCOMPLETE, EXIT_USAGE = 0, 1, 2
EXIT_AGAIN = -1
"""Within a sweep: another round is due."""
MOST_ROUNDS = 12
"""A disk that damages what is written to it would ask for ever more."""
COST = "cost.json"
"""In a grid's results: what its rehearsal measured."""
TOKEN_HINT = "  (if it asks for a token: .venv/bin/ray get-auth-token)"


class Sweep:
    """A grid, its plan against the store, and where its results go."""

    def __init__(self, file: Path) -> None:
        """Raises GridError for a wrong grid."""
        self.file = file
        self.grid: Grid = load(file)
        self.store = open_store(self.grid.runtime.storage, self.grid.runtime.cache)
        self.results = RESULTS / self.grid.name
        self.manifests = Manifests.of(self.store)
        self.study = matrix.expand(self.grid, self.manifests)
        self.plan, self.names = self.replan()
        if self.grid.runtime.gpus == "measured":
            runtime = self.grid.runtime.model_copy(update={"gpus": shares(self.plan, self.costs)})
            self.grid = self.grid.model_copy(update={"runtime": runtime})
        self.stamp = self.results / "sweep.json"

    def replan(self) -> tuple[plan.Plan, dict[str, str]]:
        """The plan against the store as it is now, and readable names of its trials."""
        index = self.store.index()
        specs = [label.spec for label in self.study.labels]
        finished = [
            (spec, partial(self.store.record, spec.KIND, key(spec)))
            for spec in specs
            if (spec.KIND, key(spec)) in index
        ]
        work = Work(self.manifests.found.values())
        self.costs = cost.Costs(work, self.rehearsed(), self.grid.runtime.gpus_of)
        self.costs.learn(finished)
        planned = plan.build(specs, index, self.costs.seconds)
        there = [(node.kind, node.key) for node in planned.nodes.values() if node.status in FINISHED]
        self.damaged = integrity.faults(self.store, there)
        if self.damaged:
            whole = {address: status for address, status in index.items() if address not in self.damaged}
            planned = plan.build(specs, whole, self.costs.seconds)
            for (_, name), fault in self.damaged.items():
                planned.nodes[name].why = f"damaged or stale: {fault}"
        plan.explain(planned, self.study.labels)
        return planned, naming.names(self.study.labels, (node.spec for node in planned.nodes.values()))

    def rehearsed(self) -> cost.Rehearsed:
        """What the last rehearsal of this grid measured; empty without one."""
        try:
            return cost.Rehearsed.from_json((self.results / COST).read_bytes())
        except (FileNotFoundError, ValueError):
            return cost.Rehearsed()  # absent, damaged or of another version: costs a forecast, not the plan

    def forecast(self) -> Forecast | None:
        """What is to do will cost, where the grid was rehearsed."""
        return forecast(self.plan, self.costs, self.grid.runtime)

    def basis(self) -> str:
        """What the plan's seconds are of."""
        rehearsed = self.costs.rehearsed
        if self.costs.measured:
            return "one trial at a time, at the speed of those that are finished"
        if not rehearsed.rates or not self.reserves_gpus():
            return "one core"
        return "one GPU" if rehearsed.gpu_bytes else "one GPU, the middle of a wide range"

    def reserves_gpus(self) -> bool:
        """Whether trials of any kind do."""
        return any(map(self.grid.runtime.gpus_of, KINDS))

    def unresolved(self) -> Counter[str]:
        """How many data sets, weights and judges no preflight has looked at."""
        kinds = {"data": "data sets", "judge": "judges"}
        unknown = (one for one in requests(self.grid) if one.key not in self.manifests.found)
        return Counter(kinds.get(one.kind, "weights") for one in unknown)

    def digest(self) -> str:
        """Fingerprint of all that the tables follow from: what each label stands for, and how its trial ended."""
        rows = [
            [key(label.spec), *(getattr(label, name) for name in FACTORS), label.role, label.family, label.baseline]
            for label in self.study.labels
        ]
        states = [(name, node.status) for name, node in self.plan.nodes.items()]
        layout = [self.study.losses, self.study.discriminators, self.grid.seeds, self.study.label_kind]
        return hashlib.sha256(json.dumps([rows, states, layout]).encode()).hexdigest()

    def identity(self) -> str:
        """Fingerprint of the planned trials alone: it names the sweep's parent run."""
        return hashlib.sha256(json.dumps(sorted(self.plan.nodes)).encode()).hexdigest()[:16]


def run(file: Path, out: Console) -> int:
    """Runs the sweep of a grid file and returns the exit code. Raises GridError for a wrong grid or a store that cannot
    be written, and OSError when the disk fills up later."""
    sweep = looked_over(file, out)
    sweep.results.mkdir(parents=True, exist_ok=True)
    altered = sweep.results / RAN
    if os.path.realpath(file) != os.path.realpath(altered):
        altered.unlink(missing_ok=True)  # of a sweep before, which is not what runs now
    write_atomic(LAST_SWEEP, f"{file}\n")
    sweep.store.tidy((node.kind, node.key) for node in sweep.plan.nodes.values() if node.status in FINISHED)
    forget_dead(sweep.store)
    show.plan(out, sweep.grid.name, sweep.study.cells, sweep.plan, sweep.names, why=False, basis=sweep.basis())
    if not sweep.plan.to_do() and _is_up_to_date(sweep):
        out.print(f"nothing to do: every trial is finished and {sweep.results}/report.html is up to date")
        return EXIT_DONE
    for last in (False, True):
        code, mirror = _run_rounds(sweep, out)
        if code == EXIT_INTERRUPTED:
            _tell_faults(mirror, out)
            return code
        _check(sweep, out)
        damaged = _aggregate(sweep, out)
        mirror.publish(sweep.results)
        _tell_faults(mirror, out)
        if not damaged:
            break
        if last:
            code = EXIT_INCOMPLETE
            break
        _reopen(sweep, damaged, out)
        sweep.plan, _ = sweep.replan()
    if code == EXIT_DONE and not mirror.faults:
        write_atomic(sweep.stamp, json.dumps({"digest": sweep.digest()}) + "\n")
    return code


def looked_over(file: Path, out: Console, offline: bool = True) -> Sweep:
    """The sweep of a grid file whose data sets, weights and judges are all in order, with their contents resolved.
    Raises GridError with one line for each fault."""
    sweep = Sweep(file)
    findings = preflight.check(sweep.grid, sweep.store, say=out.print, offline=offline)
    told = sweep.forecast()
    faults = [*findings.faults, *(memory_faults(told, sweep.grid.runtime) if told else ())]
    if faults:
        lines = [f"{file}: {fault}" for fault in faults]
        if any("missing weights" in fault for fault in faults):
            lines.append(f"{file}: weights that are missing: make prefetch GRID={file}, where there is a network")
        raise GridError("\n".join(lines))
    free = shutil.disk_usage(sweep.store.root).free
    if told and told.disk_bytes > free:
        need = f"about {told.disk_bytes / 1e9:,.0f} GB, {sweep.store.root} has {free / 1e9:,.0f} GB free"
        out.print(f"[yellow]little room[/]: the sweep will write {need}; finished trials survive a full disk")
    return Sweep(file) if findings.looked_at else sweep


def _run_rounds(sweep: Sweep, out: Console) -> tuple[int, Any]:
    """(exit code, mirror). As a rule one round. Another where a trial found an input damaged that looked whole, where
    a damaged trial came back with other bits, as it may under `fast` (its children are stale then), and where a
    trial was retried when the round was about to end."""
    for last in reversed(range(MOST_ROUNDS)):
        _reopen(sweep, sweep.damaged, out)
        mirror = mirror_of(sweep, sweep.grid.runtime.tracking)
        code = _run_trials(sweep, mirror, out) if sweep.plan.to_do() else _mirror_only(mirror)
        before = sweep.damaged
        sweep.plan, _ = sweep.replan()
        if code == EXIT_INTERRUPTED:
            return code, mirror
        if not sweep.plan.to_do():  # also where another sweep has done what failed here
            return EXIT_DONE, mirror
        if code == EXIT_INCOMPLETE:
            return code, mirror
        if last == 0 or (code == EXIT_DONE and sweep.damaged == before):  # a bad disk, or another driver holds them
            break
    out.print(f"{len(sweep.plan.to_do())} trials are unfinished again: damaged, and another sweep has them, or what is")
    out.print(f"written to {sweep.store} comes back other than it was; next: make sweep GRID={sweep.file}")
    return EXIT_INCOMPLETE, mirror


def _reopen(sweep: Sweep, damaged: dict[Address, str], out: Console) -> None:
    for (kind, name), fault in damaged.items():
        out.print(f"[yellow]runs again[/]: {kind}/{name}: {fault}")
    integrity.reopen(sweep.store, damaged)


def _run_trials(sweep: Sweep, mirror: Any, out: Console) -> int:
    from orchestrator import schedule  # imports ray, which a finished sweep does not need

    stop = Stop(sweep.store, stop_name(os.getpid()))
    for name in sweep.store.stops_requested():
        node = sweep.plan.nodes.get(name.removeprefix(RETRY))
        unheard = node and name.startswith(RETRY) and node.status in FINISHED  # asked since it was planned
        if (node and not unheard) or name == stop.name:  # of a killed driver of this number
            sweep.store.forget_stop(name)
    with ExitStack() as while_running:

        def started(addresses: Addresses, queue: ReadyQueue) -> None:
            while_running.enter_context(draining(stop))  # again: Ray has put a handler of its own in the place of ours
            _announce(sweep, addresses, out)
            mirror.running = lambda: [queue.nodes[name] for name in sorted(queue.running.copy())]
            tally = Tally(queue, sweep.store, sweep.names, sweep.grid.runtime.gpus_of)
            while_running.enter_context(Progress(out, tally))

        def ended(node: plan.Node, status: str) -> None:
            if status in ("done", "diverged"):
                mirror.add(node)

        while_running.enter_context(draining(stop))
        listener = Listener(started, ended, lambda line: out.print(f"[yellow]{escape(line)}[/]"))
        outcome = schedule.run(
            sweep.plan, sweep.store, sweep.grid.runtime, stop, provenance(), listener, sweep.grid.name, sweep.names
        )
    states = set(outcome.queue.state.values())
    incomplete = bool(states - {"done", "diverged", "not applicable"})
    mirror.close("KILLED" if outcome.interrupted else "FAILED" if incomplete else "FINISHED")
    if outcome.fault:
        raise outcome.fault
    show.outcome(out, sweep.plan, outcome.queue, outcome.tracebacks, sweep.names)
    if outcome.interrupted:
        out.print(f"interrupted: what is done is kept; go on with: make sweep GRID={sweep.file}")
        return EXIT_INTERRUPTED
    for node in outcome.again:
        out.print(f"again: {node.kind} {node.key}, as was asked for")
    if outcome.again or "without input" in states:
        return EXIT_AGAIN
    return EXIT_INCOMPLETE if incomplete else EXIT_DONE


def _mirror_only(mirror: Any) -> int:
    """All trials are finished, but a kill may have cut the mirror or the tables short, or the grid's words changed."""
    mirror.close("FINISHED")
    return EXIT_DONE


def mirror_of(sweep: Sweep, place: str) -> Any:
    """A mirror at `place` that has been given all that is finished already: it writes only what MLflow lacks."""
    from orchestrator.tracking import Mirror

    made = {name: str(value) for name, value in provenance().items()}
    tags = {"sweep": sweep.identity(), "grid": str(sweep.file), "labels": sweep.study.label_kind, **made}
    weights, levels = sweep.grid.runtime.tracked_weights, naming.tags(sweep.study.labels)
    mirror = Mirror(place, sweep.grid.name, sweep.store, sweep.names, tags, levels, weights)
    for node in sweep.plan.nodes.values():
        if node.status in ("done", "diverged"):
            mirror.add(node)
    return mirror


def _tell_faults(mirror: Any, out: Console) -> None:
    if mirror.faults:
        out.print(f"[yellow]MLflow was not filled[/] ({mirror.faults[0]}); nothing is lost, the next sweep fills it")


def _announce(sweep: Sweep, addresses: Any, out: Console) -> None:
    tracking = sweep.grid.runtime.tracking
    out.print(f"Ray dashboard: {addresses.dashboard}" + (TOKEN_HINT if "//127." in addresses.dashboard else ""))
    for address in addresses.metrics[:1]:
        more = f" and of {len(addresses.metrics) - 1} more nodes" if len(addresses.metrics) > 1 else ""
        out.print(f"metrics: {address}{more}")
    out.print(f"MLflow: {public(tracking)}" if "://" in tracking else f"MLflow: make mlflow TRACKING={tracking}")


def _check(sweep: Sweep, out: Console) -> None:
    trained = [node for node in sweep.plan.nodes.values() if node.kind in TRAINING_KINDS and node.status == "done"]
    show.checks(out, checks.machinery(sweep.store.record(node.kind, node.key) for node in trained))


def _aggregate(sweep: Sweep, out: Console) -> dict[Address, str]:
    """Builds tables and report; returns the finished trials that turned out to be damaged when all was read."""
    from orchestrator.aggregate.__main__ import aggregate  # imports pandas and matplotlib

    return integrity.faults(sweep.store, aggregate(sweep.file, sweep.results, out).unusable, deep=True)


def _is_up_to_date(sweep: Sweep) -> bool:
    """Whether tables, report and mirror were made from just what is in the store now."""
    links = sweep.store.root / "mlflow" / f"{sweep.grid.name}.json"
    made = [sweep.results / "report.html", sweep.results / "tables", links]
    if "://" not in sweep.grid.runtime.tracking:
        made.append(Path(sweep.grid.runtime.tracking))
    try:
        return all(path.exists() for path in made) and json.loads(sweep.stamp.read_text())["digest"] == sweep.digest()
    except (OSError, ValueError, KeyError, TypeError, RecursionError):
        return False


def provenance() -> dict[str, Any]:
    """Commit of the code, and whether it was changed since (docs/, where figures are noted, is no code); None where
    there is no repository."""
    root = Path(__file__).parent.parent

    def git(*arguments: str) -> str | None:
        try:
            return subprocess.run(
                ["git", "-C", str(root), *arguments], capture_output=True, text=True, check=True
            ).stdout.strip()
        except (OSError, subprocess.CalledProcessError):
            return None

    commit, changes = git("rev-parse", "HEAD"), git("status", "--porcelain", "-uno", "--", ".", ":!docs")
    return {"git_commit": commit, "git_dirty": None if changes is None else bool(changes)}

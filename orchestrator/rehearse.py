"""The verb `rehearse`: proves that a grid's whole graph would run, and measures what it costs, without its data.

Every distinct shape of trial runs once, for a few steps, with its real architectures and through the real scheduler, on
generated stand-ins of the data sets and (where none are there) random weights in the released formats. Then the tables
are built from what came out. The figures mean nothing; that there are some does.
"""

import json
import shutil
import subprocess
import sys
import tempfile
import time
from collections import Counter
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rich.console import Console

from orchestrator import cost, cost_table, fetching, matrix, naming, plan, preflight, schedule, show
from orchestrator.disk import write_atomic
from orchestrator.driving import Addresses, Listener, Outcome, Stop
from orchestrator.grid import RESULTS, GridError, load
from orchestrator.identity import key
from orchestrator.interrupts import EXIT_INTERRUPTED, draining
from orchestrator.manifests import Manifests, Request, requests
from orchestrator.progress import Progress, Tally
from orchestrator.ready import ReadyQueue
from orchestrator.sections import Grid
from orchestrator.shrink import shrink, side
from orchestrator.spec import Judging, Restoration, SuperResolution, Trial
from orchestrator.store import Store
from orchestrator.sweep import COST, EXIT_DONE, EXIT_INCOMPLETE, Sweep, provenance
from orchestrator.work import Work

FOLDER = RESULTS / "rehearsal"


@dataclass
class Found:
    """What of a grid's needs is on this machine."""

    answers: dict[Request, dict[str, Any]]
    """Of weights and judges: what `workers.prefetch` said."""

    def judges(self) -> set[str]:
        """Judges that can be had."""
        return {one.name for one, answer in self.answers.items() if one.kind == "judge" and not answer["fault"]}

    def missing(self) -> list[Request]:
        """Weights that stand-ins must take the place of."""
        return [one for one, answer in self.answers.items() if one.kind != "judge" and answer["fault"]]


def run(file: Path, out: Console, keep: bool = False) -> int:
    """Rehearses a grid file, writes `results/<grid>/cost.json` and `cost.md`, and returns the exit code. With `keep`
    its own store, data and weights stay in results/rehearsal/<grid>/. Raises GridError for a wrong grid."""
    started = time.monotonic()
    grid = load(file)
    folder = FOLDER / grid.name
    shutil.rmtree(folder, ignore_errors=True)
    on_gpu = bool(preflight.gpu_bytes())
    found = _look(grid, out)
    small = shrink(grid, folder.absolute(), found.judges(), on_gpu)
    store = Store(small.runtime.storage)
    _write_stand_ins(grid, small, found, store, on_gpu, out)
    findings = preflight.check(small, store, say=lambda text: None)
    if findings.faults:
        raise GridError("\n".join(f"rehearsal: {fault}" for fault in findings.faults))
    study = matrix.expand(small, Manifests.read(store.root))
    planned, names = _plan(study)
    out.print(f"[bold]{grid.name}[/]: {_told(study, planned)}")
    outcome = _run_trials(planned, store, small, names, out)
    if outcome.fault:
        raise outcome.fault
    show.outcome(out, planned, outcome.queue, outcome.tracebacks, names)
    if outcome.interrupted:
        out.print(f"interrupted: a rehearsal begins anew; next: make rehearse GRID={file}", markup=False)
        return EXIT_INTERRUPTED
    target = RESULTS / grid.name / COST
    target.parent.mkdir(parents=True, exist_ok=True)
    rehearsed = measure(planned, store, Manifests.read(store.root))
    write_atomic(target, json.dumps(rehearsed.to_json(), indent=1) + "\n")
    _aggregate(small, folder, out)
    _tell_costs(Sweep(file), rehearsed, out)
    failed = Counter(outcome.queue.state.values())["failed"]
    if not keep and not failed:
        shutil.rmtree(folder)
    verdict = f"[red]{failed} trials failed[/]; their folders are in {store.root}" if failed else "[green]passed[/]"
    out.print(f"rehearsal of {grid.name}: {verdict} in {show.duration(time.monotonic() - started)}")
    return EXIT_INCOMPLETE if failed else EXIT_DONE


def _look(grid: Grid, out: Console) -> Found:
    wanted = [one for one in requests(grid) if one.kind != "data"]
    answers = dict(zip(wanted, fetching.ask(wanted, offline=True), strict=True)) if wanted else {}
    found = Found(answers)
    for request, answer in answers.items():
        if answer["fault"] and request.kind == "judge":
            out.print(f"left out: judge {request.name}: {answer['fault']}", markup=False)
    for request in found.missing():
        out.print(f"random weights stand in for {request.words}", markup=False)
    return found


def _write_stand_ins(grid: Grid, small: Grid, found: Found, store: Store, on_gpu: bool, out: Console) -> None:
    """Writes data and weights, and the manifests of the weights: those of the data come from a preflight."""
    root = store.root.parent
    manifests = Manifests()
    suffixes = {one: ".pth" if one.settings else ".safetensors" for one in found.missing()}  # as they are released
    files = {one: root / "weights" / f"{i}{suffix}" for i, (one, suffix) in enumerate(suffixes.items())}
    data = [one for one in requests(small) if one.kind == "data"]
    asked = {
        "side": side(grid, found.judges(), on_gpu),
        "data": [{"layout": one.layout, "folders": one.folders, "scale": one.scale if one.low else 0} for one in data],
        "weights": [{"model": _model(one), "file": str(file), "settings": one.settings} for one, file in files.items()],
    }
    out.print(f"writing stand-ins of {len(data)} data sets and {len(files)} weights files")
    with tempfile.TemporaryDirectory(prefix="stand-ins-") as scratch:
        request = Path(scratch, "request.json")
        request.write_text(json.dumps(asked))
        ended = subprocess.run(
            [sys.executable, "-m", "workers.stand_ins", str(request)], capture_output=True, text=True
        )
        if ended.returncode:
            raise RuntimeError(f"workers.stand_ins ended with {ended.returncode}:\n{ended.stderr[-4000:]}")
    stand_ins = [Request("file", _model(one), str(file), settings=one.settings) for one, file in files.items()]
    answers = dict(zip(files, fetching.ask(stand_ins, offline=True), strict=True)) if files else {}
    for one, answer in {**found.answers, **answers}.items():
        if not answer["fault"]:
            fetching.record(manifests, one, answer, stand_in=one in files)
    manifests.write(store.root)


def _model(request: Request) -> str:
    """The model, in a grid's words, that a request for weights is for."""
    if request.kind == "file":
        return request.name
    return f"{request.kind}/{request.name}" + (f".{request.tag}" if request.kind == "timm" and request.tag else "")


def _plan(study: matrix.Study) -> tuple[plan.Plan, dict[str, str]]:
    """One trial of each shape with all that it depends on; and, for the tables, each training's images of one test set,
    judged."""
    chosen: dict[str, Trial] = {}
    for node in plan.build((label.spec for label in study.labels), {}, lambda spec: 0.0).nodes.values():
        chosen.setdefault(cost.shape(node.spec), node.spec)
    trained = {key(trial) for trial in chosen.values() if isinstance(trial, SuperResolution)}
    judged = [label for label in study.labels if label.role == "judging" and label.family and not label.baseline]
    first = judged[0].data_set if judged else ""
    shown = [label.spec for label in judged if label.data_set == first and _generator(label.spec) in trained]
    planned = plan.build([*chosen.values(), *shown], {}, lambda spec: 1.0)  # few steps: building networks takes most
    return planned, naming.names(study.labels, (node.spec for node in planned.nodes.values()))


def _generator(judging: Trial) -> str:
    """Key of the training whose images a trial judges; empty for bicubic."""
    assert isinstance(judging, Judging)
    restored = judging.restoration
    made = restored.super_resolution if isinstance(restored, Restoration) else None
    return key(made) if isinstance(made, SuperResolution) else ""


def _told(study: matrix.Study, planned: plan.Plan) -> str:
    kinds = ", ".join(f"{counts.total()} {kind}" for kind, counts in planned.counts().items() if counts.total())
    return f"{len(planned.nodes)} trials stand for every shape of the {study.cells} cells: {kinds}"


def _run_trials(planned: plan.Plan, store: Store, grid: Grid, names: dict[str, str], out: Console) -> Outcome:
    stop = Stop(store, "rehearsal")
    with ExitStack() as while_running:

        def started(addresses: Addresses, queue: ReadyQueue) -> None:
            while_running.enter_context(draining(stop))  # again: Ray has put a handler of its own in the place of ours
            while_running.enter_context(Progress(out, Tally(queue, store, names, grid.runtime.gpus_of)))

        while_running.enter_context(draining(stop))
        listener = Listener(started, lambda node, status: None, lambda line: out.print(line, markup=False))
        return schedule.run(
            planned, store, grid.runtime, stop, provenance(), listener, grid.name, names, rehearsal=True
        )


def measure(planned: plan.Plan, store: Store, manifests: Manifests) -> cost.Rehearsed:
    """Rates by shape, from the records of a rehearsal."""
    work = Work(manifests.found.values())
    rehearsed = cost.Rehearsed()
    for node in planned.nodes.values():
        if store.status(node.kind, node.key) != "done":
            continue
        record = store.record(node.kind, node.key)
        stored = sum(file.stat().st_size for file in store.folder(node.kind, node.key).rglob("*") if file.is_file())
        rehearsed.rates.setdefault(cost.shape(node.spec), rate(node.spec, record, stored, work))
        rehearsed.device = record["device"]
    rehearsed.gpu_bytes = max(preflight.gpu_bytes(), default=0)
    return rehearsed


def rate(spec: Trial, record: dict[str, Any], stored: int, work: Work) -> cost.Rate:
    """What a pixel of work costs. A training's steps are timed by themselves; of all else only operations grow with the
    work, since on a tiny data set nearly all seconds go into building networks. Images take room by the pixel."""
    amount, measured = max(work.of_steps(spec), 1.0), record["measured"]
    training = getattr(spec, "training", None)
    steps = training.steps + getattr(training, "discriminator_warmup", 0) if training else 0
    in_steps = measured.get("seconds_per_step", 0.0) * steps
    flops = measured.get("flops_per_step", 0.0) * steps or measured.get("flops", 0.0)
    return cost.Rate(
        seconds=in_steps / amount,
        step=measured.get("seconds_per_step", 0.0),
        overhead=max(0.0, record["seconds"] - in_steps),
        flops=flops / amount,
        bytes=stored / (amount if isinstance(spec, Restoration) else 1),
        peak_bytes=record["peak_bytes"],
    )


def _aggregate(grid: Grid, folder: Path, out: Console) -> None:
    from orchestrator.aggregate.__main__ import aggregate_grid  # imports pandas and matplotlib

    quiet = Console(quiet=True)
    summary = aggregate_grid(grid, folder / "tables-and-report", quiet)
    out.print(
        f"aggregated: {summary.done} of {summary.planned} trials of the small grid stand in its tables and report"
    )


def _tell_costs(sweep: Sweep, rehearsed: cost.Rehearsed, out: Console) -> None:
    """What the grid itself will cost, and a table of all shapes in a file."""
    peak = max((max(rate.peak_bytes.values(), default=0) for rate in rehearsed.rates.values()), default=0)
    table = sweep.results / COST.replace(".json", ".md")
    write_atomic(table, cost_table.markdown(sweep.grid.name, sweep.plan, sweep.costs))
    out.print(f"{len(rehearsed.rates)} shapes measured, the largest in {peak / 1e9:.1f} GB: {table}")
    if told := sweep.forecast():
        show.forecast(out, told)

"""What a plan will cost on GPUs: hours, longest path, makespan, disk and memory, from a rehearsal's rates. Pure."""

import math
from collections import Counter
from dataclasses import dataclass

from orchestrator.cost import Costs, shape
from orchestrator.makespan import Job, makespan
from orchestrator.plan import Node, Plan
from orchestrator.sections import Runtime
from orchestrator.spec import KINDS, Restoration

CLUSTERS = (1, 8, 64, 256)
"""GPUs for which a makespan is told."""
HEADROOM = 1.25
"""Of a trial's peak memory, for what an allocator fragments."""

Range = tuple[float, float]
"""(least, most); equal where it was measured on a GPU."""


@dataclass(frozen=True)
class Forecast:
    """Of the trials to do whose shapes were rehearsed."""

    device: str
    on_gpu: bool
    trials: int
    unknown: Counter[str]
    """Trials of each kind whose shape was not rehearsed: they are counted nowhere else."""
    gpu_hours: dict[str, Range]
    """By kind: seconds x the GPUs that a trial reserves."""
    longest_path: Range
    """Hours of the longest chain of trials."""
    makespan: dict[int, Range]
    """Hours on that many GPUs."""
    disk_bytes: float
    fractions: dict[str, float]
    """By kind: the part of a GPU's memory that its largest trial needs; empty where no GPU was rehearsed on."""


def forecast(plan: Plan, costs: Costs, runtime: Runtime) -> Forecast | None:
    """The forecast of what is to do in `plan`; None without a rehearsal, when nothing is to do, or where no
    trial reserves a GPU."""
    rehearsed = costs.rehearsed
    if not rehearsed.rates:
        return None
    nodes = {node.key: node for node in plan.to_do()}
    bounds: dict[str, Range] = {}
    for name, node in nodes.items():
        work = costs.work.of(node.spec)
        if (seconds := costs.measured.get(shape(node.spec))) is not None:
            bounds[name] = (seconds * work, seconds * work)
        elif (found := rehearsed.gpu_seconds(node.spec, work)) is not None:
            bounds[name] = found
    if not any(runtime.gpus_of(nodes[name].kind) for name in bounds):
        return None
    hours: dict[str, Range] = {}
    for name, (least, most) in bounds.items():
        kind = nodes[name].kind
        gpus = runtime.gpus_of(kind)
        before = hours.get(kind, (0.0, 0.0))
        hours[kind] = (before[0] + least * gpus / 3600, before[1] + most * gpus / 3600)
    sides = [_jobs(nodes, {name: one[side] for name, one in bounds.items()}, runtime) for side in (0, 1)]
    return Forecast(
        device=rehearsed.device,
        on_gpu=bool(rehearsed.gpu_bytes),
        trials=len(bounds),
        unknown=Counter(node.kind for name, node in nodes.items() if name not in bounds),
        gpu_hours=hours,
        longest_path=_both([max(job.remaining for job in jobs.values()) / 3600 for jobs in sides]),
        makespan={gpus: _both([makespan(jobs, gpus) / 3600 for jobs in sides]) for gpus in _clusters(runtime, nodes)},
        disk_bytes=sum(_stored(nodes[name], costs) for name in bounds),
        fractions=_fractions(nodes, costs),
    )


def memory_faults(found: Forecast, runtime: Runtime) -> list[str]:
    """Kinds whose trials share a GPU more narrowly than their memory allows, as far as a rehearsal on one knows."""
    return [
        f"runtime.gpus: found {runtime.gpus_of(kind):g} for {kind}, whose largest trial needs {fraction:.2g} of the "
        f"GPU that it was rehearsed on; allowed: at least {fraction:.2g}"
        for kind, fraction in found.fractions.items()
        if 0 < runtime.gpus_of(kind) < fraction
    ]


def shares(plan: Plan, costs: Costs) -> dict[str, float]:
    """GPUs that a trial of each kind reserves where the grid says `gpus: measured`: 1/n, of whose largest trials n fit
    into the memory of the GPU that was rehearsed on, with headroom; a whole one where a trial to do is of a shape
    whose memory nobody has measured on a GPU."""
    peaks: dict[str, list[int | None]] = {kind: [] for kind in KINDS}
    for node in plan.to_do():
        peaks[node.kind].append(costs.peak(node.spec))
    return {kind: _share(costs.rehearsed.gpu_bytes, found) for kind, found in peaks.items()}


def _share(gpu_bytes: int, peaks: list[int | None]) -> float:
    known = [peak for peak in peaks if peak]
    if len(known) < len(peaks) or not known:
        return 1.0
    return 1 / max(1, math.floor(gpu_bytes / (HEADROOM * max(known))))


def _clusters(runtime: Runtime, nodes: dict[str, Node]) -> list[int]:
    most = max(runtime.gpus_of(node.kind) for node in nodes.values())
    return [gpus for gpus in CLUSTERS if gpus >= most]


def _both(values: list[float]) -> Range:
    return values[0], values[1]


def _jobs(nodes: dict[str, Node], seconds: dict[str, float], runtime: Runtime) -> dict[str, Job]:
    """Jobs with the longest path below each. A trial of an unknown shape takes no time."""
    jobs: dict[str, Job] = {}
    remaining: dict[str, float] = {}
    for name, node in reversed(list(nodes.items())):  # children before parents
        below = max((remaining.get(child, 0.0) for child in node.children), default=0.0)
        remaining[name] = seconds.get(name, 0.0) + below
        jobs[name] = Job(seconds.get(name, 0.0), runtime.gpus_of(node.kind), node.parents, remaining[name])
    return jobs


def _stored(node: Node, costs: Costs) -> float:
    amount = costs.work.of(node.spec) if isinstance(node.spec, Restoration) else 1.0
    rate = costs.rehearsed.rates.get(shape(node.spec))
    return rate.bytes * amount if rate else 0.0


def _fractions(nodes: dict[str, Node], costs: Costs) -> dict[str, float]:
    """Fractions that fit a whole number of trials into a GPU: 1, 1/2, 1/3, ..."""
    rehearsed, peaks = costs.rehearsed, Counter[str]()
    for node in nodes.values():
        rate = rehearsed.rates.get(shape(node.spec))
        if rate is not None and "device" in rate.peak_bytes:
            peaks[node.kind] = max(peaks[node.kind], rate.peak_bytes["device"])
    fit = {kind: math.floor(rehearsed.gpu_bytes / (HEADROOM * max(peak, 1))) for kind, peak in peaks.items()}
    return {kind: 1 / count if count else math.inf for kind, count in fit.items()}

"""How long grids/full.yaml takes on N GPUs: our order, first in first out, and stages, beside bounds from below.

And whether the real scheduler does what the simulation says: replayed from a finished sweep of the demo.
"""

import math
from collections import defaultdict
from collections.abc import Mapping
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from typing import Any

from orchestrator.forecast import CLUSTERS
from orchestrator.grid import RESULTS
from orchestrator.makespan import Job, makespan
from orchestrator.spec import KINDS
from orchestrator.sweep import Sweep

FULL, DEMO = Path("grids/full.yaml"), Path("grids/demo.yaml")
SLOTS = 2
"""Trials at a time in the replayed sweep: cores of the machine."""


def report(device: str) -> str:
    """Both tables as Markdown."""
    return f"{_simulated()}\n\n{_replayed()}"


# ---------------------------------------------------------------------------------------------------- simulation


def _simulated() -> str:
    sweep = Sweep(FULL)
    jobs, kinds = _jobs(sweep)
    known = sweep.costs.rehearsed.rates
    basis = f"a rehearsal ({len(known)} shapes)" if known else "orders of magnitude: the grid was not rehearsed here"
    lines = [
        f"`{FULL}`, {len(jobs):,} trials, seconds from {basis}; every trial reserves what the grid says. Hours, and in "
        "brackets the multiple of the best bound from below.",
        "",
        "| GPUs | longest path first (ours) | first in, first out | stage barriers | bound | which |",
        "|---:|---:|---:|---:|---:|---|",
    ]
    for gpus in CLUSTERS:
        least, which = bound(jobs, gpus)
        found = [makespan(jobs, gpus), makespan(first_in_first_out(jobs), gpus), stages(jobs, kinds, gpus)]
        cells = " | ".join(f"{seconds / 3600:,.1f} ({seconds / least:.3f})" for seconds in found)
        lines.append(f"| {gpus} | {cells} | {least / 3600:,.1f} | {which} |")
    return "\n".join(lines)


def _jobs(sweep: Sweep) -> tuple[dict[str, Job], dict[str, str]]:
    """The whole plan, finished or not, and the kind of each trial."""
    nodes, jobs = sweep.plan.nodes, {}
    for name, node in reversed(list(nodes.items())):  # children before parents
        seconds = sweep.costs.seconds(node.spec)
        below = max((jobs[child].remaining for child in node.children), default=0.0)
        jobs[name] = Job(seconds, sweep.grid.runtime.gpus_of(node.kind), node.parents, seconds + below)
    return dict(reversed(list(jobs.items()))), {name: node.kind for name, node in nodes.items()}


def first_in_first_out(jobs: Mapping[str, Job]) -> dict[str, Job]:
    """The same jobs, which start in the order in which the plan names them."""
    return {name: replace(job, remaining=float(-place)) for place, (name, job) in enumerate(jobs.items())}


def stages(jobs: Mapping[str, Job], kinds: Mapping[str, str], gpus: int) -> float:
    """Seconds when all trials of a kind end before one of the next starts, longest first within a kind. Trials of a
    kind that depend on each other (on the warm-up) follow each other within it."""
    total = 0.0
    for kind in KINDS:
        stage = {name: job for name, job in jobs.items() if kinds[name] == kind}
        total += makespan(stage, gpus)
    return total


def bound(jobs: Mapping[str, Job], gpus: int) -> tuple[float, str]:
    """(seconds that no schedule can beat, which of three bounds says so). Waves: n trials of s seconds or more that
    reserve g GPUs run at most floor(N/g) at a time, between the shortest way to one and the shortest from one."""
    path = max(job.remaining for job in jobs.values())
    work = sum(job.seconds * job.gpus for job in jobs.values()) / gpus
    return max((path, "longest path"), (work, "work / GPUs"), (_waves(jobs, gpus), "waves"))


def _waves(jobs: Mapping[str, Job], gpus: int) -> float:
    before = _before(jobs)
    groups: dict[float, list[str]] = defaultdict(list)
    for name, job in jobs.items():
        if job.gpus:
            groups[job.gpus].append(name)
    best = 0.0
    for reserved, names in groups.items():
        names.sort(key=lambda name: -jobs[name].seconds)
        head = after = math.inf
        at_once = math.floor(gpus / reserved + 1e-9)
        for count, (name, following) in enumerate(pairwise([*names, ""]), start=1):
            head, after = min(head, before[name]), min(after, jobs[name].remaining - jobs[name].seconds)
            if not following or jobs[following].seconds < jobs[name].seconds:
                best = max(best, head + math.ceil(count / at_once) * jobs[name].seconds + after)
    return best


def _before(jobs: Mapping[str, Job]) -> dict[str, float]:
    """Seconds of the longest path to the start of each job."""
    found: dict[str, float] = {}
    for name, job in jobs.items():  # parents before children
        found[name] = max((found[parent] + jobs[parent].seconds for parent in job.parents), default=0.0)
    return found


# ------------------------------------------------------------------------------------------------------- replay


def _replayed() -> str:
    """Predicted and actual seconds of the demo's sweep, from the records of its trials."""
    sweep = Sweep(DEMO)
    if not sweep.plan.nodes or any(node.status not in ("done", "diverged") for node in sweep.plan.nodes.values()):
        return f"Replay: not measured, {RESULTS}/demo holds no finished sweep; `make sweep` first."
    records = {name: sweep.store.record(node.kind, name) for name, node in sweep.plan.nodes.items()}
    spans = {name: _span(record) for name, record in records.items()}
    actual = max(end for _, end in spans.values()) - min(start for start, _ in spans.values())
    jobs: dict[str, Job] = {}
    for name, node in reversed(list(sweep.plan.nodes.items())):
        seconds = spans[name][1] - spans[name][0]
        below = max((jobs[child].remaining for child in node.children), default=0.0)
        jobs[name] = Job(seconds, 1.0, node.parents, seconds + below)
    predicted = makespan(dict(reversed(list(jobs.items()))), SLOTS)
    least, which = bound(dict(reversed(list(jobs.items()))), SLOTS)
    return (
        f"Replay of a recorded sweep of `{DEMO}` ({len(jobs):,} trials, {SLOTS} at a time): from the first trial's "
        f"start to the last one's end {actual:.0f} s; predicted from the trials' own seconds, in the same order, "
        f"{predicted:.0f} s: actual / predicted {actual / predicted:.3f} (target: 0.85 to 1.15). Bound from below: "
        f"{least:.0f} s ({which})."
    )


def _span(record: Mapping[str, Any]) -> tuple[float, float]:
    """When the attempt that ended well started and ended, in seconds since 1970."""
    started, ended = (record["attempts"][i]["time"] for i in (-2, -1))
    return float(started), float(ended)

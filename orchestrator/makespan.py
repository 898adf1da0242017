"""How long a plan takes on N GPUs: list scheduling simulated on expected costs. Pure."""

import heapq
from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True)
class Job:
    """A trial in a simulation."""

    seconds: float
    gpus: float
    parents: tuple[str, ...]
    remaining: float
    """Seconds of the longest path from its start."""


def makespan(jobs: Mapping[str, Job], gpus: int) -> float:
    """Seconds that list scheduling (longest remaining path first) takes on `gpus` GPUs, shared without gaps between
    fractions. Jobs without a GPU do not wait. Raises ValueError where one trial needs more GPUs than there are."""
    if (most := max((job.gpus for job in jobs.values()), default=0.0)) > gpus:
        raise ValueError(f"gpus: found {gpus}; allowed: at least {most:g}, which one trial reserves")
    waiting = {name: sum(parent in jobs for parent in job.parents) for name, job in jobs.items()}
    children: dict[str, list[str]] = defaultdict(list)
    for name, job in jobs.items():
        for parent in job.parents:
            if parent in jobs:
                children[parent].append(name)
    ready = [(-job.remaining, name) for name, job in jobs.items() if not waiting[name]]
    heapq.heapify(ready)
    running: list[tuple[float, str]] = []
    free, now = float(gpus), 0.0
    while ready or running:
        while ready and jobs[ready[0][1]].gpus <= free + 1e-9:
            name = heapq.heappop(ready)[1]
            free -= jobs[name].gpus
            heapq.heappush(running, (now + jobs[name].seconds, name))
        now, name = heapq.heappop(running)
        free += jobs[name].gpus
        for child in children[name]:
            waiting[child] -= 1
            if not waiting[child]:
                heapq.heappush(ready, (-jobs[child].remaining, child))
    return now

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
    """Seconds that list scheduling takes on `gpus` GPUs: of the ready jobs that fit, the one with the longest remaining
    path starts at once. Fractions share without gaps; jobs without a GPU do not wait. Raises ValueError where one trial
    needs more GPUs than there are."""
    if (most := max((job.gpus for job in jobs.values()), default=0.0)) > gpus:
        raise ValueError(f"gpus: found {gpus}; allowed: at least {most:g}, which one trial reserves")
    waiting = {name: sum(parent in jobs for parent in job.parents) for name, job in jobs.items()}
    children: dict[str, list[str]] = defaultdict(list)
    for name, job in jobs.items():
        for parent in job.parents:
            children[parent].append(name)
    ready: dict[float, list[tuple[float, str]]] = defaultdict(list)  # a queue for each number of GPUs that jobs reserve
    for name, job in jobs.items():
        if not waiting[name]:
            heapq.heappush(ready[job.gpus], (-job.remaining, name))
    running: list[tuple[float, str]] = []
    free, now = float(gpus), 0.0
    while True:
        if fitting := [queue for reserved, queue in ready.items() if queue and reserved <= free + 1e-9]:
            _, name = heapq.heappop(min(fitting, key=lambda queue: queue[0]))
            free -= jobs[name].gpus
            heapq.heappush(running, (now + jobs[name].seconds, name))
            continue
        if not running:
            return now
        now, name = heapq.heappop(running)
        free += jobs[name].gpus
        for child in children[name]:
            waiting[child] -= 1
            if not waiting[child]:
                heapq.heappush(ready[jobs[child].gpus], (-jobs[child].remaining, child))

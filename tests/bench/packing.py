"""Whether trials that do not fill a machine should share it: a slice of the demo on two cores, two trials at a time
with one thread each against one at a time with both cores' threads. Reads a finished sweep's store; writes none.
"""

import multiprocessing as mp
import os
import tempfile
from collections import Counter
from pathlib import Path
from typing import Any

from orchestrator.grid import RESULTS
from orchestrator.identity import key
from orchestrator.plan import Node
from orchestrator.spec import parents
from orchestrator.store import Store
from orchestrator.sweep import Sweep
from tests.bench.paired import HEADER, alternate

DEMO = Path("grids/demo.yaml")
SLICE = {"super_resolution": 2, "iqa_transfer": 3, "restoration": 3, "judging": 6, "benchmark": 3}
"""Trials of each kind: those of middling cost."""
CORES, ROUNDS = 2, 3
Job = tuple[Any, dict[str, Path]]
"""A spec, and the folder of each of its parents."""


def report(device: str) -> str:
    """A row, and what it says of a cluster."""
    sweep = Sweep(DEMO)
    if not sweep.plan.nodes or sweep.plan.to_do():
        return f"Not measured: {RESULTS}/demo holds no finished sweep; `make sweep` first."
    nodes = chosen(sweep)
    jobs = [(node.spec, folders(sweep.store, node)) for node in nodes]
    from orchestrator.cluster import WORKER_ENVIRONMENT  # as the sweep's workers have it

    os.environ.update(WORKER_ENVIRONMENT)
    packed, alone = Crew(workers=CORES, threads=1), Crew(workers=1, threads=CORES)
    try:
        pair = alternate(lambda: packed.run(jobs), lambda: alone.run(jobs), ROUNDS)
    finally:
        packed.end()
        alone.end()
    kinds = ", ".join(f"{count} {kind}" for kind, count in Counter(node.kind for node in nodes).items())
    what = f"makespan of {len(jobs)} trials: {CORES} at a time with 1 thread, against 1 at a time with {CORES}"
    return (
        f"{HEADER}\n{pair.row(what, 'below 1', unit='s')}\n\nA slice of `{DEMO}` ({kinds}), processes warm. A "
        "trial is one thread in both numerics and reserves at least a core, so cores are never oversubscribed. On GPUs "
        "`runtime: {gpus: measured}` shares one among as many trials as memory allows, which finished trials or a "
        "rehearsal have measured, with a quarter to spare: arithmetic that is tested, not timed here."
    )


def chosen(sweep: Sweep) -> list[Node]:
    """Finished trials of the slice, longest first."""

    def seconds(node: Node) -> float:
        return sweep.costs.seconds(node.spec)

    found: list[Node] = []
    for kind, count in SLICE.items():
        nodes = [node for node in sweep.plan.nodes.values() if node.kind == kind and node.status == "done"]
        found += sorted(nodes, key=seconds)[(len(nodes) - count) // 2 :][:count]
    return sorted(found, key=seconds, reverse=True)


def folders(store: Store, node: Node) -> dict[str, Path]:
    """Where the results of a trial's parents lie, by role."""
    return {role: store.folder(parent.KIND, key(parent)).absolute() for role, parent in parents(node.spec)}


class Crew:
    """Processes that take trials from one queue."""

    def __init__(self, workers: int, threads: int) -> None:
        context = mp.get_context("spawn")
        self.waiting, self.ended = context.SimpleQueue(), context.SimpleQueue()
        self.members = [
            context.Process(target=work, args=(self.waiting, self.ended, threads), daemon=True) for _ in range(workers)
        ]
        for member in self.members:
            member.start()
        for _ in self.members:
            self.ended.get()  # its imports are done

    def run(self, jobs: list[Job]) -> None:
        """Returns when all are done. Raises RuntimeError with the first fault."""
        for job in jobs:
            self.waiting.put(job)
        if faults := [fault for fault in (self.ended.get() for _ in jobs) if fault]:
            raise RuntimeError(faults[0])

    def end(self) -> None:
        for member in self.members:
            member.terminate()


def work(waiting: Any, ended: Any, threads: int) -> None:
    """A worker: runs what it is given with so many threads, until it is ended."""
    import torch

    from workers import trial
    from workers.context import Context

    torch.set_num_threads(threads)
    torch.set_num_threads = lambda count: None  # a recipe wants one
    ended.put("")
    while True:
        spec, inputs = waiting.get()
        try:
            with tempfile.TemporaryDirectory(prefix="bench-") as folder:
                trial.run(spec, Context(inputs=inputs, out=Path(folder), key="bench"))
            ended.put("")
        except Exception as error:
            ended.put(f"{type(spec).__name__}: {error!r}")

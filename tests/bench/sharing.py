"""What the graph saves: every cell of a matrix running its own chain of trials, against trials that cells share.

Counted for whole grids, and run for a slice of the demo: some cells, each in a store of its own, then all in one store.
"""

import shutil
import tempfile
import time
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from rich.console import Console

from orchestrator import plan
from orchestrator.identity import key
from orchestrator.matrix import Cell, Labels, cells
from orchestrator.plan import Node
from orchestrator.runner import run_trial
from orchestrator.spec import Trial
from orchestrator.store import Store, identity_record
from orchestrator.sweep import Sweep, looked_over

GRIDS = (Path("grids/demo.yaml"), Path("grids/full.yaml"))
SLICE = 3
"""Cells of the demo that are run: those of its first loss without and with a discriminator."""


def report(device: str) -> str:
    """Both tables as Markdown."""
    lines = ["| grid | cells | trials, each cell alone | trials, shared | ratio | seconds alone / shared |"]
    lines.append("|---|---:|---:|---:|---:|---:|")
    lines += [_counted(Sweep(grid)) for grid in GRIDS]
    measured = _measured(looked_over(GRIDS[0], Console(quiet=True)))
    return "\n".join([*lines, "", "Seconds are those of the plan's cost model.", "", measured])


def _counted(sweep: Sweep) -> str:
    nodes = sweep.plan.nodes
    seconds = {name: sweep.costs.seconds(node.spec) for name, node in nodes.items()}
    study, labels = list(cells(sweep.grid)), Labels(sweep.grid, sweep.manifests)
    chains = [_chain(labels, cell, nodes) for cell in study]
    alone, spent = sum(map(len, chains)), sum(sum(seconds[name] for name in chain) for chain in chains)
    used = set().union(*chains)
    shared = sum(seconds[name] for name in used)
    return (
        f"| {sweep.grid.name} | {len(study):,} | {alone:,} | {len(used):,} | {alone / len(used):.1f} | "
        f"{spent / shared:.1f} |"
    )


def _chain(labels: Labels, cell: Cell, nodes: dict[str, Node]) -> list[str]:
    """Keys of all trials that one cell needs, parents before children; without the grid's baselines."""
    wanted = (label.spec for label in labels.all([cell]) if not label.baseline)
    found: dict[str, None] = {}

    def add(name: str) -> None:
        if name not in found:
            for parent in nodes[name].parents:
                add(parent)
            found[name] = None

    for spec in wanted:
        add(key(spec))
    return list(found)


def _measured(sweep: Sweep) -> str:
    """Runs a slice in this process, one trial after another."""
    study = [cell for cell in cells(sweep.grid) if cell.loss == sweep.grid.matrix.loss[0] and not cell.seed]
    chosen = _different(study)[:SLICE]
    nodes, labels = sweep.plan.nodes, Labels(sweep.grid, sweep.manifests)
    chains = [[nodes[name].spec for name in _chain(labels, cell, nodes)] for cell in chosen]
    with tempfile.TemporaryDirectory() as scratch:
        alone = [_run(sweep, chain, Path(scratch) / str(i)) for i, chain in enumerate(chains)]
        whole = plan.build((spec for chain in chains for spec in chain), {}, sweep.costs.seconds)
        shared = _run(sweep, (node.spec for node in whole.nodes.values()), Path(scratch) / "shared")
    counts = f"{sum(map(len, chains))} trials in {sum(alone):.1f} s, shared {len(whole.nodes)} in {shared:.1f} s"
    said = "; ".join(f"{cell.loss}, {cell.discriminator.name}, {cell.initialization} {cell.task}" for cell in chosen)
    return f"Measured: {len(chosen)} cells of the demo ({said}), each alone {counts}: ratio {sum(alone) / shared:.2f}."


def _different(study: list[Cell]) -> list[Cell]:
    """One cell of each discriminator."""
    return list({cell.discriminator.name: cell for cell in study}.values())


def _run(sweep: Sweep, specs: Iterable[Trial], root: Path) -> float:
    """Seconds of trials in a store of their own."""
    store = Store(root)
    root.mkdir()
    shutil.copy(sweep.store.root / "manifests.json", root) if sweep.manifests.found else None
    started = time.perf_counter()
    for spec in specs:
        store.prepare(spec)
        run_trial(_config(sweep, store, spec))
    return time.perf_counter() - started


def _config(sweep: Sweep, store: Store, spec: Trial) -> dict[str, Any]:
    """What the scheduler gives to a trial's process."""
    return {
        "kind": spec.KIND, "key": key(spec), "identity": identity_record(spec), "store": str(store.root),
        "checkpoint_seconds": sweep.grid.runtime.checkpoint_seconds, "stop": str(store.root / "stop"), "device": "cpu",
        "provenance": {}, "cache": str(Path(sweep.grid.runtime.cache).absolute()),
    }  # fmt: skip

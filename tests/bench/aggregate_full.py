"""How long the statistics of grids/full.yaml take, every trial done, per-image scores of the true sizes, invented; and
how long an index of a store of 100,000 finished trials.

Reading a store is not in the first: the evidence is made in memory.
"""

import tempfile
import time
from pathlib import Path

import numpy as np
import pandas as pd

from orchestrator import grid as grids
from orchestrator import matrix
from orchestrator.aggregate import scored, scores, tables
from orchestrator.aggregate.predictions import Images, Predictions
from orchestrator.aggregate.scores import Evidence
from orchestrator.manifests import Manifests
from orchestrator.store import Store
from tests.bench.memory import peak_bytes

FULL = Path(__file__).parents[2] / "grids/full.yaml"
RECORDS = 100_000
SETS = {  # images, reference contents (docs/study.md, official layouts)
    "live": (779, 29), "csiq": (866, 30), "tid2013": (3_000, 25), "pipal": (23_200, 200),
    "koniq10k": (2_015, 2_015), "live-challenge": (1_162, 1_162), "spaq": (11_125, 11_125),
    "set5": (5, 5), "set14": (14, 14), "bsd100": (100, 100), "urban100": (100, 100), "div2k-val": (100, 100),
}  # fmt: skip


def invent(name: str, generator: np.random.Generator) -> Images:
    """The images of a set, with labels."""
    images, contents = SETS[name]
    names = np.array([f"{name}-{i:05d}" for i in range(images)])
    return Images(names, np.array([f"c{i % contents:05d}" for i in range(images)]), generator.normal(size=images))


def evidence() -> Evidence:
    """All of the full grid's trials, done, with invented scores: a trial's own skill, and noise."""
    grid, generator = grids.load(FULL), np.random.default_rng(0)
    study = matrix.expand(grid, Manifests())
    images, found, rows = {name: invent(name, generator) for name in SETS}, {}, []
    for label in study.labels:
        address = scores.key(label.spec)
        row = {name: getattr(label, name) for name in scores.LABEL_FIELDS}
        rows.append(
            row | {"kind": label.spec.KIND, "key": address, "status": "done", "because": "", "lower_better": 0.0}
        )
        if label.role in scores.SCORED_ROLES and address not in found:
            own = images[label.data_set]
            values = generator.uniform(0.5, 2) * own.labels + generator.normal(size=len(own.labels))
            found[address] = Predictions(own, values)
    cells = pd.DataFrame(rows).astype({"seed": "Int64"})
    cells = cells.assign(
        validation_psnr=30.0, validation_psnr_bicubic=29.0, validation_psnr_spread=generator.random(len(cells))
    )
    empty = pd.DataFrame(columns=[*scores.RESTORATIONS, "name", "step", "value", "what"])
    return Evidence(
        name=grid.name,
        seeds=tuple(grid.seeds),
        losses=study.losses,
        twins=study.twins,
        discriminators=study.discriminators,
        label_kind=study.label_kind,
        cells=cells,
        scores=found,
        restorations=empty,
        levels=scores._levels(grid.discriminators()),
        circular=scores._circular(grid),
        trials=empty,
        curves=empty,
        faults=empty,
    )


def report(device: str) -> str:
    """Both figures as Markdown."""
    found, claims = evidence(), grids.load(FULL).claims
    wall, cpu = time.perf_counter(), time.process_time()
    built = tables.build(found, claims)
    wall, cpu = time.perf_counter() - wall, time.process_time() - cpu
    said = (
        f"`{FULL.name}`, {len(found.cells):,} labels, {len(found.scores):,} trials with scores: {len(built)} tables "
        f"with {scored.RESAMPLES:,} resamples in {wall:.1f} s ({cpu:.1f} s of CPU; target: 60 s), peak "
        f"{peak_bytes() / 2**30:.2f} GiB (target: 2)."
    )
    return f"{said}\n\nIndex of a store of {RECORDS:,} finished trials: {_index():.1f} s (target: 20 s)."


def _index() -> float:
    """Seconds; the files are in the page cache."""
    with tempfile.TemporaryDirectory() as root:
        for i in range(RECORDS):
            folder = Path(root) / "judging" / f"{i:016x}"
            folder.mkdir(parents=True)
            (folder / "DONE").write_text("done\n")
        started = time.perf_counter()
        found = Store(root).index()
        seconds = time.perf_counter() - started
    assert len(found) == RECORDS
    return seconds

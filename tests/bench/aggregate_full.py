"""How long the statistics of grids/full.yaml take: every trial done, per-image scores of the true sizes, invented.

    python tests/bench/aggregate_full.py [--resamples N]

Reading a store is not in it: the evidence is made in memory. Prints seconds and peak memory.
"""

import argparse
import resource
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

FULL = Path(__file__).parents[2] / "grids/full.yaml"
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


def main() -> None:
    """Builds all tables once, claims included."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--resamples", type=int, default=scored.RESAMPLES)
    scored.RESAMPLES = parser.parse_args().resamples
    invented, claims = evidence(), grids.load(FULL).claims
    print(f"{len(invented.cells):,} labels, {len(invented.scores):,} trials with scores", flush=True)
    wall, cpu = time.perf_counter(), time.process_time()
    built = tables.build(invented, claims)
    wall, cpu = time.perf_counter() - wall, time.process_time() - cpu
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
    print(
        f"{len(built)} tables with {scored.RESAMPLES:,} resamples: {wall:.1f} s ({cpu:.1f} s of CPU), peak "
        f"{peak:.2f} GiB"
    )


if __name__ == "__main__":
    main()

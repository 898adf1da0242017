"""Reads a grid's evidence out of the store: the only module here that touches grid and store.

Everything downstream takes what `Evidence` holds, so tables and statistics are tested without a store.

`cells`: one row a label (a cell-level evaluation of one trial; several labels may share one trial):
role, loss, discriminator, initialization, task, backbone, start, seed, data_set, judge, family, baseline, kind, key,
status (done, diverged, failed, missing, parent diverged, parent failed), because (the ancestor that stopped it),
lower_better (judging) and validation_psnr, validation_psnr_bicubic (optimization, dB).
`scores`: by key, the per-image predictions of the done benchmarks and judgings (predictions.py).
`restorations`: one row a set of restored images: loss, discriminator, seed, data_set, baseline, key, status, folder.
"""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any

import pandas as pd

from orchestrator import matrix
from orchestrator.aggregate import predictions
from orchestrator.aggregate.predictions import Predictions
from orchestrator.identity import key
from orchestrator.manifests import Manifests
from orchestrator.sections import Grid
from orchestrator.spec import Trial, parents
from orchestrator.store import Store

LABEL_FIELDS = (
    "role",
    "loss",
    "discriminator",
    "initialization",
    "task",
    "backbone",
    "start",
    "seed",
    "data_set",
    "judge",
    "family",
    "baseline",
)
NUMBERS = ("lower_better", "validation_psnr", "validation_psnr_bicubic")
SCORED_ROLES = ("metric_benchmark", "judging", "iqa_benchmark")
TWINS = "-twins"
"""Ends the names of tables and figures that hold the random twins."""


@dataclass(frozen=True)
class Evidence:
    """What the tables are computed from. The columns of the frames are named at the head of this module."""

    name: str
    seeds: tuple[int, ...]
    losses: tuple[str, ...]
    """The ranked losses, in the grid's order."""
    twins: tuple[str, ...]
    """Losses that are ranked among themselves, apart from the others."""
    discriminators: tuple[str, ...]
    label_kind: str
    cells: pd.DataFrame
    scores: Mapping[str, Predictions]
    restorations: pd.DataFrame

    def groups(self) -> Iterator[tuple[str, "Evidence"]]:
        """(what ends the names of its tables and figures, evidence) for each group of losses that are ranked together:
        all but the twins, and where there are twins, these. What depends on no loss is in both, a baseline is ranked in
        none, and the images of baselines are in both, to compare with."""
        if not self.twins:
            yield "", self
            return
        twin, shown = (frame["loss"].isin(self.twins) for frame in (self.cells, self.restorations))
        ranked = replace(self, twins=(), cells=self.cells[~twin], restorations=self.restorations[~shown])
        yield "", ranked
        beside = self.restorations["baseline"].astype(bool)
        cells = self.cells[twin | (self.cells["loss"] == "")]
        yield TWINS, replace(ranked, losses=self.twins, cells=cells, restorations=self.restorations[shown | beside])


def read(grid: Grid) -> Evidence:
    """The evidence that the store holds for the grid."""
    store = Store(grid.runtime.storage)
    study = matrix.expand(grid, Manifests.read(store.root))
    outcomes = _Outcomes(store)
    cells = pd.DataFrame([_cell(label, outcomes, store) for label in study.labels])
    cells["seed"] = cells["seed"].astype("Int64")
    scored = cells[cells["role"].isin(SCORED_ROLES) & (cells["status"] == "done")]
    folders = {unit: store.folder(kind, unit) for kind, unit in zip(scored["kind"], scored["key"], strict=True)}
    return Evidence(
        name=grid.name,
        seeds=tuple(grid.seeds),
        losses=tuple(study.losses),
        twins=tuple(study.twins),
        discriminators=tuple(study.discriminators),
        label_kind=study.label_kind,
        cells=cells,
        scores=predictions.read(folders),
        restorations=_restorations(study.labels, outcomes, store),
    )


class _Outcomes:
    """Status of a trial and, where it never ran, the ancestor that stopped it. Asks the store once per trial."""

    def __init__(self, store: Store) -> None:
        self.store = store
        self.known: dict[tuple[str, str], tuple[str, str]] = {}

    def of(self, trial: Trial) -> tuple[str, str, str]:
        """(key, status, because) of `trial`."""
        address = key(trial)
        unit = (trial.KIND, address)
        if unit not in self.known:
            own = self.store.status(*unit)
            self.known[unit] = (own, "") if own else self._why(trial)
        return address, *self.known[unit]

    def _why(self, trial: Trial) -> tuple[str, str]:
        for _, parent in parents(trial):
            address, status, because = self.of(parent)
            if status in ("diverged", "failed"):
                return f"parent {status}", f"{parent.KIND} {address}"
            if status.startswith("parent"):
                return status, because
        return "missing", ""


def _cell(label: Any, outcomes: _Outcomes, store: Store) -> dict[str, Any]:
    address, status, because = outcomes.of(label.spec)
    row = {name: getattr(label, name) for name in LABEL_FIELDS}
    row |= {"kind": label.spec.KIND, "key": address, "status": status, "because": because}
    wanted = status in ("done", "diverged") and label.role in ("judging", "optimization")
    numbers = store.record(label.spec.KIND, address).get("numbers", {}) if wanted else {}
    return row | {name: float(numbers.get(name, "nan")) for name in NUMBERS}


def _restorations(labels: Iterable[Any], outcomes: _Outcomes, store: Store) -> pd.DataFrame:
    rows: dict[tuple[Any, ...], dict[str, Any]] = {}
    for label in labels:
        if label.role != "judging":
            continue
        unit = (label.loss, label.discriminator, label.seed, label.data_set)
        if unit not in rows:
            address, status, _ = outcomes.of(label.spec.restoration)
            rows[unit] = {
                "loss": label.loss,
                "discriminator": label.discriminator,
                "seed": label.seed,
                "data_set": label.data_set,
                "baseline": label.baseline,
                "key": address,
                "status": status,
                "folder": str(store.folder("restoration", address)),
            }
    columns = ["loss", "discriminator", "seed", "data_set", "baseline", "key", "status", "folder"]
    return pd.DataFrame(list(rows.values()), columns=columns).astype({"seed": "Int64"})

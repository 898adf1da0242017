"""What contrasts compare: quality, stability and IQA performance of every trained model, one row a model.

Columns are what the value was measured on: test sets (the contents of a single one), benchmarks by task, or a single
number. Higher is better.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import pandas as pd

from orchestrator.aggregate.correlation import Array
from orchestrator.aggregate.panel import ImageSet, Panel, optimization_panel
from orchestrator.aggregate.ranking import srcc_by_set
from orchestrator.aggregate.resampling import everything
from orchestrator.aggregate.scores import Evidence

FACTORS = ("discriminator", "loss", "head", "backbone", "start", "weight", "seed")
MODEL = ("task", "backbone", "initialization", "start", "loss", "discriminator", "head", "seed")


@dataclass(frozen=True, eq=False)
class Measured:
    """Values of a measure."""

    cells: pd.DataFrame
    """One row a trained model: its factors, `status`, and `keys` (a tuple) of the trials that the values come from."""
    values: Array
    """(rows, U); NaN where a model was not measured, and in columns that do not apply to it."""

    @cached_property
    def records(self) -> list[dict[str, Any]]:
        """The rows of `cells`, factor by name."""
        return list(self.cells.to_dict("records"))

    @cached_property
    def partial(self) -> np.ndarray:
        """(rows,) bool: has some but not all of the columns that others (of its task) have."""
        there = np.isfinite(self.values)
        task = self.cells["task"].to_numpy() if "task" in self.cells else np.zeros(len(there))
        applies = pd.DataFrame(there).groupby(task).transform("any").to_numpy(bool)
        return np.asarray(there.any(1) & (there != applies).any(1))


def quality(evidence: Evidence, judges: Sequence[str] | None = None) -> Measured:
    """Oriented judge scores of every ranked super-resolution trial in units of each judge's standard deviation over the
    warm-up's outputs (all test images together): means within a family of judges, then over families, for each test
    set. `judges` takes the place of those of the score, each a family of its own; where one of them is not there,
    nothing is compared."""
    panel = optimization_panel(
        evidence.cells, evidence.scores, evidence.losses, evidence.seeds, evidence.discriminators, judges
    )
    cells = _optimization_cells(evidence, panel.judges)
    if not panel.judges or (judges is not None and set(judges) - set(panel.judges)):
        return Measured(cells, np.full((len(cells), 1), np.nan))
    families = panel.families if judges is None else panel.judges
    weight = _family_weights(families) / _deviations(evidence, panel.judges)
    found = [_columns(part, weight, single=len(panel.sets) == 1) for part in panel.sets]
    values = np.concatenate(found, axis=-1) if found else np.zeros((0, 0, 0, 0))
    return Measured(cells, _aligned(values, cells, panel))


def stability(evidence: Evidence) -> Measured:
    """Minus the spread of the validation PSNR over the last checkpoints (dB) of every ranked super-resolution trial."""
    cells = _optimization_cells(evidence, ())
    return Measured(cells, -cells[["validation_psnr_spread"]].to_numpy(float))


def performance(evidence: Evidence) -> Measured:
    """SRCC of every IQA model on every benchmark of its task; `gan` from baselines is not in it."""
    cells = evidence.cells[(evidence.cells["role"] == "iqa_benchmark") & ~evidence.cells["baseline"].astype(bool)]
    heads = evidence.levels.set_index("discriminator")["head"].to_dict()
    cells = cells.assign(head=cells["discriminator"].map(heads).fillna(""), seed=cells["seed"].astype("int64"))
    known = {key: evidence.scores[key].srcc for key in dict.fromkeys(cells["key"]) if key in evidence.scores}
    cells = cells.assign(column=cells["task"] + "/" + cells["data_set"], srcc=cells["key"].map(known).astype(float))
    wide = cells.set_index([*MODEL, "column"])["srcc"].unstack("column", sort=False)
    groups = cells.groupby(list(MODEL), sort=False)
    models = groups["status"].agg(lambda status: next((s for s in status if s != "done"), "done")).to_frame()
    models["keys"] = groups["key"].agg(tuple)
    return Measured(models.reset_index(), wide.reindex(models.index).to_numpy(float))


def metrics(panel: Panel) -> Measured:
    """SRCC of every ranked loss as a metric on every FR benchmark, from the IQA side's panel; a row a (loss, seed)."""
    values = srcc_by_set(panel, everything(panel))[0]  # T, S, L
    rows = [{"loss": loss, "seed": seed} for seed in panel.seeds for loss in panel.losses]
    cells = pd.DataFrame(rows, columns=["loss", "seed"]).assign(status="done", keys=[()] * len(rows))
    return Measured(cells, values.transpose(1, 2, 0).reshape(len(rows), -1))


def _optimization_cells(evidence: Evidence, judges: Sequence[str]) -> pd.DataFrame:
    """One row a (discriminator, loss, seed) of ranked losses, in this order, with the levels of the discriminator."""
    cells = evidence.cells[~evidence.cells["baseline"].astype(bool)]
    trained = cells[cells["role"] == "optimization"]
    by = ["discriminator", "loss", "seed"]
    rests = cells[(cells["role"] == "judging") & cells["judge"].isin(list(judges))] if len(judges) else trained
    keys = rests.groupby(by)["key"].agg(tuple).rename("keys")
    merged = trained.merge(evidence.levels, on="discriminator", suffixes=("_own", "")).join(keys, on=by)
    merged["keys"] = [keys if isinstance(keys, tuple) else () for keys in merged["keys"]]
    columns = [*FACTORS, "status", "keys", "validation_psnr_spread"]
    return merged.astype({"seed": "int64"})[columns].reset_index(drop=True)


def _family_weights(families: Sequence[str]) -> Array:
    sizes = {name: list(families).count(name) for name in families}
    return np.array([1 / (len(sizes) * sizes[name]) for name in families])


def _deviations(evidence: Evidence, judges: Sequence[str]) -> Array:
    """(J,): each judge's standard deviation over the images that the warm-up restores; NaN where it was not judged."""
    cells = evidence.cells[(evidence.cells["role"] == "judging") & (evidence.cells["loss"] == "warm-up")]
    done = cells[cells["status"] == "done"].drop_duplicates("key")
    found = []
    for judge in judges:
        images = [evidence.scores[key].values for key in done.loc[done["judge"] == judge, "key"]]
        pooled = np.concatenate(images) if images else np.zeros(0)
        found.append(pooled.std() if pooled.size and pooled.std() > 0 else np.nan)
    return np.array(found)


def _columns(part: ImageSet, weight: Array, *, single: bool) -> Array:
    """(D, S, L, U): judges joined; the mean of a set, or of each content of the only set."""
    joined = np.einsum("j,djsln->dsln", weight, part.values)
    if not single or part.contents < 2:
        return joined.mean(-1, keepdims=True) if joined.shape[-1] else np.full((*joined.shape[:-1], 1), np.nan)
    members = np.eye(part.contents)[part.content]
    return np.asarray(joined @ (members / members.sum(0)))


def _aligned(values: Array, cells: pd.DataFrame, panel: Panel) -> Array:
    """Rows of `values` (D, S, L, U) in the order of the cells."""
    places = [
        (panel.discriminators.index(d), panel.seeds.index(s), panel.losses.index(one))
        for d, s, one in zip(cells["discriminator"], cells["seed"], cells["loss"], strict=True)
    ]
    return np.stack([values[place] for place in places]) if places and values.size else np.full((len(cells), 1), np.nan)

"""Reads a grid's evidence out of the store: the only module here that touches the grid.

Everything downstream takes what `Evidence` holds, so tables and statistics are tested without a store.
"""

import math
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any

import pandas as pd

from orchestrator import circularity, matrix
from orchestrator.aggregate import finished, origins
from orchestrator.aggregate.crops import damaged
from orchestrator.aggregate.finished import Finished
from orchestrator.aggregate.predictions import Predictions
from orchestrator.aggregate.records import NUMBERS
from orchestrator.identity import key
from orchestrator.manifests import Manifests
from orchestrator.matrix import Label
from orchestrator.remote import open_store
from orchestrator.sections import DiscriminatorLevel, Grid
from orchestrator.spec import Calibrated, Judging, Trial
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
SCORED_ROLES = ("metric_benchmark", "judging", "iqa_benchmark")
RESTORATIONS = ["loss", "discriminator", "seed", "data_set", "baseline", "key", "status", "folder"]
TWINS = "-twins"
"""Ends the names of tables and figures that hold the random twins."""


@dataclass(frozen=True)
class Evidence:
    """What the tables are computed from. Factors that do not apply are empty."""

    name: str
    seeds: tuple[int, ...]
    losses: tuple[str, ...]
    """The ranked losses, in the grid's order."""
    twins: tuple[str, ...]
    """Losses that are ranked among themselves, apart from the others."""
    discriminators: tuple[str, ...]
    label_kind: str
    cells: pd.DataFrame
    """One row a label (a cell-level evaluation of one trial; several labels may share one trial): role, loss,
    discriminator, initialization, task, backbone, start, seed, data_set, judge, family, baseline, kind, key, status
    (done, diverged, failed, missing, parent diverged, parent failed, unreadable), because (the ancestor that stopped
    it, or what is wrong with its files), lower_better (judging) and validation_psnr, validation_psnr_bicubic,
    validation_psnr_spread (optimization, dB)."""
    scores: Mapping[str, Predictions]
    """By key, the per-image predictions of the done benchmarks and judgings."""
    restorations: pd.DataFrame
    """One row a set of restored images: loss, discriminator, seed, data_set, baseline, key, status, folder."""
    levels: pd.DataFrame
    """One row a discriminator: discriminator (its name), head, backbone, start, weight (raw, or as multiple of the
    reference where it is calibrated; NaN where it is no factor)."""
    circular: pd.DataFrame
    """One row a judge of the score and a loss of this group that are kin: judge, loss, why, which begins with the
    degree. A judge of which nobody has declared what it is kin to is 'undeclared' with every loss."""
    trials: pd.DataFrame
    """One row a trial of the study, by key: kind, name, status, seconds, device, git_commit, git_dirty, record (path of
    its record.json), mlflow (address of its run within MLflow's pages). What is not known is empty or NaN."""
    curves: pd.DataFrame
    """One row a point of the learning curves of the SR trials: key, loss, discriminator, seed, baseline, name, step,
    value."""
    faults: pd.DataFrame
    """One row a finished trial whose files cannot be used: kind, key, what."""

    def groups(self) -> Iterator[tuple[str, "Evidence"]]:
        """(what ends the names of its tables and figures, evidence) for each group of losses that are ranked together:
        all but the twins, and where there are twins, these. What depends on no loss is in both, a baseline is ranked in
        none, and the images and curves of baselines are in both, to compare with."""
        if not self.twins:
            yield "", self
            return
        twin = self.cells["loss"].isin(self.twins)
        yield "", self._ranking(self.losses, self.cells[~twin])
        yield TWINS, self._ranking(self.twins, self.cells[twin | (self.cells["loss"] == "")])

    def _ranking(self, losses: tuple[str, ...], cells: pd.DataFrame) -> "Evidence":
        """Of `losses` alone, with these `cells`."""
        kin = self.circular[self.circular["loss"].isin(losses)]
        shown, curves = (
            frame[frame["loss"].isin(losses) | frame["baseline"].astype(bool)]
            for frame in (self.restorations, self.curves)
        )
        return replace(self, losses=losses, twins=(), cells=cells, circular=kin, restorations=shown, curves=curves)


def read(grid: Grid) -> Evidence:
    """The evidence that the store holds for the grid. What cannot be read counts as not there, and is in `faults`."""
    store = open_store(grid.runtime.storage, grid.runtime.cache)
    store.bring_finished()
    study = matrix.expand(grid, Manifests.of(store))
    trials = finished.lineage(label.spec for label in study.labels)
    found = finished.read(store, trials, _on_one_set(study.labels))
    cells = pd.DataFrame([_cell(label, found) for label in study.labels]).astype({"seed": "Int64"})
    curves, lost = origins.curves(cells, store, found.records)
    runs, unlinked = origins.mlflow_runs(store.root, grid.name)
    faults = [(trials[name].KIND, name, what) for name, what in [*found.faults.items(), *lost.items()]]
    faults += [("mlflow", "", unlinked)] if unlinked else []
    evidence = Evidence(
        name=grid.name,
        seeds=tuple(grid.seeds),
        losses=tuple(study.losses),
        twins=tuple(study.twins),
        discriminators=tuple(study.discriminators),
        label_kind=study.label_kind,
        cells=cells,
        scores=found.scores,
        restorations=_restorations(study.labels, found, store),
        levels=_levels(grid.discriminators()),
        circular=_circular(grid),
        trials=origins.trials(study.labels, trials, found, store, runs),
        curves=curves,
        faults=pd.DataFrame(faults, columns=["kind", "key", "what"]),
    )
    return _with_sound_images(evidence, {name: record.digests for name, record in found.records.items()})


def _with_sound_images(evidence: Evidence, digests: Mapping[str, Mapping[str, str]]) -> Evidence:
    """Without the restorations whose images would be shown and are damaged; without them others may be shown."""
    while found := {
        name: what for _, one in evidence.groups() for name, what in damaged(one.restorations, digests).items()
    }:
        restorations = evidence.restorations.copy()
        restorations.loc[restorations["key"].isin(found), "status"] = finished.UNREADABLE
        told = pd.DataFrame(
            [("restoration", name, what) for name, what in found.items()], columns=evidence.faults.columns
        )
        evidence = replace(
            evidence, restorations=restorations, faults=pd.concat([evidence.faults, told], ignore_index=True)
        )
    return evidence


def _on_one_set(labels: Iterable[Label]) -> dict[str, list[str]]:
    """The keys of the evaluations that must be of the same images, by the name of their set."""
    found: dict[str, list[str]] = {}
    for label in labels:
        if label.role in SCORED_ROLES:
            words = "test set" if label.role == "judging" else f"{label.task or 'fr'} benchmark"
            found.setdefault(f"{words} {label.data_set}", []).append(key(label.spec))
    return found


def _cell(label: Label, found: Finished) -> dict[str, Any]:
    address = key(label.spec)
    status, because = found.outcomes[address]
    row = {name: getattr(label, name) for name in LABEL_FIELDS}
    row |= {"kind": label.spec.KIND, "key": address, "status": status, "because": because}
    record = found.records.get(address)
    return row | (dict(record.numbers) if record else dict.fromkeys(NUMBERS, math.nan))


def _restorations(labels: Iterable[Label], found: Finished, store: Store) -> pd.DataFrame:
    rows: dict[tuple[Any, ...], dict[str, Any]] = {}
    for label in labels:
        unit = (label.loss, label.discriminator, label.seed, label.data_set)
        if isinstance(label.spec, Judging) and isinstance(label.spec.restoration, Trial) and unit not in rows:
            address = key(label.spec.restoration)
            rows[unit] = {name: getattr(label, name) for name in RESTORATIONS[:5]}
            folder = str(store.folder("restoration", address))
            rows[unit] |= {"key": address, "status": found.outcomes[address][0], "folder": folder}
    return pd.DataFrame(list(rows.values()), columns=RESTORATIONS).astype({"seed": "Int64"})


def _levels(found: Iterable[DiscriminatorLevel]) -> pd.DataFrame:
    rows = []
    for name, head, backbone, start, weight in found:
        number = weight.times if isinstance(weight, Calibrated) else math.nan if weight is None else float(weight)
        rows.append((name, head, backbone, start, number))
    return pd.DataFrame(rows, columns=["discriminator", "head", "backbone", "start", "weight"])


def _circular(grid: Grid) -> pd.DataFrame:
    rows = []
    for judge in (name for name, family in grid.judges.families().items() if family):
        for loss in (*grid.matrix.loss, *grid.matrix.twins):
            if why := _kinship(grid, judge, loss):
                rows.append((judge, loss, why))
    return pd.DataFrame(rows, columns=["judge", "loss", "why"])


def _kinship(grid: Grid, judge: str, loss: str) -> str | None:
    if judge not in circularity.KINSHIP:  # whoever leaves out circular judges wants those that are known not to be
        return f"undeclared: nobody has declared which networks {judge} shares (orchestrator/circularity.py)"
    level = grid.backbones[loss]
    return circularity.shared(judge, level.model, level.weights if isinstance(level.weights, str) else "released")

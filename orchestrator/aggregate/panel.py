"""The evidence as arrays: per-image values of every loss, aligned by image, on the two sides of the comparison.

Shapes here and in the modules that follow: R weightings, D discriminators, J judges, S seeds, L losses, N images of a
set, C reference contents of a set, T sets. Missing values are NaN.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
import pandas as pd

from orchestrator.aggregate.correlation import Array
from orchestrator.aggregate.predictions import Images, Predictions, distinct


@dataclass(frozen=True, eq=False)
class ImageSet:
    """Values on one benchmark, (1, 1, S, L, N) with `labels` (N,), or on one test set, (D, J, S, L, N); higher is
    better."""

    name: str
    values: Array
    content: np.ndarray
    """(N,) index of each image's reference content, 0 to C - 1."""
    labels: Array | None = None

    @property
    def contents(self) -> int:
        """C, the number of reference contents."""
        return int(self.content.max()) + 1 if self.content.size else 0


@dataclass(frozen=True)
class Panel:
    """All values of one side of the comparison."""

    losses: tuple[str, ...]
    seeds: tuple[int, ...]
    sets: tuple[ImageSet, ...]
    discriminators: tuple[str, ...] = ("",)
    judges: tuple[str, ...] = ("",)
    families: tuple[str, ...] = ("",)
    """Of each judge; empty for one that is not in the score."""
    diverged: np.ndarray | None = None
    """(D, S, L) bool: the training diverged, so that there is nothing to judge. None on the IQA side."""

    def without(self, names: frozenset[str]) -> "Panel":
        """The panel without some of its sets; itself where it has none of them."""
        if not names & {part.name for part in self.sets}:
            return self
        return replace(self, sets=tuple(part for part in self.sets if part.name not in names))


def iqa_panel(
    cells: pd.DataFrame, scores: Mapping[str, Predictions], losses: Sequence[str], seeds: Sequence[int]
) -> Panel:
    """The FR-IQA side: predictions of every ranked loss on every benchmark."""
    cells = cells[(cells["role"] == "metric_benchmark") & ~cells["baseline"].astype(bool)]
    cells = cells.assign(lower_better=0.0, discriminator="")
    return _panel(cells, scores, Panel(tuple(losses), tuple(seeds), ()))


def optimization_panel(
    cells: pd.DataFrame,
    scores: Mapping[str, Predictions],
    losses: Sequence[str],
    seeds: Sequence[int],
    discriminators: Sequence[str],
    judges: Sequence[str] | None = None,
) -> Panel:
    """The optimization side: scores of the judges that have a family, or of `judges`, turned so that higher is
    better."""
    cells = cells[(cells["role"] == "judging") & ~cells["baseline"].astype(bool)]
    cells = cells[cells["family"] != ""] if judges is None else cells[cells["judge"].isin(list(judges))]
    families = dict(zip(cells["judge"], cells["family"], strict=True))
    shape = Panel(tuple(losses), tuple(seeds), (), tuple(discriminators), tuple(families), tuple(families.values()))
    return _panel(cells, scores, shape, diverged=_diverged(cells, shape))


def _panel(
    cells: pd.DataFrame, scores: Mapping[str, Predictions], shape: Panel, diverged: np.ndarray | None = None
) -> Panel:
    sets = tuple(
        _image_set(name, cells[cells["data_set"] == name], scores, shape) for name in dict.fromkeys(cells["data_set"])
    )
    return Panel(shape.losses, shape.seeds, sets, shape.discriminators, shape.judges, shape.families, diverged)


def _image_set(name: str, cells: pd.DataFrame, scores: Mapping[str, Predictions], shape: Panel) -> ImageSet:
    done = cells[cells["status"] == "done"]
    of_set = distinct(scores[key] for key in done["key"])
    images, places = _together(of_set)
    sides = (shape.discriminators, shape.judges, shape.seeds, shape.losses)
    values = np.full((*map(len, sides), len(images.names)), np.nan)
    for cell in done.itertuples():
        trial = scores[cell.key]
        at = slice(None) if pd.isna(cell.seed) else shape.seeds.index(cell.seed)
        judge = shape.judges.index(cell.judge)
        row = values[shape.discriminators.index(cell.discriminator), judge, at, shape.losses.index(cell.loss)]
        row[..., places[of_set.index(trial.images)]] = trial.values * (-1.0 if cell.lower_better == 1.0 else 1.0)
    return ImageSet(name, values, np.unique(images.contents, return_inverse=True)[1], images.labels)


def _together(parts: Sequence[Images]) -> tuple[Images, list[np.ndarray]]:
    """The images that any of `parts` has, by name, and where in them those of each part are."""
    if not parts:
        return Images(np.zeros(0, str), np.zeros(0, str), np.zeros(0)), []
    names, contents, labels = (
        np.concatenate([getattr(part, field) for part in parts]) for field in ("names", "contents", "labels")
    )
    names, first = np.unique(names, return_index=True)
    return Images(names, contents[first], labels[first]), [np.searchsorted(names, part.names) for part in parts]


def _diverged(cells: pd.DataFrame, shape: Panel) -> np.ndarray:
    lost = np.zeros((len(shape.discriminators), len(shape.seeds), len(shape.losses)), bool)
    for cell in cells[cells["status"] == "parent diverged"].itertuples():
        seed = slice(None) if pd.isna(cell.seed) else shape.seeds.index(cell.seed)
        lost[shape.discriminators.index(cell.discriminator), seed, shape.losses.index(cell.loss)] = True
    return lost

"""Scores and ranks of the losses, as metrics (IQA score) and as training losses (optimization score).

Both are computed for R weightings of their units at once: all ones is the point estimate, resampled counts are the
bootstrap, zeros and ones are a split half. One code path thus serves the tables, the intervals and the noise ceiling.

Shapes: R weightings, S seeds, L losses, J judges, N images of a set, C contents of a set. Missing values are NaN.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
from scipy.stats import rankdata

from orchestrator.aggregate.correlation import Array, srcc_resampled
from orchestrator.aggregate.predictions import Images, Predictions, distinct


@dataclass(frozen=True)
class ImageSet:
    """Values on one benchmark, (1, S, L, N) with `labels` (N,), or on one test set, (J, S, L, N); higher is better."""

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
    """All values of one side of the comparison: the sets, and for test sets the family of each judge."""

    losses: tuple[str, ...]
    seeds: tuple[int, ...]
    sets: tuple[ImageSet, ...]
    families: tuple[str, ...] = ()


@dataclass(frozen=True)
class Draws:
    """How often each unit counts in each of R weightings."""

    seeds: Array
    """(R, S)"""
    sets: Array
    """(R, number of sets)"""
    contents: tuple[Array, ...]
    """(R, C) for each set."""


def everything(panel: Panel) -> Draws:
    """One weighting (R = 1) in which every unit counts once: the point estimate."""
    return Draws(
        np.ones((1, len(panel.seeds))),
        np.ones((1, len(panel.sets))),
        tuple(np.ones((1, part.contents)) for part in panel.sets),
    )


def ranks(scores: Array) -> Array:
    """Ranks along the last axis: 1 is the highest score, ties averaged, NaN stays NaN and takes no rank."""
    absent = np.isnan(scores)
    ranked: Array = rankdata(np.where(absent, np.inf, -scores), axis=-1)
    return np.where(absent, np.nan, ranked)


def borda(scores: Array) -> Array:
    """(n - rank) / (n - 1) along the last axis over the n values present: 1 is best, 0 worst; NaN where n < 2."""
    n = np.isfinite(scores).sum(-1, keepdims=True)
    return np.where(n > 1, (n - ranks(scores)) / np.maximum(n - 1, 1), np.nan)


def z_scores(scores: Array) -> Array:
    """(score - mean) / population standard deviation along the last axis over the values present; 0 where all are
    equal, NaN where fewer than two are present."""
    present = np.isfinite(scores)
    n = present.sum(-1, keepdims=True)
    centred = scores - np.where(present, scores, 0.0).sum(-1, keepdims=True) / np.maximum(n, 1)
    deviation = np.sqrt(np.where(present, centred**2, 0.0).sum(-1, keepdims=True) / np.maximum(n, 1))
    return np.where(n > 1, centred / np.where(deviation > 0, deviation, 1.0), np.nan)


def mean(values: Array, weights: Array, axis: int, *, complete: bool = False) -> Array:
    """Weighted mean along `axis` over the values present; NaN where none has weight. With `complete`, NaN as soon as
    one value that has weight is absent: means over different sets would not be comparable."""
    weights = np.broadcast_to(weights, values.shape)
    present = np.isfinite(values)
    total = np.where(present, weights, 0.0).sum(axis)
    value = np.where(present, values * weights, 0.0).sum(axis) / np.where(total > 0, total, 1.0)
    holes = (~present & (weights > 0)).any(axis) if complete else False
    return np.where((total > 0) & ~np.asarray(holes), value, np.nan)


def iqa_scores(panel: Panel, draws: Draws) -> Array:
    """IQA score of each loss, (R, L): mean SRCC over the FR benchmarks, then over seeds (docs/study.md, definitions).
    A seed without one of the benchmarks is left out for that loss."""
    by_set = [_srcc_of_set(part, counts) for part, counts in zip(panel.sets, draws.contents, strict=True)]
    values = np.stack(by_set, axis=1)  # R, set, S, L
    within = mean(values, _set_weights(draws)[:, :, None, None], axis=1, complete=True)
    return mean(within, draws.seeds[:, :, None], axis=1)


def optimization_scores(panel: Panel, draws: Draws, view: Callable[[Array], Array] = borda) -> Array:
    """Optimization score of each loss, (R, L): for each (test set, judge, seed) the image means are turned by `view`
    (`borda`, or `z_scores` as a second view) over the losses present; then the mean within a judge family, over
    families, test sets and seeds, in this order (docs/study.md, definitions)."""
    names = sorted(set(panel.families))
    by_set = []
    for part, counts in zip(panel.sets, draws.contents, strict=True):
        points = view(_image_means(part, counts))  # R, J, S, L
        members = [[i for i, family in enumerate(panel.families) if family == name] for name in names]
        families = [mean(points[:, rows], np.ones(1), axis=1) for rows in members]
        by_set.append(mean(np.stack(families, axis=1), np.ones(1), axis=1))
    over_sets = mean(np.stack(by_set, axis=1), _set_weights(draws)[:, :, None, None], axis=1)
    return mean(over_sets, draws.seeds[:, :, None], axis=1)


def iqa_panel(
    cells: pd.DataFrame, scores: Mapping[str, Predictions], losses: Sequence[str], seeds: Sequence[int]
) -> Panel:
    """The FR-IQA side: predictions of every ranked loss on every benchmark, aligned by image."""
    cells = cells[(cells["role"] == "metric_benchmark") & ~cells["baseline"]].assign(lower_better=0.0)
    return _panel(cells, scores, losses, seeds, judges=None)


def optimization_panel(
    cells: pd.DataFrame,
    scores: Mapping[str, Predictions],
    losses: Sequence[str],
    seeds: Sequence[int],
    discriminator: str,
) -> Panel:
    """The optimization side under one discriminator: the judges that have a family, turned so that higher is better."""
    cells = cells[
        (cells["role"] == "judging")
        & ~cells["baseline"]
        & (cells["family"] != "")
        & (cells["discriminator"] == discriminator)
    ]
    return _panel(cells, scores, losses, seeds, judges=tuple(dict.fromkeys(cells["judge"])))


def _panel(
    cells: pd.DataFrame,
    scores: Mapping[str, Predictions],
    losses: Sequence[str],
    seeds: Sequence[int],
    judges: tuple[str, ...] | None,
) -> Panel:
    sets = tuple(
        _image_set(name, cells[cells["data_set"] == name], scores, losses, seeds, judges or ("",))
        for name in dict.fromkeys(cells["data_set"])
    )
    families = dict(zip(cells["judge"], cells["family"], strict=True))
    return Panel(tuple(losses), tuple(seeds), sets, tuple(families[judge] for judge in judges or ()))


def _image_set(
    name: str,
    cells: pd.DataFrame,
    scores: Mapping[str, Predictions],
    losses: Sequence[str],
    seeds: Sequence[int],
    judges: tuple[str, ...],
) -> ImageSet:
    done = cells[cells["status"] == "done"]
    of_set = distinct(scores[key] for key in done["key"])
    images, places = _together(of_set)
    values = np.full((len(judges), len(seeds), len(losses), len(images.names)), np.nan)
    for cell in done.itertuples():
        trial = scores[cell.key]
        at = slice(None) if pd.isna(cell.seed) else list(seeds).index(cell.seed)
        row = values[judges.index(cell.judge), at, list(losses).index(cell.loss)]
        row[..., places[of_set.index(trial.images)]] = trial.values * (-1.0 if cell.lower_better == 1.0 else 1.0)
    content = np.unique(images.contents, return_inverse=True)[1]
    return ImageSet(name, values, content, images.labels)


def _together(parts: Sequence[Images]) -> tuple[Images, list[np.ndarray]]:
    """The images that any of `parts` has, by name, and where in them those of each part are."""
    if not parts:
        return Images(np.zeros(0, str), np.zeros(0, str), np.zeros(0)), []
    names, contents, labels = (
        np.concatenate([getattr(part, field) for part in parts]) for field in ("names", "contents", "labels")
    )
    names, first = np.unique(names, return_index=True)
    return Images(names, contents[first], labels[first]), [np.searchsorted(names, part.names) for part in parts]


def _srcc_of_set(part: ImageSet, counts: Array) -> Array:
    """(R, S, L): SRCC of every seed and loss on one benchmark whose contents are drawn `counts` (R, C) times."""
    assert part.labels is not None
    _, seeds, losses, images = part.values.shape
    if not images:
        return np.full((len(counts), seeds, losses), np.nan)
    columns = [part.values[0, s, j] for s, j in np.ndindex(seeds, losses)]
    known = {column.tobytes(): column for column in columns}  # seeds that share one trial are computed once
    by_column = dict(zip(known, srcc_resampled(list(known.values()), part.labels, counts, part.content), strict=True))
    return np.stack([by_column[column.tobytes()] for column in columns], axis=1).reshape(len(counts), seeds, losses)


def _image_means(part: ImageSet, counts: Array) -> Array:
    """(R, J, S, L): image means on one test set whose contents are drawn `counts` (R, C) times."""
    weights = counts[:, part.content]
    total = weights.sum(1)
    sums = np.einsum("rn,jsln->rjsl", weights, part.values)
    drawn = (total > 0)[:, None, None, None]
    return np.where(drawn, sums / np.where(total > 0, total, 1.0)[:, None, None, None], np.nan)


def _set_weights(draws: Draws) -> Array:
    """(R, number of sets): a set of which no content was drawn has no weight."""
    drawn = np.stack([counts.sum(1) > 0 for counts in draws.contents], axis=1)
    weights: Array = draws.sets * drawn
    return weights

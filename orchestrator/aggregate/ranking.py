"""Scores and ranks of the losses, as metrics (IQA score) and as training losses (optimization score).

Both are computed for R weightings of their units at once (resampling.py): all ones is the point estimate, resampled
counts are the bootstrap, zeros and ones a jackknife or a split half. One code path thus serves the tables, the
intervals and the reliabilities. Shapes: see panel.py; V views.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache, lru_cache

import numpy as np

from orchestrator.aggregate.correlation import Array, srcc_resampled
from orchestrator.aggregate.panel import ImageSet, Panel
from orchestrator.aggregate.resampling import Draws

FEW = 12
"""Up to this many values of a row counting how many each one beats is faster than sorting."""
DIGITS = 12
"""Scores are rounded to so many digits: equal means of the same points must tie, whatever the order of summation."""
BLOCK = 2**21
"""Points that are worked on at once: what that takes is bounded."""


@dataclass(frozen=True)
class View:
    """One way of ranking the same images: which judges, test sets and benchmarks count, and how."""

    name: str
    without_judges: frozenset[str] = frozenset()
    without_sets: frozenset[str] = frozenset()
    without_benchmarks: frozenset[str] = frozenset()
    z_scores: bool = False
    """Whether image means are standardised instead of ranked."""
    diverged_last: bool = True
    """Whether a training that diverged ranks last in its blocks; else it is left out. A z-score leaves it out: nothing
    that is not there has a distance."""

    def judges(self, panel: Panel) -> list[int]:
        """Positions of the judges that count."""
        return [i for i, judge in enumerate(panel.judges) if judge not in self.without_judges]


ALL = View("all judges")


def ranks(scores: Array) -> Array:
    """Ranks along the last axis: 1 is the highest score, ties averaged, NaN stays NaN and takes no rank."""
    absent = np.isnan(scores)
    if scores.shape[-1] > FEW and not absent.any() and (sorted_ranks := _untied_ranks(scores)) is not None:
        return sorted_ranks
    return np.where(absent, np.nan, (~absent).sum(-1, keepdims=True) - _beaten(scores))


def _untied_ranks(scores: Array) -> Array | None:
    """Ranks by sorting; None where there is a tie."""
    order = np.argsort(-scores, axis=-1)
    ordered = np.take_along_axis(scores, order, axis=-1)
    if (ordered[..., 1:] == ordered[..., :-1]).any():
        return None
    placed, places = np.empty(scores.shape), np.arange(1.0, scores.shape[-1] + 1)
    np.put_along_axis(placed, order, np.broadcast_to(places, scores.shape), axis=-1)
    return placed


def borda(scores: Array) -> Array:
    """(n - rank) / (n - 1) along the last axis over the n values present: 1 is best, 0 worst; NaN where n < 2."""
    n = (~np.isnan(scores)).sum(-1, keepdims=True)
    return np.where((n > 1) & ~np.isnan(scores), _beaten(scores) / np.maximum(n - 1, 1), np.nan)


def _beaten(scores: Array) -> Array:
    """How many of the others each value along the last axis beats, a tie being half."""
    beaten = np.full(scores.shape, -0.5)  # each ties with itself
    for other in range(scores.shape[-1]):
        beside = scores[..., other : other + 1]
        beaten += scores > beside
        beaten += 0.5 * (scores == beside)
    return beaten


def z_scores(scores: Array) -> Array:
    """(score - mean) / population standard deviation along the last axis over the finite values; 0 where all are
    equal, NaN where fewer than two are there."""
    present = np.isfinite(scores)
    scores = np.where(present, scores, np.nan)
    n = present.sum(-1, keepdims=True)
    centred = scores - np.where(present, scores, 0.0).sum(-1, keepdims=True) / np.maximum(n, 1)
    deviation = np.sqrt(np.where(present, centred**2, 0.0).sum(-1, keepdims=True) / np.maximum(n, 1))
    return np.where(n > 1, centred / np.where(deviation > 0, deviation, 1.0), np.nan)


def mean(values: Array, weights: Array, axis: int, *, complete: bool = False, normal: bool = False) -> Array:
    """Weighted mean along `axis` over the values present; NaN where none has weight. With `complete`, NaN as soon as
    one value that has weight is absent: means over different sets would not be comparable. `normal` says that weights
    are those of `resampling.weighted`: see `_drawn_mean`."""
    present = np.isfinite(values)
    if normal:
        return _drawn_mean(values, weights, present, axis, complete=complete)
    values, weights, present = np.broadcast_arrays(values, weights, present)
    total = np.where(present, weights, 0.0).sum(axis)
    value = np.where(present, values * weights, 0.0).sum(axis) / np.where(total > 1e-9, total, 1.0)
    holes = (~present & (weights != 0)).any(axis) if complete else False
    return np.where((total > 1e-9) & ~np.asarray(holes), value, np.nan)


def _drawn_mean(values: Array, weights: Array, present: np.ndarray, axis: int, *, complete: bool) -> Array:
    """Mean of the k of n values that are present plus the weights' deviations from their own mean over those k, scaled
    so that it varies by s^2 / k. Weights that may be negative must not be divided by their sum. A single value does
    not vary."""
    n = values.shape[axis]
    if present.all():
        return np.asarray((values * weights).sum(axis) / n)
    k = present.sum(axis, keepdims=True)
    there = np.maximum(k, 1)
    centre = np.where(present, values, 0.0).sum(axis, keepdims=True) / there
    deviation = weights - np.where(present, weights, 0.0).sum(axis, keepdims=True) / there
    scale = np.sqrt(there / np.maximum(there - 1, 1) * (n - 1) / n)
    moved = np.where(present, deviation * (np.where(present, values, 0.0) - centre), 0.0).sum(axis, keepdims=True)
    enough = k == n if complete else k > 0
    return np.asarray(np.where(enough, centre + scale * moved / there, np.nan).squeeze(axis))


def srcc_by_set(panel: Panel, draws: Draws) -> Array:
    """(R, T, S, L): SRCC of every loss on every benchmark, what the IQA score averages; (1, T, S, L) where all
    weightings have the same contents."""
    found = [_srcc_of_set(part, counts) for part, counts in zip(panel.sets, draws.contents, strict=True)]
    return (
        np.stack(np.broadcast_arrays(*found), axis=1)
        if found
        else np.zeros((1, 0, len(panel.seeds), len(panel.losses)))
    )


def iqa_scores(panel: Panel, draws: Draws) -> Array:
    """IQA score of each loss, (R, L): mean SRCC over the FR benchmarks, then over seeds (docs/study.md, definitions).
    A seed without one of the benchmarks is left out for that loss."""
    values = srcc_by_set(panel, draws)
    if not values.shape[1]:
        return np.full((len(draws.seeds), len(panel.losses)), np.nan)
    within = mean(values, set_weights(draws)[:, :, None, None], axis=1, complete=True, normal=draws.normal)
    return mean(within, draws.seeds[:, :, None], axis=1, normal=draws.normal).round(DIGITS)


def optimization_scores(panel: Panel, draws: Draws, views: Sequence[View] = (ALL,)) -> Array:
    """Optimization score of each loss under each discriminator, (V, R, D, L): for each (test set, judge, seed) the
    image means become Borda points (or z-scores) over the losses present, a diverged training last; then the mean
    within a judge family, over families, test sets and seeds, in this order (docs/study.md, definitions). Of a view its
    judges and scores count here; the sets that it leaves out are left out of the panel."""
    rows, points = len(draws.seeds), int(np.prod([len(panel.discriminators), len(panel.judges), len(panel.losses)]))
    step = max(1, BLOCK // max(1, points * len(panel.seeds)))
    scores = np.full((len(views), rows, len(panel.discriminators), len(panel.losses)), np.nan)
    for start in range(0, rows if panel.sets and panel.judges else 0, step):
        part = slice(start, start + step)
        scores[:, part] = _scores(panel, draws.of(part), views)
    return scores.round(DIGITS)


def _scores(panel: Panel, draws: Draws, views: Sequence[View]) -> Array:
    weights, found = set_weights(draws), []
    by_set = [_by_view(panel, part, counts, views) for part, counts in zip(panel.sets, draws.contents, strict=True)]
    for v in range(len(views)):
        values = np.stack(np.broadcast_arrays(*(one[v] for one in by_set)), 1)
        over_sets = mean(values, weights[:, :, None, None, None], axis=1, normal=draws.normal)
        found.append(mean(over_sets, draws.seeds[:, None, :, None], axis=2, normal=draws.normal))
    return np.stack(found)


def _by_view(panel: Panel, part: ImageSet, counts: Array, views: Sequence[View]) -> list[Array]:
    """(R, D, S, L) for each view: points of one test set, averaged within families and over them."""
    means = _image_means(part, counts)  # R, D, J, S, L
    lost = np.zeros((1, 1, 1, 1), bool) if panel.diverged is None else panel.diverged[:, None]

    @cache
    def points(z: bool, last: bool) -> Array:
        placed = np.where(lost & np.isnan(means), -np.inf, means) if last else means
        return z_scores(means) if z else borda(placed)

    @cache
    def averaged(z: bool, last: bool, judges: tuple[int, ...]) -> Array:
        names = dict.fromkeys(panel.families[i] for i in judges)
        members = [[i for i in judges if panel.families[i] == name] for name in names]
        families = [mean(points(z, last)[:, :, rows], np.ones(1), axis=2) for rows in members]
        if not families:
            return np.full(means[:, :, 0].shape, np.nan)
        return mean(np.stack(families, axis=2), np.ones(1), axis=2)

    return [averaged(view.z_scores, view.diverged_last, tuple(view.judges(panel))) for view in views]


def wins(panel: Panel) -> Array:
    """(D, L, L): in how many blocks (test set, judge of the score, seed) the first loss's image mean beats the
    second's, a tie being half, each family, test set and seed with equal weight in all. What a Bradley-Terry model is
    fitted to."""
    won = np.zeros((len(panel.discriminators), len(panel.losses), len(panel.losses)))
    sizes = {name: panel.families.count(name) for name in panel.families}
    weights = np.array([1 / (len(sizes) * sizes[name]) for name in panel.families])
    for part in panel.sets:
        means = _image_means(part, np.ones((1, part.contents)))[0]  # D, J, S, L
        if panel.diverged is not None:
            means = np.where(panel.diverged[:, None] & np.isnan(means), -np.inf, means)
        first, second = means[..., :, None], means[..., None, :]
        share = (first > second) + 0.5 * (first == second)
        won += np.einsum("j,djslm->dlm", weights, share)
    won[:, np.arange(len(panel.losses)), np.arange(len(panel.losses))] = 0.0
    return won


def set_weights(draws: Draws) -> Array:
    """(R, T): a set of which no content was drawn has no weight."""
    there = [(counts.sum(1) > 0).astype(float) for counts in draws.contents]
    return draws.sets * np.stack(np.broadcast_arrays(*there), axis=1) if there else draws.sets


def _srcc_of_set(part: ImageSet, counts: Array) -> Array:
    """(R, S, L): SRCC of every seed and loss on one benchmark whose contents are drawn `counts` (R, C) times."""
    return _srcc(part, counts) if (counts != 1).any() else np.repeat(_whole_srcc(part), len(counts), axis=0)


@lru_cache(maxsize=64)
def _whole_srcc(part: ImageSet) -> Array:
    """(1, S, L), each content once: most weightings are of seeds and sets alone."""
    return _srcc(part, np.ones((1, part.contents)))


def _srcc(part: ImageSet, counts: Array) -> Array:
    assert part.labels is not None
    _, _, seeds, losses, _ = part.values.shape
    if not part.values.size:
        return np.full((len(counts), seeds, losses), np.nan)
    columns = [part.values[0, 0, s, j] for s, j in np.ndindex(seeds, losses)]
    known = {column.tobytes(): column for column in columns}  # seeds that share one trial are computed once
    by_column = dict(zip(known, srcc_resampled(list(known.values()), part.labels, counts, part.content), strict=True))
    return np.stack([by_column[column.tobytes()] for column in columns], axis=1).reshape(len(counts), seeds, losses)


def _image_means(part: ImageSet, counts: Array) -> Array:
    """(R, D, J, S, L): image means on one test set whose contents are drawn `counts` (R, C) times."""
    weights = counts[:, part.content]
    total = weights.sum(1)
    *shape, images = part.values.shape
    if not part.values.size:
        return np.full((len(counts), *shape), np.nan)
    sums = (weights @ part.values.reshape(-1, images).T).reshape(len(counts), *shape)
    drawn = (total > 0)[:, None, None, None, None]
    return np.where(drawn, sums / np.where(total > 0, total, 1.0)[:, None, None, None, None], np.nan)

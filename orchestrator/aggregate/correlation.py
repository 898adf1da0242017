"""Agreement of predictions with labels: SRCC, KRCC, PLCC raw and after a logistic fit, SRCC of many resamples.

Undefined values (a constant input, fewer than two points) are NaN and never an exception or a warning.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy.optimize import least_squares
from scipy.special import expit
from scipy.stats import kendalltau, rankdata

Array = npt.NDArray[np.float64]
EVALUATIONS = 2_000
"""Evaluations of the logistic after which a fit counts as not converged."""


def plcc(prediction: Array, label: Array) -> float:
    """Pearson's linear correlation coefficient of two vectors (N,), in [-1, 1]."""
    return float(weighted_pearson(prediction, label, np.ones_like(prediction, dtype=float)))


def srcc(prediction: Array, label: Array) -> float:
    """Spearman's rank correlation of two vectors (N,): Pearson on ranks, ties averaged."""
    return plcc(rankdata(prediction), rankdata(label))


def krcc(prediction: Array, label: Array) -> float:
    """Kendall's tau-b of two vectors (N,), which corrects for ties."""
    if _constant(prediction) or _constant(label):
        return float("nan")
    return float(kendalltau(prediction, label).statistic)


def logistic(x: Array, high: float, low: float, centre: float, width: float) -> Array:
    """The four-parameter logistic of VQEG's FR-TV phase I report (2000): rises from `low` to `high` around `centre`."""
    value: Array = low + (high - low) * expit((x - centre) / (abs(width) + 1e-12))
    return value


def _slopes(x: Array, high: float, low: float, centre: float, width: float) -> Array:
    """(N, 4): derivatives of `logistic` by its four parameters."""
    size = abs(width) + 1e-12
    share = expit((x - centre) / size)
    by_centre = (low - high) / size * share * (1 - share)
    return np.stack([share, 1 - share, by_centre, by_centre * (x - centre) / size * np.sign(width)], axis=1)


def plcc_fitted(prediction: Array, label: Array) -> tuple[float, bool]:
    """(PLCC of the labels with the fitted logistic of the predictions, whether the fit converged).

    Starts where pyiqa and BasicIQA do: the labels' extremes, the mean of the predictions, a quarter of their deviation.
    A fit that does not converge within `EVALUATIONS`, or ends constant, gives (NaN, False); so do predictions that are
    not finite.
    """
    if len(prediction) < 5 or not np.isfinite(prediction).all() or _constant(prediction) or _constant(label):
        return float("nan"), False
    x = (prediction - prediction.mean()) / prediction.std()  # the fit then does not depend on the metric's unit
    start = [label.max(), label.min(), 0.0, 0.25]
    # Not "lm": in one process of four MINPACK's last bits depend on where in memory the vectors lie.
    fit = least_squares(
        lambda beta: logistic(x, *beta) - label, start, lambda beta: _slopes(x, *beta), max_nfev=EVALUATIONS
    )
    value = plcc(logistic(x, *fit.x), label)
    return (value, True) if fit.success and np.isfinite(value) else (float("nan"), False)


BLOCK = 2**15
"""Points of as many resamples as are worked on at once: 256 KiB each of what is needed of them."""


def srcc_resampled(predictions: Sequence[Array], label: Array, counts: Array, unit: np.ndarray) -> Array:
    """SRCC of M predictions (N,) with a label (N,) in R resamples of C units, of which `unit` (N,) names each point's:
    `counts` (R, C) says how often each unit was drawn; returns (M, R), NaN for a prediction with a hole.

    Equal to `srcc(np.repeat(prediction, counts[r, unit]), np.repeat(label, counts[r, unit]))`, without sorting again:
    midranks of a resample are running sums of its counts in the order of the values. So many resamples at a time that
    what is worked on stays in the processor's cache.
    """
    values = np.full((len(predictions), len(counts)), np.nan)
    whole = {m: Ties.of(prediction) for m, prediction in enumerate(predictions) if not np.isnan(prediction).any()}
    of_label, rows = Ties.of(label), max(1, BLOCK // max(1, len(label)))
    for start in range(0, len(counts) if whole and len(label) else 0, rows):
        mass = counts[start : start + rows].take(unit, axis=1)
        total, cubes = mass.sum(1), _dots(mass * mass, mass)
        weighted = np.empty_like(mass)
        weighted[:, of_label.order] = mass.take(of_label.order, axis=1) * (of_label.ranks(mass) - total[:, None] / 2)
        rest, squares = _dots(mass, weighted), of_label.squares(mass, total, cubes)
        for m, ties in whole.items():
            norm = np.sqrt(np.maximum(0.0, squares * ties.squares(mass, total, cubes)))
            defined = norm > 1e-9
            found = ties.cross(mass, weighted, rest) / np.where(defined, norm, 1.0)
            values[m, start : start + rows] = np.where(defined, found.clip(-1.0, 1.0), np.nan)
    return values


@dataclass(frozen=True)
class Ties:
    """The order of N values, and which of them are equal."""

    order: np.ndarray
    """(N,): positions of the values, sorted."""
    first: np.ndarray | None
    """(N,): at each sorted place, where the values equal to that one begin. None where no two are equal."""
    last: np.ndarray | None
    """(N,): where they end."""

    @classmethod
    def of(cls, values: Array) -> "Ties":
        """Sorts (N,) values."""
        order = np.argsort(values, kind="stable")
        ordered = values[order]
        if (np.diff(ordered) > 0).all():
            return cls(order, None, None)
        return cls(order, np.searchsorted(ordered, ordered, "left"), np.searchsorted(ordered, ordered, "right") - 1)

    def ranks(self, mass: Array) -> Array:
        """Midranks (B, N), in sorted order and less a half, when in resample b value i occurs `mass[b, i]` times."""
        below, above = self._bounds(mass)
        return (below + above) / 2

    def squares(self, mass: Array, total: Array, cubes: Array) -> Array:
        """(B,): sums of squares of the midranks about their mean over all occurrences: (W^3 - sum g^3)/12 for W =
        `total` occurrences in groups of g equal ones (Kendall and Gibbons 1990, chapter 3); `cubes` are the sums of
        mass^3."""
        if self.first is None:
            return np.asarray((total**3 - cubes) / 12)
        below, above = self._bounds(mass)
        return np.asarray((total**3 - _dots(mass.take(self.order, axis=1), (above - below) ** 2)) / 12)

    def cross(self, mass: Array, weighted: Array, rest: Array) -> Array:
        """(B,): sums of the midranks times `weighted` (B, N), which sum to zero; `rest` are those of mass times it."""
        if self.first is None:  # the midrank is `above - mass / 2`, and the sum over its second term knows no order
            above = mass.take(self.order, axis=1)
            above.cumsum(1, out=above)
            return np.asarray(_dots(above, weighted.take(self.order, axis=1)) - rest / 2)
        return _dots(self.ranks(mass), weighted.take(self.order, axis=1))

    def _bounds(self, mass: Array) -> tuple[Array, Array]:
        """How many occurrences are less than each sorted value, and how many are not greater: (B, N) each."""
        ordered = mass.take(self.order, axis=1)
        above = ordered.cumsum(1)
        below = above - ordered
        if self.first is None or self.last is None:
            return below, above
        return below.take(self.first, axis=1), above.take(self.last, axis=1)


def _dots(x: Array, y: Array) -> Array:
    """(B,): of each row of one with that of the other."""
    return np.asarray(np.einsum("bn,bn->b", x, y))


def weighted_pearson(x: Array, y: Array, weights: Array) -> Array:
    """Pearson's r along the last axis with weights >= 0; NaN where a variance or the total weight is zero."""
    total = weights.sum(-1, keepdims=True)
    safe = np.where(total > 0, total, 1.0)
    x = x - (weights * x).sum(-1, keepdims=True) / safe
    y = y - (weights * y).sum(-1, keepdims=True) / safe
    norm = np.sqrt((weights * x * x).sum(-1) * (weights * y * y).sum(-1))
    defined = norm > 1e-12
    value = (weights * x * y).sum(-1) / np.where(defined, norm, 1.0)
    clipped: Array = np.where(defined, np.clip(value, -1.0, 1.0), np.nan)
    return clipped


def _constant(values: Array) -> bool:
    return len(values) < 2 or bool(np.all(values == values[0]))

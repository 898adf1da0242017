"""Agreement of predictions with labels: SRCC, KRCC, PLCC raw and after a logistic fit, SRCC of many resamples.

Undefined values (a constant input, fewer than two points) are NaN and never an exception or a warning.
"""

import math
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
    fit = least_squares(lambda beta: logistic(x, *beta) - label, start, method="lm", max_nfev=EVALUATIONS)
    value = plcc(logistic(x, *fit.x), label)
    return (value, True) if fit.success and np.isfinite(value) else (float("nan"), False)


def srcc_resampled(predictions: Sequence[Array], label: Array, counts: Array, unit: np.ndarray) -> Array:
    """SRCC of M predictions (N,) with a label (N,) in R resamples of C units, of which `unit` (N,) names each point's:
    `counts` (R, C) says how often each unit was drawn; returns (M, R), NaN for a prediction with a hole.

    Equal to `srcc(np.repeat(prediction, counts[r, unit]), np.repeat(label, counts[r, unit]))`, without sorting again:
    midranks of a resample are running sums of its counts in the order of the values. Row by row, so that what is worked
    on stays in the processor's cache.
    """
    values = np.full((len(predictions), len(counts)), np.nan)
    whole = {m: Ties.of(prediction) for m, prediction in enumerate(predictions) if not np.isnan(prediction).any()}
    of_label = Ties.of(label)
    for r, drawn in enumerate(counts if whole and len(label) else ()):
        mass = drawn.take(unit)
        total, cubes = mass.sum(), (mass * mass) @ mass
        weighted = np.empty_like(mass)
        weighted[of_label.order] = mass.take(of_label.order) * (of_label.ranks(mass) - total / 2)
        rest, squares = mass @ weighted, of_label.squares(mass, total, cubes)
        for m, ties in whole.items():
            norm = math.sqrt(max(0.0, squares * ties.squares(mass, total, cubes)))
            if norm > 1e-9:
                values[m, r] = min(1.0, max(-1.0, ties.cross(mass, weighted, rest) / norm))
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
        """Midranks (N,), in sorted order and less a half, when value i occurs `mass[i]` (N,) times."""
        below, above = self._bounds(mass)
        return (below + above) / 2

    def squares(self, mass: Array, total: float, cubes: float) -> float:
        """Sum of squares of the midranks about their mean over all occurrences: (W^3 - sum g^3)/12 for W = `total`
        occurrences in groups of g equal ones (Kendall and Gibbons 1990, chapter 3); `cubes` is the sum of mass^3."""
        if self.first is None:
            return float(total**3 - cubes) / 12
        below, above = self._bounds(mass)
        return float(total**3 - mass.take(self.order) @ (above - below) ** 2) / 12

    def cross(self, mass: Array, weighted: Array, rest: float) -> float:
        """Sum of the midranks times `weighted` (N,), which sums to zero; `rest` is `mass @ weighted`."""
        if self.first is None:  # the midrank is `above - mass / 2`, and the sum over its second term knows no order
            above = mass.take(self.order)
            np.cumsum(above, out=above)
            return float(above @ weighted.take(self.order) - rest / 2)
        return float(self.ranks(mass) @ weighted.take(self.order))

    def _bounds(self, mass: Array) -> tuple[Array, Array]:
        """How many occurrences are less than each sorted value, and how many are not greater: (N,) each."""
        ordered = mass.take(self.order)
        above = np.cumsum(ordered)
        below = above - ordered
        if self.first is None or self.last is None:
            return below, above
        return below.take(self.first), above.take(self.last)


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

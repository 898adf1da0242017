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
BLOCK = 2**20
"""Weights of points that are worked on at once: what that takes is bounded, and a row is not worked on alone."""


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

    Equal to `srcc(np.repeat(prediction, counts[r, unit]), np.repeat(label, counts[r, unit]))`, without sorting again.
    """
    values, of_label = np.full((len(predictions), len(counts)), np.nan), Ties.of(label)
    whole = {m: Ties.of(prediction) for m, prediction in enumerate(predictions) if not np.isnan(prediction).any()}
    for rows in np.array_split(np.arange(len(counts)), math.ceil(len(counts) * len(unit) / BLOCK)):
        weights = counts[rows][:, unit]
        label_ranks = of_label.ranks(weights)
        for m, ties in whole.items():
            values[m, rows] = weighted_pearson(ties.ranks(weights), label_ranks, weights)
    return values


@dataclass(frozen=True)
class Ties:
    """The order of N values, of which G differ."""

    order: np.ndarray
    """(N,): positions of the values, sorted."""
    first: np.ndarray
    """(G,): where in `order` each group of equal values begins."""
    group: np.ndarray
    """(N,): the group of each value."""

    @classmethod
    def of(cls, values: Array) -> "Ties":
        """Sorts (N,) values."""
        order = np.argsort(values, kind="stable")
        _, first, group = np.unique(values, return_index=True, return_inverse=True)
        return cls(order, np.searchsorted(values[order], values[first]), group)

    def ranks(self, counts: Array) -> Array:
        """Midranks (R, N) when value i occurs `counts[r, i]` times; equal values share their mean rank."""
        mass = counts[:, self.order]
        if len(self.first) < len(self.order):
            mass = np.add.reduceat(mass, self.first, axis=1)
        midranks: Array = np.cumsum(mass, axis=1) - (mass - 1) / 2
        return midranks[:, self.group]


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

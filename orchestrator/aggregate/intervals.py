"""Intervals from resamples: percentiles, and BCa, which the calibration shows to fail for rho of noisy scores."""

import math
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from scipy.special import ndtr, ndtri

from orchestrator.aggregate.correlation import Array

LEVEL = 0.95


@dataclass(frozen=True)
class Bootstrap:
    """What a set of resamples says of one number."""

    estimate: float
    resamples: Array
    """(R,), the defined ones, sorted."""
    bias: float
    """z0: the normal quantile of the share of resamples below the estimate; NaN where BCa is not defined."""
    acceleration: float
    """a, from the jackknife; 0 where nothing could be left out."""

    @classmethod
    def of(cls, estimate: float, resamples: Array, left_out: Mapping[str, Array] | None = None) -> "Bootstrap":
        """From resamples (R,) and, for each kind of unit, the numbers with one unit left out."""
        defined = np.sort(resamples[np.isfinite(resamples)])
        bias = float("nan")
        if defined.size and math.isfinite(estimate):
            below = (defined < estimate - 1e-12).mean() + 0.5 * (np.abs(defined - estimate) <= 1e-12).mean()
            if 0 < below < 1:
                bias = float(ndtri(below))
        return cls(estimate, defined, bias, acceleration(left_out or {}))

    def interval(self, level: float = LEVEL) -> tuple[float, float, str]:
        """(low, high, method): BCa (Efron 1987), percentile where its bias is not defined because every resample lies
        on one side of the estimate, nothing where no resample is defined."""
        if not self.resamples.size:
            return float("nan"), float("nan"), "undefined: no resample has a value"
        tails = (1 - level) / 2, (1 + level) / 2
        if not math.isfinite(self.bias):
            low, high = np.quantile(self.resamples, tails)
            return float(low), float(high), "percentile (BCa is not defined here)"
        low, high = (self.quantile(tail) for tail in tails)
        return low, high, "BCa"

    def quantile(self, share: float) -> float:
        """BCa's endpoint at `share`; at 0.5 the median-unbiased estimate."""
        shift = self.bias + float(ndtri(share))
        adjusted = ndtr(self.bias + shift / (1 - self.acceleration * shift))
        return float(np.quantile(self.resamples, adjusted))


def acceleration(left_out: Mapping[str, Array]) -> float:
    """BCa's a for several kinds of units, from the numbers (n,) with each unit of a kind left out (Davison and Hinkley
    1997, sections 2.7.3 and 5.3.2): influences l = (n - 1)(mean - value); sum l^3 / n^3 over all kinds, divided by
    6 (sum l^2 / n^2)^1.5."""
    cubes = squares = 0.0
    for values in left_out.values():
        n = len(values)
        if n < 2 or not np.isfinite(values).all():
            continue
        influence = (n - 1) * (values.mean() - values)
        cubes += float((influence**3).sum()) / n**3
        squares += float((influence**2).sum()) / n**2
    return cubes / (6 * squares**1.5) if squares > 1e-24 else 0.0


def bonett_wright(rho: float, n: int, level: float = LEVEL) -> tuple[float, float]:
    """Interval of Spearman's rho from n pairs: Fisher's z with the standard error sqrt((1 + rho^2 / 2) / (n - 3))
    (Bonett and Wright 2000). NaN for n < 4."""
    if n < 4 or not math.isfinite(rho):
        return float("nan"), float("nan")
    centre = math.atanh(min(max(rho, -1 + 1e-12), 1 - 1e-12))
    half = float(ndtri((1 + level) / 2)) * math.sqrt((1 + rho**2 / 2) / (n - 3))
    return math.tanh(centre - half), math.tanh(centre + half)


def percentile(values: Array, level: float = LEVEL) -> tuple[float, float]:
    """Percentile interval of the defined resamples of a vector; (NaN, NaN) where there are none."""
    defined = values[np.isfinite(values)]
    if not defined.size:
        return float("nan"), float("nan")
    low, high = np.percentile(defined, [50 * (1 - level), 50 * (1 + level)])
    return float(low), float(high)

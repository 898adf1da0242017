"""Is a number of one sweep another in a second sweep, or is the difference noise? From both intervals alone.

The interval of a difference B - A follows from the intervals of A and B (MOVER: Zou and Donner 2008; for correlations
Zou 2007): what counts on each side is the distance of either number to the end of its own interval that faces the
other, so that intervals that are not symmetric stay so. Its standard error is that distance, where it faces zero, over
1.96. That holds for independent sweeps. Trials that both share make the difference less noisy than that, so that it is
conservative, unless the two numbers covary negatively: then nothing is known.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
from scipy.special import ndtr, ndtri

from orchestrator.aggregate.claims import holm

QUANTILE = float(ndtri(0.975))
CHANGED, NOISE, SAME, NO_SPREAD = "changed", "within noise", "the same trials", "no spread"
"""Verdicts. No test is made of numbers on the same trials, whose difference is no sampling noise, nor of numbers whose
intervals have no width."""
SEPARATE, SHARED, EQUAL = "none", "some", "all"
"""How many of the trials that a number rests on the other sweep's number rests on, too."""


@dataclass(frozen=True)
class Difference:
    """B - A of one number, with its 95 % interval and what that says."""

    difference: float
    low: float
    high: float
    standard_error: float
    """Towards zero; NaN where both intervals have no width there."""

    @property
    def z(self) -> float:
        """Difference over its standard error; |z| > 1.96 where the interval leaves out zero."""
        return self.difference / self.standard_error if self.standard_error > 0 else float("nan")


def difference(a: Sequence[float], b: Sequence[float]) -> Difference:
    """B - A of two (value, low, high), each with its 95 % interval, from independent sweeps."""
    (x, x_low, x_high), (y, y_low, y_high) = a, b
    below = float(np.hypot(max(y - y_low, 0.0), max(x_high - x, 0.0)))
    above = float(np.hypot(max(y_high - y, 0.0), max(x - x_low, 0.0)))
    towards_zero = below if y > x else above if y < x else (below + above) / 2
    error = towards_zero / QUANTILE if towards_zero > 0 else float("nan")
    return Difference(y - x, y - x - below, y - x + above, error)


def overlap(a: frozenset[str], b: frozenset[str]) -> str:
    """Whether two numbers rest on the same trials, on some that are the same or on none."""
    return EQUAL if a and a == b else SHARED if a & b else SEPARATE


def judged(pairs: pd.DataFrame) -> pd.DataFrame:
    """`pairs` with what their differences say. Each row holds a, a_low, a_high, b, b_low, b_high and `shared` (as of
    `overlap`); added are difference with its interval, standard_error, z, p (two-sided, normal), p_holm over all rows
    that are tested, and verdict."""
    rows = pairs.to_dict("records")
    found = [difference(*([row[f"{side}{end}"] for end in ("", "_low", "_high")] for side in "ab")) for row in rows]
    tested = np.array([row["shared"] != EQUAL for row in rows], dtype=bool)
    z = np.where(tested, [one.z for one in found], np.nan).astype(float)
    frame = pairs.assign(
        difference=[one.difference for one in found],
        difference_low=np.where(tested, [one.low for one in found], np.nan),
        difference_high=np.where(tested, [one.high for one in found], np.nan),
        standard_error=np.where(tested, [one.standard_error for one in found], np.nan),
        z=z,
        p=2 * ndtr(-np.abs(z)),
    )
    return frame.assign(
        p_holm=holm(frame["p"]), verdict=[_verdict(*row) for row in zip(frame["difference"], z, tested, strict=True)]
    )


def _verdict(difference: float, z: float, tested: bool) -> str:
    if not tested:
        return SAME
    if abs(difference) < 1e-12:
        return NOISE
    return NO_SPREAD if np.isnan(z) else CHANGED if abs(z) > QUANTILE else NOISE

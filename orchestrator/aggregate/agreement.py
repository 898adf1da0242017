"""Rank correlation of two scores over few losses: exact permutation p, power, and what perfect agreement would show.

With six losses a correlation must reach .886 to be significant, and unreliable scores alone keep it from 1: neither
'no significant correlation' nor a correlation below 1 says anything by itself. Hence the power, and the null of perfect
agreement seen through the noise (noise.py). All vectorised over a leading axis: R resamples, P permutations, n losses.
"""

import itertools
import math
from collections.abc import Callable, Iterator
from functools import cache

import numpy as np

from orchestrator.aggregate.correlation import Array, weighted_pearson
from orchestrator.aggregate.ranking import ranks

SEED = 0
EXACT_LOSSES = 9
"""Up to this many losses all n! permutations are walked (9! = 362,880)."""
MONTE_CARLO = 100_000
BLOCK = 20_000
Statistic = Callable[[Array, Array], Array]


def spearman(x: Array, y: Array) -> Array:
    """Spearman's rho along the last axis over the positions where both are present; NaN where undefined."""
    present = np.isfinite(x) & np.isfinite(y)
    if present.shape[-1] == 0:
        return np.full(present.shape[:-1], np.nan)
    if not present.all():
        x_ranks, y_ranks = ranks(np.where(present, x, np.nan)), ranks(np.where(present, y, np.nan))
        return weighted_pearson(np.nan_to_num(x_ranks), np.nan_to_num(y_ranks), present.astype(float))
    return correlated(standard_ranks(x), standard_ranks(y))


def standard_ranks(x: Array) -> Array:
    """Ranks along the last axis of values that are all there, centred and of length 1; NaN where all are equal."""
    centred = ranks(x) - (x.shape[-1] + 1) / 2
    length = np.sqrt(np.einsum("...i,...i->...", centred, centred))[..., None]
    return np.asarray(centred / np.where(length > 0, length, np.nan))


def correlated(x: Array, y: Array) -> Array:
    """Spearman's rho from `standard_ranks` of both sides: ranks that many comparisons share are computed once."""
    return np.asarray(np.einsum("...i,...i->...", *np.broadcast_arrays(x, y)))


def kendall(x: Array, y: Array) -> Array:
    """Kendall's tau-b along the last axis over the positions where both are present; NaN where undefined."""
    first, second = np.triu_indices(x.shape[-1], k=1)
    x_signs = np.sign(x[..., first] - x[..., second])
    y_signs = np.sign(y[..., first] - y[..., second])
    present = np.isfinite(x_signs) & np.isfinite(y_signs)
    x_signs, y_signs = np.where(present, x_signs, 0.0), np.where(present, y_signs, 0.0)
    norm = np.sqrt((x_signs**2).sum(-1) * (y_signs**2).sum(-1))
    value: Array = np.where(norm > 0, (x_signs * y_signs).sum(-1) / np.where(norm > 0, norm, 1.0), np.nan)
    return value


def orders(n: int, draws: int = MONTE_CARLO) -> tuple[Iterator[np.ndarray], int, str]:
    """(blocks (P, n) of permutations, their number, how they were found): all n! up to `EXACT_LOSSES`, else random."""
    if n <= EXACT_LOSSES:
        total = math.factorial(n)
        every = itertools.permutations(range(n))
        blocks = (np.array(list(itertools.islice(every, BLOCK))) for _ in range(math.ceil(total / BLOCK)))
        return blocks, total, f"exact, {total:,} permutations"
    generator, row = np.random.default_rng([SEED, 4]), np.tile(np.arange(n), (BLOCK, 1))
    blocks = (generator.permuted(row[:draws], axis=1) for _ in range(math.ceil(draws / BLOCK)))
    total = min(draws, BLOCK) * math.ceil(draws / BLOCK)
    return blocks, total, f"Monte Carlo, {total:,} permutations, seed {SEED}"


def joint_p(x: Array, ys: Array, statistic: Statistic, draws: int = MONTE_CARLO) -> tuple[Array, Array, str]:
    """(p of each row, p of each row against the largest of all rows, how) of `statistic(x, y)` for x (n,) and every row
    y of (D, n), two-sided. One permutation of the losses is applied to all rows at once: six losses stay six.

    Monte Carlo counts the observed order among the permutations, (1 + hits) / (1 + draws), so that p is never 0
    (Phipson and Smyth 2010). NaN where the statistic is undefined. The second p holds for all rows together (the
    largest |statistic| of a permutation: Westfall and Young 1993).
    """
    observed = np.abs(statistic(np.broadcast_to(x, ys.shape), ys))
    if not np.isfinite(observed).any():
        return observed * np.nan, observed * np.nan, "undefined: one ranking is constant"
    blocks, total, how = orders(len(x), draws)
    hits, joint = np.zeros(len(ys)), np.zeros(len(ys))
    for block in blocks:
        value = np.abs(statistic(x[block][:, None, :], ys[None]))  # P, D
        hits += (value >= observed - 1e-9).sum(0)
        joint += (np.nanmax(value, axis=1)[:, None] >= observed - 1e-9).sum(0)
    exact = len(x) <= EXACT_LOSSES
    p, both = ((count if exact else 1 + count) / (total if exact else 1 + total) for count in (hits, joint))
    return np.where(np.isfinite(observed), p, np.nan), np.where(np.isfinite(observed), both, np.nan), how


@cache
def critical_rho(n: int, alpha: float = 0.05) -> float:
    """The least |rho| of n untied losses that the two-sided permutation test calls significant; infinite where none is
    (n = 4: p is at least .083)."""
    blocks, total, _ = orders(n)
    place = np.arange(n, dtype=float)
    values = np.sort(np.concatenate([np.abs(spearman(block.astype(float), place[None])) for block in blocks]))[::-1]
    exceeding = np.searchsorted(-values, -(values - 1e-9), side="right") / total  # p of each |rho|
    significant = values[exceeding <= alpha]
    return float(significant[-1]) if significant.size else math.inf

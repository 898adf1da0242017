"""Does the ranking of losses as metrics agree with their ranking as training losses?

Intervals are for *these losses*: seeds, reference contents and sets are resampled, the losses are not. The p values
permute the losses. The noise ceiling says how high the correlation could be at this reliability: noise imitates
asymmetry.
"""

import itertools
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np
import pandas as pd

from orchestrator.aggregate.correlation import Array, weighted_pearson
from orchestrator.aggregate.ranking import Draws, Panel, everything, iqa_scores, optimization_scores, ranks

RESAMPLES = 1_000
SPLITS = 200
SEED = 0
EXACT_LOSSES = 8
"""Up to this many losses all n! permutations are walked (8! = 40,320)."""
MONTE_CARLO = 100_000
LEAST_LOSSES = 3
METHOD = (
    f"Intervals: 95 % percentile intervals of a hierarchical bootstrap with {RESAMPLES:,} resamples, generator seed "
    f"{SEED}: seeds, benchmarks and test sets, and the reference contents of each set are drawn with replacement, the "
    "same draws for every loss and discriminator, and both rankings computed again; the losses are not resampled. "
    f"p: two-sided, over permutations of the losses, all n! up to n = {EXACT_LOSSES} and {MONTE_CARLO:,} random ones "
    "above. Noise ceiling: square root of the product of the split-half reliabilities of both rankings, each the mean "
    f"Spearman correlation between halves over {SPLITS} random splits, Spearman-Brown corrected. The two halves share "
    "neither seeds nor reference contents; where there is only one seed, or only one content in a set, both halves "
    "hold it. The judges are not split. The ceiling is an estimate: with few losses and seeds an observed correlation "
    "can lie above it."
)


@dataclass(frozen=True)
class Sampled:
    """Scores (R, L) of the losses under R weightings: as metrics, and as training losses for each discriminator."""

    iqa: Array
    optimization: dict[str, Array]


def spearman(x: Array, y: Array) -> Array:
    """Spearman's rho along the last axis over the positions where both are present; NaN where undefined."""
    present = np.isfinite(x) & np.isfinite(y)
    x_ranks, y_ranks = ranks(np.where(present, x, np.nan)), ranks(np.where(present, y, np.nan))
    return weighted_pearson(np.nan_to_num(x_ranks), np.nan_to_num(y_ranks), present.astype(float))


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


def permutation_p(x: Array, y: Array, statistic: Callable[[Array, Array], Array]) -> tuple[float, str]:
    """(two-sided p, how it was found) of `statistic(x, y)` for vectors (n,) when y is permuted.

    Exact for n <= 8. Above, Monte Carlo counts the observed order among the permutations, (1 + hits) / (1 + draws), so
    that p is never 0 (Phipson and Smyth 2010). NaN where the statistic is undefined.
    """
    n, observed = len(x), abs(float(statistic(x, y)))
    if not math.isfinite(observed):
        return float("nan"), "undefined: one ranking is constant"
    exact = n <= EXACT_LOSSES
    orders = np.array(list(itertools.permutations(range(n)))) if exact else _random_orders(n)
    blocks = np.array_split(orders, math.ceil(len(orders) / 5_000))
    hits = sum(int((np.abs(statistic(np.broadcast_to(x, b.shape), y[b])) >= observed - 1e-9).sum()) for b in blocks)
    if exact:
        return hits / len(orders), f"exact, {len(orders):,} permutations"
    return (1 + hits) / (1 + MONTE_CARLO), f"Monte Carlo, {MONTE_CARLO:,} permutations, seed {SEED}"


def asymmetry(iqa: Panel, optimization: Mapping[str, Panel]) -> tuple[pd.DataFrame, pd.DataFrame]:
    """The asymmetry table, one row a discriminator, and the ranks table, one row a (loss, discriminator).

    `optimization` maps each discriminator's name to its panel. Changes are taken against 'none' where it is there.
    """
    point = _point(iqa, optimization)
    boot = _resampled(iqa, optimization)
    halves = _halves(iqa, optimization)
    baseline = _rho(point, "none"), _rho(boot, "none")
    rows = [_row(name, point, boot, halves, baseline) for name in optimization]
    return pd.DataFrame(rows), _ranks_table(iqa.losses, point, boot)


def _point(iqa: Panel, optimization: Mapping[str, Panel]) -> Sampled:
    return Sampled(
        _scores(iqa_scores, iqa, everything(iqa)),
        {name: _scores(optimization_scores, p, everything(p)) for name, p in optimization.items()},
    )


def _scores(score: Callable[[Panel, Draws], Array], panel: Panel, draws: Draws) -> Array:
    """Scores (R, L), all NaN for a panel without any set."""
    return score(panel, draws) if panel.sets else np.full((len(draws.seeds), len(panel.losses)), np.nan)


def _resampled(iqa: Panel, optimization: Mapping[str, Panel]) -> Sampled:
    """Each discriminator's sets are drawn from an equally seeded generator: equal draws, so differences are paired."""
    seeds = _drawn(np.random.default_rng([SEED, 0]), len(iqa.seeds))

    def draws(panel: Panel, stream: int) -> Draws:
        generator = np.random.default_rng([SEED, stream])
        sets = _drawn(generator, len(panel.sets))
        return Draws(seeds, sets, tuple(_drawn(generator, part.contents) for part in panel.sets))

    return Sampled(
        _scores(iqa_scores, iqa, draws(iqa, 1)),
        {name: _scores(optimization_scores, p, draws(p, 2)) for name, p in optimization.items()},
    )


def _drawn(generator: np.random.Generator, units: int) -> Array:
    """(RESAMPLES, units): how often each unit is drawn when `units` are drawn with replacement."""
    if units == 0:
        return np.zeros((RESAMPLES, 0))
    return generator.multinomial(units, np.full(units, 1 / units), size=RESAMPLES).astype(float)


def _halves(iqa: Panel, optimization: Mapping[str, Panel]) -> tuple[float, dict[str, float]]:
    """Spearman-Brown corrected split-half reliability of the IQA ranking and of each optimization ranking."""
    return _reliability(iqa_scores, iqa), {
        name: _reliability(optimization_scores, p) for name, p in optimization.items()
    }


def _reliability(score: Callable[[Panel, Draws], Array], panel: Panel) -> float:
    if len(panel.seeds) < 2 and all(part.contents < 2 for part in panel.sets):
        return float("nan")  # nothing to split
    generator = np.random.default_rng([SEED, 3])
    seeds = _split(generator, len(panel.seeds))
    contents = [_split(generator, part.contents) for part in panel.sets]
    sets = np.ones((SPLITS, len(panel.sets)))
    half = [_scores(score, panel, Draws(seeds[i], sets, tuple(c[i] for c in contents))) for i in (0, 1)]
    rho = spearman(*half)
    r = float(rho[np.isfinite(rho)].mean()) if np.isfinite(rho).any() else float("nan")
    return 2 * r / (1 + r) if r > -1 else float("nan")


def _split(generator: np.random.Generator, units: int) -> tuple[Array, Array]:
    """Two (SPLITS, units) masks of random halves; an odd unit goes to either half, a single unit to both."""
    if units < 2:
        return np.ones((SPLITS, units)), np.ones((SPLITS, units))
    place = generator.random((SPLITS, units)).argsort(axis=1).argsort(axis=1)
    size = units // 2 + generator.integers(0, 2, size=(SPLITS, 1)) * (units % 2)
    first = (place < size).astype(float)
    return first, 1.0 - first


def _row(
    name: str, point: Sampled, boot: Sampled, halves: tuple[float, dict[str, float]], baseline: tuple[Array, Array]
) -> dict[str, object]:
    both = np.isfinite(point.iqa[0]) & np.isfinite(point.optimization[name][0])
    n = int(both.sum())
    if n < LEAST_LOSSES:
        single = both.size == 1
        found = "the grid ranks a single loss" if single else f"{n} losses have both scores"
        note = f"{found}; at least {LEAST_LOSSES} are needed for a rank correlation"
        return {"discriminator": name, "losses": n, "note": note}
    x, y = point.iqa[0][both], point.optimization[name][0][both]
    (rho_p, how), (tau_p, _) = permutation_p(x, y, spearman), permutation_p(x, y, kendall)
    rho, resampled = _rho(point, name), _rho(boot, name)
    low, high = interval(resampled)
    ceiling, note = noise_ceiling(halves[0], halves[1][name])
    change_low, change_high = interval(resampled - baseline[1]) if name != "none" else (np.nan, np.nan)
    change = rho[0] - baseline[0][0] if name != "none" else np.nan
    return {
        "discriminator": name,
        "losses": n,
        "spearman": rho[0],
        "spearman_low": low,
        "spearman_high": high,
        "spearman_p": rho_p,
        "kendall": float(kendall(x, y)),
        "kendall_p": tau_p,
        "smallest_p": 2 / math.factorial(n),
        "noise_ceiling": ceiling,
        "change_against_none": change,
        "change_low": change_low,
        "change_high": change_high,
        "iqa_reliability": halves[0],
        "optimization_reliability": halves[1][name],
        "p_method": how,
        "resamples": int(np.isfinite(resampled).sum()),
        "note": note,
    }


def noise_ceiling(iqa: float, optimization: float) -> tuple[float, str]:
    """(sqrt(iqa * optimization), "") for two reliabilities; (NaN, why) where one is undefined or not positive."""
    for name, value in (("IQA", iqa), ("optimization", optimization)):
        if math.isnan(value):
            return float("nan"), f"no noise ceiling: the {name} ranking cannot be split in halves"
        if value <= 0:
            return float("nan"), f"no noise ceiling: the {name} ranking's reliability is {value:.3f}, not positive"
    return math.sqrt(iqa * optimization), ""


def interval(values: Array) -> tuple[float, float]:
    """95 % percentile interval of the defined resamples of a vector; (NaN, NaN) where there are none."""
    defined = values[np.isfinite(values)]
    if not defined.size:
        return float("nan"), float("nan")
    low, high = np.percentile(defined, [2.5, 97.5])
    return float(low), float(high)


def _rho(sampled: Sampled, discriminator: str) -> Array:
    """(R,): Spearman's rho between both scores; NaN for a discriminator that the grid lacks."""
    other = sampled.optimization.get(discriminator)
    return spearman(sampled.iqa, other) if other is not None else np.full(len(sampled.iqa), np.nan)


def _ranks_table(losses: tuple[str, ...], point: Sampled, boot: Sampled) -> pd.DataFrame:
    """Ranks of both kinds and their difference; a positive shift is a loss that trains worse than it measures."""
    rows = []
    for name in point.optimization:
        pairs = [(ranks(s.iqa), ranks(s.optimization[name])) for s in (point, boot)]
        for i, loss in enumerate(losses):
            row: dict[str, object] = {"loss": loss, "discriminator": name}
            columns = [(iqa[:, i], other[:, i], other[:, i] - iqa[:, i]) for iqa, other in pairs]
            for label, value, samples in zip(("iqa_rank", "optimization_rank", "shift"), *columns, strict=True):
                low, high = interval(samples)
                row |= {label: value[0], f"{label}_low": low, f"{label}_high": high}
            rows.append(row)
    return pd.DataFrame(rows)


def _random_orders(n: int) -> np.ndarray:
    return np.random.default_rng([SEED, 4]).permuted(np.tile(np.arange(n), (MONTE_CARLO, 1)), axis=1)

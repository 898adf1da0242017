"""Does the ranking of losses as metrics agree with their ranking as training losses?

One row a discriminator, and beside it the ranks of each loss. What the numbers mean and how they are made:
docs/statistics.md; `METHOD` says it in short below each table.
"""

import math
from collections.abc import Mapping

import numpy as np
import pandas as pd

from orchestrator.aggregate.agreement import EXACT_LOSSES, MONTE_CARLO, critical_rho, joint_p, kendall, spearman
from orchestrator.aggregate.correlation import Array
from orchestrator.aggregate.intervals import percentile
from orchestrator.aggregate.noise import (
    BLIND,
    Change,
    Noisy,
    change,
    losses_like_these,
    perfect,
    population_rho,
    these_losses,
)
from orchestrator.aggregate.ranking import ranks
from orchestrator.aggregate.reliability import SPLITS, ceiling
from orchestrator.aggregate.scored import RESAMPLES, SEED, Scored, Scores

DRAWS = 1_000
"""Resamples whose noise the inversions see."""
LEAST_LOSSES = 3
POWERS = {"power_50": 0.5, "power_70": 0.7, "power_90": 0.9}
INVERSION = "test inversion"
NOTHING = "none: nothing to resample"
BOUNDS = ("spearman_low", "spearman_high", "like_low", "like_high")
COLUMNS = (
    {"discriminator": "str", "losses": "int64", "diverged": "int64"}
    | dict.fromkeys(("spearman", "spearman_p", "joint_p", "corrected", *BOUNDS[:2], "noise_ceiling"), "float64")
    | dict.fromkeys(("change_against_none", "corrected_change", "change_low", "change_high"), "float64")
    | dict.fromkeys((*BOUNDS[2:], "perfect", *POWERS, "kendall", "kendall_p", "smallest_p"), "float64")
    | dict.fromkeys(("iqa_reliability", "optimization_reliability"), "float64")
    | {"interval_method": "str", "like_method": "str", "resamples": "Int64", "p_method": "str", "note": "str"}
)
"""Every column of the asymmetry table and its type: all are there even where each row is but a note."""
METHOD = (
    f"Noise: a bootstrap with {RESAMPLES:,} resamples, generator seed {SEED}, weighs seeds, benchmarks and test "
    "sets at random (draws contents where a side has one set), alike for every loss and discriminator, and ranks "
    "again; what few units show of noise that losses share is shrunk. Intervals of rho see through this noise: "
    "truths from which a correlation as high or as low as the observed one would be rarer than 2.5 % are outside "
    f"(test inversion, {DRAWS:,} draws); for these losses, and for the population of losses that they come from. "
    "perfect: the median rho that two equal rankings would show through the noise. corrected: the truth under "
    "which the observed correlation is the median. Change against none: difference of the observed correlations; "
    "corrected change: of the corrected ones. "
    "Intervals of ranks and shifts: percentiles. p: two-sided, over permutations of the losses, all n! up to n = "
    f"{EXACT_LOSSES} and {MONTE_CARLO:,} random ones above; joint p applies one permutation to all discriminators "
    "and holds for all of them together. Power: of this test at 5 % for a true correlation of .5, .7 and .9 seen "
    "through the noise. Noise ceiling: square root of the product of the split-half reliabilities over seeds and "
    f"contents ({SPLITS} splits, Spearman-Brown); it knows nothing of how benchmarks and test sets differ. "
    "docs/statistics.md has the formulas and the calibration."
)


def asymmetry(scored: Scored, reliabilities: pd.DataFrame, diverged: Mapping[str, int]) -> pd.DataFrame:
    """The asymmetry table, one row a discriminator, from the scores of one view; `COLUMNS` names its columns. A number
    that there is not is a hole, and a text that there is not is empty."""
    ps, changes = _p_values(scored), _changes(scored)
    empty = {name: "" if kind == "str" else None for name, kind in COLUMNS.items()}
    rows = [
        empty | _row(scored, d, ps, changes.get(name), reliabilities, diverged)
        for d, name in enumerate(scored.discriminators)
    ]
    return pd.DataFrame(rows, columns=list(COLUMNS)).astype(COLUMNS)


def _row(
    scored: Scored,
    d: int,
    ps: Mapping[str, object],
    moved: Change | None,
    reliabilities: pd.DataFrame,
    diverged: Mapping[str, int],
) -> dict[str, object]:
    name = scored.discriminators[d]
    n = int((np.isfinite(scored.point.iqa[0]) & np.isfinite(scored.point.optimization[0, d])).sum())
    row: dict[str, object] = {"discriminator": name, "losses": n, "diverged": diverged.get(name, 0)}
    if n < LEAST_LOSSES:
        found = "the grid ranks a single loss" if len(scored.losses) == 1 else f"{n} losses have both scores"
        return row | {"note": f"{found}; at least {LEAST_LOSSES} are needed for a rank correlation"}
    rho = float(rho_of(scored.point)[0, d])
    noise_ceiling, iqa_reliability, reliability, note = ceiling(reliabilities, name)
    row |= {"spearman": rho, **seen_through(scored, d, rho)}
    row |= {column: values[d] for column, values in ps.items() if column != "p_method"}  # type: ignore[index]
    row |= {"kendall": float(kendall(scored.point.iqa, scored.point.optimization[:, d])[0])}
    row |= {"smallest_p": smallest_p(n), "noise_ceiling": noise_ceiling, "p_method": ps["p_method"]}
    if scored.has("none") and name != "none":
        row |= {"change_against_none": rho - float(rho_of(scored.point)[0, scored.discriminators.index("none")])}
    if moved is not None:
        row |= {"corrected_change": moved.estimate, "change_low": moved.low, "change_high": moved.high}
    row |= {"iqa_reliability": iqa_reliability, "optimization_reliability": reliability}
    notes = ["spearman is undefined: one ranking is constant"] if not math.isfinite(rho) else []
    notes += [BLIND] if row["interval_method"] == INVERSION and math.isnan(row["corrected"]) else []  # type: ignore[arg-type]
    return row | {"note": "; ".join(filter(None, [*notes, note]))}


def seen_through(scored: Scored, d: int, rho: float, draws: int = DRAWS) -> dict[str, object]:
    """Intervals of rho for both estimands, what perfect agreement would show, and power, of one discriminator."""
    noisy = Noisy.of(scored, [d], draws)
    if not math.isfinite(rho) or not noisy.usable or not noisy.noise:
        return dict.fromkeys(BOUNDS, math.nan) | {"interval_method": NOTHING, "like_method": NOTHING}
    these = these_losses(noisy)
    low, high = these.interval(rho)
    like = losses_like_these(noisy)
    like_low, like_high = like.interval(rho)
    seen, critical = float(np.median(perfect(noisy))), critical_rho(len(noisy.iqa))
    seen = math.nan if these.blind else seen
    powers = {name: like.power(population_rho(r), critical) for name, r in POWERS.items()}
    bounds = dict(zip(BOUNDS, (low, high, like_low, like_high), strict=True))
    methods = {"interval_method": INVERSION, "like_method": INVERSION, "resamples": len(noisy.iqa_noise)}
    return {"corrected": these.estimate(rho), **bounds, "perfect": seen, **powers, **methods}


def rho_of(scores: Scores) -> Array:
    """(R, D): Spearman's rho between both scores."""
    return spearman(np.broadcast_to(scores.iqa[:, None], scores.optimization.shape), scores.optimization)


def _p_values(scored: Scored) -> dict[str, object]:
    here = np.isfinite(scored.point.iqa[0])
    x, ys = scored.point.iqa[0][here], scored.point.optimization[0][:, here]
    p, joint, how = joint_p(x, ys, spearman)
    return {"spearman_p": p, "joint_p": joint, "kendall_p": joint_p(x, ys, kendall)[0], "p_method": how}


def smallest_p(losses: int) -> float:
    """The least two-sided p that the permutation test can give."""
    return 2 / math.factorial(losses) if losses <= EXACT_LOSSES else 1 / (1 + MONTE_CARLO)


def _changes(scored: Scored) -> dict[str, Change]:
    """rho(discriminator) - rho(none), seen through the noise, for every discriminator but none."""
    if not scored.has("none"):
        return {}
    none = scored.discriminators.index("none")
    pairs = {name: Noisy.of(scored, [d, none], DRAWS) for d, name in enumerate(scored.discriminators) if d != none}
    return {
        name: change(noisy, 1)
        for name, noisy in pairs.items()
        if noisy.usable and noisy.noise and np.isfinite(spearman(noisy.iqa[None], noisy.optimization)).all()
    }


def ranks_table(scored: Scored, diverged: Mapping[tuple[str, str], int]) -> pd.DataFrame:
    """Ranks of both kinds among the losses that have both scores, and their difference; a positive shift is a loss that
    trains worse than it measures."""
    both = np.isfinite(scored.point.iqa[:, None]) & np.isfinite(scored.point.optimization)
    pairs = [
        (ranks(np.where(both, s.iqa[:, None], np.nan)), ranks(np.where(both, s.optimization, np.nan)))
        for s in (scored.point, scored.drawn)
    ]
    rows = []
    for d, name in enumerate(scored.discriminators):
        for i, loss in enumerate(scored.losses):
            row: dict[str, object] = {"loss": loss, "discriminator": name}
            columns = [(iqa[:, d, i], other[:, d, i], (other - iqa)[:, d, i]) for iqa, other in pairs]
            for label, value, samples in zip(("iqa_rank", "optimization_rank", "shift"), *columns, strict=True):
                low, high = percentile(samples)
                row |= {label: value[0], f"{label}_low": low, f"{label}_high": high}
            rows.append(row | {"diverged": diverged.get((loss, name), 0)})
    return pd.DataFrame(rows)

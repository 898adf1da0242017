"""Paired differences and trends: effect, interval and p of a linear contrast of measured values.

Two sources of variation are kept apart and then added: the units of the claim (pairs, seeds or losses), and the images
(test sets or benchmarks, or the contents of a single one). More units make the first smaller, only more images the
second. The sum is referred to a t distribution with Satterthwaite's (1946) degrees of freedom. Pairs of one seed may go
together: where the means of the seeds vary more than independent pairs would make them, their variance counts.
"""

import itertools
import math
from bisect import bisect_left
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pandas as pd
from scipy.sparse.csgraph import connected_components
from scipy.stats import t

from orchestrator.aggregate.correlation import Array
from orchestrator.aggregate.intervals import LEVEL
from orchestrator.aggregate.measures import Measured
from orchestrator.aggregate.ranking import mean
from orchestrator.sections.claims import Difference, Levels, Trend, selected

POWER = 0.8
MOST_UNITS = 1_000_000
"""A claim that so many units would not settle needs other images, or another effect."""
EXACT_UNITS = 16
"""Up to this many units all 2^n signs are walked."""
SIGNS = 20_000
SEED = 0
LOST = ("diverged", "parent diverged")
NAN = float("nan")


@dataclass(frozen=True)
class Effect:
    """What was found of a contrast, in the measure's unit; NaN where it cannot be computed."""

    estimate: float = NAN
    low: float = NAN
    high: float = NAN
    p: float = NAN
    """Two-sided, against the claim's null."""
    p_against: float = NAN
    """Against the null that the effect is as large as matters, in the claim's direction; 1 where it looks larger."""
    units: int = 0
    needed: float = NAN
    """Units at which a true effect of twice what matters would be found with 80 % power; infinite where only more
    images help."""
    p_sign: float = NAN
    """Two-sided, exact sign flips of the units, images held fixed: a check beside p."""
    note: str = ""
    keys: frozenset[str] = frozenset()


@dataclass(frozen=True)
class Spread:
    """A mean's variance by source, with the degrees of freedom of each."""

    units: float
    units_df: float
    images: float
    images_df: float

    @property
    def total(self) -> float:
        """Variance of the mean."""
        return self.units + self.images

    @property
    def df(self) -> float:
        """Satterthwaite's degrees of freedom of the sum."""
        parts = [(v, df) for v, df in ((self.units, self.units_df), (self.images, self.images_df)) if v > 0]
        return self.total**2 / sum(v**2 / df for v, df in parts) if parts else NAN


def contrast(claim: Difference | Trend, measured: Measured) -> Effect:
    """The effect of a claim of difference or of trend."""
    of = _side(claim, claim.of, measured)
    sides = [of] if claim.over is None else [of, _side(claim, claim.over, measured)]
    both = [pair for pair in of.values if all(pair in side.values for side in sides)]
    apart = {p: of.values[p] - (sides[1].values[p] if len(sides) > 1 else 0.0) for p in both}
    whole = [pair for pair, difference in apart.items() if np.isfinite(difference).any()]
    planned = set.intersection(*({*side.values, *side.incomplete} for side in sides))
    notes = _notes(sum(side.lost for side in sides), len(planned - set(whole)), sum(side.partial for side in sides))
    if not whole:
        return Effect(note="; ".join(["no pair has both sides", *notes]))
    differences = np.stack([apart[pair] for pair in whole])
    keys = frozenset(key for side in sides for pair in whole for key in side.keys[pair])
    pairs = [dict(zip(claim.pairs, pair, strict=True)) for pair in whole]
    seeds = np.array([pair["seed"] for pair in pairs]) if claim.unit == "pair" and "seed" in claim.pairs else None
    found = effect(by_unit(differences, pairs, claim.unit), claim, seeds)
    return replace(found, note="; ".join(filter(None, [found.note, *notes])), keys=keys)


def _notes(lost: int, absent: int, partial: int) -> list[str]:
    """What is not in an effect, in words."""
    notes = [f"diverged runs that are not in it: {lost} (an average over survivors)"] if lost else []
    notes += [f"pairs left out, since not all of their trials are there: {absent}"] if absent else []
    return [*notes, f"runs that lack some of their test sets or benchmarks: {partial}"] if partial else notes


def by_unit(differences: Array, pairs: Sequence[Mapping[str, Any]], unit: str) -> Array:
    """(units, U): the differences (P, U) themselves, or averaged within a seed or a loss."""
    if unit == "pair":
        return differences
    frame = pd.DataFrame(differences).groupby(np.array([pair[unit] for pair in pairs]), sort=False).mean()
    return np.asarray(frame.to_numpy(float))


def effect(units: Array, claim: Difference | Trend, seeds: np.ndarray | None = None) -> Effect:
    """Effect of the differences (units, U) between two sides; `seeds` (units,) of units that are pairs."""
    means = np.nanmean(units, axis=1)
    estimate, n = float(means.mean()), len(means)
    if n < 2:
        return Effect(estimate=estimate, units=n, note="a single unit has no spread: no interval")
    variance = spread(units, seeds)
    if variance.total <= 1e-24:
        return Effect(estimate=estimate, units=n, note="all units are equal: no interval")
    error, df = math.sqrt(variance.total), variance.df
    half = error * float(t.ppf((1 + LEVEL) / 2, df))
    p, against = tests(estimate, error, df, claim.direction, claim.matters)
    needed = units_needed(variance, n, claim)
    return Effect(estimate, estimate - half, estimate + half, p, against, n, needed, sign_flip(means))


def spread(units: Array, seeds: np.ndarray | None = None) -> Spread:
    """Variance of the mean of (units, U) over units and over the U columns; see `_of_units` and `_of_images`."""
    return Spread(*_of_units(np.nanmean(units, axis=1), seeds), *_of_images(units))


def _of_units(means: Array, seeds: np.ndarray | None) -> tuple[float, float]:
    """(variance of the mean, degrees of freedom) of (n,) values, as independent ones or, if that is larger, as those of
    their seeds (n,), each seed by its number of values."""
    n = len(means)
    alone = float(means.var(ddof=1)) / n
    if seeds is None or len(names := np.unique(seeds)) < 2 or len(names) == n:
        return alone, n - 1
    sums = np.array([(means[seeds == name] - means.mean()).sum() for name in names])
    together = len(names) / (len(names) - 1) * float((sums**2).sum()) / n**2
    return (together, len(names) - 1) if together > alone else (alone, n - 1)


def _of_images(units: Array) -> tuple[float, float]:
    """(variance of the mean, degrees of freedom) that the columns of (units, U) make: how much the columns differ, by
    how much each of them counts. Columns that no unit has together (another task's benchmarks) are a group of their
    own, within which columns vary; a unit that lacks some of its group's counts in those that it has."""
    present = np.isfinite(units)
    counts = present / present.sum(1, keepdims=True) / len(units)  # of each value in the mean
    weight = counts.sum(0)
    within = np.where(present, units - np.nanmean(units, axis=1, keepdims=True), 0.0)
    column = (counts * within).sum(0) / np.where(weight > 0, weight, 1.0)
    number, groups = connected_components(present.T.astype(int) @ present.astype(int), directed=False)
    variance = denominator = 0.0
    for group in range(number):
        members = (groups == group) & (weight > 0)
        if members.sum() < 2:
            continue
        part = float(column[members].var(ddof=1) * (weight[members] ** 2).sum())
        variance += part
        denominator += part**2 / (members.sum() - 1)
    return variance, variance**2 / denominator if denominator > 0 else NAN


def tests(estimate: float, error: float, df: float, direction: str, matters: float) -> tuple[float, float]:
    """(p, p against) of an estimate with its standard error: see docs/statistics.md, the rule of verdicts."""

    def two_sided(value: float) -> float:
        return float(2 * t.sf(abs(estimate - value) / error, df))

    if direction == "negligible":
        inside = abs(estimate) < matters
        nearest = max(two_sided(matters), two_sided(-matters))
        return (nearest, 1.0) if inside else (1.0, nearest)
    least = matters if direction == "higher" else -matters
    looks_larger = estimate >= least if direction == "higher" else estimate <= least
    return two_sided(0.0), 1.0 if looks_larger else two_sided(least)


def units_needed(variance: Spread, units: int, claim: Difference | Trend) -> float:
    """Units at which the claim would be supported in 80 % of studies, were the true effect twice what matters (0, where
    it is claimed to be negligible); infinite where the images vary so much that no number would do. With t quantiles
    of the degrees of freedom at that number; without a correction for several claims."""

    def settled(n: int) -> bool:
        df = variance.units_df * (n - 1) / (units - 1)
        found = Spread(variance.units * units / n, df, variance.images, variance.images_df)
        return math.sqrt(found.total) <= _widest(claim, found.df)

    if not settled(MOST_UNITS):
        return math.inf
    return 2 + bisect_left(range(2, MOST_UNITS), True, key=settled)


def _widest(claim: Difference | Trend, df: float) -> float:
    """Largest standard error with which a claim is supported in 80 % of studies."""
    significant = float(t.ppf((1 + LEVEL) / 2, df))
    if claim.direction == "negligible":  # both one-sided tests
        return claim.matters / (significant + float(t.ppf((1 + POWER) / 2, df)))
    return 2 * claim.matters / (significant + float(t.ppf(POWER, df)))


def sign_flip(values: Array) -> float:
    """Two-sided p of the mean of (n,) values when each may change its sign: all 2^n up to n = 16, else 20,000 random
    ones with the observed counted (Phipson and Smyth 2010)."""
    n, observed = len(values), abs(values.mean()) - 1e-12
    if n <= EXACT_UNITS:
        signs = np.array(list(itertools.product((1.0, -1.0), repeat=n)))
        return float((np.abs(signs @ values / n) >= observed).mean())
    signs = 2.0 * np.random.default_rng(SEED).integers(0, 2, size=(SIGNS, n)) - 1
    return float((1 + (np.abs(signs @ values / n) >= observed).sum()) / (1 + SIGNS))


# ------------------------------------------------------------------------------------------------------ sides


@dataclass(frozen=True)
class Side:
    """One side of a contrast: the value of each pair."""

    values: dict[tuple[Any, ...], Array]
    """(U,) of each pair whose runs are all there, but for diverged ones."""
    keys: dict[tuple[Any, ...], frozenset[str]]
    incomplete: tuple[tuple[Any, ...], ...]
    lost: int
    """Runs that diverged."""
    partial: int
    """Runs that were not measured on everything that others were."""


def _side(claim: Difference | Trend, levels: Levels, measured: Measured) -> Side:
    records = measured.records
    rows = [i for i, record in enumerate(records) if selected(levels, record)]
    groups: dict[tuple[Any, ...], list[int]] = {}
    for i in rows:
        groups.setdefault(tuple(records[i][factor] for factor in claim.pairs), []).append(i)
    values, keys, incomplete = {}, {}, []
    for pair, members in groups.items():
        there = [i for i in members if np.isfinite(measured.values[i]).any()]
        absent = [i for i in members if i not in there and records[i]["status"] not in LOST]
        value = None if absent or not there else _value(claim, measured, [records[i] for i in there], there)
        if value is None:
            incomplete.append(pair)
            continue
        values[pair] = value
        keys[pair] = frozenset(key for i in there for key in records[i]["keys"])
    lost = sum(records[i]["status"] in LOST for i in rows)
    return Side(values, keys, tuple(incomplete), lost, int(measured.partial[rows].sum()))


def _value(
    claim: Difference | Trend, measured: Measured, records: Sequence[Mapping[str, Any]], rows: Sequence[int]
) -> Array | None:
    """(U,): the mean of the runs, or their slope per tenfold; None where fewer than two weights are there."""
    values = measured.values[list(rows)]
    if isinstance(claim, Difference):
        return _mean(values)
    places = np.log10([record[claim.along] for record in records])
    weights = np.unique(places)
    if len(weights) < 2:
        return None
    levels = np.stack([_mean(values[places == weight]) for weight in weights])
    centred = weights - weights.mean()
    return np.asarray(centred @ levels / (centred @ centred))


def _mean(values: Array) -> Array:
    """Mean of (runs, U) over the runs that have a column: runs of another task have other columns."""
    return mean(values, np.ones(1), axis=0)

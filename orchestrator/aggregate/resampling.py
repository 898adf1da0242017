"""How much each unit counts: all alike, weighted at random, one left out, or one random half.

Units are the seeds (both sides have the same ones, and a draw of a seed counts on both), the benchmarks, the test sets,
and the reference contents of each set (docs/statistics.md). A set is drawn with its contents as they are: how much sets
differ already holds how much their contents do, and drawing both would count it twice (Davison and Hinkley 1997,
section 3.8). Contents are drawn where a side has a single set, or where the sets are fixed. Contents and not images:
the distorted versions of one photograph cluster.

Scores are means over seeds and sets, of which there are few: their weights are normal (a multiplier bootstrap, van der
Vaart and Wellner 1996, section 3.6), since two seeds drawn with replacement take only three values. Contents are drawn
with replacement, n - 1 of n. Both give a mean of n units the unbiased variance s^2/n and not (n - 1)/n of it (McCarthy
and Snowden 1985; Rao and Wu 1988), which matters for five seeds or four benchmarks.
"""

from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np

from orchestrator.aggregate.correlation import Array
from orchestrator.aggregate.panel import Panel


@dataclass(frozen=True)
class Draws:
    """How often each unit of one side counts in each of R weightings; a single row of contents holds for all of
    them."""

    seeds: Array
    """(R, S)"""
    sets: Array
    """(R, T)"""
    contents: tuple[Array, ...]
    """(R, C) or (1, C) for each set."""
    normal: bool = False
    """Whether seeds and sets have weights of `weighted`, which may be negative, and not counts."""

    def of(self, rows: slice) -> "Draws":
        """Some of the weightings."""
        contents = tuple(counts if len(counts) == 1 else counts[rows] for counts in self.contents)
        return Draws(self.seeds[rows], self.sets[rows], contents, self.normal)


Both = tuple[Draws, Draws]
"""Weightings of the IQA side and of the optimization side, which go together."""


def everything(panel: Panel, rows: int = 1) -> Draws:
    """Weightings in which every unit counts once: the point estimate."""
    return Draws(
        np.ones((rows, len(panel.seeds))),
        np.ones((rows, len(panel.sets))),
        tuple(np.ones((1, part.contents)) for part in panel.sets),
    )


def bootstrap(iqa: Panel, optimization: Panel, resamples: int, seed: int, *, fixed_sets: bool = False) -> Both:
    """`resamples` draws of seeds and sets, or with `fixed_sets` of seeds and contents. Each kind of unit has a
    generator of its own, so that more benchmarks do not change which seeds are drawn."""
    seeds = weighted(np.random.default_rng([seed, 0]), len(iqa.seeds), resamples)

    def side(panel: Panel, stream: int) -> Draws:
        generator, whole = np.random.default_rng([seed, stream]), everything(panel, resamples)
        if not fixed_sets and len(panel.sets) > 1:
            return Draws(seeds, weighted(generator, len(panel.sets), resamples), whole.contents, normal=True)
        contents = tuple(drawn(generator, part.contents, resamples) for part in panel.sets)
        return Draws(seeds, whole.sets, contents, normal=True)

    return side(iqa, 1), side(optimization, 2)


def weighted(generator: np.random.Generator, units: int, resamples: int) -> Array:
    """(resamples, units): normal weights with mean 1 that sum to `units`, under which the variance of a weighted mean
    is s^2/n; a single unit always weighs 1, so it adds no variation."""
    if units < 2:
        return np.ones((resamples, units))
    normal = generator.normal(size=(resamples, units))
    return np.asarray(1 + (normal - normal.mean(1, keepdims=True)) * np.sqrt(units / (units - 1)))


def drawn(generator: np.random.Generator, units: int, resamples: int) -> Array:
    """(resamples, units): how often each unit is drawn in `units` - 1 draws with replacement; a single unit is always
    there, so it adds no variation."""
    if units < 2:
        return np.ones((resamples, units))
    return generator.multinomial(units - 1, np.full(units, 1 / units), size=resamples).astype(float)


def left_out(iqa: Panel, optimization: Panel, *, fixed_sets: bool = False) -> Iterator[tuple[str, Both]]:
    """(kind of unit, weightings in which each of its units is left out once) for each kind that `bootstrap` draws and
    that has two units or more."""
    if len(iqa.seeds) > 1:
        weights = 1.0 - np.eye(len(iqa.seeds))
        both = (replace(everything(panel, len(weights)), seeds=weights) for panel in (iqa, optimization))
        yield "seeds", (next(both), next(both))
    for side, panel in enumerate((iqa, optimization)):
        kind = ("benchmarks", "test sets")[side]
        for name, draws in _sets_left_out(panel, kind) if len(panel.sets) > 1 and not fixed_sets else _contents(panel):
            whole = [everything(one, len(draws.seeds)) for one in (iqa, optimization)]
            whole[side] = draws
            yield name if name == kind else f"{kind}: {name}", (whole[0], whole[1])


def _sets_left_out(panel: Panel, kind: str) -> Iterator[tuple[str, Draws]]:
    yield kind, replace(everything(panel, len(panel.sets)), sets=1.0 - np.eye(len(panel.sets)))


def _contents(panel: Panel) -> Iterator[tuple[str, Draws]]:
    """Each content of each set, one set after another: contents of different sets are independent units."""
    for i, part in enumerate(panel.sets):
        if part.contents > 1:
            whole = everything(panel, part.contents)
            fewer = [1.0 - np.eye(part.contents) if j == i else one for j, one in enumerate(whole.contents)]
            yield f"contents of {part.name}", replace(whole, contents=tuple(fewer))


def halves(generator: np.random.Generator, units: int, splits: int) -> tuple[Array, Array]:
    """Two (splits, units) masks of random halves; an odd unit goes to either half, a single unit to both."""
    if units < 2:
        return np.ones((splits, units)), np.ones((splits, units))
    place = generator.random((splits, units)).argsort(axis=1).argsort(axis=1)
    size = units // 2 + generator.integers(0, 2, size=(splits, 1)) * (units % 2)
    first = (place < size).astype(float)
    return first, 1.0 - first

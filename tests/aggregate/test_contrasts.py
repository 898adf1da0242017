import itertools
import math
from functools import cache

import numpy as np
import pandas as pd
import pytest
import scipy.stats

from orchestrator.aggregate.contrasts import Spread, contrast, effect, sign_flip, spread, units_needed
from orchestrator.aggregate.measures import Measured
from orchestrator.sections.claims import Difference, Levels, Trend

NAN = float("nan")
STATED = {"says": "patch is better than vanilla", "matters": 0.5}


def difference(**changes):
    """A claim that the head patch is better than the head vanilla."""
    sides = {"of": Levels(head=("patch",)), "over": Levels(head=("vanilla",))}
    whole = {"contrast": "difference", "measure": "quality", "pairs": ("loss", "seed"), "direction": "higher"}
    return Difference(**(STATED | sides | whole | changes))


def trend(**changes):
    sides = {"of": Levels(backbone=("vgg",)), "pairs": ("seed",), "direction": "higher"}
    return Trend(**(STATED | {"contrast": "trend", "measure": "quality"} | sides | changes))


def measured(*runs):
    """Of (factors, values of each column) or (factors, values, status); each run has one key, its number."""
    rows = [
        dict(factors) | {"status": status[0] if status else "done", "keys": (f"key{i}",)}
        for i, (factors, _, *status) in enumerate(runs)
    ]
    return Measured(pd.DataFrame(rows), np.array([np.atleast_1d(values) for _, values, *_ in runs], float))


def heads(values, losses=("a", "b"), lost=()):
    """Runs of `values` (2 heads, losses, seeds, U); `lost` maps (head, loss, seed) to a status without values."""
    runs = []
    for h, head in enumerate(("patch", "vanilla")):
        for i, loss in enumerate(losses):
            for seed in range(values.shape[2]):
                status = dict(lost).get((head, loss, seed))
                own = np.full(values.shape[3], NAN) if status else values[h, i, seed]
                runs.append(({"head": head, "loss": loss, "seed": seed}, own, *([status] if status else [])))
    return measured(*runs)


@pytest.fixture
def values():
    return np.random.default_rng(3).normal(size=(2, 2, 4, 1)) + np.array([0.6, 0.0])[:, None, None, None]


# ---------------------------------------------------------------------------------------- effect, interval and p


def test_with_one_column_it_is_the_paired_t_test(values):
    found = contrast(difference(), heads(values))
    reference = scipy.stats.ttest_rel(values[0].ravel(), values[1].ravel())
    bounds = reference.confidence_interval(0.95)
    assert (found.estimate, found.p) == pytest.approx(((values[0] - values[1]).mean(), reference.pvalue))
    assert (found.low, found.high) == pytest.approx((bounds.low, bounds.high))
    assert (found.units, found.note) == (8, "")
    assert found.keys == {f"key{i}" for i in range(16)}


def test_p_against_is_the_t_test_of_the_effect_that_matters(values):
    apart = (values[0] - values[1]).ravel()
    lower = contrast(difference(direction="lower"), heads(values))
    assert lower.p_against == pytest.approx(scipy.stats.ttest_1samp(apart, -0.5).pvalue)
    assert contrast(difference(matters=0.01), heads(values)).p_against == 1.0
    looks_smaller = contrast(difference(matters=3.0), heads(values))
    assert looks_smaller.p_against == pytest.approx(scipy.stats.ttest_1samp(apart, 3.0).pvalue)


def test_units_and_images_add_with_satterthwaites_degrees_of_freedom():
    """Pairs (0, 2), (2, 4), (4, 9): pair means 1, 3, 6.5, column means 2, 5."""
    units = np.array([[0.0, 2.0], [2.0, 4.0], [4.0, 9.0]])
    of_units = ((1 - 3.5) ** 2 + (3 - 3.5) ** 2 + (6.5 - 3.5) ** 2) / 2 / 3
    of_images = ((2 - 3.5) ** 2 + (5 - 3.5) ** 2) / 1 / 2
    df = (of_units + of_images) ** 2 / (of_units**2 / 2 + of_images**2 / 1)
    found = effect(units, difference())
    error = math.sqrt(of_units + of_images)
    assert found.estimate == pytest.approx(3.5)
    assert found.p == pytest.approx(2 * scipy.stats.t.sf(3.5 / error, df))
    assert found.high - found.low == pytest.approx(2 * error * scipy.stats.t.ppf(0.975, df))


def test_columns_vary_within_the_units_that_have_them():
    """Two units with columns 0 and 1, one with 2 and 3: each stratum weighs as the share of its units, squared."""
    units = np.array([[0.0, 2.0, NAN, NAN], [1.0, 5.0, NAN, NAN], [NAN, NAN, 4.0, 8.0]])
    first, second = np.var([0.5, 3.5], ddof=1) / 2 * (2 / 3) ** 2, np.var([4.0, 8.0], ddof=1) / 2 * (1 / 3) ** 2
    found = spread(units)
    assert found.units == pytest.approx(np.var([1.0, 3.0, 6.0], ddof=1) / 3)
    assert found.images == pytest.approx(first + second)
    assert found.images_df == pytest.approx((first + second) ** 2 / (first**2 + second**2))


def test_a_lone_column_has_no_images_to_vary():
    found = spread(np.array([[1.0], [2.0], [4.0]]))
    assert (found.images, found.df) == (0.0, pytest.approx(2.0))


def test_negligible_is_two_one_sided_tests_at_half_the_level():
    """p is twice that of TOST: a verdict at .05 takes a 95 % interval inside the bounds."""
    inside = np.array([0.1, -0.2, 0.15, 0.3, 0.05])
    found = effect(inside[:, None], difference(direction="negligible"))
    tost = max(
        scipy.stats.ttest_1samp(inside, 0.5, alternative="less").pvalue,
        scipy.stats.ttest_1samp(inside, -0.5, alternative="greater").pvalue,
    )
    assert (found.p, found.p_against) == (pytest.approx(2 * tost), 1.0)
    assert (found.p <= 0.05) == (found.low > -0.5 and found.high < 0.5)


def test_an_effect_outside_the_bounds_speaks_against_negligible():
    outside = np.array([1.1, 0.8, 0.95, 1.3])
    found = effect(outside[:, None], difference(direction="negligible"))
    assert (found.p, found.p_against) == (1.0, pytest.approx(scipy.stats.ttest_1samp(outside, 0.5).pvalue))


@pytest.mark.parametrize(("rows", "note"), [([[1.0]], "single unit"), ([[1.0], [1.0]], "all units are equal")])
def test_without_spread_there_is_an_effect_but_no_interval(rows, note):
    found = effect(np.array(rows), difference())
    assert found.estimate == 1.0
    assert note in found.note
    assert np.isnan([found.low, found.high, found.p, found.p_against]).all()


def test_units_needed_have_80_percent_power_for_twice_what_matters():
    """Of the t test, by the noncentral t distribution: 20 units of variance 4, an effect of 2 * 0.5."""
    needed = units_needed(Spread(4 / 20, 19, 0.0, NAN), 20, difference(matters=0.5))

    def power(n):
        return scipy.stats.nct.sf(scipy.stats.t.ppf(0.975, n - 1), n - 1, 1.0 / math.sqrt(4 / n))

    assert power(needed) == pytest.approx(0.8, abs=0.01)
    assert 25 < needed < 40
    assert units_needed(Spread(4 / 20, 19, 0.02, 3), 20, difference(matters=0.5)) > needed


def test_units_needed_for_negligible_have_80_percent_power_where_there_is_no_effect():
    needed = units_needed(Spread(4 / 20, 19, 0.0, NAN), 20, difference(direction="negligible"))
    error = math.sqrt(4 / needed)
    inside = 0.5 - scipy.stats.t.ppf(0.975, needed - 1) * error  # |estimate| below this rejects both
    assert 1 - 2 * scipy.stats.norm.sf(inside / error) == pytest.approx(0.8, abs=0.01)


def test_no_number_of_units_makes_up_for_few_images():
    assert units_needed(Spread(2.0, 1, 0.5, 3), 2, difference(matters=0.5)) == math.inf


def rejected(units, seeds=None, studies=1_000):
    """Share of simulated studies without an effect whose p is at most 5 %."""
    generator, found = np.random.default_rng(0), []
    for _ in range(studies):
        values = units(generator)
        variance = spread(values, seeds)
        found.append(
            abs(np.nanmean(values, axis=1).mean()) / math.sqrt(variance.total) / critical(round(variance.df, 1))
        )
    return np.mean(np.array(found) >= 1)


@cache
def critical(df):
    return scipy.stats.t.ppf(0.975, df)


@pytest.mark.parametrize("holes", ["none", "one random column a unit", "half the units lack one column"])
def test_missing_images_do_not_make_an_effect(holes):
    """Columns that units share vary together, whichever of them a unit lacks."""

    def units(generator):
        values = 0.1 * generator.normal(size=(30, 5)) + 0.2 * generator.normal(size=5)
        if holes.startswith("one"):
            values[np.arange(30), generator.integers(0, 5, 30)] = NAN
        if holes.startswith("half"):
            values[:15, 4] = NAN
        return values

    assert rejected(units) <= 0.05 + 3 * math.sqrt(0.05 * 0.95 / 1_000)


def test_pairs_of_one_seed_that_go_together_are_not_independent():
    """Six losses, five seeds, an effect of the seed as large as that of the pair."""
    seeds = np.tile(np.arange(5), 6)

    def units(generator):
        return (generator.normal(size=5)[seeds] + generator.normal(size=30))[:, None]

    assert rejected(units) > 0.15
    assert rejected(units, seeds) <= 0.05 + 3 * math.sqrt(0.05 * 0.95 / 1_000)


def test_sign_flips_are_enumerated():
    values = np.array([0.3, 1.2, -0.4, 0.8, 2.0, 0.1])
    flips = [np.mean(values * signs) for signs in itertools.product((1, -1), repeat=6)]
    assert sign_flip(values) == pytest.approx(np.mean(np.abs(flips) >= abs(values.mean()) - 1e-12))
    assert sign_flip(np.ones(5)) == pytest.approx(2 / 32)  # five seeds alone never reach .05


def test_many_signs_are_drawn_and_never_give_zero():
    assert sign_flip(np.ones(40)) == pytest.approx(1 / 20_001)
    mixed = np.random.default_rng(0).normal(0.3, 1.0, size=17)
    every = np.array(list(itertools.product((1.0, -1.0), repeat=17)))
    exact = np.mean(np.abs(every @ mixed) >= abs(mixed.sum()) - 1e-9)
    assert sign_flip(mixed) == pytest.approx(exact, abs=4 * math.sqrt(exact * (1 - exact) / 20_000))


# ----------------------------------------------------------------------------------------------- units and pairs


@pytest.mark.parametrize(("unit", "axis"), [("seed", 0), ("loss", 1)])
def test_a_unit_is_the_mean_of_its_pairs(values, unit, axis):
    found = contrast(difference(unit=unit), heads(values))
    means = (values[0] - values[1])[..., 0].mean(axis)
    assert (found.units, found.p) == (len(means), pytest.approx(scipy.stats.ttest_1samp(means, 0.0).pvalue))


def test_what_is_not_paired_is_averaged_on_each_side(values):
    found = contrast(difference(pairs=("seed",)), heads(values))
    means = values[..., 0].mean(1)
    assert found.p == pytest.approx(scipy.stats.ttest_rel(means[0], means[1]).pvalue)


def test_an_average_is_over_the_survivors_and_says_so(values):
    found = contrast(difference(pairs=("seed",)), heads(values, lost={("patch", "a", 2): "diverged"}))
    means = values[..., 0].mean(1)
    means[0, 2] = values[0, 1, 2, 0]
    assert found.estimate == pytest.approx((means[0] - means[1]).mean())
    assert found.units == 4
    assert "diverged runs that are not in it: 1 (an average over survivors)" in found.note
    assert "key2" not in found.keys


@pytest.mark.parametrize("status", ["missing", "failed", "parent failed", "done"])
def test_a_pair_that_lacks_a_run_is_dropped_and_counted(values, status):
    found = contrast(difference(pairs=("seed",)), heads(values, lost={("patch", "a", 2): status}))
    means = np.delete(values[..., 0].mean(1), 2, axis=1)
    assert (found.units, found.estimate) == (3, pytest.approx((means[0] - means[1]).mean()))
    assert found.note == "pairs left out, since not all of their trials are there: 1"


def test_a_pair_whose_runs_all_diverged_is_left_out_and_both_are_said(values):
    found = contrast(difference(), heads(values, lost={("patch", "a", 2): "diverged"}))
    assert found.units == 7
    assert "diverged runs that are not in it: 1" in found.note
    assert "pairs left out, since not all of their trials are there: 1" in found.note


def test_pairs_of_one_side_by_design_are_not_missing(values):
    every = heads(values)
    only_patch = (every.cells["loss"] != "b") | (every.cells["head"] == "patch")
    found = contrast(difference(), Measured(every.cells[only_patch].reset_index(drop=True), every.values[only_patch]))
    assert (found.units, found.note) == (4, "")
    assert found.estimate == pytest.approx((values[0, 0] - values[1, 0]).mean())


def test_a_run_that_lacks_a_test_set_that_others_have_is_said():
    """Nothing is averaged silently: a pair over one test set is not the same as a pair over two."""
    values = np.random.default_rng(1).normal(size=(2, 2, 3, 2))
    values[0, 1, 1, 1] = NAN
    found = contrast(difference(), heads(values))
    assert found.units == 6
    assert found.note == "runs that lack some of their test sets or benchmarks: 1"


def test_sides_that_share_no_test_set_have_no_difference():
    values = np.random.default_rng(1).normal(size=(2, 2, 3, 2))
    values[0, 1, 1, 1] = values[1, 1, 1, 0] = NAN
    found = contrast(difference(), heads(values))
    rest = np.delete((values[0] - values[1]).reshape(6, 2), 4, axis=0)
    assert (found.units, found.estimate) == (5, pytest.approx(rest.mean()))
    assert found.note.startswith("pairs left out, since not all of their trials are there: 1; runs that lack some")


def transferred():
    """Six models a side: fr is measured in columns 0 and 1, nr in 2 and 3; released is better by 1 and 0.8."""
    return measured(
        *(
            ({"task": t, "initialization": i, "seed": seed}, np.roll([seed + gain, 2.0 * seed + gain, NAN, NAN], 2 * k))
            for k, t in enumerate(("fr", "nr"))
            for seed in range(3)
            for i, gain in (("released", 1.0 + 0.2 * (seed == k)), ("gan", 0.2))
        )
    )


@pytest.mark.parametrize(("pairs", "units"), [(("task", "seed"), 6), (("seed",), 3)])
def test_benchmarks_of_another_task_are_not_lacking(pairs, units):
    sides = {"of": Levels(initialization=("released",)), "over": Levels(initialization=("gan",))}
    found = contrast(difference(measure="srcc", pairs=pairs, **sides), transferred())
    assert (found.units, found.estimate, found.note) == (units, pytest.approx(0.8 + 0.4 / 6), "")


def test_nothing_there_says_so(values):
    lost = {(h, loss, s): "missing" for h in ("patch", "vanilla") for loss in "ab" for s in range(4)}
    found = contrast(difference(), heads(values, lost=lost))
    assert math.isnan(found.estimate)
    assert found.note.startswith("no pair has both sides; pairs left out, since not all of their trials are there: 8")
    nobody = contrast(difference(of=Levels(head=("stylegan",))), heads(values))
    assert nobody.note == "no pair has both sides"


# --------------------------------------------------------------------------------------------------------- trends


def weighted(slopes, weights=(0.01, 0.1, 1.0), noise=0.3):
    """Runs (backbone, weight, seed), and their values by (backbone, seed)."""
    generator, runs, found = np.random.default_rng(5), [], {}
    for (backbone, slope), seed in itertools.product(slopes.items(), range(4)):
        values = slope * np.log10(weights) + noise * generator.normal(size=len(weights))
        found[backbone, seed] = values
        runs += [({"backbone": backbone, "weight": w, "seed": seed}, v) for w, v in zip(weights, values, strict=True)]
    return runs, found


def test_a_trend_is_the_slope_per_tenfold_weight():
    runs, values = weighted({"vgg": 1.0, "vit": 0.2}, weights=(0.005, 0.1, 1.0))
    slopes = {one: np.polyfit(np.log10([0.005, 0.1, 1.0]), v, 1)[0] for one, v in values.items()}
    own, other = ([slopes[name, seed] for seed in range(4)] for name in ("vgg", "vit"))
    alone = contrast(trend(), measured(*runs))
    assert alone.estimate == pytest.approx(np.mean(own))
    assert alone.p == pytest.approx(scipy.stats.ttest_1samp(own, 0.0).pvalue)
    against = contrast(trend(over=Levels(backbone=("vit",))), measured(*runs))
    assert (against.estimate, against.p) == pytest.approx(
        (np.mean(own) - np.mean(other), scipy.stats.ttest_rel(own, other).pvalue)
    )


def test_a_single_weight_has_no_slope():
    runs, _ = weighted({"vgg": 1.0}, weights=(0.1,))
    found = contrast(trend(), measured(*runs))
    assert found.note == "no pair has both sides; pairs left out, since not all of their trials are there: 4"

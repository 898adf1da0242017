import math

import numpy as np
import pytest
import scipy.stats

from orchestrator.aggregate.intervals import Bootstrap, acceleration, bonett_wright, percentile


def left_out(sample):
    """Means of the sample with each value left out."""
    return (sample.sum() - sample) / (len(sample) - 1)


@pytest.fixture
def skewed():
    return np.random.default_rng(3).exponential(size=12)


def test_bca_of_a_mean_equals_scipys_from_the_same_resamples(skewed):
    theirs = scipy.stats.bootstrap((skewed,), np.mean, n_resamples=999, method="BCa", rng=np.random.default_rng(0))
    ours = Bootstrap.of(skewed.mean(), theirs.bootstrap_distribution, {"units": left_out(skewed)})
    low, high, method = ours.interval()
    assert (low, high) == pytest.approx(tuple(theirs.confidence_interval), abs=1e-12)
    assert method == "BCa"


def test_bca_over_two_kinds_of_units_equals_scipys(skewed):
    other = np.random.default_rng(4).normal(size=7) ** 2

    def difference(x, y, axis):
        return x.mean(axis) - y.mean(axis)

    theirs = scipy.stats.bootstrap(
        (skewed, other), difference, n_resamples=999, method="BCa", rng=np.random.default_rng(0), vectorized=True
    )
    jackknives = {"seeds": left_out(skewed) - other.mean(), "sets": skewed.mean() - left_out(other)}
    ours = Bootstrap.of(skewed.mean() - other.mean(), theirs.bootstrap_distribution, jackknives)
    assert ours.interval()[:2] == pytest.approx(tuple(theirs.confidence_interval), abs=1e-12)


def test_acceleration_of_a_mean_is_a_sixth_of_its_skewness(skewed):
    """a = sum u^3 / (6 (sum u^2)^1.5) (Efron 1987): for a mean skewness / (6 sqrt(n))."""
    a = acceleration({"units": left_out(skewed)})
    assert a == pytest.approx(scipy.stats.skew(skewed) / (6 * math.sqrt(len(skewed))))


def test_what_cannot_be_left_out_has_no_acceleration():
    assert acceleration({}) == acceleration({"one": np.ones(1)}) == acceleration({"equal": np.ones(5)}) == 0.0
    assert acceleration({"hole": np.array([1.0, np.nan, 4.0])}) == 0.0


def test_a_bias_by_hand():
    """One of five resamples below the estimate and one equal to it: z0 is the normal quantile of .3."""
    found = Bootstrap.of(2.0, np.array([1.0, 2.0, 3.0, 4.0, 5.0, np.nan]))
    assert found.bias == pytest.approx(scipy.stats.norm.ppf(0.3))
    level = scipy.stats.norm.cdf(2 * scipy.stats.norm.ppf(0.3))
    assert found.quantile(0.5) == pytest.approx(np.quantile([1, 2, 3, 4, 5], level))


def test_where_all_resamples_are_on_one_side_percentiles_are_taken_and_said():
    resamples = np.linspace(0, 1, 1001)
    assert Bootstrap.of(2.0, resamples).interval() == pytest.approx(
        (0.025, 0.975, "percentile (BCa is not defined here)")
    )


def test_without_a_defined_resample_there_is_no_interval():
    low, high, method = Bootstrap.of(0.5, np.full(4, np.nan)).interval()
    assert (math.isnan(low), math.isnan(high), method) == (True, True, "undefined: no resample has a value")


def test_bonett_wright_by_hand():
    """rho = .5, n = 20: z = .549306, se = sqrt(1.125 / 17) = .257248, ends z -+ 1.959964 se = .045109 and 1.053503."""
    assert bonett_wright(0.5, 20) == pytest.approx((math.tanh(0.045109), math.tanh(1.053503)), abs=1e-6)


def test_bonett_wright_needs_four_pairs_and_stays_finite_at_one():
    assert all(math.isnan(end) for end in (*bonett_wright(0.5, 3), *bonett_wright(math.nan, 20)))
    low, high = bonett_wright(1.0, 6)
    assert 0.9 < low <= high <= 1.0


def test_percentiles_ignore_undefined_resamples():
    assert percentile(np.array([np.nan, *np.linspace(0, 1, 1001)])) == pytest.approx((0.025, 0.975))
    assert percentile(np.linspace(0, 1, 1001), level=0.5) == pytest.approx((0.25, 0.75))
    assert all(math.isnan(end) for end in percentile(np.array([np.nan])))

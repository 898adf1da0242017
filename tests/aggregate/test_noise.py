import math

import numpy as np
import pytest
import scipy.stats

from orchestrator.aggregate.intervals import bonett_wright
from orchestrator.aggregate.noise import (
    Inversion,
    Noisy,
    bulk_variance,
    change,
    denoised,
    losses_like_these,
    perfect,
    population_rho,
    these_losses,
)
from orchestrator.aggregate.scored import Scored, Scores

QUIET = 1e-6


def noisy_of(iqa, optimization, size, draws=200, seed=0):
    """Scores (L,) and (D, L), and independent normal noise of one size in each of them."""
    generator = np.random.default_rng(seed)
    iqa, optimization = np.asarray(iqa, float), np.atleast_2d(np.asarray(optimization, float))
    x = iqa + size * generator.normal(size=(draws, *iqa.shape))
    y = optimization + size * generator.normal(size=(draws, *optimization.shape))
    return noisy_from(iqa, optimization, x, y, draws)


def noisy_from(iqa, optimization, x, y, draws):
    """From scores and their draws (R, L), (R, D, L), with nothing left out: the noise as it was drawn."""
    names = tuple(f"l{i}" for i in range(len(iqa))), tuple(f"d{i}" for i in range(len(optimization)))
    scored = Scored(*names, Scores(iqa[None], optimization[None]), Scores(x, y), {})
    return Noisy.of(scored, list(range(len(optimization))), draws)


# ------------------------------------------------------------------------------------------------- what is noise


def test_what_all_losses_share_in_a_draw_is_no_noise():
    generator = np.random.default_rng(0)
    x, y = generator.normal(size=5), generator.normal(size=(2, 5))
    shift = generator.normal(size=(50, 1))
    noisy = noisy_from(x, y, x + shift, y + shift[:, None], 50)
    assert noisy.usable
    assert not noisy.noise
    np.testing.assert_allclose(noisy.iqa_noise, 0.0, atol=1e-12)


def test_the_noise_has_mean_zero_in_each_loss_and_each_draw():
    noisy = noisy_of(np.arange(4.0), np.arange(8.0).reshape(2, 4), 0.5)
    for error in (noisy.iqa_noise, noisy.optimization_noise):
        np.testing.assert_allclose(error.mean(0), 0.0, atol=1e-12)
        np.testing.assert_allclose(error.mean(-1), 0.0, atol=1e-12)
    assert noisy.iqa_noise.var(0).sum() == pytest.approx(3 * 0.25, rel=0.2)


def test_losses_without_both_scores_and_draws_with_a_hole_are_left_out():
    nan = float("nan")
    x, y = np.array([1.0, nan, 3.0, 4.0, 2.0]), np.array([[1.0, 2.0, 3.0, 4.0, nan]])
    drawn_x, drawn_y = np.tile(x, (6, 1)), np.tile(y, (6, 1, 1))
    drawn_x[2, 0] = nan
    noisy = noisy_from(x, y, drawn_x, drawn_y, 5)
    assert noisy.iqa.tolist() == [1.0, 3.0, 4.0]
    assert (noisy.iqa_noise.shape, noisy.optimization_noise.shape) == ((4, 3), (4, 1, 3))
    assert noisy.rho() == pytest.approx(1.0)


def test_there_is_nothing_to_see_through_with_two_losses_or_no_draw():
    assert not noisy_of([1, 2], [1, 2], 0.1).usable
    assert not noisy_of([1, 2, 3], [1, 2, 3], 0.1, draws=1).usable


def test_some_discriminators_keep_their_own_noise():
    noisy = noisy_of(np.arange(4.0), np.arange(12.0).reshape(3, 4), 0.5)
    part = noisy.under([2])
    np.testing.assert_array_equal(part.optimization, noisy.optimization[[2]])
    np.testing.assert_array_equal(part.optimization_noise, noisy.optimization_noise[:, [2]])


# ----------------------------------------------------------------------------------------------------- denoising


def test_denoised_scores_have_the_true_variance_on_average():
    """Six scores of variance 1 with noise of variance .3: without denoising 1.3."""
    generator = np.random.default_rng(0)
    found = []
    for _ in range(3_000):
        x = generator.normal(size=6) + math.sqrt(0.3) * generator.normal(size=6)
        drawn = x + math.sqrt(0.3) * generator.normal(size=(100, 6))
        noisy = noisy_from(x, x[None], drawn, drawn[:, None], 100)
        found.append(x.var(ddof=1) - noisy.iqa_noise.var(0, ddof=1).sum() / 5)
        assert denoised(x, noisy.iqa_noise).var(ddof=1) == pytest.approx(max(0.0, found[-1]))
    assert np.mean(found) == pytest.approx(1.0, abs=4 * np.std(found) / math.sqrt(3_000))


def test_denoising_by_hand():
    """Scores 0, 1, 2 have variance 1; noise -+.5 on the outer ones has variance .25 * 2 / (2 - 1) each (two draws),
    together 1 over L - 1 = 2: half of the variance is left."""
    error = np.array([[-0.5, 0.0, 0.5], [0.5, 0.0, -0.5]])
    np.testing.assert_allclose(denoised(np.arange(3.0), error), 1 + math.sqrt(0.5) * np.array([-1.0, 0.0, 1.0]))


def test_the_spread_of_the_bulk_is_unbiased_for_normal_scores_and_blind_to_one_outlier():
    generator = np.random.default_rng(0)
    found = [bulk_variance(2 * generator.normal(size=6)) for _ in range(4_000)]
    assert np.mean(found) == pytest.approx(4.0, rel=0.05)
    near = np.array([0.1, 0.0, 0.3, 0.2, -0.1])
    assert bulk_variance(np.append(near, 50.0)) == pytest.approx(bulk_variance(np.append(near, 5.0)))


def test_more_noise_than_spread_leaves_nothing():
    error = np.array([[-9.0, 0.0, 9.0], [9.0, 0.0, -9.0]])
    np.testing.assert_allclose(denoised(np.arange(3.0), error), 1.0)
    np.testing.assert_allclose(denoised(np.ones(3), 0 * error), 1.0)


def test_a_fit_is_shrunk_as_the_scores_that_it_was_made_of():
    """Noise as in `denoising by hand`, spread of scores of variance 4: 3/4 of the variance is left."""
    error = np.array([[-0.5, 0.0, 0.5], [0.5, 0.0, -0.5]])
    fit = denoised(np.array([0.0, 0.0, 3.0]), error, 4.0)
    np.testing.assert_allclose(fit, 1 + math.sqrt(1 - 0.5 / 4) * np.array([-1.0, -1.0, 2.0]))


# ------------------------------------------------------------------------------------------------- test inversion


@pytest.fixture
def shifted():
    """Correlations seen evenly within -+.2 of the truth."""
    truth = np.linspace(1, -1, 81)
    return Inversion(truth, truth[:, None] + np.linspace(-0.2, 0.2, 2001))


def test_an_interval_is_where_neither_tail_is_rarer_than_two_and_a_half_percent(shifted):
    """2.5 % of what is seen lies more than .19 above the truth."""
    assert shifted.interval(0.3) == pytest.approx((0.11, 0.49), abs=0.002)
    assert shifted.interval(0.3, level=0.5) == pytest.approx((0.2, 0.4), abs=0.002)


def test_an_interval_ends_where_correlations_do(shifted):
    assert shifted.interval(0.95) == pytest.approx((0.76, 1.0), abs=0.002)
    assert shifted.interval(-0.95) == pytest.approx((-1.0, -0.76), abs=0.002)
    assert shifted.interval(1.5) == (1.0, 1.0)


def test_shares_count_an_equal_correlation_half():
    found = Inversion(np.array([1.0, -1.0]), np.array([[1.0, 1.0, 0.5, 0.0], [0.0, 0.0, 0.0, 0.5]]))
    assert found.at_least(0.5).tolist() == [0.625, 0.125]
    assert found.at_most(0.5).tolist() == [0.375, 0.875]


def test_the_estimate_undoes_what_noise_takes_from_a_correlation():
    truth = np.linspace(1, -1, 21)
    found = Inversion(truth, 0.5 * truth[:, None] + np.linspace(-0.1, 0.1, 101))
    assert found.estimate(0.3) == pytest.approx(0.6, abs=1e-6)
    np.testing.assert_allclose(found.estimates(np.array([-0.2, 0.3, 0.7])), [-0.4, 0.6, 1.0], atol=1e-6)
    assert found.truth[found.nearest(0.33)] == pytest.approx(0.3)


def test_power_is_how_often_the_critical_value_is_reached(shifted):
    assert shifted.power(0.8, 0.9) == pytest.approx(0.25, abs=0.005)
    assert shifted.power(-0.8, 0.9) == pytest.approx(0.25, abs=0.005)
    assert shifted.power(0.5, math.inf) == 0.0


# -------------------------------------------------------------------------------------------------- these losses


@pytest.mark.parametrize("order", [[0, 1, 2, 3, 4, 5], [1, 0, 2, 4, 3, 5], [3, 1, 5, 0, 4, 2], [5, 4, 3, 2, 1, 0]])
def test_without_noise_the_interval_is_the_correlation_itself(order):
    """To one step between truths, of which there are 25."""
    noisy = noisy_of(np.arange(6.0), order, QUIET)
    truths = these_losses(noisy)
    low, high = truths.interval(noisy.rho())
    steps = np.abs(np.diff(truths.truth)).max()
    assert noisy.rho() - steps <= low <= high <= noisy.rho() + steps


def test_truths_turn_from_agreement_to_its_opposite():
    truth = these_losses(noisy_of(np.arange(6.0), [[1, 0, 2, 4, 3, 5], [3, 1, 5, 0, 4, 2]], 0.1)).truth
    assert (truth[0], truth[-1]) == pytest.approx((1.0, -1.0))
    assert (np.diff(truth) <= 1e-12).all()


def test_scores_that_are_nothing_but_noise_say_nothing():
    generator = np.random.default_rng(0)
    noisy = noisy_of(1e-3 * generator.normal(size=6), 1e-3 * generator.normal(size=6), 1.0)
    assert these_losses(noisy).interval(noisy.rho()) == pytest.approx((-1.0, 1.0))
    assert losses_like_these(noisy).interval(noisy.rho()) == pytest.approx((-1.0, 1.0))


def test_where_noise_hides_all_an_unlikely_observation_is_not_precise():
    """Every truth shows the same; the largest of 40 correlations is rare under each of them."""
    truth = np.linspace(1, -1, 25)
    same = Inversion(truth, np.tile(np.linspace(-0.8, 0.8, 81), (25, 1)))
    assert same.blind
    assert same.interval(0.8) == (-1.0, 1.0)
    assert math.isnan(same.estimate(0.8))


def test_noise_that_leaves_the_ends_apart_hides_not_all():
    """(.2 - gap) / .4 of what disagreement shows reaches the median of agreement: 5 % and none."""
    truth, spread = np.linspace(1, -1, 25), np.linspace(-0.2, 0.2, 2001)
    blind = {gap: Inversion(truth, gap / 2 * truth[:, None] + spread).blind for gap in (0.18, 0.2)}
    assert blind == {0.18: True, 0.2: False}


def test_a_change_is_unknown_where_the_noise_of_one_side_hides_all():
    generator = np.random.default_rng(3)
    clear, lost = np.arange(6.0), 1e-3 * generator.normal(size=6)
    found = change(noisy_of(clear, [clear, lost], 1.0), 1)
    assert np.isnan([found.estimate, found.low, found.high]).all()


def test_noise_pulls_the_seen_correlation_below_the_truth_and_the_estimate_back():
    generator = np.random.default_rng(1)
    x = generator.normal(size=30)
    noisy = noisy_of(x, x, 0.5)
    truths = these_losses(noisy)
    assert np.median(truths.seen[0]) < 0.95
    assert truths.estimate(0.5) > 0.5


def coverage(losses, noise, studies, interval, truth):
    """Share of simulated studies whose interval holds the truth, with noise of known size."""
    held = 0
    for i in range(studies):
        generator = np.random.default_rng([losses, i])
        x = generator.normal(size=losses)
        y = 0.7 * x + math.sqrt(1 - 0.49) * generator.normal(size=losses)
        seen = x + noise * generator.normal(size=losses), y + noise * generator.normal(size=losses)
        noisy = noisy_of(*seen, noise, draws=100, seed=i)
        low, high = interval(noisy).interval(noisy.rho())
        held += low - 1e-9 <= truth(x, y) <= high + 1e-9
    return held / studies


def test_the_interval_for_these_losses_covers_their_correlation():
    """At least 95 % less three Monte Carlo errors; with few losses it covers more."""
    share = coverage(8, 0.4, 150, these_losses, lambda x, y: scipy.stats.spearmanr(x, y).statistic)
    assert share >= 0.95 - 3 * math.sqrt(0.05 * 0.95 / 150)


def test_the_interval_for_losses_like_these_covers_that_of_their_population():
    share = coverage(12, 0.4, 150, losses_like_these, lambda x, y: population_rho(0.7))
    assert share >= 0.95 - 3 * math.sqrt(0.05 * 0.95 / 150)


# --------------------------------------------------------------------------------------------- losses like these


def test_population_rho_of_a_bivariate_normal():
    """6/pi asin(r/2): .4826 at r = .5, as many draws show."""
    assert [population_rho(r) for r in (-1.0, 0.0, 1.0)] == pytest.approx([-1.0, 0.0, 1.0])
    assert population_rho(0.5) == pytest.approx(0.482584, abs=1e-6)
    x, y = np.random.default_rng(0).normal(size=(2, 100_000))
    drawn = scipy.stats.spearmanr(x, 0.5 * x + math.sqrt(0.75) * y).statistic
    assert population_rho(0.5) == pytest.approx(drawn, abs=0.01)


def test_without_noise_the_interval_for_losses_like_these_is_near_bonett_and_wrights():
    generator = np.random.default_rng(2)
    x = generator.normal(size=40)
    noisy = noisy_of(x, 0.6 * x + 0.8 * generator.normal(size=40), QUIET, draws=1_000)
    rho = noisy.rho()
    assert losses_like_these(noisy).interval(rho) == pytest.approx(bonett_wright(rho, 40), abs=0.06)


def test_without_noise_many_losses_show_the_population_and_few_the_power_of_the_tables():
    """80 % power at n = 24 needs a true r of about .58 (docs/study.md, statistics)."""
    generator = np.random.default_rng(3)
    x, y = generator.normal(size=(2, 24))
    truths = losses_like_these(noisy_of(x, y, QUIET, draws=1_000))
    np.testing.assert_allclose(truths.seen.mean(1), truths.truth, atol=0.05)
    assert truths.power(population_rho(0.58), 0.406) == pytest.approx(0.8, abs=0.05)


# --------------------------------------------------------------------------------------------- perfect agreement


def test_perfect_agreement_shows_itself_without_noise():
    x = np.arange(6.0)
    np.testing.assert_allclose(perfect(noisy_of(x, [x, x**2], QUIET)), 1.0)


def test_perfect_agreement_seen_through_noise_falls_with_it():
    x = np.random.default_rng(0).normal(size=8)
    medians = [float(np.median(perfect(noisy_of(x, x, size)))) for size in (0.05, 0.3, 1.0, 10.0)]
    assert medians == sorted(medians, reverse=True)
    assert medians[0] > 0.9
    assert medians[-1] == pytest.approx(0.0, abs=0.15)


def test_perfect_agreement_is_jointly_seen_by_discriminators_as_their_noise_was_drawn():
    """Two discriminators with one noise show one correlation."""
    generator = np.random.default_rng(0)
    x, y = generator.normal(size=(2, 6))
    errors = 0.5 * generator.normal(size=(2, 100, 6))
    seen = perfect(noisy_from(x, np.stack([y, y]), x + errors[0], np.repeat((y + errors[1])[:, None], 2, 1), 100))
    np.testing.assert_allclose(seen[:, 0], seen[:, 1])


def test_a_real_disagreement_is_far_below_what_perfect_agreement_shows():
    x, y = np.arange(12.0), np.arange(12.0)[[6, 7, 8, 9, 10, 11, 0, 1, 2, 3, 4, 5]]
    noisy = noisy_of(x, y, 0.5)
    assert (perfect(noisy)[:, 0] <= noisy.rho()).mean() < 0.05


def test_unreliable_scores_that_agree_are_not_below_what_perfect_agreement_shows():
    """False alarms of the null of perfect agreement, at 5 %, over studies in which it holds: at most 5 % and three
    Monte Carlo errors."""
    alarms = 0
    for i in range(150):
        generator = np.random.default_rng([9, i])
        truth = generator.normal(size=8)
        noisy = noisy_of(*(truth + 0.5 * generator.normal(size=(2, 8))), 0.5, draws=100, seed=i)
        alarms += (1 + (perfect(noisy)[:, 0] <= noisy.rho() + 1e-9).sum()) / 101 <= 0.05
    assert alarms / 150 <= 0.05 + 3 * math.sqrt(0.05 * 0.95 / 150)

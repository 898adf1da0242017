import itertools
import math

import numpy as np
import pytest
import scipy.stats

from orchestrator.aggregate.agreement import (
    BLOCK,
    correlated,
    critical_rho,
    joint_p,
    kendall,
    orders,
    spearman,
    standard_ranks,
)

RANKS = np.arange(1.0, 7.0)
NAN = float("nan")


def everyone(n):
    return np.array(list(itertools.permutations(range(n))), dtype=float)


def scipys_rho(x, y):
    return scipy.stats.spearmanr(x, y).statistic


# -------------------------------------------------------------------------------------------------- statistics


def test_spearman_and_kendall_equal_scipy_with_ties_and_holes():
    x, y = np.random.default_rng(0).integers(0, 5, (2, 20, 8)).astype(float)
    x[:, 3] = np.nan
    keep = np.arange(8) != 3
    for i in range(20):
        assert spearman(x, y)[i] == pytest.approx(scipys_rho(x[i, keep], y[i, keep]))
        assert kendall(x, y)[i] == pytest.approx(scipy.stats.kendalltau(x[i, keep], y[i, keep]).statistic)


@pytest.mark.parametrize("n", [6, 30])
def test_ranks_that_are_shared_give_scipys_rho(n):
    generator = np.random.default_rng(1)
    x, ys = generator.integers(0, n, n).astype(float), generator.normal(size=(4, n))
    np.testing.assert_allclose(
        correlated(standard_ranks(x), standard_ranks(ys)), [scipys_rho(x, y) for y in ys], atol=1e-12
    )
    assert (standard_ranks(x) ** 2).sum() == pytest.approx(1.0)


def test_a_constant_side_has_no_correlation():
    for statistic in (spearman, kendall):
        assert np.isnan(statistic(np.ones((1, 5)), np.arange(5.0)[None])).all()
    assert np.isnan(spearman(np.zeros((2, 0)), np.zeros((2, 0)))).all()
    assert np.isnan(standard_ranks(np.ones(4))).all()


# ------------------------------------------------------------------------------------------------------------ p


def permutation_p(x, y, statistic):
    """(p, how) of one vector."""
    p, _, how = joint_p(x, y[None], statistic)
    return float(p[0]), how


def test_exact_p_at_six_losses_is_not_scipys():
    """rho = .829 at n = 6: 42 of 720 orders reach it, p = .0583, where spearmanr's t says .0416."""
    orders = itertools.permutations(RANKS)
    y = next(np.array(order) for order in orders if scipys_rho(RANKS, order) == pytest.approx(29 / 35))
    assert permutation_p(RANKS, y, spearman) == (pytest.approx(42 / 720), "exact, 720 permutations")
    assert scipy.stats.spearmanr(RANKS, y).pvalue == pytest.approx(0.0416, abs=5e-5)


@pytest.mark.parametrize("n", [4, 5])
@pytest.mark.parametrize("statistic", [spearman, kendall])
def test_exact_p_equals_scipys_permutation_test_with_ties(n, statistic):
    generator = np.random.default_rng(n)
    x, y = generator.integers(0, 4, n).astype(float), generator.normal(size=n)

    def size(x, axis=-1):
        return np.abs(statistic(x, np.broadcast_to(y, x.shape)))

    how = {"permutation_type": "pairings", "alternative": "greater", "vectorized": True}
    theirs = scipy.stats.permutation_test((x,), size, **how)
    assert permutation_p(x, y, statistic)[0] == pytest.approx(theirs.pvalue)


@pytest.mark.parametrize("n", [4, 5, 6])
def test_exact_p_has_its_level(n):
    """Under the null every order is as likely: at most 5 % of them are significant, and of four losses none is."""
    place = np.arange(float(n))
    rho = np.abs([scipys_rho(place, order) for order in everyone(n)])
    ps = [permutation_p(place, order, spearman)[0] for order in everyone(n)[:: n - 2]]
    np.testing.assert_allclose(ps, [(rho >= own - 1e-9).mean() for own in rho[:: n - 2]])
    every = np.array([(rho >= own - 1e-9).mean() for own in rho])
    assert (every <= 0.05).mean() <= 0.05
    assert every.min() == pytest.approx(2 / math.factorial(n))
    assert (every <= 0.05).any() == (n > 4)


def test_a_constant_ranking_has_no_p():
    p, how = permutation_p(RANKS, np.ones(6), spearman)
    assert math.isnan(p)
    assert how == "undefined: one ranking is constant"


def test_beside_a_constant_row_the_others_keep_their_p():
    p, joint, _ = joint_p(RANKS, np.stack([np.ones(6), RANKS]), spearman)
    assert np.isnan([p[0], joint[0]]).all()
    assert (p[1], joint[1]) == pytest.approx((2 / 720, 2 / 720))


# ------------------------------------------------------------------------------------- all discriminators at once


def test_joint_p_by_enumeration():
    """One permutation of the losses for both rows: the larger |rho| of the two is what an order reaches."""
    x, ys = np.array([0.0, 1.0, 2.0, 3.0]), np.array([[0.0, 1.0, 3.0, 2.0], [3.0, 2.0, 0.0, 1.0]])
    observed = np.abs([scipys_rho(x, y) for y in ys])
    reached = np.array([[abs(scipys_rho(order, y)) for y in ys] for order in everyone(4)])
    p, joint, _ = joint_p(x, ys, spearman)
    np.testing.assert_allclose(p, (reached >= observed - 1e-9).mean(0))
    np.testing.assert_allclose(joint, [(reached.max(1) >= one - 1e-9).mean() for one in observed])


def test_joint_p_is_never_below_the_single_one():
    generator = np.random.default_rng(2)
    p, joint, _ = joint_p(generator.normal(size=6), generator.normal(size=(5, 6)), spearman)
    assert (joint >= p).all()
    assert (joint > p).any()


def test_two_equal_discriminators_are_no_two_chances():
    y = np.random.default_rng(3).normal(size=6)
    p, joint, _ = joint_p(RANKS, np.stack([y, y, -y]), spearman)
    np.testing.assert_allclose(joint, p)


# -------------------------------------------------------------------------------------------------- Monte Carlo


def test_above_nine_losses_p_is_monte_carlo_and_counts_the_observed_order():
    x = np.arange(10.0)
    p, joint, how = joint_p(x, x[None], spearman, draws=2_000)
    assert p[0] == joint[0] == pytest.approx(1 / 2_001)
    assert how == "Monte Carlo, 2,000 permutations, seed 0"


def test_monte_carlo_p_is_near_the_exact_one():
    x, y = np.arange(10.0), np.arange(10.0)[[4, 0, 8, 2, 6, 1, 7, 3, 9, 5]]
    exact = scipy.stats.kendalltau(x, y, method="exact").pvalue
    p, _, _ = joint_p(x, y[None], kendall, draws=BLOCK)
    assert p[0] == pytest.approx(exact, abs=4 * math.sqrt(exact * (1 - exact) / BLOCK))


def test_as_many_permutations_are_drawn_as_are_said():
    for draws in (500, BLOCK + 1):
        blocks, total, how = orders(12, draws)
        found = list(blocks)
        assert sum(map(len, found)) == total >= draws
        assert f"{total:,}" in how
        assert all((np.sort(block, axis=1) == np.arange(12)).all() for block in found)


def test_all_orders_are_walked_once():
    blocks, total, _ = orders(5)
    assert {tuple(order) for block in blocks for order in block.tolist()} == set(itertools.permutations(range(5)))
    assert total == 120


# ----------------------------------------------------------------------------------------------- critical values


@pytest.mark.parametrize(("n", "rho"), [(4, math.inf), (5, 1.0), (6, 0.886), (7, 0.786), (8, 0.738)])
def test_critical_values_are_those_of_the_tables(n, rho):
    """Two-sided 5 %, Zar (1972)."""
    assert critical_rho(n) == pytest.approx(rho, abs=5e-4)


def test_the_critical_value_of_24_losses_by_monte_carlo():
    """Zar (1972): .406."""
    assert critical_rho(24) == pytest.approx(0.406, abs=0.005)


def test_a_weaker_level_has_a_lower_critical_value():
    assert critical_rho(6, alpha=0.1) == pytest.approx(29 / 35)

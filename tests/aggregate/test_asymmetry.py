import itertools

import numpy as np
import pytest
import scipy.stats

from orchestrator.aggregate.asymmetry import (
    RESAMPLES,
    asymmetry,
    interval,
    kendall,
    noise_ceiling,
    permutation_p,
    spearman,
)
from orchestrator.aggregate.ranking import ImageSet, Panel

RANKS = np.arange(1.0, 7.0)


def losses_named(n):
    return tuple(f"loss{i}" for i in range(n))


def metric_panel(quality, noise=0.0, contents=4, seeds=2):
    """Losses whose predictions follow the labels with an error that grows as `quality` falls."""
    generator = np.random.default_rng(0)
    content = np.repeat(np.arange(contents), 20)
    labels = np.tile(np.arange(20.0), contents)
    spread = (1 - np.asarray(quality))[None, None, :, None] * 20
    shape = (1, seeds, len(quality), content.size)
    shared = generator.normal(size=content.size)
    values = labels + spread * (shared + noise * generator.normal(size=shape)) / (1 + noise)
    return Panel(losses_named(len(quality)), tuple(range(seeds)), (ImageSet("ladder", values, content, labels),))


def judged_panel(quality, noise=0.0, contents=4, seeds=2):
    """Losses whose images score `quality` plus noise from two judges of two families."""
    shape = (2, seeds, len(quality), contents)
    values = np.asarray(quality)[None, None, :, None] + noise * np.random.default_rng(1).normal(size=shape)
    test = ImageSet("natural", values, np.arange(contents))
    return Panel(losses_named(len(quality)), tuple(range(seeds)), (test,), ("x", "y"))


def test_spearman_and_kendall_equal_scipy_with_ties_and_holes():
    generator = np.random.default_rng(0)
    x, y = generator.integers(0, 5, (2, 20, 8)).astype(float)
    x[:, 3] = np.nan
    keep = np.arange(8) != 3
    for i in range(20):
        assert spearman(x, y)[i] == pytest.approx(scipy.stats.spearmanr(x[i, keep], y[i, keep]).statistic)
        assert kendall(x, y)[i] == pytest.approx(scipy.stats.kendalltau(x[i, keep], y[i, keep]).statistic)


def test_exact_p_at_six_losses_is_not_scipys():
    """rho = .829 at n = 6: exact two-sided p = .058, where spearmanr says .042 (docs/study.md, statistics)."""
    y = next(np.array(p) for p in itertools.permutations(RANKS) if abs(spearman(RANKS, np.array(p)) - 0.829) < 5e-4)
    p, how = permutation_p(RANKS, y, spearman)
    assert p == pytest.approx(0.058, abs=5e-4)
    assert scipy.stats.spearmanr(RANKS, y).pvalue == pytest.approx(0.042, abs=5e-4)
    assert how == "exact, 720 permutations"


@pytest.mark.parametrize(
    ("statistic", "reference"), [(spearman, scipy.stats.spearmanr), (kendall, scipy.stats.kendalltau)]
)
def test_exact_p_equals_brute_force_with_ties(statistic, reference):
    x, y = np.array([1.0, 2.0, 2.0, 4.0, 5.0]), np.array([2.0, 1.0, 3.0, 5.0, 5.0])
    observed = abs(reference(x, y).statistic)
    values = [abs(reference(x, np.array(order)).statistic) for order in itertools.permutations(y)]
    assert permutation_p(x, y, statistic)[0] == pytest.approx(np.mean(np.array(values) >= observed - 1e-9))


def test_smallest_p_is_reached_by_full_agreement():
    assert permutation_p(RANKS[:4], RANKS[:4], spearman)[0] == pytest.approx(2 / 24)


def test_above_eight_losses_p_is_monte_carlo_and_says_so(monkeypatch):
    monkeypatch.setattr("orchestrator.aggregate.asymmetry.MONTE_CARLO", 2_000)
    x = np.arange(9.0)
    p, how = permutation_p(x, x, spearman)
    assert p == pytest.approx(1 / 2_001)
    assert how.startswith("Monte Carlo, 2,000 permutations")
    unrelated = x[[4, 0, 8, 2, 6, 1, 7, 3, 5]]
    exact = scipy.stats.kendalltau(x, unrelated, method="exact").pvalue
    assert permutation_p(x, unrelated, kendall)[0] == pytest.approx(exact, abs=0.04)


def test_p_is_undefined_for_a_constant_ranking():
    p, how = permutation_p(RANKS, np.ones(6), spearman)
    assert np.isnan(p)
    assert "constant" in how


def test_agreeing_rankings_reach_one_and_reversed_ones_minus_one():
    quality = np.linspace(0.2, 0.9, 6)
    table, ranking = asymmetry(metric_panel(quality), {"none": judged_panel(quality), "patch": judged_panel(-quality)})
    none, patch = table.to_dict("records")
    assert (none["spearman"], none["kendall"], none["losses"]) == (1.0, 1.0, 6)
    assert (none["spearman_low"], none["spearman_high"]) == (1.0, 1.0)
    assert none["spearman_p"] == none["smallest_p"] == pytest.approx(2 / 720)
    assert none["noise_ceiling"] == pytest.approx(1.0)
    assert none["resamples"] == RESAMPLES
    assert patch["spearman"] == -1.0
    assert patch["change_against_none"] == -2.0
    best = ranking[ranking["loss"] == "loss5"].set_index("discriminator")
    assert best.loc["none", ["iqa_rank", "optimization_rank", "shift"]].tolist() == [1.0, 1.0, 0.0]
    assert best.loc["patch", ["optimization_rank", "shift", "shift_low", "shift_high"]].tolist() == [6.0, 5.0, 5.0, 5.0]


def test_noise_widens_the_interval_and_lowers_the_ceiling():
    quality = np.linspace(0.2, 0.9, 6)
    quiet, _ = asymmetry(metric_panel(quality), {"none": judged_panel(quality, noise=0.05)})
    loud, _ = asymmetry(metric_panel(quality), {"none": judged_panel(quality, noise=0.5)})
    width = [float(t["spearman_high"].iloc[0] - t["spearman_low"].iloc[0]) for t in (quiet, loud)]
    assert width[1] > width[0]
    assert loud["noise_ceiling"].iloc[0] < quiet["noise_ceiling"].iloc[0]
    assert loud["spearman_low"].iloc[0] <= loud["spearman"].iloc[0] <= loud["spearman_high"].iloc[0]


def test_equal_input_gives_equal_output():
    panels = metric_panel(np.linspace(0.2, 0.9, 5), noise=1.0), {"none": judged_panel(np.arange(5.0), noise=2.0)}
    first, second = asymmetry(*panels), asymmetry(*panels)
    assert first[0].equals(second[0])
    assert first[1].equals(second[1])


def test_fewer_than_three_losses_get_a_statement_instead_of_numbers():
    table, _ = asymmetry(metric_panel([0.3, 0.8]), {"none": judged_panel([0.3, 0.8])})
    assert table["note"].tolist() == ["2 losses have both scores; at least 3 are needed for a rank correlation"]
    assert "spearman" not in table or table["spearman"].isna().all()


def test_one_seed_and_one_content_cannot_be_split():
    quality = np.linspace(0.2, 0.9, 4)
    table, _ = asymmetry(
        metric_panel(quality, contents=1, seeds=1), {"none": judged_panel(quality, contents=1, seeds=1)}
    )
    assert np.isnan(table["noise_ceiling"].iloc[0])
    assert table["note"].iloc[0] == "no noise ceiling: the IQA ranking cannot be split in halves"


def test_noise_ceiling_of_unreliable_rankings_is_empty_with_the_reason():
    assert noise_ceiling(0.64, 0.25) == (pytest.approx(0.4), "")
    value, reason = noise_ceiling(0.9, -0.1)
    assert np.isnan(value)
    assert reason == "no noise ceiling: the optimization ranking's reliability is -0.100, not positive"


def test_interval_ignores_undefined_resamples():
    assert interval(np.array([np.nan, *np.linspace(0, 1, 1001)])) == (pytest.approx(0.025), pytest.approx(0.975))
    assert all(np.isnan(interval(np.array([np.nan]))))

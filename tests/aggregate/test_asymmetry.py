"""The asymmetry table and the ranks beside it, from panels whose answer is known."""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
import scipy.stats

from orchestrator.aggregate import reliability
from orchestrator.aggregate.asymmetry import COLUMNS, DRAWS, NOTHING, asymmetry, ranks_table
from orchestrator.aggregate.panel import ImageSet, Panel
from orchestrator.aggregate.scored import score

RESAMPLES = 400
NAN = float("nan")


def losses_named(n):
    return tuple(f"loss{i}" for i in range(n))


def metric_panel(quality, noise=0.0, contents=4, seeds=2):
    """Losses whose predictions follow the labels with an error that grows as `quality` falls."""
    generator = np.random.default_rng(0)
    content = np.repeat(np.arange(contents), 20)
    labels = np.tile(np.arange(20.0), contents)
    spread = (1 - np.asarray(quality))[:, None] * 20
    shape = (1, 1, seeds, len(quality), content.size)
    shared = generator.normal(size=content.size)
    values = labels + spread * (shared + noise * generator.normal(size=shape)) / (1 + noise)
    return Panel(losses_named(len(quality)), tuple(range(seeds)), (ImageSet("ladder", values, content, labels),))


def judged_panel(noise=0.0, contents=4, seeds=2, **qualities):
    """Losses whose images score the quality of their discriminator plus noise, from two judges of two families."""
    quality = np.array(list(qualities.values()), float)[:, None, None, :, None]
    shape = (len(quality), 2, seeds, quality.shape[3], contents)
    values = quality + noise * np.random.default_rng(1).normal(size=shape)
    return Panel(
        losses_named(quality.shape[3]),
        tuple(range(seeds)),
        (ImageSet("natural", values, np.arange(contents)),),
        tuple(qualities),
        ("x", "y"),
        ("x", "y"),
    )


def found(iqa, optimization, diverged=None):
    """(asymmetry table, table of ranks)."""
    scored = score(iqa, optimization, resamples=RESAMPLES)[0]
    table = asymmetry(scored, reliability.table(iqa, optimization), diverged or {})
    return table, ranks_table(scored, {})


def alone(iqa, optimization):
    """The only row of the asymmetry table."""
    (row,) = found(iqa, optimization)[0].to_dict("records")
    return row


@pytest.fixture(scope="module")
def agreeing():
    """Both tables of six losses without noise: patch turns their order round."""
    quality = np.linspace(0.2, 0.9, 6)
    return found(metric_panel(quality), judged_panel(none=quality, patch=-quality), {"patch": 3})


def test_agreeing_rankings_reach_one_and_reversed_ones_minus_one(agreeing):
    none, patch = agreeing[0].to_dict("records")
    assert (none["spearman"], none["kendall"], none["losses"]) == (pytest.approx(1.0), 1.0, 6)
    assert none["spearman_high"] == pytest.approx(1.0)
    assert none["spearman_p"] == none["smallest_p"] == pytest.approx(2 / 720)
    assert none["kendall_p"] == none["joint_p"] == pytest.approx(2 / 720)
    assert none["p_method"] == "exact, 720 permutations"
    assert none["noise_ceiling"] == pytest.approx(1.0)
    assert none["resamples"] == min(RESAMPLES, DRAWS)
    assert patch["spearman"] == pytest.approx(-1.0)
    assert patch["spearman_p"] == pytest.approx(2 / 720)
    assert patch["change_against_none"] == pytest.approx(-2.0)
    assert np.isnan(none["change_against_none"])
    assert [none["diverged"], patch["diverged"]] == [0, 3]


def test_ranks_and_shifts_of_a_loss(agreeing):
    ranking = agreeing[1]
    best = ranking[ranking["loss"] == "loss5"].set_index("discriminator")
    assert best.loc["none", ["iqa_rank", "optimization_rank", "shift"]].tolist() == [1.0, 1.0, 0.0]
    assert best.loc["patch", ["optimization_rank", "shift", "shift_low", "shift_high"]].tolist() == [6.0, 5.0, 5.0, 5.0]
    assert (ranking["shift"] == ranking["optimization_rank"] - ranking["iqa_rank"]).all()
    assert (ranking["shift"].groupby(ranking["discriminator"]).sum() == 0).all()


def test_rho_and_p_are_those_of_scipy_on_the_scores():
    """Optimization scores of one judge and seed without noise are the Borda points of the qualities."""
    quality, trained = np.linspace(0.2, 0.9, 6), np.array([2.0, 1.0, 3.0, 4.0, 6.0, 5.0])
    row = alone(metric_panel(quality), judged_panel(none=trained))
    assert row["spearman"] == pytest.approx(scipy.stats.spearmanr(quality, trained).statistic)
    assert row["kendall"] == pytest.approx(scipy.stats.kendalltau(quality, trained).statistic)
    test = scipy.stats.permutation_test(
        (quality,), lambda x: scipy.stats.spearmanr(x, trained).statistic, permutation_type="pairings"
    )
    assert row["spearman_p"] == pytest.approx(test.pvalue)


@pytest.fixture(scope="module")
def quiet_and_loud():
    quality = np.linspace(0.2, 0.9, 6)
    return [alone(metric_panel(quality), judged_panel(noise, none=quality)) for noise in (0.05, 0.5)]


def test_noise_widens_the_interval_and_lowers_the_ceiling(quiet_and_loud):
    quiet, loud = quiet_and_loud
    width = [row["spearman_high"] - row["spearman_low"] for row in quiet_and_loud]
    assert width[1] > width[0]
    assert loud["noise_ceiling"] < quiet["noise_ceiling"]
    assert loud["perfect"] < quiet["perfect"] <= 1.0
    assert loud["spearman_low"] <= loud["spearman"] <= loud["spearman_high"]


def test_losses_like_these_are_less_certain_than_these_losses(quiet_and_loud):
    for row in quiet_and_loud:
        assert row["like_high"] - row["like_low"] > row["spearman_high"] - row["spearman_low"]
        assert -1 <= row["like_low"] <= row["like_high"] <= 1


def test_power_grows_with_the_correlation_and_falls_with_noise(quiet_and_loud):
    quiet, loud = quiet_and_loud
    for row in quiet_and_loud:
        assert 0 < row["power_50"] < row["power_70"] < row["power_90"] < 1
    assert loud["power_90"] < quiet["power_90"]


def test_equal_input_gives_equal_output():
    panels = metric_panel(np.linspace(0.2, 0.9, 5), noise=1.0), judged_panel(2.0, none=np.arange(5.0))
    first, second = found(*panels), found(*panels)
    pd.testing.assert_frame_equal(first[0], second[0], check_exact=True)
    pd.testing.assert_frame_equal(first[1], second[1], check_exact=True)


# ------------------------------------------------------------------------------------- little that can be compared


def holds_no_number(row: dict, but: Sequence[str] = ()):
    numbers = [name for name, kind in COLUMNS.items() if kind == "float64" and name not in but]
    assert [name for name in numbers if not np.isnan(row[name])] == []


@pytest.mark.parametrize(
    ("qualities", "note"),
    [
        ([NAN] * 3, "0 losses have both scores"),
        ([0.3], "the grid ranks a single loss"),
        ([0.3, 0.8], "2 losses have both scores"),
        ([0.3, 0.8, NAN], "2 losses have both scores"),
    ],
)
def test_fewer_than_three_losses_get_a_statement_instead_of_numbers(qualities, note):
    table, ranking = found(metric_panel(qualities), judged_panel(none=qualities, patch=qualities))
    assert table["note"].tolist() == [f"{note}; at least 3 are needed for a rank correlation"] * 2
    for row in table.to_dict("records"):
        holds_no_number(row)
        assert [row[name] for name in ("interval_method", "like_method", "p_method")] == [""] * 3
    assert len(ranking) == 2 * len(qualities)


def test_the_columns_are_the_same_whatever_is_there(agreeing):
    nothing = found(metric_panel([NAN]), judged_panel(none=[NAN]))[0]
    for table in (agreeing[0], nothing):
        assert list(table) == list(COLUMNS)
        assert {name: str(kind) for name, kind in table.dtypes.items()} == COLUMNS
        assert not table[[name for name, kind in COLUMNS.items() if kind == "str"]].isna().any(axis=None)


def test_one_seed_and_one_content_cannot_be_split():
    quality = np.linspace(0.2, 0.9, 4)
    row = alone(metric_panel(quality, contents=1, seeds=1), judged_panel(contents=1, seeds=1, none=quality))
    assert row["spearman"] == pytest.approx(1.0)
    assert np.isnan(row["noise_ceiling"])
    assert row["note"] == "no noise ceiling: the IQA ranking cannot be split in halves"


def test_where_nothing_can_be_resampled_there_is_no_interval_and_the_table_says_so():
    quality = np.linspace(0.2, 0.9, 4)
    row = alone(metric_panel(quality, contents=1, seeds=1), judged_panel(contents=1, seeds=1, none=quality))
    assert (row["interval_method"], row["like_method"]) == (NOTHING, NOTHING)
    bounds = ("spearman_low", "spearman_high", "like_low", "like_high", "perfect", "power_50", "power_90")
    assert all(np.isnan(row[name]) for name in bounds)
    assert pd.isna(row["resamples"])
    assert row["spearman_p"] == row["smallest_p"] == pytest.approx(2 / 24)  # the exact p needs no resamples


def test_one_seed_with_several_contents_still_has_an_interval():
    quality = np.linspace(0.2, 0.9, 5)
    row = alone(metric_panel(quality, noise=1.0, seeds=1), judged_panel(0.3, seeds=1, none=quality))
    assert row["spearman_low"] <= row["spearman"] <= row["spearman_high"]
    assert np.isfinite(row["noise_ceiling"])


def test_one_judge_is_ranked_as_it_is():
    quality, two = np.linspace(0.2, 0.9, 5), judged_panel(0.3, none=np.linspace(0.2, 0.9, 5))
    sets = tuple(replace(part, values=part.values[:, :1]) for part in two.sets)
    one = replace(two, sets=sets, judges=("x",), families=("x",))
    row = alone(metric_panel(quality), one)
    means = sets[0].values.mean(-1)[0, 0]  # S, L
    points = (scipy.stats.rankdata(means, axis=1) - 1).mean(0)
    assert row["spearman"] == pytest.approx(scipy.stats.spearmanr(quality, points).statistic)
    assert "judges" not in set(reliability.table(metric_panel(quality), one)["over"])


def test_constant_scores_have_no_correlation_and_a_note():
    """Every training gives the same images, so all losses tie; under patch they do not."""
    quality = np.linspace(0.2, 0.9, 5)
    table, ranking = found(metric_panel(quality), judged_panel(none=np.ones(5), patch=quality))
    none, patch = table.to_dict("records")
    assert none["note"].startswith("spearman is undefined: one ranking is constant")
    holds_no_number(none, but=["smallest_p", "iqa_reliability"])
    assert patch["spearman"] == pytest.approx(1.0)
    assert patch["spearman_p"] == pytest.approx(2 / 120)
    assert np.isnan(patch["change_against_none"])
    assert ranking.query("discriminator == 'none'")["optimization_rank"].tolist() == [3.0] * 5


def test_constant_predictions_leave_no_loss_to_compare():
    quality = np.linspace(0.2, 0.9, 4)
    iqa = metric_panel(quality)
    flat = replace(iqa, sets=tuple(replace(part, values=np.zeros_like(part.values)) for part in iqa.sets))
    row = alone(flat, judged_panel(none=quality))
    assert row["note"] == "0 losses have both scores; at least 3 are needed for a rank correlation"


# ---------------------------------------------------------------------------------------------- the noise ceiling


def reliabilities(iqa, optimization):
    rows = [("IQA", "", reliability.NOISE, iqa, ""), ("optimization", "none", reliability.NOISE, optimization, "")]
    return pd.DataFrame(rows, columns=["side", "discriminator", "over", "reliability", "note"])


def test_noise_ceiling_of_unreliable_rankings_is_empty_with_the_reason():
    value, iqa, optimization, reason = reliability.ceiling(reliabilities(0.64, 0.25), "none")
    assert (value, iqa, optimization, reason) == (pytest.approx(0.4), 0.64, 0.25, "")
    value, *_, reason = reliability.ceiling(reliabilities(0.9, -0.1), "none")
    assert np.isnan(value)
    assert reason == "no noise ceiling: the optimization ranking's reliability is -0.100, not positive"
    value, *_, reason = reliability.ceiling(reliabilities(NAN, 0.5), "none")
    assert np.isnan(value)
    assert reason == "no noise ceiling: the IQA ranking cannot be split in halves"


def test_a_shift_is_between_ranks_of_the_losses_that_have_both_scores():
    """The best metric was not trained: the others agree, so that nobody shifts."""
    quality = np.linspace(0.2, 0.9, 6)
    trained = np.where(np.arange(6) == 5, np.nan, quality)
    ranking = found(metric_panel(quality), judged_panel(none=trained))[1].set_index("loss")
    assert ranking.loc["loss4", ["iqa_rank", "optimization_rank", "shift"]].tolist() == [1.0, 1.0, 0.0]
    assert ranking.loc["loss5", ["iqa_rank", "optimization_rank", "shift"]].isna().all()

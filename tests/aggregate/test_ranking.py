import numpy as np
import pandas as pd
import pytest
import scipy.stats

from orchestrator.aggregate.panel import ImageSet, Panel, iqa_panel, optimization_panel
from orchestrator.aggregate.ranking import FEW, borda, iqa_scores, mean, optimization_scores, ranks, z_scores
from orchestrator.aggregate.resampling import Draws, everything, weighted
from tests.aggregate.conftest import cell, predicted

NAN = float("nan")


def test_rank_one_is_best_ties_share_and_holes_take_no_rank():
    np.testing.assert_array_equal(ranks(np.array([0.2, 0.9, NAN, 0.9, 0.1])), [3.0, 1.5, NAN, 1.5, 4.0])


def test_many_losses_are_ranked_as_few_are():
    """Above `FEW` values ranks come from sorting, unless there are ties."""
    scores = np.random.default_rng(0).normal(size=(3, FEW + 4))
    expected = scipy.stats.rankdata(-scores, axis=1)
    np.testing.assert_array_equal(ranks(scores), expected)
    scores[1, 3] = scores[1, 5]
    np.testing.assert_array_equal(ranks(scores), scipy.stats.rankdata(-scores, axis=1))
    scores[2, 0] = NAN
    np.testing.assert_array_equal(ranks(scores)[2, 1:], scipy.stats.rankdata(-scores[2, 1:]))


def test_borda_by_hand():
    np.testing.assert_allclose(borda(np.array([4.0, 3.0, 3.0, 1.0])), [1.0, 0.5, 0.5, 0.0])
    np.testing.assert_allclose(borda(np.array([4.0, NAN, 3.0])), [1.0, NAN, 0.0])
    assert np.isnan(borda(np.array([4.0, NAN, NAN]))).all()


def test_z_scores_by_hand():
    np.testing.assert_allclose(z_scores(np.array([1.0, 3.0, NAN])), [-1.0, 1.0, NAN])
    np.testing.assert_allclose(z_scores(np.array([2.0, 2.0])), [0.0, 0.0])


def test_mean_leaves_out_what_is_absent_unless_it_must_be_complete():
    values = np.array([[1.0, 3.0, NAN]])
    assert mean(values, np.array([1.0, 3.0, 1.0]), axis=1)[0] == pytest.approx(2.5)
    assert np.isnan(mean(values, np.ones(3), axis=1, complete=True)[0])
    assert mean(values, np.array([1.0, 1.0, 0.0]), axis=1, complete=True)[0] == pytest.approx(2.0)
    assert np.isnan(mean(values, np.zeros(3), axis=1)[0])


@pytest.mark.parametrize("present", [5, 4, 3, 2])
def test_a_drawn_mean_varies_by_the_variance_of_what_is_there(present):
    """s^2 / k for k of 5 values, around their own mean: weights that may be negative are not divided by their sum."""
    generator = np.random.default_rng(present)
    values = np.where(np.arange(5) < present, generator.normal(size=5), NAN)[None]
    drawn = mean(values, weighted(generator, 5, 40_000), axis=1, normal=True)
    there = values[0, :present]
    assert drawn.mean() == pytest.approx(there.mean(), abs=0.02)
    assert drawn.std() == pytest.approx(there.std(ddof=1) / np.sqrt(present), rel=0.03)


def test_a_drawn_mean_of_a_single_value_is_that_value_and_of_none_is_undefined():
    weights = weighted(np.random.default_rng(0), 3, 100)
    assert (mean(np.array([[NAN, 0.7, NAN]]), weights, axis=1, normal=True) == 0.7).all()
    assert np.isnan(mean(np.full((1, 3), NAN), weights, axis=1, normal=True)).all()
    assert np.isnan(mean(np.array([[NAN, 0.7, 0.1]]), weights, axis=1, complete=True, normal=True)).all()


def test_equal_means_tie_whatever_the_order_of_their_sum():
    """Three test sets in which three losses take three places in turn: each has one score, summed in another order."""
    generator = np.random.default_rng(0)
    for _ in range(20):
        places = generator.permutation(8).astype(float)
        values = [np.concatenate([np.roll(places[:3], turn), places[3:]]) for turn in range(3)]
        sets = tuple(
            ImageSet(f"s{i}", one[None, None, None, :, None], np.zeros(1, int)) for i, one in enumerate(values)
        )
        panel = Panel(tuple("abcdefgh"), (0,), sets, ("none",), ("judge",), ("judge",))
        found = optimization_scores(panel, everything(panel))[0, 0, 0]
        assert found[0] == found[1] == found[2]


def judging(loss, judge, family, values, lower_better=0.0, **levels):
    key = f"{loss}-{judge}-{levels.get('data_set', 'natural')}"
    levels = {"data_set": "natural", "discriminator": "none"} | levels
    row = cell("judging", key, loss=loss, judge=judge, family=family, lower_better=lower_better, **levels)
    return row, predicted(values)


def panel_of(pairs, losses):
    cells = pd.DataFrame([row for row, _ in pairs]).astype({"seed": "Int64"})
    scores = {row["key"]: values for row, values in pairs}
    return optimization_panel(cells, scores, losses, [0], ["none"])


def whole(panel):
    """(L,): scores under the one discriminator, with everything that there is."""
    found = optimization_scores(panel, everything(panel))
    assert found.shape == (1, 1, 1, len(panel.losses))  # views, weightings, discriminators, losses
    return found[0, 0, 0]


def test_optimization_score_by_hand():
    """Family x holds two judges that disagree, family y one that is lower-better with a tie."""
    pairs = [judging(loss, "x1", "x", v) for loss, v in (("a", [3, 3]), ("b", [2, 2]), ("c", [0, 2]))]
    pairs += [judging(loss, "x2", "x", v) for loss, v in (("a", [1, 1]), ("b", [2, 2]), ("c", [3, 3]))]
    pairs += [
        judging(loss, "y1", "y", v, lower_better=1.0) for loss, v in (("a", [0, 2]), ("b", [1, 1]), ("c", [5, 5]))
    ]
    pairs += [judging(loss, "psnr", "", v) for loss, v in (("a", [0, 0]), ("b", [0, 0]), ("c", [9, 9]))]
    panel = panel_of(pairs, ["a", "b", "c"])
    # x: mean of (1, .5, 0) and (0, .5, 1); y: a and b tie at rank 1.5 -> .75, c 0
    np.testing.assert_allclose(whole(panel), [0.625, 0.625, 0.25])


def test_a_loss_without_judgings_is_ranked_nowhere_and_the_others_as_if_it_did_not_exist():
    pairs = [judging(loss, "x1", "x", v) for loss, v in (("a", [3]), ("c", [1]))]
    panel = panel_of(pairs, ["a", "b", "c"])
    np.testing.assert_array_equal(whole(panel), [1.0, NAN, 0.0])


def test_baselines_are_not_ranked():
    pairs = [judging(loss, "x1", "x", v) for loss, v in (("a", [3]), ("b", [1]))]
    pairs.append(judging("pixel", "x1", "x", [9], baseline=True))
    panel = panel_of(pairs, ["a", "b"])
    np.testing.assert_allclose(whole(panel), [1.0, 0.0])


def test_drawn_contents_weigh_the_image_means():
    pairs = [judging(loss, "x1", "x", v) for loss, v in (("a", [5, 0]), ("b", [0, 4]))]
    panel = panel_of(pairs, ["a", "b"])
    draws = Draws(np.ones((2, 1)), np.ones((2, 1)), (np.array([[2.0, 0.0], [0.0, 2.0]]),))
    np.testing.assert_allclose(optimization_scores(panel, draws)[0, :, 0], [[1.0, 0.0], [0.0, 1.0]])


def test_iqa_score_is_the_mean_srcc_and_needs_every_benchmark():
    labels = np.arange(4.0)
    trials = {
        ("a", "one"): [0, 1, 2, 3],  # SRCC 1
        ("a", "two"): [3, 2, 1, 0],  # SRCC -1
        ("b", "one"): [0, 1, 3, 2],  # SRCC .8
        ("b", "two"): [0, 1, 3, 2],
        ("c", "one"): [0, 1, 2, 3],  # its second benchmark lacks
    }
    rows = [cell("metric_benchmark", f"{a}{b}", loss=a, data_set=b) for a, b in trials]
    scores = {f"{a}{b}": predicted(values, labels) for (a, b), values in trials.items()}
    panel = iqa_panel(pd.DataFrame(rows).astype({"seed": "Int64"}), scores, ["a", "b", "c"], [0])
    np.testing.assert_allclose(iqa_scores(panel, everything(panel))[0], [0.0, 0.8, NAN], atol=1e-12)

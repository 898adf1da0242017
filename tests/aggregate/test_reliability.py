import math

import numpy as np
import pandas as pd
import pytest
import scipy.stats

from orchestrator.aggregate.panel import ImageSet, Panel
from orchestrator.aggregate.reliability import NOISE, ceiling, table

NAN = float("nan")


def judged(values, discriminators=("none",), judges=None):
    """A panel of one test set from values (D, J, S, L, N), every image a content of its own."""
    values = np.asarray(values, float)
    judges = judges or tuple(f"judge{i}" for i in range(values.shape[1]))
    tests = (ImageSet("t", values, np.arange(values.shape[-1])),)
    losses, seeds = tuple("abcdefgh"[: values.shape[3]]), tuple(range(values.shape[2]))
    lost = np.zeros((values.shape[0], values.shape[2], values.shape[3]), bool)
    return Panel(losses, seeds, tests, tuple(discriminators), judges, judges, lost)


def metric(values, labels, content=None):
    """A panel of one benchmark from values (S, L, N)."""
    values = np.asarray(values, float)
    content = np.arange(values.shape[-1]) if content is None else np.asarray(content)
    benchmark = ImageSet("b", values[None, None], content, np.asarray(labels, float))
    return Panel(tuple("abcdefgh"[: values.shape[1]]), tuple(range(len(values))), (benchmark,))


@pytest.fixture
def quiet():
    """Three metrics whose SRCC is 1, .8 and -1, the same with both seeds."""
    labels = np.arange(4.0)
    return metric([[labels, [0, 2, 1, 3], -labels]] * 2, labels)


def found(reliabilities, side, over, discriminator=None):
    name = discriminator if discriminator is not None else ("" if side == "IQA" else "none")
    rows = reliabilities[(reliabilities["side"] == side) & (reliabilities["over"] == over)]
    return rows.set_index("discriminator").loc[name]


def test_two_seeds_have_one_split_stepped_up_by_spearman_and_brown(quiet):
    """The seeds rank four losses 1 2 3 4 and 1 2 4 3: r = .8, stepped up 1.6 / 1.8."""
    row = found(table(quiet, judged([[[[[4], [3], [2], [1]], [[4], [3], [1], [2]]]]])), "optimization", "seeds")
    r = scipy.stats.spearmanr([1, 2, 3, 4], [1, 2, 4, 3]).statistic
    assert (row["reliability"], row["note"]) == (pytest.approx(2 * r / (1 + r)), "")


def test_two_judges_are_split_in_two(quiet):
    row = found(table(quiet, judged([[[[[4], [3], [2], [1]]], [[[4], [2], [3], [1]]]]])), "optimization", "judges")
    r = scipy.stats.spearmanr([1, 2, 3, 4], [1, 3, 2, 4]).statistic
    assert row["reliability"] == pytest.approx(2 * r / (1 + r))


def test_halves_that_disagree_are_not_stepped_up(quiet):
    """At r = -1 the formula divides by zero, and near it gives anything."""
    row = found(table(quiet, judged([[[[[3], [2], [1]], [[1], [2], [3]]]]])), "optimization", "seeds")
    assert row["reliability"] == pytest.approx(-1.0)
    assert row["note"] == "the halves do not agree: not stepped up"


def test_contents_are_split_and_not_their_images(quiet):
    """Both contents have two images that disagree, and agree as contents."""
    values = np.array([[4.0, 0.0, 4.0, 0.0], [1.5, 1.5, 1.5, 1.5], [0.0, 2.0, 0.0, 2.0]])
    panel = judged(values[None, None, None])
    part = ImageSet("t", panel.sets[0].values, np.array([0, 0, 1, 1]))
    by_content = Panel(panel.losses, panel.seeds, (part,), panel.discriminators, panel.judges, panel.families)
    assert found(table(quiet, by_content), "optimization", "contents")["reliability"] == pytest.approx(1.0)


def test_a_single_unit_has_no_halves(quiet):
    reliabilities = table(quiet, judged([[[[[3], [2], [1]]]]]))
    for over in ("seeds", "contents", NOISE, "sets"):
        row = found(reliabilities, "optimization", over)
        assert math.isnan(row["reliability"])
        assert row["note"] == f"a single one of {over} has no halves"
    assert "judges" not in set(reliabilities["over"])


def test_equal_scores_have_no_correlation(quiet):
    row = found(table(quiet, judged(np.ones((1, 1, 2, 3, 1)))), "optimization", "seeds")
    assert math.isnan(row["reliability"])
    assert row["note"] == "no split has a correlation"


def test_every_discriminator_has_its_own(quiet):
    values = [[[[[3], [2], [1]], [[3], [2], [1]]]], [[[[3], [2], [1]], [[1], [2], [3]]]]]
    reliabilities = table(quiet, judged(values, ("none", "patch")))
    assert found(reliabilities, "optimization", "seeds")["reliability"] == pytest.approx(1.0)
    assert found(reliabilities, "optimization", "seeds", "patch")["reliability"] == pytest.approx(-1.0)


def test_reliability_of_many_seeds_is_that_of_classical_test_theory():
    """True variance 1, noise variance 1 in each of 4 seeds: the mean of all has reliability 1 / (1 + 1 / 4)."""
    generator, losses, seeds = np.random.default_rng(0), 400, 4
    truth = generator.normal(size=losses)
    values = (truth + generator.normal(size=(seeds, losses)))[None, None, :, :, None]
    shape = Panel(
        tuple(map(str, range(losses))), tuple(range(seeds)), (ImageSet("t", values, np.zeros(1, int)),), ("none",),
        ("j",), ("j",), None,
    )  # fmt: skip
    iqa = Panel(shape.losses, shape.seeds, ())
    assert found(table(iqa, shape), "optimization", "seeds")["reliability"] == pytest.approx(0.8, abs=0.04)


# -------------------------------------------------------------------------------------------------------- ceiling


def reliabilities_of(iqa, optimization):
    rows = [("IQA", "", NOISE, iqa), ("optimization", "none", NOISE, optimization), ("IQA", "", "sets", 0.1)]
    return pd.DataFrame(rows, columns=["side", "discriminator", "over", "reliability"])


def test_the_ceiling_is_the_root_of_both_reliabilities_over_noise():
    assert ceiling(reliabilities_of(0.9, 0.4), "none") == (pytest.approx(math.sqrt(0.36)), 0.9, 0.4, "")


@pytest.mark.parametrize(
    ("iqa", "optimization", "why"),
    [
        (NAN, 0.5, "the IQA ranking cannot be split"),
        (0.5, NAN, "the optimization ranking cannot be split"),
        (0.5, -0.2, "the optimization ranking's reliability is -0.200, not positive"),
        (0.0, 0.5, "the IQA ranking's reliability is 0.000, not positive"),
    ],
)
def test_without_reliability_there_is_no_ceiling_and_why(iqa, optimization, why):
    value, *own, said = ceiling(reliabilities_of(iqa, optimization), "none")
    assert math.isnan(value)
    np.testing.assert_array_equal(own, [iqa, optimization])
    assert said.startswith("no noise ceiling")
    assert why in said


def test_a_discriminator_that_is_not_there_has_no_ceiling():
    assert "cannot be split" in ceiling(reliabilities_of(0.9, 0.9), "stylegan")[3]

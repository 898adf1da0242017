import numpy as np
import pytest

from orchestrator.aggregate.panel import ImageSet, Panel
from orchestrator.aggregate.ranking import iqa_scores
from orchestrator.aggregate.resampling import bootstrap, drawn, everything, halves, left_out, weighted

R = 100_000
VALUES = np.array([0.1, 0.5, 0.2, 0.9, 0.4])


def panel(contents, seeds=3):
    """Sets with so many contents each, two images a content."""
    sets = tuple(
        ImageSet(f"set{i}", np.zeros((1, 1, seeds, 2, 2 * c)), np.repeat(np.arange(c), 2), np.arange(2.0 * c))
        for i, c in enumerate(contents)
    )
    return Panel(("a", "b"), tuple(range(seeds)), sets)


# Four standard errors of a variance from R draws: 4 sqrt(2 / R) = 1.8 %.
@pytest.mark.parametrize("draw", [weighted, drawn])
def test_a_weighted_mean_of_n_units_has_the_unbiased_variance(draw):
    """s^2 / n, where n draws of n with replacement give (n - 1) / n of it."""
    counts = draw(np.random.default_rng(0), 5, R)
    means = counts @ VALUES / counts.sum(1)
    assert means.var() == pytest.approx(VALUES.var(ddof=1) / 5, rel=0.02)
    assert means.mean() == pytest.approx(VALUES.mean(), abs=4 * np.sqrt(VALUES.var(ddof=1) / 5 / R))


def test_weights_sum_to_the_units_and_contents_are_drawn_one_time_less():
    generator = np.random.default_rng(0)
    np.testing.assert_allclose(weighted(generator, 4, 50).sum(1), 4.0)
    counts = drawn(generator, 4, 50)
    assert (counts.sum(1) == 3).all()
    assert set(np.unique(counts)) <= {0.0, 1.0, 2.0, 3.0}


@pytest.mark.parametrize("draw", [weighted, drawn])
def test_a_single_unit_is_always_there(draw):
    assert draw(np.random.default_rng(0), 1, 3).tolist() == [[1.0]] * 3


def test_seeds_are_shared_and_sets_drawn_with_their_contents_as_they_are():
    iqa, optimization = bootstrap(panel([3, 4]), panel([5, 2, 3]), 20, 0)
    np.testing.assert_array_equal(iqa.seeds, optimization.seeds)
    assert (iqa.sets.shape, optimization.sets.shape) == ((20, 2), (20, 3))
    assert iqa.sets.std() > 0
    assert all((counts == 1).all() and len(counts) == 1 for counts in (*iqa.contents, *optimization.contents))


def test_contents_are_drawn_of_a_single_set_and_of_fixed_ones():
    iqa, _ = bootstrap(panel([6]), panel([5, 2]), 20, 0)
    assert (iqa.sets == 1).all()
    assert (iqa.contents[0].sum(1) == 5).all()
    for side in bootstrap(panel([6, 4]), panel([5, 3]), 20, 0, fixed_sets=True):
        assert (side.sets == 1).all()
        assert [counts.shape[0] for counts in side.contents] == [20, 20]
        assert all((counts.sum(1) == counts.shape[1] - 1).all() for counts in side.contents)


def test_more_benchmarks_do_not_change_which_seeds_and_test_sets_are_drawn():
    few, many = (bootstrap(panel([3] * n), panel([5, 2]), 10, 7) for n in (2, 5))
    np.testing.assert_array_equal(few[0].seeds, many[0].seeds)
    np.testing.assert_array_equal(few[1].sets, many[1].sets)
    other = bootstrap(panel([3, 3]), panel([5, 2]), 10, 8)
    assert not np.array_equal(few[0].seeds, other[0].seeds)


def test_one_unit_of_each_kind_is_left_out_in_turn():
    found = dict(left_out(panel([3, 4]), panel([5])))
    assert list(found) == ["seeds", "benchmarks", "test sets: contents of set0"]
    for side in found["seeds"]:
        np.testing.assert_array_equal(side.seeds, 1 - np.eye(3))
    iqa, optimization = found["benchmarks"]
    np.testing.assert_array_equal(iqa.sets, 1 - np.eye(2))
    assert (optimization.sets == 1).all()
    iqa, optimization = found["test sets: contents of set0"]  # a single one
    np.testing.assert_array_equal(optimization.contents[0], 1 - np.eye(5))
    assert (iqa.sets == 1).all()
    assert all((side.seeds == 1).all() for side in (iqa, optimization))


def test_where_sets_are_fixed_their_contents_are_left_out():
    found = dict(left_out(panel([3, 4]), panel([5]), fixed_sets=True))
    names = ["benchmarks: contents of set0", "benchmarks: contents of set1", "test sets: contents of set0"]
    assert list(found) == ["seeds", *names]
    iqa, _ = found[names[1]]
    np.testing.assert_array_equal(iqa.contents[1], 1 - np.eye(4))
    assert (iqa.contents[0] == 1).all()
    assert (iqa.sets == 1).all()


def test_a_single_unit_cannot_be_left_out():
    assert list(left_out(panel([1], seeds=1), panel([1], seeds=1))) == []


def test_scores_with_a_seed_left_out_are_those_of_a_study_without_it():
    generator = np.random.default_rng(0)
    values, labels, content = generator.normal(size=(1, 1, 3, 2, 8)), generator.normal(size=8), np.arange(8) // 2
    both = Panel(("a", "b"), (0, 1, 2), (ImageSet("one", values, content, labels),))
    fewer = Panel(("a", "b"), (0, 2), (ImageSet("one", values[:, :, [0, 2]], content, labels),))
    without = iqa_scores(both, dict(left_out(both, both))["seeds"][0])
    np.testing.assert_allclose(without[1], iqa_scores(fewer, everything(fewer))[0])


def test_some_of_the_draws_keep_what_holds_for_all_of_them():
    draws, _ = bootstrap(panel([6]), panel([5, 2]), 10, 0)
    part = draws.of(slice(2, 4))
    np.testing.assert_array_equal(part.contents[0], draws.contents[0][2:4])
    np.testing.assert_array_equal(part.seeds, draws.seeds[2:4])
    whole = everything(panel([6]), 10).of(slice(2, 4))
    assert (whole.seeds.shape, whole.contents[0].shape) == ((2, 3), (1, 6))


def test_halves_are_disjoint_and_every_unit_is_as_often_in_the_first():
    first, second = halves(np.random.default_rng(0), 5, 20_000)
    np.testing.assert_array_equal(first + second, 1.0)
    assert set(first.sum(1)) == {2.0, 3.0}
    np.testing.assert_allclose(first.mean(0), 0.5, atol=4 * 0.5 / np.sqrt(20_000))
    assert (halves(np.random.default_rng(0), 6, 10)[0].sum(1) == 3).all()


def test_a_single_unit_is_in_both_halves():
    first, second = halves(np.random.default_rng(0), 1, 4)
    assert first.tolist() == second.tolist() == [[1.0]] * 4

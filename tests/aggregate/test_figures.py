import re
from dataclasses import replace

import numpy as np
import pytest
from matplotlib import pyplot as plt

from orchestrator.aggregate import figures
from orchestrator.aggregate.figures.labels import lanes, spread
from orchestrator.aggregate.figures.theme import DARK, DASHES, LIGHT, Mark, applied, darkened, save
from tests.aggregate.conftest import cell, evidence_of, tree
from tests.aggregate.figure_material import chart, material, shared, texts

SIZES = {  # of those that grow with losses and discriminators; the others have one
    "ranks": [(3, 1), (6, 10), (24, 3)],
    "slopes": [(3, 1), (6, 10), (24, 3)],
    "sensitivity": [(3, 1), (3, 10)],
    "learning-curves": [(3, 1), (3, 10), (24, 2)],
    "loss-terms": [(3, 1), (3, 4), (24, 2)],
    "stability": [(3, 1), (3, 10), (24, 2)],
    "artifacts": [(3, 1), (3, 10), (24, 2)],
}


@pytest.mark.parametrize(
    ("name", "losses", "discriminators"),
    [(name, *size) for name in figures.CHARTS for size in SIZES.get(name, [(3, 1)])],
)
def test_no_text_is_cut_off_nor_lies_on_another(name, losses, discriminators):
    figure = chart(name, material(losses, discriminators, seeds=(0,)))
    width, height = figure.get_size_inches() * 72
    assert width <= 7.0 * 72 + 1e-6
    found = texts(figure)
    plt.close(figure)
    assert len(found) > 5
    for words, box in found:
        assert box.min() >= -0.5, words
        assert box[2] <= width + 0.5, words
        assert box[3] <= height + 0.5, words
    clashes = [(a, b) for i, (a, one) in enumerate(found) for b, other in found[:i] if shared(one, other) > 1.5]
    assert clashes == []


def test_a_loss_looks_the_same_in_all_figures_and_like_no_other():
    for theme in (LIGHT, DARK):
        marks = material(24, 1).marks(theme)
        assert len({(mark.color, mark.marker) for mark in marks.values()}) == 25
        assert len({(mark.color, str(mark.dash)) for mark in marks.values()}) == 25
        assert marks["pixel"] == Mark(theme.faint, "x", DASHES[1])
    shown, colors = material(3, 1), {}
    for name in ("ranks", "slopes", "learning-curves", "artifacts"):
        figure = chart(name, shown)
        colors[name] = {line.get_color() for line in figure.axes[0].lines} & set(LIGHT.losses)
        plt.close(figure)
    assert set(map(frozenset, colors.values())) == {frozenset(LIGHT.losses[:3])}


def test_spread_keeps_order_and_moves_little():
    np.testing.assert_allclose(spread([1, 2, 3], 0.9, 0, 9), [1, 2, 3])
    np.testing.assert_allclose(spread([2, 2, 2], 1, 0, 9), [1, 2, 3])
    np.testing.assert_allclose(spread([5, 1, 1.5], 1, 0, 9), [5, 0.75, 1.75])


def test_spread_stays_within_its_bounds():
    np.testing.assert_allclose(spread([1, 1, 1, 4], 1, 1, 4), [1, 2, 3, 4])
    np.testing.assert_allclose(spread([4, 4, 4], 1, 1, 4), [2, 3, 4])


def test_intervals_that_touch_have_lanes_of_their_own():
    assert lanes([1, 2, np.nan, 4, 1], [3, 5, np.nan, 6, 6]) == [0, 1, 0, 0, 2]


def test_charts_are_written_in_both_themes_and_the_same_again(tmp_path):
    shown = material(3, 1, suffix="-twins")
    drawn = [figures.write(shown.tables, shown.evidence, tmp_path / run, "-twins") for run in "ab"]
    assert list(drawn[0].charts) == list(figures.CHARTS)
    assert tree(tmp_path / "a") == sorted(
        f"{name}-twins{end}" for name in figures.CHARTS for end in (".svg", "-dark.svg", ".png")
    )
    for name in tree(tmp_path / "a"):
        assert (tmp_path / "a" / name).read_bytes() == (tmp_path / "b" / name).read_bytes(), name
    ranks = drawn[0].charts["ranks"]
    assert (ranks.light.name, ranks.dark.name) == ("ranks-twins.svg", "ranks-twins-dark.svg")
    assert (ranks.png.name, ranks.title) == ("ranks-twins.png", "IQA rank against optimization rank")
    assert LIGHT.paper in ranks.light.read_text()
    assert DARK.paper in ranks.dark.read_text()


@pytest.mark.parametrize("name", figures.CHARTS)
def test_a_dark_chart_is_as_if_drawn_in_the_dark_theme(name, tmp_path):
    found = []
    for theme in (LIGHT, DARK):
        with applied(theme):
            save(figures.CHARTS[name][2](material(3, 1), theme), tmp_path / "chart.svg")
        svg = (tmp_path / "chart.svg").read_text()
        found.append(re.sub("[0-9a-f]{10}", "", svg))  # ids are hashes of what they name
    assert found[0] != found[1]
    assert darkened(found[0]) == found[1]


def test_what_cannot_be_drawn_is_left_out(tmp_path):
    evidence = evidence_of([cell("optimization", "a", loss="vgg")], {}, ["vgg"])
    drawn = figures.write({}, evidence, tmp_path / "none")
    assert (drawn, tree(tmp_path / "none")) == (figures.Drawn({}, {}), [])
    shown = material(1, 2)
    for name in ("claims", "sensitivity", "stability", "optimization_by_judge", "adversarial_weight", "iqa_transfer"):
        shown.tables[name] = shown.table(name).iloc[:0]  # as of a grid without any
    silent = replace(shown.evidence, curves=shown.evidence.curves.iloc[:0])
    assert figures.write(shown.tables, silent, tmp_path / "one").charts == {}


@pytest.mark.parametrize(
    ("name", "table", "column"),
    [
        ("sensitivity", "sensitivity", "spearman"),
        ("stability", "stability", ["validation_psnr_sd", "validation_psnr_spread", "diverged"]),
        ("artifacts", "optimization_by_judge", "mean"),
        ("adversarial-weight", "adversarial_weight", "quality"),
        ("ranks", "ranks", "optimization_rank"),
        ("slopes", "ranks", "iqa_rank"),
    ],
)
def test_a_table_of_holes_has_no_figure(name, table, column):
    shown = material(3, 1)
    shown.table(table)[column] = 0 if column == "diverged" else np.nan
    assert figures.CHARTS[name][2](shown, LIGHT) is None

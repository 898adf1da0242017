from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from matplotlib import pyplot as plt
from scipy.stats import ttest_1samp

from orchestrator.aggregate.figures.curves import thinned
from orchestrator.aggregate.figures.initialization import by_seed, interval
from tests.aggregate.figure_material import chart, material, offsets


def test_a_single_point_of_a_curve_is_seen():
    shown = material(3, 1)
    first = shown.evidence.curves.drop_duplicates(["loss", "name"])
    figure = chart("loss-terms", replace(shown, evidence=replace(shown.evidence, curves=first)))
    assert [line.get_marker() for line in figure.axes[0].lines] == ["."] * 4
    plt.close(figure)


def test_initialization_shows_each_seed_its_mean_and_its_t_interval():
    shown = material(3, 1)
    seeds = by_seed(shown)
    assert seeds.groupby(["task", "backbone", "level"]).size().eq(3).all()
    figure = chart("initialization", shown)
    assert [axis.get_title(loc="left") for axis in figure.axes][:2] == ["vgg16, FR", "vgg16, NR"]
    axis = figure.axes[0]
    levels = ["random", "released", "gan from released", "gan from random"]
    assert [label.get_text() for label in axis.get_yticklabels()] == levels
    own = seeds[(seeds["task"] == "fr") & (seeds["backbone"] == "vgg16")]
    for y, level in enumerate(levels):
        values = own.loc[own["level"] == level, "srcc"].to_numpy()
        dots, mean = axis.lines[2 * y].get_xdata(), axis.lines[2 * y + 1].get_xdata()
        np.testing.assert_array_equal(dots, values)
        np.testing.assert_allclose(mean, values.mean())
        (bar,) = axis.collections[y].get_segments()
        np.testing.assert_allclose(bar[:, 0], ttest_1samp(values, 0).confidence_interval(0.95))
    plt.close(figure)


def test_a_seed_whose_model_lacks_a_benchmark_is_no_dot():
    shown = material(3, 1)
    cells = shown.evidence.cells
    cells.loc[(cells["seed"] == 1) & (cells["data_set"] == "live") & (cells["start"] == "random"), "status"] = "missing"
    seeds = by_seed(shown)
    assert set(seeds.loc[seeds["level"] == "gan from random", "seed"]) == {0, 2}
    assert set(seeds.loc[seeds["level"] == "random", "seed"]) == {0, 1, 2}


def test_a_wide_t_interval_does_not_widen_the_axis_beyond_a_correlation():
    shown = material(3, 1, seeds=(0, 1))
    figure = chart("initialization", shown)
    bars = [bar[:, 0] for axis in figure.axes for drawn in axis.collections for bar in drawn.get_segments()]
    assert np.concatenate(bars).max() > 1.1
    assert figure.axes[0].get_xlim()[1] <= 1.02
    plt.close(figure)


def test_a_t_interval_needs_two_seeds():
    assert np.isnan(interval(np.array([0.5]))).all()
    np.testing.assert_allclose(interval(np.array([0.4, 0.6])), (0.5 - 1.2706, 0.5 + 1.2706), atol=1e-4)


def test_weights_stand_on_a_logarithmic_axis_a_line_a_backbone():
    figure = chart("adversarial-weight", material(3, 1))
    axis = figure.axes[0]
    assert axis.get_xscale() == "log"
    assert [label.get_text() for label in axis.get_xticklabels()] == ["0.003", "0.01", "0.03", "0.1", "0.3", "1"]
    resnet, dinov2 = [line for line in axis.lines if len(line.get_xdata()) == 6]
    np.testing.assert_allclose(dinov2.get_ydata(), [0, -0.1, -0.2, -0.3, -0.4, -0.5])
    np.testing.assert_allclose(resnet.get_ydata(), np.zeros(6))
    np.testing.assert_allclose(dinov2.get_xdata(), [0.003, 0.01, 0.03, 0.1, 0.3, 1], rtol=0.05)
    assert [text.get_text() for text in figure.legends[0].texts] == ["resnet50", "dinov2"]
    plt.close(figure)


def test_lines_of_the_weight_are_told_apart_by_what_differs():
    shown = material(3, 1)
    table = shown.table("adversarial_weight")
    shown.tables["adversarial_weight"] = pd.concat([table, table.assign(head="vanilla")])
    figure = chart("adversarial-weight", shown)
    names = [text.get_text() for text in figure.legends[0].texts]
    assert names == ["patch-resnet50", "patch-dinov2", "vanilla-resnet50", "vanilla-dinov2"]
    plt.close(figure)


def test_learning_curves_are_means_over_seeds_with_the_warm_up_marked():
    shown = material(3, 2)
    figure = chart("learning-curves", shown)
    none, adversarial = figure.axes
    means = {line.get_label(): line for line in adversarial.lines if not line.get_label().startswith("_")}
    assert list(means) == ["vgg16-r", "vgg16", "resnet50", "pixel"]
    own = shown.evidence.curves.query("name == 'validation_psnr' and discriminator == 'vanilla-vgg16-released'")
    wanted = own[own["loss"] == "vgg16"].groupby("step")["value"].mean()
    np.testing.assert_allclose(means["vgg16"].get_xdata(), wanted.index)
    np.testing.assert_allclose(means["vgg16"].get_ydata(), wanted)
    upright = [line.get_xdata()[0] for line in adversarial.lines if list(line.get_ydata()) == [0, 1]]
    assert upright == [200]
    assert [line for line in none.lines if list(line.get_ydata()) == [0, 1]] == []
    assert [line.get_ydata()[0] for line in none.lines if list(line.get_xdata()) == [0, 1]] == [24.1]
    assert len([line for line in none.lines if line.get_linewidth() == 0.5]) == 4 * 3
    plt.close(figure)


def test_the_warm_up_is_no_learning_curve_of_a_loss():
    shown = material(3, 1)
    curves = shown.evidence.curves
    other = curves.assign(loss="warm-up", baseline=True, step=curves["step"] * 100)
    longer = replace(shown.evidence, curves=pd.concat([curves, other]))
    figure = chart("learning-curves", replace(shown, evidence=longer))
    assert figure.axes[0].get_xlim()[1] < 3000
    plt.close(figure)


def test_long_curves_are_thinned_by_means():
    step = np.arange(100_000)
    curves = pd.DataFrame({"loss": "a", "discriminator": "none", "seed": 0, "name": "pixel", "step": step,
                           "value": step.astype(float)})  # fmt: skip
    thin = thinned(curves)
    assert len(thin) == 100
    assert list(thin["value"][:2]) == [499.5, 1499.5]
    np.testing.assert_array_equal(thin["step"], thin["value"])


def test_each_term_of_the_loss_has_a_column():
    figure = chart("loss-terms", material(3, 2))
    shown = [axis.texts[0].get_text() for axis in figure.axes if axis.get_visible()]
    assert shown == ["pixel", "fidelity", "pixel", "fidelity", "adversarial", "discriminator loss"]
    plt.close(figure)


def test_stability_shows_both_spreads_and_counts_divergence():
    shown = material(6, 2)
    table = shown.table("stability")
    table["diverged"] = 0
    table.loc[(table["discriminator"] != "none") & (table["loss"] == "vgg16"), "diverged"] = 2
    figure = chart("stability", shown)
    none, other = figure.axes
    assert [label.get_text() for label in none.get_yticklabels()] == [*shown.evidence.losses, "pixel"]
    own = table[table["discriminator"] == "none"]
    np.testing.assert_array_equal(none.lines[0].get_xdata(), own["validation_psnr_spread"])
    np.testing.assert_array_equal(none.lines[1].get_xdata(), own["validation_psnr_sd"])
    assert [text.get_text() for text in none.texts] == ["0 diverged of 35"]
    assert [text.get_text() for text in other.texts] == ["2 diverged of 35", "✕2"]
    assert other.texts[1].get_position()[1] == 1  # the row of vgg16
    plt.close(figure)


def test_artifacts_are_means_over_sets_beside_warm_up_and_bicubic():
    shown = material(3, 1)
    table = shown.table("optimization_by_judge")
    own = table[(table["judge"] == "artifacts") & (table["loss"] == "vgg16")]
    table.loc[own.index, "mean"] = [0.04, 0.08]
    table.loc[own.index, "mean_sd"] = [0.003, 0.004]
    table.loc[
        (table["judge"] == "artifacts") & (table["loss"] == "resnet50") & (table["data_set"] == "set5"), "mean"
    ] = np.nan
    figure = chart("artifacts", shown)
    axis = figure.axes[0]
    points = dict(zip(["vgg16-r", "vgg16", "resnet50", "pixel"], offsets(axis), strict=True))
    assert points["vgg16"] == (pytest.approx(0.06), 1)
    assert np.isnan(points["resnet50"][0])  # one of its test sets is not there: no mean of another kind
    bars = [bar for drawn in axis.collections for bar in drawn.get_segments() if len(bar) and bar[0, 1] == 1]
    bar = bars[-1]  # after the line to read along
    np.testing.assert_allclose(np.diff(bar[:, 0]), 2 * np.sqrt((0.003**2 + 0.004**2) / 2))
    assert [line.get_xdata()[0] for line in axis.lines if list(line.get_ydata()) == [0, 1]] == [0.05, 0.11]
    assert [text.get_text() for text in figure.legends[0].texts] == ["warm-up", "bicubic"]
    plt.close(figure)

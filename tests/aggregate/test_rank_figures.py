from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from matplotlib import pyplot as plt

from orchestrator.aggregate.figures.theme import FADED
from tests.aggregate.figure_material import chart, material, offsets, shared, texts


def test_ranks_stand_at_their_ranks_with_their_intervals():
    shown = material(6, 2)
    figure = chart("ranks", shown)
    for axis, (name, own) in zip(figure.axes, shown.table("ranks").groupby("discriminator", sort=False), strict=True):
        assert axis.get_title(loc="left") == name
        assert offsets(axis) == list(zip(own["iqa_rank"], own["optimization_rank"], strict=True))
        bars = [line.get_xydata().tolist() for line in axis.lines if line.get_alpha() == FADED]
        first = own.iloc[0]
        assert bars[0] == [[first["iqa_rank_low"], 1.0], [first["iqa_rank_high"], 1.0]]
        assert len(bars) == 12
        assert axis.get_xlim() == axis.get_ylim() == (6.7, 0.3)  # rank 1 on the right and on top
        assert {text.get_text() for text in axis.texts} >= set(own["loss"])
    assert figure.axes[0].texts[0].get_text().endswith("\nn = 6; perfect would show +0.93")
    assert {text.get_text() for text in figure.texts} == {
        "IQA rank (better to the right)",
        "optimization rank (better to the top)",
    }
    plt.close(figure)


@pytest.mark.parametrize(
    ("row", "said"),
    [
        ({"spearman": 1.0, "spearman_p": 1e-5, "perfect": 0.93},
         "ρ = +1.00 [−0.50, +1.00], p < 0.001\nn = 6; perfect would show +0.93"),
        ({"spearman": -0.25, "spearman_p": 0.5, "perfect": np.nan}, "ρ = −0.25 [−0.50, +1.00], p = 0.500\nn = 6"),
        ({"spearman": np.nan, "spearman_p": np.nan, "perfect": np.nan}, "n = 6: no rank correlation"),
    ],
)  # fmt: skip
def test_what_is_said_of_the_agreement(row, said):
    shown = material(6, 1)
    shown.tables["asymmetry"] = pd.DataFrame(
        [{"discriminator": "none", "losses": 6, "spearman_low": -0.5, "spearman_high": 1.0} | row]
    )
    figure = chart("ranks", shown)
    assert figure.axes[0].texts[0].get_text() == said
    plt.close(figure)


def test_slopes_lead_from_rank_to_rank_and_name_the_shift():
    shown = material(6, 1)
    figure, own = chart("slopes", shown), shown.table("ranks")
    axis = figure.axes[0]
    ends = [line.get_ydata().tolist() for line in axis.lines if line.get_linestyle() != "None"]
    assert ends == own[["iqa_rank", "optimization_rank"]].to_numpy().tolist()
    wide = [line.get_linewidth() == 2.2 for line in axis.lines if line.get_linestyle() != "None"]
    assert wide == list((own["shift_low"] > 0) | (own["shift_high"] < 0))
    labels = [text.get_text() for text in axis.texts if text.get_text() not in ("IQA rank", "optimization rank")]
    shifts = [f"{shift:+g}".replace("-", "−") if shift else "0" for shift in own["shift"]]
    named = [f"{loss}  {shift}" for loss, shift in zip(own["loss"], shifts, strict=True)]
    assert labels == [*own["loss"], *named]
    plt.close(figure)


def test_slopes_of_tied_ranks_have_labels_apart():
    shown = material(6, 1)
    shown.table("ranks")[["optimization_rank"]] = 3.5
    figure = chart("slopes", shown)
    found = texts(figure)
    plt.close(figure)
    assert max(shared(one, other) for i, (_, one) in enumerate(found) for _, other in found[:i]) < 1.5


def test_slopes_of_short_names_leave_room_for_what_stands_above_them():
    shown = material(3, 2)
    short = dict(zip(shown.evidence.losses, "abc", strict=True))
    shown.table("ranks")["loss"] = shown.table("ranks")["loss"].map(short)
    figure = chart("slopes", replace(shown, evidence=replace(shown.evidence, losses=tuple("abc"))))
    width = figure.get_figwidth() * 72
    assert max(box[2] for _, box in texts(figure)) <= width
    plt.close(figure)


def test_claims_are_in_units_of_what_matters_and_turned_as_claimed():
    figure = chart("claims", material(3, 1))
    axis = figure.axes[0]
    effects = [(line.get_xdata()[0], line.get_marker()) for line in axis.lines if line.get_marker() in "oXD"]
    assert [marker for _, marker in effects] == ["o", "D", "X", "o", "D"]
    np.testing.assert_allclose([x for x, _ in effects], [3.0, 0.5, -5.0, 0.2, 2.0])  # F2 says lower: turned
    bars = [c.get_segments()[0][:, 0].tolist() for c in axis.collections]
    np.testing.assert_allclose(bars[1], [-1.5, 2.5])
    np.testing.assert_allclose(bars[4], [-8, 8])  # cut, with an arrow at each end
    assert sorted(line.get_marker() for line in axis.lines if line.get_marker() in "<>") == ["<", ">"]
    zone = axis.patches[0].get_extents().transformed(axis.transData.inverted())
    np.testing.assert_allclose((zone.x0, zone.x1), (-1, 1))
    words = [text.get_text() for text in axis.texts]
    assert words[:4] == [
        "F1",
        "Rank as a metric and rank as a training loss do not\nagree, beyond what noise explains.",
        "supported",
        "+0.6 [+0.3, +0.9]\nn = 30, p = 0.040 (Holm)",
    ]
    plt.close(figure)


def test_a_claim_without_an_effect_says_so():
    shown = material(3, 1)
    bare = {"effect": np.nan, "effect_low": np.nan, "effect_high": np.nan, "p_holm": np.nan, "verdict": "undetermined"}
    shown.tables["claims"] = shown.table("claims").iloc[:1].assign(**bare)
    figure = chart("claims", shown)
    assert figure.axes[0].texts[3].get_text() == "no effect could be computed"
    plt.close(figure)
    shown.tables["claims"] = shown.table("claims").assign(note="noise hides whether the rankings agree (so)")
    figure = chart("claims", shown)
    assert figure.axes[0].texts[3].get_text() == "noise hides whether the rankings agree"
    plt.close(figure)


def test_sensitivity_has_a_row_a_view():
    shown = material(6, 2)
    figure, table = chart("sensitivity", shown), shown.table("sensitivity")
    for axis, (name, own) in zip(figure.axes, table.groupby("discriminator", sort=False), strict=True):
        assert axis.get_title(loc="left") == name
        assert offsets(axis) == [(rho, y) for y, rho in enumerate(own["spearman"])]
    assert [label.get_text() for label in figure.axes[0].get_yticklabels()] == list(own["view"])
    plt.close(figure)

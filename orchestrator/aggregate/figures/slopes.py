"""Slope chart from IQA rank to optimization rank, a panel a discriminator, a line a loss."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
from matplotlib import pyplot as plt
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from orchestrator.aggregate.figures.labels import LINE, POINTS, fitting, lanes, spread, text_width, widest
from orchestrator.aggregate.figures.material import Material
from orchestrator.aggregate.figures.ranks import rank_ticks, ranked
from orchestrator.aggregate.figures.theme import FADED, LARGE, NORMAL, SMALL, WIDTH, Mark, Theme

TITLE = "From metric to training loss"
CAPTION = (
    "A line leads from each loss's IQA rank (left) to its optimization rank (right); rank 1 is best and stands on"
    " top. The number beside a name on the right is the shift: positive where a loss trains worse than it "
    "measures. Thick lines: the 95 % interval of the shift excludes 0. Faint bars: 95 % intervals of the ranks."
)
MANY = 12
"""Losses above which names are small."""
ROW = 11.0
"""Points from rank to rank."""
LANE, GAP, NUMBERS = 2.4, 3.0, 14.0
"""Points between two interval bars, between bars and labels, and for the numbers of the ranks on the left."""
LEAST, MOST = 44.0, 134.0
"""Least and greatest width of the slopes themselves, points."""
HEADS = ("IQA rank", "optimization rank")


@dataclass(frozen=True)
class Across:
    """Positions in a panel, points from its left edge."""

    left: float
    right: float
    width: float
    size: float
    """Of the text."""


def draw(material: Material, theme: Theme) -> Figure | None:
    """None where fewer than two losses are ranked under every discriminator."""
    ranking = ranked(material.table("ranks"))
    if ranking.empty:
        return None
    groups = [group for _, group in ranking.groupby("discriminator", sort=False)]
    size = NORMAL if ranking["loss"].nunique() <= MANY else SMALL
    labels = widest(list(ranking["loss"]), size)
    shifts = widest([_shift(value) for value in ranking["shift"]], size)
    bars = LANE * max(1 + max(_lanes(group, side)) for group in groups for side in ("iqa", "optimization"))
    left, right = (
        max(words + bars + 4 * GAP, text_width(head, SMALL) + 2 * GAP)
        for words, head in ((labels, HEADS[0]), (labels + shifts, HEADS[1]))
    )
    room = WIDTH * POINTS - NUMBERS
    columns = max(1, min(len(groups), 3, int(room // (left + LEAST + right))))
    columns = -(-len(groups) // -(-len(groups) // columns))
    width = min(room / columns, left + MOST + right)
    across = Across(left, width - right, width, size)
    return _draw(groups, across, columns, material.marks(theme), theme)


def _draw(
    groups: Sequence[pd.DataFrame], across: Across, columns: int, marks: Mapping[str, Mark], theme: Theme
) -> Figure:
    """Panels of known size in points, so that text can be placed without drawing it first."""
    rows, planned = -(-len(groups) // columns), max(len(group) for group in groups)
    head, foot = 30.0, 6.0
    high = head + planned * ROW + foot
    size = (NUMBERS + columns * across.width, rows * high)
    figure = plt.figure(figsize=(size[0] / POINTS, size[1] / POINTS))
    for i, group in enumerate(groups):
        row, column = divmod(i, columns)
        corner = (NUMBERS + column * across.width) / size[0], 1 - ((row + 1) * high - foot) / size[1]
        axis = figure.add_axes((*corner, across.width / size[0], planned * ROW / size[1]))
        axis.set(xlim=(0, across.width), ylim=(planned + 0.5, 0.5), xticks=[])
        axis.spines[["left", "bottom"]].set_visible(False)
        axis.set_yticks(rank_ticks(planned) if column == 0 else [])
        axis.tick_params(length=0, pad=1)
        name = group["discriminator"].iloc[0]
        axis.set_title(name, fontsize=fitting(name, across.width - 8, LARGE, "bold"), pad=4 + SMALL * LINE)
        for x, words, side in ((across.left, HEADS[0], "right"), (across.right, HEADS[1], "left")):
            axis.annotate(words, (x, 0.5), (0, 3), textcoords="offset points", ha=side, va="bottom", fontsize=SMALL,
                          color=theme.faint)  # fmt: skip
        _draw_panel(axis, group, across, marks, theme)
    return figure


def _draw_panel(axis: Axes, group: pd.DataFrame, across: Across, marks: Mapping[str, Mark], theme: Theme) -> None:
    for row in group.itertuples():
        sure = row.shift_low > 0 or row.shift_high < 0
        ends = [across.left, across.right], [row.iqa_rank, row.optimization_rank]
        axis.plot(*ends, **marks[row.loss].line(linewidth=2.2 if sure else 1.0, zorder=2))
        axis.plot(*ends, **marks[row.loss].point(markersize=4, zorder=3, markeredgewidth=0))
    room = 0.88, 0.9, max(axis.get_ylim()) - 0.1  # between labels, and where they begin and end, in ranks
    shifts = [_shift(value) for value in group["shift"]]
    for side, x, way, beside in (
        ("iqa", across.left, -1, [""] * len(group)),
        ("optimization", across.right, 1, shifts),
    ):
        own, lane = group[f"{side}_rank"].to_numpy(float), np.array(_lanes(group, side))
        low, high = (group[f"{side}_rank_{end}"].to_numpy(float) for end in ("low", "high"))
        at = x + way * (GAP + LANE * lane)
        colors = [marks[loss].color for loss in group["loss"]]
        axis.vlines(at, low, high, colors=colors, alpha=FADED, linewidth=1.6, zorder=1)
        text = x + way * (2 * GAP + LANE * (1 + lane.max()))
        for loss, extra, y, rank in zip(group["loss"], beside, spread(own, *room), own, strict=True):
            if abs(y - rank) > 0.25:  # pushed away from its rank by a tie
                axis.plot([x, text - way], [rank, y], color=theme.line, linewidth=0.5, zorder=0)
            axis.text(
                text, y, loss + extra, ha="right" if way < 0 else "left", va="center_baseline", fontsize=across.size
            )


def _lanes(group: pd.DataFrame, side: str) -> list[int]:
    return lanes(group[f"{side}_rank_low"], group[f"{side}_rank_high"])


def _shift(value: float) -> str:
    return f"  {value:+g}".replace("-", "−") if value else "  0"

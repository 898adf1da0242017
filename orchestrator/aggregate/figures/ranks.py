"""Scatter of IQA rank against optimization rank, a panel a discriminator."""

from collections.abc import Mapping

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from orchestrator.aggregate.figures.labels import place_beside
from orchestrator.aggregate.figures.material import Material
from orchestrator.aggregate.figures.panels import Page, beneath, panels
from orchestrator.aggregate.figures.theme import FADED, NORMAL, SMALL, Mark, Theme

TITLE = "IQA rank against optimization rank"
CAPTION = (
    "Rank of each loss as a training loss over its rank as a metric, best at the top right, with 95 % intervals; "
    "on the diagonal both agree. Above each panel Spearman's ρ with its 95 % interval, p, the number of losses n,"
    " and the ρ that perfect agreement would show through the noise of both rankings."
)
LEAST, PITCH = 1.9, 0.128
"""Inches: the least side of a panel, and what a loss adds to it where that is more."""


def draw(material: Material, theme: Theme) -> Figure | None:
    """None where fewer than two losses are ranked under every discriminator."""
    ranking = ranked(material.table("ranks"))
    if ranking.empty:
        return None
    names, planned = list(dict.fromkeys(ranking["discriminator"])), ranking["loss"].nunique()
    side = max(LEAST, PITCH * planned)
    page = Page(
        names=names,
        least=side,
        widest=max(2.1, side),
        most=3,
        beside=0.2,
        lines=2,
        x="IQA rank (better to the right)",
        y="optimization rank (better to the top)",
    )
    drawn = panels(page)
    said = material.table("asymmetry").set_index("discriminator")
    for axis, name in zip(drawn.axes, names, strict=True):
        beneath(axis, _agreement(said.loc[name]), theme.faint)
        ticks = rank_ticks(planned)
        axis.set(xlim=(planned + 0.7, 0.3), ylim=(planned + 0.7, 0.3), xticks=ticks, yticks=ticks)
        _draw_panel(axis, ranking[ranking["discriminator"] == name], material.marks(theme), theme)
    return drawn.figure


def rank_ticks(losses: int) -> list[int]:
    """The ranks that an axis names: all, or of many every fifth."""
    return list(range(1, losses + 1)) if losses <= 12 else [1, *range(5, losses + 1, 5)]


def ranked(ranking: pd.DataFrame) -> pd.DataFrame:
    """The rows with both ranks, of the discriminators that have at least two."""
    if ranking.empty:
        return ranking
    whole = ranking.dropna(subset=["iqa_rank", "optimization_rank"])
    return whole[whole.groupby("discriminator")["loss"].transform("size") > 1]


def _agreement(row: pd.Series) -> str:
    if not np.isfinite(row.get("spearman", np.nan)):
        return f"n = {int(row['losses'])}: no rank correlation"
    p = f"p = {row['spearman_p']:.3f}" if row["spearman_p"] >= 0.0005 else "p < 0.001"
    said = f"ρ = {row['spearman']:+.2f}"
    if np.isfinite(row["spearman_low"]):
        said += f" [{row['spearman_low']:+.2f}, {row['spearman_high']:+.2f}]"
    perfect = row.get("perfect", np.nan)
    beside = f"; perfect would show {perfect:+.2f}" if np.isfinite(perfect) else ""
    return f"{said}, {p}\nn = {int(row['losses'])}{beside}".replace("-", "−")


def _draw_panel(axis: Axes, points: pd.DataFrame, marks: Mapping[str, Mark], theme: Theme) -> None:
    ends = axis.get_xlim()
    axis.plot(ends, ends, color=theme.line, linewidth=1, zorder=0)
    bars = []
    for row in points.itertuples():
        x, y, mark = row.iqa_rank, row.optimization_rank, marks[row.loss]
        across = ((row.iqa_rank_low, y), (row.iqa_rank_high, y))
        upright = ((x, row.optimization_rank_low), (x, row.optimization_rank_high))
        for bar in (across, upright):
            axis.plot(*zip(*bar, strict=True), color=mark.color, alpha=FADED, linewidth=1, zorder=1)
        bars += [bar for bar in (across, upright) if np.isfinite(bar).all()]
        axis.plot(x, y, **mark.point(markersize=4.2, zorder=3, markeredgecolor=theme.paper, markeredgewidth=0.5))
    x, y = (points[column].to_numpy(float) for column in ("iqa_rank", "optimization_rank"))
    size = NORMAL if len(points) <= 12 else SMALL - 0.5
    place_beside(axis, x, y, list(points["loss"]), np.array(bars), size, zorder=4)

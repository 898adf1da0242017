"""The artifact measure of every loss under every discriminator, beside warm-up and bicubic."""

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from orchestrator.aggregate.figures.labels import POINTS, widest
from orchestrator.aggregate.figures.material import Material
from orchestrator.aggregate.figures.panels import Page, panels
from orchestrator.aggregate.figures.stability import draw_rows
from orchestrator.aggregate.figures.theme import SMALL, Mark, Theme
from orchestrator.matrix import BICUBIC, WARMUP

TITLE = "Artifacts"
CAPTION = (
    "The artifact judge (excess local variance of the residual) by loss, mean over the test sets; lower is "
    "better. Bars: one standard deviation over seeds (root mean square over test sets). Upright lines: the "
    "warm-up, which all trials start from, and bicubic interpolation."
)
JUDGE = "artifacts"
ROW = 0.155
"""Inches from one loss to the next."""


def draw(material: Material, theme: Theme) -> Figure | None:
    """None where the grid has no artifact judge, or nothing is judged yet."""
    table = material.table("optimization_by_judge")
    if table.empty or table.loc[table["judge"] == JUDGE, "mean"].isna().all():
        return None
    means = over_sets(table[table["judge"] == JUDGE])
    references = {name: _reference(means, name) for name in (WARMUP, BICUBIC)}
    means = means[~means["loss"].isin(references)]
    losses, names = (list(dict.fromkeys(means[column])) for column in ("loss", "discriminator"))
    if not losses:
        return None
    marks = material.marks(theme)
    lines = {words: mark for words, mark in _lines(theme).items() if np.isfinite(references[words])}
    page = Page(
        names=names,
        least=1.5,
        widest=2.4,
        high=ROW * len(losses),
        most=3,
        beside=widest(losses, SMALL) / POINTS + 0.08,
        x="artifacts (lower is better)",
        legend=lines,
        legend_points=False,
    )
    drawn = panels(page)
    for axis, name in zip(drawn.axes, names, strict=True):
        draw_rows(axis, losses, theme)
        for words, mark in lines.items():
            axis.axvline(references[words], **mark.line(linewidth=1.1, zorder=1))
        own = means[means["discriminator"] == name].set_index("loss").reindex(losses)
        _draw_points(axis, own, [marks[loss] for loss in losses])
        axis.xaxis.set_major_locator(MaxNLocator(4))
    return drawn.figure


def over_sets(judged: pd.DataFrame) -> pd.DataFrame:
    """loss, discriminator, mean, sd: over the test sets, each counting the same; empty where one is not there, since
    test sets differ."""
    by = ["loss", "discriminator"]
    judged = judged.assign(square=judged["mean_sd"] ** 2)
    groups = judged.groupby(by, sort=False)
    mean = groups["mean"].agg(lambda values: values.mean(skipna=False))
    return pd.DataFrame({"mean": mean, "sd": np.sqrt(groups["square"].mean())}).reset_index()


def _reference(means: pd.DataFrame, loss: str) -> float:
    return float(means.loc[means["loss"] == loss, "mean"].mean())


def _lines(theme: Theme) -> dict[str, Mark]:
    return {WARMUP: Mark(theme.faint, "none", (0, (1, 1.2))), BICUBIC: Mark(theme.faint, "none", (0, (5, 2)))}


def _draw_points(axis: Axes, own: pd.DataFrame, marks: list[Mark]) -> None:
    for y, (row, mark) in enumerate(zip(own.itertuples(), marks, strict=True)):
        axis.hlines(y, row.mean - row.sd, row.mean + row.sd, color=mark.color, linewidth=1.3, alpha=0.6, zorder=2)
        axis.plot(row.mean, y, **mark.point(markersize=4.5, zorder=3))

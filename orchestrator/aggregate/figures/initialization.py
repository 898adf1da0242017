"""SRCC of IQA models by initialization: a row a backbone, a column a task."""

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from scipy.stats import t as student

from orchestrator.aggregate.figures.labels import POINTS, widest
from orchestrator.aggregate.figures.material import Material
from orchestrator.aggregate.figures.panels import Page, panels
from orchestrator.aggregate.figures.theme import FADED, SMALL, Theme, level_marks
from orchestrator.aggregate.per_trial import correlations

TITLE = "IQA models by initialization"
CAPTION = (
    "SRCC of the IQA models of each backbone and task, by what their training started from; gan names the start "
    "of the discriminator. Dots: seeds, each the mean over the benchmarks (gan: over ranked losses and heads, "
    "too). Marker and bar: mean and 95 % t interval over seeds."
)
ROW = 0.19
"""Inches from one initialization to the next."""


def draw(material: Material, theme: Theme) -> Figure | None:
    """None where no IQA model is there."""
    table = material.table("iqa_transfer")
    if table.empty:
        return None
    seeds = by_seed(material)
    if seeds.empty:
        return None
    planned = table.assign(level=_level(table))[["task", "backbone", "level"]].drop_duplicates()
    tasks, backbones = (list(dict.fromkeys(planned[name])) for name in ("task", "backbone"))
    levels = list(dict.fromkeys(planned["level"]))
    marks = level_marks(levels, theme)
    places = [(backbone, task) for backbone in backbones for task in tasks]
    page = Page(
        names=[f"{backbone}, {task.upper()}" for backbone, task in places],
        least=2.0,
        high=ROW * max(planned.groupby(["task", "backbone"]).size()),
        most=len(tasks),
        beside=widest(levels, SMALL) / POINTS + 0.08,
        own_y=True,
        x="SRCC, mean over benchmarks (higher is better)",
    )
    drawn = panels(page)
    for axis, (backbone, task) in zip(drawn.axes, places, strict=True):
        here = (planned["task"] == task) & (planned["backbone"] == backbone)
        own = [level for level in levels if level in set(planned.loc[here, "level"])]
        axis.set(yticks=range(len(own)), yticklabels=own, ylim=(len(own) - 0.5, -0.5))
        axis.tick_params(axis="y", labelcolor=theme.ink, length=0)
        values = seeds[(seeds["task"] == task) & (seeds["backbone"] == backbone)]
        for y, level in enumerate(own):
            of_level = values.loc[values["level"] == level, "srcc"].dropna().to_numpy(float)
            _draw_level(axis, y, of_level, marks[level].point(zorder=3))
        axis.grid(axis="x", color=theme.zone, zorder=0)
        axis.set_axisbelow(True)
    low, high = drawn.axes[0].get_xlim()
    drawn.axes[0].set_xlim(max(low, -1.02), min(high, 1.02))  # a t interval of two seeds knows no bounds
    return drawn.figure


def by_seed(material: Material) -> pd.DataFrame:
    """task, backbone, level, seed, srcc: mean over the benchmarks of the models of ranked losses. A seed whose model
    lacks one of the benchmarks of its task is left out."""
    cells = material.evidence.cells
    cells = cells[(cells["role"] == "iqa_benchmark") & ~cells["baseline"].astype(bool)]
    done = cells[cells["status"] == "done"]
    values = done.merge(correlations(material.evidence.scores, done["key"]), on="key")
    values = values.assign(level=_level(values))
    by = ["task", "backbone", "level", "seed"]
    per_set = values.groupby([*by, "data_set"], sort=False)["srcc"].mean().reset_index()
    wanted = cells.groupby("task")["data_set"].nunique()
    found = per_set.groupby(by, sort=False)["srcc"].agg(["mean", "size"]).reset_index()
    whole = found[found["size"] == found["task"].map(wanted)]
    return whole.rename(columns={"mean": "srcc"})[[*by, "srcc"]]


def interval(values: np.ndarray) -> tuple[float, float]:
    """95 % t interval of the mean; NaN of fewer than two values."""
    if len(values) < 2:
        return np.nan, np.nan
    half = float(student.ppf(0.975, len(values) - 1) * values.std(ddof=1) / np.sqrt(len(values)))
    return float(values.mean()) - half, float(values.mean()) + half


def _level(rows: pd.DataFrame) -> pd.Series:
    """gan with the start of its discriminator, everything else by its own name."""
    return rows["initialization"].where(rows["initialization"] != "gan", "gan from " + rows["start"])


def _draw_level(axis: Axes, y: float, values: np.ndarray, point: dict) -> None:  # type: ignore[type-arg]
    if not len(values):
        return
    axis.plot(values, np.full(len(values), y + 0.26), ".", color=point["color"], alpha=0.6, markersize=3)
    axis.hlines(y, *interval(values), color=point["color"], linewidth=1.4, alpha=1 - FADED)
    axis.plot(values.mean(), y, **point, markersize=5)

"""Stability: spread of the validation PSNR over the last checkpoints and over seeds, and runs that diverged."""

from collections.abc import Sequence

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter

from orchestrator.aggregate.figures.labels import POINTS, widest
from orchestrator.aggregate.figures.material import Material
from orchestrator.aggregate.figures.panels import Page, beneath, panels
from orchestrator.aggregate.figures.theme import SMALL, Theme, level_marks
from orchestrator.matrix import WARMUP

TITLE = "Stability of the trainings"
CAPTION = (
    "Spread of the validation PSNR of each loss, less is more stable: over the last checkpoints of a training "
    "(mean over seeds) and over seeds (standard deviation). Under a title: how many trainings diverged."
)
SPREADS = {"validation_psnr_spread": "over the last checkpoints", "validation_psnr_sd": "over seeds"}
ROW = 0.155
"""Inches from one loss to the next."""


def draw(material: Material, theme: Theme) -> Figure | None:
    """None where no spread is known and nothing diverged."""
    table = material.table("stability")
    if table.empty or (table[list(SPREADS)].isna().all(axis=None) and not table["diverged"].any()):
        return None
    table = table[table["loss"] != WARMUP]
    losses = list(dict.fromkeys(table["loss"]))
    names, marks = list(dict.fromkeys(table["discriminator"])), level_marks(list(SPREADS.values()), theme)
    page = Page(
        names=names,
        least=1.5,
        widest=2.4,
        high=ROW * len(losses),
        most=3,
        beside=widest(losses, SMALL) / POINTS + 0.08,
        apart=0.26,
        lines=1,
        x="spread of the validation PSNR (dB, less is more stable)",
        legend=marks,
        legend_lines=False,
    )
    drawn = panels(page)
    for axis, name in zip(drawn.axes, names, strict=True):
        own = table[table["discriminator"] == name].set_index("loss").reindex(losses)
        beneath(axis, _diverged(own), theme.faint)
        draw_rows(axis, losses, theme)
        for column, words in SPREADS.items():
            axis.plot(
                own[column].to_numpy(float), range(len(losses)), **marks[words].point(markersize=4, clip_on=False)
            )
        _draw_counts(axis, own)
    _scale(drawn.axes[0], table)
    return drawn.figure


def draw_rows(axis: Axes, names: Sequence[str], theme: Theme) -> None:
    """A row for each name, the first on top, with its name on the left and a faint line to read along."""
    axis.set(yticks=range(len(names)), yticklabels=names, ylim=(len(names) - 0.5, -0.5))
    axis.tick_params(axis="y", length=0, labelcolor=theme.ink)
    axis.spines["left"].set_visible(False)
    axis.hlines(
        range(len(names)), 0, 1, transform=axis.get_yaxis_transform(), color=theme.zone, linewidth=0.8, zorder=0
    )


def _diverged(own: pd.DataFrame) -> str:
    return f"{int(own['diverged'].sum())} diverged of {_planned(own)}" if _planned(own) else " "


def _planned(own: pd.DataFrame) -> int:
    return int(own["seeds_planned"].sum()) if "seeds_planned" in own else 0


def _draw_counts(axis: Axes, own: pd.DataFrame) -> None:
    for y, row in enumerate(own.itertuples()):
        if row.diverged > 0:
            axis.text(1.02, y, f"✕{int(row.diverged)}", transform=axis.get_yaxis_transform(), ha="left", va="center",
                      fontsize=SMALL)  # fmt: skip


def _scale(axis: Axes, table: pd.DataFrame) -> None:
    """Logarithmic where all spreads are positive: they differ by factors."""
    values = table[list(SPREADS)].to_numpy(float)
    values = values[np.isfinite(values)]
    if len(values) and (values > 0).all() and values.max() > 5 * values.min():
        axis.set_xscale("log")
        decades = np.log10(values.max() / values.min())
        axis.xaxis.set_major_locator(LogLocator(subs=(1.0,) if decades > 1.5 else (1.0, 2.0, 5.0), numticks=6))
        axis.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
        axis.xaxis.set_minor_formatter(NullFormatter())
    else:
        axis.set_xlim(left=-0.05 * axis.get_xlim()[1])  # a marker at 0 does not touch its name

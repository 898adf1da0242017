"""Figures: IQA rank against optimization rank for each discriminator, and strips of real crops.

Drawn with matplotlib's Agg; the scatter in a light and a dark theme, of which the report shows the one that fits.
Colours are Okabe and Ito's, which colour-blind readers can tell apart; every point and column is labelled, so colour is
never needed to read a figure.
"""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import matplotlib
import numpy as np
import pandas as pd

from orchestrator.aggregate.crops import BESIDE, COMMON, CROP, Crops, enlarge, strip_images

matplotlib.use("Agg")
from matplotlib import pyplot as plt
from matplotlib.axes import Axes
from matplotlib.figure import Figure

PALETTE = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#8C8C8C")
THEMES = {
    "light": {"paper": "#ffffff", "ink": "#1b2330", "faint": "#8a93a3", "line": "#dde2ea"},
    "dark": {"paper": "#161b24", "ink": "#e8ecf3", "faint": "#98a2b3", "line": "#323a48"},
}
STRIP_INK = "#707887"
"""Text of the strips: readable on white and on a dark page, so that one transparent picture serves both."""
ZOOM = 3
"""Nearest-neighbour enlargement of every crop."""
GAP, HEAD, ROW_HEAD = 6, 26, 36
"""Pixels between crops, above the figure for the image's name, and above each row for its name and its columns'."""
WIDE = 12
"""Losses above which a panel of ranks gets a row of its own, that grows with them."""
DPI = 100


@contextmanager
def theme(name: str) -> Iterator[dict[str, str]]:
    """matplotlib settings of a theme; yields its colours."""
    colours = THEMES[name]
    settings: dict[Any, Any] = {
        "figure.facecolor": colours["paper"],
        "axes.facecolor": colours["paper"],
        "text.color": colours["ink"],
        "axes.edgecolor": colours["line"],
        "axes.labelcolor": colours["ink"],
        "xtick.color": colours["faint"],
        "ytick.color": colours["faint"],
        "font.size": 9.0,
        "axes.spines.top": False,
        "axes.spines.right": False,
        "savefig.facecolor": colours["paper"],
        "svg.hashsalt": "aggregate",
    }
    with plt.rc_context(settings):
        yield colours


@dataclass(frozen=True)
class Drawn:
    """The PNGs of one group of losses; an SVG stands beside each."""

    ranks: Path | None
    """Its dark SVG ends in -dark. None where fewer than two losses are ranked."""
    strips: dict[str, Path]
    """By the name of the image."""


def write(
    ranking: pd.DataFrame, agreement: pd.DataFrame, restorations: pd.DataFrame, folder: Path, suffix: str = ""
) -> Drawn:
    """Draws the figures of one group of losses into `folder` as PNG and SVG; their names end in `suffix`."""
    folder.mkdir(parents=True, exist_ok=True)
    ranks = folder / f"ranks{suffix}.png" if ranking["loss"].nunique() > 1 else None
    if ranks:
        dark = ranks.with_name(f"{ranks.stem}-dark.svg")
        for name, files in (("light", (ranks, ranks.with_suffix(".svg"))), ("dark", (dark,))):
            with theme(name) as colours:
                _save(draw_ranks(ranking, agreement, colours), *files, dpi=2 * DPI)
    strips = {}
    for image, crops in strip_images(restorations):
        strips[image] = folder / f"strip-{image}{suffix}.png"
        with theme("light"):
            _save(draw_strip(image, crops), strips[image], strips[image].with_suffix(".svg"), dpi=DPI, transparent=True)
    return Drawn(ranks, strips)


def _save(figure: Figure, *files: Path, dpi: int, transparent: bool = False) -> None:
    for file in files:
        metadata = {"Date": None} if file.suffix == ".svg" else None
        figure.savefig(file, dpi=dpi, metadata=metadata, transparent=transparent)
    plt.close(figure)


# ------------------------------------------------------------------------------------------ scatter of ranks


def draw_ranks(ranking: pd.DataFrame, agreement: pd.DataFrame, colours: Mapping[str, str]) -> Figure:
    """Small multiples, one a discriminator: optimization rank over IQA rank, best at the top right, 95 % intervals."""
    names = list(dict.fromkeys(ranking["discriminator"]))
    losses = ranking["loss"].nunique()
    columns, side, tall = (min(3, len(names)), 3.2, 3.4) if losses <= WIDE else (1, 0.3 * losses, 0.3 * losses + 0.2)
    rows = -(-len(names) // columns)
    width, height = side * columns + 0.5, tall * rows + 0.4
    figure, axes = plt.subplots(rows, columns, figsize=(width, height), squeeze=False, sharex=True, sharey=True)
    figure.subplots_adjust(
        left=0.6 / width,
        right=1 - 0.1 / width,
        bottom=0.55 / height,
        top=1 - 0.45 / height,
        wspace=0.12,
        hspace=0.26 * 3.2 / side,
    )
    rho = agreement.set_index("discriminator")
    for axis, name in zip(axes.flat, names, strict=False):
        _draw_panel(axis, ranking[ranking["discriminator"] == name], colours)
        axis.set_title(name, loc="left", fontweight="bold", fontsize=10, pad=18)
        axis.text(
            0,
            1 + 0.02 * 3.2 / side,
            _agreement(rho.loc[name]),
            transform=axis.transAxes,
            fontsize=8,
            color=colours["faint"],
            va="bottom",
        )
    for axis in axes.flat[len(names) :]:
        axis.set_visible(False)
    figure.supxlabel("IQA rank (better to the right)", fontsize=9, y=0.1 / height)
    figure.supylabel("optimization rank (better to the top)", fontsize=9, x=0.12 / width)
    return figure


def _agreement(row: pd.Series) -> str:
    if not np.isfinite(row.get("spearman", np.nan)):
        return f"n = {row['losses']}: no rank correlation"
    bounds = f"{row['spearman_low']:+.2f}, {row['spearman_high']:+.2f}"
    p = f"p = {row['spearman_p']:.3f}" if row["spearman_p"] >= 0.0005 else "p < 0.001"
    return f"ρ = {row['spearman']:+.2f} [{bounds}], {p}"


def _draw_panel(axis: Axes, points: pd.DataFrame, colours: Mapping[str, str]) -> None:
    n = len(points)
    axis.plot([n + 0.5, 0.5], [n + 0.5, 0.5], color=colours["line"], linewidth=1.2, zorder=0)
    x, y = points["iqa_rank"].to_numpy(float), points["optimization_rank"].to_numpy(float)
    for i, row in enumerate(points.itertuples()):
        if not np.isfinite(x[i] + y[i]):
            continue
        colour = PALETTE[i % len(PALETTE)]
        axis.plot([row.iqa_rank_low, row.iqa_rank_high], [y[i], y[i]], color=colour, alpha=0.3, linewidth=1)
        axis.plot(
            [x[i], x[i]], [row.optimization_rank_low, row.optimization_rank_high], color=colour, alpha=0.3, linewidth=1
        )
        axis.plot(x[i], y[i], "o", color=colour, markersize=6)
        below = int((y[x < x[i]] == y[i]).sum()) % 2 == 1  # neighbours on one height take turns above and below
        at, vertical = ((0, -6), "top") if below else ((0, 6), "bottom")
        axis.annotate(
            row.loss, (x[i], y[i]), xytext=at, textcoords="offset points", ha="center", va=vertical, fontsize=8
        )
    axis.set(xlim=(n + 0.7, 0.3), ylim=(n + 0.7, 0.3), xticks=range(1, n + 1), yticks=range(1, n + 1), aspect="equal")
    axis.tick_params(length=0)


# --------------------------------------------------------------------------------------------------- strips


def draw_strip(image: str, crops: Crops) -> Figure:
    """One image: a row for each discriminator below the row that needs none. A pixel of a crop is `ZOOM` x `ZOOM`
    pixels of the PNG; nothing is interpolated."""
    rows = {row: [c for r, c in crops if r == row] for row in dict.fromkeys(row for row, _ in crops)}
    rows[BESIDE] = [name for name in COMMON if name in rows[BESIDE]]
    cell, step = CROP * ZOOM, CROP * ZOOM + ROW_HEAD + GAP
    width, height = max(map(len, rows.values())) * (cell + GAP), HEAD + len(rows) * step
    canvas = np.zeros((height, width, 4), dtype=np.uint8)
    figure = plt.figure(figsize=(width / DPI, height / DPI), dpi=DPI)

    def write_text(x: float, y: float, words: str, **style: Any) -> None:
        figure.text(x / width, 1 - y / height, words, color=STRIP_INK, va="center", **style)

    write_text(0, HEAD / 2, image, fontsize=11, fontweight="bold")
    for r, (row, columns) in enumerate(rows.items()):
        y = HEAD + r * step
        write_text(0, y + 10, row, fontsize=8.5, fontweight="bold")
        for c, column in enumerate(columns):
            x, crop = c * (cell + GAP), crops[row, column]
            write_text(x, y + 26, column, fontsize=8)
            if crop is None:
                write_text(x + cell / 2, y + ROW_HEAD + cell / 2, "not there", fontsize=8, ha="center")
            else:
                shown = enlarge(crop, ZOOM)
                canvas[y + ROW_HEAD :, x:][: shown.shape[0], : shown.shape[1]] = np.dstack(
                    [shown, np.full(shown.shape[:2], 255)]
                )
    figure.figimage(canvas, 0, 0, zorder=-1)
    return figure

"""Figures: IQA rank against optimization rank for each discriminator, and strips of real crops.

Drawn with matplotlib's Agg; the scatter in a light and a dark theme, of which the report shows the one that fits.
Colours are Okabe and Ito's, which colour-blind readers can tell apart; every point and column is labelled, so colour is
never needed to read a figure.
"""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import matplotlib
import numpy as np
import pandas as pd
from PIL import Image

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
CROP = 48
"""Side of a crop, high-resolution pixels."""
ZOOM = 3
"""Nearest-neighbour enlargement of every crop."""
GAP, HEAD, ROW_HEAD = 6, 26, 36
"""Pixels between crops, above the figure for the image's name, and above each row for its name and its columns'."""
COMMON = ("LR", "bicubic", "warm-up", "HR")
"""What no discriminator changes: the first row of a strip, named `BESIDE`."""
BESIDE = "without a loss network"
IMAGES_PER_SET = 3
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


def write(
    ranking: pd.DataFrame, agreement: pd.DataFrame, restorations: pd.DataFrame, folder: Path
) -> dict[str, list[Path]]:
    """Draws every figure into `folder` as PNG and SVG; returns the PNGs by figure: `ranks` (whose dark SVG stands
    beside it as ranks-dark.svg) and `strips`."""
    folder.mkdir(parents=True, exist_ok=True)
    drawn: dict[str, list[Path]] = {"ranks": [], "strips": []}
    if len(ranking):
        drawn["ranks"].append(folder / "ranks.png")
        for name, files in (("light", ("ranks.png", "ranks.svg")), ("dark", ("ranks-dark.svg",))):
            with theme(name) as colours:
                _save(draw_ranks(ranking, agreement, colours), *(folder / file for file in files), dpi=2 * DPI)
    for image, crops in strip_images(restorations):
        png = folder / f"strip-{image}.png"
        with theme("light"):
            _save(draw_strip(image, crops), png, png.with_suffix(".svg"), dpi=DPI, transparent=True)
        drawn["strips"].append(png)
    return drawn


def _save(figure: Figure, *files: Path, dpi: int, transparent: bool = False) -> None:
    for file in files:
        metadata = {"Date": None} if file.suffix == ".svg" else None
        figure.savefig(file, dpi=dpi, metadata=metadata, transparent=transparent)
    plt.close(figure)


# ------------------------------------------------------------------------------------------ scatter of ranks


def draw_ranks(ranking: pd.DataFrame, agreement: pd.DataFrame, colours: Mapping[str, str]) -> Figure:
    """Small multiples, one a discriminator: optimization rank over IQA rank, best at the top right, 95 % intervals."""
    names = list(dict.fromkeys(ranking["discriminator"]))
    columns = min(3, len(names))
    rows = -(-len(names) // columns)
    width, height = 3.2 * columns + 0.5, 3.4 * rows + 0.4
    figure, axes = plt.subplots(rows, columns, figsize=(width, height), squeeze=False, sharex=True, sharey=True)
    figure.subplots_adjust(
        left=0.6 / width, right=1 - 0.1 / width, bottom=0.55 / height, top=1 - 0.45 / height, wspace=0.12, hspace=0.26
    )
    rho = agreement.set_index("discriminator")
    for axis, name in zip(axes.flat, names, strict=False):
        _draw_panel(axis, ranking[ranking["discriminator"] == name], colours)
        axis.set_title(name, loc="left", fontweight="bold", fontsize=10, pad=18)
        axis.text(
            0,
            1.02,
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
    return f"ρ = {row['spearman']:+.2f} [{bounds}], p = {row['spearman_p']:.3f}"


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


Crops = dict[tuple[str, str], np.ndarray | None]
"""Crops (side, side, 3) uint8 by (row, column); None where the restoration is not there."""


def strip_images(restorations: pd.DataFrame) -> Iterator[tuple[str, Crops]]:
    """(name, crops) of the first images of each test set, in the window in which the HR image varies most. Rows are
    `BESIDE` and the discriminators, columns `COMMON` and the losses; the first seed is shown."""
    for data_set in dict.fromkeys(restorations["data_set"]):
        here = restorations[restorations["data_set"] == data_set]
        bicubic = here[(here["loss"] == "bicubic") & (here["status"] == "done")]
        if bicubic.empty:
            continue
        source = Path(bicubic["folder"].iloc[0])
        for path in sorted((source / "reference").glob("*.png"))[:IMAGES_PER_SET]:
            yield path.stem, _crops(here, source, path.stem)


def _crops(here: pd.DataFrame, source: Path, image: str) -> Crops:
    high, low = _read(source / "reference" / f"{image}.png"), _read(source / "low_resolution" / f"{image}.png")
    scale = high.shape[0] // low.shape[0]
    side = min(CROP, *high.shape[:2])
    top, left = busiest_window(high, side, scale)
    window = slice(top, top + side), slice(left, left + side)
    crops: Crops = {(BESIDE, "LR"): enlarge(low, scale)[window]}
    first = here["seed"].min()
    for row in here[here["seed"].isna() | (here["seed"] == first)].itertuples():
        restored = _read(Path(row.folder) / "images" / f"{image}.png")[window] if row.status == "done" else None
        crops[BESIDE if row.loss in COMMON else row.discriminator, row.loss] = restored
    crops[BESIDE, "HR"] = high[window]
    return crops


def busiest_window(image: np.ndarray, side: int, step: int) -> tuple[int, int]:
    """(top, left), multiples of `step`, of the square of `side` pixels in which (H, W, 3) varies most in grey."""
    grey = image.mean(axis=2)
    windows = np.lib.stride_tricks.sliding_window_view(grey, (side, side))[::step, ::step]
    top, left = np.unravel_index(windows.var(axis=(2, 3)).argmax(), windows.shape[:2])
    return int(top) * step, int(left) * step


def enlarge(image: np.ndarray, factor: int) -> np.ndarray:
    """Nearest-neighbour enlargement of (H, W, 3) by a whole factor: every pixel becomes a square."""
    return image.repeat(factor, axis=0).repeat(factor, axis=1)


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


def _read(path: Path) -> np.ndarray:
    with Image.open(path) as image:
        return np.asarray(image.convert("RGB"))

"""Figures: IQA rank against optimization rank for each discriminator, and strips of real crops.

Drawn with matplotlib's Agg in a light and a dark theme (the report shows the one that fits). Colours are Okabe and Ito's,
which colour-blind readers can tell apart; every point and column is labelled, so colour is never needed to read a figure.
"""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import matplotlib
import numpy as np
import pandas as pd
from PIL import Image

matplotlib.use("Agg")
from matplotlib import pyplot as plt  # noqa: E402  (after the backend is chosen)
from matplotlib.axes import Axes  # noqa: E402
from matplotlib.figure import Figure  # noqa: E402

PALETTE = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#8C8C8C")
THEMES = {"light": {"paper": "#ffffff", "ink": "#1b2330", "faint": "#8a93a3", "line": "#dde2ea"},
          "dark": {"paper": "#161b24", "ink": "#e8ecf3", "faint": "#98a2b3", "line": "#323a48"}}
CROP = 48
"""Side of a crop, high-resolution pixels."""
ZOOM = 2
"""Nearest-neighbour enlargement of every crop."""
GAP, GUTTER, HEAD = 6, 176, 44
"""Pixels between crops, left of the rows for the discriminators' names, and above for the columns' names."""
IMAGES_PER_SET = 3
DPI = 100


@contextmanager
def theme(name: str) -> Iterator[dict[str, str]]:
    """matplotlib settings of a theme; yields its colours."""
    colours = THEMES[name]
    settings = {"figure.facecolor": colours["paper"], "axes.facecolor": colours["paper"], "text.color": colours["ink"],
                "axes.edgecolor": colours["line"], "axes.labelcolor": colours["ink"], "xtick.color": colours["faint"],
                "ytick.color": colours["faint"], "font.size": 9.0, "axes.spines.top": False, "axes.spines.right": False,
                "savefig.facecolor": colours["paper"], "svg.hashsalt": "aggregate"}
    with plt.rc_context(settings):
        yield colours


def write(ranking: pd.DataFrame, agreement: pd.DataFrame, restorations: pd.DataFrame, folder: Path) -> dict[str, list[Path]]:
    """Draws every figure into `folder` as PNG and SVG, light and dark; returns the light PNGs by figure: `ranks`, `strips`.
    The dark ones stand beside them as `<name>-dark`."""
    folder.mkdir(parents=True, exist_ok=True)
    strips = dict(strip_images(restorations))
    for name in THEMES:
        suffix = "" if name == "light" else f"-{name}"
        with theme(name) as colours:
            if len(ranking):
                _save(draw_ranks(ranking, agreement, colours), folder / f"ranks{suffix}")
            for image, panels in strips.items():
                _save(draw_strip(image, panels, colours), folder / f"strip-{image}{suffix}")
    ranks = [folder / "ranks.png"] if len(ranking) else []
    return {"ranks": ranks, "strips": [folder / f"strip-{image}.png" for image in strips]}


def _save(figure: Figure, stem: Path) -> None:
    figure.savefig(stem.with_suffix(".png"), dpi=2 * DPI if stem.name.startswith("ranks") else DPI)
    figure.savefig(stem.with_suffix(".svg"), dpi=DPI, metadata={"Date": None})
    plt.close(figure)


# ------------------------------------------------------------------------------------------ scatter of ranks


def draw_ranks(ranking: pd.DataFrame, agreement: pd.DataFrame, colours: Mapping[str, str]) -> Figure:
    """Small multiples, one a discriminator: optimization rank over IQA rank, best at the top right, with 95 % intervals."""
    names = list(dict.fromkeys(ranking["discriminator"]))
    columns = min(3, len(names))
    rows = -(-len(names) // columns)
    figure, axes = plt.subplots(rows, columns, figsize=(3.3 * columns, 3.3 * rows + 0.2), squeeze=False,
                                sharex=True, sharey=True, layout="constrained")
    rho = agreement.set_index("discriminator")
    for axis, name in zip(axes.flat, names, strict=False):
        _draw_panel(axis, ranking[ranking["discriminator"] == name], colours)
        axis.set_title(name, loc="left", fontweight="bold", fontsize=10, pad=18)
        axis.text(0, 1.02, _agreement(rho.loc[name]), transform=axis.transAxes, fontsize=8, color=colours["faint"],
                  va="bottom")
    for axis in axes.flat[len(names):]:
        axis.set_visible(False)
    figure.supxlabel("IQA rank (better to the right)", fontsize=9)
    figure.supylabel("optimization rank (better to the top)", fontsize=9)
    return figure


def _agreement(row: pd.Series) -> str:
    if not np.isfinite(row.get("spearman", np.nan)):
        return f"n = {row['losses']}: no rank correlation"
    return f"ρ = {row['spearman']:+.2f} [{row['spearman_low']:+.2f}, {row['spearman_high']:+.2f}], p = {row['spearman_p']:.3f}"


def _draw_panel(axis: Axes, points: pd.DataFrame, colours: Mapping[str, str]) -> None:
    n = len(points)
    axis.plot([n + 0.5, 0.5], [n + 0.5, 0.5], color=colours["line"], linewidth=1.2, zorder=0)
    x, y = points["iqa_rank"].to_numpy(float), points["optimization_rank"].to_numpy(float)
    for i, row in enumerate(points.itertuples()):
        if not np.isfinite(x[i] + y[i]):
            continue
        colour = PALETTE[i % len(PALETTE)]
        axis.plot([row.iqa_rank_low, row.iqa_rank_high], [y[i], y[i]], color=colour, alpha=0.3, linewidth=1)
        axis.plot([x[i], x[i]], [row.optimization_rank_low, row.optimization_rank_high], color=colour, alpha=0.3, linewidth=1)
        axis.plot(x[i], y[i], "o", color=colour, markersize=6)
        below = int((y[x < x[i]] == y[i]).sum()) % 2 == 1  # neighbours on one height take turns above and below
        at, vertical = ((0, -6), "top") if below else ((0, 6), "bottom")
        axis.annotate(row.loss, (x[i], y[i]), xytext=at, textcoords="offset points", ha="center", va=vertical, fontsize=8)
    axis.set(xlim=(n + 0.7, 0.3), ylim=(n + 0.7, 0.3), xticks=range(1, n + 1), yticks=range(1, n + 1), aspect="equal")
    axis.tick_params(length=0)


# --------------------------------------------------------------------------------------------------- strips


def strip_images(restorations: pd.DataFrame) -> Iterator[tuple[str, dict[tuple[str, str], np.ndarray | None]]]:
    """For the first images of each test set: name, and crops (side, side, 3) uint8 by (discriminator, column).

    Columns are LR, bicubic, warm-up, each loss and HR; the columns that no discriminator changes stand under `""`. A crop is None
    where its restoration is not there. The first seed is shown, on the window in which the HR image varies most.
    """
    for data_set in dict.fromkeys(restorations["data_set"]):
        here = restorations[restorations["data_set"] == data_set]
        bicubic = here[(here["loss"] == "bicubic") & (here["status"] == "done")]
        if bicubic.empty:
            continue
        source = Path(bicubic["folder"].iloc[0])
        for path in sorted((source / "reference").glob("*.png"))[:IMAGES_PER_SET]:
            yield path.stem, _crops(here, source, path.stem)


def _crops(here: pd.DataFrame, source: Path, image: str) -> dict[tuple[str, str], np.ndarray | None]:
    high, low = _read(source / "reference" / f"{image}.png"), _read(source / "low_resolution" / f"{image}.png")
    scale = high.shape[0] // low.shape[0]
    top, left = busiest_window(high, min(CROP, *high.shape[:2]), scale)
    window = slice(top, top + CROP), slice(left, left + CROP)
    panels: dict[tuple[str, str], np.ndarray | None] = {("", "LR"): enlarge(low, scale)[window]}
    seed = here["seed"].min()
    for row in here[here["seed"].isna() | (here["seed"] == seed)].itertuples():
        common = row.loss in ("bicubic", "warm-up")
        restored = _read(Path(row.folder) / "images" / f"{image}.png")[window] if row.status == "done" else None
        panels["" if common else row.discriminator, row.loss] = restored
    panels["", "HR"] = high[window]
    return panels


def busiest_window(image: np.ndarray, side: int, step: int) -> tuple[int, int]:
    """(top, left), multiples of `step`, of the square of `side` pixels in which the grey (H, W, 3) image varies most."""
    grey = image.mean(axis=2)
    windows = np.lib.stride_tricks.sliding_window_view(grey, (side, side))[::step, ::step]
    top, left = np.unravel_index(windows.var(axis=(2, 3)).argmax(), windows.shape[:2])
    return int(top) * step, int(left) * step


def enlarge(image: np.ndarray, factor: int) -> np.ndarray:
    """Nearest-neighbour enlargement of (H, W, 3) by a whole factor: every pixel becomes a square."""
    return image.repeat(factor, axis=0).repeat(factor, axis=1)


def draw_strip(image: str, panels: Mapping[tuple[str, str], np.ndarray | None], colours: Mapping[str, str]) -> Figure:
    """One image: a row for each discriminator, a column for each loss, between bicubic and HR. One crop pixel is
    `ZOOM` x `ZOOM` pixels of the PNG; nothing is interpolated."""
    rows = [name for name in dict.fromkeys(row for row, _ in panels) if name] or [""]
    columns = _columns(panels)
    cell = CROP * ZOOM + GAP
    width, height = GUTTER + len(columns) * cell, HEAD + len(rows) * cell
    canvas = np.tile(np.array(matplotlib.colors.to_rgb(colours["paper"])) * 255, (height, width, 1)).astype(np.uint8)
    figure = plt.figure(figsize=(width / DPI, height / DPI), dpi=DPI)
    for c, column in enumerate(columns):
        x = GUTTER + c * cell
        figure.text((x + CROP * ZOOM / 2) / width, 1 - 34 / height, column, ha="center", fontsize=8, va="center")
        for r, row in enumerate(rows):
            y, common = HEAD + r * cell, ("", column) in panels
            crop = panels.get(("", column)) if common else panels.get((row, column))
            if crop is not None and not (common and r):
                shown = enlarge(crop, ZOOM)
                canvas[y:y + shown.shape[0], x:x + shown.shape[1]] = shown
            elif not common:
                figure.text((x + CROP * ZOOM / 2) / width, 1 - (y + CROP * ZOOM / 2) / height, "not there", ha="center",
                            va="center", fontsize=7, color=colours["faint"])
    figure.text(8 / width, 1 - 12 / height, image, fontsize=10, fontweight="bold", va="center")
    for r, row in enumerate(rows):
        figure.text((GUTTER - 10) / width, 1 - (HEAD + r * cell + CROP * ZOOM / 2) / height, row, ha="right", va="center",
                    fontsize=8)
    figure.figimage(canvas, 0, 0, zorder=-1)
    return figure


def _columns(panels: Mapping[tuple[str, str], np.ndarray | None]) -> list[str]:
    first, last = ["LR", "bicubic", "warm-up"], ["HR"]
    names = list(dict.fromkeys(column for _, column in panels))
    middle = [name for name in names if name not in first + last]
    return [*(name for name in first if name in names), *middle, *last]


def _read(path: Path) -> np.ndarray:
    with Image.open(path) as image:
        return np.asarray(image.convert("RGB"))

"""Small multiples on a page: how many panels stand beside each other, where, their titles, one legend below all.

Everything is placed by sizes in inches that are known before anything is drawn: without a solver, forty panels are
placed as fast as four.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
from matplotlib import pyplot as plt
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from orchestrator.aggregate.figures.labels import POINTS, fitting, text_width
from orchestrator.aggregate.figures.theme import COLUMN, LARGE, NORMAL, SMALL, WIDTH, Mark

MARGIN = 0.06
TITLE, BENEATH, TICKS, LABEL, ENTRY = 0.19, 0.118, 0.19, 0.19, 0.155
"""Inches: a panel's title, a line beneath it, numbers below a panel, an axis label, a line of the legend."""


@dataclass(frozen=True, kw_only=True)
class Page:
    """What stands in and around the panels; lengths in inches."""

    names: Sequence[str]
    """The title of each panel: there are as many as titles."""
    span: int = 1
    """Panels that a title may span."""
    least: float
    """Least width of a panel; titles may ask for more."""
    widest: float = 3.0
    high: float | None = None
    """Height of a panel; None makes it square."""
    most: int = 4
    """Panels in a row."""
    beside: float = 0.3
    """What labels on the left of the first panel of a row take, or of every panel where `own_y`."""
    own_y: bool = False
    """Every panel has a vertical axis of its own."""
    apart: float = 0.14
    """Between panels, and on the right."""
    lines: int = 0
    """Smaller ones below each title."""
    x: str = ""
    y: str = ""
    """Labels of the axes."""
    legend: Mapping[str, Mark] = field(default_factory=dict)
    legend_lines: bool = True
    legend_points: bool = True


@dataclass(frozen=True)
class Panels:
    """A figure with its panels."""

    figure: Figure
    axes: list[Axes]
    columns: int
    width: float
    """Inches of a panel."""


def columns_of(page: Page) -> int:
    """How many of the page's panels stand in a row; the last row is as full as it can be."""
    count = len(page.names)
    room = WIDTH - 2 * MARGIN - (LABEL if page.y else 0) - (0 if page.own_y else page.beside)
    least = max(page.least, max(text_width(name, SMALL, "bold") for name in page.names) / POINTS / page.span)
    each = least + page.apart + (page.beside if page.own_y else 0)
    columns = max(1, min(count, page.most, int(room // each)))
    return -(-count // -(-count // columns))


def panels(page: Page) -> Panels:
    """A figure of titled, empty panels that share their horizontal axis, and their vertical one unless `own_y`."""
    count, columns = len(page.names), columns_of(page)
    rows = -(-count // columns)
    left = MARGIN + (LABEL if page.y else 0)
    beside = columns * page.beside if page.own_y else page.beside
    wide = (WIDTH - left - MARGIN - beside) / columns - page.apart
    narrow = (COLUMN - left - MARGIN - beside) / columns - page.apart
    wide = min(wide, max(page.widest, narrow))
    high = page.high or wide
    width = left + beside + columns * (wide + page.apart) + MARGIN
    head = TITLE + BENEATH * page.lines
    size = min(fitting(name, page.span * wide * POINTS, LARGE, "bold") for name in page.names)
    across = _entries_a_row(page.legend, width)
    below = MARGIN + (LABEL if page.x else 0) + (ENTRY * -(-len(page.legend) // across) if page.legend else 0)
    height = MARGIN + rows * (head + high + TICKS) + below
    figure = plt.figure(figsize=(width, height))
    axes: list[Axes] = []
    for i in range(count):
        row, column = divmod(i, columns)
        x = left + page.beside + column * (wide + page.apart + (page.beside if page.own_y else 0))
        y = height - MARGIN - (row + 1) * (head + high) - row * TICKS
        place = (x / width, y / height, wide / width, high / height)
        first = axes[0] if axes else None
        axes.append(figure.add_axes(place, sharex=first, sharey=None if page.own_y else first, label=str(i)))
        axes[-1].tick_params(labelleft=page.own_y or column == 0)
        axes[-1].set_title(page.names[i], fontsize=size, pad=4 + page.lines * BENEATH * POINTS)
    if page.x:
        middle, half = (left + page.beside + width) / 2, text_width(page.x, NORMAL) / POINTS / 2
        middle = min(middle, width - MARGIN - half)
        figure.text(middle / width, (below - 0.03) / height, page.x, ha="center", va="top", fontsize=NORMAL)
    if page.y:
        centre = (below + (height - below) / 2) / height
        figure.text(MARGIN / width, centre, page.y, ha="left", va="center", rotation="vertical", fontsize=NORMAL)
    if page.legend:
        _legend(figure, page, across)
    return Panels(figure, axes, columns, wide)


def beneath(axis: Axes, words: str, color: str) -> None:
    """Smaller lines between a panel and its title, for which the page leaves room."""
    axis.annotate(
        words, (0, 1), (0, 3), xycoords="axes fraction", textcoords="offset points", va="bottom", fontsize=SMALL,
        linespacing=1.15, color=color,
    )  # fmt: skip


def _entries_a_row(marks: Mapping[str, Mark], inches: float) -> int:
    """The most columns, filled one after the other, that the width of the figure holds."""
    widths = [text_width(name, NORMAL) + 4.0 * NORMAL for name in marks]
    for across in range(len(widths), 1, -1):
        parts = np.array_split(np.array(widths), across)
        if sum(part.max() for part in parts) + 8 <= inches * POINTS:
            return across
    return 1


def _legend(figure: Figure, page: Page, across: int) -> None:
    handles = [
        Line2D([], [], color=mark.color, linestyle=mark.dash if page.legend_lines else "none", linewidth=1.4,
               marker=mark.marker if page.legend_points else "none", markersize=4, label=name)
        for name, mark in page.legend.items()
    ]  # fmt: skip
    figure.legend(
        handles=handles,
        loc="lower center",
        bbox_to_anchor=(0.5, 0),
        borderaxespad=0.4,
        borderpad=0,
        labelspacing=(ENTRY * POINTS / NORMAL) - 1.0,
        ncols=across,
        handlelength=2.2,
        columnspacing=1.2,
        handletextpad=0.5,
    )

"""How figures look: two themes, one mark a loss in all figures, sizes of a paper's page, and files that come out equal.

Colours are Okabe and Ito's (jfly.uni-koeln.de/color), which colour-blind readers can tell apart; on a dark page they
are lighter. Colour is never needed to read a figure: losses differ in their marker and dashes, too, or are labelled.
"""

import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import matplotlib

matplotlib.use("Agg")
from matplotlib import pyplot as plt
from matplotlib.figure import Figure

WIDTH = 7.0
"""Inches: both columns of a two-column paper."""
COLUMN = 3.4
"""Inches: one column."""
DPI = 200
SMALL, NORMAL, LARGE = 6.5, 7.5, 8.5
"""Points; a figure is printed at its own size."""
MARKERS = ("o", "s", "^", "D", "v")
DASHES: tuple[Any, ...] = ("-", (0, (4, 1.5)), (0, (1, 1.2)), (0, (5, 1.5, 1, 1.5)), (0, (8, 2)))
FADED = 0.35
"""Opacity of what stands behind: intervals, single seeds."""


@dataclass(frozen=True)
class Theme:
    """Colours of a page."""

    name: str
    paper: str
    ink: str
    faint: str
    """Text that stands back; at least 4.5 : 1 on the paper."""
    line: str
    zone: str
    """Shaded areas."""
    losses: tuple[str, ...]
    levels: tuple[str, ...]
    """Of other factors (backbone, initialization), which must not be mistaken for losses: Paul Tol's high contrast and
    muted schemes."""


LIGHT = Theme(
    name="light",
    paper="#ffffff",
    ink="#1b2330",
    faint="#5d6778",
    line="#c9d0da",
    zone="#eef1f5",
    losses=("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9"),
    levels=("#004488", "#BB5566", "#DDAA33", "#117733", "#AA4499", "#44AA99"),
)
DARK = Theme(
    name="dark",
    paper="#161b24",
    ink="#e8ecf3",
    faint="#9aa5b6",
    line="#444d5c",
    zone="#222936",
    losses=("#3B93DB", "#F0743A", "#1DB992", "#DB8FBB", "#F0B030", "#8CD3FA"),
    levels=("#6EA6E8", "#E07F8F", "#E6BE5A", "#4CB56F", "#D07CC2", "#6FD0C0"),
)


def darkened(svg: str) -> str:
    """A figure of the light theme, as SVG, in the colours of the dark one: as if drawn again, in no time."""
    return re.sub("#[0-9a-f]{6}", lambda found: DARKENED.get(found[0], found[0]), svg)


def _colors(theme: Theme) -> list[str]:
    plain = (theme.paper, theme.ink, theme.faint, theme.line, theme.zone, *theme.losses, *theme.levels)
    return [color.lower() for color in plain]  # as matplotlib writes them


DARKENED = dict(zip(_colors(LIGHT), _colors(DARK), strict=True))


@dataclass(frozen=True)
class Mark:
    """How one level is drawn wherever it appears."""

    color: str
    marker: str
    dash: Any

    def line(self, **style: Any) -> dict[str, Any]:
        """Settings of a line."""
        return {"color": self.color, "linestyle": self.dash, **style}

    def point(self, **style: Any) -> dict[str, Any]:
        """Settings of a marker without a line."""
        return {"color": self.color, "marker": self.marker, "linestyle": "none", **style}


def loss_marks(losses: Sequence[str], theme: Theme) -> dict[str, Mark]:
    """The mark of each ranked loss, by its place in the grid: no two are equal up to 30. Any other name (a baseline) is
    drawn as `baseline_mark`."""
    return _marks(losses, theme.losses)


def level_marks(levels: Sequence[str], theme: Theme) -> dict[str, Mark]:
    """The mark of each level of another factor."""
    return _marks(levels, theme.levels)


def _marks(names: Sequence[str], colors: Sequence[str]) -> dict[str, Mark]:
    return {
        name: Mark(colors[i % len(colors)], MARKERS[i % len(MARKERS)], DASHES[i // len(colors) % len(DASHES)])
        for i, name in enumerate(names)
    }


def baseline_mark(theme: Theme) -> Mark:
    """The mark of what is never ranked."""
    return Mark(theme.faint, "x", DASHES[1])


@contextmanager
def applied(theme: Theme) -> Iterator[None]:
    """matplotlib's settings while a figure of `theme` is drawn and saved."""
    settings: dict[Any, Any] = {
        "figure.facecolor": theme.paper,
        "axes.facecolor": theme.paper,
        "savefig.facecolor": theme.paper,
        "text.color": theme.ink,
        "axes.edgecolor": theme.line,
        "axes.labelcolor": theme.ink,
        "axes.titlesize": LARGE,
        "axes.titleweight": "bold",
        "axes.titlelocation": "left",
        "axes.labelsize": NORMAL,
        "axes.linewidth": 0.8,
        "axes.spines.top": False,
        "axes.spines.right": False,
        "axes.unicode_minus": True,
        "xtick.color": theme.line,
        "ytick.color": theme.line,
        "xtick.labelcolor": theme.faint,
        "ytick.labelcolor": theme.faint,
        "xtick.labelsize": SMALL,
        "ytick.labelsize": SMALL,
        "xtick.major.size": 2.5,
        "ytick.major.size": 2.5,
        "font.size": NORMAL,
        "legend.fontsize": NORMAL,
        "legend.frameon": False,
        "figure.dpi": DPI,
        "svg.hashsalt": "aggregate",
    }
    with plt.rc_context(settings):
        yield


def save(figure: Figure, *files: Path, dpi: int = DPI, transparent: bool = False) -> None:
    """Writes the figure to every file and closes it. Nothing in a file tells when it was made, so drawing again gives
    the same bytes."""
    for file in files:
        # Level 3 of compression: a tenth more bytes than the default for three quarters of the seconds.
        kind: Any = {"metadata": {"Date": None}} if file.suffix == ".svg" else {"pil_kwargs": {"compress_level": 3}}
        figure.savefig(file, dpi=dpi, transparent=transparent, **kind)
    plt.close(figure)

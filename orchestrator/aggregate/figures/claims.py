"""Forest plot of the claims: effects in units of the smallest effect that matters, with intervals and verdicts."""

import math
from typing import Any

import numpy as np
from matplotlib import pyplot as plt
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from orchestrator.aggregate.figures.labels import POINTS, text_width
from orchestrator.aggregate.figures.material import Material
from orchestrator.aggregate.figures.theme import NORMAL, SMALL, WIDTH, Theme
from orchestrator.aggregate.noise import HIDDEN

TITLE = "Claims"
CAPTION = (
    "Effect of each claim with its 95 % interval, in units of the smallest effect that matters (the shaded zone "
    "is smaller), turned so that what the claim says lies to the right; a claim of no effect says that the "
    "interval lies in the zone. Arrows: the interval goes on. In words: the verdict, and the effect in its own "
    "unit."
)
MARKERS = {"supported": ("o", True), "contradicted": ("X", True), "undetermined": ("D", False)}
"""Marker of each verdict, and whether it is filled."""
LEFT = 2.7
"""Inches for what the claims say."""
LINE = 0.118
"""Inches a line of text."""
HEAD, FOOT = 0.2, 0.4
"""Inches above and below the rows."""
LEAST, MOST = 2.5, 8.0
"""Where the axis ends on either side, in units of the smallest effect that matters: each effect lies within, and each
interval up to `MOST`."""


def draw(material: Material, theme: Theme) -> Figure | None:
    """None where the grid states no claims."""
    table = material.table("claims")
    if table.empty:
        return None
    rows = table.to_dict("records")
    said = [wrapped(row["says"], LEFT * POINTS - 18) for row in rows]
    heights = [LINE * (1.5 + max(3, 1.1 + words.count("\n") + 1)) for words in said]
    right = max(text_width(line, SMALL) for row in rows for line in (*_numbers(row), "contradicted!!")) / POINTS + 0.3
    height = HEAD + sum(heights) + FOOT
    figure = plt.figure(figsize=(WIDTH, height))
    wide = WIDTH - LEFT - right
    axis = figure.add_axes((LEFT / WIDTH, FOOT / height, wide / WIDTH, sum(heights) / height))
    limit = _limit(rows)
    axis.set(xlim=(-limit, limit), ylim=(sum(heights), 0), yticks=[], xlabel="effect / smallest effect that matters")
    axis.spines["left"].set_visible(False)
    axis.axvspan(-1, 1, color=theme.zone, linewidth=0, zorder=0)
    axis.axvline(0, color=theme.line, linewidth=0.8, zorder=1)
    ends = np.cumsum(heights)
    for row, words, end, own in zip(rows, said, ends, heights, strict=True):
        _draw_effect(axis, end - own / 2, row, limit, theme)
        _write_words(axis, end - own / 2, row, words, theme)
    across = [(0.06 - LEFT) / wide, (WIDTH - LEFT - 0.06) / wide]
    for end in ends[:-1]:
        axis.plot(across, [end, end], transform=axis.get_yaxis_transform(), color=theme.zone, linewidth=0.8, zorder=0,
                  clip_on=False)  # fmt: skip
    axis.annotate("as claimed →", (1, 1), (0, 2), xycoords="axes fraction", textcoords="offset points", ha="right",
                  va="bottom", fontsize=SMALL, color=theme.faint)  # fmt: skip
    return figure


def wrapped(words: str, points: float) -> str:
    """Text broken into lines that are no wider than `points`."""
    lines = [""]
    for word in words.split():
        longer = f"{lines[-1]} {word}".strip()
        lines = [*lines[:-1], longer] if text_width(longer, SMALL) <= points else [*lines, word]
    return "\n".join(filter(None, lines))


def oriented(row: dict[Any, Any]) -> tuple[float, float, float]:
    """(effect, low, high) in units of the smallest effect that matters; what the claim says is positive."""
    sign = -1.0 if row["direction"] == "lower" else 1.0
    effect, *bounds = (sign * row[name] / row["matters"] for name in ("effect", "effect_low", "effect_high"))
    return effect, min(bounds), max(bounds)


def _limit(rows: list[dict[Any, Any]]) -> float:
    values = np.array([oriented(row) for row in rows], float)
    effects = np.nanmax(np.abs(values[:, 0]), initial=0.0)
    bounds = np.nanmax(np.abs(values[:, 1:]), initial=0.0)
    return float(max(LEAST, 1.15 * effects, min(MOST, 1.05 * bounds)))


def _draw_effect(axis: Axes, y: float, row: dict[Any, Any], limit: float, theme: Theme) -> None:
    effect, low, high = oriented(row)
    if not math.isfinite(effect):
        return
    marker, filled = MARKERS[row["verdict"]]
    if math.isfinite(low + high):
        axis.hlines(y, max(low, -limit), min(high, limit), color=theme.ink, linewidth=1.2, zorder=2)
        for beyond, end, arrow in ((low < -limit, -limit, "<"), (high > limit, limit, ">")):
            if beyond:
                axis.plot(end, y, arrow, color=theme.ink, markersize=4, clip_on=False)
    axis.plot(effect, y, marker, color=theme.ink, markerfacecolor=theme.ink if filled else theme.paper, markersize=6,
              markeredgewidth=1.2, zorder=3)  # fmt: skip


def _write_words(axis: Axes, y: float, row: dict[Any, Any], words: str, theme: Theme) -> None:
    place: dict[str, Any] = {"xycoords": axis.get_yaxis_transform(), "textcoords": "offset points", "linespacing": 1.2}
    lines, step = words.count("\n") + 1, LINE * POINTS
    left, top = -LEFT * POINTS + 5, step * lines / 2
    axis.annotate(row["claim"], (0, y), (left, top), fontsize=NORMAL, fontweight="bold", va="center", **place)
    axis.annotate(words, (0, y), (left, top - 0.55 * step), fontsize=SMALL, va="top", **place)
    axis.annotate(row["verdict"], (1, y), (12, step), fontsize=NORMAL, fontweight="bold", va="center", **place)
    axis.annotate("\n".join(_numbers(row)), (1, y), (12, 0.45 * step), fontsize=SMALL, color=theme.faint, va="top",
                  **place)  # fmt: skip


def _numbers(row: dict[Any, Any]) -> list[str]:
    """The effect in its own unit with its interval, and what it rests on."""
    if not math.isfinite(row["effect"]):
        return [HIDDEN if HIDDEN in row["note"] else "no effect could be computed"]
    said = f"{row['effect']:+.3g}"
    if math.isfinite(row["effect_low"] + row["effect_high"]):
        said += f" [{row['effect_low']:+.3g}, {row['effect_high']:+.3g}]"
    against = row["verdict"] == "contradicted"
    p = row["p_against_holm" if against else "p_holm"]
    p = f", p{' against' if against else ''} = {p:.3f} (Holm)" if math.isfinite(p) else ""
    return [said.replace("-", "−"), f"n = {row['units']}{p}".replace("= 0.000", "< 0.001")]

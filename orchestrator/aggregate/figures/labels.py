"""Where text goes: its size without drawing it, labels in a column that do not touch, labels beside points."""

from collections.abc import Sequence
from functools import lru_cache
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.font_manager import FontProperties
from matplotlib.textpath import TextPath

POINTS = 72
"""Points an inch."""
LINE = 1.25
"""Height of a line of text in units of its size."""


@lru_cache(maxsize=4096)
def text_width(words: str, size: float, weight: str = "normal") -> float:
    """Width in points of one line of text, drawn in pixels or not; 0 of blanks, which have no path."""
    if not words.strip():
        return 0.0
    hinted = 1.04  # whole pixels make text a little wider than its outlines
    outline = TextPath((0, 0), words, size=size, prop=FontProperties(weight=weight))
    return hinted * float(outline.vertices[:, 0].max())


def widest(names: Sequence[str], size: float) -> float:
    """Width in points of the widest of `names`; 0 of none."""
    return max((text_width(name, size) for name in names), default=0.0)


def fitting(words: str, points: float, size: float, weight: str = "normal") -> float:
    """The size, at most `size`, at which one line of text is no wider than `points`."""
    return min(size, size * points / max(text_width(words, size, weight), 1.0))


def spread(wanted: Sequence[float], gap: float, low: float, high: float) -> np.ndarray:
    """Positions from `low` to `high`, at least `gap` apart, in the order of `wanted` (ties as they come), that differ
    from it least in squares: isotonic regression of the positions less their multiples of `gap`, by pooling adjacent
    violators, then cut off at both ends. There must be room."""
    order = np.argsort(np.asarray(wanted, float), kind="stable")
    pools: list[tuple[float, int]] = []  # mean and size
    for place, index in enumerate(order):
        mean, size = float(wanted[index]) - place * gap, 1
        while pools and pools[-1][0] > mean:
            other, count = pools.pop()
            mean, size = (mean * size + other * count) / (size + count), size + count
        pools.append((mean, size))
    found = np.empty(len(order))
    places = np.repeat([m for m, _ in pools], [s for _, s in pools])
    found[order] = np.clip(places, low, high - gap * (len(order) - 1)) + gap * np.arange(len(order))
    return found


def lanes(low: Sequence[float], high: Sequence[float]) -> list[int]:
    """For each interval the first lane in which it touches none of those before it; 0 where it has no bounds."""
    ends: list[list[tuple[float, float]]] = []
    found = []
    for bounds in zip(low, high, strict=True):
        if not np.isfinite(bounds).all():
            found.append(0)
            continue
        free = (i for i, lane in enumerate(ends) if all(bounds[1] < a or b < bounds[0] for a, b in lane))
        lane = next(free, len(ends))
        if lane == len(ends):
            ends.append([])
        ends[lane].append(bounds)
        found.append(lane)
    return found


# --------------------------------------------------------------------------------- beside points of a scatter

SIDES = (
    (1, 0),
    (-1, 0),
    (0, 1),
    (0, -1),
    (1, 1),
    (-1, 1),
    (1, -1),
    (-1, -1),
)
"""Where a label may stand, as horizontal and vertical side of its point, the most liked first."""


def place_beside(
    axis: Axes, x: np.ndarray, y: np.ndarray, names: Sequence[str], bars: np.ndarray, size: float, **style: Any
) -> None:
    """Writes each name beside its point, where it covers no other label nor point, stays within the axes and crosses
    as few bars as it can. `bars` (k, 2, 2) are segments ((x, y), (x, y)) of data. Limits must be final."""
    scale = axis.figure.dpi / POINTS
    points = axis.transData.transform(np.column_stack([x, y])) / scale
    segments = axis.transData.transform(np.asarray(bars, float).reshape(-1, 2)).reshape(-1, 2, 2) / scale
    frame = np.array(axis.get_window_extent().extents) / scale
    radius, height = 3.2, size * LINE
    dots = np.column_stack([points - radius, points + radius])
    taken: list[np.ndarray] = []
    for i in np.lexsort((points[:, 0], -points[:, 1])):
        width = text_width(names[i], size)
        boxes = [
            _box(points[i], (width, height), side, step)
            for step in (radius + 1, radius + 6, radius + 14)
            for side in SIDES
        ]
        others = np.delete(dots, i, axis=0)
        costs = [
            5 * _overlap(box, np.array(taken)) + 2 * _overlap(box, others) + 20 * _outside(box, frame)
            + height * _crossed(box, segments) + rank
            for rank, box in enumerate(boxes)
        ]  # fmt: skip
        best = boxes[int(np.argmin(costs))]
        taken.append(best)
        dx, dy = (best[:2] + best[2:]) / 2 - points[i]
        axis.annotate(
            names[i], (x[i], y[i]), (dx, dy), textcoords="offset points", ha="center", va="center", fontsize=size,
            in_layout=False, **style,
        )  # fmt: skip


def _box(point: np.ndarray, extent: tuple[float, float], side: tuple[int, int], step: float) -> np.ndarray:
    """(left, bottom, right, top) of a label on a side of its point, `step` away along each of the side's directions."""
    centre = point + np.array(side) * (np.array(extent) / 2 + np.array([step, step if side[0] == 0 else step - 4]))
    if side[0] and side[1]:
        centre[0] -= side[0] * (step - 1)  # a corner: above or below, and begun at the point
    return np.concatenate([centre - np.array(extent) / 2, centre + np.array(extent) / 2])


def _overlap(box: np.ndarray, others: np.ndarray) -> float:
    """Area (square points) that `box` shares with `others` (k, 4)."""
    if not len(others):
        return 0.0
    sides = np.minimum(box[2:], others[:, 2:]) - np.maximum(box[:2], others[:, :2])
    return float(np.prod(np.clip(sides, 0, None), axis=1).sum())


def _outside(box: np.ndarray, frame: np.ndarray) -> float:
    """Points by which `box` leaves `frame`."""
    return float(np.clip(frame[:2] - box[:2], 0, None).sum() + np.clip(box[2:] - frame[2:], 0, None).sum())


def _crossed(box: np.ndarray, segments: np.ndarray) -> float:
    """How many of the horizontal and vertical `segments` (k, 2, 2) meet `box`."""
    low, high = segments.min(axis=1), segments.max(axis=1)
    return float(((low <= box[2:]) & (high >= box[:2])).all(axis=1).sum())

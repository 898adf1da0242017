"""Strips of real crops: one image under every loss and discriminator, as one picture."""

from typing import Any

import numpy as np
from matplotlib import pyplot as plt
from matplotlib.figure import Figure

from orchestrator.aggregate.crops import BESIDE, COMMON, CROP, Crops, enlarge

INK = "#707887"
"""Readable on white and on a dark page, so that one transparent picture serves both."""
ZOOM = 3
"""Nearest-neighbour enlargement of every crop."""
GAP, HEAD, ROW_HEAD = 6, 26, 36
"""Pixels between crops, above the figure for the image's name, and above each row for its name and its columns'."""
DPI = 100


def draw(image: str, crops: Crops) -> Figure:
    """One image: a row for each discriminator below the row that needs none. A pixel of a crop is `ZOOM` x `ZOOM`
    pixels of the PNG; nothing is interpolated."""
    rows = {row: [c for r, c in crops if r == row] for row in dict.fromkeys(row for row, _ in crops)}
    rows[BESIDE] = [name for name in COMMON if name in rows[BESIDE]]
    cell, step = CROP * ZOOM, CROP * ZOOM + ROW_HEAD + GAP
    width, height = max(map(len, rows.values())) * (cell + GAP), HEAD + len(rows) * step
    canvas = np.zeros((height, width, 4), dtype=np.uint8)
    figure = plt.figure(figsize=(width / DPI, height / DPI), dpi=DPI)

    def write_text(x: float, y: float, words: str, **style: Any) -> None:
        figure.text(x / width, 1 - y / height, words, color=INK, va="center", **style)

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

"""Crops of the page: each embedded once, shown at 1:1 in strips, and flipped between by the page's script."""

import base64
import io
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

import pandas as pd
from PIL import Image

from orchestrator.aggregate import crops
from orchestrator.aggregate.crops import BESIDE

MOST_IMAGES = 2
"""A page of the demo, whose images have 40 crops of 30 kB, stays below 5 MB; one of the full grid, 75 of 70 kB, below
15 MB."""


@dataclass(frozen=True)
class Crop:
    """One crop: what it was restored with (or LR, bicubic, warm-up, HR) and its pixels as a data URI."""

    column: str
    uri: str


@dataclass(frozen=True)
class Strip:
    """The crops of one image: rows are what needs no loss network, then the discriminators."""

    image: str
    side: tuple[int, int]
    """Width and height of each crop, pixels."""
    rows: dict[str, list[Crop]]


@dataclass(frozen=True)
class Flips:
    """The strips that the page shows, and what it leaves out."""

    strips: list[Strip]
    left_out: str


def flips(restorations: pd.DataFrame) -> Flips | None:
    """The crops of one group of losses, at most `MOST_IMAGES` and `crops.MOST_FLIPS`; None where no image is there."""
    strips = [_strip(image, places) for image, places in islice(crops.flips(restorations), MOST_IMAGES)]
    return Flips(strips, _left_out(restorations, len(strips))) if strips else None


def _strip(image: str, places: Mapping[tuple[str, str], bytes]) -> Strip:
    names = dict.fromkeys([BESIDE, *(row for row, _ in places)])
    rows = {name: [_crop(column, png) for (row, column), png in places.items() if row == name] for name in names}
    with Image.open(io.BytesIO(next(iter(places.values())))) as first:
        return Strip(image, first.size, rows)


def _crop(column: str, png: bytes) -> Crop:
    return Crop(column, f"data:image/png;base64,{base64.b64encode(png).decode()}")


def _left_out(restorations: pd.DataFrame, shown: int) -> str:
    bicubic = restorations[(restorations["loss"] == "bicubic") & (restorations["status"] == "done")]
    images = _count(bicubic["folder"].unique())
    seeds = restorations["seed"].nunique()
    words = f"{shown} of {images} test images" if images > shown else "every test image"
    more = "the first one" if seeds > 1 else "the only one"
    return f"Shown: {words}, one window of each, and of {seeds} seed{'s' if seeds != 1 else ''} {more}."


def _count(folders: Iterable[str]) -> int:
    """Reference images in the folders of restorations."""
    return sum(len(list(Path(folder, "reference").glob("*.png"))) for folder in folders)

"""Crops of restored images: the same window of one image under every loss and discriminator."""

import hashlib
import io
from collections import Counter
from collections.abc import Iterator, Mapping
from pathlib import Path

import numpy as np
import pandas as pd
from PIL import Image

from orchestrator.aggregate.faults import Unusable, opened

CROP, FLIP = 48, 160
"""Side of a crop in strips, and of one that stands alone, high-resolution pixels."""
COMMON = ("LR", "bicubic", "warm-up", "HR")
"""What no discriminator changes: the first row of a strip, named `BESIDE`."""
BESIDE = "without a loss network"
IMAGES_PER_SET = 3
MOST_CROPS, MOST_FLIPS = 400, 150
"""In the strips of one group of losses, and alone, unless one image has more: 10 kB and 50 kB of the report each."""

Crops = dict[tuple[str, str], np.ndarray | None]
"""Crops (side, side, 3) uint8 by (row, column); None where the restoration is not there."""


def strip_images(restorations: pd.DataFrame) -> Iterator[tuple[str, Crops]]:
    """(name, crops of `CROP` pixels a side) of the first images of each test set, as many as `MOST_CROPS` allow."""
    return _cut(restorations, CROP, MOST_CROPS)


def flips(restorations: pd.DataFrame) -> Iterator[tuple[str, dict[tuple[str, str], bytes]]]:
    """(name, PNGs by row and column) of the first images of each test set, as many as `MOST_FLIPS` allow: `FLIP` pixels
    a side, to be shown at 1:1 and flipped between. What is not there is left out."""
    for name, crops in _cut(restorations, FLIP, MOST_FLIPS):
        yield name, {place: _png(crop) for place, crop in crops.items() if crop is not None}


def damaged(restorations: pd.DataFrame, digests: Mapping[str, Mapping[str, str]]) -> dict[str, str]:
    """What is wrong with the restorations, by key, whose images would be shown and are not what was written. `digests`:
    SHA-256 by key and by the file's path in the folder, where it is known."""
    faults: dict[str, str] = {}
    for data_set, references in _references(restorations, MOST_CROPS).items():
        here = _first_seed(restorations[restorations["data_set"] == data_set])
        for row in here[here["status"] == "done"].itertuples():
            parts = ("images", "reference", "low_resolution") if row.loss == "bicubic" else ("images",)
            names = [f"{part}/{path.name}" for part in parts for path in references]
            known, folder = digests.get(row.key, {}), Path(row.folder)
            told = (_fault(folder / name, known.get(name, "")) for name in names)
            if fault := next(filter(None, told), ""):
                faults[row.key] = f"{folder}: {fault}; its images alone are lost, the trial counts"
    return faults


def _fault(path: Path, digest: str) -> str:
    """What is wrong with an image; empty where nothing is."""
    name = f"{path.parent.name}/{path.name}"
    try:
        with opened(name):
            if not digest:
                _read(path)
            elif hashlib.sha256(path.read_bytes()).hexdigest() != digest:
                return f"{name} is not what was written: another digest"
    except Unusable as fault:
        return str(fault)
    return ""


def _first_seed(here: pd.DataFrame) -> pd.DataFrame:
    """The restorations that are shown: of the first seed, or of none."""
    return here[here["seed"].isna() | (here["seed"] == here["seed"].min())]


def _cut(restorations: pd.DataFrame, side: int, most: int) -> Iterator[tuple[str, Crops]]:
    """(name, crops) of the window of each image in which HR varies most. Rows are `BESIDE` and the discriminators,
    columns `COMMON` and the losses; the first seed is shown. An image is named with its set where another set has one
    of its name."""
    references = _references(restorations, most)
    together = Counter(path.stem for paths in references.values() for path in paths)
    for data_set, paths in references.items():
        here = restorations[restorations["data_set"] == data_set]
        for path in paths:
            name = path.stem if together[path.stem] == 1 else f"{data_set}-{path.stem}"
            yield name, _crops(here, path.parents[1], path.stem, side)


def _references(restorations: pd.DataFrame, most: int) -> dict[str, list[Path]]:
    """The reference images to show of each test set whose bicubic images are there."""
    bicubic = restorations[(restorations["loss"] == "bicubic") & (restorations["status"] == "done")]
    folders = bicubic.drop_duplicates("data_set").set_index("data_set")["folder"]
    shown = restorations.drop_duplicates(["loss", "discriminator"])
    images = max(1, most // max(1, len(shown)))
    per_set = min(IMAGES_PER_SET, max(1, images // max(1, len(folders))))
    chosen = folders.iloc[:images].items()
    return {str(name): sorted(Path(folder, "reference").glob("*.png"))[:per_set] for name, folder in chosen}


def _crops(here: pd.DataFrame, source: Path, image: str, most: int) -> Crops:
    high, low = _read(source / "reference" / f"{image}.png"), _read(source / "low_resolution" / f"{image}.png")
    scale = high.shape[0] // low.shape[0]
    side = min(most, *high.shape[:2])
    top, left = busiest_window(high, side, scale)
    window = slice(top, top + side), slice(left, left + side)
    crops: Crops = {(BESIDE, "LR"): enlarge(low, scale)[window]}
    for row in _first_seed(here).itertuples():
        restored = _read(Path(row.folder) / "images" / f"{image}.png")[window] if row.status == "done" else None
        crops[BESIDE if row.loss in COMMON else row.discriminator, row.loss] = restored
    crops[BESIDE, "HR"] = high[window]
    return crops


def busiest_window(image: np.ndarray, side: int, step: int) -> tuple[int, int]:
    """(top, left), multiples of `step`, of the square of `side` pixels in which uint8 (H, W, 3) varies most in grey.
    By summed-area tables: an image of 2K has too many windows to look at each."""
    grey = image.sum(axis=2, dtype=np.int64)
    sums, squares = (_window_sums(values, side)[::step, ::step] for values in (grey, grey**2))
    spread = side**2 * squares - sums**2  # the variance, up to a factor: whole numbers, so that ties are ties
    top, left = np.unravel_index(spread.argmax(), spread.shape)
    return int(top) * step, int(left) * step


def _window_sums(values: np.ndarray, side: int) -> np.ndarray:
    """Sums (H - side + 1, W - side + 1) over every square of `side` pixels of (H, W)."""
    table = np.pad(values, ((1, 0), (1, 0))).cumsum(axis=0).cumsum(axis=1)
    sums: np.ndarray = table[side:, side:] - table[:-side, side:] - table[side:, :-side] + table[:-side, :-side]
    return sums


def enlarge(image: np.ndarray, factor: int) -> np.ndarray:
    """Nearest-neighbour enlargement of (H, W, 3) by a whole factor: every pixel becomes a square."""
    return image.repeat(factor, axis=0).repeat(factor, axis=1)


def _read(path: Path) -> np.ndarray:
    with Image.open(path) as image:
        return np.asarray(image.convert("RGB"))


def _png(image: np.ndarray) -> bytes:
    file = io.BytesIO()
    Image.fromarray(np.ascontiguousarray(image)).save(file, "PNG", optimize=True)
    return file.getvalue()

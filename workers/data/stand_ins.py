"""Small generated copies of every official layout, for tests and rehearsals: exact names, folders, label files and
directions, but photographs that come with installed packages, and labels made up from the severity of a distortion.

`STAND_IN.json` in the folder tells the counts, and that nothing here is human opinion.
"""

import json
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from orchestrator import spec
from workers.data import distortions, layouts
from workers.data.stand_in_layouts import WRITERS, Made, Pixels, Set, save

# Distortions that the official sets have too; each goes through its levels before the next begins.
DISTORTIONS: tuple[spec.Distortion, ...] = ("gaussian_blur", "white_noise", "jpeg", "jpeg2000", "contrast_decrease")


def write_iqa(
    layout: str, folder: Path, contents: int = 4, per_content: int = 6, side: int = 96, seed: int = 0
) -> None:
    """Writes a copy of a layout into `folder`: `contents` photographs of `side` x `side` pixels under `per_content`
    distortions (at most 25) each. Equal arguments give equal images and labels.

    Raises ValueError for an unknown layout, and for counts that distortions or photographs do not allow.
    """
    layouts.check(layout)
    most = len(DISTORTIONS) * distortions.LEVELS
    if contents < 1 or not 1 <= per_content <= most:
        raise ValueError(f"stand-in: found {contents} contents x {per_content}; allowed: 1 or more x 1 to {most}")
    folder.mkdir(parents=True, exist_ok=True)
    references = _crops(contents, side, seed)
    made = [image for k, crop in enumerate(references) for image in _distorted(layout, k, crop, per_content, seed)]
    parts = WRITERS[layout](Set(folder, references, made)) or {}
    has_references = layouts.LAYOUTS[layout].has_references
    _mark(folder, references=contents if has_references else 0, images=len(made), **parts)


def write_images(
    folders: Sequence[Path], count: int, side: int, low_scale: int | None = None, seed: int = 0
) -> tuple[Path, ...]:
    """Writes `count` PNGs of `side` x `side` pixels into each folder, named 0001.png on through all folders; with
    `low_scale` also their low-resolution side as DIV2K names it, X4/0001x4.png. Returns the low-resolution folders."""
    from workers.data.sr_pairs import downscale

    lows = tuple(folder.parent / f"{folder.name}_LR_bicubic" / f"X{low_scale}" for folder in folders)
    for number, pixels in enumerate(_crops(count * len(folders), side, seed)):
        index = number // count
        save(folders[index] / f"{number + 1:04}.png", pixels)
        if low_scale:
            save(lows[index] / f"{number + 1:04}x{low_scale}.png", downscale(pixels, low_scale))
    for folder in folders:
        _mark(folder, references=0, images=count)
    return lows if low_scale else ()


# ------------------------------------------------------------------------------------ their pieces


def _crops(count: int, side: int, seed: int) -> list[Pixels]:
    """uint8 (side, side, 3) crops at random places of photographs of different content, as far as there are any."""
    from workers.data import photographs  # loads torch

    by_content = {embedded.content: name for name, embedded in spec.PHOTOGRAPHS.items() if embedded.side >= side}
    if not by_content:
        most = max(embedded.side for embedded in spec.PHOTOGRAPHS.values())
        raise ValueError(f"stand-in: found side {side}; allowed: up to {most} pixels, the largest photograph's")
    names = sorted(by_content.values())
    rng = np.random.default_rng(seed)
    chosen = [photographs.load(spec.photograph(names[k % len(names)])) for k in range(count)]
    return [photographs.random_crop(image, side, rng) for image in chosen]


def _distorted(layout: str, content: int, crop: Pixels, count: int, seed: int) -> Iterable[Made]:
    """Levels 1 to 5 of one distortion after the other; contents begin with different ones."""
    official = layouts.LAYOUTS[layout]
    for k in range(count):
        kind = (content + k // distortions.LEVELS) % len(DISTORTIONS)
        level = k % distortions.LEVELS + 1
        quality = 1 - level / (distortions.LEVELS + 1)
        position = 1 - quality if official.lower_better else quality
        label = round(official.low + (official.high - official.low) * position, 4)
        pixels = distortions.apply(DISTORTIONS[kind], crop, level, (seed, content, kind))
        yield Made(content, DISTORTIONS[kind], kind + 1, level, pixels, label)


def _mark(folder: Path, **counts: Any) -> None:
    note = "generated photographs and labels made up from severity: no human opinion"
    (folder / layouts.STAND_IN).write_text(json.dumps({"note": note, **counts}, indent=1) + "\n")

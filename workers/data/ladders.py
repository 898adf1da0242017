"""The images of a severity ladder, a function of its spec alone: crops of photographs, distorted level by level."""

import zlib
from collections.abc import Iterator
from typing import NamedTuple

import numpy as np

from orchestrator import spec
from workers.data import distortions, photographs

# Random positions tried for each crop, of which the one with most texture is kept: blur is invisible on a clear sky.
CANDIDATES = 8


class Rung(NamedTuple):
    """One distorted image; arrays are uint8 (H, W, 3), read-only."""

    photograph: str
    crop: int
    """Which crop of the photograph."""
    distortion: str
    level: int
    """Severity, 1 (weakest) to the ladder's `levels`."""
    image: np.ndarray
    reference: np.ndarray


def rungs(ladder: spec.SeverityLadder) -> list[Rung]:
    """Every crop under every distortion at every level.

    Images that a distortion leaves as they were (a greyscale photograph desaturated) are left out: their severity would
    be a false label. Raises ValueError for more levels than distortions have, for a crop larger than a photograph, and
    when no image is left.
    """
    if not 1 <= ladder.levels <= distortions.LEVELS:
        raise ValueError(f"{ladder.name}: found {ladder.levels} levels; allowed: 1 to {distortions.LEVELS}")
    found = [
        rung
        for photograph in ladder.photographs
        for crop in range(ladder.crops)
        for rung in _crop(ladder, photograph, crop)
        if not np.array_equal(rung.image, rung.reference)
    ]
    if not found:
        raise ValueError(f"{ladder.name}: its distortions change none of its photographs; allowed: one that does")
    return found


def _crop(ladder: spec.SeverityLadder, photograph: spec.Photograph, crop: int) -> Iterator[Rung]:
    # Drawn per photograph, so that a set keeps its images when photographs are added.
    seed = (ladder.seed, int(photograph.sha256[:8], 16), crop)
    reference = _textured_crop(photographs.load(photograph), ladder.crop, np.random.default_rng(seed))
    reference.flags.writeable = False
    for name in ladder.distortions:
        for level in range(1, ladder.levels + 1):
            # The levels of a distortion share one draw.
            image = distortions.apply(name, reference, level, (*seed, zlib.crc32(name.encode())))
            image.flags.writeable = False
            yield Rung(photograph.name, crop, name, level, image, reference)


def _textured_crop(image: np.ndarray, side: int, rng: np.random.Generator) -> np.ndarray:
    """The random crop, of CANDIDATES, whose neighbouring pixels differ most."""
    crops = [photographs.random_crop(image, side, rng) for _ in range(CANDIDATES)]
    return max(crops, key=_texture)


def _texture(image: np.ndarray) -> float:
    """Mean absolute difference of neighbouring pixels' grey values, horizontally plus vertically."""
    grey = image.mean(-1)
    return float(np.abs(np.diff(grey, axis=0)).mean() + np.abs(np.diff(grey, axis=1)).mean())

"""Image quality sets: distorted images, the reference of each, and how good it is.

A severity ladder is generated from photographs: every crop under every distortion at every level. Its quality is the
level turned around, **not human opinion**.
"""

import zlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, NamedTuple

import numpy as np
import torch

from orchestrator import spec
from workers.data import distortions, photographs

# Random positions tried for each crop, of which the one with most texture is kept: blur is invisible on a clear sky.
CANDIDATES = 8


@dataclass(frozen=True, eq=False)
class IqaSet:
    """N distorted images of R references; arrays are read-only."""

    reference: np.ndarray
    """uint8 (R, H, W, 3)."""
    distorted: np.ndarray
    """uint8 (N, H, W, 3)."""
    reference_index: np.ndarray
    """int64 (N,): the reference of each distorted image."""
    severity: np.ndarray
    """int64 (N,): level 1 (weakest) to `levels`."""
    quality: np.ndarray
    """float32 (N,): 1 - severity / levels, in [0, 1); higher is better."""
    images: tuple[str, ...]
    """Names of the distorted images, e.g. chelsea_0/gaussian_blur/3: photograph, crop, distortion, level."""
    contents: tuple[str, ...]
    """What each distorted image shows: splits and resampling go by content."""
    distortions: tuple[str, ...]
    """Distortion of each distorted image."""

    def __len__(self) -> int:
        return len(self.distorted)

    def tensors(self, indices: Sequence[int] | np.ndarray) -> tuple[torch.Tensor, torch.Tensor]:
        """(reference, distorted) of these images: float32 (n, 3, H, W) in [0, 1]."""
        index = np.asarray(indices, dtype=np.int64)
        reference = self.reference[self.reference_index[index]]
        return photographs.to_tensor(reference), photographs.to_tensor(self.distorted[index])


class IqaBatch(NamedTuple):
    """Images of one training step."""

    indices: np.ndarray
    """int64 (n,): which images of the set."""
    reference: torch.Tensor
    """float32 (n, 3, H, W) in [0, 1]."""
    distorted: torch.Tensor
    """float32 (n, 3, H, W) in [0, 1]."""
    quality: torch.Tensor
    """float32 (n,), higher is better."""


class IqaBatches:
    """Training batches. `batch(step)` is a function of (seed, step) alone: images are drawn uniformly with replacement,
    and each is flipped horizontally, together with its reference, in half of the cases."""

    def __init__(self, data: IqaSet, batch: int, seed: int) -> None:
        self.data, self.size, self.seed = data, batch, seed

    def batch(self, step: int) -> IqaBatch:
        """The batch of training step `step`."""
        rng = np.random.default_rng([self.seed, step])
        indices = rng.integers(len(self.data), size=self.size)
        flipped = torch.from_numpy(rng.random(self.size) < 0.5)[:, None, None, None]
        reference, distorted = (torch.where(flipped, x.flip(-1), x) for x in self.data.tensors(indices))
        return IqaBatch(indices, reference, distorted, torch.from_numpy(self.data.quality[indices]))


@lru_cache(maxsize=8)
def ladder(ladder_spec: spec.SeverityLadder) -> IqaSet:
    """The set that `ladder_spec` describes, a function of it alone; the last few are kept in memory.

    Images that a distortion leaves as they were (a greyscale photograph desaturated) are left out: their severity would
    be a false label. Raises ValueError for more levels than distortions have, for a crop larger than a photograph, and
    when no image is left.
    """
    levels = ladder_spec.levels
    if not 1 <= levels <= distortions.LEVELS:
        raise ValueError(f"{ladder_spec.name}: found {levels} levels; allowed: 1 to {distortions.LEVELS}")
    origins = [(photograph, k) for photograph in ladder_spec.photographs for k in range(ladder_spec.crops)]
    # Drawn per photograph, so that a set keeps its images when photographs are added.
    seeds = [(ladder_spec.seed, int(photograph.sha256[:8], 16), k) for photograph, k in origins]
    reference = [
        _textured_crop(photographs.load(photograph), ladder_spec.crop, np.random.default_rng(seed))
        for (photograph, _), seed in zip(origins, seeds, strict=True)
    ]
    rows = [
        (i, name, level, image)
        for i, crop in enumerate(reference)
        for name, level, image in _distort(crop, ladder_spec, seeds[i])
        if not np.array_equal(image, crop)
    ]
    if not rows:
        raise ValueError(f"{ladder_spec.name}: its distortions change none of its photographs; allowed: one that does")
    index, names, severity, images = zip(*rows, strict=True)
    sources = [origins[i] for i in index]
    return IqaSet(
        reference=_read_only(reference),
        distorted=_read_only(images),
        reference_index=_read_only(index, np.int64),
        severity=_read_only(severity, np.int64),
        quality=_read_only([1 - level / levels for level in severity], np.float32),
        images=tuple(
            f"{photograph.name}_{k}/{name}/{level}"
            for (photograph, k), name, level in zip(sources, names, severity, strict=True)
        ),
        contents=tuple(photographs.content(photograph.name) for photograph, _ in sources),
        distortions=names,
    )


def _distort(
    crop: np.ndarray, ladder_spec: spec.SeverityLadder, seed: tuple[int, ...]
) -> Iterator[tuple[str, int, np.ndarray]]:
    """(distortion, level, image) for the rungs of one crop; the levels of a distortion share one draw."""
    for name in ladder_spec.distortions:
        for level in range(1, ladder_spec.levels + 1):
            yield name, level, distortions.apply(name, crop, level, (*seed, zlib.crc32(name.encode())))


def _textured_crop(image: np.ndarray, side: int, rng: np.random.Generator) -> np.ndarray:
    """The random crop, of CANDIDATES, whose neighbouring pixels differ most."""
    crops = [photographs.random_crop(image, side, rng) for _ in range(CANDIDATES)]
    return max(crops, key=_texture)


def _texture(image: np.ndarray) -> float:
    """Mean absolute difference of neighbouring pixels' grey values, horizontally plus vertically."""
    grey = image.mean(-1)
    return float(np.abs(np.diff(grey, axis=0)).mean() + np.abs(np.diff(grey, axis=1)).mean())


def _read_only(values: Sequence[Any], dtype: type | None = None) -> np.ndarray:
    array = np.array(values, dtype=dtype)
    array.flags.writeable = False
    return array

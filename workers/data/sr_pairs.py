"""Pairs of a low-resolution image and its original, in the classical setting of super-resolution.

The low-resolution side is MATLAB's `imresize`, as in DIV2K and the usual benchmarks: Keys' cubic (1981) with a = -0.5,
widened by the scale against aliasing, borders mirrored. PyTorch's antialiased bicubic is that kernel, but drops what
of it lies outside the image; images are mirrored before, so that borders are MATLAB's too.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache

import numpy as np
import torch
from torch.nn import functional

from orchestrator import spec
from workers.data import photographs


@dataclass(frozen=True)
class Pair:
    """One evaluation image: `low` uint8 (h, w, 3) and `high` uint8 (h * scale, w * scale, 3)."""

    image_name: str
    content: str
    low: np.ndarray
    high: np.ndarray


def downscale(image: np.ndarray, scale: int) -> np.ndarray:
    """uint8 (H, W, 3) -> uint8 (H / scale, W / scale, 3), MATLAB's antialiased bicubic.

    Raises ValueError unless `scale` divides both sides.
    """
    height, width = image.shape[:2]
    if height % scale or width % scale:
        raise ValueError(f"downscale: found an image of {height} x {width}; allowed: multiples of the scale {scale}")
    return _resize(image, 1, scale)


def upscale_bicubic(image: np.ndarray, scale: int) -> np.ndarray:
    """uint8 (H, W, 3) -> uint8 (H * scale, W * scale, 3), MATLAB's bicubic: the baseline that uses no network."""
    return _resize(image, scale, 1)


def psnr(a: np.ndarray | torch.Tensor, b: np.ndarray | torch.Tensor) -> float:
    """Peak signal-to-noise ratio in dB over all RGB values: uint8 with peak 255, or float with peak 1.

    Equal images give infinity. Raises ValueError when shapes or types differ.
    """
    x, y = np.asarray(a), np.asarray(b)
    if x.shape != y.shape or x.dtype != y.dtype:
        raise ValueError(f"psnr: found {x.dtype} {x.shape} and {y.dtype} {y.shape}; allowed: equal shapes and types")
    peak = 255.0 if x.dtype == np.uint8 else 1.0
    error = float(np.mean((x.astype(np.float64) - y.astype(np.float64)) ** 2))
    return 10 * math.log10(peak**2 / error) if error else math.inf


class SrBatches:
    """Training batches. `batch(step)` is a function of (seed, step) alone, so a resumed run sees no difference.

    `patch` is the side of a low-resolution patch in pixels. The photographs are reduced once, whole, and trimmed on the
    right and below to a multiple of `scale`. Raises ValueError for a photograph smaller than a patch.
    """

    def __init__(self, photographs: Sequence[spec.Photograph], scale: int, patch: int, batch: int, seed: int) -> None:
        self.scale, self.patch, self.size, self.seed = scale, patch, batch, seed
        self.pairs = [_whole(photograph, scale) for photograph in photographs]
        for photograph, (low, _) in zip(photographs, self.pairs, strict=True):
            if min(low.shape[:2]) < patch:
                raise ValueError(
                    f"patch: found {patch}; allowed: at most {min(low.shape[:2])}, the shorter side of "
                    f"{photograph.name!r} reduced {scale} times"
                )

    def batch(self, step: int) -> tuple[torch.Tensor, torch.Tensor]:
        """(low, high): float32 (batch, 3, patch, patch) and (batch, 3, patch * scale, patch * scale) in [0, 1]."""
        rng = np.random.default_rng([self.seed, step])
        low, high = zip(*(self._sample(rng) for _ in range(self.size)), strict=True)
        return photographs.to_tensor(np.stack(low)), photographs.to_tensor(np.stack(high))

    def _sample(self, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
        """A photograph, a position in it and one of the eight flips and rotations, each drawn uniformly."""
        low, high = self.pairs[rng.integers(len(self.pairs))]
        top, left = (rng.integers(size - self.patch + 1) for size in low.shape[:2])
        turns, mirrored = int(rng.integers(4)), rng.integers(2)
        patches = (_patch(low, top, left, self.patch), _patch(high, *(self.scale * v for v in (top, left, self.patch))))
        low_patch, high_patch = (np.rot90(patch[:, :: -1 if mirrored else 1], turns) for patch in patches)
        return low_patch, high_patch


def evaluation_pairs(test_set: spec.SrPhotographs, scale: int) -> list[Pair]:
    """The central crops of a set and their low-resolution side. Raises ValueError unless `scale` divides the crop."""
    if test_set.crop % scale:
        raise ValueError(
            f"{test_set.name}: found crop {test_set.crop}; allowed: multiples of the scale {scale}, "
            f"e.g. {max(1, test_set.crop // scale) * scale}"
        )
    pairs = []
    for photograph in test_set.photographs:
        high = photographs.central_crop(photographs.load(photograph), test_set.crop)
        pairs.append(Pair(photograph.name, photographs.content(photograph.name), downscale(high, scale), high))
    return pairs


@cache
def _whole(photograph: spec.Photograph, scale: int) -> tuple[np.ndarray, np.ndarray]:
    high = photographs.load(photograph)
    high = high[: high.shape[0] // scale * scale, : high.shape[1] // scale * scale]
    return downscale(high, scale), high


def _patch(image: np.ndarray, top: int, left: int, side: int) -> np.ndarray:
    return image[top : top + side, left : left + side]


def _resize(image: np.ndarray, up: int, down: int) -> np.ndarray:
    """Bicubic resize by up / down. The kernel reaches 2 * down input pixels, so that mirroring 3 * down covers it."""
    margin = 3 * down
    padded = np.pad(image, ((margin, margin), (margin, margin), (0, 0)), mode="symmetric")
    size = [side * up // down for side in padded.shape[:2]]
    # antialias=True also when enlarging: it changes nothing there but a, which is -0.75 otherwise.
    resized = functional.interpolate(photographs.to_tensor(padded)[None], size, mode="bicubic", antialias=True)[0]
    cut = margin * up // down
    return photographs.to_uint8(resized[:, cut:-cut, cut:-cut])

"""Pairs of a low-resolution image and its original, in the classical setting of super-resolution.

The low-resolution side is MATLAB's `imresize`, as in DIV2K and the usual benchmarks: Keys' cubic (1981) with a = -0.5,
widened by the scale against aliasing, borders mirrored. PyTorch's antialiased bicubic is that kernel, but drops what
of it lies outside the image; images are mirrored before, so that borders are MATLAB's too.
"""

import hashlib
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache, lru_cache, partial
from pathlib import Path

import numpy as np
import torch
from torch.nn import functional

from orchestrator import spec
from workers.data import photographs
from workers.data.pixels import Pixels, open_made, open_pixels
from workers.data.scan import SUFFIXES, image_names, partners
from workers.sources import DataFolders, Sources


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

    `patch` is the side of a low-resolution patch in pixels; patches are cut from the pairs of `evaluation_pairs`, so
    that each image is reduced once, whole. Raises ValueError for an image smaller than a patch.
    """

    def __init__(self, data: spec.SrData, sources: Sources, scale: int, patch: int, batch: int, seed: int) -> None:
        self.scale, self.patch, self.size, self.seed = scale, patch, batch, seed
        self.pairs = evaluation_pairs(data, sources, scale)
        for pair in self.pairs:
            if min(pair.low.shape[:2]) < patch:
                raise ValueError(
                    f"patch: found {patch}; allowed: at most {min(pair.low.shape[:2])}, the shorter side of "
                    f"{pair.image_name!r} reduced {scale} times"
                )

    def batch(self, step: int) -> tuple[torch.Tensor, torch.Tensor]:
        """(low, high): float32 (batch, 3, patch, patch) and (batch, 3, patch * scale, patch * scale) in [0, 1]."""
        rng = np.random.default_rng([self.seed, step])
        low, high = zip(*(self._sample(rng) for _ in range(self.size)), strict=True)
        return photographs.to_tensor(np.stack(low)), photographs.to_tensor(np.stack(high))

    def _sample(self, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
        """An image, a position in it and one of the eight flips and rotations, each drawn uniformly."""
        pair = self.pairs[rng.integers(len(self.pairs))]
        top, left = (rng.integers(size - self.patch + 1) for size in pair.low.shape[:2])
        turns, mirrored = int(rng.integers(4)), rng.integers(2)
        low = _patch(pair.low, top, left, self.patch)
        high = _patch(pair.high, *(self.scale * v for v in (top, left, self.patch)))
        low, high = (np.rot90(patch[:, :: -1 if mirrored else 1], turns) for patch in (low, high))
        return low, high


def evaluation_pairs(data: spec.SrData, sources: Sources, scale: int) -> list[Pair]:
    """The images of a set, or their central crops, trimmed on the right and below to a multiple of `scale`, and the
    low-resolution side of each. Of image folders they are views of a file: no pixel is read before it is used.

    Raises ValueError for a crop that `scale` does not divide or that an image does not have, MissingSource where the
    folders are not known, and ValueError for a part without images, two images of one name, files that are refused by
    `pixels.decode`, and an official low-resolution image that is missing or of the wrong size.
    """
    if data.crop % scale:
        raise ValueError(
            f"{data.name}: found crop {data.crop}; allowed: multiples of the scale {scale}, "
            f"e.g. {max(1, data.crop // scale) * scale}"
        )
    if isinstance(data, spec.SrPhotographs):
        return [_photograph(photograph, data.crop, scale) for photograph in data.photographs]
    return list(_images(data, sources.data_set(data.name, data.content), sources.cache, scale))


@cache
def _photograph(photograph: spec.Photograph, crop: int, scale: int) -> Pair:
    """The crop is taken first and then reduced: nothing around it enters."""
    image = photographs.load(photograph)
    high = photographs.central_crop(image, crop) if crop else _trim(image, scale)
    return Pair(photograph.name, photographs.content(photograph.name), downscale(high, scale), high)


@lru_cache(maxsize=8)
def _images(data: spec.SrImages, folders: DataFolders, cache_folder: Path, scale: int) -> tuple[Pair, ...]:
    """The low-resolution side is that of the whole images; crops are taken from both."""
    files = _files(data.name, folders.folders)
    high = open_pixels(data.content, list(files.items()), cache_folder)
    if folders.low:
        low = _official_low(data, _low_files(data.name, folders, scale), high, cache_folder, scale)
    else:
        makes = [(name, partial(_reduced, high, name, scale)) for name in files]
        low = open_made(f"{data.content}-bicubic-x{scale}", makes, cache_folder)
    return tuple(
        _crop(data, Pair(name, name, low[name], _trim(high[name], scale)), scale) for name in _part(data, files)
    )


def _files(name: str, folders: Sequence[Path]) -> dict[str, Path]:
    """Image files by name (without suffix), folder after folder."""
    found: dict[str, Path] = {}
    for file in (folder / file_name for folder in folders for file_name in image_names(folder)):
        if file.stem in found:
            raise ValueError(
                f"{name}: found two images named {file.stem!r}: {found[file.stem]} and {file}; allowed: one"
            )
        found[file.stem] = file
    if not found:
        raise ValueError(f"{name}: found no image in {', '.join(map(str, folders))}; allowed: {', '.join(SUFFIXES)}")
    return found


def _low_files(name: str, folders: DataFolders, scale: int) -> dict[str, Path]:
    """The official low-resolution file of each image, by the rule of the scan."""
    found = {}
    for folder, low in zip(folders.folders, folders.low, strict=True):
        for file, partner in partners(image_names(folder), low, scale).items():
            stem = Path(file).stem
            if partner is None:
                allowed = f"{stem}x{scale}.png or {file} in {low}"
                raise ValueError(f"{name}: found no low-resolution side of {folder / file}; allowed: {allowed}")
            found[stem] = low / partner
    return found


def _official_low(
    data: spec.SrImages, files: Mapping[str, Path], high: Pixels, cache_folder: Path, scale: int
) -> Pixels:
    low = open_pixels(f"{data.content}-low-x{scale}", list(files.items()), cache_folder, min_side=1)
    for name, file in files.items():
        wanted = tuple(side // scale for side in high[name].shape[:2])
        if low[name].shape[:2] != wanted:
            found, allowed = (" x ".join(map(str, size)) for size in (low[name].shape[:2], wanted))
            raise ValueError(f"{data.name}: found {found} pixels in {file}; allowed: {allowed} at scale {scale}")
    return low


def _reduced(high: Pixels, name: str, scale: int) -> np.ndarray:
    return downscale(_trim(high[name], scale), scale)


def _part(data: spec.SrImages, names: Iterable[str]) -> list[str]:
    """Names of the part, in order; which are held out depends on nothing but all names."""
    everything = list(names)
    held_out = set(sorted(everything, key=lambda name: hashlib.sha256(name.encode()).digest())[: data.hold_out])
    parts = {
        "all": everything,
        "train": [name for name in everything if name not in held_out],
        "validation": [name for name in everything if name in held_out],
    }
    if not parts.get(data.part):
        raise ValueError(
            f"{data.name}: found no image in part {data.part!r} (hold_out {data.hold_out}); allowed: a hold_out of 1 "
            f"to {len(everything) - 1}, of its {len(everything)} images"
        )
    return parts[data.part]


def _crop(data: spec.SrImages, pair: Pair, scale: int) -> Pair:
    if data.crop == 0:
        return pair
    shorter, side = min(pair.high.shape[:2]), data.crop // scale
    if data.crop > shorter:
        raise ValueError(f"{data.name}: found crop {data.crop}; allowed: at most {shorter} for {pair.image_name!r}")
    top, left = ((size - side) // 2 for size in pair.low.shape[:2])
    low, high = _patch(pair.low, top, left, side), _patch(pair.high, *(scale * v for v in (top, left, side)))
    return Pair(pair.image_name, pair.content, low, high)


def _trim(image: np.ndarray, scale: int) -> np.ndarray:
    """Without the rows below and the columns on the right that `scale` does not divide."""
    return image[: image.shape[0] // scale * scale, : image.shape[1] // scale * scale]


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

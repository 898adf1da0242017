"""Decoded pixels of a data set in one memory-mapped file: made once a node, shared by all trials on it.

    <cache>/pixels/<key>.uint8   the images one behind the other, uint8 (H, W, 3) each
    <cache>/pixels/<key>.json    name -> [offset, H, W], written last: pixels without it are half written
    <cache>/pixels/<key>.lock    held by whoever opens or makes the store

A random crop then costs the pages that it touches, and the page cache of the machine is the only copy in memory. What
cannot be used is made anew: no index, an index that lacks an image, or pixels of another length than it says.
"""

import errno
import fcntl
import json
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path

import numpy as np
from PIL import Image

from workers.data.images import FORMATS, LOSSLESS, MINIMUM_SIDE

# Part of every store's name: raised by hand when images are decoded or resized in another way.
VERSION = 1
THREADS = 16

Make = Callable[[], np.ndarray]


class Pixels(Mapping[str, np.ndarray]):
    """Name -> uint8 (H, W, 3), a read-only view of the file: indexing and `shape` read no pixel."""

    def __init__(self, file: Path, index: Mapping[str, tuple[int, int, int]]) -> None:
        self._data = np.asarray(np.memmap(file, np.uint8, mode="r"))
        self._index = index

    def __getitem__(self, name: str) -> np.ndarray:
        offset, height, width = self._index[name]
        return self._data[offset : offset + 3 * height * width].reshape(height, width, 3)

    def __iter__(self) -> Iterator[str]:
        return iter(self._index)

    def __len__(self) -> int:
        return len(self._index)


def open_pixels(
    content: str,
    images: Sequence[tuple[str, Path]],
    cache: Path,
    short_side: int | None = None,
    min_side: int = MINIMUM_SIDE,
) -> Pixels:
    """All images of the data set with that content (SHA-256), by (name, file); see `decode` for what is done to each
    and which are refused. The first caller on a node decodes them, others wait. OSError when the disk is full."""
    key = content if short_side is None else f"{content}-{short_side}"
    return open_made(key, [(name, partial(decode, path, short_side, min_side)) for name, path in images], cache)


def open_made(key: str, images: Sequence[tuple[str, Make]], cache: Path) -> Pixels:
    """The store of that key, whose images, by (name, function that returns uint8 (H, W, 3)), follow from the key alone.
    Raises ValueError where there are none."""
    if not images:
        raise ValueError(f"{key}: found no image; allowed: at least one")
    folder = cache / "pixels"
    folder.mkdir(parents=True, exist_ok=True)
    file = folder / f"{key}-v{VERSION}.uint8"
    with open(_beside(file, "lock"), "a") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        index = _usable(file, {name for name, _ in images})
        return Pixels(file, _write(file, images) if index is None else index)


def decode(path: Path, short_side: int | None = None, min_side: int = MINIMUM_SIDE) -> np.ndarray:
    """The image as uint8 (H, W, 3): greyscale is replicated, palettes are looked up, EXIF rotation is not applied. With
    `short_side` it is reduced (Pillow's antialiased bicubic) so that its shorter side is at most that many pixels.

    Raises ValueError for 16 bits a channel, alpha, CMYK and other modes, for damaged and truncated files, and for a
    side below `min_side` pixels.
    """
    try:
        with Image.open(path, formats=FORMATS) as image:
            _check(image, path, min_side)
            return np.asarray(_reduce(image.convert("RGB"), short_side))
    except (OSError, SyntaxError) as error:
        if isinstance(error, OSError) and error.errno is not None:  # the system's, not Pillow's: no such file, ...
            raise
        raise ValueError(f"{path}: found no image, or a damaged or truncated one ({error}); copy it again") from error


def _check(image: Image.Image, path: Path, min_side: int) -> None:
    # Pillow cuts 16-bit RGB to 8 bits without a word: only the raw mode of the file tells.
    deep = any(";16" in str(tile[3]) for tile in getattr(image, "tile", ()))
    alpha = "transparency" in image.info
    if image.mode not in LOSSLESS or deep or alpha:
        found = f"mode {image.mode}" + (" of 16 bits" if deep else "") + (" with transparency" if alpha else "")
        raise ValueError(f"{path}: found {found}; allowed: 8-bit RGB, greyscale or palette, without alpha")
    if min(image.size) < min_side:
        raise ValueError(
            f"{path}: found {image.height} x {image.width} pixels; allowed: at least {min_side} on each side"
        )


def _reduce(image: Image.Image, short_side: int | None) -> Image.Image:
    shorter = min(image.size)
    if short_side is None or shorter <= short_side:
        return image
    width, height = (side * short_side // shorter for side in image.size)
    return image.resize((width, height), Image.Resampling.BICUBIC)


def _usable(file: Path, names: set[str]) -> dict[str, tuple[int, int, int]] | None:
    """The index of a store that holds `names` and whose pixels are as long as it says."""
    try:
        index = {name: (offset, h, w) for name, (offset, h, w) in json.loads(_beside(file, "json").read_text()).items()}
        size = file.stat().st_size
    except (FileNotFoundError, ValueError):
        return None
    complete = size == sum(3 * height * width for _, height, width in index.values())
    return index if complete and names <= index.keys() else None


def _write(file: Path, images: Sequence[tuple[str, Make]]) -> dict[str, tuple[int, int, int]]:
    """Makes the store and returns its index. The old index goes first, the new one comes last."""
    _beside(file, "json").unlink(missing_ok=True)
    part, index, offset = _beside(file, "part"), {}, 0
    try:
        with open(part, "wb") as out:
            for name, image in _in_parallel(images):
                out.write(np.ascontiguousarray(image).data)
                index[name] = (offset, *image.shape[:2])
                offset += image.nbytes
            out.flush()
            os.fsync(out.fileno())
        part.replace(file)
        part.write_text(json.dumps(index))
        part.replace(_beside(file, "json"))
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            raise _full(error, file, len(index), len(images), offset) from error
        raise
    finally:
        part.unlink(missing_ok=True)
    return index


def _in_parallel(images: Sequence[tuple[str, Make]]) -> Iterator[tuple[str, np.ndarray]]:
    """(name, image) in order, made by threads (decoders release Python's lock), a few images ahead."""
    threads = min(THREADS, len(os.sched_getaffinity(0)))
    with ThreadPoolExecutor(threads) as pool:
        for start in range(0, len(images), 2 * threads):
            names, makes = zip(*images[start : start + 2 * threads], strict=True)
            yield from zip(names, pool.map(lambda make: make(), makes), strict=True)


def _full(error: OSError, file: Path, done: int, of: int, size: int) -> OSError:
    reason = (
        f"the disk is full after {done} of {of} images ({size / 1e9:.1f} GB); free space, or set another cache folder"
    )
    return OSError(error.errno, reason, str(file.parent))


def _beside(file: Path, suffix: str) -> Path:
    return file.with_suffix(f".{suffix}")

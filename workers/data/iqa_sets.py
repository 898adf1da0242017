"""Image quality sets: distorted images, the reference of each where there is one, and how good it is.

A severity ladder is generated from photographs: every crop under every distortion at every level. Its quality is the
level turned around, **not human opinion**. An official set is read from its folder through the store of decoded pixels;
its quality is its labels', turned so that higher is better.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch

from orchestrator import spec
from workers.data import ladders, layouts, photographs
from workers.data.pixels import Pixels, open_pixels
from workers.sources import DataFolders, Sources

Window = tuple[slice, slice]
"""Rows and columns of an image."""
WHOLE: Window = (slice(None), slice(None))


@dataclass(frozen=True, eq=False)
class IqaSet:
    """N distorted images; arrays are read-only, those of an official set views of a file."""

    name: str
    images: tuple[str, ...]
    """Names of the distorted images: in a ladder photograph, crop, distortion and level, e.g. chelsea_0/jpeg/3; in an
    official set the path of the file."""
    contents: tuple[str, ...]
    """What each distorted image shows: splits and resampling go by content."""
    distorted: tuple[np.ndarray, ...]
    """uint8 (H, W, 3) each; sizes may differ."""
    reference: tuple[np.ndarray, ...] | None
    """The original of each distorted image, in its size; None in a set without references."""
    quality: np.ndarray
    """float32 (N,) in [0, 1]; higher is better. In a ladder 1 - severity / levels."""

    def __len__(self) -> int:
        return len(self.distorted)

    def tensors(
        self,
        indices: Sequence[int] | np.ndarray,
        windows: Sequence[Window] | None = None,
        mirrored: Sequence[bool] | np.ndarray | None = None,
    ) -> tuple[torch.Tensor | None, torch.Tensor]:
        """(reference, distorted) of these images, or of a window of each, some `mirrored` horizontally: float32
        (n, 3, H, W) in [0, 1]. The reference is None in a set without. Raises ValueError where sizes differ."""
        windows = windows or [WHOLE] * len(indices)
        steps = [1] * len(indices) if mirrored is None else [-1 if mirror else 1 for mirror in mirrored]
        views = list(zip(indices, windows, steps, strict=True))
        distorted = self._stack(self.distorted, views)
        return None if self.reference is None else self._stack(self.reference, views), distorted

    def check_equal_sizes(self, indices: Sequence[int] | np.ndarray) -> None:
        """Raises ValueError unless the images have one size."""
        for i in indices:
            if self.distorted[i].shape != self.distorted[indices[0]].shape:
                found = " and ".join(f"{self.images[k]!r} of {_size(self.distorted[k])}" for k in (indices[0], i))
                raise ValueError(f"{self.name}: found {found} in one batch; allowed: one size, or crops")

    def _stack(self, images: tuple[np.ndarray, ...], views: Sequence[tuple[int, Window, int]]) -> torch.Tensor:
        """Mirrored while they are bytes."""
        arrays = [images[i][window][:, ::step] for i, window, step in views]
        if len({array.shape for array in arrays}) > 1:
            self.check_equal_sizes([i for i, _, _ in views])
        return photographs.to_tensor(np.stack(arrays))


class IqaBatch(NamedTuple):
    """Images of one training step."""

    indices: np.ndarray
    """int64 (n,): which images of the set."""
    reference: torch.Tensor | None
    """float32 (n, 3, H, W) in [0, 1]; None in a set without references."""
    distorted: torch.Tensor
    """float32 (n, 3, H, W) in [0, 1]."""
    quality: torch.Tensor
    """float32 (n,), higher is better."""


class IqaBatches:
    """Training batches. `batch(step)` is a function of (seed, step) alone: images are drawn uniformly with replacement,
    from each a random square window of `crop` pixels is taken (0: the whole image), and it is flipped horizontally in
    half of the cases, always together with its reference.

    Raises ValueError for a crop larger than an image, and where whole images differ in size.
    """

    def __init__(self, data: IqaSet, batch: int, seed: int, crop: int = 0) -> None:
        self.data, self.size, self.seed, self.crop = data, batch, seed, crop
        if crop == 0:
            data.check_equal_sizes(range(len(data)))
        for name, image in zip(data.images, data.distorted, strict=True):
            if min(image.shape[:2]) < crop:
                raise ValueError(f"{data.name}: found crop {crop}; {name!r} has {_size(image)}: choose a smaller crop")

    def batch(self, step: int) -> IqaBatch:
        """The batch of training step `step`."""
        rng = np.random.default_rng([self.seed, step])
        indices = rng.integers(len(self.data), size=self.size)
        mirrored = rng.random(self.size) < 0.5
        windows = [self._window(self.data.distorted[i], rng) for i in indices]
        reference, distorted = self.data.tensors(indices, windows, mirrored)
        return IqaBatch(indices, reference, distorted, torch.from_numpy(self.data.quality[indices]))

    def _window(self, image: np.ndarray, rng: np.random.Generator) -> Window:
        if self.crop == 0:
            return WHOLE
        top, left = (int(rng.integers(side - self.crop + 1)) for side in image.shape[:2])
        return slice(top, top + self.crop), slice(left, left + self.crop)


def open_set(data: spec.IqaData, sources: Sources) -> IqaSet:
    """The images of a ladder, or of one part of an official set; the last few are kept.

    Raises MissingSource where the folder of an official set is not known, and ValueError for labels or images that
    cannot be read, for a reference of another size than its distorted image, and for a part without images.
    """
    if isinstance(data, spec.SeverityLadder):
        return ladder(data)
    return _official(data, sources.data_set(data.name, data.content), sources.cache)


@lru_cache(maxsize=8)
def ladder(ladder_spec: spec.SeverityLadder) -> IqaSet:
    """The set that `ladder_spec` describes, a function of it alone; the last few are kept. Raises ValueError where
    `ladders.rungs` does."""
    rungs = ladders.rungs(ladder_spec)
    return IqaSet(
        name=ladder_spec.name,
        images=tuple(f"{rung.photograph}_{rung.crop}/{rung.distortion}/{rung.level}" for rung in rungs),
        contents=tuple(photographs.content(rung.photograph) for rung in rungs),
        distorted=tuple(rung.image for rung in rungs),
        reference=tuple(rung.reference for rung in rungs),
        quality=_read_only([1 - rung.level / ladder_spec.levels for rung in rungs]),
    )


@lru_cache(maxsize=8)
def _official(data: spec.IqaDataSet, folders: DataFolders, cache: Path) -> IqaSet:
    (folder,) = folders.folders
    rows = layouts.read(data.layout, folder)
    # The store holds the whole set: its parts share it.
    names = dict.fromkeys(name for row in rows for name in (row.image, row.reference) if name is not None)
    files = [(name, folder / name) for name in names]
    pixels = open_pixels(data.content, files, cache, layouts.LAYOUTS[data.layout].short_side)
    chosen = _part(data, rows)
    _check_references(data.name, chosen, pixels)
    return IqaSet(
        name=data.name,
        images=tuple(row.image for row in chosen),
        contents=tuple(row.content for row in chosen),
        distorted=tuple(pixels[row.image] for row in chosen),
        reference=tuple(pixels[row.reference] for row in chosen if row.reference is not None) or None,
        quality=_read_only([layouts.quality(data.layout, row.label) for row in chosen]),
    )


def _part(data: spec.IqaDataSet, rows: Sequence[layouts.Row]) -> list[layouts.Row]:
    if data.part == "all":
        return list(rows)
    if data.split is None:
        chosen, known = [row for row in rows if row.split == data.part], {row.split for row in rows if row.split}
        hint = f"the parts of its official split: {', '.join(sorted(known)) or 'it has none, give fractions'}"
    else:
        contents = sorted({row.content for row in rows})
        part = split_contents(contents, data.split)[data.part]
        chosen = [row for row in rows if row.content in part]
        hint = f"fractions that leave one of its {len(contents)} contents to each part"
    if not chosen:
        raise ValueError(f"{data.name}: found no image in part {data.part!r}; allowed: {hint}")
    return chosen


def split_contents(contents: Sequence[str], split: spec.ReferenceSplit) -> dict[spec.Part, set[str]]:
    """Contents shuffled by the seed: the first round(train n) train, the next round(validation n) validate, the rest
    tests."""
    order = [contents[i] for i in np.random.default_rng(split.seed).permutation(len(contents))]
    train = round(split.train * len(order))
    validation = train + round(split.validation * len(order))
    return {"train": set(order[:train]), "validation": set(order[train:validation]), "test": set(order[validation:])}


def _check_references(name: str, rows: Sequence[layouts.Row], pixels: Pixels) -> None:
    for row in rows:
        if row.reference is None:
            continue
        image, reference = pixels[row.image], pixels[row.reference]
        if image.shape != reference.shape:
            raise ValueError(
                f"{name}: found {row.image} of {_size(image)} and its reference {row.reference} of {_size(reference)}; "
                "allowed: equal sizes"
            )


def _size(image: np.ndarray) -> str:
    return f"{image.shape[0]} x {image.shape[1]} pixels"


def _read_only(values: Sequence[float]) -> np.ndarray:
    array = np.array(values, dtype=np.float32)
    array.flags.writeable = False
    return array

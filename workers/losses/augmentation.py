"""Differentiable augmentation (arXiv 2006.10738, section 3): what a discriminator sees of real and restored alike.

With little data a discriminator learns the training images by heart. Augmenting real and restored images from the same
distribution, also where the generator is trained, prevents it without teaching the generator to make augmented images.
The paper has images in [-1, 1], padded and cut out with 0; ours lie in [0, 1], so that both become mid-gray here and
its brightness range is halved. Draws are one an image, from a generator on the CPU: equal on every device.
"""

from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor

from orchestrator import spec

GRAY = 0.5
BRIGHTNESS = 0.25  # added: -0.25 to 0.25 (the paper's 0.5 in a range twice as wide)
TRANSLATION = 1 / 8  # of the image's side, in either direction
CUTOUT = 1 / 2  # of the image's side


def augment(images: Tensor, kinds: tuple[spec.Augmentation, ...], generator: torch.Generator) -> Tensor:
    """`images` (N3HW in [0, 1]) under each of `kinds` in their order; the same shape, not clipped. Gradient flows to
    `images`. Without kinds nothing is drawn. Raises ValueError for an unknown kind."""
    for kind in kinds:
        if kind not in AUGMENTATIONS:
            raise spec.unknown("augment", kind, AUGMENTATIONS)
        images = AUGMENTATIONS[kind](images, generator)
    return images


def color(images: Tensor, generator: torch.Generator) -> Tensor:
    """Brightness shifted by up to a quarter, then saturation (the distance from a pixel's mean over channels) times 0
    to 2, then contrast (the distance from the image's mean) times 0.5 to 1.5."""
    images = images + _uniform(images, -BRIGHTNESS, BRIGHTNESS, generator)
    gray = images.mean(1, keepdim=True)
    images = gray + (images - gray) * _uniform(images, 0.0, 2.0, generator)
    mean = images.mean((1, 2, 3), keepdim=True)
    return mean + (images - mean) * _uniform(images, 0.5, 1.5, generator)


def translation(images: Tensor, generator: torch.Generator) -> Tensor:
    """Moved down and right by whole pixels, up to an eighth of each side in either direction; gray comes in."""
    height, width = images.shape[2:]
    down, right = int(height * TRANSLATION), int(width * TRANSLATION)
    padded = F.pad(images, (right, right, down, down), value=GRAY)
    tops = _integers(len(images), 0, 2 * down, generator).tolist()
    lefts = _integers(len(images), 0, 2 * right, generator).tolist()
    # Slices, not one gather: the backward of an index is slow, and not deterministic, on a GPU.
    moved = [
        image[:, top : top + height, left : left + width] for image, top, left in zip(padded, tops, lefts, strict=True)
    ]
    return torch.stack(moved)


def cutout(images: Tensor, generator: torch.Generator) -> Tensor:
    """A gray rectangle of half of each side, centred anywhere in the image: what reaches beyond the border is lost."""
    height, width = images.shape[2:]
    rows, columns = _hole(len(images), height, generator), _hole(len(images), width, generator)
    hole = (rows[:, None, :, None] & columns[:, None, None, :]).to(images.device)
    return images.masked_fill(hole, GRAY)


AUGMENTATIONS: dict[str, Callable[[Tensor, torch.Generator], Tensor]] = {
    "color": color,
    "translation": translation,
    "cutout": cutout,
}


def _hole(count: int, side: int, generator: torch.Generator) -> Tensor:
    """(count, side) of bool: true in a run of half of `side` positions, of which at least half are inside."""
    length = int(side * CUTOUT)
    start = _integers(count, -(length // 2), side - (length + 1) // 2, generator)[:, None]
    position = torch.arange(side)
    return (position >= start) & (position < start + length)


def _integers(count: int, low: int, high: int, generator: torch.Generator) -> Tensor:
    """(count,) from `low` to `high`, both included."""
    return torch.randint(low, high + 1, (count,), generator=generator)


def _uniform(images: Tensor, low: float, high: float, generator: torch.Generator) -> Tensor:
    """One number an image, N111, between `low` and `high`."""
    return (low + (high - low) * torch.rand(len(images), 1, 1, 1, generator=generator)).to(images)

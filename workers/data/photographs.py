"""The photographs that scikit-image and scikit-learn ship: data sets that need no download.

They are read as files where the packages are installed, without importing the packages (seconds each), and their digest
is checked, because an image that changed under a spec would change results without changing their address.
"""

import hashlib
import importlib.util
import io
from functools import cache
from pathlib import Path, PurePosixPath

import numpy as np
import torch
from PIL import Image

from orchestrator import spec


@cache
def load(photograph: spec.Photograph) -> np.ndarray:
    """The whole photograph, uint8 (H, W, 3) RGB; greyscale is replicated. Cached, hence read-only: crops are copies.

    Raises ValueError for an unknown name and for a file whose SHA-256 is not the spec's, FileNotFoundError if the
    package is not installed.
    """
    path = _path(photograph.name)
    data = path.read_bytes()
    found = hashlib.sha256(data).hexdigest()
    if found != photograph.sha256:
        raise ValueError(
            f"photograph {photograph.name!r}: {path} has SHA-256 {found}; the spec expects {photograph.sha256}. "
            "The file was changed or comes from another version of its package: install the versions in "
            "requirements.lock again, or plan the grid anew with the digest in orchestrator/spec.py"
        )
    image = np.array(Image.open(io.BytesIO(data)).convert("RGB"))
    image.flags.writeable = False
    return image


def content(name: str) -> str:
    """What the photograph `name` shows; both views of the stereo pair are `motorcycle`. ValueError if unknown."""
    return _embedded(name).content


def central_crop(image: np.ndarray, side: int) -> np.ndarray:
    """The central `side` x `side` pixels of (H, W, 3), a copy; an odd margin is larger below and on the right."""
    _check_side(image, side)
    top, left = (image.shape[0] - side) // 2, (image.shape[1] - side) // 2
    return image[top : top + side, left : left + side].copy()


def random_crop(image: np.ndarray, side: int, generator: np.random.Generator) -> np.ndarray:
    """`side` x `side` pixels of (H, W, 3) at a position drawn uniformly from `generator`, a copy."""
    _check_side(image, side)
    top = generator.integers(image.shape[0] - side + 1)
    left = generator.integers(image.shape[1] - side + 1)
    return image[top : top + side, left : left + side].copy()


def to_tensor(images: np.ndarray) -> torch.Tensor:
    """uint8 (..., H, W, 3) -> float32 (..., 3, H, W) in [0, 1], contiguous, sharing no memory."""
    return torch.from_numpy(np.moveaxis(images, -1, -3).astype(np.float32, order="C")).div_(255)


def to_uint8(images: torch.Tensor) -> np.ndarray:
    """float (..., 3, H, W), clipped to [0, 1] -> uint8 (..., H, W, 3), rounded to nearest."""
    return np.moveaxis(images.detach().clamp(0, 1).mul(255).round().byte().cpu().numpy(), -3, -1).copy()


def _path(name: str) -> Path:
    package, *parts = PurePosixPath(_embedded(name).file).parts
    found = importlib.util.find_spec(package)
    if found is None or not found.submodule_search_locations:
        raise FileNotFoundError(f"photograph {name!r}: the package {package!r} that ships it is not installed")
    return Path(found.submodule_search_locations[0], *parts)


def _embedded(name: str) -> spec.Embedded:
    if name not in spec.PHOTOGRAPHS:
        raise spec.unknown("photograph", name, spec.PHOTOGRAPHS)
    return spec.PHOTOGRAPHS[name]


def _check_side(image: np.ndarray, side: int) -> None:
    height, width = image.shape[:2]
    if not 0 < side <= min(height, width):
        raise ValueError(f"crop: found side {side}; allowed: 1 to {min(height, width)} in {height} x {width} pixels")

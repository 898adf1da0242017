"""Synthetic distortions in KADID-10k's manner (Lin, Hosu, Saupe 2019): a name, five levels, level 5 the strongest.

Parameters are this project's, not KADID's, whose images are 512 x 384: here the steps show on crops of 64 pixels.
Every function takes float (H, W, 3) RGB in [0, 1], a level 1 to 5 and a NumPy generator, and returns float (H, W, 3),
which `apply` clips and rounds. The same draw serves all levels of a seed, so that only the severity differs.
"""

import io
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from scipy import fft, ndimage

from orchestrator.spec import unknown

LEVELS = 5
FloatImage = NDArray[np.float64]

# BT.601 luma, as JPEG has it.
_LUMA = np.array([0.299, 0.587, 0.114])


def apply(name: str, image: NDArray[np.uint8], level: int, seed: int | Sequence[int]) -> NDArray[np.uint8]:
    """`image` uint8 (H, W, 3) under the distortion `name` at `level` 1 to 5, as uint8 (H, W, 3).

    `seed` feeds a NumPy generator: equal arguments give equal pixels. Raises ValueError for another name or level.
    """
    if name not in DISTORTIONS:
        raise unknown("distortion", name, DISTORTIONS)
    if level not in range(1, LEVELS + 1):
        raise ValueError(f"distortion {name!r}: found level {level!r}; allowed: 1 (weakest) to {LEVELS} (strongest)")
    distorted = DISTORTIONS[name](image / 255, level, np.random.default_rng(seed))
    return _to_uint8(distorted)


# ------------------------------------------------------------------------------------------------ blur


def gaussian_blur(image: FloatImage, level: int, rng: np.random.Generator) -> FloatImage:
    """Gaussian filter; standard deviation in pixels."""
    sigma = (0.6, 1.0, 1.6, 2.5, 4.0)[level - 1]
    blurred: FloatImage = ndimage.gaussian_filter(image, (sigma, sigma, 0), mode="nearest")
    return blurred


def lens_blur(image: FloatImage, level: int, rng: np.random.Generator) -> FloatImage:
    """Mean over a disk, as of a lens out of focus; radius in pixels."""
    radius = (1.0, 1.5, 2.5, 4.0, 6.0)[level - 1]
    reach = int(radius)
    y, x = np.mgrid[-reach : reach + 1, -reach : reach + 1]
    return _filter(image, np.hypot(y, x) <= radius)


def motion_blur(image: FloatImage, level: int, rng: np.random.Generator) -> FloatImage:
    """Mean along a line in a random direction; length in pixels."""
    length = (3, 5, 9, 14, 21)[level - 1]
    reach, angle = length // 2, rng.uniform(0, np.pi)
    steps = np.linspace(-reach, reach, 4 * length)
    kernel = np.zeros((2 * reach + 1, 2 * reach + 1))
    kernel[np.rint(reach + steps * np.sin(angle)).astype(int), np.rint(reach + steps * np.cos(angle)).astype(int)] = 1
    return _filter(image, kernel)


# ----------------------------------------------------------------------------------------------- noise


def white_noise(image: FloatImage, level: int, rng: np.random.Generator) -> FloatImage:
    """Additive Gaussian noise, independent in each channel; standard deviation."""
    return image + (0.03, 0.06, 0.10, 0.17, 0.28)[level - 1] * rng.standard_normal(image.shape)


def multiplicative_noise(image: FloatImage, level: int, rng: np.random.Generator) -> FloatImage:
    """Speckle: Gaussian noise that grows with the signal; standard deviation relative to it."""
    return image * (1 + (0.08, 0.15, 0.25, 0.40, 0.65)[level - 1] * rng.standard_normal(image.shape))


def impulse_noise(image: FloatImage, level: int, rng: np.random.Generator) -> FloatImage:
    """Salt and pepper in each channel; fraction of the values that are replaced by 0 or 1."""
    amount = (0.01, 0.03, 0.07, 0.15, 0.30)[level - 1]
    hit, salt = rng.random(image.shape) < amount, rng.random(image.shape) < 0.5
    return np.where(hit, salt, image)


# ----------------------------------------------------------------------------------------- compression


def jpeg(image: FloatImage, level: int, rng: np.random.Generator) -> FloatImage:
    """JPEG with halved chroma resolution; libjpeg's quality."""
    return _compress(image, format="JPEG", quality=(50, 25, 14, 7, 2)[level - 1])


def jpeg2000(image: FloatImage, level: int, rng: np.random.Generator) -> FloatImage:
    """JPEG 2000, irreversible wavelet; target PSNR in dB, which unlike a rate does not hang on the header's share."""
    target = (33, 29, 25.5, 22.5, 19)[level - 1]
    return _compress(image, format="JPEG2000", irreversible=True, quality_mode="dB", quality_layers=[target])


# --------------------------------------------------------------------------------- sampling and depth


def pixelate(image: FloatImage, level: int, rng: np.random.Generator) -> FloatImage:
    """Means of square blocks; their side in pixels."""
    side = (2, 3, 4, 6, 9)[level - 1]
    height, width = image.shape[:2]
    padded = np.pad(image, ((0, -height % side), (0, -width % side), (0, 0)), mode="edge")
    rows, columns = padded.shape[0] // side, padded.shape[1] // side
    blocks: FloatImage = padded.reshape(rows, side, columns, side, 3).mean((1, 3))
    return blocks.repeat(side, 0).repeat(side, 1)[:height, :width]


def quantization(image: FloatImage, level: int, rng: np.random.Generator) -> FloatImage:
    """Uniform quantization without dither; values of a channel."""
    top = (16, 10, 7, 5, 3)[level - 1] - 1
    return np.rint(image * top) / top


# ------------------------------------------------------------------------------------ light and colour


def contrast_decrease(image: FloatImage, level: int, rng: np.random.Generator) -> FloatImage:
    """Towards the mean colour of the image; fraction of the contrast that is kept."""
    mean: FloatImage = image.mean((0, 1))
    return mean + (0.75, 0.55, 0.40, 0.25, 0.12)[level - 1] * (image - mean)


def darken(image: FloatImage, level: int, rng: np.random.Generator) -> FloatImage:
    """Power curve that keeps black and white; exponent."""
    return image ** (1.25, 1.6, 2.1, 2.9, 4.2)[level - 1]


def brighten(image: FloatImage, level: int, rng: np.random.Generator) -> FloatImage:
    """The curve of `darken` on the negative; exponent."""
    return 1 - (1 - image) ** (1.25, 1.6, 2.1, 2.9, 4.2)[level - 1]


def desaturate(image: FloatImage, level: int, rng: np.random.Generator) -> FloatImage:
    """Towards luma; fraction of the colour that is kept. A greyscale image stays as it is."""
    grey: FloatImage = (image @ _LUMA)[..., None]
    return grey + (0.75, 0.55, 0.35, 0.15, 0.0)[level - 1] * (image - grey)


def color_shift(image: FloatImage, level: int, rng: np.random.Generator) -> FloatImage:
    """A colour cast of a random hue at about constant mean; root mean square of the offsets over channels."""
    phase = rng.uniform(0, 2 * np.pi) + 2 * np.pi / 3 * np.arange(3)
    cast: FloatImage = np.sqrt(2) * np.cos(phase)
    return image + (0.04, 0.08, 0.13, 0.20, 0.30)[level - 1] * cast


def chromatic_aberration(image: FloatImage, level: int, rng: np.random.Generator) -> FloatImage:
    """Red and blue moved apart in a random direction; displacement of each in pixels."""
    distance, angle = (0.5, 1.0, 1.75, 3.0, 5.0)[level - 1], rng.uniform(0, 2 * np.pi)
    offset = distance * np.array([np.sin(angle), np.cos(angle)])
    red, blue = (ndimage.shift(image[..., i], sign * offset, order=1, mode="nearest") for i, sign in ((0, 1), (2, -1)))
    return np.stack([red, image[..., 1], blue], -1)


# ----------------------------------------------------------------------------------------------- edges


def oversharpen(image: FloatImage, level: int, rng: np.random.Generator) -> FloatImage:
    """Unsharp mask of one pixel's standard deviation; its weight."""
    blurred: FloatImage = ndimage.gaussian_filter(image, (1, 1, 0), mode="nearest")
    return image + (0.8, 1.6, 3.0, 6.0, 12.0)[level - 1] * (image - blurred)


def ringing(image: FloatImage, level: int, rng: np.random.Generator) -> FloatImage:
    """Ideal low-pass filter (a disk in the cosine transform, mirrored borders): Gibbs waves along edges; cutoff as a
    fraction of the Nyquist frequency."""
    cutoff = (0.60, 0.42, 0.29, 0.20, 0.13)[level - 1]
    spectrum = fft.dctn(image, axes=(0, 1), norm="ortho")
    y, x = (np.arange(size) / size for size in image.shape[:2])
    spectrum[np.hypot(y[:, None], x) > cutoff] = 0
    filtered: FloatImage = fft.idctn(spectrum, axes=(0, 1), norm="ortho")
    return filtered


DISTORTIONS: dict[str, Callable[[FloatImage, int, np.random.Generator], FloatImage]] = {
    "gaussian_blur": gaussian_blur,
    "lens_blur": lens_blur,
    "motion_blur": motion_blur,
    "white_noise": white_noise,
    "multiplicative_noise": multiplicative_noise,
    "impulse_noise": impulse_noise,
    "jpeg": jpeg,
    "jpeg2000": jpeg2000,
    "pixelate": pixelate,
    "quantization": quantization,
    "contrast_decrease": contrast_decrease,
    "darken": darken,
    "brighten": brighten,
    "desaturate": desaturate,
    "color_shift": color_shift,
    "chromatic_aberration": chromatic_aberration,
    "oversharpen": oversharpen,
    "ringing": ringing,
}


def _filter(image: FloatImage, kernel: FloatImage) -> FloatImage:
    """Each channel filtered with `kernel` divided by its sum; borders repeat."""
    filtered: FloatImage = ndimage.convolve(image, (kernel / kernel.sum())[..., None], mode="nearest")
    return filtered


def _compress(image: FloatImage, **options: Any) -> FloatImage:
    """Encoded and decoded by Pillow."""
    file = io.BytesIO()
    Image.fromarray(_to_uint8(image)).save(file, **options)
    return np.asarray(Image.open(file).convert("RGB")) / 255


def _to_uint8(image: FloatImage) -> NDArray[np.uint8]:
    return np.rint(np.clip(image, 0, 1) * 255).astype(np.uint8)

"""Artifacts: excess local variance of the residual, in the sense of LDL (Liang, Zeng and Zhang, CVPR 2022,
arXiv 2203.09195).

Where a generator fails, its residual swings from pixel to pixel; where it draws plausible detail, the residual is flat.
With R the absolute residual to the reference, summed over RGB, and S that of a stable image of the same input,

    M = var(R)^(1/5) * (variance of R in the 7 x 7 window around a pixel), 0 where R < S

and the score is the mean of M over pixels in units of 1/1000: 0 for the reference itself, lower is better.

LDL makes a weight of M while it trains, and S is the residual of a moving average of the generator. A score that is to
be compared between generators needs one and the same S: that of the warm-up that all of them start from [ours], as is
that var(R) is of a whole image where LDL has a training patch. Where R = S, 8-bit images being often equal, a pixel
counts half [ours]: in LDL's floats that does not happen, and either other choice would reward or punish an image for
being close to the warm-up's.
"""

import torch
import torch.nn.functional as F
from torch import Tensor

# As in LDL's published code (csjliang/LDL): LDL_loss.py has the exponent and unbiased variances over windows with
# reflected borders, esrganArtifactsDis_model.py the side of a window.
WINDOW = 7
ROOT = 5
UNIT = 1e-3

LEVELS = 255
"""Differences are told apart in steps of an 8-bit image: what rounding of floats leaves is none."""


def scores(restored: Tensor, reference: Tensor, stable: Tensor) -> list[float]:
    """One score for each image, in units of 1/1000: the mean of its `artifact_map`. Lower is better.

    All float (N, 3, H, W) in [0, 1]; `stable` is what the warm-up restored. Raises ValueError for shapes that differ
    and for images smaller than a window.
    """
    return [float(score) / UNIT for score in artifact_map(restored, reference, stable).mean((1, 2))]


def artifact_map(restored: Tensor, reference: Tensor, stable: Tensor) -> Tensor:
    """M of each pixel, float64 (N, H, W), from images as `scores` takes them."""
    shapes = [tuple(images.shape) for images in (restored, reference, stable)]
    if len({*shapes}) > 1 or len(shapes[0]) != 4 or min(shapes[0][2:]) < WINDOW:
        allowed = f"three equal ones (N, 3, H, W) of at least {WINDOW} pixels a side"
        raise ValueError(f"judge 'artifacts': found the shapes {shapes}; allowed: {allowed}")
    residual, stable_residual = _residual(restored, reference), _residual(stable, reference)
    swing = residual.var((1, 2), keepdim=True) ** (1 / ROOT)
    return swing * local_variance(residual) * _excess(residual, stable_residual)


def local_variance(values: Tensor) -> Tensor:
    """Unbiased variance in the window around each position of (N, H, W), borders reflected."""
    padded = F.pad(values[:, None], (WINDOW // 2,) * 4, mode="reflect")
    mean, square = (F.avg_pool2d(x, WINDOW, stride=1)[:, 0] for x in (padded, padded**2))
    return (square - mean**2).clamp(min=0) * (WINDOW**2 / (WINDOW**2 - 1))


def _residual(images: Tensor, reference: Tensor) -> Tensor:
    """(N, H, W) of 0 to 3; double, because a variance is taken as a difference of means."""
    return (images.double() - reference.double()).abs().sum(1)


def _excess(residual: Tensor, stable_residual: Tensor) -> Tensor:
    """1 where the residual is larger than the stable one, 1/2 where they are equal, 0 where it is smaller."""
    difference = ((residual - stable_residual) * LEVELS).round()
    return torch.heaviside(difference, difference.new_tensor(0.5))

"""What an IQA model minimises: how far its scores are from the labels."""

from typing import Literal, get_args

import torch
import torch.nn.functional as F
from torch import Tensor

from orchestrator import spec

RegressionLoss = Literal["mse", "huber", "plcc"]
HUBER_DELTA = 0.1  # of labels in [0, 1]: errors above a tenth of the range count linearly [ours]
# Scores that spread by less than a tenth of the labels' deviation count as if they spread by that much [ours]. A model
# starts as a constant, where the correlation has no value and its gradient no bound.
SPREAD = 0.1
EQUAL = 1e-4  # labels that deviate by less are equal but for rounding


def regression_loss(kind: RegressionLoss, score: Tensor, quality: Tensor) -> Tensor:
    """Scalar loss of `score` (N,) for labels `quality` (N,), both in [0, 1] or near it. plcc is 1 - Pearson's
    correlation in the batch, plus the squared error, without which scale and offset would be free. Raises ValueError
    for an unknown kind."""
    match kind:
        case "mse":
            return F.mse_loss(score, quality)
        case "huber":
            return F.huber_loss(score, quality, delta=HUBER_DELTA)
        case "plcc":
            return 1 - _correlation(score, quality) + F.mse_loss(score, quality)
    raise spec.unknown("loss", kind, get_args(RegressionLoss))


def _correlation(score: Tensor, quality: Tensor) -> Tensor:
    """Pearson's, smaller where `score` hardly spreads (see SPREAD); about 0 for equal labels."""
    score, quality = score - score.mean(), quality - quality.mean()
    variance = quality.square().mean().clamp(min=EQUAL**2)
    return (score * quality).mean() / (variance * torch.maximum(score.square().mean(), SPREAD**2 * variance)).sqrt()

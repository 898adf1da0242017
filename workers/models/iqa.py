"""IQA models: a backbone fine-tuned to predict quality, with a reference (FR) or without (NR).

Both describe an image by numbers that positions are pooled to, so that any image size and any backbone will do: of the
differences to the reference (FR) or of the features themselves (NR). `features` says which: mean and standard deviation
of every channel of the image and of every stage (moments), the means alone (means), or the means of the last stage
(last). They are standardised over the batch (batch norm, running statistics in evaluation), for their scales differ
between stages and backbones by orders of magnitude; without it a short training teaches the head next to nothing. A
small MLP or a linear layer turns them into a score. It starts as the constant predictor: the first steps cannot be
worse than the mean label.
"""

from typing import Literal, get_args

import torch
from torch import Tensor, nn

from orchestrator import spec
from workers.models.backbones import Backbone

Features = Literal["moments", "means", "last"]
Head = Literal["mlp", "linear"]
HIDDEN = 64
# Magnitudes enter as logarithms, for they grow about geometrically with severity; below FLOOR they fade out. [ours]
FLOOR = 0.03


class IqaModel(nn.Module):
    """Quality of an image, higher is better, in the units of the labels it is trained with.

    Args:
        backbone: trained with the head; its batch norm follows train() and eval().
        task: "fr" compares with a reference, "nr" does not.
        initial_score: what an untrained model predicts for every image, usually the mean training label.
        seed: draws the first layer of an MLP head.
        features: what positions are pooled to.
        head: what turns that into a score.
    """

    def __init__(
        self,
        backbone: Backbone,
        task: spec.Task,
        initial_score: float,
        seed: int,
        features: Features = "moments",
        head: Head = "mlp",
    ) -> None:
        """Raises ValueError for an unknown task, features or head."""
        super().__init__()
        for what, found, allowed in (("task", task, spec.Task), ("features", features, Features), ("head", head, Head)):
            if found not in get_args(allowed):
                raise spec.unknown(what, found, get_args(allowed))
        self.backbone, self.task, self.features = backbone, task, features
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            self.head = _head(head, _width(features, backbone.channels))
        last = self.head[-1]
        assert isinstance(last, nn.Linear)
        nn.init.zeros_(last.weight)
        nn.init.constant_(last.bias, initial_score)

    def forward(self, distorted: Tensor, reference: Tensor | None = None) -> Tensor:
        """Scores (N,) of `distorted` (N3HW in [0, 1]); `reference` has the same shape. An NR model does not look at it.
        Training needs at least two images. Raises ValueError for an FR model without a reference."""
        if self.task == "nr":
            return self._score(self._stages(distorted))
        if reference is None:
            raise ValueError("reference: found None; an FR model needs the reference of each distorted image")
        # One pass for both, so that batch norm sees them alike.
        stages = self._stages(torch.cat((distorted, reference)))
        return self._score([(ours - theirs).abs() for ours, theirs in (stage.chunk(2) for stage in stages)])

    def _stages(self, image: Tensor) -> list[Tensor]:
        """The maps that are pooled. Each position of a map is scaled to a mean square of one, as in LPIPS
        (arXiv 1801.03924) but for a factor: differences are then of one order in every stage of every backbone."""
        maps = self.backbone(image)
        if self.features == "last":
            return [_unit_scale(maps[-1])]
        return [image, *(_unit_scale(features) for features in maps)]

    def _score(self, stages: list[Tensor]) -> Tensor:
        means = [stage.mean((2, 3), keepdim=True) for stage in stages]
        mean = torch.cat(means, 1).flatten(1)
        # A mean difference (FR) is a magnitude; a mean feature (NR) has a sign.
        description = _log(mean) if self.task == "fr" else mean
        if self.features == "moments":
            deviation = torch.cat([_deviation(stage, centre) for stage, centre in zip(stages, means, strict=True)], 1)
            description = torch.cat((description, _log(deviation)), 1)
        score: Tensor = self.head(description).squeeze(1)
        return score


def _width(features: Features, channels: tuple[int, ...]) -> int:
    """Numbers that describe an image."""
    match features:
        case "last":
            return channels[-1]
        case "means":
            return 3 + sum(channels)
        case "moments":
            return 2 * (3 + sum(channels))


def _head(kind: Head, width: int) -> nn.Sequential:
    standardise = nn.BatchNorm1d(width, affine=False)
    if kind == "linear":
        return nn.Sequential(standardise, nn.Linear(width, 1))
    return nn.Sequential(standardise, nn.Linear(width, HIDDEN), nn.GELU(), nn.Linear(HIDDEN, 1))


def _log(magnitude: Tensor) -> Tensor:
    return (magnitude + FLOOR).log()


def _unit_scale(features: Tensor) -> Tensor:
    return features * (features.square().mean(1, keepdim=True) + 1e-6).rsqrt()


def _deviation(features: Tensor, mean: Tensor) -> Tensor:
    """Over positions, N x C, from the mean, N x C x 1 x 1. The constant keeps the root's gradient finite where all
    positions are equal."""
    # Not torch.var_mean, which is 2 to 3 times slower on a CPU.
    variance = (features - mean).square().mean((2, 3))
    return (variance + 1e-6).sqrt()

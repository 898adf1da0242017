"""IQA models: a backbone fine-tuned to predict quality, with a reference (FR) or without (NR).

Both describe an image by two numbers a channel, so that any image size and any backbone will do: mean and standard
deviation over positions, of the differences to the reference (FR) or of the features themselves (NR). These are
standardised over the batch (batch norm, running statistics in evaluation), for their scales differ between stages and
backbones by orders of magnitude; without it a short training teaches the head next to nothing. A small MLP turns them
into a score. It starts as the constant predictor: the first steps cannot be worse than the mean label.
"""

import torch
from torch import Tensor, nn

from orchestrator import spec
from workers.models.backbones import Backbone

HIDDEN = 64
# Magnitudes enter as logarithms, for they grow about geometrically with severity; below FLOOR they fade out. [ours]
FLOOR = 0.03


class IqaModel(nn.Module):
    """Quality of an image, higher is better, in the units of the labels it is trained with.

    Args:
        backbone: trained with the head; its batch norm follows train() and eval().
        task: "fr" compares with a reference, "nr" does not.
        initial_score: what an untrained model predicts for every image, usually the mean training label.
        seed: draws the head's first layer.
    """

    def __init__(self, backbone: Backbone, task: spec.Task, initial_score: float, seed: int) -> None:
        """Raises ValueError for an unknown task."""
        super().__init__()
        if task not in ("fr", "nr"):
            raise ValueError(f"task: found {task!r}; allowed: fr, nr")
        self.backbone = backbone
        self.task = task
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            self.head = nn.Sequential(
                nn.BatchNorm1d(2 * (3 + sum(backbone.channels)), affine=False),
                nn.Linear(2 * (3 + sum(backbone.channels)), HIDDEN),
                nn.GELU(),
                nn.Linear(HIDDEN, 1),
            )
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
        """The image and the backbone's maps. Each position of a map is scaled to a mean square of one, as in LPIPS
        (arXiv 1801.03924) but for a factor: differences are then of one order in every stage of every backbone."""
        return [image, *(_unit_scale(features) for features in self.backbone(image))]

    def _score(self, stages: list[Tensor]) -> Tensor:
        means, deviations = zip(*(_mean_and_deviation(stage) for stage in stages), strict=True)
        mean, deviation = torch.cat(means, 1), torch.cat(deviations, 1)
        # A mean difference (FR) is a magnitude; a mean feature (NR) has a sign.
        description = torch.cat((_log(mean) if self.task == "fr" else mean, _log(deviation)), 1)
        score: Tensor = self.head(description).squeeze(1)
        return score


def _log(magnitude: Tensor) -> Tensor:
    return (magnitude + FLOOR).log()


def _unit_scale(features: Tensor) -> Tensor:
    return features * (features.square().mean(1, keepdim=True) + 1e-6).rsqrt()


def _mean_and_deviation(features: Tensor) -> tuple[Tensor, Tensor]:
    """Over positions, each N x C. The constant keeps the root's gradient finite where all positions are equal."""
    # Not torch.var_mean, which is 2 to 3 times slower on a CPU.
    mean = features.mean((2, 3), keepdim=True)
    variance = (features - mean).square().mean((2, 3))
    return mean.flatten(1), (variance + 1e-6).sqrt()

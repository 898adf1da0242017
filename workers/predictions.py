"""Predictions of a metric or an IQA model on a whole IQA set, in batches. Higher is better."""

from collections.abc import Callable, Iterator

import numpy as np
import torch
from torch import Tensor, nn

from workers.data.iqa_sets import IqaSet
from workers.losses.dists import Dists
from workers.models.iqa import IqaModel

BATCH = 32  # small enough for the activations of 64-pixel crops to stay in a core's cache


def batches(data: IqaSet, device: str | torch.device) -> Iterator[tuple[Tensor, Tensor]]:
    """(reference, distorted) of all images in order, on `device`."""
    for start in range(0, len(data), BATCH):
        reference, distorted = data.tensors(range(start, min(start + BATCH, len(data))))
        yield reference.to(device), distorted.to(device)


def metric_quality(metric: Dists, data: IqaSet) -> np.ndarray:
    """-D of each image with its reference, (N,) float64."""
    return _all(metric, data, lambda reference, distorted: -metric(distorted, reference)).double().numpy()


def iqa_quality(model: IqaModel, data: IqaSet) -> Tensor:
    """The model's score of each image, (N,) float32 on the CPU."""
    return _all(model, data, lambda reference, distorted: model(distorted, reference))


@torch.no_grad()
def _all(model: nn.Module, data: IqaSet, score: Callable[[Tensor, Tensor], Tensor]) -> Tensor:
    """Scores in evaluation mode; leaves the model in the mode it was in."""
    training, device = model.training, next(model.parameters()).device
    model.eval()
    scores = torch.cat([score(reference, distorted).cpu() for reference, distorted in batches(data, device)])
    model.train(training)
    return scores

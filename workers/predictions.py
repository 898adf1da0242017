"""Predictions of a metric or an IQA model on a whole IQA set, in batches. Higher is better."""

from collections.abc import Iterable, Iterator

import numpy as np
import torch
from torch import Tensor, nn

from workers.data.iqa_sets import IqaSet
from workers.data.photographs import to_tensor
from workers.losses.dists import Dists
from workers.models.iqa import IqaModel
from workers.resuming import Collected, Which, Work, at_once

BATCH = 32  # small enough for the activations of 64-pixel crops to stay in a core's cache
PIXELS = 2**21  # of a batch of larger images, whose activations would take tens of GB


def batches(data: IqaSet, device: str | torch.device, which: Which = range) -> Iterator[tuple[Tensor, Tensor]]:
    """(reference, distorted) of all images in order, on `device`. Raises ValueError for a set without references."""
    for reference, distorted in _batches(data, device, which):
        if reference is None:
            raise _no_references(data)
        yield reference, distorted


def by_reference(
    data: IqaSet, device: str | torch.device, which: Which = range
) -> Iterator[tuple[list[int], Tensor, Tensor]]:
    """(indices, the reference that these images share (1, 3, H, W), distorted), on `device`; all images once, in the
    order in which their references come first. Raises ValueError for a set without references."""
    if data.reference is None:
        raise _no_references(data)
    groups: dict[tuple[int, ...], list[int]] = {}
    for i, reference in enumerate(data.reference):  # views of one place in memory are one reference
        groups.setdefault((reference.__array_interface__["data"][0], *reference.shape), []).append(i)
    together: list[list[int]] = []
    for (_, height, width, _), group in groups.items():
        most = max(1, min(BATCH, PIXELS // (height * width)))
        together += [group[start : start + most] for start in range(0, len(group), most)]
    for step in which(len(together)):
        indices = together[step]
        shared = to_tensor(data.reference[indices[0]])[None].to(device)
        distorted = to_tensor(np.stack([data.distorted[i] for i in indices]))
        yield indices, shared, distorted.to(device)


def metric_quality(metric: Dists, data: IqaSet, work: Work = at_once) -> np.ndarray:
    """-D of each image with its reference, (N,) float64. Raises ValueError for a set without references."""
    found = Collected()
    images = batches(data, _device(metric), lambda steps: work(steps, {"scores": found}))
    scores = (-metric(distorted, reference) for reference, distorted in images)
    return _evaluated(metric, scores, found).double().numpy()


def iqa_quality(model: IqaModel, data: IqaSet, work: Work = at_once) -> Tensor:
    """The model's score of each image, (N,) float32 on the CPU. Raises ValueError for an FR model on a set without
    references."""
    found = Collected()
    images = _batches(data, _device(model), lambda steps: work(steps, {"scores": found}))
    return _evaluated(model, (model(distorted, reference) for reference, distorted in images), found)


def _batches(data: IqaSet, device: str | torch.device, which: Which) -> Iterator[tuple[Tensor | None, Tensor]]:
    runs = list(_runs(data))
    for step in which(len(runs)):
        reference, distorted = data.tensors(runs[step])
        yield None if reference is None else reference.to(device), distorted.to(device)


def _no_references(data: IqaSet) -> ValueError:
    return ValueError(f"{data.name}: found no reference images; allowed for a metric: a full-reference set")


def _runs(data: IqaSet) -> Iterator[range]:
    """The set in runs of consecutive images of one size, of at most BATCH images and PIXELS pixels (or one image)."""
    start = 0
    while start < len(data):
        shape = data.distorted[start].shape
        most = max(1, min(BATCH, PIXELS // (shape[0] * shape[1])))
        stop = start + 1
        while stop < min(start + most, len(data)) and data.distorted[stop].shape == shape:
            stop += 1
        yield range(start, stop)
        start = stop


@torch.no_grad()
def _evaluated(model: nn.Module, scores: Iterable[Tensor], found: Collected) -> Tensor:
    """Those that were found before, and the lazily computed scores of all other batches, with `model` in evaluation
    mode; leaves it in the mode it was in."""
    training = model.training
    model.eval()
    for batch in scores:
        found.items.append(batch.cpu())
    model.train(training)
    return torch.cat(found.items)


def _device(model: nn.Module) -> torch.device:
    return next(model.parameters()).device

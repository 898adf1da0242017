"""Pretext: pretrains a backbone to tell photographs apart, whatever the crop, the flip and the colours.

The task is blind to quality: it sees no distortion and no severity. Where no released weights can be had, its result
plays their part, and it is called *pretext* everywhere.

A loss or a weight that is not finite ends the run as diverged.

numbers: accuracy (share of fresh crops of the same photographs that are recognised), chance (1 / photographs)
"""

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from orchestrator.spec import Pretext
from workers.context import Context, Result
from workers.data.photographs import load, random_crop
from workers.models import backbones
from workers.training import Loop, all_finite, derive_seed
from workers.weights import save_backbone

EVALUATION_BATCHES = 4


def run(spec: Pretext, context: Context) -> Result:
    """Trains the backbone and a linear classifier; exports the backbone."""
    training = spec.training
    backbone = backbones.build(spec.backbone.model, derive_seed("pretext", spec.seed))
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(derive_seed("pretext head", spec.seed))
        head = nn.Linear(backbone.channels[-1], len(spec.photographs))
    model = nn.ModuleDict({"backbone": backbone, "head": head}).to(context.device)
    optimizer = torch.optim.Adam(model.parameters(), lr=training.learning_rate)
    crops = Crops(spec)
    loop = Loop(context, training.steps, {"model": model, "optimizer": optimizer})
    for step, (images, labels) in loop.batches(crops.batch):
        loss = F.cross_entropy(_logits(model, images.to(context.device)), labels.to(context.device))
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        loop.log(step, loss=loss)
        if not loss.isfinite():
            return loop.diverged(f"the loss is {loss.item()} at step {step}", {})
    if not all_finite(model.state_dict()):
        return loop.diverged("weights are not finite after the last step", {})
    accuracy = _accuracy(model, crops, training.steps, context.device)
    loop.curves.write(context.out)
    save_backbone(context.out, backbone, spec.backbone.model)
    return Result(numbers={"accuracy": accuracy, "chance": 1 / len(spec.photographs)})


class Crops:
    """Batches of augmented crops with the index of their photograph; `batch(step)` depends on (seed, step) alone."""

    def __init__(self, spec: Pretext) -> None:
        self.images = [load(photograph) for photograph in spec.photographs]
        self.seed = derive_seed("pretext batches", spec.seed)
        self.training = spec.training

    def batch(self, step: int) -> tuple[Tensor, Tensor]:
        """(images (n, 3, crop, crop) in [0, 1], labels (n,))."""
        rng = np.random.default_rng([self.seed, step])
        labels = rng.integers(len(self.images), size=self.training.batch)
        crops = np.stack([random_crop(self.images[i], self.training.crop, rng) for i in labels])
        return recolour(crops, rng), torch.from_numpy(labels)


def recolour(crops: np.ndarray, rng: np.random.Generator) -> Tensor:
    """uint8 (n, H, W, 3) -> float32 (n, 3, H, W): mirrors half of the images, permutes colour channels of half, and
    scales and shifts all channels of all: per image a gain in [0.7, 1.3] and an offset in [-0.15, 0.15], clipped to
    [0, 1]."""
    n = len(crops)
    mirrored, permuted = rng.random(n) < 0.5, rng.random(n) < 0.5
    orders = np.array([rng.permutation(3) if permute else range(3) for permute in permuted])
    # Moved while they are bytes: a quarter of the memory.
    views = [np.moveaxis(crop[:, :: -1 if mirror else 1], -1, 0) for crop, mirror in zip(crops, mirrored, strict=True)]
    planes = np.stack(views)[np.arange(n)[:, None], orders]
    gain = torch.from_numpy(rng.uniform(0.7, 1.3, (n, 1, 1, 1))).float()
    offset = torch.from_numpy(rng.uniform(-0.15, 0.15, (n, 1, 1, 1))).float()
    return torch.from_numpy(planes).float().div_(255).mul_(gain).add_(offset).clamp_(0, 1)


def _logits(model: nn.ModuleDict, images: Tensor) -> Tensor:
    logits: Tensor = model["head"](model["backbone"](images)[-1].mean((2, 3)))
    return logits


@torch.no_grad()
def _accuracy(model: nn.ModuleDict, crops: Crops, after: int, device: str) -> float:
    """Share of right answers on batches that training did not see."""
    model.eval()
    hits = []
    for step in range(after, after + EVALUATION_BATCHES):
        images, labels = crops.batch(step)
        hits.append(_logits(model, images.to(device)).argmax(1).cpu() == labels)
    return float(torch.cat(hits).float().mean())

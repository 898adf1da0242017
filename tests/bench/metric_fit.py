"""Metric fitting: one pass of statistics and the fit, against training the same head epoch by epoch.

The data are the demo's: ladders of synthetic distortions of real photographs, backbones with their pretext weights.
Both sides fit the 2C weights on the simplex. The other side does what a training loop does: in each epoch every pair
goes through the backbone in shuffled batches of 32, Adam takes a step a batch, and the validation set is scored.

Which schedule reaches the best validation SRCC is searched on the table, where an epoch costs nothing and takes the
same steps; the search is in nobody's time. Of that schedule only the epochs count until it has the SRCC of our fit, or
its own best where it never has.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import product
from pathlib import Path
from tempfile import TemporaryDirectory

import torch
import torch.nn.functional as F
from scipy.stats import spearmanr
from torch import Tensor

from orchestrator import grid as grids
from orchestrator import matrix, spec
from orchestrator.manifests import Manifests
from tests.bench.paired import HEADER, alternate
from workers import statistics, training, trial
from workers.context import Context
from workers.data.iqa_sets import IqaSet, open_set
from workers.losses.dists import channel_statistics, fit, with_l2_pooling
from workers.models.backbones import Backbone
from workers.predictions import batches
from workers.sources import Sources
from workers.weights import initial_backbone

DEMO = Path("grids/demo.yaml")
MODELS = ("small/vgg", "small/convnext", "small/vit")
"""Of the demo's five: a plain and a modern convolutional network, and a Transformer, which needs the fewest epochs."""
BATCH, EPOCHS, ROUNDS = 32, 40, 3
LOSSES, RATES, DECAYS = ("plcc", "mse"), (0.03, 0.1, 0.3), (False, True)


@dataclass(frozen=True)
class Schedule:
    """How the other side trains."""

    loss: str
    rate: float
    decay: bool
    """Linear, to 0 after EPOCHS."""

    def __str__(self) -> str:
        return f"{self.loss}, Adam {self.rate}{', linear decay' if self.decay else ''}"


def report(device: str) -> str:
    """A row for each of MODELS, with the demo's pretext weights."""
    training.settle("reference")
    labels = matrix.expand(grids.load(DEMO), Manifests()).labels
    metrics = {label.spec.backbone.model: label.spec for label in labels if _wanted(label.spec)}
    rows = [row(metric, device) for metric in metrics.values()]
    any_metric = next(iter(metrics.values()))
    count = [len(open_set(data, Sources())) for data in (any_metric.train, any_metric.validation)]
    return (
        f"{count[0]} training and {count[1]} validation pairs of 48 x 48 pixels, {any_metric.fit.iterations} "
        f"iterations of the fit. Other side: best of {len(LOSSES) * len(RATES) * len(DECAYS)} schedules of {EPOCHS} "
        "epochs (Pearson's correlation in the batch or the squared error; rates; with and without decay).\n\n"
        + "\n".join([HEADER, *rows])
    )


def _wanted(found: spec.Trial) -> bool:
    return isinstance(found, spec.FrIqa) and isinstance(found.weights, spec.Pretext) and found.backbone.model in MODELS


def row(metric: spec.FrIqa, device: str) -> str:
    """Times both sides for one backbone."""
    with TemporaryDirectory() as folder:
        context = Context({}, Path(folder), device=device)
        trial.run(metric.weights, context)
        context = Context({"weights": Path(folder)}, Path(folder), device=device)
        backbone = with_l2_pooling(initial_backbone(metric, context, "weights")).to(device)
        sets = [open_set(data, context.sources) for data in (metric.train, metric.validation)]
        tables = [_table(backbone, data, context) for data in sets]
        reached = fit(*tables[0], *tables[1], metric.fit).validation_srcc
        schedule, curve = max(_searched(tables), key=lambda found: max(found[1]))
        best = curve.index(max(curve))
        epochs = next((i for i, srcc in enumerate(curve) if srcc >= reached), best) + 1

        def ours() -> None:
            fit(*_table(backbone, sets[0], context), *_table(backbone, sets[1], context), metric.fit)

        found = alternate(ours, lambda: list(_trained(backbone, sets, schedule, epochs)), ROUNDS, device)
    what = (
        f"{metric.backbone.model}: SRCC {reached:.3f}; the other ({schedule}) has {curve[epochs - 1]:.3f} after "
        f"{epochs} epochs, its best {curve[best]:.3f} after {best + 1}"
    )
    return found.row(what, "0.10 (10x)", "s")


def _table(backbone: Backbone, data: IqaSet, context: Context) -> tuple[Tensor, Tensor, Tensor]:
    luminance, structure = statistics._statistics(backbone, data, context).chunk(2, 1)
    return luminance, structure, torch.from_numpy(data.quality.copy())


# ------------------------------------------------------------------------------------------------ the other side


class Head:
    """The weights of a metric, trained by batches of l and s."""

    def __init__(self, channels: int, schedule: Schedule, steps: int) -> None:
        self.logits = torch.zeros(channels, requires_grad=True)
        self.line = torch.tensor([-1.0, 1.0], requires_grad=True)
        """Slope and offset from the distance to quality, for the squared error."""
        self.schedule, self.steps, self.step = schedule, steps, 0
        group = {"params": [self.logits, self.line], "initial_lr": schedule.rate}
        self.optimizer = torch.optim.Adam([group], lr=schedule.rate)

    def distance(self, luminance: Tensor, structure: Tensor) -> Tensor:
        return (1 - torch.cat((luminance, structure), 1)) @ self.logits.softmax(0)

    def learn(self, luminance: Tensor, structure: Tensor, quality: Tensor) -> None:
        distance = self.distance(luminance, structure)
        if self.schedule.loss == "mse":
            loss = F.mse_loss(self.line[0] * 4 * distance + self.line[1], quality)
        else:
            loss = F.cosine_similarity(distance - distance.mean(), quality - quality.mean(), dim=0)
        if self.schedule.decay:
            training.linear_decay(self.optimizer, self.step, self.steps)
        self.optimizer.zero_grad()
        loss.backward()
        self.optimizer.step()
        self.step += 1

    @torch.no_grad()
    def srcc(self, luminance: Tensor, structure: Tensor, quality: Tensor) -> float:
        return float(spearmanr(-self.distance(luminance, structure), quality).statistic)


def _shuffled(count: int, epochs: int) -> Iterator[tuple[Tensor, ...]]:
    """Batches of indices, epoch by epoch."""
    generator = torch.Generator().manual_seed(0)
    for _ in range(epochs):
        yield torch.randperm(count, generator=generator).split(BATCH)


def _searched(tables: list[tuple[Tensor, Tensor, Tensor]]) -> Iterator[tuple[Schedule, list[float]]]:
    """Each schedule and its validation SRCC after each epoch."""
    train, validation = tables
    for schedule in (Schedule(*parts) for parts in product(LOSSES, RATES, DECAYS)):
        head = Head(2 * train[0].shape[1], schedule, EPOCHS * -(-len(train[0]) // BATCH))
        curve = []
        for epoch in _shuffled(len(train[0]), EPOCHS):
            for indices in epoch:
                head.learn(*(part[indices] for part in train))
            curve.append(head.srcc(*validation))
        yield schedule, curve


def _trained(backbone: Backbone, sets: list[IqaSet], schedule: Schedule, epochs: int) -> Iterator[float]:
    """The same with images: validation SRCC after each epoch."""
    train, validation = sets
    device = next(backbone.parameters()).device
    head = Head(2 * (3 + sum(backbone.channels)), schedule, EPOCHS * -(-len(train) // BATCH))
    quality, validation_quality = (torch.from_numpy(data.quality.copy()) for data in sets)
    for epoch in _shuffled(len(train), epochs):
        for indices in epoch:
            reference, distorted = (images.to(device) for images in train.tensors(indices.numpy()))
            with torch.no_grad():
                found = channel_statistics(backbone, distorted, reference)
            head.learn(*(part.cpu() for part in found), quality[indices])
        with torch.no_grad():
            scored = [channel_statistics(backbone, x, y) for y, x in batches(validation, device)]
        yield head.srcc(*(torch.cat(parts).cpu() for parts in zip(*scored, strict=True)), validation_quality)

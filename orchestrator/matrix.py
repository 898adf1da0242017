"""From a grid to its trials: every evaluation that the tables need, labelled with the levels of the matrix.

A *cell* is one combination of loss, discriminator, backbone of the IQA model, initialization, task and seed. Cells
share most of their trials; a `Label` says which trial answers for which levels, so several labels may hold equal specs.
"""

import functools
import importlib.metadata
import itertools
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from orchestrator import spec
from orchestrator.sections import DiscriminatorLevel, Grid

PIXEL, WARMUP, BICUBIC, NONE = RESERVED = "pixel", "warm-up", "bicubic", "none"
LABEL_KIND = "severity labels, not human opinion"


@dataclass(frozen=True, kw_only=True)
class Label:
    """One evaluation or training of the study and the trial that does it. Factors that do not apply are empty."""

    role: str
    """metric, metric_benchmark, optimization, judging, iqa_model or iqa_benchmark"""
    spec: spec.Trial
    loss: str = ""
    discriminator: str = ""
    initialization: str = ""
    task: str = ""
    backbone: str = ""
    start: str = ""
    """Start of the discriminator that a gan initialization comes from."""
    seed: int | None = None
    data_set: str = ""
    judge: str = ""
    family: str = ""
    """Family of the judge; empty for a judge that is printed beside the score."""
    baseline: bool = False
    """pixel, warm-up, bicubic: never ranked nor correlated."""


FACTORS = ("loss", "discriminator", "backbone", "initialization", "start", "task", "seed", "data_set", "judge")
"""The fields of a label that say which levels it stands for."""


@dataclass(frozen=True)
class Study:
    """All labels of a grid and what its tables are laid out by."""

    labels: tuple[Label, ...]
    losses: tuple[str, ...]
    discriminators: tuple[str, ...]
    cells: int
    label_kind: str = LABEL_KIND


def expand(grid: Grid) -> Study:
    """All trials of the grid, labelled."""
    builder = Builder(grid)
    left = list(cells(grid))
    return Study(
        labels=tuple(builder.labels(left)),
        losses=grid.matrix.loss,
        discriminators=tuple(level.name for level in grid.discriminators()),
        cells=len(left),
    )


@dataclass(frozen=True)
class Cell:
    """One combination of the matrix."""

    loss: str
    discriminator: DiscriminatorLevel
    backbone: str
    initialization: str
    task: spec.Task
    seed: int

    def levels(self) -> dict[str, str | int]:
        """Level of each factor that `exclude` may name."""
        names = ("loss", "initialization", "task", "seed")
        return {"discriminator": self.discriminator.name, **{name: getattr(self, name) for name in names}}


def cells(grid: Grid) -> Iterator[Cell]:
    """The cells that `exclude` leaves."""
    return (cell for cell in _cells(grid) if not _excluded(grid, cell))


def _cells(grid: Grid) -> Iterator[Cell]:
    axes = grid.matrix
    backbones = grid.iqa_backbones() or ("",)  # without any discriminator there may be no IQA model: optimization alone
    for loss, level, backbone in itertools.product(axes.loss, grid.discriminators(), backbones):
        for initialization, task, seed in itertools.product(axes.initialization, axes.task, grid.seeds):
            if initialization != "gan" or backbone == level.backbone != "":
                yield Cell(loss, level, backbone, initialization, task, seed)


def _excluded(grid: Grid, cell: Cell) -> bool:
    if not grid.exclude:
        return False
    levels = cell.levels().items()
    return any(entry.named().items() <= levels for entry in grid.exclude)


def unmatched_excludes(grid: Grid) -> list[int]:
    """Positions of the `exclude` entries that match no cell."""
    levels = [cell.levels().items() for cell in _cells(grid)] if grid.exclude else []
    return [i for i, entry in enumerate(grid.exclude) if not any(entry.named().items() <= cell for cell in levels)]


class Builder:
    """Builds each spec of a grid once; equal specs are the same object, so keys are computed once."""

    def __init__(self, grid: Grid) -> None:
        self.grid = grid
        self.photographs = {name: spec.photograph(name) for name in spec.PHOTOGRAPHS}
        self.train_sets = {
            task: self._ladder(task, "train", grid.photographs.train, crops=grid.iqa_sets.of(task).crops)
            for task in ("fr", "nr")
        }
        self.validation_sets = {
            task: self._ladder(task, "validation", grid.photographs.validation) for task in ("fr", "nr")
        }
        self.benchmark_sets = {
            task: {
                name: self._ladder(task, name, benchmark.photographs, benchmark.distortions)
                for name, benchmark in grid.iqa_sets.of(task).benchmarks.items()
            }
            for task in ("fr", "nr")
        }
        self.test_sets = {name: self._sr_set(name, names) for name, names in grid.super_resolution.tests.items()}
        self.sr_validation = self._sr_set("validation", grid.photographs.validation)
        self.judges = {
            name: spec.Judge(metric=name, version=f"pyiqa {importlib.metadata.version('pyiqa')}")
            for name in grid.judges.families()
        }
        for method in ("pretext", "metric", "warmup", "super_resolution", "iqa_model"):
            setattr(self, method, functools.cache(getattr(self, method)))

    # ------------------------------------------------------------------------------------------- labels

    def labels(self, cells: list[Cell]) -> Iterator[Label]:
        """All labels that `cells` and the grid's baselines need, each once."""
        yield from self._baseline_labels()
        metrics = dict.fromkeys((cell.loss, cell.seed) for cell in cells)
        for loss, seed in metrics:
            yield from self._metric_labels(loss, seed)
        optimized = dict.fromkeys((cell.loss, cell.discriminator, cell.seed) for cell in cells)
        trained = dict.fromkeys((cell.discriminator, cell.seed) for cell in cells)
        pixel = [(PIXEL, level, seed) for level, seed in trained if PIXEL in self.grid.baselines]
        for loss, level, seed in [*optimized, *pixel]:
            trial = self.super_resolution(loss, level, seed)
            factors: dict[str, Any] = {"loss": loss, "discriminator": level.name, "seed": seed}
            yield from self._optimization_labels(trial, baseline=loss == PIXEL, **factors)
        yield from self._iqa_labels(cells)

    def _baseline_labels(self) -> Iterator[Label]:
        yield from self._judging_labels(None, loss=BICUBIC, baseline=True)
        yield from self._optimization_labels(self.warmup(), loss=WARMUP, discriminator=NONE, baseline=True)

    def _metric_labels(self, loss: str, seed: int) -> Iterator[Label]:
        metric = self.metric(loss, seed)
        yield Label(role="metric", spec=metric, loss=loss, seed=seed)
        for benchmark, data in self.benchmark_sets["fr"].items():
            trial = spec.Benchmark(model=metric, data=data, numerics=self.grid.numerics)
            yield Label(role="metric_benchmark", spec=trial, loss=loss, seed=seed, data_set=benchmark)

    def _optimization_labels(self, trial: spec.SuperResolution, **factors: Any) -> Iterator[Label]:
        yield Label(role="optimization", spec=trial, **factors)
        yield from self._judging_labels(trial, **factors)

    def _judging_labels(self, trial: spec.SuperResolution | None, **factors: Any) -> Iterator[Label]:
        scale, numerics = self.grid.super_resolution.scale, self.grid.numerics
        for name, test in self.test_sets.items():
            restoration = spec.Restoration(super_resolution=trial, scale=scale, test=test, numerics=numerics)
            for judge, family in self.grid.judges.families().items():
                judging = spec.Judging(restoration=restoration, test=test, judge=self.judges[judge], numerics=numerics)
                yield Label(role="judging", spec=judging, data_set=name, judge=judge, family=family, **factors)

    def _iqa_labels(self, cells: list[Cell]) -> Iterator[Label]:
        """Only gan depends on loss and discriminator: else all cells of one (backbone, task, seed) share a model."""
        seen = set()
        for cell in cells:
            gan = cell.initialization == "gan"
            source = (cell.loss, cell.discriminator) if gan else None
            identity = (source, cell.backbone, cell.initialization, cell.task, cell.seed)
            if not cell.backbone or identity in seen:
                continue
            seen.add(identity)
            origin = {"loss": cell.loss, "discriminator": cell.discriminator.name, "start": cell.discriminator.start}
            factors: dict[str, Any] = {
                name: getattr(cell, name) for name in ("backbone", "initialization", "task", "seed")
            }
            factors |= origin if gan else {}
            model = self.iqa_model(cell.task, cell.backbone, cell.initialization, source, cell.seed)
            yield Label(role="iqa_model", spec=model, **factors)
            for benchmark, data in self.benchmark_sets[cell.task].items():
                trial = spec.Benchmark(model=model, data=data, numerics=self.grid.numerics)
                yield Label(role="iqa_benchmark", spec=trial, data_set=benchmark, **factors)

    # -------------------------------------------------------------------------------------------- trials

    def pretext(self, model: spec.BackboneModel) -> spec.Pretext:
        """Plays the part of released weights: one for all seeds, as a released file would be."""
        return spec.Pretext(
            backbone=spec.Backbone(model=model),
            photographs=self._named(self.grid.photographs.train),
            training=self.grid.pretext,
            numerics=self.grid.numerics,
            seed=0,
        )

    def metric(self, loss: str, seed: int) -> spec.FrIqa:
        """The DISTS-style metric of a loss level."""
        level = self.grid.backbones[loss]
        return spec.FrIqa(
            backbone=spec.Backbone(model=level.model),
            weights=self._weights(level.model, level.weights, "loss", seed),
            train=self.train_sets["fr"],
            validation=self.validation_sets["fr"],
            fit=self.grid.fr_iqa,
            numerics=self.grid.numerics,
        )

    def warmup(self) -> spec.SuperResolution:
        """The pixel-loss training that all others start from."""
        settings = self.grid.super_resolution.warmup
        return self._super_resolution(
            settings=settings,
            weights=spec.LossWeights(pixel=1.0, fidelity=0.0, adversarial=0.0),
            start=None,
            loss=None,
            reference_loss=None,
            discriminator=None,
            seed=settings.seed,
        )

    def super_resolution(self, loss: str, level: DiscriminatorLevel, seed: int) -> spec.SuperResolution:
        """SwinIR trained with a loss under a discriminator. In the pixel baseline L1 stands in the place of D with D's
        weight, so that the adversarial term weighs as much beside it as beside any other loss."""
        section = self.grid.super_resolution
        weights = section.weights
        pixel = loss == PIXEL
        adversarial = weights.adversarial if level.head else 0.0
        terms = (weights.fidelity, 0.0) if pixel else (weights.pixel, weights.fidelity)
        calibrated = any(isinstance(weight, spec.Calibrated) for weight in (*terms, adversarial))
        return self._super_resolution(
            settings=section.training,
            weights=spec.LossWeights(pixel=terms[0], fidelity=terms[1], adversarial=adversarial),
            start=self.warmup(),
            loss=None if pixel else self.metric(loss, seed),
            reference_loss=self.metric(section.reference_loss, seed) if calibrated else None,
            discriminator=self._discriminator(level, seed) if level.head else None,
            seed=seed,
        )

    def iqa_model(
        self, task: spec.Task, backbone: str, start: str, source: tuple[str, DiscriminatorLevel] | None, seed: int
    ) -> spec.IqaTransfer:
        """An IQA model; `source` is (loss, discriminator) for start = gan, else None."""
        model = self.grid.backbones[backbone].model
        settings = self.grid.iqa_transfer.of(task).model_dump()
        return spec.IqaTransfer(
            task=task,
            backbone=spec.Backbone(model=model),
            weights=self.super_resolution(*source, seed) if source else self._weights(model, start, "iqa", seed),
            train=self.train_sets[task],
            validation=self.validation_sets[task],
            training=spec.IqaTraining(**settings),
            numerics=self.grid.numerics,
            seed=seed,
        )

    def _super_resolution(self, settings: Any, **parts: Any) -> spec.SuperResolution:
        section = self.grid.super_resolution
        own = ("steps", "batch", "patch", "learning_rate", "decay", "ema")
        training = spec.SrTraining(
            **{name: getattr(settings, name) for name in own},
            discriminator_warmup=section.discriminator_warmup if parts["discriminator"] else 0,
            divergence=section.divergence,
        )
        return spec.SuperResolution(
            generator=section.generator,
            scale=section.scale,
            train=self._named(self.grid.photographs.train),
            validation=self.sr_validation,
            training=training,
            numerics=self.grid.numerics,
            **parts,
        )

    def _discriminator(self, level: DiscriminatorLevel, seed: int) -> spec.Discriminator:
        model = self.grid.backbones[level.backbone].model
        weights = self._weights(model, level.start, "discriminator", seed)
        assert level.head, "none is no discriminator"
        return spec.Discriminator(head=level.head, backbone=spec.Backbone(model=model), weights=weights)

    def _weights(
        self, model: spec.BackboneModel, start: str, purpose: Any, seed: int
    ) -> spec.RandomWeights | spec.Pretext:
        return self.pretext(model) if start == "pretext" else spec.RandomWeights(purpose=purpose, seed=seed)

    # ---------------------------------------------------------------------------------------------- data

    def _named(self, names: tuple[str, ...]) -> tuple[spec.Photograph, ...]:
        return tuple(self.photographs[name] for name in names)

    def _sr_set(self, name: str, names: tuple[str, ...]) -> spec.SrPhotographs:
        return spec.SrPhotographs(name=name, photographs=self._named(names), crop=self.grid.super_resolution.crop)

    def _ladder(
        self,
        task: str,
        name: str,
        names: tuple[str, ...],
        distortions: tuple[spec.Distortion, ...] | None = None,
        crops: int = 0,
    ) -> spec.SeverityLadder:
        settings = self.grid.iqa_sets.of(task)
        return spec.SeverityLadder(
            name=name,
            photographs=self._named(names),
            distortions=distortions or settings.distortions,
            levels=settings.levels,
            crop=settings.crop,
            crops=crops or settings.evaluation_crops,
            seed=settings.seed,
        )

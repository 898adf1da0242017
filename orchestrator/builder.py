"""Builds the trials of a grid, each once: equal specs are the same object, so keys are computed once."""

import functools
import importlib.metadata
from typing import Any

from orchestrator import spec
from orchestrator.sections import DiscriminatorLevel, Grid

PIXEL = "pixel"
"""The baseline's name in the place of a loss."""


class Builder:
    """The trials of a grid by their levels, and the data sets that they share."""

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

"""Builds the trials of a grid, each once: equal specs are the same object, so keys are computed once."""

import functools
import importlib.metadata
from typing import Any

from orchestrator import known, spec
from orchestrator.manifests import Manifests, data_request, generator_request, judge_request, weights_request
from orchestrator.sections import DiscriminatorLevel, Grid, LadderSet, OfficialGenerator, OfficialSet, SplitByReference

PIXEL = "pixel"
"""The baseline's name in the place of a loss."""


class Builder:
    """The trials of a grid by their levels, and the data sets that they share."""

    def __init__(self, grid: Grid, manifests: Manifests) -> None:
        self.grid, self.manifests = grid, manifests
        self.data = Data(grid, manifests)
        self.judges = {
            name: spec.Judge(
                metric=name,
                version=known.own_judges().get(name, f"pyiqa {importlib.metadata.version('pyiqa')}"),
                weights=manifests.content(judge_request(name)),
            )
            for name in grid.judges.families()
        }
        for method in ("pretext", "metric", "warmup", "super_resolution", "iqa_model"):
            setattr(self, method, functools.cache(getattr(self, method)))

    def pretext(self, model: str) -> spec.Pretext:
        """Plays the part of released weights: one for all seeds, as a released file would be."""
        assert self.grid.pretext, "checked by grid.py"
        assert self.grid.photographs, "checked by grid.py"
        return spec.Pretext(
            backbone=spec.Backbone(model=model),
            photographs=photographs(self.grid.photographs.train),
            training=self.grid.pretext,
            numerics=self.grid.numerics,
            seed=0,
        )

    def metric(self, loss: str, seed: int) -> spec.FrIqa:
        """The DISTS-style metric of a loss level."""
        level = self.grid.backbones[loss]
        start = level.weights if level.weights in ("random", "pretext") else "released"
        return spec.FrIqa(
            backbone=spec.Backbone(model=level.model),
            weights=self._weights(loss, str(start), "loss", seed),
            train=self.data.fit["train"],
            validation=self.data.fit["validation"],
            fit=self.grid.fr_iqa,
            numerics=self.grid.numerics,
        )

    def warmup(self) -> spec.SuperResolution:
        """The pixel-loss training that all others start from; of 0 steps where it imports an official checkpoint."""
        warmup = self.grid.super_resolution.warmup
        weights = spec.LossWeights(pixel=1.0, fidelity=0.0, adversarial=0.0)
        alone: dict[str, Any] = {"weights": weights, "loss": None, "reference_loss": None, "discriminator": None}
        if isinstance(warmup, OfficialGenerator):
            start = spec.ReleasedWeights(content=self.manifests.content(generator_request(self.grid.super_resolution)))
            settings = self.grid.super_resolution.training
            return self._super_resolution(settings=settings, steps=0, start=start, seed=0, **alone)
        return self._super_resolution(settings=warmup, steps=warmup.steps, start=None, seed=warmup.seed, **alone)

    def super_resolution(self, loss: str, level: DiscriminatorLevel, seed: int) -> spec.SuperResolution:
        """SwinIR trained with a loss under a discriminator. In the pixel baseline L1 stands in the place of D with D's
        weight, so that the adversarial term weighs as much beside it as beside any other loss."""
        section = self.grid.super_resolution
        weights = section.weights
        pixel = loss == PIXEL
        adversarial = (weights.adversarial if level.weight is None else level.weight) if level.head else 0.0
        terms = (weights.fidelity, 0.0) if pixel else (weights.pixel, weights.fidelity)
        calibrated = any(isinstance(weight, spec.Calibrated) for weight in (*terms, adversarial))
        return self._super_resolution(
            settings=section.training,
            steps=section.training.steps,
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
        assert self.grid.iqa_transfer is not None, "without it there are no IQA models"
        return spec.IqaTransfer(
            task=task,
            backbone=spec.Backbone(model=self.grid.backbones[backbone].model),
            weights=self.super_resolution(*source, seed) if source else self._weights(backbone, start, "iqa", seed),
            train=self.data.train[task],
            validation=self.data.validation[task],
            training=spec.IqaTraining(**self.grid.iqa_transfer.of(task).model_dump()),
            numerics=self.grid.numerics,
            seed=seed,
        )

    def _super_resolution(self, settings: Any, steps: int, **parts: Any) -> spec.SuperResolution:
        section = self.grid.super_resolution
        own = ("batch", "patch", "learning_rate", "decay", "ema")
        training = spec.SrTraining(
            **{name: getattr(settings, name) for name in own},
            steps=steps,
            discriminator_warmup=section.discriminator_warmup if parts["discriminator"] else 0,
            divergence=section.divergence,
        )
        return spec.SuperResolution(
            generator=section.generator,
            scale=section.scale,
            train=self.data.sr_train,
            validation=self.data.sr_validation,
            training=training,
            numerics=self.grid.numerics,
            **parts,
        )

    def _discriminator(self, level: DiscriminatorLevel, seed: int) -> spec.Discriminator:
        adversarial = self.grid.super_resolution.adversarial
        return spec.Discriminator(
            head=level.head,
            backbone=spec.Backbone(model=self.grid.backbones[level.backbone].model),
            loss=adversarial.loss,
            backbone_factor=adversarial.backbone_factor,
            r1=adversarial.r1,
            augment=adversarial.augment,
            weights=self._weights(level.backbone, level.start, "discriminator", seed),
        )

    def _weights(
        self, backbone: str, start: str, purpose: Any, seed: int
    ) -> spec.RandomWeights | spec.ReleasedWeights | spec.Pretext:
        level = self.grid.backbones[backbone]
        if start == "pretext":
            return self.pretext(level.model)
        if start == "released" or start in level.starts:
            return spec.ReleasedWeights(content=self.manifests.content(weights_request(level.started(start))))
        return spec.RandomWeights(purpose=purpose, seed=seed)


class Data:
    """The data sets of a grid: of photographs where the grid names photographs, else official ones."""

    def __init__(self, grid: Grid, manifests: Manifests) -> None:
        self.grid, self.manifests = grid, manifests
        self.train = {task: self._part(task, "train") for task in grid.iqa_sets.tasks()}
        self.validation = {task: self._part(task, "validation") for task in grid.iqa_sets.tasks()}
        self.benchmarks = {task: self._benchmarks(task) for task in grid.iqa_sets.tasks()}
        self.fit = {"train": self._part("fr", "train", fitted=True), "validation": self.validation["fr"]}
        self.sr_train = self._sr_part("train", crop=0)
        self.sr_validation = self._sr_part("validation", crop=grid.super_resolution.crop)
        self.tests = self._tests()

    def _part(self, task: str, part: Any, fitted: bool = False) -> spec.IqaData:
        """The training or validation part of a task's set; crops are for trainings alone, not for fitting a metric."""
        section = self.grid.iqa_sets.of(task)
        if isinstance(section, OfficialSet):
            return self._official(section, section.train, part, section.crop if part == "train" and not fitted else 0)
        split = self.grid.photographs
        assert split is not None, "grid.py checks that ladders have photographs"
        crops = section.crops if part == "train" else section.evaluation_crops
        return _ladder(section, part, getattr(split, part), section.distortions, crops)

    def _benchmarks(self, task: str) -> dict[str, spec.IqaData]:
        section = self.grid.iqa_sets.of(task)
        if isinstance(section, OfficialSet):
            parts = {name: "test" if name == section.train else "all" for name in section.benchmarks}
            return {name: self._official(section, name, part, crop=0) for name, part in parts.items()}
        return {
            name: _ladder(
                section, name, one.photographs, one.distortions or section.distortions, section.evaluation_crops
            )
            for name, one in section.benchmarks.items()
        }

    def _official(self, section: OfficialSet, name: str, part: Any, crop: int) -> spec.IqaDataSet:
        assert self.grid.data is not None, "checked by grid.py"
        split = section.split
        fractions = isinstance(split, SplitByReference) and part != "all"
        return spec.IqaDataSet(
            name=name,
            layout=self.grid.data.sets[name].layout,  # type: ignore[arg-type]  # checked by grid.py: no folder of images
            content=self.manifests.content(data_request(self.grid, name)),
            part=part,
            split=spec.ReferenceSplit(**split.model_dump()) if fractions and not isinstance(split, str) else None,
            crop=crop,
        )

    def _sr_part(self, part: Any, crop: int) -> spec.SrData:
        section = self.grid.super_resolution
        if section.train is not None:
            return self._images(section.train, part, section.hold_out, crop)
        split = self.grid.photographs
        assert split is not None, "checked by grid.py"
        return spec.SrPhotographs(name=part, photographs=photographs(getattr(split, part)), crop=crop)

    def _tests(self) -> dict[str, spec.SrData]:
        section = self.grid.super_resolution
        if isinstance(section.tests, dict):
            return {
                name: spec.SrPhotographs(name=name, photographs=photographs(names), crop=section.crop)
                for name, names in section.tests.items()
            }
        return {name: self._images(name, "all", 0, crop=0) for name in section.tests}

    def _images(self, name: str, part: Any, hold_out: int, crop: int) -> spec.SrImages:
        content = self.manifests.content(data_request(self.grid, name))
        return spec.SrImages(name=name, content=content, part=part, hold_out=hold_out, crop=crop)


def photographs(names: tuple[str, ...]) -> tuple[spec.Photograph, ...]:
    """The embedded photographs of those names."""
    return tuple(spec.photograph(name) for name in names)


def _ladder(
    section: LadderSet,
    name: str,
    names: tuple[str, ...],
    distortions: tuple[spec.Distortion, ...],
    crops: int,
) -> spec.SeverityLadder:
    return spec.SeverityLadder(
        name=name,
        photographs=photographs(names),
        distortions=distortions,
        levels=section.levels,
        crop=section.crop,
        crops=crops,
        seed=section.seed,
    )

"""The sections of a grid file, typed. grid.py reads and checks them, matrix.py turns them into trials."""

import itertools
import math
from typing import Annotated, Any, Literal, NamedTuple

from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Discriminator,
    Field,
    PlainValidator,
    Tag,
)
from pydantic_core import PydanticCustomError

from orchestrator import spec

Positive = Annotated[int, Field(gt=0, le=10**9)]
Seed = Annotated[int, Field(ge=0, lt=2**32)]
Name = Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9._+-]{0,63}$")]


class Section(BaseModel):
    """Base of the grid's sections: exact types, finite numbers, unknown fields refused, unchangeable."""

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True, allow_inf_nan=False)


def _listed(value: Any) -> Any:
    """A single level may be written without brackets."""
    return tuple(value) if isinstance(value, list) else (value,)


def _no_yaml_booleans(value: Any) -> Any:
    if isinstance(value, bool):
        raise PydanticCustomError(
            "yaml_boolean",
            "none (YAML reads off, no, on and yes without quotes as booleans), {head: ..., backbone: ..., start: ...}",
        )
    return value


def _weight(value: Any) -> spec.Weight:
    if value == "calibrated":
        return spec.Calibrated(times=1.0)
    if isinstance(value, dict) and set(value) == {"calibrated"} and _from_zero_up(value["calibrated"]):
        return spec.Calibrated(times=float(value["calibrated"]))
    if _from_zero_up(value):
        return float(value)
    raise PydanticCustomError("weight", "a finite number from 0 up, calibrated, {calibrated: NUMBER}")


def _from_zero_up(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value) and value >= 0


Weight = Annotated[spec.Weight, PlainValidator(_weight)]
Names = Annotated[tuple[Name, ...], Field(min_length=1)]


class BackboneLevel(Section):
    """A loss backbone: an architecture and where its weights come from."""

    model: spec.BackboneModel
    weights: Literal["random", "pretext"]


class DiscriminatorAxis(Section):
    """Discriminators: every head x every backbone x every start."""

    head: Annotated[tuple[spec.Head, ...], BeforeValidator(_listed), Field(min_length=1)]
    backbone: Annotated[tuple[str, ...], BeforeValidator(_listed), Field(min_length=1)]
    start: Annotated[tuple[Literal["random", "pretext"], ...], BeforeValidator(_listed), Field(min_length=1)]


DiscriminatorEntry = Annotated[
    Annotated[Literal["none"], Tag("name")] | Annotated[DiscriminatorAxis, Tag("axis")],
    Discriminator(lambda value: "axis" if isinstance(value, dict | DiscriminatorAxis) else "name"),
    BeforeValidator(_no_yaml_booleans),
]


class DiscriminatorLevel(NamedTuple):
    """One level of the discriminator axis; `none` has empty parts."""

    name: str
    head: spec.Head | Literal[""] = ""
    backbone: str = ""
    start: str = ""


def discriminator_levels(entry: "str | DiscriminatorAxis") -> list[DiscriminatorLevel]:
    """The levels that one entry of the axis makes."""
    if isinstance(entry, str):
        return [DiscriminatorLevel(entry)]
    parts = itertools.product(entry.head, entry.backbone, entry.start)
    return [DiscriminatorLevel("-".join(part), *part) for part in parts]


class Matrix(Section):
    """The axes; the seeds are the fifth."""

    loss: Annotated[tuple[str, ...], Field(min_length=1)]
    discriminator: Annotated[tuple[DiscriminatorEntry, ...], Field(min_length=1)]
    initialization: Annotated[tuple[Literal["random", "pretext", "gan"], ...], Field(min_length=1)]
    task: Annotated[tuple[spec.Task, ...], Field(min_length=1)]


class Exclude(Section):
    """Leaves out the cells that have all the levels named here."""

    loss: str | None = None
    discriminator: str | None = None
    initialization: str | None = None
    task: str | None = None
    seed: int | None = None

    def named(self) -> dict[str, str | int]:
        """Only the factors that this entry names."""
        return {name: value for name, value in self if value is not None}


class PhotographSplit(Section):
    """Photographs by content, apart before anything is derived from them."""

    train: Names
    validation: Names
    test: Names


class LadderBenchmark(Section):
    """A benchmark of severity labels on test photographs; distortions default to those of the training set."""

    photographs: Names
    distortions: Annotated[tuple[spec.Distortion, ...], Field(min_length=1)] | None = None


class IqaSet(Section):
    """An IQA set generated from photographs. Its labels are severity levels, not human opinion."""

    distortions: Annotated[tuple[spec.Distortion, ...], Field(min_length=1)]
    levels: Annotated[int, Field(ge=2, le=5)]
    crop: Positive
    crops: Positive
    """Crops per training photograph."""
    evaluation_crops: Positive
    """Crops per photograph of the validation set and the benchmarks."""
    seed: Seed
    benchmarks: Annotated[dict[Name, LadderBenchmark], Field(min_length=1)]


class IqaSets(Section):
    """The set that metrics and FR models are trained on, and the one for NR models, each with its benchmarks."""

    fr: IqaSet
    nr: IqaSet

    def of(self, task: str) -> IqaSet:
        """The set of a task."""
        return self.fr if task == "fr" else self.nr


class Optimization(Section):
    """Training of a generator."""

    steps: Positive
    batch: Positive
    patch: Positive
    learning_rate: Annotated[float, Field(gt=0)]
    decay: bool
    ema: Annotated[float, Field(ge=0, lt=1)]


class Warmup(Optimization):
    """Pixel-loss training that every other generator starts from: one for all seeds."""

    seed: Seed


class Weights(Section):
    """Weights of the loss terms: numbers, or set by measurement."""

    pixel: Weight
    fidelity: Weight
    adversarial: Weight


class SuperResolutionSection(Section):
    """Everything about the super-resolution trials."""

    generator: spec.SwinIR
    scale: Annotated[int, Field(ge=2, le=4)]
    warmup: Warmup
    training: Optimization
    weights: Weights
    reference_loss: str
    discriminator_warmup: Annotated[int, Field(ge=0)]
    divergence: Annotated[float, Field(gt=0)]
    crop: Positive
    tests: Annotated[dict[Name, Names], Field(min_length=1)]


class IqaTrainingSection(Section):
    """Training of the IQA models of one task; batch norm needs a batch of at least two."""

    steps: Positive
    batch: Annotated[int, Field(ge=2)]
    learning_rate: Annotated[float, Field(gt=0)]
    backbone_factor: Annotated[float, Field(ge=0)]
    evaluate_every: Positive


class IqaTransferSection(Section):
    """The IQA models; `backbones` defaults to the discriminators' backbones."""

    backbones: Names | None = None
    fr: IqaTrainingSection
    nr: IqaTrainingSection

    def of(self, task: str) -> IqaTrainingSection:
        """The training of a task."""
        return self.fr if task == "fr" else self.nr


class Judges(Section):
    """pyiqa metrics: by family in the optimization score, and beside it."""

    score: Annotated[dict[Name, Names], Field(min_length=1)]
    beside: tuple[Name, ...] = ()

    def families(self) -> dict[str, str]:
        """Judge -> its family; empty for those that are printed beside the score."""
        scored = {judge: family for family, judges in self.score.items() for judge in judges}
        return scored | {judge: "" for judge in self.beside if judge not in scored}


class Runtime(Section):
    """Where and how to run. Never part of a trial's identity."""

    storage: Annotated[str, Field(min_length=1)] = "results/store"
    tracking: Annotated[str, Field(min_length=1)] = "results/mlflow.db"
    max_failures: Annotated[int, Field(ge=0)] = 3
    checkpoint_seconds: Annotated[float, Field(gt=0)] = 300.0
    cpus: Positive = 1
    """CPU cores that a trial reserves; under `reference` it computes on one."""
    gpus: Annotated[float, Field(ge=0)] = 0.0
    """GPUs that a trial reserves; a fraction shares one."""


class Grid(Section):
    """A whole grid file."""

    name: Name
    seeds: Annotated[tuple[Seed, ...], Field(min_length=1)]
    numerics: spec.Numerics
    backbones: Annotated[dict[Name, BackboneLevel], Field(min_length=1)]
    matrix: Matrix
    exclude: tuple[Exclude, ...] = ()
    baselines: tuple[Literal["pixel"], ...] = ()
    photographs: PhotographSplit
    iqa_sets: IqaSets
    pretext: spec.PretextTraining
    fr_iqa: spec.MetricFit
    super_resolution: SuperResolutionSection
    iqa_transfer: IqaTransferSection
    judges: Judges
    runtime: Runtime = Runtime()

    def discriminators(self) -> list[DiscriminatorLevel]:
        """The levels of the discriminator axis, in the order of the file."""
        return [level for entry in self.matrix.discriminator for level in discriminator_levels(entry)]

    def iqa_backbones(self) -> tuple[str, ...]:
        """Names of the backbones of the IQA models."""
        own = (level.backbone for level in self.discriminators() if level.backbone)
        return self.iqa_transfer.backbones or tuple(dict.fromkeys(own))

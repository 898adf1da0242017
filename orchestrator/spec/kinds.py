"""The seven kinds of trials, and what stands for one in a file."""

from dataclasses import dataclass
from typing import ClassVar

from orchestrator.spec.parts import (
    Augmentation,
    Backbone,
    GanLoss,
    IqaData,
    IqaTraining,
    Judge,
    LossWeights,
    MetricFit,
    Model,
    Numerics,
    Photograph,
    PretextTraining,
    RandomWeights,
    ReleasedWeights,
    SrData,
    SrTraining,
    SwinIR,
    Task,
)


class Trial(Model):
    """Base of the seven kinds. `VERSION` is raised by hand when a recipe's meaning changes: old results then keep their
    address, and new ones get another."""

    KIND: ClassVar[str]
    VERSION: ClassVar[int]
    numerics: Numerics


@dataclass(frozen=True, kw_only=True)
class Parent(Model):
    """Stands in `spec.json` for a parent's whole spec: its kind and its key (16 hex digits)."""

    kind: str
    key: str


@dataclass(frozen=True, kw_only=True)
class Pretext(Trial):
    """Pretrains a backbone on photographs with a quality-blind task, where no released weights can be had."""

    KIND: ClassVar[str] = "pretext"
    VERSION: ClassVar[int] = 1
    backbone: Backbone
    photographs: tuple[Photograph, ...]
    training: PretextTraining
    numerics: Numerics
    seed: int


@dataclass(frozen=True, kw_only=True)
class FrIqa(Trial):
    """Fits a DISTS-style metric on a frozen backbone. Holds no seed of its own: with given weights and a fixed split
    the fit is deterministic, so seeds that would give equal results share one trial."""

    KIND: ClassVar[str] = "fr_iqa"
    VERSION: ClassVar[int] = 3
    backbone: Backbone
    weights: RandomWeights | ReleasedWeights | Pretext | Parent
    train: IqaData
    validation: IqaData
    fit: MetricFit
    numerics: Numerics


@dataclass(frozen=True, kw_only=True)
class Discriminator(Model):
    """Judges real against restored."""

    head: str
    """What makes logits of the backbone's maps: a name of HEADS in workers/models/discriminators.py."""
    backbone: Backbone
    loss: GanLoss
    backbone_factor: float
    """Learning rate of the backbone as a fraction of the head's."""
    r1: float
    """Weight of the R1 gradient penalty (arXiv 1801.04406); 0: none."""
    augment: tuple[Augmentation, ...]
    """Differentiable augmentation of real and restored alike (arXiv 2006.10738)."""
    weights: RandomWeights | ReleasedWeights | Pretext | Parent


@dataclass(frozen=True, kw_only=True)
class SuperResolution(Trial):
    """Trains SwinIR. The warm-up is the same kind with `start`, `loss` and `discriminator` None: pixel loss alone."""

    KIND: ClassVar[str] = "super_resolution"
    VERSION: ClassVar[int] = 5
    generator: SwinIR
    scale: int
    train: SrData
    validation: SrData
    training: SrTraining
    weights: LossWeights
    start: "SuperResolution | ReleasedWeights | Parent | None"
    """The warm-up whose generator this one starts from; for a warm-up of 0 steps the official file that it imports."""
    loss: FrIqa | Parent | None
    """The metric used as the loss; None for the pixel baseline."""
    reference_loss: FrIqa | Parent | None
    """The metric whose gradient norm calibrates the weights; None where no weight is calibrated."""
    discriminator: Discriminator | None
    numerics: Numerics
    seed: int


@dataclass(frozen=True, kw_only=True)
class Restoration(Trial):
    """Writes the restored images of one test set; `super_resolution` None is bicubic interpolation."""

    KIND: ClassVar[str] = "restoration"
    VERSION: ClassVar[int] = 2
    super_resolution: SuperResolution | Parent | None
    scale: int
    test: SrData
    numerics: Numerics


@dataclass(frozen=True, kw_only=True)
class Judging(Trial):
    """Per-image scores of one judge on the images of one restoration."""

    KIND: ClassVar[str] = "judging"
    VERSION: ClassVar[int] = 4
    restoration: Restoration | Parent
    against: Restoration | Parent | None
    """The warm-up's restoration of the same test set, for an own judge that compares with it; None for all others."""
    test: SrData
    scale: int
    """The reference is trimmed to multiples of it, as the restored image was."""
    judge: Judge
    numerics: Numerics


@dataclass(frozen=True, kw_only=True)
class IqaTransfer(Trial):
    """Trains an IQA model whose backbone starts at random, from a pretext, or from the discriminator of one
    super-resolution trial (the *gan* initialization)."""

    KIND: ClassVar[str] = "iqa_transfer"
    VERSION: ClassVar[int] = 2
    task: Task
    backbone: Backbone
    weights: RandomWeights | ReleasedWeights | Pretext | SuperResolution | Parent
    train: IqaData
    validation: IqaData
    training: IqaTraining
    numerics: Numerics
    seed: int


@dataclass(frozen=True, kw_only=True)
class Benchmark(Trial):
    """Per-image predictions of a fitted metric or an IQA model on one IQA set."""

    KIND: ClassVar[str] = "benchmark"
    VERSION: ClassVar[int] = 2
    model: FrIqa | IqaTransfer | Parent
    data: IqaData
    numerics: Numerics


TRIALS: tuple[type[Trial], ...] = (
    Pretext,
    FrIqa,
    SuperResolution,
    Restoration,
    Judging,
    IqaTransfer,
    Benchmark,
)
KINDS: dict[str, type[Trial]] = {cls.KIND: cls for cls in TRIALS}
TRAINING_KINDS = ("pretext", "fr_iqa", "super_resolution", "iqa_transfer")

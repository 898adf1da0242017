"""What specs are made of: data, models, settings of trainings."""

from dataclasses import dataclass
from typing import Any, ClassVar, Literal

Numerics = Literal["reference", "fast"]
"""reference: fp32, deterministic, one CPU thread: equal bits. fast: bf16 autocast and TF32 on a GPU."""
Task = Literal["fr", "nr"]
GanLoss = Literal["vanilla", "hinge", "relativistic"]
Augmentation = Literal["color", "translation", "cutout"]
SMALL_MODELS = ("small/vgg", "small/resnet", "small/convnext", "small/vit", "small/swin")
IqaLayout = Literal[
    "kadid10k", "tid2013", "live", "csiq", "pipal", "koniq10k", "spaq", "live_challenge", "pyiqa_fr", "pyiqa_nr"
]
Part = Literal["all", "train", "validation", "test"]
UNRESOLVED = "unresolved"
"""First word of a content that no manifest knows yet: preflight or prefetch has not seen the files."""
Distortion = Literal[
    "gaussian_blur",
    "lens_blur",
    "motion_blur",
    "white_noise",
    "impulse_noise",
    "multiplicative_noise",
    "jpeg",
    "jpeg2000",
    "pixelate",
    "quantization",
    "contrast_decrease",
    "darken",
    "brighten",
    "desaturate",
    "color_shift",
    "chromatic_aberration",
    "oversharpen",
    "ringing",
]


class Model:
    """Base of everything in a spec. Where pydantic reads it (grid.py), types are exact, numbers finite, and unknown
    fields refused."""

    __pydantic_config__: ClassVar[dict[str, Any]] = {"extra": "forbid", "strict": True, "allow_inf_nan": False}


@dataclass(frozen=True, kw_only=True)
class Photograph(Model):
    """One photograph that scikit-image or scikit-learn ships: its name and the SHA-256 of the file."""

    name: str
    sha256: str


@dataclass(frozen=True, kw_only=True)
class SeverityLadder(Model):
    """An IQA set generated from photographs in KADID's manner: every crop x every distortion x every level.
    Its labels are the *severity levels* that were applied, not human opinion, and every output says so."""

    KIND: ClassVar[str] = "severity_ladder"
    name: str
    photographs: tuple[Photograph, ...]
    distortions: tuple[Distortion, ...]
    levels: int
    """Severity 1 (weakest) to `levels` (strongest)."""
    crop: int
    """Side of the square crops, pixels."""
    crops: int
    """Crops per photograph."""
    seed: int
    """Draws the crops' positions and the noise."""


@dataclass(frozen=True, kw_only=True)
class ReferenceSplit(Model):
    """A seeded split by reference content: these fractions of the references train and validate, the rest tests."""

    seed: int
    train: float
    validation: float


@dataclass(frozen=True, kw_only=True)
class IqaDataSet(Model):
    """Part of an IQA data set in its official layout, with its labels of human opinion (docs/study.md)."""

    KIND: ClassVar[str] = "iqa_data_set"
    name: str
    layout: IqaLayout
    content: str
    """SHA-256 over its labels and image files (`unresolved ...` before preflight has read them)."""
    part: Part
    split: ReferenceSplit | None
    """None: the set's own official split, or none at all when `part` is all."""
    crop: int
    """Side of the random square crops that a training takes, pixels; 0: whole images."""


@dataclass(frozen=True, kw_only=True)
class SrPhotographs(Model):
    """High-resolution photographs of a super-resolution set; the low-resolution side is their antialiased bicubic."""

    KIND: ClassVar[str] = "sr_photographs"
    name: str
    photographs: tuple[Photograph, ...]
    crop: int
    """Side of the central square crop that is evaluated, pixels; 0: whole images, as for training."""


@dataclass(frozen=True, kw_only=True)
class SrImages(Model):
    """Folders of high-resolution images, with their official low-resolution side or its antialiased bicubic."""

    KIND: ClassVar[str] = "sr_images"
    name: str
    content: str
    """SHA-256 over the image files (`unresolved ...` before preflight has read them)."""
    part: Part
    """train: without the held-out images; validation: those alone; all: every image."""
    hold_out: int
    """How many images are held out; those whose names have the smallest SHA-256."""
    crop: int
    """Side of the central square crop that is evaluated, pixels; 0: whole images."""


IqaData = SeverityLadder | IqaDataSet
SrData = SrPhotographs | SrImages


# ---------------------------------------------------------------------------------------------- models


@dataclass(frozen=True, kw_only=True)
class Backbone(Model):
    """A feature network; workers/models/backbones.py builds it."""

    model: str
    """One of SMALL_MODELS, timm/<model>.<tag> or open_clip/<model>."""


@dataclass(frozen=True, kw_only=True)
class RandomWeights(Model):
    """Weights drawn from a seed. The purpose keeps the draws of one seed apart: a discriminator that starts at random
    must not start as the very network that the loss uses."""

    KIND: ClassVar[str] = "random"
    purpose: Literal["loss", "discriminator", "iqa"]
    seed: int


@dataclass(frozen=True, kw_only=True)
class ReleasedWeights(Model):
    """Weights from a file that others released: timm's, open_clip's, an official SwinIR's, or one the grid names."""

    KIND: ClassVar[str] = "released"
    content: str
    """SHA-256 of the file (`unresolved <tag>` before prefetch or preflight has seen it)."""


@dataclass(frozen=True, kw_only=True)
class SwinIR(Model):
    """Generator, arXiv 2108.10257, in the official layout (window 8 in the official models)."""

    channels: int
    depths: tuple[int, ...]
    """Transformer layers of each residual block."""
    heads: tuple[int, ...]
    window: int
    """Side of an attention window, low-resolution pixels."""
    mlp_ratio: float
    upsampler: Literal["pixelshuffle", "pixelshuffledirect", "nearest+conv"]
    """Of the classical, the lightweight and the real-world models."""
    residual: Literal["1conv", "3conv"] = "1conv"
    """Convolution before each residual connection: one, or the bottleneck of three of the large real-world model."""


@dataclass(frozen=True, kw_only=True)
class Calibrated(Model):
    """A loss weight set by measurement: the mean norm of the term's gradient with respect to the output becomes `times`
    that of the reference loss at weight 1 (docs/study.md, fair weights)."""

    KIND: ClassVar[str] = "calibrated"
    times: float


Weight = float | Calibrated


@dataclass(frozen=True, kw_only=True)
class LossWeights(Model):
    """Weights of `pixel` L1 + `fidelity` D + `adversarial` L_adv."""

    pixel: Weight
    fidelity: Weight
    adversarial: Weight


# -------------------------------------------------------------------------------------------- training


@dataclass(frozen=True, kw_only=True)
class PretextTraining(Model):
    """Photograph identity under crops, flips and colour changes: blind to quality by construction."""

    steps: int
    batch: int
    crop: int
    learning_rate: float


@dataclass(frozen=True, kw_only=True)
class MetricFit(Model):
    """Full-batch Adam on the simplex of (alpha, beta), from uniform weights; stopped on validation SRCC."""

    iterations: int
    learning_rate: float


@dataclass(frozen=True, kw_only=True)
class SrTraining(Model):
    """Optimization of a generator, and of its discriminator where there is one."""

    steps: int
    batch: int
    patch: int
    """Side of a low-resolution training patch, pixels."""
    learning_rate: float
    decay: bool
    """Linear decay of the learning rate to zero over `steps`."""
    ema: float
    """Decay of the exponential moving average that is evaluated."""
    discriminator_warmup: int
    """Steps in which only the discriminator is trained, before the adversarial weight is calibrated."""
    divergence: float
    """A run ends as *diverged* when its validation PSNR falls this far below the warm-up's, dB."""


@dataclass(frozen=True, kw_only=True)
class IqaTraining(Model):
    """End-to-end fine-tuning of an IQA model; the step with the best validation error is kept."""

    steps: int
    batch: int
    learning_rate: float
    backbone_factor: float
    """Learning rate of the backbone as a fraction of the head's."""
    evaluate_every: int
    """Steps between validations."""
    features: Literal["moments", "means", "last"]
    """What is pooled over positions: mean and deviation of every stage, means alone, or the last stage's means."""
    head: Literal["mlp", "linear"]
    loss: Literal["mse", "huber", "plcc"]
    """Squared error, Huber's (delta 0.1), or 1 - Pearson's correlation in the batch plus the squared error."""


@dataclass(frozen=True, kw_only=True)
class Judge(Model):
    """A metric of pyiqa, or one of this project's own, and the version of what computes it."""

    metric: str
    version: str
    weights: str
    """SHA-256 over the files that it loads; empty for a metric without weights (`unresolved ...` before prefetch)."""

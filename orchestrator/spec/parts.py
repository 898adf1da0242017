"""What specs are made of: data, models, settings of trainings."""

from dataclasses import dataclass
from typing import Any, ClassVar, Literal

Numerics = Literal["reference"]
Task = Literal["fr", "nr"]
Head = Literal["vanilla", "patch"]
BackboneModel = Literal["small/vgg", "small/resnet", "small/convnext", "small/vit", "small/swin"]
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
class SrPhotographs(Model):
    """High-resolution photographs of a super-resolution set; the low-resolution side is their antialiased bicubic."""

    name: str
    photographs: tuple[Photograph, ...]
    crop: int
    """Side of the central square crop that is evaluated, pixels."""


# ---------------------------------------------------------------------------------------------- models


@dataclass(frozen=True, kw_only=True)
class Backbone(Model):
    """A feature network; workers/models/backbones.py builds it."""

    model: BackboneModel


@dataclass(frozen=True, kw_only=True)
class RandomWeights(Model):
    """Weights drawn from a seed. The purpose keeps the draws of one seed apart: a discriminator that starts at random
    must not start as the very network that the loss uses."""

    KIND: ClassVar[str] = "random"
    purpose: Literal["loss", "discriminator", "iqa"]
    seed: int


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
    upsampler: Literal["pixelshuffle", "pixelshuffledirect"]


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


@dataclass(frozen=True, kw_only=True)
class Judge(Model):
    """A pyiqa metric and the version of pyiqa that computes it."""

    metric: str
    version: str

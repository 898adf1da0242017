"""The leaf: what a trial is, one frozen class for each of the seven kinds (docs/study.md).

A spec holds everything that a trial's result depends on and nothing else: no device, path, thread count or interval.
An edge of the graph is held by value: an `IqaTransfer` that starts from a discriminator holds the whole
`SuperResolution` spec that trained it. In a trial's `spec.json` each such parent is replaced by a `Parent(kind, key)`,
and the same classes read it back. Standard library only, so that a worker needs nothing else of the orchestrator.

Units: lengths in pixels, `steps` in optimizer steps, `batch` in images, learning rates as PyTorch takes them.
"""

import dataclasses
import difflib
import functools
import types
import typing
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, ClassVar, Literal, cast

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


# ------------------------------------------------------------------------------------------------ data


@dataclass(frozen=True, kw_only=True)
class Photograph(Model):
    """One photograph that scikit-image or scikit-learn ships: its name and the SHA-256 of the file."""

    name: str
    sha256: str


@dataclass(frozen=True, kw_only=True)
class Embedded:
    """The file of a photograph that an installed package ships: no download."""

    file: str
    """Path in the folder of installed packages; its first part is the package."""
    sha256: str
    content: str
    """What it shows: splits and statistics go by content. Both views of a stereo pair show the same."""


# name: (file, SHA-256), as scikit-image 0.26 and scikit-learn 1.8 ship them.
_SKIMAGE = {
    "astronaut": ("astronaut.png", "88431cd9653ccd539741b555fb0a46b61558b301d4110412b5bc28b5e3ea6cb5"),
    "brick": ("brick.png", "7966caf324f6ba843118d98f7a07746d22f6a343430add0233eca5f6eaaa8fcf"),
    "camera": ("camera.png", "b0793d2adda0fa6ae899c03989482bff9a42d3d5690fc7e3648f2795d730c23a"),
    "chelsea": ("chelsea.png", "596aa1e7cb875eb79f437e310381d26b338a81c2da23439704a73c4651e8c4bb"),
    "coffee": ("coffee.png", "cc02f8ca188b167c775a7101b5d767d1e71792cf762c33d6fa15a4599b5a8de7"),
    "coins": ("coins.png", "f8d773fc9cfa6f4d8e5942dc34d0a0788fcaed2a4fefbbed0aef5398d7ef4cba"),
    "grass": ("grass.png", "b6b6022426b38936c43a4ac09635cd78af074e90f42ffa8227ac8b7452d39f89"),
    "gravel": ("gravel.png", "c48615b451bf1e606fbd72c0aa9f8cc0f068ab7111ef7d93bb9b0f2586440c12"),
    "hubble_deep_field": ("hubble_deep_field.jpg", "3a19c5dd8a927a9334bb1229a6d63711b1c0c767fb27e2286e7c84a3e2c2f5f4"),
    "immunohistochemistry": ("ihc.png", "f8dd1aa387ddd1f49d8ad13b50921b237df8e9b262606d258770687b0ef93cef"),
    "moon": ("moon.png", "78739619d11f7eb9c165bb5d2efd4772cee557812ec847532dbb1d92ef71f577"),
    "motorcycle_left": ("motorcycle_left.png", "db18e9c4157617403c3537a6ba355dfeafe9a7eabb6b9b94cb33f6525dd49179"),
    "motorcycle_right": ("motorcycle_right.png", "5fc913ae870e42a4b662314bc904d1786bcad8e2f0b9b67dba5a229406357797"),
    "retina": ("retina.jpg", "38a07f36f27f095e818aea7b96d34202c05176d30253c66733f2e00379e9e0e6"),
    "rocket": ("rocket.jpg", "c2dd0de7c538df8d111e479619b129464d0269d0ae5fd18ca91d33a7fdfea95c"),
}
_SKLEARN = {
    "china": ("china.jpg", "8378025ad2519d649d02e32bd98990db4ab572357d9f09841c2fbfbb4fefad29"),
    "flower": ("flower.jpg", "a77f6ec41e353afdf8bdff2ea981b2955535d8d83294f8cfa49cf4e423dd5638"),
}
PHOTOGRAPHS: dict[str, Embedded] = {
    name: Embedded(file=f"{folder}/{file}", sha256=sha256, content=name.removesuffix("_left").removesuffix("_right"))
    for folder, files in (("skimage/data", _SKIMAGE), ("sklearn/datasets/images", _SKLEARN))
    for name, (file, sha256) in files.items()
}


def photograph(name: str) -> Photograph:
    """The embedded photograph of that name, with its digest. Raises ValueError for a name that nobody ships."""
    if name not in PHOTOGRAPHS:
        raise unknown("photograph", name, PHOTOGRAPHS)
    return Photograph(name=name, sha256=PHOTOGRAPHS[name].sha256)


def unknown(what: str, found: str, allowed: Iterable[str]) -> ValueError:
    """The error for a name that is not among the allowed ones: says which are (the first 24), and which is nearest."""
    names = sorted(allowed)
    shown = ", ".join(names[:24]) + (f" ... ({len(names)} in all)" if len(names) > 24 else "")
    nearest = difflib.get_close_matches(found, names, n=1, cutoff=0.5)
    hint = f"; did you mean {nearest[0]!r}?" if nearest else ""
    return ValueError(f"{what}: found {found!r}; allowed: {shown}{hint}")


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


# ------------------------------------------------------------------------------------- the seven kinds


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
    VERSION: ClassVar[int] = 1
    backbone: Backbone
    weights: RandomWeights | Pretext | Parent
    train: SeverityLadder
    validation: SeverityLadder
    fit: MetricFit
    numerics: Numerics


@dataclass(frozen=True, kw_only=True)
class Discriminator(Model):
    """Judges real against restored: one logit an image (vanilla) or one a location (patch)."""

    head: Head
    backbone: Backbone
    weights: RandomWeights | Pretext | Parent


@dataclass(frozen=True, kw_only=True)
class SuperResolution(Trial):
    """Trains SwinIR. The warm-up is the same kind with `start`, `loss` and `discriminator` None: pixel loss alone."""

    KIND: ClassVar[str] = "super_resolution"
    VERSION: ClassVar[int] = 1
    generator: SwinIR
    scale: int
    train: tuple[Photograph, ...]
    validation: SrPhotographs
    training: SrTraining
    weights: LossWeights
    start: "SuperResolution | Parent | None"
    """The warm-up whose generator this one starts from."""
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
    VERSION: ClassVar[int] = 1
    super_resolution: SuperResolution | Parent | None
    scale: int
    test: SrPhotographs
    numerics: Numerics


@dataclass(frozen=True, kw_only=True)
class Judging(Trial):
    """Per-image scores of one judge on the images of one restoration."""

    KIND: ClassVar[str] = "judging"
    VERSION: ClassVar[int] = 1
    restoration: Restoration | Parent
    test: SrPhotographs
    judge: Judge
    numerics: Numerics


@dataclass(frozen=True, kw_only=True)
class IqaTransfer(Trial):
    """Trains an IQA model whose backbone starts at random, from a pretext, or from the discriminator of one
    super-resolution trial (the *gan* initialization)."""

    KIND: ClassVar[str] = "iqa_transfer"
    VERSION: ClassVar[int] = 1
    task: Task
    backbone: Backbone
    weights: RandomWeights | Pretext | SuperResolution | Parent
    train: SeverityLadder
    validation: SeverityLadder
    training: IqaTraining
    numerics: Numerics
    seed: int


@dataclass(frozen=True, kw_only=True)
class Benchmark(Trial):
    """Per-image predictions of a fitted metric or an IQA model on one IQA set."""

    KIND: ClassVar[str] = "benchmark"
    VERSION: ClassVar[int] = 1
    model: FrIqa | IqaTransfer | Parent
    data: SeverityLadder
    numerics: Numerics


TRIALS: tuple[type[Trial], ...] = (Pretext, FrIqa, SuperResolution, Restoration, Judging, IqaTransfer, Benchmark)
KINDS: dict[str, type[Trial]] = {cls.KIND: cls for cls in TRIALS}
TRAINING_KINDS = ("pretext", "fr_iqa", "super_resolution", "iqa_transfer")


# ------------------------------------------------------------------------------- walking and reading back


def parents(spec: Any, role: str = "") -> list[tuple[str, Any]]:
    """(role, parent) for each direct parent of `spec`, in field order. The role is the field's dotted path, e.g.
    `discriminator.weights`; the parent is a `Trial`, or a `Parent` when `spec` was read back from `spec.json`."""
    found = []
    for name in field_names(spec.__class__):
        value, path = getattr(spec, name), f"{role}.{name}" if role else name
        if isinstance(value, Trial | Parent):
            found.append((path, value))
        elif isinstance(value, Discriminator):  # the one part of a spec that has parents of its own
            found += parents(value, path)
    return found


@functools.cache
def field_names(cls: Any) -> tuple[str, ...]:
    """Names of a spec class's fields in order."""
    return tuple(field.name for field in dataclasses.fields(cls))


HEADER = ("kind", "kind_version", "key")


def decode(data: dict[str, Any]) -> Trial:
    """Reads a trial's `spec.json` (parsed). Raises ValueError naming the field for anything that does not fit."""
    if data.get("kind") not in KINDS:
        raise ValueError(f"kind: found {data.get('kind')!r}; allowed: {', '.join(KINDS)}")
    cls = KINDS[data["kind"]]
    if data.get("kind_version") != cls.VERSION:
        raise ValueError(f"kind_version: found {data.get('kind_version')!r}; this code runs {cls.KIND} {cls.VERSION}")
    return cast(Trial, _decode_class(cls, {k: v for k, v in data.items() if k not in HEADER}, cls.KIND))


def _decode_class(cls: type, data: dict[str, Any], where: str) -> Any:
    hints = typing.get_type_hints(cls)
    names = field_names(cls)
    if set(data) != set(names):
        raise ValueError(f"{where}: found the fields {sorted(data)}; expected {sorted(names)}")
    return cls(**{name: _decode_value(hints[name], data[name], f"{where}.{name}") for name in names})


def _decode_value(hint: Any, value: Any, where: str) -> Any:
    origin, arguments = typing.get_origin(hint), typing.get_args(hint)
    if origin in (types.UnionType, typing.Union):
        return _decode_union(arguments, value, where)
    if origin is tuple and isinstance(value, list):
        return tuple(_decode_value(arguments[0], item, f"{where}[{i}]") for i, item in enumerate(value))
    if dataclasses.is_dataclass(hint) and isinstance(value, dict):
        tagged = {k: v for k, v in value.items() if not (k == "kind" and hasattr(hint, "KIND"))}
        return _decode_class(cast(type, hint), tagged, where)
    if origin is Literal and value in arguments:
        return value
    if isinstance(hint, type) and type(value) is hint:
        return value
    raise ValueError(f"{where}: found {value!r}; expected {hint}")


def _decode_union(members: tuple[Any, ...], value: Any, where: str) -> Any:
    if value is None and types.NoneType in members:
        return None
    if isinstance(value, dict):
        if set(value) == {"kind", "key"} and Parent in members:
            return Parent(**value)
        for member in members:
            if getattr(member, "KIND", None) == value.get("kind"):
                return _decode_value(member, value, where)
    for member in members:
        if member in (int, float, str, bool) and type(value) is member:
            return value
    raise ValueError(f"{where}: found {value!r}; expected one of {members}")

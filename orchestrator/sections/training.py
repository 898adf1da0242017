"""How things are trained, judged and run."""

from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Discriminator, Field, Tag

from orchestrator import spec
from orchestrator.sections.common import Name, Names, Positive, Rate, Section, Seed, Weight

# Sizes of the official models (KAIR's options, arXiv 2108.10257 section 4.1).
GENERATORS: dict[str, dict[str, Any]] = {
    "swinir-light": {
        "channels": 60, "depths": [6] * 4, "heads": [6] * 4, "window": 8, "mlp_ratio": 2.0,
        "upsampler": "pixelshuffledirect",
    },
    "swinir-medium": {
        "channels": 180, "depths": [6] * 6, "heads": [6] * 6, "window": 8, "mlp_ratio": 2.0,
        "upsampler": "pixelshuffle",
    },
    "swinir-large": {
        "channels": 240, "depths": [6] * 9, "heads": [8] * 9, "window": 8, "mlp_ratio": 2.0,
        "upsampler": "nearest+conv", "residual": "3conv",
    },
}  # fmt: skip


def _generator(value: Any) -> Any:
    """A name of GENERATORS stands for its sizes; lists become the tuples that a spec holds."""
    sizes = GENERATORS.get(value, value) if isinstance(value, str) else value
    if not isinstance(sizes, dict):
        return sizes
    return {name: tuple(size) if isinstance(size, list) else size for name, size in sizes.items()}


WrittenGenerator = Literal["swinir-light", "swinir-medium", "swinir-large"] | spec.SwinIR
Generator = Annotated[spec.SwinIR, BeforeValidator(_generator, json_schema_input_type=WrittenGenerator)]


class Optimization(Section):
    """Training of a generator."""

    steps: Positive
    batch: Positive
    patch: Positive
    learning_rate: Rate
    decay: bool
    ema: Annotated[float, Field(ge=0, lt=1)]


class Warmup(Optimization):
    """Pixel-loss training that every other generator starts from: one for all seeds."""

    seed: Seed


class OfficialGenerator(Section):
    """A released SwinIR checkpoint in the place of the warm-up."""

    file: Annotated[str, Field(min_length=1)]


class Weights(Section):
    """Weights of the loss terms: numbers, or set by measurement."""

    pixel: Weight
    fidelity: Weight
    adversarial: Weight


class Adversarial(Section):
    """How discriminators are trained."""

    loss: spec.GanLoss = "vanilla"
    backbone_factor: Annotated[float, Field(ge=0)] = 0.1
    r1: Annotated[float, Field(ge=0)] = 0.0
    augment: tuple[spec.Augmentation, ...] = ()


def _is_mapping_of_lists(value: Any) -> str:
    return "<photographs>" if isinstance(value, dict) else "<sets>"


class SuperResolutionSection(Section):
    """Everything about the super-resolution trials."""

    generator: Generator
    scale: Annotated[int, Field(ge=2, le=4)]
    train: Name | None = None
    """A data set of images; without it the training photographs."""
    hold_out: Annotated[int, Field(ge=0)] = 0
    """Images of the training set that are kept for validation and calibration."""
    warmup: Annotated[
        Annotated[Warmup, Tag("<training>")] | Annotated[OfficialGenerator, Tag("<checkpoint>")],
        Discriminator(
            lambda value: (
                "<checkpoint>"
                if isinstance(value, OfficialGenerator) or (isinstance(value, dict) and "file" in value)
                else "<training>"
            )
        ),
    ]
    training: Optimization
    weights: Weights
    adversarial: Adversarial = Adversarial()
    reference_loss: str
    discriminator_warmup: Annotated[int, Field(ge=0)]
    divergence: Rate
    crop: Positive
    """Side of the central crops of the validation images, and of the test photographs, pixels."""
    tests: Annotated[
        Annotated[dict[Name, Names], Field(min_length=1), Tag("<photographs>")] | Annotated[Names, Tag("<sets>")],
        Discriminator(_is_mapping_of_lists),
    ]


class IqaTrainingSection(Section):
    """Training of the IQA models of one task; batch norm needs a batch of at least two."""

    steps: Positive
    batch: Annotated[int, Field(ge=2)]
    learning_rate: Rate
    backbone_factor: Annotated[float, Field(ge=0)]
    evaluate_every: Positive
    features: Literal["moments", "means", "last"] = "moments"
    head: Literal["mlp", "linear"] = "mlp"
    loss: Literal["mse", "huber", "plcc"] = "mse"


class IqaTransferSection(Section):
    """The IQA models; `backbones` defaults to the discriminators' backbones."""

    backbones: Names | None = None
    fr: IqaTrainingSection | None = None
    nr: IqaTrainingSection | None = None

    def of(self, task: str) -> IqaTrainingSection:
        """The training of a task."""
        found = self.fr if task == "fr" else self.nr
        assert found is not None, "grid.py checks that each task has its training"
        return found


class Judges(Section):
    """pyiqa metrics and our own (OWN in workers/judging.py): by family in the optimization score, and beside it."""

    score: Annotated[dict[Name, Names], Field(min_length=1)]
    beside: tuple[Name, ...] = ()

    def families(self) -> dict[str, str]:
        """Judge -> its family; empty for those that are printed beside the score."""
        scored = {judge: family for family, judges in self.score.items() for judge in judges}
        return scored | {judge: "" for judge in self.beside if judge not in scored}


Kind = Literal["pretext", "fr_iqa", "super_resolution", "restoration", "judging", "iqa_transfer", "benchmark"]
Gpus = Annotated[float, Field(ge=0)]


class Runtime(Section):
    """Where and how to run. Never part of a trial's identity."""

    storage: Annotated[str, Field(min_length=1)] = "results/store"
    tracking: Annotated[str, Field(min_length=1)] = "results/mlflow.db"
    tracked_weights: Literal["copy", "link", "none"] = "copy"
    """What MLflow holds of weights: copies, a tag with their place in the store, or nothing. `restore --weights` needs
    copies."""
    cache: Annotated[str, Field(min_length=1)] = "results/cache"
    """Decoded pixels and tables that can be computed again; best on a disk of the node."""
    max_failures: Annotated[int, Field(ge=0)] = 3
    checkpoint_seconds: Annotated[float, Field(gt=0)] = 300.0
    hang_seconds: Annotated[float, Field(gt=0)] = 3600.0
    """A running trial without progress for so long is ended and tried again, as after a failure."""
    cpus: Positive = 1
    """CPU cores that a trial reserves; under `reference` it computes on one."""
    gpus: Annotated[
        Annotated[Gpus, Tag("<number>")]
        | Annotated[Literal["measured"], Tag("<word>")]
        | Annotated[dict[Kind, Gpus], Tag("<kinds>")],
        Discriminator(lambda value: {dict: "<kinds>", str: "<word>"}.get(type(value), "<number>")),
    ] = 0.0
    """GPUs that a trial reserves, for all kinds or by kind (0 for kinds not named); a fraction shares one. `measured`:
    what the memory of finished and rehearsed trials allows (forecast.shares)."""

    device: Literal["auto", "cpu"] = "auto"
    """`auto`: a trial that reserves GPUs computes on one. `cpu`: none does, also where Ray was told of logical GPUs."""

    def gpus_of(self, kind: str) -> float:
        """GPUs that a trial of a kind reserves; a whole one as long as `measured` stands for no numbers."""
        if self.gpus == "measured":
            return 1.0
        if isinstance(self.gpus, dict):
            return next((float(gpus) for name, gpus in self.gpus.items() if name == kind), 0.0)
        return float(self.gpus)

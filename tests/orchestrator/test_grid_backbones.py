"""What is wrong with models: backbones and their weights, starts, generators, discriminators' weights, GPUs by kind."""

import warnings
from collections.abc import Callable
from pathlib import Path

import pytest

from orchestrator import known, spec
from orchestrator.grid import load
from orchestrator.sections import discriminator_levels

Edit = Callable[..., Path]
Told = Callable[[Path], list[str]]
MISSING = "found nothing; it has no default, so it must be given"
SOME = "found no level; allowed: at least one"
ONE = "allowed: each level once"
TIMM_WEIGHTS = "allowed: random, released, {file: PATH}"
MODELS = "allowed: small/MODEL, timm/MODEL.TAG, open_clip/MODEL"
WEIGHT = "allowed: a finite number from 0 up, calibrated, {calibrated: NUMBER}"
KINDS = "pretext, fr_iqa, super_resolution, restoration, judging, iqa_transfer, benchmark"
PRETEXT = "found 'pretext', which needs the sections pretext and photographs"
VGG = "vgg16: {model: timm/vgg16.tv_in1k, weights: released}"
STARTS = "{head: patch, backbone: [vgg16, resnet50, dinov2], start: random}"
WARMUP = "{steps: 500000, batch: 16, patch: 64, learning_rate: 0.0002, decay: true, ema: 0.999, seed: 0}"
FACTOR = "weight: [0.003, 0.01, 0.03, 0.1, 0.3, 1.0]"

# (old, new) of the change, and for each line of the error: a text on the line that it must point at, and its message
WRONG: dict[str, tuple[tuple[str, str], list[tuple[str, str]]]] = {
    "unknown field of a discriminator": (
        ("{head: patch", "{haed: patch, head: patch"),
        [
            (
                "haed",
                "matrix.discriminator[1].haed: found an unknown field; allowed: head, backbone, start, weight; "
                "did you mean 'head'?",
            )
        ],
    ),
    "unknown field of the generator": (
        ("{channels: 8", "{chanels: 8, channels: 8"),
        [
            (
                "chanels",
                "super_resolution.generator.chanels: found an unknown field; allowed: channels, depths, heads, window, "
                "mlp_ratio, upsampler, residual; did you mean 'channels'?",
            )
        ],
    ),
    "a name that looks like a tag of pydantic's": (
        ("  convnext: {", "  <1>: {model: small/convnext, weights: pretext, stages: 1}\n  convnext: {"),
        [
            (
                "<1>",
                "backbones.<1>: found '<1>'; allowed: a to z, 0 to 9 and . _ + - (at most 64, the first a letter or "
                "digit)",
            ),
            (
                "<1>",
                "backbones.<1>.stages: found an unknown field; allowed: model, weights, starts; did you mean 'starts'?",
            ),
        ],
    ),
    "unknown backbone of the IQA models": (
        ("iqa_transfer:\n", "iqa_transfer:\n  backbones: [convnex, convnext]\n"),
        [
            (
                "  backbones:",
                "iqa_transfer.backbones[0]: found 'convnex'; allowed: vgg-r, convnext; did you mean 'convnext'?",
            ),
            (
                "initialization:",
                "matrix.initialization[1]: found 'gan', but no discriminator has the backbone 'convnex' of "
                "iqa_transfer.backbones; allowed: convnext",
            ),
        ],
    ),
    "unknown reference loss": (
        ("reference_loss: vgg-r", "reference_loss: vgg"),
        [
            (
                "reference_loss",
                "super_resolution.reference_loss: found 'vgg'; allowed: vgg-r, convnext; did you mean 'vgg-r'?",
            )
        ],
    ),
    "unknown model": (
        ("model: small/vgg,", "model: small/vgg16,"),
        [
            (
                "vgg16",
                "backbones.vgg-r.model: found 'vgg16'; allowed: models of small: convnext, resnet, swin, vgg, vit; "
                "did you mean 'vgg'?",
            )
        ],
    ),
    "a backbone named as a baseline": (
        ("  vgg-r: {", "  pixel: {model: small/vgg, weights: random}\n  vgg-r: {"),
        [("  pixel: {", "backbones.pixel: found 'pixel'; allowed: any name but pixel, warm-up, bicubic, none")],
    ),
    "heads that do not divide channels": (
        ("heads: [1]", "heads: [3]"),
        [("heads", "super_resolution.generator.heads: found 3 heads; allowed: divisors of channels = 8")],
    ),
    "heads for other blocks": (
        ("heads: [1]", "heads: [1, 2]"),
        [("heads", "super_resolution.generator.heads: found 2; allowed: one for each of 1 depths")],
    ),
    "no layer": (
        ("depths: [1]", "depths: [0]"),
        [("depths", "super_resolution.generator.depths: found [0]; allowed: numbers above 0")],
    ),
    "crop that is no multiple": (
        ("scale: 2", "scale: 3"),
        [("  crop: 64", "super_resolution.crop: found 64; allowed: a multiple of scale = 3")],
    ),
}
OF_FULL: dict[str, tuple[tuple[str, str], list[tuple[str, str]]]] = {
    "a model without its library": (
        (VGG, VGG.replace("timm/vgg16.tv_in1k", "vgg16")),
        [("  vgg16:", f"backbones.vgg16.model: found 'vgg16'; {MODELS}")],
    ),
    "a library that is none": (
        (VGG, VGG.replace("timm", "torchvision")),
        [("  vgg16:", f"backbones.vgg16.model: found 'torchvision/vgg16.tv_in1k'; {MODELS}")],
    ),
    "a tag of open_clip for timm": (
        (VGG, VGG.replace("released", "openai")),
        [("  vgg16:", f"backbones.vgg16.weights: found 'openai'; {TIMM_WEIGHTS}")],
    ),
    "pretext for timm": (
        (VGG, VGG.replace("released", "pretext")),
        [
            ("  vgg16:", f"backbones.vgg16.weights: found 'pretext'; {TIMM_WEIGHTS}"),
            (
                "[vanilla, patch]",
                "matrix.discriminator[1].start: found 'released', but backbones.vgg16 has the weights 'pretext'; "
                "allowed: random",
            ),
            (
                "initialization:",
                "matrix.initialization: found 'released', but backbones.vgg16 has the weights 'pretext'; "
                "allowed: random",
            ),
        ],
    ),
    "released for open_clip": (
        ("weights: openai", "weights: released"),
        [
            (
                "  clip-vit:",
                "backbones.clip-vit.weights: found 'released'; allowed: random, a tag of open_clip such as openai, "
                "{file: PATH}",
            )
        ],
    ),
    "weights of OpenAI in a model without their activation": (
        ("ViT-B-16-quickgelu", "ViT-B-16"),
        [
            (
                "  clip-vit:",
                "backbones.clip-vit.weights: found 'openai', weights that were trained with QuickGELU; "
                "allowed: the model open_clip/ViT-B-16-quickgelu",
            )
        ],
    ),
    "a misspelt field of a weights file": (
        (VGG, VGG.replace("released", "{fiel: x}")),
        [
            ("  vgg16:", f"backbones.vgg16.weights.file: {MISSING}"),
            (
                "  vgg16:",
                "backbones.vgg16.weights.fiel: found an unknown field; allowed: file; did you mean 'file'?",
            ),
        ],
    ),
    "a weights file without a name": (
        (VGG, VGG.replace("released", '{file: ""}')),
        [("  vgg16:", "backbones.vgg16.weights.file: found ''; allowed: at least one character")],
    ),
    "released starts of a backbone without released weights": (
        (STARTS, "{head: patch, backbone: vgg16-r, start: released}"),
        [
            (
                "backbone: vgg16-r",
                "matrix.discriminator[2].start: found 'released', but backbones.vgg16-r has the weights 'random'; "
                "allowed: random",
            ),
            (
                "initialization:",
                "matrix.initialization: found 'released', but backbones.vgg16-r has the weights 'random'; "
                "allowed: random",
            ),
        ],
    ),
    "pretext starts without photographs": (
        (STARTS, STARTS.replace("random", "pretext")),
        [("start: pretext", f"matrix.discriminator[2].start: {PRETEXT}")],
    ),
    "a start that a backbone does not have": (
        (STARTS, STARTS.replace("random", "dino")),
        [
            (
                "start: dino",
                "matrix.discriminator[2].start: found 'dino'; allowed: starts of backbones.vgg16: random, pretext, "
                "released",
            ),
            (
                "start: dino",
                "matrix.discriminator[2].start: found 'dino'; allowed: starts of backbones.resnet50: random, pretext, "
                "released",
            ),
            (
                "start: dino",
                "matrix.discriminator[2].start: found 'dino'; allowed: starts of backbones.dinov2: random, pretext, "
                "released",
            ),
        ],
    ),
    "an initialization that nobody has": (
        ("[random, released, gan]", "[random, relased, gan]"),
        [
            (
                "initialization:",
                "matrix.initialization[1]: found 'relased'; allowed: random, pretext, released, gan; did you mean "
                "'released'?",
            )
        ],
    ),
    "a start of a name that is taken, and one without released weights": (
        (VGG, VGG.replace("released", "released, starts: {gan: {file: x}, own: random}")),
        [
            (
                "  vgg16:",
                "backbones.vgg16.starts.gan: found 'gan'; allowed: any name but random, pretext, released, gan",
            ),
            (
                "  vgg16:",
                "backbones.vgg16.starts.own: found 'random'; allowed: a file, {file: PATH}, or released weights",
            ),
        ],
    ),
    "pretext initialization without photographs": (
        ("[random, released, gan]", "[pretext, released, gan]"),
        [("initialization:", f"matrix.initialization: {PRETEXT}")],
    ),
    "unknown generator": (
        ("swinir-medium", "swinir-medum"),
        [
            (
                "generator:",
                "super_resolution.generator: found 'swinir-medum'; allowed: swinir-light, swinir-medium, "
                "swinir-large, {channels: ..., depths: ..., ...}; did you mean 'swinir-medium'?",
            )
        ],
    ),
    "a misspelt field of the warm-up": (
        ("warmup: {steps", "warmup: {stepz"),
        [
            ("warmup:", f"super_resolution.warmup.steps: {MISSING}"),
            (
                "warmup:",
                "super_resolution.warmup.stepz: found an unknown field; allowed: steps, batch, patch, learning_rate, "
                "decay, ema, seed; did you mean 'steps'?",
            ),
        ],
    ),
    "an official checkpoint with steps": (
        (WARMUP, "{file: x.pth, steps: 3}"),
        [("warmup:", "super_resolution.warmup.steps: found an unknown field; allowed: file")],
    ),
    "GPUs of an unknown kind": (
        ("gpus: {super_resolution:", "gpus: {super_resolutio:"),
        [
            (
                "gpus:",
                f"runtime.gpus.super_resolutio: found 'super_resolutio'; allowed: {KINDS}; "
                "did you mean 'super_resolution'?",
            )
        ],
    ),
    "fewer than no GPUs": (
        ("gpus: {super_resolution: 1", "gpus: {super_resolution: -1"),
        [("gpus:", "runtime.gpus.super_resolution: found -1; allowed: greater than or equal to 0")],
    ),
    "a word for GPUs that is none": (
        ("  gpus: {", "  gpus: auto # {"),
        [("gpus:", "runtime.gpus: found 'auto'; allowed: measured")],
    ),
    "unknown augmentation": (
        ("augment: []", "augment: [colour]"),
        [
            (
                "adversarial: {loss",
                "super_resolution.adversarial.augment[0]: found 'colour'; allowed: color, translation, cutout; "
                "did you mean 'color'?",
            )
        ],
    ),
    "second augmentation": (
        ("augment: []", "augment: [color, color]"),
        [
            (
                "adversarial: {loss",
                f"super_resolution.adversarial.augment[1]: found 'color' a second time; {ONE}",
            )
        ],
    ),
    "unknown features of IQA models": (
        ("evaluate_every: 500}", "evaluate_every: 500, features: first}"),
        [("features: first", "iqa_transfer.fr.features: found 'first'; allowed: moments, means, last")],
    ),
}
OF_GAN_WEIGHT: dict[str, tuple[tuple[str, str], list[tuple[str, str]]]] = {
    "negative weight": (
        (FACTOR, "weight: [0.1, -0.1]"),
        [("weight:", f"matrix.discriminator[1].weight[1]: found -0.1; {WEIGHT}")],
    ),
    "no weight": ((FACTOR, "weight: []"), [("weight:", f"matrix.discriminator[1].weight: {SOME}")]),
    "second weight": (
        (
            f"backbone: [resnet50, dinov2], start: released, {FACTOR}",
            "backbone: dinov2, start: released, weight: [1, 1.0]",
        ),
        [("weight:", f"matrix.discriminator[1]: found patch-dinov2-released-w1 a second time; {ONE}")],
    ),
    "misspelt weight": (
        (FACTOR, "weigt: [0.1]"),
        [
            (
                "weigt:",
                "matrix.discriminator[1].weigt: found an unknown field; allowed: head, backbone, start, weight; "
                "did you mean 'weight'?",
            )
        ],
    ),
}
BY_GRID = {"micro": WRONG, "full": OF_FULL, "gan_weight": OF_GAN_WEIGHT}
ALL = {f"{grid}: {name}": (grid, *case) for grid, cases in BY_GRID.items() for name, case in cases.items()}


@pytest.mark.parametrize(("grid", "change", "expected"), ALL.values(), ids=ALL)
def test_wrong_model(
    grid: str, change: tuple[str, str], expected: list[tuple[str, str]], refused: Callable[..., None]
) -> None:
    refused(change, expected, base=grid)


@pytest.mark.parametrize(
    ("wrong", "nearest", "library", "names"),
    [
        ("resnet5O", "resnet50", "timm", known.timm_models()),
        ("ViT-B-16-quickgel", "ViT-B-16-quickgelu", "open_clip", known.open_clip_models()),
    ],
)
def test_unknown_models_are_told_with_the_nearest_of_many(
    wrong: str, nearest: str, library: str, names: tuple[str, ...], edited: Edit, told: Told
) -> None:
    (line,) = told(edited(f"{library}/{nearest}", f"{library}/{wrong}", base="full"))
    assert f".model: found {wrong!r}; allowed: models of {library}: " in line
    assert line.endswith(f" ... ({len(names)} in all); did you mean {nearest!r}?")


def test_weights_may_be_a_file_and_a_generator_a_name(edited: Edit) -> None:
    grid = load(edited(VGG, VGG.replace("released", "{file: /weights/vgg.safetensors}"), base="full"))
    assert grid.backbones["vgg16"].has_released
    medium = grid.super_resolution.generator
    assert medium == spec.SwinIR(
        channels=180, depths=(6,) * 6, heads=(6,) * 6, window=8, mlp_ratio=2.0, upsampler="pixelshuffle"
    )
    assert load(edited(base="gan_weight")).super_resolution.generator.upsampler == "pixelshuffledirect"


def test_weights_of_discriminators_are_levels_with_names_of_their_own(edited: Edit) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        grid = load(edited(FACTOR, "weight: [0, 0.003, 1.0, calibrated, {calibrated: 0.1}]", base="gan_weight"))
    levels = discriminator_levels(grid.matrix.discriminator[1])
    assert [level.name for level in levels if level.backbone == "dinov2"] == [
        f"patch-dinov2-released-{suffix}" for suffix in ("w0", "w0.003", "w1", "x1", "x0.1")
    ]
    assert [level.weight for level in levels][:5] == [
        0.0, 0.003, 1.0, spec.Calibrated(times=1.0), spec.Calibrated(times=0.1)
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("gpus", "of_judging", "of_pretext"), [("0.5", 0.5, 0.5), ("{judging: 0.25}", 0.25, 0.0), ("measured", 1.0, 1.0)]
)
def test_gpus_for_all_kinds_or_by_kind(gpus: str, of_judging: float, of_pretext: float, edited: Edit) -> None:
    runtime = load(edited("runtime: {", f"runtime: {{gpus: {gpus}, ")).runtime
    assert (runtime.gpus_of("judging"), runtime.gpus_of("pretext")) == (of_judging, of_pretext)


def test_openai_weights_want_the_model_with_quickgelu(refused: Callable[..., None]) -> None:
    """The other would load strictly and compute something else: no error would ever tell."""
    message = (
        "backbones.clip-vit.weights: found 'openai', weights that were trained with QuickGELU; "
        "allowed: the model open_clip/ViT-B-16-quickgelu"
    )
    refused(("open_clip/ViT-B-16-quickgelu", "open_clip/ViT-B-16"), [("clip-vit:", message)], base="full")

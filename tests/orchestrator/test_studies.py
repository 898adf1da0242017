"""The committed studies at full size: their trials counted by hand, and what may not be part of a training's spec."""

from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from orchestrator import grid, matrix, plan, spec
from orchestrator.identity import key
from orchestrator.matrix import Label, Study

ROOT = Path(__file__).parents[2]
NAMES = ("full", "lite", "gan_weight", "wide")


def counts(
    losses: int, random: int, twins: int, discriminators: int, seeds: int, tests: int, judges: int, fr: int
) -> dict[str, int]:
    """Trials without IQA models: `losses` with given weights, `random` and `twins` redrawn by each seed, and pixel."""
    optimizations = (losses + random + twins + 1) * discriminators * seeds + 1  # and one warm-up
    restorations = (optimizations + 1) * tests  # and bicubic
    metrics = losses + (random + twins) * seeds
    return {
        "fr_iqa": metrics,
        "super_resolution": optimizations,
        "restoration": restorations,
        "judging": restorations * judges,
        "benchmark": metrics * fr,
    }


# (random and released) x backbones x tasks x seeds, and gan: losses x discriminators besides none x tasks x seeds
FULL_MODELS = 2 * 3 * 2 * 5 + 6 * 9 * 2 * 5
LITE_MODELS = 2 * 2 * 2 * 3 + 6 * 2 * 2 * 3
# FR benchmarks for one half of the models, NR benchmarks for the other
COUNTS = {
    "full": Counter(counts(5, 1, 0, discriminators=10, seeds=5, tests=5, judges=11, fr=4))
    + Counter({"iqa_transfer": FULL_MODELS, "benchmark": FULL_MODELS // 2 * (4 + 4)}),
    "lite": Counter(counts(5, 1, 0, discriminators=3, seeds=3, tests=3, judges=7, fr=3))
    + Counter({"iqa_transfer": LITE_MODELS, "benchmark": LITE_MODELS // 2 * (3 + 2)}),
    "gan_weight": Counter(counts(1, 0, 0, discriminators=1 + 2 * 6, seeds=5, tests=5, judges=11, fr=4)),
    "wide": Counter(counts(24, 0, 24, discriminators=2, seeds=3, tests=5, judges=11, fr=4)),
}
CELLS = {
    "full": 6 * 10 * 3 * 2 * 2 * 5 + 6 * 9 * 2 * 5,
    "lite": 6 * 3 * 2 * 2 * 2 * 3 + 6 * 2 * 2 * 3,
    "gan_weight": 1 * 13 * 5,
    "wide": 48 * 2 * 3,
}


@pytest.fixture(scope="module")
def studies(expand: Callable[[Path], Study]) -> dict[str, Study]:
    return {name: expand(ROOT / "grids" / f"{name}.yaml") for name in NAMES}


def trials(study: Study) -> list[spec.Trial]:
    nodes = plan.build((label.spec for label in study.labels), {}, lambda _: 1.0).nodes
    return [node.spec for node in nodes.values()]


def of_role(study: Study, role: str) -> list[Label]:
    return [label for label in study.labels if label.role == role]


def parts(value: Any) -> Iterator[Any]:
    """`value` and everything that its spec holds, parents and their parents too."""
    yield value
    if isinstance(value, spec.Model):
        for name in spec.field_names(type(value)):
            yield from parts(getattr(value, name))
    elif isinstance(value, tuple):
        for item in value:
            yield from parts(item)


def test_every_committed_study_is_pinned_here() -> None:
    assert {file.stem for file in (ROOT / "grids").glob("*.yaml")} == {*NAMES, "demo"}


@pytest.mark.parametrize("name", NAMES)
def test_cells_and_trials(name: str, studies: dict[str, Study]) -> None:
    assert studies[name].cells == CELLS[name]
    assert Counter(trial.KIND for trial in trials(studies[name])) == COUNTS[name]
    assert studies[name].label_kind == matrix.OPINION


def test_the_totals_that_the_documents_name() -> None:
    assert {name: counted.total() for name, counted in COUNTS.items()} == {
        "full": 24521,
        "lite": 1992,
        "gan_weight": 8056,
        "wide": 18535,
    }


def test_gan_cells_only_for_the_discriminators_own_backbone(studies: dict[str, Study]) -> None:
    gan = [label for label in of_role(studies["full"], "iqa_model") if label.initialization == "gan"]
    assert len(gan) == 6 * 9 * 2 * 5
    for label in gan:
        assert isinstance(label.spec, spec.IqaTransfer)
        source = label.spec.weights
        assert isinstance(source, spec.SuperResolution)
        assert source.discriminator
        assert source.discriminator.backbone == label.spec.backbone
        assert source.seed == label.spec.seed == label.seed
        assert label.discriminator.split("-")[1:] == [label.backbone, label.start]


def test_each_level_of_a_raw_weight_is_in_its_specs(studies: dict[str, Study]) -> None:
    found: dict[str, set[Any]] = {}
    for label in of_role(studies["gan_weight"], "optimization"):
        assert isinstance(label.spec, spec.SuperResolution)
        found.setdefault(label.discriminator, set()).add(label.spec.weights.adversarial)
    names = [
        f"patch-{model}-released-w{w:g}" for model in ("resnet50", "dinov2") for w in (0.003, 0.01, 0.03, 0.1, 0.3, 1)
    ]
    assert found == {"none": {0.0}, **{name: {float(name.rpartition("w")[2])} for name in names}}


def test_seeds_share_metrics_of_released_weights_and_redraw_vgg16_r(studies: dict[str, Study]) -> None:
    by_loss: dict[str, set[str]] = {}
    seeds = set()
    for label in of_role(studies["full"], "metric"):
        by_loss.setdefault(label.loss, set()).add(key(label.spec))
        weights = getattr(label.spec, "weights", None)
        seeds |= {weights.seed} if isinstance(weights, spec.RandomWeights) else set()
    released = ("vgg16", "resnet50", "convnext", "clip-vit", "swin-t")
    assert {loss: len(keys) for loss, keys in by_loss.items()} == {"vgg16-r": 5, **dict.fromkeys(released, 1)}
    assert seeds == {0, 1, 2, 3, 4}


def test_seeds_are_paired(studies: dict[str, Study]) -> None:
    for label in of_role(studies["full"], "optimization"):
        trial = label.spec
        assert isinstance(trial, spec.SuperResolution)
        if label.loss == matrix.WARMUP:
            continue
        assert trial.seed == label.seed
        for holder in (trial.loss, trial.reference_loss, trial.discriminator):
            weights = getattr(holder, "weights", None)
            assert not isinstance(weights, spec.RandomWeights) or weights.seed == label.seed


def test_there_is_one_warm_up(studies: dict[str, Study]) -> None:
    starts = {id(label.spec.start) for label in of_role(studies["full"], "optimization") if label.spec.start}  # type: ignore[attr-defined]
    assert len(starts) == 1


@pytest.mark.parametrize("name", NAMES)
def test_no_training_knows_a_judge_a_test_set_or_a_benchmark(name: str, studies: dict[str, Study]) -> None:
    """So that adding one of these trains nothing again."""
    loaded = grid.load(ROOT / "grids" / f"{name}.yaml")
    evaluated = {*loaded.super_resolution.tests}
    for trial in trials(studies[name]):
        if trial.KIND not in spec.TRAINING_KINDS:
            continue
        for part in parts(trial):
            assert not isinstance(part, spec.Judge | spec.Judging | spec.Restoration | spec.Benchmark)
            if isinstance(part, spec.IqaDataSet | spec.SrImages):
                assert part.part in ("train", "validation")
                assert part.name not in evaluated


def test_metrics_are_fitted_on_whole_images_and_models_trained_on_crops(studies: dict[str, Study]) -> None:
    fitted = {label.spec.train.crop for label in of_role(studies["full"], "metric")}  # type: ignore[attr-defined]
    trained = {label.spec.train.crop for label in of_role(studies["full"], "iqa_model")}  # type: ignore[attr-defined]
    evaluated = {label.spec.data.crop for label in of_role(studies["full"], "iqa_benchmark")}  # type: ignore[attr-defined]
    assert (fitted, trained, evaluated) == ({0}, {224}, {0})


def test_the_training_sets_own_name_stands_for_its_test_part(studies: dict[str, Study]) -> None:
    found = {(x.task, x.data_set, x.spec.data.part) for x in of_role(studies["full"], "iqa_benchmark")}  # type: ignore[attr-defined]
    assert ("nr", "koniq10k", "test") in found
    assert {part for _, name, part in found if name != "koniq10k"} == {"all"}


def test_twins_run_like_losses_and_are_listed_apart(studies: dict[str, Study]) -> None:
    wide = studies["wide"]
    assert len(wide.losses) == len(wide.twins) == 24
    assert not set(wide.losses) & set(wide.twins)
    optimized = {label.loss for label in of_role(wide, "optimization") if not label.baseline}
    assert optimized == {*wide.losses, *wide.twins}
    models = {x.loss: x.spec.backbone.model for x in of_role(wide, "metric")}  # type: ignore[attr-defined]
    assert [models[f"{loss}-r"] for loss in wide.losses] == [models[loss] for loss in wide.losses]


def test_an_official_checkpoint_is_imported_in_no_steps(
    edited: Callable[..., Path], expand: Callable[[Path], Study]
) -> None:
    trained = "{steps: 500000, batch: 16, patch: 64, learning_rate: 0.0002, decay: true, ema: 0.999, seed: 0}"
    study = expand(edited(trained, "{file: swinir.pth}", base="full"))
    warmups = [label.spec for label in of_role(study, "optimization") if label.loss == matrix.WARMUP]
    assert all(isinstance(one, spec.SuperResolution) and one.training.steps == 0 for one in warmups)
    compared = {x.spec.against.super_resolution for x in of_role(study, "judging") if x.judge == "artifacts"}  # type: ignore[attr-defined]
    assert compared == {*warmups}
    (start,) = {one.start for one in warmups}  # type: ignore[attr-defined]
    assert isinstance(start, spec.ReleasedWeights)
    assert start.content == f"{spec.UNRESOLVED} file generator ({Path('swinir.pth').absolute()})"
    assert Counter(trial.KIND for trial in trials(study)) == COUNTS["full"]

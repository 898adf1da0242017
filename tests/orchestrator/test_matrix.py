"""The demo's trials counted by hand, and which cells share them."""

from collections import Counter
from collections.abc import Callable
from pathlib import Path

import pytest

from orchestrator import builder, known, matrix, plan, spec
from orchestrator.identity import key
from orchestrator.matrix import Label, Study

Edit = Callable[..., Path]
Expand = Callable[[Path], Study]

# 6 losses (vgg-r is random, the other five are pretext), 5 discriminators: none and 4, of which 3 have the backbone vgg
# and 1 vit; 2 backbones of IQA models (vgg, vit), 2 tasks, 2 seeds. FR has 2 benchmarks, NR 1; 2 test sets; 6 judges.
CELLS = 6 * 5 * 2 * 2 * 2 * 2 + 6 * 4 * 2 * 2  # random and pretext for each backbone, gan for the discriminator's own
PRETEXT = 5
METRICS = 5 + 2  # given weights share one fit over the seeds
OPTIMIZATIONS = (6 + 1) * 5 * 2 + 1  # with pixel, and the one warm-up
RESTORATIONS = (OPTIMIZATIONS + 1) * 2  # with bicubic
MODELS = 2 * 2 * 2 * 2 + 6 * 4 * 2 * 2  # (random, pretext) x backbones x tasks x seeds, and gan
BENCHMARKS = METRICS * 2 + MODELS // 2 * 2 + MODELS // 2 * 1
COUNTS = {
    "pretext": PRETEXT,
    "fr_iqa": METRICS,
    "super_resolution": OPTIMIZATIONS,
    "restoration": RESTORATIONS,
    "judging": RESTORATIONS * 6,
    "iqa_transfer": MODELS,
    "benchmark": BENCHMARKS,
}


def trials(study: Study) -> dict[str, spec.Trial]:
    nodes = plan.build((label.spec for label in study.labels), {}, lambda _: 1.0).nodes
    return {name: node.spec for name, node in nodes.items()}


def of_role(study: Study, role: str) -> list[Label]:
    return [label for label in study.labels if label.role == role]


def test_counts_of_the_demo(demo: Study) -> None:
    assert demo.cells == CELLS == 576
    assert Counter(trial.KIND for trial in trials(demo).values()) == COUNTS
    assert (COUNTS["super_resolution"], COUNTS["restoration"], COUNTS["judging"], COUNTS["iqa_transfer"]) == (
        71,
        144,
        864,
        112,
    )


def test_axes_keep_the_order_of_the_file(demo: Study) -> None:
    assert demo.losses == ("vgg-r", "vgg", "resnet", "convnext", "vit", "swin")
    assert demo.discriminators == (
        "none",
        "vanilla-vgg-pretext",
        "patch-vgg-pretext",
        "patch-vit-pretext",
        "patch-vgg-random",
    )


def test_seeds_share_metrics_of_given_weights_and_redraw_random_ones(demo: Study) -> None:
    by_loss: dict[str, set[str]] = {}
    for label in of_role(demo, "metric"):
        by_loss.setdefault(label.loss, set()).add(key(label.spec))
    assert {loss: len(keys) for loss, keys in by_loss.items()} == {
        loss: 2 if loss == "vgg-r" else 1 for loss in demo.losses
    }


def test_equal_trials_are_the_same_object(demo: Study) -> None:
    warmups = {id(x.spec.start) for x in of_role(demo, "optimization") if x.spec.start}  # type: ignore[attr-defined]
    assert len(warmups) == 1


def test_seeds_are_paired(demo: Study) -> None:
    for label in of_role(demo, "optimization"):
        trial = label.spec
        assert isinstance(trial, spec.SuperResolution)
        if label.loss == matrix.WARMUP:
            continue
        assert trial.seed == label.seed
        for holder in (trial.loss, trial.reference_loss, trial.discriminator):
            weights = getattr(holder, "weights", None)
            assert not isinstance(weights, spec.RandomWeights) or weights.seed == label.seed
    for label in of_role(demo, "iqa_model"):
        weights = getattr(label.spec, "weights", None)
        if isinstance(weights, spec.RandomWeights | spec.SuperResolution):
            assert weights.seed == label.seed


def test_random_weights_of_loss_discriminator_and_iqa_model_are_drawn_apart(demo: Study) -> None:
    found = set()
    for trial in trials(demo).values():
        for holder in (trial, getattr(trial, "discriminator", None)):
            weights = getattr(holder, "weights", None)
            if isinstance(weights, spec.RandomWeights):
                found.add((type(holder).__name__, weights.purpose))
    assert found == {("FrIqa", "loss"), ("IqaTransfer", "iqa"), ("Discriminator", "discriminator")}


def test_gan_starts_only_from_discriminators_of_the_models_own_backbone(demo: Study) -> None:
    gan = [label for label in of_role(demo, "iqa_model") if label.initialization == "gan"]
    assert len(gan) == 6 * 4 * 2 * 2
    for label in gan:
        model = label.spec
        assert isinstance(model, spec.IqaTransfer)
        assert isinstance(model.weights, spec.SuperResolution)
        assert model.weights.discriminator
        assert model.weights.discriminator.backbone == model.backbone
        assert f"-{label.backbone}-{label.start}" in label.discriminator


def test_other_initializations_do_not_depend_on_loss_or_discriminator(demo: Study) -> None:
    labels = [label for label in of_role(demo, "iqa_model") if label.initialization != "gan"]
    assert len(labels) == len({key(label.spec) for label in labels}) == 2 * 2 * 2 * 2
    assert {(label.loss, label.discriminator, label.start) for label in labels} == {("", "", "")}


def test_baselines_are_marked_and_never_among_the_ranked_losses(demo: Study) -> None:
    for label in demo.labels:
        assert label.baseline == (label.loss in (builder.PIXEL, matrix.WARMUP, matrix.BICUBIC))
    assert not {builder.PIXEL, matrix.WARMUP, matrix.BICUBIC} & set(demo.losses)
    assert all(label.role in ("optimization", "judging") for label in demo.labels if label.baseline)


def test_pixel_baseline_runs_under_every_discriminator_without_gan_cells(demo: Study) -> None:
    pixel = [label for label in of_role(demo, "optimization") if label.loss == builder.PIXEL]
    assert {(x.discriminator, x.seed) for x in pixel} == {
        (name, seed) for name in demo.discriminators for seed in (0, 1)
    }
    assert all(getattr(label.spec, "loss", "") is None for label in pixel)
    assert not [label for label in of_role(demo, "iqa_model") if label.loss == builder.PIXEL]


def test_an_own_judge_compares_with_the_warm_up_on_the_same_test_set(demo: Study) -> None:
    warmup = next(x.spec for x in of_role(demo, "optimization") if x.loss == matrix.WARMUP)
    judged = of_role(demo, "judging")
    assert {x.loss for x in judged if x.judge == "artifacts"} == {*demo.losses, *matrix.RESERVED} - {matrix.NONE}
    for label in judged:
        against = label.spec.against  # type: ignore[attr-defined]
        if label.judge not in known.own_judges():
            assert against is None
            continue
        assert (against.super_resolution, against.test) == (warmup, label.spec.test)  # type: ignore[attr-defined]
        assert [role for role, _ in spec.parents(label.spec)] == ["restoration", "against"]
        assert label.spec.judge.version == "asymmetry-sweep 1"  # type: ignore[attr-defined]
    assert len({id(x.spec.against) for x in judged}) == 1 + len({x.data_set for x in judged})  # type: ignore[attr-defined]


def test_exclude_removes_exactly_its_cells_and_the_trials_that_no_other_needs(
    demo: Study, edited: Edit, expand: Expand
) -> None:
    entry = "exclude: [{discriminator: patch-vit-pretext, seed: 1}]\nbaselines:"
    less = expand(edited("baselines:", entry, base="demo"))
    assert less.cells == CELLS - (6 * 2 * 2 * 2 + 6 * 2)  # of that discriminator and seed: random, pretext; gan
    gone = {key(label.spec) for label in demo.labels} - {key(label.spec) for label in less.labels}
    removed = [label for label in demo.labels if key(label.spec) in gone]
    assert {(label.discriminator, label.seed) for label in removed} == {("patch-vit-pretext", 1)}
    before, after = trials(demo), trials(less)
    kinds = Counter(before[name].KIND for name in before.keys() - after.keys())
    optimizations, models = 6 + 1, 6 * 2
    assert kinds == {
        "super_resolution": optimizations,
        "restoration": optimizations * 2,
        "judging": optimizations * 2 * 6,
        "iqa_transfer": models,
        "benchmark": models // 2 * 3,
    }
    assert not after.keys() - before.keys()


@pytest.mark.parametrize(("entry", "left"), [("{task: fr}", 288), ("{loss: vit, task: fr}, {seed: 1}", 264)])
def test_exclude_by_arithmetic(entry: str, left: int, edited: Edit, expand: Expand) -> None:
    assert expand(edited("baselines:", f"exclude: [{entry}]\nbaselines:", base="demo")).cells == left


def test_without_any_discriminator_there_is_optimization_alone(edited: Edit, expand: Expand) -> None:
    text = "loss: [vgg-r, convnext]\n  discriminator: [none, {head: patch, backbone: convnext, start: pretext}]"
    old = f"{text}\n  initialization: [random, gan]"
    study = expand(edited(old, "loss: [vgg-r, convnext]\n  discriminator: [none]\n  initialization: [random]"))
    assert not of_role(study, "iqa_model")
    assert len(of_role(study, "optimization")) == 2 + 1 + 1  # losses, pixel, warm-up


@pytest.mark.parametrize(
    ("entry", "left"),
    [
        ("exclude: [{loss: [vgg-r, vgg], seed: [0, 1]}]", 576 * 4 // 6),
        ("when: [{loss: vgg-r, only: {task: fr}}]", 576 - 576 // 6 // 2),
        ("when: [{loss: [vgg-r, vgg], task: nr, only: {seed: [0], loss: vgg}}]", 576 - 576 // 6 // 2 * 3 // 2),
        ("zip: [{task: [fr, nr], seed: [0, 1]}]", 576 // 2),
        ("zip: [{loss: [vgg, vit], seed: [0, 1]}]", 576 * 4 // 6 + 576 // 6),
    ],
)
def test_conditions_by_arithmetic(entry: str, left: int, edited: Edit, expand: Expand) -> None:
    assert expand(edited("baselines:", f"{entry}\nbaselines:", base="demo")).cells == left

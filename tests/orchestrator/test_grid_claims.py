"""What a wrong claim is told, and that the claims of the committed grids are what they say."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from orchestrator import grid
from orchestrator.sections import Agreement, AgreementChange, Difference, Levels, Trend, Upset
from orchestrator.sections.claims import meant, selected

ROOT = Path(__file__).parents[2]
SAYS = {"says": "It is so.", "matters": 0.1}
RIGHT: dict[str, dict[str, Any]] = {
    "agreement": {"contrast": "agreement", **SAYS},
    "change": {"contrast": "agreement_change", "of": "adversarial", "direction": "lower", **SAYS},
    "upset": {"contrast": "upset", "loss": "vgg-r", "over": ["vit"], **SAYS},
    "difference": {
        "contrast": "difference",
        "measure": "quality",
        "of": {"head": "patch"},
        "over": {"head": "vanilla"},
        "pairs": ["loss", "seed"],
        "direction": "higher",
        **SAYS,
    },
    "srcc": {
        "contrast": "difference",
        "measure": "srcc",
        "of": {"initialization": "pretext"},
        "over": {"initialization": "gan"},
        "pairs": ["task", "backbone", "seed"],
        "direction": "higher",
        **SAYS,
    },
    "trend": {
        "contrast": "trend",
        "measure": "quality",
        "of": {"backbone": "resnet50"},
        "over": {"backbone": "dinov2"},
        "pairs": "seed",
        "direction": "higher",
        **SAYS,
    },
}
QUALITY = "loss, discriminator, head, backbone, start, weight, seed"
SRCC = "task, backbone, initialization, start, loss, discriminator, head, seed"
LEVELS = "loss, discriminator, head, backbone, start, weight, initialization, task, seed"
DISCRIMINATORS = "none, vanilla-vgg-pretext, patch-vgg-pretext, patch-vit-pretext, patch-vgg-random"
CONTRASTS = "agreement, agreement_change, upset, difference, trend"


def stated(kind: str, **changes: Any) -> tuple[str, str]:
    """The change of a grid that states a claim more, Z9, one line a field; a field that is None is left out."""
    fields = {name: value for name, value in (RIGHT[kind] | changes).items() if value is not None}
    lines = "".join(f"    {name}: {json.dumps(value)}\n" for name, value in fields.items())
    return "claims:\n", f"claims:\n  Z9:\n{lines}"


# name: (the right claim of RIGHT, its changes, the field whose line the error points at, message behind "claims.Z9")
WRONG: dict[str, tuple[str, dict[str, Any], str, str]] = {
    "unknown contrast": (
        "agreement",
        {"contrast": "agrement"},
        "contrast",
        f".contrast: found 'agrement'; allowed: {CONTRASTS}; did you mean 'agreement'?",
    ),
    "no contrast": (
        "agreement",
        {"contrast": None},
        "",
        ".contrast: found nothing; it has no default, so it must be given",
    ),
    "no sentence": ("agreement", {"says": ""}, "says", ".says: found ''; allowed: at least one character"),
    "nothing matters": ("agreement", {"matters": 0}, "matters", ".matters: found 0; allowed: greater than 0"),
    "unknown field": (
        "agreement",
        {"discriminator": "all"},
        "discriminator",
        ".discriminator: found an unknown field; allowed: says, matters, grid, contrast, discriminators; "
        "did you mean 'discriminators'?",
    ),
    "unknown discriminator": (
        "agreement",
        {"discriminators": ["none", "patch-vgg"]},
        "discriminators",
        f".discriminators[1]: found 'patch-vgg'; allowed: {DISCRIMINATORS}, all, adversarial; "
        "did you mean 'patch-vgg-random'?",
    ),
    "discriminator given twice": (
        "agreement",
        {"discriminators": ["none", "none"]},
        "discriminators",
        ".discriminators[1]: found 'none' a second time; allowed: each once",
    ),
    "change of an unknown discriminator": (
        "change",
        {"of": "all"},
        "of",
        f".of[0]: found 'all'; allowed: {DISCRIMINATORS}, adversarial",
    ),
    "change over an unknown discriminator": (
        "change",
        {"over": "nne"},
        "over",
        f".over: found 'nne'; allowed: {DISCRIMINATORS}; did you mean 'none'?",
    ),
    "change over one of its own": (
        "change",
        {"over": "patch-vgg-random"},
        "over",
        ".over: found 'patch-vgg-random', which is in of too; allowed: one of them",
    ),
    "change that is small": (
        "change",
        {"direction": "negligible"},
        "direction",
        ".direction: found 'negligible'; allowed: higher, lower",
    ),
    "upset by an unknown loss": (
        "upset",
        {"loss": "pixel"},
        "loss",
        ".loss: found 'pixel'; allowed: vgg-r, vgg, resnet, convnext, vit, swin",
    ),
    "upset over itself": (
        "upset",
        {"over": ["vit", "vgg-r"]},
        "over",
        ".over[1]: found 'vgg-r'; allowed: vgg, resnet, convnext, vit, swin; did you mean 'vgg'?",
    ),
    "unknown measure": (
        "difference",
        {"measure": "qualty"},
        "measure",
        ".measure: found 'qualty'; allowed: quality, srcc, stability; did you mean 'quality'?",
    ),
    "unknown factor": (
        "difference",
        {"of": {"hed": "patch"}},
        "of",
        f".of.hed: found an unknown field; allowed: {LEVELS}; did you mean 'head'?",
    ),
    "factor that quality does not have": (
        "difference",
        {"of": {"initialization": "gan"}},
        "of",
        f".of.initialization: found 'initialization'; allowed: factors of quality: {QUALITY}",
    ),
    "factor that srcc does not have": (
        "srcc",
        {"over": {"weight": 0.1}},
        "over",
        f".over.weight: found 'weight'; allowed: factors of srcc: {SRCC}",
    ),
    "factor without a level": (
        "difference",
        {"over": {"weight": 0.1}},
        "over",
        ".over.weight: found weight, but the matrix has no level of it; allowed: other factors",
    ),
    "unknown head": (
        "difference",
        {"of": {"head": ["patch", "pach"]}},
        "of",
        ".of.head[1]: found 'pach'; allowed: vanilla, patch; did you mean 'patch'?",
    ),
    "unknown loss": (
        "difference",
        {"of": {"head": "patch", "loss": "pixel"}},
        "of",
        ".of.loss[0]: found 'pixel'; allowed: vgg-r, vgg, resnet, convnext, vit, swin",
    ),
    "unknown discriminator of a side": (
        "difference",
        {"of": {"discriminator": "adversarail"}},
        "of",
        f".of.discriminator[0]: found 'adversarail'; allowed: {DISCRIMINATORS}, adversarial; "
        "did you mean 'adversarial'?",
    ),
    "backbone of no discriminator": (
        "difference",
        {"of": {"backbone": "resnet"}},
        "of",
        ".of.backbone[0]: found 'resnet'; allowed: vgg, vit",
    ),
    "start that no discriminator has": (
        "difference",
        {"of": {"head": "patch", "start": "released"}},
        "of",
        ".of.start[0]: found 'released'; allowed: pretext, random",
    ),
    "unknown seed": (
        "difference",
        {"of": {"head": "patch", "seed": [0, 2]}},
        "of",
        ".of.seed[1]: found 2; allowed: 0, 1",
    ),
    "initialization that the matrix does not have": (
        "srcc",
        {"of": {"initialization": "released"}},
        "of",
        ".of.initialization[0]: found 'released'; allowed: random, pretext, gan",
    ),
    "unknown task": (
        "srcc",
        {"of": {"initialization": "pretext", "task": "nrr"}},
        "of",
        ".of.task[0]: found 'nrr'; allowed: fr, nr; did you mean 'nr'?",
    ),
    "level that is no text": (
        "difference",
        {"of": {"head": 3}},
        "of",
        ".of.head[0]: found 3; allowed: a valid string",
    ),
    "no level": ("difference", {"of": {"head": []}}, "of", ".of.head: found no level; allowed: at least one"),
    "level given twice": (
        "difference",
        {"of": {"head": ["patch", "patch"]}},
        "of",
        ".of.head[1]: found 'patch' a second time; allowed: each once",
    ),
    "levels that never meet": (
        "difference",
        {"of": {"head": "vanilla", "start": "random"}},
        "of",
        ".of: found levels that no cell has together; allowed: levels that meet",
    ),
    "levels of a random initialization": (
        "srcc",
        {"over": {"initialization": "random", "start": "pretext"}},
        "over",
        ".over: found levels that no cell has together; allowed: levels that meet",
    ),
    "sides that overlap": (
        "difference",
        {"of": {"backbone": "vgg"}, "over": {"start": "random"}},
        "over",
        ".over: found cells that of has too, such as loss vgg-r, discriminator patch-vgg-random, head patch, "
        "backbone vgg, start random, seed 0; allowed: each cell on one side",
    ),
    "no side at all": (
        "difference",
        {"of": {}, "over": {}},
        "over",
        ".over: found cells that of has too, such as loss vgg-r, discriminator none, seed 0; allowed: each cell on "
        "one side",
    ),
    "pairs that never meet": (
        "difference",
        {"pairs": ["loss", "discriminator"]},
        "pairs",
        ".pairs: found factors in which no cell of one side is like one of the other; allowed: fewer",
    ),
    "pairs of what is fixed": (
        "difference",
        {"of": {"head": "patch", "backbone": "vgg"}, "over": {"head": "vanilla", "backbone": "vgg"},
         "pairs": ["loss", "backbone"]},
        "pairs",
        ".pairs[1]: found 'backbone', which has one level on each side; allowed: those with more",
    ),
    "pairs of what is no factor": (
        "difference",
        {"pairs": ["loss", "task"]},
        "pairs",
        f".pairs[1]: found 'task'; allowed: factors of quality: {QUALITY}",
    ),
    "no pairs": ("difference", {"pairs": []}, "pairs", ".pairs: found no level; allowed: at least one"),
    "unit that is not paired": ("difference", {"pairs": "loss", "unit": "seed"}, "unit",
                                ".unit: found 'seed'; allowed: pair, loss"),
    "unknown judge": ("difference", {"judges": ["piqe", "vis"]}, "judges",
                      ".judges[1]: found 'vis'; allowed: judges: {judges}; did you mean 'vsi'?"),
    "judges of no score": ("srcc", {"judges": "piqe"}, "judges",
                           ".judges: found judges of srcc; allowed: judges where the measure is quality"),
    "trend of srcc": ("trend", {"measure": "srcc"}, "measure",
                      ".measure: found 'srcc'; allowed: quality, stability"),
    "trend along another factor": ("trend", {"along": "seed"}, "along", ".along: found 'seed'; allowed: weight"),
    "missing grid": ("agreement", {"grid": "gan_weigth.yaml"}, "grid",
                     ".grid: found 'gan_weigth.yaml'; allowed: gan_weight.yaml; did you mean 'gan_weight.yaml'?"),
    "wrong names for another grid": (
        "trend", {"grid": "gan_weight.yaml", "of": {"backbone": "resnet"}}, "of",
        ".of.backbone[0]: found 'resnet'; allowed: resnet50, dinov2; did you mean 'resnet50'? (in gan_weight.yaml)"),
}  # fmt: skip


@pytest.mark.parametrize(("kind", "changes", "field", "message"), WRONG.values(), ids=WRONG)
def test_wrong_claim(
    kind: str, changes: dict[str, Any], field: str, message: str, refused: Callable[..., None]
) -> None:
    judges = ", ".join(grid.load(ROOT / "grids" / "demo.yaml").judges.families())
    mark = f"    {field}:" if field else "  Z9:"
    refused(stated(kind, **changes), [(mark, f"claims.Z9{message.replace('{judges}', judges)}")], base="demo")


OF_OTHERS: dict[str, tuple[str, str, dict[str, Any], str, str]] = {
    "srcc without initializations": (
        "wide",
        "srcc",
        {},
        "measure",
        ".measure: found 'srcc', but the matrix has no initialization; allowed: quality, stability",
    ),
    "random twin": (
        "wide",
        "upset",
        {"over": ["vgg16", "vit"], "loss": "vgg16-r"},
        "loss",
        ".loss: found 'vgg16-r'; allowed: vgg16, vgg19, resnet18, resnet50, resnext50, regnety, densenet121, "
        "inception-v3, efficientnet, efficientnet-v2, mobilenet-v3, mobilevit, hrnet, convnext, convnext-v2, "
        "poolformer, pvt-v2, swin-t, maxvit, vit, deit3, dinov2, clip-vit, clip-resnet; did you mean 'vgg16'?",
    ),
    "one weight of two": (
        "gan_weight",
        "trend",
        {"over": {"backbone": "dinov2", "weight": 0.1}},
        "over",
        ".over: found fewer than two weights above 0 to draw a trend through; allowed: two or more",
    ),
    "unknown weight": (
        "gan_weight",
        "trend",
        {"of": {"backbone": "resnet50", "weight": [0.1, 0.2]}},
        "of",
        ".of.weight[1]: found 0.2; allowed: 0.003, 0.01, 0.03, 0.1, 0.3, 1.0; did you mean '0.3'?",
    ),
    "pairs along the trend": (
        "gan_weight",
        "trend",
        {"pairs": ["weight", "seed"]},
        "pairs",
        ".pairs[0]: found 'weight'; allowed: factors of quality: loss, discriminator, head, backbone, start, seed",
    ),
}


@pytest.mark.parametrize(("base", "kind", "changes", "field", "message"), OF_OTHERS.values(), ids=OF_OTHERS)
def test_wrong_claim_of_another_grid(
    base: str, kind: str, changes: dict[str, Any], field: str, message: str, told: Callable[..., Any], edited: Any
) -> None:
    file = edited(*stated(kind, **changes), base=base)
    line = next(n for n, text in enumerate(file.read_text().split("\n"), 1) if text.startswith(f"    {field}:"))
    assert f"{file}:{line}: claims.Z9{message}" in told(file)


def test_a_name_of_a_claim(refused: Callable[..., None]) -> None:
    change = ("claims:\n", 'claims:\n  "F 9": {contrast: agreement, says: it is so, matters: 0.1}\n')
    wanted = "letters, digits and . _ - (at most 24, the first a letter or digit)"
    refused(change, [('"F 9"', f"claims.F 9: found 'F 9'; allowed: {wanted}")], base="demo")


def test_adversarial_needs_a_discriminator(told: Callable[..., Any], edited: Any) -> None:
    claim = "claims: {F2: {contrast: agreement_change, of: adversarial, direction: lower, says: so, matters: 0.1}}"
    file = edited(
        "[none, {head: patch, backbone: convnext, start: pretext}]\n  initialization: [random, gan]", "[none]"
    )
    file.write_text(file.read_text().replace("  task: [fr, nr]\n", "").replace("runtime:", f"{claim}\nruntime:"))
    (line,) = told(file)
    assert line.endswith("claims.F2.of: found 'adversarial', but the matrix has no discriminator besides none")


def test_another_grid_with_faults_of_its_own(told: Callable[..., Any], edited: Any) -> None:
    file = edited(*stated("trend", grid="gan_weight.yaml"), base="demo")
    other = file.parent / "gan_weight.yaml"
    other.write_text(other.read_text().replace("loss: [vgg16]", "loss: [vgg61]"))
    (line,) = told(file)
    assert f"claims.Z9.grid: found 'gan_weight.yaml', which has faults itself: {other}:" in line
    assert line.endswith("matrix.loss[0]: found 'vgg61'; allowed: vgg16, resnet50, dinov2; did you mean 'vgg16'?")


def test_two_grids_may_rest_on_each_other(edited: Any) -> None:
    file = edited(*stated("trend", grid="gan_weight.yaml"), base="demo")
    other = file.parent / "gan_weight.yaml"
    other.write_text(other.read_text().replace(*stated("difference", grid="grid.yaml")))
    assert grid.load(file).claims["Z9"].grid == "gan_weight.yaml"
    assert grid.load(other).claims["Z9"].grid == "grid.yaml"
    assert grid.beside(file, "gan_weight.yaml").name == "gan_weight"


def test_claims_of_an_otherwise_wrong_grid_are_not_looked_at(told: Callable[..., Any], edited: Any) -> None:
    (line,) = told(edited("loss: [vgg-r, vgg, resnet,", "loss: [vgg-r, vgg, resnt,", base="demo"))
    assert "matrix.loss[2]: found 'resnt'" in line


FINDINGS = {
    "demo": "F1 F2 F3 F4-a F4-b F4-c F4-d F5-a F5-b F5-c F7",
    "lite": "F1 F2 F3 F4-a F5-b F5-c F5-e F7",
    "full": "F1 F2 F3 F4-a F4-b F4-c F4-d F5-a F5-b F5-c F5-d F5-e F6 F7",
    "wide": "F1 F2 F7",
    "gan_weight": "F6 F6-a F6-b",
}


@pytest.mark.parametrize("name", FINDINGS)
def test_claims_of_the_committed_grids(name: str) -> None:
    claims = grid.load(ROOT / "grids" / f"{name}.yaml").claims
    assert " ".join(claims) == FINDINGS[name]
    assert all(claim.says.endswith(".") for claim in claims.values())


def test_the_claims_of_the_demo_as_they_are_read() -> None:
    claims = grid.load(ROOT / "grids" / "demo.yaml").claims
    first, second, third = claims["F1"], claims["F2"], claims["F3"]
    assert isinstance(first, Agreement)
    assert (first.discriminators, first.null, first.direction, first.matters) == (("all",), "perfect", "higher", 0.2)
    assert isinstance(second, AgreementChange)
    assert (second.of, second.over, second.null, second.direction) == (("adversarial",), "none", "zero", "lower")
    assert isinstance(third, Upset)
    assert (third.loss, third.over, third.discriminators) == ("vgg-r", ("resnet", "vit"), ("all",))
    fourth, seventh = claims["F4-a"], claims["F7"]
    assert isinstance(fourth, Difference)
    assert isinstance(seventh, Difference)
    assert fourth.of.named() == {"initialization": ("pretext",)}
    assert fourth.over.named() == {"start": ("pretext",), "initialization": ("gan",)}
    assert (fourth.pairs, fourth.unit, fourth.judges) == (("task", "backbone", "seed"), "pair", None)
    assert seventh.judges == ("artifacts",)


def test_a_trend_without_another_side() -> None:
    trend = grid.load(ROOT / "grids" / "gan_weight.yaml").claims["F6-a"]
    assert isinstance(trend, Trend)
    assert (trend.along, trend.of.named(), trend.over) == ("weight", {"backbone": ("dinov2",)}, None)


def test_a_row_is_on_a_side_if_it_has_one_of_its_levels_in_each_factor() -> None:
    row = {"loss": "vit", "discriminator": "patch-vgg-random", "head": "patch", "weight": 0.1, "seed": 1}
    assert selected(Levels(), {})
    assert selected(Levels(loss=("vgg", "vit"), weight=(0.1,), seed=(1,)), row)
    assert not selected(Levels(loss=("vgg", "vit"), head=("vanilla",)), row)
    assert selected(Levels(discriminator=("adversarial",)), row)
    assert selected(Levels(discriminator=("none", "adversarial")), row | {"discriminator": "none"})
    assert not selected(Levels(discriminator=("adversarial",)), row | {"discriminator": "none"})
    assert not selected(Levels(discriminator=("adversarial",)), row | {"discriminator": ""}), "no discriminator at all"


def test_the_discriminators_that_words_mean() -> None:
    names = ("none", "patch-a", "patch-b")
    assert meant(("all",), names) == names
    assert meant(("adversarial",), names) == ("patch-a", "patch-b")
    assert meant(("patch-b", "none"), names) == ("none", "patch-b"), "in the order of the grid"

"""What is wrong with the axes of the matrix: losses, twins, discriminators, initializations, tasks, seeds, exclude."""

from collections.abc import Callable

import pytest

LOSSES = "loss: [vgg-r, convnext]"
DISCRIMINATORS = "[none, {head: patch, backbone: convnext, start: pretext}]"
ONE = "allowed: each level once"
SOME = "found no level; allowed: at least one"
BOTH = "allowed: both, or neither (optimization alone)"
AXIS = "{head: ..., backbone: ..., start: ...}"


def exclude(entries: str) -> tuple[str, str]:
    return conditions(f"exclude: [{entries}]")


def conditions(text: str) -> tuple[str, str]:
    return "baselines: [pixel]", f"{text}\nbaselines: [pixel]"


def twins(entries: str) -> tuple[str, str]:
    return LOSSES, f"loss: [vgg-r]\n  twins: [{entries}]"


# (old, new) of the change, and for each line of the error: a text on the line that it must point at, and its message
WRONG: dict[str, tuple[tuple[str, str], list[tuple[str, str]]]] = {
    "empty losses": ((LOSSES, "loss: []"), [("loss:", f"matrix.loss: {SOME}")]),
    "empty discriminators": ((DISCRIMINATORS, "[]"), [("discriminator:", f"matrix.discriminator: {SOME}")]),
    "empty heads": (("head: patch", "head: []"), [("head:", f"matrix.discriminator[1].head: {SOME}")]),
    "empty initializations": (
        ("[random, gan]", "[]"),
        [("task:", "matrix.task: found levels, but no matrix.initialization; " + BOTH)],
    ),
    "empty tasks": (
        ("task: [fr, nr]", "task: []"),
        [("initialization:", "matrix.initialization: found levels, but no matrix.task; " + BOTH)],
    ),
    "empty seeds": (("seeds: [0]", "seeds: []"), [("seeds", f"seeds: {SOME}")]),
    "second seed": (("seeds: [0]", "seeds: [0, 1, 0]"), [("seeds", f"seeds[2]: found 0 a second time; {ONE}")]),
    "second loss": (
        (LOSSES, "loss: [vgg-r, vgg-r]"),
        [("loss:", f"matrix.loss[1]: found 'vgg-r' a second time; {ONE}")],
    ),
    "second discriminator": (
        ("[none,", "[none, none,"),
        [("[none,", f"matrix.discriminator[1]: found 'none' a second time; {ONE}")],
    ),
    "second discriminator by a product": (
        ("start: pretext}]", "start: pretext}, {head: [vanilla, patch], backbone: convnext, start: pretext}]"),
        [("[none,", f"matrix.discriminator[2]: found patch-convnext-pretext a second time; {ONE}")],
    ),
    "second initialization": (
        ("[random, gan]", "[random, gan, random]"),
        [("initialization", f"matrix.initialization[2]: found 'random' a second time; {ONE}")],
    ),
    "second task": (("[fr, nr]", "[fr, nr, fr]"), [("task:", f"matrix.task[2]: found 'fr' a second time; {ONE}")]),
    "second baseline": (
        ("[pixel]", "[pixel, pixel]"),
        [("baselines", f"baselines[1]: found 'pixel' a second time; {ONE}")],
    ),
    "unknown loss": (
        (LOSSES, "loss: [vgg-q, convnext]"),
        [("loss:", "matrix.loss[0]: found 'vgg-q'; allowed: vgg-r, convnext; did you mean 'vgg-r'?")],
    ),
    "unknown backbone of a discriminator": (
        ("backbone: convnext", "backbone: [convnext, convnxt]"),
        [
            (
                "convnxt",
                "matrix.discriminator[1].backbone: found 'convnxt'; allowed: vgg-r, convnext; did you mean 'convnext'?",
            )
        ],
    ),
    "unknown discriminator": (
        ("[none,", "[nonee,"),
        [("[nonee", f"matrix.discriminator[0]: found 'nonee'; allowed: none, {AXIS}; did you mean 'none'?")],
    ),
    "exclude with an unknown level": (
        exclude("{loss: vggr}"),
        [("exclude", "exclude[0].loss: found 'vggr'; allowed: vgg-r, convnext; did you mean 'vgg-r'?")],
    ),
    "exclude with levels that never meet": (
        exclude("{discriminator: none, initialization: gan}"),
        [
            (
                "exclude",
                "exclude[0]: found {'discriminator': 'none', 'initialization': 'gan'}, which matches no cell; "
                "allowed: levels that meet",
            )
        ],
    ),
    "exclude without any level": (
        exclude("{}"),
        [("exclude", "exclude[0]: found no level; allowed: at least one (without any it would leave nothing)")],
    ),
    "exclude of everything": (
        exclude("{task: fr}, {task: nr}"),
        [("exclude", "exclude: found entries that together match every cell; allowed: those that leave some")],
    ),
    "exclude with an unknown level in a list": (
        exclude("{loss: [vgg-r, vggr]}"),
        [("exclude", "exclude[0].loss[1]: found 'vggr'; allowed: vgg-r, convnext; did you mean 'vgg-r'?")],
    ),
    "when with an unknown level": (
        conditions("when: [{loss: vgg-r, only: {task: ff}}]"),
        [("when", "when[0].only.task: found 'ff'; allowed: fr, nr")],
    ),
    "when without a condition": (
        conditions("when: [{only: {task: fr}}]"),
        [("when", "when[0]: found no level; allowed: at least one (without any it would leave nothing)")],
    ),
    "when that leaves nothing": (
        conditions("when: [{task: [fr, nr], only: {loss: vgg-r}}, {loss: vgg-r, only: {loss: convnext}}]"),
        [("when", "when: found entries that together match every cell; allowed: those that leave some")],
    ),
    "zip of lists of two lengths": (
        conditions("zip: [{loss: [vgg-r, convnext], task: fr}]"),
        [("zip", "zip[0]: found lists of loss: 2, task: 1; allowed: two factors or more, lists of one length")],
    ),
    "zip of one factor": (
        conditions("zip: [{loss: [vgg-r, convnext]}]"),
        [("zip", "zip[0]: found lists of loss: 2; allowed: two factors or more, lists of one length")],
    ),
    "gan without any discriminator": (
        (DISCRIMINATORS, "[none]"),
        [
            (
                "initialization",
                "matrix.initialization[1]: found 'gan', but the matrix has no discriminator to start from; add one or "
                "leave gan out",
            )
        ],
    ),
    "gan without a discriminator of that backbone": (
        ("iqa_transfer:\n", "iqa_transfer:\n  backbones: [vgg-r, convnext]\n"),
        [
            (
                "initialization",
                "matrix.initialization[1]: found 'gan', but no discriminator has the backbone 'vgg-r' of "
                "iqa_transfer.backbones; allowed: convnext",
            )
        ],
    ),
    "one axis written twice": (
        ("start: pretext}]", "start: pretext}, {head: patch, backbone: convnext, start: pretext}]"),
        [("[none,", f"matrix.discriminator[2]: found 'patch-convnext-pretext' a second time; {ONE}")],
    ),
    "twin that is a loss too": (
        twins("vgg-r"),
        [("twins:", "matrix.twins[0]: found 'vgg-r', which is in matrix.loss too; allowed: one of them")],
    ),
    "second twin": (
        twins("convnext, convnext"),
        [("twins:", f"matrix.twins[1]: found 'convnext' a second time; {ONE}")],
    ),
    "unknown twin": (
        twins("convnex"),
        [("twins:", "matrix.twins[0]: found 'convnex'; allowed: vgg-r, convnext; did you mean 'convnext'?")],
    ),
    "task without its IQA set": (
        ("  nr: *set\n", ""),
        [("task:", "matrix.task: found 'nr'; it needs the section iqa_sets.nr")],
    ),
    "task without its training": (
        ("  nr: {steps: 2, batch: 4, learning_rate: 0.001, backbone_factor: 1.0, evaluate_every: 1}\n", ""),
        [("task:", "matrix.task: found 'nr'; it needs the section iqa_transfer.nr")],
    ),
    "task without initialization": (
        ("  initialization: [random, gan]\n", ""),
        [("task:", f"matrix.task: found levels, but no matrix.initialization; {BOTH}")],
    ),
    "initialization without task": (
        ("  task: [fr, nr]\n", ""),
        [("initialization:", f"matrix.initialization: found levels, but no matrix.task; {BOTH}")],
    ),
}


@pytest.mark.parametrize(("change", "expected"), WRONG.values(), ids=WRONG)
def test_wrong_axis(change: tuple[str, str], expected: list[tuple[str, str]], refused: Callable[..., None]) -> None:
    refused(change, expected)

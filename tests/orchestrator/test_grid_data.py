"""What is wrong with data: photographs in two splits, data sets that nobody declared, splits, crops that do not fit."""

from collections.abc import Callable
from pathlib import Path

import pytest

Edit = Callable[..., Path]
Told = Callable[[Path], list[str]]
Refused = Callable[..., None]
Change = tuple[str, str]
Expected = list[tuple[str, str]]
MISSING = "found nothing; it has no default, so it must be given"
ONE = "allowed: each level once"
QUALITY = "allowed: data.sets: kadid10k, tid2013, live, csiq, pipal, koniq10k, spaq, live-challenge"
IMAGES = "allowed: data.sets: df2k, div2k-val, set5, set14, bsd100, urban100"
LAYOUTS = "kadid10k, tid2013, live, csiq, pipal, koniq10k, spaq, live_challenge, pyiqa_fr, pyiqa_nr, images"
SPLIT = "{seed: 0, train: 0.6, validation: 0.2}"
KADID = "kadid10k: {layout: kadid10k, folder: kadid10k}"
SET5 = "set5: {layout: images, folder: Set5/HR}"

# (old, new) of the change, and for each line of the error: a text on the line that it must point at, and its message
WRONG: dict[str, tuple[Change, Expected]] = {
    "second photograph": (
        ("train: [coffee, rocket]", "train: [coffee, rocket, coffee]"),
        [("train:", f"photographs.train[2]: found 'coffee' a second time; {ONE}")],
    ),
    "photograph in two splits": (
        ("validation: [flower]", "validation: [flower, coffee]"),
        [
            (
                "validation:",
                "photographs.validation[1]: found 'coffee', whose content is in train too; allowed: one split",
            )
        ],
    ),
    "test photograph that is not in test": (
        ("natural: [chelsea, retina]", "natural: [chelsea, coffee]"),
        [
            (
                "natural:",
                "super_resolution.tests.natural[1]: found 'coffee'; allowed: the test photographs: chelsea, retina",
            )
        ],
    ),
    "a name that cannot be part of a path": (
        ("    natural:", "    ../natural:"),
        [
            (
                "../natural",
                "super_resolution.tests.../natural: found '../natural'; allowed: a to z, 0 to 9 and . _ + - "
                "(at most 64, the first a letter or digit)",
            )
        ],
    ),
}
OF_FULL: dict[str, tuple[Change, Expected]] = {
    "unknown training set": (
        ("train: kadid10k", "train: kadid"),
        [("train: kadid", f"iqa_sets.fr.train: found 'kadid'; {QUALITY}; did you mean 'kadid10k'?")],
    ),
    "images where a set with labels is needed": (
        ("train: kadid10k", "train: df2k"),
        [("train: df2k", f"iqa_sets.fr.train: found 'df2k'; {QUALITY}")],
    ),
    "unknown benchmark": (
        ("[live, csiq", "[livee, csiq"),
        [("livee", f"iqa_sets.fr.benchmarks[0]: found 'livee'; {QUALITY}; did you mean 'live'?")],
    ),
    "second benchmark": (
        ("[live, csiq", "[live, live, csiq"),
        [("[live,", f"iqa_sets.fr.benchmarks[1]: found 'live' a second time; {ONE}")],
    ),
    "labels where images are needed": (
        ("train: df2k", "train: spaq"),
        [("train: spaq", f"super_resolution.train: found 'spaq'; {IMAGES}")],
    ),
    "unknown test set": (
        ("tests: [set5,", "tests: [set6,"),
        [("tests:", f"super_resolution.tests[0]: found 'set6'; {IMAGES}; did you mean 'set5'?")],
    ),
    "the training set as a test set": (
        ("tests: [set5,", "tests: [df2k,"),
        [("tests:", "super_resolution.tests[0]: found 'df2k', which generators are trained on; allowed: others")],
    ),
    "second test set": (
        ("tests: [set5,", "tests: [set5, set5,"),
        [("tests:", f"super_resolution.tests[1]: found 'set5' a second time; {ONE}")],
    ),
    "no section data": (
        ("data:\n", "dta:\n"),
        [
            (
                "dta:",
                "dta: found an unknown field; allowed: name, seeds, numerics, backbones, matrix, exclude, when, zip, "
                "baselines, photographs, data, iqa_sets, pretext, fr_iqa, super_resolution, iqa_transfer, judges, "
                "claims, runtime; did you mean 'data'?",
            )
        ],
    ),
    "an official split that is not there": (
        (SPLIT, "official"),
        [
            (
                "split: official",
                "iqa_sets.fr.split: found 'official', but kadid10k has no official split; "
                "allowed: {seed, train, validation}",
            )
        ],
    ),
    "misspelt official split": (
        ("split: official", "split: oficial"),
        [
            (
                "oficial",
                "iqa_sets.nr.split: found 'oficial'; allowed: official, {seed: ..., train: ..., validation: ...}; "
                "did you mean 'official'?",
            )
        ],
    ),
    "fractions above 1": (
        (SPLIT, SPLIT.replace("0.6", "0.9")),
        [
            (
                "split: {",
                "iqa_sets.fr.split: found fractions that sum to 1.1; allowed: at most 1 (the rest is the test part)",
            )
        ],
    ),
    "a fraction above 1": (
        (SPLIT, SPLIT.replace("0.6", "1.6")),
        [("split: {", "iqa_sets.fr.split.train: found 1.6; allowed: less than 1")],
    ),
    "no fraction left for the test part that is a benchmark": (
        (
            f"{SPLIT} # by reference\n    crop: 224\n    benchmarks: [live,",
            f"{SPLIT.replace('0.6', '0.8')}\n    crop: 224\n    benchmarks: [kadid10k, live,",
        ),
        [
            (
                "split: {",
                "iqa_sets.fr.split: found fractions that sum to 1, but kadid10k is among the benchmarks with its test "
                "part; allowed: fractions that leave a rest",
            )
        ],
    ),
    "misspelt field of a split": (
        (SPLIT, SPLIT.replace("seed", "sed")),
        [
            ("split: {", f"iqa_sets.fr.split.seed: {MISSING}"),
            (
                "split: {",
                "iqa_sets.fr.split.sed: found an unknown field; allowed: seed, train, validation; did you mean 'seed'?",
            ),
        ],
    ),
    "misspelt field of an IQA set": (
        ("train: kadid10k", "trian: kadid10k"),
        [
            ("  fr: #", f"iqa_sets.fr.train: {MISSING}"),
            (
                "trian",
                "iqa_sets.fr.trian: found an unknown field; allowed: train, split, crop, benchmarks; "
                "did you mean 'train'?",
            ),
        ],
    ),
    "a set without references for FR models": (
        ("[live, csiq", "[koniq10k, csiq"),
        [
            (
                "  fr: #",
                "iqa_sets.fr: found 'koniq10k', a set without references; FR models and metrics need them",
            )
        ],
    ),
    "nothing held out": (
        ("hold_out: 16", "hold_out: 0"),
        [
            (
                "hold_out: 0",
                "super_resolution.hold_out: found 0; allowed: at least 1 image of the training set, to validate on",
            )
        ],
    ),
    "test sets of photographs without any": (
        ("tests: [set5, set14, bsd100, urban100, div2k-val]", "tests: {natural: [chelsea]}"),
        [
            (
                "natural:",
                "super_resolution.tests: found test sets made of photographs, but no section photographs",
            )
        ],
    ),
    "no training images": (
        ("  train: df2k\n", ""),
        [
            (
                "super_resolution:",
                "super_resolution: found no train; give the name of a data set of images, or the section photographs",
            )
        ],
    ),
    "unknown layout": (
        (KADID, KADID.replace("layout: kadid10k", "layout: image")),
        [("layout: image,", f"data.sets.kadid10k.layout: found 'image'; allowed: {LAYOUTS}; did you mean 'images'?")],
    ),
    "no layout": (
        (SET5, "set5: {folder: Set5/HR}"),
        [("set5: {", f"data.sets.set5.layout: {MISSING}")],
    ),
    "misspelt field of a data set": (
        (KADID, KADID.replace("folder", "foldr")),
        [
            ("kadid10k: {", f"data.sets.kadid10k.folder: {MISSING}"),
            (
                "foldr",
                "data.sets.kadid10k.foldr: found an unknown field; allowed: layout, folder; did you mean 'folder'?",
            ),
        ],
    ),
    "misspelt field of folders of images": (
        (SET5, "set5: {layout: images, folder: Set5/HR, lo: Set5/LR}"),
        [("lo: ", "data.sets.set5.lo: found an unknown field; allowed: layout, folder, low; did you mean 'low'?")],
    ),
    "low-resolution folders for some": (
        ("[DIV2K/DIV2K_train_HR, Flickr2K/Flickr2K_HR]", "[a, b], low: c"),
        [("df2k: {", "data.sets.df2k.low: found 1; allowed: one for each of 2 folders, or none")],
    ),
    "one folder twice": (
        ("[DIV2K/DIV2K_train_HR, Flickr2K/Flickr2K_HR]", "[a, a, a], low: [b, c, a]"),
        [("df2k: {", "data.sets.df2k: found 'a' a second time; allowed: each folder once")],
    ),
    "crops too small for backbones": (
        ("crop: 224", "crop: 15"),
        [("crop: 15", "iqa_sets.fr.crop: found 15; allowed: 16 (what backbones need) or more")],
    ),
    "patches too small for backbones": (
        ("training: {steps: 100000, batch: 16, patch: 64", "training: {steps: 100000, batch: 16, patch: 3"),
        [("patch: 3,", "super_resolution.training.patch: found 3; allowed: 4 (what backbones need) or more")],
    ),
}


@pytest.mark.parametrize(("change", "expected"), WRONG.values(), ids=WRONG)
def test_wrong_photographs(change: Change, expected: Expected, refused: Refused) -> None:
    refused(change, expected)


@pytest.mark.parametrize(("change", "expected"), OF_FULL.values(), ids=OF_FULL)
def test_wrong_data_sets(change: Change, expected: Expected, refused: Refused) -> None:
    refused(change, expected, base="full")


def test_a_grid_without_photographs_is_told_each_section_that_needs_them(edited: Edit, told: Told) -> None:
    photographs = "photographs:\n  train: [coffee, rocket]\n  validation: [flower]\n  test: [chelsea, retina]\n"
    file = edited(photographs, "")
    assert [line.removeprefix(f"{file}:").partition(" ")[2] for line in told(file)] == [
        "backbones.convnext.weights: found 'pretext', which needs the sections pretext and photographs",
        "matrix.discriminator[1].start: found 'pretext', which needs the sections pretext and photographs",
        "iqa_sets.fr: found a set made of photographs, but no section photographs",
        "iqa_sets.nr: found a set made of photographs, but no section photographs",
        "super_resolution: found no train; give the name of a data set of images, or the section photographs",
        "super_resolution.tests: found test sets made of photographs, but no section photographs",
    ]


def test_both_views_of_a_stereo_pair_are_one_content(edited: Edit, told: Told) -> None:
    old = "train: [coffee, rocket]\n  validation: [flower]"
    file = edited(old, "train: [coffee, motorcycle_left]\n  validation: [flower, motorcycle_right]")
    assert told(file)[0].endswith(
        "photographs.validation[1]: found 'motorcycle_right', whose content is in train too; allowed: one split"
    )


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("crop: 32, learning_rate", "crop: 8, learning_rate", "pretext.crop: found 8; allowed: 16 (what backbones"),
        ("crop: 32, learning_rate", "crop: 401, learning_rate", "to 400 (the side of coffee)"),
        ("\n  crop: 64", "\n  crop: 302", "super_resolution.crop: found 302; allowed: 16 (what backbones need) to 300"),
        ("batch: 2, patch: 16", "batch: 2, patch: 201", "training.patch: found 201; allowed: 8 (what backbones need)"),
        ("batch: 2, patch: 8", "batch: 2, patch: 7", "warmup.patch: found 7; allowed: 8 (what backbones need) to 200"),
        (
            "    crop: 32\n",
            "    crop: 4000\n",
            "iqa_sets.fr.crop: found 4000; allowed: 16 (what backbones need) to 300",
        ),
    ],
)
def test_crops_must_fit_photographs_and_backbones(old: str, new: str, message: str, edited: Edit, told: Told) -> None:
    assert message in told(edited(old, new))[0]

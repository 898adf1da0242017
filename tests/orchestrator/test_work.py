"""Pixels of work, counted by hand."""

from collections.abc import Callable
from pathlib import Path
from typing import Any, get_args

import pytest

from orchestrator import plan, spec
from orchestrator.matrix import Study
from orchestrator.work import NOMINAL_PIXELS, NOMINAL_SR_PIXELS, Work

KADID, CSIQ, SET5 = "a" * 64, "b" * 64, "c" * 64


def trials(study: Study, kind: str) -> list[spec.Trial]:
    nodes = plan.build((label.spec for label in study.labels), {}, lambda _: 1.0).nodes
    return [node.spec for node in nodes.values() if node.kind == kind]


def amounts(study: Study, kind: str) -> set[float]:
    return {Work().of(trial) for trial in trials(study, kind)}


def official(
    layout: Any, part: Any, content: str = "unresolved", split: spec.ReferenceSplit | None = None
) -> spec.IqaDataSet:
    return spec.IqaDataSet(name="set", layout=layout, content=content, part=part, split=split, crop=0)


def images(name: str, content: str = "unresolved") -> spec.SrImages:
    return spec.SrImages(name=name, content=content, part="all", hold_out=0, crop=0)


def test_trainings_of_the_demo_are_steps_times_pixels_of_a_batch_and_validations(demo: Study) -> None:
    assert amounts(demo, "pretext") == {120 * 16 * 64**2}
    patch = (16 * 4) ** 2  # high-resolution pixels
    assert amounts(demo, "super_resolution") == {900 * 8 * patch, 30 * 4 * patch, (30 + 8) * 4 * patch}
    # Before the first step and after each 20th, all of the validation set, at a third of the cost of training on it.
    fr, nr = 3 * 12 * 5 * 48**2, 3 * 2 * 10 * 5 * 32**2
    assert amounts(demo, "iqa_transfer") == {40 * 8 * 48**2 + 3 * fr / 3, 80 * 16 * 32**2 + 5 * nr / 3}


def test_evaluations_of_the_demo_are_pixels_of_their_images(demo: Study) -> None:
    ladder = 12 * 5 * 48**2  # distortions x levels x crop, for each of the photographs
    assert amounts(demo, "fr_iqa") == {(8 + 3) * ladder}  # training and validation
    assert amounts(demo, "benchmark") == {2 * ladder, 3 * 10 * 5 * 48**2, 4 * 2 * 10 * 5 * 32**2}
    assert amounts(demo, "restoration") == amounts(demo, "judging") == {2 * 128**2, 3 * 128**2}


def test_official_sets_have_nominal_pixels_until_a_manifest_knows_them() -> None:
    known = Work([{"content": KADID, "pixels": 1000}, {"content": CSIQ}, {"content": SET5, "pixels": 77}])
    assert Work().of_data(official("kadid10k", "all")) == NOMINAL_PIXELS["kadid10k"]
    assert known.of_data(official("kadid10k", "all", KADID)) == 1000
    assert known.of_data(official("csiq", "all", CSIQ)) == NOMINAL_PIXELS["csiq"]  # weights have no pixels, for one
    assert Work().of_images(images("set5")) == NOMINAL_SR_PIXELS["set5"]
    assert known.of_images(images("set5", SET5)) == 77
    assert known.of_images(images("my-own")) == 100e6
    assert known.of_data(official("pyiqa_fr", "all")) == 1e9


def test_every_official_layout_has_nominal_pixels() -> None:
    layouts = {*get_args(spec.IqaLayout)} - {"pyiqa_fr", "pyiqa_nr"}
    assert set(NOMINAL_PIXELS) == layouts


@pytest.mark.parametrize(("part", "share"), [("all", 1.0), ("train", 0.6), ("validation", 0.3), ("test", 0.1)])
def test_a_part_of_a_set_has_its_share(part: str, share: float) -> None:
    split = None if part == "all" else spec.ReferenceSplit(seed=0, train=0.6, validation=0.3)
    known = Work([{"content": KADID, "pixels": 1000}])
    assert known.of_data(official("kadid10k", part, KADID, split)) == pytest.approx(1000 * share)
    shares = [known.of_data(official("koniq10k", one, KADID)) for one in ("train", "validation", "test")]
    assert shares == pytest.approx([700, 100, 200])  # of an official split, roughly


def test_no_trial_of_the_committed_studies_is_without_work(full: Study, demo: Study) -> None:
    for study in (full, demo):
        assert all(Work().of(label.spec) > 0 for label in study.labels)


def test_an_imported_generator_is_no_work(edited: Callable[..., Path], expand: Callable[[Path], Study]) -> None:
    trained = "{steps: 500000, batch: 16, patch: 64, learning_rate: 0.0002, decay: true, ema: 0.999, seed: 0}"
    study = expand(edited(trained, "{file: swinir.pth}", base="full"))
    assert Work().of(next(x.spec for x in study.labels if x.role == "optimization" and x.loss == "warm-up")) == 0

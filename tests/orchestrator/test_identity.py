"""Addresses of trials: pinned, complete, free of what is no identity, and refused for what has no canonical form."""

import dataclasses
import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from orchestrator import grid, matrix, naming, plan, spec
from orchestrator.identity import canonical_json, digest, key, spec_json
from orchestrator.manifests import Manifests
from orchestrator.matrix import Study

ROOT = Path(__file__).parents[2]
GOLDEN = ROOT / "tests" / "golden" / "keys.json"
Edit = Callable[..., Path]
Expand = Callable[[Path], Study]


def addresses(study: Study) -> dict[str, str]:
    """`kind: readable name` -> key of every trial of the study."""
    nodes = plan.build((label.spec for label in study.labels), {}, lambda _: 1.0).nodes
    names = naming.names(study.labels, (node.spec for node in nodes.values()))
    return {f"{node.kind}: {names[name]}": name for name, node in nodes.items()}


def keys(study: Study, kinds: tuple[str, ...] = tuple(spec.KINDS)) -> set[str]:
    return {name for text, name in addresses(study).items() if text.split(":")[0] in kinds}


def test_golden_keys(edited: Edit, expand: Expand) -> None:
    study = expand(edited("beside: [psnr]", "beside: [psnr, artifacts]"))
    golden, now = json.loads(GOLDEN.read_text()), addresses(study)
    assert {text.split(":")[0] for text in golden} == set(spec.KINDS)
    changed = {name: f"{was} -> {now.get(name)}" for name, was in golden.items() if now.get(name) != was}
    assert not changed, (
        f"{len(changed)} keys changed: {changed}. A changed key orphans finished trials: every store computes them "
        "again. Is the change of meaning intended? Then raise VERSION of that kind in orchestrator/spec/kinds.py and "
        f"write the new keys into {GOLDEN}. Else find what changed: compare spec.json of the old key with "
        "orchestrator.identity.spec_json of the new spec. (A new version of pyiqa changes judging alone, on purpose.)"
    )


def test_runtime_is_no_identity(micro: Study, edited: Edit, expand: Expand) -> None:
    runtime = "runtime: {storage: /elsewhere, tracking: other.db, max_failures: 9, checkpoint_seconds: 1, cpus: 8} #"
    assert keys(expand(edited("runtime:", runtime))) == keys(micro)


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("beside: [psnr]", "beside: [psnr, ssim]"),
        ("    natural: [chelsea, retina]", "    natural: [chelsea, retina]\n    one: [retina]"),
        ("      ladder: {", "      other: {photographs: [retina]}\n      ladder: {"),
    ],
    ids=["judge", "test set", "benchmark"],
)
def test_evaluations_are_no_identity_of_trainings(
    old: str, new: str, micro: Study, edited: Edit, expand: Expand
) -> None:
    more = expand(edited(old, new))
    assert keys(more, spec.TRAINING_KINDS) == keys(micro, spec.TRAINING_KINDS)
    assert keys(more) > keys(micro)


def test_a_changed_parent_changes_every_descendant_and_nothing_else(micro: Study, edited: Edit, expand: Expand) -> None:
    now = addresses(micro)
    other = addresses(expand(edited("pretext: {steps: 3", "pretext: {steps: 4")))
    nodes = plan.build((label.spec for label in micro.labels), {}, lambda _: 1.0).nodes
    below = {name for name, node in nodes.items() if node.kind == "pretext"}
    for name, node in nodes.items():  # parents stand before children
        if set(node.parents) & below:
            below.add(name)
    assert {now[text] for text in now if now[text] != other[text]} == below
    assert 0 < len(below) < len(nodes)


@pytest.mark.parametrize("kind", spec.TRIALS, ids=lambda kind: kind.KIND)
def test_every_field_and_the_version_enter_the_key(kind: type[spec.Trial], demo: Study, monkeypatch: Any) -> None:
    nodes = plan.build((label.spec for label in demo.labels), {}, lambda _: 1.0).nodes
    trial = [node.spec for node in nodes.values() if node.kind == kind.KIND][-1]
    for field in spec.field_names(kind):
        changed = dataclasses.replace(trial, **{field: spec.Parent(kind="other", key="0" * 16)})
        assert digest(changed) != digest(trial), field
    monkeypatch.setattr(kind, "VERSION", kind.VERSION + 1)
    assert key(dataclasses.replace(trial)) != key(trial)


@pytest.mark.parametrize(
    ("value", "error", "message"),
    [
        (float("nan"), ValueError, "PretextTraining.learning_rate: nan has no canonical form"),
        (float("inf"), ValueError, "PretextTraining.learning_rate: inf has no canonical form"),
        ({1, 2}, TypeError, "PretextTraining.learning_rate: set has no canonical form"),
        ([1], TypeError, "PretextTraining.learning_rate: list has no canonical form"),
        (Path("x"), TypeError, "PretextTraining.learning_rate: PosixPath has no canonical form"),
        ((1, (2, b"x")), TypeError, r"PretextTraining.learning_rate\[1\]\[1\]: bytes has no canonical form"),
    ],
)
def test_what_has_no_canonical_form_is_refused_by_name(value: Any, error: type[Exception], message: str) -> None:
    training = spec.PretextTraining(steps=1, batch=1, crop=8, learning_rate=value)
    with pytest.raises(error, match=message):
        canonical_json(training, parent_digits=64)


def test_canonical_json_is_json_with_sorted_keys(micro: Study) -> None:
    for label in micro.labels:
        text = canonical_json(label.spec, parent_digits=64)
        assert text == json.dumps(json.loads(text), sort_keys=True, separators=(",", ":"))


def test_integers_floats_and_booleans_are_told_apart() -> None:
    written = {canonical_json(spec.Calibrated(times=value), 64) for value in (1, 1.0, True)}
    assert len(written) == 3


def test_floats_are_written_in_full() -> None:
    assert canonical_json(spec.Calibrated(times=0.1 + 0.2), 64) == '{"kind":"calibrated","times":0.30000000000000004}'


def test_spec_json_names_kind_version_and_key(micro: Study) -> None:
    trial = micro.labels[0].spec
    content = json.loads(spec_json(trial))
    assert (content["kind"], content["kind_version"], content["key"]) == (trial.KIND, trial.VERSION, key(trial))
    assert digest(trial).startswith(key(trial))
    assert (len(key(trial)), len(digest(trial))) == (16, 64)


def test_keys_are_equal_in_processes_with_other_hash_seeds() -> None:
    program = """
from orchestrator import grid, matrix
from orchestrator.identity import key
from orchestrator.manifests import Manifests
for label in matrix.expand(grid.load('tests/micro.yaml'), Manifests()).labels:
    print(key(label.spec))
"""
    expected = [
        key(label.spec) for label in matrix.expand(grid.load(ROOT / "tests" / "micro.yaml"), Manifests()).labels
    ]
    for hash_seed in ("1", "4242"):
        environment = {**os.environ, "PYTHONHASHSEED": hash_seed}
        command = [sys.executable, "-c", program]
        ended = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=True)
        assert ended.stdout.split() == expected

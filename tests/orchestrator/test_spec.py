"""Specs: parents by role, and reading back what spec.json holds."""

import dataclasses
import json
from typing import Any

import pytest

from orchestrator import spec
from orchestrator.identity import key, spec_json
from orchestrator.matrix import Study


def everything(study: Study) -> list[spec.Trial]:
    """Each trial of a study once, with the parents that have no label."""
    found: dict[str, spec.Trial] = {}

    def add(trial: spec.Trial) -> None:
        if key(trial) not in found:
            found[key(trial)] = trial
            for _, parent in spec.parents(trial):
                add(parent)

    for label in study.labels:
        add(label.spec)
    return list(found.values())


def addressed(value: Any) -> Any:
    """`value` with each parent replaced by its address, as spec.json has it."""
    if isinstance(value, spec.Trial):
        return spec.Parent(kind=value.KIND, key=key(value))
    if isinstance(value, spec.Discriminator):
        return dataclasses.replace(value, weights=addressed(value.weights))
    return value


def test_what_spec_json_holds_reads_back_equal_for_every_trial_of_the_demo(demo: Study) -> None:
    trials = everything(demo)
    assert {trial.KIND for trial in trials} == set(spec.KINDS)
    for trial in trials:
        fields = {name: addressed(getattr(trial, name)) for name in spec.field_names(type(trial))}
        expected = type(trial)(**fields)
        read = spec.decode(json.loads(spec_json(trial)))
        assert read == expected
        assert [(role, parent.kind, parent.key) for role, parent in spec.parents(read)] == [
            (role, parent.KIND, key(parent)) for role, parent in spec.parents(trial)
        ]


def test_parents_are_found_by_their_dotted_role(demo: Study) -> None:
    label = next(x for x in demo.labels if x.role == "optimization" and x.discriminator == "patch-vgg-pretext")
    roles = [role for role, _ in spec.parents(label.spec)]
    assert roles == ["start", "loss", "reference_loss", "discriminator.weights"]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"kind": "pretxt"}, "kind: found 'pretxt'; allowed: pretext, fr_iqa"),
        ({"kind_version": 99}, "kind_version: found 99; this code runs pretext "),
        ({"seed": "0"}, "pretext.seed: found '0'; expected <class 'int'>"),
        ({"seed": True}, "pretext.seed: found True"),
        ({"numerics": "exact"}, "pretext.numerics: found 'exact'"),
        ({"backbone": {"model": "small/vgg", "depth": 3}}, r"pretext.backbone: found the fields \['depth', 'model'\]"),
        ({"photographs": [{"name": "coffee"}]}, r"pretext.photographs\[0\]: found the fields \['name'\]"),
        ({"sead": 1}, "pretext: found the fields .*'sead'"),
    ],
)
def test_decode_refuses_and_names_the_field(change: dict[str, Any], message: str, micro: Study) -> None:
    pretext = next(trial for trial in everything(micro) if isinstance(trial, spec.Pretext))
    with pytest.raises(ValueError, match=message):
        spec.decode(json.loads(spec_json(pretext)) | change)


def test_every_photograph_has_a_content_and_a_digest() -> None:
    assert len(spec.PHOTOGRAPHS) == 17
    assert len({photo.content for photo in spec.PHOTOGRAPHS.values()}) == 16  # the stereo pair shows one
    assert all(len(photo.sha256) == 64 and "/" in photo.file for photo in spec.PHOTOGRAPHS.values())


def test_unknown_photograph_is_told_with_the_nearest() -> None:
    with pytest.raises(ValueError, match=r"photograph: found 'cofee'; allowed: .*; did you mean 'coffee'\?"):
        spec.photograph("cofee")

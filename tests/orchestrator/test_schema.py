"""The committed JSON Schema: of all committed grids, and of what they may hold."""

import json
from pathlib import Path

import jsonschema
import pytest
import yaml

from orchestrator import schema
from orchestrator.sections import GENERATORS

ROOT = Path(__file__).parents[2]
GRIDS = [*sorted((ROOT / "grids").glob("*.yaml")), *sorted((ROOT / "tests").rglob("*.yaml"))]


def faults(text: str) -> list[str]:
    """Where, and what."""
    found = jsonschema.Draft202012Validator(schema.schema()).iter_errors(yaml.safe_load(text))
    return [f"{'.'.join(map(str, fault.absolute_path))}: {fault.message}" for fault in found]


def test_the_committed_file_is_that_of_the_code() -> None:
    assert (ROOT / schema.FILE).read_text() == schema.text(), "next: make schema"
    jsonschema.Draft202012Validator.check_schema(json.loads(schema.text()))


@pytest.mark.parametrize("file", GRIDS, ids=lambda file: file.name)
def test_committed_grids_fit(file: Path) -> None:
    assert faults(file.read_text()) == []


@pytest.mark.parametrize(
    "file", [one for one in GRIDS if one.parent.name == "grids" and one.parent.parent == ROOT], ids=lambda f: f.name
)
def test_committed_grids_name_it_for_editors(file: Path) -> None:
    assert "\n# yaml-language-server: $schema=schema.json\n" in file.read_text()


@pytest.mark.parametrize(
    ("text", "where"),
    [
        ("matrix: {loss: [vgg], discriminator: [nonee]}", "matrix.discriminator.0: "),
        ("numerics: exact", "numerics: 'exact' is not one of ['reference', 'fast']"),
        ("super_resolution: {generator: swinir-huge}", "super_resolution.generator: "),
        ("runtime: {hang: 3}", "runtime: Additional properties are not allowed ('hang' was unexpected)"),
        ("seeds: [-1]", "seeds.0: -1 is less than the minimum of 0"),
        ("stepz: 1", ": Additional properties are not allowed ('stepz' was unexpected)"),
        ("include: 3", "include: 3 is not valid under any of the given schemas"),
    ],
)
def test_wrong_grids_do_not(text: str, where: str) -> None:
    found = faults(text)
    assert any(fault.startswith(where) for fault in found), found


def test_single_levels_calibrated_weights_and_named_generators_fit() -> None:
    names = schema.schema()["$defs"]["SuperResolutionSection"]["properties"]["generator"]["anyOf"][0]["enum"]
    assert names == list(GENERATORS)
    text = "exclude: [{loss: vgg, seed: [0, 1]}]\nwhen: [{loss: vgg, only: {task: fr}}]\ninclude: [a.yaml, b.yaml]"
    assert faults(text) == []


def test_fields_are_explained() -> None:
    runtime = schema.schema()["$defs"]["Runtime"]["properties"]
    assert runtime["cpus"]["description"].startswith("CPU cores that a trial reserves")

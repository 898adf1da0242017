"""Contents: resolved by manifests, told in words where none knows them, and asked for again when something moved."""

import importlib.metadata
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from orchestrator import matrix, spec
from orchestrator.grid import load
from orchestrator.manifests import Manifests, Request, judge_request, requests, weights_request
from orchestrator.sections import BackboneLevel, WeightsFile

Edit = Callable[..., Path]
OFFICIAL = Path(__file__).parents[1] / "official.yaml"
DATA, WEIGHTS = "d" * 64, "e" * 64


@pytest.fixture
def official(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, Request]:
    """The requests of the official grid by name, with folders below an empty working folder."""
    monkeypatch.chdir(tmp_path)
    return {one.name: one for one in requests(load(OFFICIAL))}


def data(request: Request, content: str, **more: Any) -> tuple[str, dict[str, Any]]:
    return request.key, {"content": content, **more}


def file(request: Request, content: str, path: str) -> tuple[str, dict[str, Any]]:
    return request.key, {"content": content, "files": [[path, content]], "marks": [[1, 2]]}


def test_everything_outside_the_repository_is_asked_for_once(official: dict[str, Request], tmp_path: Path) -> None:
    assert {(one.kind, name) for name, one in official.items()} == {
        ("data", "kadid10k"),
        ("data", "koniq10k"),
        ("data", "div2k"),
        ("data", "set5"),
        ("timm", "test_resnet"),
        ("judge", "piqe"),
        ("judge", "psnr"),
    }
    div2k = official["div2k"]
    assert div2k.folders == (str(tmp_path / "data/DIV2K_train_HR"),)
    assert (div2k.low, div2k.scale) == ((str(tmp_path / "data/DIV2K_train_HR_LR_bicubic/X2"),), 2)


def test_weights_that_no_trial_uses_are_not_asked_for(edited: Edit) -> None:
    spare = "backbones:\n  spare: {model: timm/resnet18.tv_in1k, weights: released}"
    names = {one.name for one in requests(load(edited("backbones:", spare, base="full")))}
    assert "resnet18" not in names
    assert {"vgg16", "resnet50", "ViT-B-16-quickgelu", "vit_small_patch14_dinov2"} <= names


@pytest.mark.parametrize(
    ("model", "weights", "expected"),
    [
        ("timm/vgg16.tv_in1k", "released", Request("timm", "vgg16", "tv_in1k")),
        ("timm/vgg16", "released", Request("timm", "vgg16")),
        ("open_clip/RN50", "openai", Request("open_clip", "RN50", "openai")),
        ("timm/vgg16.tv_in1k", WeightsFile(file="/a/b.pth"), Request("file", "timm/vgg16.tv_in1k", "/a/b.pth")),
    ],
)
def test_requests_for_weights(model: str, weights: Any, expected: Request) -> None:
    assert weights_request(BackboneLevel(model=model, weights=weights)) == expected


def test_contents_resolve_into_specs(official: dict[str, Request]) -> None:
    known = Manifests(dict([data(official["kadid10k"], DATA), file(official["test_resnet"], WEIGHTS, "/w")]))
    study = matrix.expand(load(OFFICIAL), known)
    metric = next(x.spec for x in study.labels if x.role == "metric" and x.loss == "resnet")
    assert isinstance(metric, spec.FrIqa)
    assert metric.weights == spec.ReleasedWeights(content=WEIGHTS)
    assert isinstance(metric.train, spec.IqaDataSet)
    assert metric.train.content == DATA


def test_what_no_manifest_knows_is_unresolved_in_words(official: dict[str, Request], tmp_path: Path) -> None:
    found = Manifests()
    assert found.content(official["kadid10k"]) == f"unresolved data kadid10k ({tmp_path}/data/kadid10k)"
    assert found.content(official["test_resnet"]) == "unresolved timm test_resnet (r160_in1k)"
    assert found.content(judge_request("musiq")) == "unresolved judge musiq"
    assert found.content(Request("file", "generator", "/a.pth")) == "unresolved file generator (/a.pth)"
    assert all(found.content(one).startswith(spec.UNRESOLVED) for one in official.values())


def test_a_judge_without_weights_has_an_empty_content() -> None:
    assert Manifests(dict([data(judge_request("psnr"), "")])).content(judge_request("psnr")) == ""


def test_another_folder_layout_scale_or_file_asks_again(official: dict[str, Request]) -> None:
    def asked(**changes: Any) -> str:
        return Request(**{**vars(div2k), **changes}).key

    div2k = official["div2k"]
    keys = [
        asked(),
        asked(folders=("/elsewhere",)),
        asked(low=()),
        asked(scale=4),
        asked(layout="kadid10k"),
        Request("file", "x", "/a").key,
        Request("file", "x", "/b").key,
    ]
    assert len(set(keys)) == len(keys)
    assert asked(low=(), scale=4) == asked(low=(), scale=2)  # without a low side the scale changes no file
    assert asked(name="renamed") == div2k.key


def test_another_version_of_pyiqa_asks_for_judges_again(monkeypatch: pytest.MonkeyPatch) -> None:
    now, weights = judge_request("musiq").key, Request("timm", "vgg16", "tv_in1k").key
    version = importlib.metadata.version
    monkeypatch.setattr(importlib.metadata, "version", lambda name: "9.9" if name == "pyiqa" else version(name))
    assert judge_request("musiq").key != now
    assert Request("timm", "vgg16", "tv_in1k").key == weights


def test_manifests_survive_their_file_and_name_the_sources(official: dict[str, Request], tmp_path: Path) -> None:
    div2k = official["div2k"]
    resnet, psnr = official["test_resnet"], official["psnr"]
    found = Manifests(dict([data(div2k, DATA), file(resnet, WEIGHTS, "/w"), (psnr.key, {"content": "", "files": []})]))
    found.write(tmp_path / "store")
    assert Manifests.read(tmp_path / "store") == found
    assert json.loads((tmp_path / "store/sources.json").read_text()) == {
        "weights": {WEIGHTS: "/w"},
        "data": {DATA: {"layout": "images", "folders": list(div2k.folders), "low": list(div2k.low)}},
        "judges": {"": []},
    }


def test_two_preflights_of_one_store_keep_each_others_manifests(tmp_path: Path) -> None:
    here, there, gone = (Request("data", "x", layout="images", folders=(where,)) for where in ("/a", "/b", "/c"))
    Manifests(dict([data(gone, "old")])).write(tmp_path)
    first, second = Manifests.read(tmp_path), Manifests.read(tmp_path)
    first.found |= dict([data(here, DATA)])
    first.drop(gone)
    first.write(tmp_path)
    second.found |= dict([data(there, WEIGHTS)])
    second.drop(gone)
    second.write(tmp_path)
    assert set(Manifests.read(tmp_path).found) == {here.key, there.key}


def test_a_store_without_manifests_knows_nothing(tmp_path: Path) -> None:
    assert Manifests.read(tmp_path) == Manifests()


def test_of_two_places_with_one_content_the_one_that_is_wanted_now_is_named(tmp_path: Path) -> None:
    here, there = (Request("data", "set5", layout="images", folders=(where,)) for where in ("/here", "/there"))
    found = Manifests(dict([data(here, DATA), data(there, DATA)]))
    for wanted in (here, there):
        found.last([wanted])
        found.write(tmp_path)
        assert json.loads((tmp_path / "sources.json").read_text())["data"][DATA]["folders"] == list(wanted.folders)


def test_only_the_grids_own_stand_ins_change_what_its_labels_are_called(official: dict[str, Request]) -> None:
    other = Request("data", "kadid10k", layout="kadid10k", folders=("/of/another/grid",))
    grid = load(OFFICIAL)
    assert matrix.expand(grid, Manifests(dict([data(other, DATA, stand_in=True)]))).label_kind == matrix.OPINION
    own = Manifests(dict([data(official["kadid10k"], DATA, stand_in=True)]))
    assert matrix.expand(grid, own).label_kind == "labels of generated stand-ins, not human opinion"


@pytest.mark.parametrize(
    "content",
    [
        b"\xff\x00",
        b"[1]",
        b"[" * 100_000,
        b'{"a": 1}',
        b'{"found": {"a": 1}}',
        b'{"[\\"data\\"]": {"images": 3}}',
        b'{"[\\"timm\\"]": {"content": "", "files": [1]}}',
        b'{"[\\"timm\\"]": {"content": ""}}',
        b'{"sha256": "", "found": {}}',
    ],
)
def test_a_damaged_file_knows_nothing(content: bytes, tmp_path: Path) -> None:
    (tmp_path / "manifests.json").write_bytes(content)
    assert Manifests.read(tmp_path) == Manifests()


def test_manifests_of_an_older_version_have_no_digest(official: dict[str, Request], tmp_path: Path) -> None:
    found = dict([data(official["div2k"], DATA), file(official["test_resnet"], WEIGHTS, "/w")])
    (tmp_path / "manifests.json").write_text(json.dumps(found))
    assert Manifests.read(tmp_path).found == found

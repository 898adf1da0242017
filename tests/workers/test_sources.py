"""sources.json: from contents to files that have them, and what is said of a content that nobody has."""

import hashlib
import json
from pathlib import Path

import pytest

from workers.sources import DataFolders, MissingSource, Sources, read


def sha256(file: Path) -> str:
    return hashlib.sha256(file.read_bytes()).hexdigest()


@pytest.fixture
def weights(tmp_path: Path) -> Path:
    file = tmp_path / "vgg16.safetensors"
    file.write_bytes(b"weights")
    return file


@pytest.fixture
def sources(tmp_path: Path, weights: Path) -> Sources:
    file = tmp_path / "sources.json"
    found = {
        "weights": {sha256(weights): str(weights), "0" * 64: str(weights), "1" * 64: str(tmp_path / "gone")},
        "data": {
            "bb": {"layout": "kadid10k", "folders": ["/data/kadid10k"], "low": []},
            "cc": {"layout": "images", "folders": ["/data/a", "/data/b"], "low": ["/data/a4", "/data/b4"]},
        },
        "judges": {"dd": [[str(weights), sha256(weights)]], "ee": [[str(weights), "2" * 64]]},
    }
    file.write_text(json.dumps(found))
    return read(file, tmp_path / "cache")


def test_contents_lead_to_files(sources: Sources, weights: Path, tmp_path: Path) -> None:
    assert sources.weights_file(sha256(weights)) == weights
    assert sources.data_set("kadid10k", "bb") == DataFolders("kadid10k", (Path("/data/kadid10k"),))
    assert sources.data_set("df2k", "cc").low == (Path("/data/a4"), Path("/data/b4"))
    assert sources.cache == tmp_path / "cache"


def test_a_node_with_another_file_is_told(sources: Sources) -> None:
    with pytest.raises(
        MissingSource, match=r"vgg16.safetensors: found SHA-256 \w+; the spec means 0{64}; run: .*fetch"
    ):
        sources.weights_file("0" * 64)
    with pytest.raises(
        MissingSource, match=r"gone: No such file or directory; on every node it must be what preflight"
    ):
        sources.weights_file("1" * 64)


def test_a_judge_has_the_files_that_its_spec_means(sources: Sources) -> None:
    sources.check_judge("musiq", "dd")
    sources.check_judge("psnr", "")
    with pytest.raises(MissingSource, match=r"found SHA-256 \w+; the spec means 2{64}"):
        sources.check_judge("musiq", "ee")
    with pytest.raises(MissingSource, match=r"judge musiq \(ff\): no files with that content are known"):
        sources.check_judge("musiq", "ff")


def test_an_absent_file_knows_nothing(tmp_path: Path) -> None:
    nothing = read(tmp_path / "sources.json")
    with pytest.raises(MissingSource, match=r"weights aa: no file .* run: python -m orchestrator prefetch GRID"):
        nothing.weights_file("aa")
    with pytest.raises(MissingSource, match=r"data set live \(bb\): no folder .* run: python .* preflight"):
        nothing.data_set("live", "bb")

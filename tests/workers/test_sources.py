"""sources.json: from contents to files, and what is said of a content that nobody knows."""

import json
from pathlib import Path

import pytest

from workers.sources import DataFolders, MissingSource, Sources, read

FOUND = {
    "weights": {"aa": "/weights/vgg16.safetensors"},
    "data": {
        "bb": {"layout": "kadid10k", "folders": ["/data/kadid10k"], "low": []},
        "cc": {"layout": "images", "folders": ["/data/a", "/data/b"], "low": ["/data/a4", "/data/b4"]},
    },
    "cache": "/cache",
}


@pytest.fixture
def sources(tmp_path: Path) -> Sources:
    file = tmp_path / "sources.json"
    file.write_text(json.dumps(FOUND))
    return read(file)


def test_contents_lead_to_files(sources: Sources) -> None:
    assert sources.weights_file("aa") == Path("/weights/vgg16.safetensors")
    assert sources.data_set("kadid10k", "bb") == DataFolders("kadid10k", (Path("/data/kadid10k"),))
    assert sources.data_set("df2k", "cc").low == (Path("/data/a4"), Path("/data/b4"))
    assert sources.cache == Path("/cache")


def test_a_node_may_have_its_own_cache(tmp_path: Path) -> None:
    file = tmp_path / "sources.json"
    file.write_text(json.dumps(FOUND))
    assert read(file, tmp_path).cache == tmp_path


def test_an_absent_file_knows_nothing(tmp_path: Path) -> None:
    nothing = read(tmp_path / "sources.json")
    with pytest.raises(MissingSource, match=r"weights aa: no file .* run: python -m orchestrator prefetch GRID"):
        nothing.weights_file("aa")
    with pytest.raises(MissingSource, match=r"data set live \(bb\): no folder .* run: python .* preflight"):
        nothing.data_set("live", "bb")

"""Data sets in a child process: a set that ends it is a fault, and those behind it are read all the same."""

import shutil
import sys
from pathlib import Path
from typing import Any

import pytest

from orchestrator import scanning
from orchestrator.manifests import Request
from workers.data import scan, stand_ins
from workers.data.manifest import Manifest


@pytest.fixture
def sets(tmp_path: Path) -> list[Request]:
    """LIVE, whose labels are MATLAB's, and a folder of images."""
    stand_ins.write_iqa("live", tmp_path / "live", contents=2, per_content=5, side=32)
    stand_ins.write_images([tmp_path / "set5"], count=1, side=32)
    return [
        Request("data", "live", layout="live", folders=(f"{tmp_path}/live",)),
        Request("data", "set5", layout="images", folders=(f"{tmp_path}/set5",), scale=4),
    ]


def never(*_: Any, **__: Any) -> Any:
    raise AssertionError("a child was started")


def test_as_they_are_read_here(sets: list[Request], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    said: list[str] = []
    found = list(scanning.scan(sets, said.append))
    assert [Manifest.from_json(one) for one in found] == [
        scan.scan("live", [tmp_path / "live"]),
        scan.scan("images", [tmp_path / "set5"]),
    ]
    assert said == [f"reading data live ({tmp_path}/live)", f"reading data set5 ({tmp_path}/set5)"]
    monkeypatch.setattr("subprocess.Popen", never)
    assert all(scanning.still_as_scanned(one, manifest) for one, manifest in zip(sets, found, strict=True))
    assert not scanning.still_as_scanned(sets[0], found[1])
    assert not scanning.still_as_scanned(sets[0], {"content": "of another version"})
    assert list(scanning.scan([], never)) == []
    next((tmp_path / "set5").glob("*.png")).unlink()
    assert not scanning.still_as_scanned(sets[1], found[1])


def test_a_label_file_that_ends_its_reader_is_a_fault_and_the_rest_is_read(sets: list[Request], tmp_path: Path) -> None:
    labels = tmp_path / "live" / "dmos.mat"
    content = bytearray(labels.read_bytes())
    content[176] ^= 1  # the type of its numbers: scipy reads where there is no memory
    labels.write_bytes(content)
    last = Request("data", "again", layout="live", folders=sets[0].folders)
    first, second, third = scanning.scan([*sets, last], lambda _: None)
    assert first == third
    assert first["faults"] == [
        f"{tmp_path}/live: reading it ended the process (SIGSEGV); expected whole files: copy its label files and "
        "images again from the official archive, and see that there is memory left"
    ]
    assert (second["faults"], second["images"]) == ([], 1)


def test_a_child_that_ends_badly_is_an_error_with_its_words(
    sets: list[Request], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "executable", shutil.which("false"))
    with pytest.raises(RuntimeError, match=r"workers\.data\.scan ended with 1"):
        list(scanning.scan(sets, lambda _: None))

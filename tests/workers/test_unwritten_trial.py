"""A trial that finds the disk full, or an input gone, leaves the sweep what it needs to go on."""

import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch

from orchestrator import runner
from orchestrator.identity import key
from orchestrator.spec import Pretext, Trial, parents
from orchestrator.store import Store, identity_record
from tests.chaos.faults import small_disk
from workers import trial, weights


def config(spec: Trial, store: Store, cache: Path) -> dict[str, Any]:
    """What a worker is given."""
    given = {"stop": "driver-1", "device": "cpu", "checkpoint_seconds": 1e9, "provenance": {}}
    about = {"kind": spec.KIND, "key": key(spec), "identity": identity_record(spec)}
    return {"store": store.address, "cache": str(cache), **about, **given}


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Path]:
    """A folder with a megabyte of room."""
    try:
        with small_disk(tmp_path / "disk") as remount:
            remount("size=1m")
            yield tmp_path / "disk"
    except subprocess.CalledProcessError:
        pytest.skip("this machine does not allow to mount a small disk")


@pytest.fixture
def pretext(micro: Any) -> Pretext:
    return next(spec for spec in micro.specs if isinstance(spec, Pretext))


def write_weights(folder: Path) -> None:
    weights.export(folder / "weights/some.safetensors", {"x": torch.zeros(10**6)})


def write_scores(folder: Path) -> None:
    (folder / "scores.parquet").write_bytes(bytes(4 * 10**6))


@pytest.mark.parametrize("write", [write_weights, write_scores])
def test_a_trial_that_fills_the_store_says_so_instead_of_failing(
    write: Callable[[Path], None], disk: Path, pretext: Pretext, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = Store(disk / "store")
    folder = store.prepare(pretext)
    monkeypatch.setattr(trial, "run", lambda spec, context: write(context.out))
    assert runner.run_trial(config(pretext, store, tmp_path)) == "no room"
    assert not list(folder.glob("work.*"))
    assert [one["outcome"] for one in store.attempts("pretext", key(pretext))] == ["started"]


def test_a_trial_that_finds_the_store_full_says_so(disk: Path, pretext: Pretext, tmp_path: Path) -> None:
    store = Store(disk / "store")
    store.prepare(pretext)
    with pytest.raises(OSError, match="No space left"):
        (disk / "more").write_bytes(bytes(2 * 10**6))
    assert runner.run_trial(config(pretext, store, tmp_path)) == "no room"


def test_a_disk_that_is_a_nodes_own_is_a_failure_there(
    disk: Path, pretext: Pretext, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = Store(tmp_path / "store")
    store.prepare(pretext)
    monkeypatch.setattr(trial, "run", lambda spec, context: write_weights(disk / "cache"))
    with pytest.raises(OSError, match=r"No space left on device: '.*some\.safetensors'"):
        runner.run_trial(config(pretext, store, disk / "cache"))
    assert [one["outcome"] for one in store.attempts("pretext", key(pretext))] == ["started", "error"]


def test_an_input_whose_folder_somebody_has_removed_is_to_be_made_again(micro: Any, tmp_path: Path) -> None:
    """And is not taken for storage that this node does not see."""
    child = next(spec for spec in micro.specs if any(isinstance(parent, Pretext) for _, parent in parents(spec)))
    store = Store(tmp_path / "store")
    store.prepare(child)
    assert runner.run_trial(config(child, store, tmp_path)) == "without input"
    (said,) = (one["note"] for one in store.attempts(child.KIND, key(child)) if one["outcome"] == "without input")
    assert "record.json is not there" in said

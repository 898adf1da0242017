"""The record of a trial: what it says, and that it speaks of this trial alone."""

import dataclasses
import importlib.metadata
import json
import os
from pathlib import Path
from typing import Any

import pytest
import torch

from orchestrator.spec import Numerics, Trial
from workers import context, trial

FIELDS = ["status", "note", "numbers", "seconds", "measured", "peak_bytes", "device", "host", "versions"]


@pytest.fixture
def record(micro: Any, tmp_path: Path) -> dict[str, Any]:
    found = micro.trial("bicubic")
    return trial.run(found, context.Context({}, tmp_path))


def test_a_record_says_how_it_went_and_where(record: dict[str, Any]) -> None:
    assert list(record) == FIELDS
    assert (record["status"], record["note"], record["numbers"]) == ("done", "", {})
    assert 0 < record["seconds"] < 60
    assert record["peak_bytes"]["host"] > 50e6
    assert record["device"]
    assert record["host"]
    assert record["versions"]["torch"] == importlib.metadata.version("torch")
    assert json.loads(json.dumps(record)) == record


def test_a_trial_runs_on_one_deterministic_thread(micro: Any, tmp_path: Path) -> None:
    torch.set_num_threads(2)
    torch.use_deterministic_algorithms(False)
    micro.run(micro.trial("bicubic"), tmp_path)
    assert torch.get_num_threads() == 1
    assert torch.are_deterministic_algorithms_enabled()


@pytest.fixture
def large() -> int:
    """Bytes that this process held for a moment before the trial."""
    size = 600 * 1024**2
    torch.ones(size // 4)
    return size


@pytest.mark.skipif(not os.access("/proc/self/clear_refs", os.W_OK), reason="the kernel's high-water mark stays")
def test_peak_memory_is_of_this_trial_alone(micro: Any, large: int, tmp_path: Path) -> None:
    before = trial.peak_bytes("cpu")["host"]
    found = trial.run(micro.trial("bicubic"), context.Context({}, tmp_path))
    assert found["peak_bytes"]["host"] < before - large // 2


def test_a_missing_input_says_how_to_give_it(micro: Any, tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"input model is missing; give --input model=FOLDER \(given: \[\]\)"):
        trial.run(micro.trial("benchmark"), context.Context({}, tmp_path))


def test_a_kind_without_recipe_is_refused(tmp_path: Path) -> None:
    @dataclasses.dataclass(frozen=True)
    class Unheard(Trial):
        numerics: Numerics = "reference"

    with pytest.raises(ValueError, match="no recipe for Unheard"):
        trial.run(Unheard(), context.Context({}, tmp_path))

"""A training that was interrupted, wherever and however often, ends with the bytes of one that was not."""

import errno
import os
import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from workers import super_resolution
from workers.checkpoints import Checkpoints, step_of
from workers.context import Interrupted

# Long enough to be interrupted in every phase: between validations, in the discriminator's warm-up, after calibration.
SETTINGS: dict[str, dict[str, int]] = {
    "pretext": {"steps": 4},
    "warm-up": {"steps": 6},
    "gan": {"discriminator_warmup": 2, "steps": 3},
    "fr": {"steps": 4, "evaluate_every": 2},
    "nr": {"steps": 4, "evaluate_every": 2},
}


@pytest.fixture(autouse=True)
def _measured_at_every_step(monkeypatch: pytest.MonkeyPatch) -> None:
    """So that trainings of a few steps have the checkpoints of long ones."""
    monkeypatch.setattr(super_resolution, "STEPS_APART", 1)


@pytest.fixture
def training(micro: Any, retrained: Any) -> Callable[[str], tuple[Any, int]]:
    """name -> (spec, number of steps of its loop)."""

    def get(name: str) -> tuple[Any, int]:
        settings = SETTINGS[name]
        return retrained(micro.trial(name), **settings), settings["steps"] + settings.get("discriminator_warmup", 0)

    return get


def after(steps: int, error: BaseException | None = None) -> Callable[[], bool]:
    """A `should_stop` that is true, or raises, once so many steps have been done."""
    asked = 0

    def should_stop() -> bool:
        nonlocal asked
        asked += 1
        if asked == steps and error is not None:
            raise error
        return asked == steps

    return should_stop


@pytest.mark.parametrize("name", SETTINGS)
def test_resumes_bit_by_bit_after_every_step(name: str, training: Any, micro: Any, tmp_path: Path) -> None:
    spec, steps = training(name)
    whole = micro.run(spec, tmp_path / "whole")
    assert any(path.startswith("weights/") for path in whole.files)
    for step in range(1, steps + 1):
        out = tmp_path / str(step)
        with pytest.raises(Interrupted, match=f"after step {step} of {steps}"):
            micro.run(spec, out, should_stop=after(step))
        assert not (out / "weights").exists()
        assert micro.run(spec, out) == whole


@pytest.mark.parametrize("name", SETTINGS)
def test_resumes_twice_beside_a_half_written_checkpoint(name: str, training: Any, micro: Any, tmp_path: Path) -> None:
    spec, steps = training(name)
    whole, out = micro.run(spec, tmp_path / "whole"), tmp_path / "twice"
    first, second = sorted(random.Random(0).sample(range(1, steps), 2))
    for stop in (first, second - first):
        with pytest.raises(Interrupted):
            micro.run(spec, out, should_stop=after(stop))
        (out / ".checkpoint").write_bytes(b"PK half of a checkpoint")
    assert micro.run(spec, out) == whole


@pytest.mark.parametrize("name", SETTINGS)
def test_a_killed_run_goes_on_from_the_last_timed_checkpoint(
    name: str, training: Any, micro: Any, tmp_path: Path
) -> None:
    spec, steps = training(name)
    whole, out = micro.run(spec, tmp_path / "whole"), tmp_path / "killed"
    with pytest.raises(KeyboardInterrupt):
        micro.run(spec, out, checkpoint_seconds=0.0, should_stop=after(3, KeyboardInterrupt()))
    asked: list[int] = []
    assert micro.run(spec, out, should_stop=lambda: bool(asked.append(0))) == whole
    assert len(asked) == steps - 2  # the kill came before step 3 was saved


def test_checkpoints_wait_for_their_time(training: Any, micro: Any, tmp_path: Path) -> None:
    spec, _ = training("pretext")
    micro.run(spec, tmp_path / "never", checkpoint_seconds=3600.0)
    assert not (tmp_path / "never" / "checkpoint").exists()
    micro.run(spec, tmp_path / "always", checkpoint_seconds=0.0)
    kept = Checkpoints(tmp_path / "always" / "checkpoint", tmp_path).newest_first()
    assert [step_of(path) for path in kept] == [4, 3]
    assert len(list((tmp_path / "always" / "checkpoint").iterdir())) == 2


@pytest.mark.parametrize("damage", [lambda content: content[: len(content) // 2], lambda content: b"x" + content[1:]])
def test_a_damaged_checkpoint_is_passed_over_for_the_one_before(
    damage: Callable[[bytes], bytes], training: Any, micro: Any, tmp_path: Path
) -> None:
    spec, steps = training("warm-up")
    whole, out = micro.run(spec, tmp_path / "whole"), tmp_path / "damaged"
    with pytest.raises(KeyboardInterrupt):
        micro.run(spec, out, checkpoint_seconds=0.0, should_stop=after(4, KeyboardInterrupt()))
    newest, before = Checkpoints(out / "checkpoint", out).newest_first()
    assert (step_of(newest), step_of(before)) == (3, 2)
    newest.write_bytes(damage(newest.read_bytes()))
    asked: list[int] = []
    assert micro.run(spec, out, should_stop=lambda: bool(asked.append(0))) == whole
    assert len(asked) == steps - 2


def test_where_no_checkpoint_is_whole_the_training_starts_again(training: Any, micro: Any, tmp_path: Path) -> None:
    spec, _ = training("pretext")
    whole, out = micro.run(spec, tmp_path / "whole"), tmp_path / "damaged"
    with pytest.raises(Interrupted):
        micro.run(spec, out, should_stop=after(2))
    for file in (out / "checkpoint").iterdir():
        file.write_bytes(b"")
    assert micro.run(spec, out) == whole


def full_disk(*arguments: Any, **options: Any) -> None:
    raise OSError(errno.ENOSPC, "No space left on device")


def half_written(state: object, file: Any) -> None:
    file.write(b"half")
    full_disk()


@pytest.mark.parametrize(("module", "function", "failure"), [(os, "replace", full_disk), (torch, "save", half_written)])
def test_the_last_good_checkpoint_survives_a_full_disk(
    module: Any, function: str, failure: Any, training: Any, micro: Any, tmp_path: Path
) -> None:
    spec, _ = training("gan")
    whole, out = micro.run(spec, tmp_path / "whole"), tmp_path / "full"
    with pytest.raises(Interrupted):
        micro.run(spec, out, should_stop=after(3))
    (checkpoint,) = (out / "checkpoint").iterdir()
    good = checkpoint.read_bytes()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, function, failure)
        with pytest.raises(OSError, match="No space left"):
            micro.run(spec, out, checkpoint_seconds=0.0)
    assert [path.read_bytes() for path in (out / "checkpoint").iterdir()] == [good]
    assert not (out / ".checkpoint").exists()
    assert micro.run(spec, out) == whole

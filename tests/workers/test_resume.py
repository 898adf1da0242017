"""A trial that was interrupted, wherever and however often, ends with the bytes of one that was not."""

import errno
import os
import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from workers import judging, predictions, resuming, super_resolution
from workers.checkpoints import Checkpoints, step_of
from workers.context import Context, Interrupted
from workers.resuming import Steps
from workers.sources import Sources
from workers.training import Curves, Loop

# Long enough to be interrupted in every phase: between validations, in the discriminator's warm-up, after calibration.
SETTINGS: dict[str, dict[str, int]] = {
    "pretext": {"steps": 4},
    "warm-up": {"steps": 6},
    "gan": {"discriminator_warmup": 2, "steps": 3},
    "fr": {"steps": 4, "evaluate_every": 2},
    "nr": {"steps": 4, "evaluate_every": 2},
}
OTHERS = {
    "fr_iqa": 4 + 2 + 6,  # batches of both data sets, then iterations of the fit
    "bicubic": 2,
    "restoration": 2,
    "psnr": 2,
    "piqe": 2,
    "artifacts": 2,
    "benchmark": 3,
    "iqa-benchmark": 3,
}
"""Trials of the other kinds, and their steps."""


@pytest.fixture(autouse=True)
def _measured_and_saved_at_every_step(monkeypatch: pytest.MonkeyPatch) -> None:
    """So that trials of a few steps have the checkpoints and batches of long ones."""
    monkeypatch.setattr(super_resolution, "STEPS_APART", 1)
    monkeypatch.setattr(predictions, "BATCH", 4)
    monkeypatch.setattr(judging, "MOST_PIXELS", 1)
    monkeypatch.setattr(Steps, "SPACING", 0.0)


@pytest.fixture
def training(micro: Any, retrained: Any) -> Callable[[str], tuple[Any, int]]:
    """name -> (spec, number of its steps)."""

    def get(name: str) -> tuple[Any, int]:
        if name in OTHERS:
            return micro.trial(name), OTHERS[name]
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


@pytest.mark.parametrize("name", [*SETTINGS, *OTHERS])
def test_resumes_bit_by_bit_after_every_step(name: str, training: Any, micro: Any, tmp_path: Path) -> None:
    """As a worker does: in another folder, of which only the checkpoint is the same."""
    spec, steps = training(name)
    whole, asked = micro.run(spec, tmp_path / "whole"), list[int]()
    for step in range(1, steps + 1):
        kept = {"checkpoints": tmp_path / f"{step}/kept", "sources": Sources(cache=tmp_path / f"{step}/cache")}
        asked.clear()
        (tmp_path / str(step)).mkdir()
        with pytest.raises(Interrupted, match="stopped on request after step"):
            micro.run(spec, tmp_path / f"{step}/first", should_stop=after(step), **kept)
        assert not (tmp_path / f"{step}/first/scores.parquet").exists()
        assert not (tmp_path / f"{step}/first/weights").exists()
        again = micro.run(spec, tmp_path / f"{step}/second", should_stop=lambda: bool(asked.append(0)), **kept)
        assert again == whole
        assert len(asked) == steps - step, "nothing is done twice"


@pytest.mark.parametrize("name", OTHERS)
def test_each_kind_says_how_far_it_is(
    name: str, training: Any, micro: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    spec, steps = training(name)
    monkeypatch.setattr(Steps, "REPORT_SECONDS", -1.0)
    heard: list[tuple[int, int]] = []
    micro.run(spec, tmp_path / "out", report=lambda step, of, values: heard.append((step, of)))
    parts = [4, 2, 6] if name == "fr_iqa" else [steps]
    assert heard == [(step, of) for of in parts for step in range(1, of + 1)]


def test_a_fit_goes_on_where_the_tables_of_its_data_are_not(training: Any, micro: Any, tmp_path: Path) -> None:
    """On another node they are computed again."""
    spec, steps = training("fr_iqa")
    whole = micro.run(spec, tmp_path / "whole")
    for step in (1, 5, steps):
        kept = tmp_path / f"kept-{step}"
        with pytest.raises(Interrupted):
            micro.run(spec, tmp_path / f"first-{step}", should_stop=after(step), checkpoints=kept)
        assert micro.run(spec, tmp_path / f"second-{step}", checkpoints=kept) == whole


@pytest.mark.parametrize("name", [*SETTINGS, "fr_iqa"])
def test_resumes_twice_beside_a_half_written_checkpoint(name: str, training: Any, micro: Any, tmp_path: Path) -> None:
    spec, steps = training(name)
    whole, out = micro.run(spec, tmp_path / "whole"), tmp_path / "twice"
    first, second = sorted(random.Random(0).sample(range(1, steps), 2))
    for stop in (first, second - first):
        with pytest.raises(Interrupted):
            micro.run(spec, out, should_stop=after(stop))
        (out / ".checkpoint").write_bytes(b"PK half of a checkpoint")
    assert micro.run(spec, out) == whole


@pytest.mark.parametrize("name", [*SETTINGS, *OTHERS])
def test_a_killed_run_goes_on_from_the_last_timed_checkpoint(
    name: str, training: Any, micro: Any, tmp_path: Path
) -> None:
    spec, steps = training(name)
    whole, out = micro.run(spec, tmp_path / "whole"), tmp_path / "killed"
    with pytest.raises(KeyboardInterrupt):
        micro.run(spec, out, checkpoint_seconds=0.0, should_stop=after(2, KeyboardInterrupt()))
    asked: list[int] = []
    assert micro.run(spec, out, should_stop=lambda: bool(asked.append(0))) == whole
    assert len(asked) == steps - 1  # the kill came before step 2 was saved


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


def unreadable(path: Path) -> bytes:
    raise OSError(errno.EIO, "Input/output error", str(path))


@pytest.mark.parametrize("name", ["warm-up", "gan", "fr"])
@pytest.mark.parametrize("left", [0, 1])
def test_a_checkpoint_that_the_disk_does_not_give_is_passed_over_and_told(
    left: int, name: str, training: Any, micro: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    spec, _ = training(name)
    whole, out = micro.run(spec, tmp_path / "whole"), tmp_path / "unreadable"
    with pytest.raises(KeyboardInterrupt):
        micro.run(spec, out, checkpoint_seconds=0.0, should_stop=after(4, KeyboardInterrupt()))
    bad = Checkpoints(out / "checkpoint", out).newest_first()[: 2 - left]
    real = Path.read_bytes
    asked: list[int] = []
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Path, "read_bytes", lambda path: (unreadable if path in bad else real)(path))
        with pytest.raises(Interrupted):
            micro.run(spec, out, should_stop=lambda: bool(asked.append(0)) or len(asked) == 1)
    told = capsys.readouterr().out.splitlines()
    assert len(told) == len(bad)
    assert told[0].startswith(f"checkpoint {bad[0].name} cannot be used, the one before it or none is: OSError: [Errno")
    assert sorted(map(step_of, (out / "checkpoint").iterdir())) == ([2, 3] if left else [1]), "the bad ones are gone"
    assert micro.run(spec, out) == whole


@pytest.mark.parametrize("name", ["gan", "nr"])
def test_a_whole_checkpoint_of_an_older_layout_changes_nothing(
    name: str, training: Any, micro: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Each part in turn has another content or is missing, after others have been taken from the checkpoint."""
    spec, _ = training(name)
    whole, out = micro.run(spec, tmp_path / "whole"), tmp_path / "older"
    with pytest.raises(Interrupted):
        micro.run(spec, out, should_stop=after(2))
    (newest,) = (out / "checkpoint").iterdir()
    state = Checkpoints(out / "checkpoint", out).read(newest)
    parts = state.keys() - {"step", "of"}
    for part in parts:
        for other in ({part: {"layers": torch.zeros(3)}}, {}):
            older = tmp_path / f"{part}-{len(other)}"
            older.mkdir()
            kept = {name: value for name, value in state.items() if name != part}
            Checkpoints(older / "checkpoint", older).save(3, {**kept, **other, "step": 3})
            assert micro.run(spec, older) == whole
            assert "cannot be used" in capsys.readouterr().out


def test_memory_that_a_gpu_lacks_is_no_fault_of_a_checkpoint(tmp_path: Path) -> None:
    class Large(Curves):
        def load_state_dict(self, state: dict[str, Any]) -> None:
            raise torch.OutOfMemoryError("CUDA out of memory")

    with pytest.raises(Interrupted):
        list(Steps(Context({}, tmp_path, should_stop=lambda: True), 3, {"large": Large()}))
    with pytest.raises(torch.OutOfMemoryError):
        list(Steps(Context({}, tmp_path), 3, {"large": Large()}))


def full_disk(*arguments: Any, **options: Any) -> None:
    raise OSError(errno.ENOSPC, "No space left on device")


@pytest.mark.parametrize("function", ["replace", "fsync"])
def test_a_full_disk_ends_no_training_and_leaves_the_last_good_checkpoint(
    function: str, training: Any, micro: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    spec, _ = training("gan")
    whole, out = micro.run(spec, tmp_path / "whole"), tmp_path / "full"
    with pytest.raises(Interrupted):
        micro.run(spec, out, should_stop=after(2))
    (checkpoint,) = (out / "checkpoint").iterdir()
    good = checkpoint.read_bytes()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(os, function, full_disk)
        with pytest.raises(OSError, match="No space left"):
            micro.run(spec, out, should_stop=after(1))
        assert micro.run(spec, out, checkpoint_seconds=0.0) == whole
    told = capsys.readouterr().out
    assert told.count("no checkpoint after step 3, nor later ones while this lasts; the trial goes on: [Errno 28]") == 1
    assert told.count("no checkpoint") == 1
    assert [path.read_bytes() for path in (out / "checkpoint").iterdir()] == [good]
    assert not (out / ".checkpoint").exists()
    assert micro.run(spec, out) == whole


def test_a_lost_lease_ends_a_training_at_its_next_checkpoint(tmp_path: Path) -> None:
    out = tmp_path / "work"
    out.mkdir()
    steps = iter(Loop(Context({}, out, checkpoints=tmp_path / "checkpoint", checkpoint_seconds=0.0), 9, {}))
    assert [next(steps), next(steps)] == [0, 1]
    out.rename(tmp_path / ".work")
    with pytest.raises(FileNotFoundError):
        next(steps)


class Clock:
    """Time that passes when it is told to."""

    now = 0.0

    def monotonic(self) -> float:
        return self.now


@pytest.mark.parametrize(
    ("wanted", "takes", "saves"),
    [
        (10.0, 0.0625, [11, 22, 33, 44, 55, 66, 77, 88, 99]),  # a hundred times that is less than 10 s
        (10.0, 0.25, [11, 37, 63, 89]),
        (0.0, 0.5, [1, 52]),
        (10.0, 3.0, [11]),
        (1000.0, 0.0, []),
    ],
)
def test_checkpoints_take_less_than_a_hundredth_of_the_time(
    wanted: float, takes: float, saves: list[int], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    clock, found = Clock(), list[int]()

    def save(checkpoints: Checkpoints, step: int, state: object) -> Path:
        found.append(step)
        clock.now += takes
        return tmp_path

    monkeypatch.undo()  # the spacing is the real one
    monkeypatch.setattr(resuming, "time", clock)
    monkeypatch.setattr(Checkpoints, "save", save)
    context = Context({}, tmp_path, checkpoint_seconds=wanted)
    for _ in Steps(context, 100, {}):
        clock.now += 1.0
    assert found == saves
    assert context.measured.get("seconds_saving", 0.0) == pytest.approx(takes * len(saves))

"""What the recipes share: seeds, numerics, the loop, EMA, learning rate, curves and scores on disk."""

import os
import shutil
import threading
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
from torch import nn

from workers.checkpoints import Checkpoints
from workers.context import Context, Interrupted
from workers.training import Curves, Ema, Loop, all_finite, derive_seed, linear_decay, settle, write_scores

SCORES = {
    "key": pa.string(),
    "kind": pa.string(),
    "measure": pa.string(),
    "data_set": pa.string(),
    "split": pa.string(),
    "image": pa.string(),
    "content": pa.string(),
    "seed": pa.int64(),
    "prediction": pa.float64(),
    "label": pa.float64(),
}


def test_settle_makes_one_deterministic_thread() -> None:
    torch.set_num_threads(2)
    torch.use_deterministic_algorithms(False)
    settle("reference")
    assert torch.get_num_threads() == 1
    assert torch.are_deterministic_algorithms_enabled()


def test_seeds_are_fixed_and_keep_streams_apart() -> None:
    assert derive_seed("pretext", 0) == 2800090451846594705  # a change would change every result under its old key
    parts: list[tuple[int | str, ...]] = [("a", 0), ("a", 1), ("b", 0), ("a0",), ("a", "0"), ("a", 0, 0)]
    seeds = [derive_seed(*part) for part in parts]
    assert len(set(seeds)) == len(parts)
    assert all(0 <= seed < 2**63 for seed in seeds)


def test_ema_is_the_average_that_numpy_computes() -> None:
    model = nn.Sequential(nn.Linear(2, 2), nn.BatchNorm1d(2))
    weight, counter = model[0].weight, model[1].num_batches_tracked
    assert isinstance(counter, torch.Tensor)
    ema, rng = Ema(model, decay=0.9), np.random.default_rng(0)
    expected = weight.detach().numpy().astype(np.float64)
    for _ in range(5):
        new = rng.normal(size=(2, 2))
        with torch.no_grad():
            weight.copy_(torch.from_numpy(new))
            counter.add_(1)
        ema.update()
        expected = 0.9 * expected + 0.1 * new
    np.testing.assert_allclose(ema.shadow["0.weight"].numpy(), expected, rtol=1e-5)
    assert int(ema.shadow["1.num_batches_tracked"]) == 5  # a count is copied, not averaged
    torch.testing.assert_close(weight.detach().double(), torch.from_numpy(new), rtol=1e-6, atol=1e-6)


def test_linear_decay_falls_from_each_groups_rate_to_zero() -> None:
    groups = [{"params": [nn.Parameter(torch.zeros(1))], "lr": rate, "initial_lr": rate} for rate in (1.0, 0.1)]
    optimizer = torch.optim.SGD(groups)
    for step, share in ((0, 1.0), (5, 0.5), (9, 0.1), (5, 0.5)):
        linear_decay(optimizer, step, 10)
        assert [group["lr"] for group in optimizer.param_groups] == pytest.approx([share, 0.1 * share])


def test_all_finite_sees_one_bad_weight() -> None:
    state = {"good": torch.ones(3), "count": torch.tensor(3)}
    assert all_finite(state)
    assert not all_finite({**state, "bad": torch.tensor([1.0, float("nan")])})
    assert not all_finite({**state, "bad": torch.tensor([float("inf")])})


@pytest.mark.parametrize("device", ["cpu", "cuda"])
def test_each_step_meets_its_own_batch_also_after_a_resume(device: str, tmp_path: Path) -> None:
    """No GPU is touched: the device decides who makes the batches."""
    stop = False
    loop = Loop(Context({}, tmp_path, device=device, should_stop=lambda: stop), 6, {})
    seen = []

    def train() -> None:
        nonlocal stop
        for step, batch in loop.batches(lambda step: 10 * step):
            seen.append((step, batch))
            stop = step == 3

    with pytest.raises(Interrupted):
        train()
    stop = False
    train()
    assert seen == [(step, 10 * step) for step in range(6)]
    assert loop.context.measured["seconds_waiting"] >= 0


@pytest.mark.parametrize("ending", ["all", "given up", "fault"])
def test_the_thread_that_makes_batches_ends_with_the_training(ending: str, tmp_path: Path) -> None:
    def make(step: int) -> int:
        makers.add(threading.current_thread())
        if step == 2 and ending == "fault":
            raise ValueError("image 7 cannot be read")
        return step

    makers: set[threading.Thread] = set()
    batches = Loop(Context({}, tmp_path, device="cuda"), 5, {}).batches(make)
    if ending == "fault":
        with pytest.raises(ValueError, match="image 7 cannot be read"):
            list(batches)
    else:
        assert next(batches) == (0, 0)
        if ending == "all":
            assert len(list(batches)) == 4
        else:
            del batches  # as a recipe does that returns
    (maker,) = makers
    assert maker is not threading.current_thread()
    assert not maker.is_alive()


def test_loop_logs_every_tenth_step_and_the_last(tmp_path: Path) -> None:
    loop = Loop(Context({}, tmp_path), 25, {})
    for step in loop:
        loop.log(step, loss=torch.tensor(float(step), requires_grad=True), plain=0.1)
    assert [step for step, name, _ in loop.curves.points if name == "loss"] == [0, 10, 20, 24]
    assert all(value == step for step, name, value in loop.curves.points if name == "loss")


def test_loop_reports_progress_and_its_newest_values(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Loop, "REPORT_SECONDS", -1.0)
    heard: list[Any] = []
    loop = Loop(Context({}, tmp_path, report=lambda *said: heard.append(said)), 3, {}, log_every=1)
    for step in loop:
        loop.log(step, loss=step / 2)
    assert heard == [(1, 3, {"loss": 0.0}), (2, 3, {"loss": 0.5}), (3, 3, {"loss": 1.0})]


def test_a_stop_after_the_last_step_leaves_nothing_to_do(tmp_path: Path) -> None:
    with pytest.raises(Interrupted, match="after step 1 of 1"):
        list(Loop(Context({}, tmp_path, should_stop=lambda: True), 1, {}))
    assert list(Loop(Context({}, tmp_path), 1, {})) == []


def test_curves_are_written_in_long_form_even_when_empty(tmp_path: Path) -> None:
    curves = Curves()
    curves.write(tmp_path)
    assert pq.read_table(tmp_path / "curves.parquet").num_rows == 0
    curves.add(3, {"loss": 0.1, "psnr": 20})
    curves.write(tmp_path)
    table = pq.read_table(tmp_path / "curves.parquet")
    assert table.to_pylist() == [
        {"step": 3, "name": "loss", "value": 0.1},
        {"step": 3, "name": "psnr", "value": 20.0},
    ]
    assert [str(kind) for kind in table.schema.types] == ["int64", "string", "double"]


def test_scores_have_the_documented_columns(tmp_path: Path) -> None:
    write_scores(Context({}, tmp_path, key="k"), kind="judging", image=["a", "b"], prediction=[0.5, 1.5], content="c")
    table = pq.read_table(tmp_path / "scores.parquet")
    assert dict(zip(table.schema.names, table.schema.types, strict=True)) == SCORES
    first, second = table.to_pylist()
    assert (first["key"], first["image"], first["prediction"], first["content"]) == ("k", "a", 0.5, "c")
    assert (second["image"], second["prediction"], second["content"]) == ("b", 1.5, "c")
    assert first["label"] is None
    assert first["seed"] is None


def test_a_holder_that_hung_while_it_saved_leaves_no_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Another process has taken its place to write away, and finished the trial."""
    scratch = tmp_path / "work"
    scratch.mkdir()
    checkpoints = Checkpoints(tmp_path / "checkpoint" / "inputs", scratch)
    monkeypatch.setattr(os, "fsync", lambda file: shutil.rmtree(scratch))
    with pytest.raises(FileNotFoundError, match=str(scratch)):
        checkpoints.save(3, {})
    assert not list(tmp_path.iterdir())

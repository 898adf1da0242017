"""A trial that runs is heard of, is asked to stop by itself, and keeps what it printed."""

import dataclasses
import shutil
import sys
from pathlib import Path
from typing import Any

import pytest

from orchestrator import runner
from orchestrator.history import LOG
from orchestrator.identity import key
from orchestrator.spec import Pretext
from orchestrator.store import Store, identity_record
from workers import trial
from workers.context import Interrupted
from workers.training import Loop


def config(spec: Pretext, store: Store, folder: Path) -> dict[str, Any]:
    """What a worker is given."""
    return {
        "store": store.address,
        "kind": spec.KIND,
        "key": key(spec),
        "identity": identity_record(spec),
        "stop": "driver-1",
        "cache": str(folder / "cache"),
        "device": "cpu",
        "checkpoint_seconds": 1e9,
        "provenance": {},
    }


@pytest.fixture
def endless(micro: Any) -> Pretext:
    """A training that takes hours."""
    spec = next(spec for spec in micro.specs if isinstance(spec, Pretext))
    return dataclasses.replace(spec, training=dataclasses.replace(spec.training, steps=10**6))


def test_it_stops_when_its_own_key_is_asked_for_and_says_how_far_it_is(
    endless: Pretext, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Loop, "REPORT_SECONDS", 0.0)
    store, heard = Store(tmp_path / "store"), []
    store.prepare(endless)

    def hear(said: Any) -> None:
        heard.append(dict(said))
        if len(heard) == 15:
            store.request_stop(key(endless))

    assert runner.run_trial(config(endless, store, tmp_path), hear) == "interrupted"
    assert [said["step"] for said in heard[:3]] == [1, 2, 3]
    assert {said["steps"] for said in heard} == {10**6}
    assert "per_second" not in heard[0], "it may have gone on from a checkpoint"
    assert all(said["per_second"] > 0 for said in heard[1:])
    assert all(said["host_bytes"] > 50e6 for said in heard)
    assert all(said["cpus"] > 0 for said in heard[1:])
    assert heard[14]["values"].keys() == {"loss"}
    now = store.progress("pretext", key(endless))
    assert now
    assert {name: now[name] for name in heard[-1]} == heard[-1]
    assert list(store.folder("pretext", key(endless)).glob("checkpoint/*/*.pt")), "it goes on from here"


@pytest.mark.parametrize("ends", ["with results", "with an error", "when it looks"])
def test_a_trial_that_another_process_has_taken_over_has_not_failed(
    ends: str, endless: Pretext, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = Store(tmp_path / "store")
    folder = store.prepare(endless)

    def taken_over(spec: Any, context: Any) -> Any:
        (own,) = folder.glob("work.*")
        shutil.rmtree(own)
        if ends == "with an error":
            (context.out / "weights").mkdir()
        while ends == "when it looks":
            if context.should_stop():
                raise Interrupted("asked to")
        return {"status": "done"}

    monkeypatch.setattr(trial, "run", taken_over)
    assert runner.run_trial(config(endless, store, tmp_path)) == "held"
    assert [one["outcome"] for one in store.attempts("pretext", key(endless))] == ["started", "held"]
    assert store.status("pretext", key(endless)) is None


def test_what_it_prints_is_in_its_log_and_nowhere_else(
    endless: Pretext, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def printing(spec: Any, context: Any) -> Any:
        print("a word")
        print("a warning", file=sys.stderr)
        raise ValueError("and the end")

    store = Store(tmp_path / "store")
    store.prepare(endless)
    monkeypatch.setattr(trial, "run", printing)
    for _ in range(2):
        with pytest.raises(ValueError, match="and the end"):
            runner.run_trial(config(endless, store, tmp_path))
    assert (store.folder("pretext", key(endless)) / LOG).read_text() == "a word\na warning\n" * 2
    assert capsys.readouterr() == ("", "")


def test_a_specification_that_is_not_the_one_of_its_key_is_not_run(endless: Pretext, tmp_path: Path) -> None:
    store = Store(tmp_path / "store")
    file = store.prepare(endless) / "spec.json"
    changed = file.read_text().replace("1000000", "1")
    assert changed != file.read_text()
    file.write_text(changed)
    with pytest.raises(ValueError, match=r"spec.json is damaged: not the one of this key"):
        runner.run_trial(config(endless, store, tmp_path))
    assert store.status("pretext", key(endless)) is None

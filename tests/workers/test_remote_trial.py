"""A trial whose store is in an object store stops on one node and goes on, on another; its child runs on a third."""

import time
from pathlib import Path
from typing import Any

import pytest

from orchestrator import lease, objects, remote, remote_lease
from orchestrator.identity import key
from orchestrator.objects import Objects
from orchestrator.remote import open_store
from orchestrator.runner import run_trial
from orchestrator.spec import FrIqa, Pretext, Trial
from orchestrator.store import identity_record
from workers.training import Loop


@pytest.fixture(autouse=True)
def _quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lease, "BEAT_SECONDS", 0.2)
    monkeypatch.setattr(remote, "LOOK_SECONDS", 0.0)
    monkeypatch.setattr(remote_lease, "LOOK_SECONDS", 0.05)
    monkeypatch.setattr(objects, "PAUSES", ())


def config(spec: Trial, storage: str, cache: Path) -> dict[str, Any]:
    """What a worker is given."""
    return {
        "store": storage,
        "kind": spec.KIND,
        "key": key(spec),
        "identity": identity_record(spec),
        "stop": "driver-1",
        "cache": str(cache),
        "device": "cpu",
        "checkpoint_seconds": 1e-9,
        "provenance": {},
    }


def test_a_trial_goes_on_from_its_checkpoint_on_another_node_and_its_child_on_a_third(
    micro: Any, storage: str, tmp_path: Path
) -> None:
    child = next(spec for spec in micro.specs if isinstance(spec, FrIqa) and isinstance(spec.weights, Pretext))
    parent = child.weights
    driver = open_store(storage, str(tmp_path / "driver"))
    driver.prepare(parent)
    driver.request_stop("driver-1")
    assert run_trial(config(parent, storage, tmp_path / "one")) == "interrupted"
    kept = Objects(storage).names(f"{parent.KIND}/{key(parent)}/checkpoint")
    assert [name.rpartition("/")[2].partition("-")[0] for name in kept] == ["000000001"]
    driver.forget_stop("driver-1")
    assert run_trial(config(parent, storage, tmp_path / "two")) == "done"
    driver.prepare(child)
    assert run_trial(config(child, storage, tmp_path / "three")) == "done"
    assert driver.index() == {(spec.KIND, key(spec)): "done" for spec in (parent, child)}
    for spec in (parent, child):
        expected = micro.store.record(spec.KIND, key(spec))["files"]
        assert driver.record(spec.KIND, key(spec))["files"] == expected
    tries = driver.record(parent.KIND, key(parent))["attempts"]
    assert [one["outcome"] for one in tries] == ["started", "interrupted", "started", "done"]
    assert not Objects(storage).names("lock")


def test_a_trial_that_lost_its_lease_ends_soon_and_is_left_to_the_one_who_has_it(
    micro: Any, retrained: Any, storage: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    endless = retrained(next(spec for spec in micro.specs if isinstance(spec, Pretext)), steps=10**6)
    monkeypatch.setattr(Loop, "REPORT_SECONDS", 0.0)
    driver, there, started = open_store(storage, str(tmp_path / "driver")), Objects(storage), time.monotonic()
    driver.prepare(endless)

    def hear(said: Any) -> None:
        there.delete(*there.names("lock"))  # again where a beat that had just looked has written it
        assert time.monotonic() - started < 60, "it trains on"

    assert run_trial(config(endless, storage, tmp_path / "one"), hear) == "held"
    told = driver.attempts(endless.KIND, key(endless))
    assert [one["outcome"] for one in told] == ["started", "held"]
    assert told[-1]["note"].startswith("its lease is lost")


def test_what_could_not_be_pushed_is_pushed_at_the_next_try_and_not_computed_again(
    micro: Any, storage: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    spec = next(spec for spec in micro.specs if isinstance(spec, Pretext))

    def away(self: Objects, name: str, path: Path) -> str:
        raise OSError("AWS Error NETWORK_CONNECTION")

    driver = open_store(storage, str(tmp_path / "driver"))
    driver.prepare(spec)
    with monkeypatch.context() as patch:
        patch.setattr(Objects, "upload", away)
        with pytest.raises(OSError, match="NETWORK_CONNECTION"):
            run_trial(config(spec, storage, tmp_path / "one"))
    assert driver.index() == {}
    told = driver.attempts(spec.KIND, key(spec))
    assert [one["outcome"] for one in told] == ["started", "done", "error"]
    assert "NETWORK_CONNECTION" in told[-1]["traceback"]
    assert run_trial(config(spec, storage, tmp_path / "one")) == "done"
    assert driver.index() == {(spec.KIND, key(spec)): "done"}
    assert [one["outcome"] for one in driver.record(spec.KIND, key(spec))["attempts"]] == ["started", "done"]

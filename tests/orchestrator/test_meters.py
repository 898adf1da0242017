"""The metrics that the Grafana dashboard draws are those that a sweep tells."""

import json
import re
from pathlib import Path

import pytest

from orchestrator import meters, plan
from orchestrator.matrix import Study
from orchestrator.ready import ReadyQueue
from orchestrator.store import Store

DASHBOARD = Path(__file__).parents[2] / "docs/grafana.json"


class Recorder:
    """In the place of Ray's metrics, which show nothing in a process without Ray: name -> tags -> value."""

    told: dict[str, dict[tuple[tuple[str, str], ...], float]]

    def __init__(self, name: str, description: str, tags: tuple[str, ...]) -> None:
        assert description.endswith(".")
        self.tags, self.values = tags, self.told.setdefault(name, {})

    def set(self, value: float, tags: dict[str, str]) -> None:
        assert set(tags) == set(self.tags)
        self.values[tuple(sorted(tags.items()))] = value

    def inc(self, value: float, tags: dict[str, str]) -> None:
        self.set(self.values.get(tuple(sorted(tags.items())), 0.0) + value, tags)


@pytest.fixture
def told(monkeypatch: pytest.MonkeyPatch) -> dict[str, dict[tuple[tuple[str, str], ...], float]]:
    Recorder.told = {}
    monkeypatch.setattr(meters.metrics, "Gauge", Recorder)
    monkeypatch.setattr(meters.metrics, "Counter", Recorder)
    return Recorder.told


def test_a_sweep_tells_its_trials_by_kind_and_state_and_its_bytes(
    micro: Study, tmp_path: Path, told: dict[str, dict[tuple[tuple[str, str], ...], float]]
) -> None:
    queue = ReadyQueue(plan.build((label.spec for label in micro.labels), {}, lambda _: 1.0))
    one = meters.SweepMeters("micro", queue, Store(tmp_path))
    one.tell()
    assert sum(told["sweep_trials"].values()) == len(queue.nodes)
    assert set(told["sweep_store_bytes"].values()) == {0}
    node = queue.pop()
    assert node
    folder = Store(tmp_path).prepare(node.spec)
    queue.finish(node.key, "done")
    one.end(node.kind, "done")
    one.tell()
    done = (("grid", "micro"), ("kind", node.kind), ("state", "done"))
    assert told["sweep_trials"][done] == 1
    assert sum(told["sweep_trials"].values()) == len(queue.nodes)
    assert list(told["sweep_store_bytes"].values()) == [(folder / "spec.json").stat().st_size]
    assert list(told["sweep_trials_ended"].values()) == [1]


def test_a_trial_tells_what_it_knows_and_rests_at_zero(
    told: dict[str, dict[tuple[tuple[str, str], ...], float]],
) -> None:
    one = meters.TrialMeters()
    one.hear("judging", {"step": 1, "steps": 9, "per_second": 3.0})
    one.hear("pretext", {"step": 1, "steps": 9, "per_second": 2.0, "seconds_waiting": 0.5, "values": {"loss": 7}})
    assert list(told["trial_loss"].items()) == [((("kind", "pretext"),), 7.0)]
    assert list(told["trial_wait_seconds"].values()) == [0.5]
    assert list(told["trial_steps_per_second"].values()) == [3.0, 2.0]
    one.rest("pretext")
    assert told["trial_loss"] == {(("kind", "pretext"),): 0.0}


def test_the_dashboard_draws_what_is_told_and_all_of_it(
    told: dict[str, dict[tuple[tuple[str, str], ...], float]], micro: Study, tmp_path: Path
) -> None:
    meters.TrialMeters()
    meters.SweepMeters("x", ReadyQueue(plan.build((), {}, lambda _: 1.0)), Store(tmp_path))
    dashboard = json.loads(DASHBOARD.read_text())
    drawn = {
        name
        for panel in dashboard["panels"]
        for one in panel["targets"]
        for name in re.findall(r"ray_\w+", one["expr"])
    }
    assert {name.removeprefix("ray_").removesuffix("_total") for name in drawn} == told.keys()
    ids = [panel["id"] for panel in dashboard["panels"]]
    assert len(set(ids)) == len(ids)

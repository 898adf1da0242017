"""Trials that hang are told from those that work, that wait, and that another driver runs."""

import json
import time
from pathlib import Path

import pytest

from orchestrator import plan as plans
from orchestrator.history import note_progress
from orchestrator.lease import STALE_SECONDS
from orchestrator.matrix import Study
from orchestrator.plan import Node
from orchestrator.stalls import IDLE_SECONDS, Stalls
from orchestrator.store import Store

MINE = "this sweep"


class Clock:
    """A monotonic clock that a test turns."""

    now = 0.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr(time, "monotonic", clock)
    return clock


@pytest.fixture
def nodes(micro: Study) -> list[Node]:
    found = plans.build((label.spec for label in micro.labels), {}, lambda spec: 1.0).nodes.values()
    return [node for node in found if not node.parents][:2]


def held(store: Store, node: Node, process: int = 7, sweep: str = MINE, beat: int = 0) -> Path:
    folder = store.prepare(node.spec)
    said = {"host": "host", "process": process, "born": 5, "node": "n", "sweep": sweep, "beat": beat}
    (folder / "lock").write_text(json.dumps(said))
    return folder


def test_a_trial_without_progress_hangs_once_a_limit(clock: Clock, nodes: list[Node], tmp_path: Path) -> None:
    store = Store(tmp_path)
    stalls = Stalls(store, 10.0, MINE)
    works, hangs = (held(store, node) for node in nodes)
    named = []
    for clock.now in range(0, 34, 2):
        note_progress(works, int(clock.now), 100)
        named += [(clock.now, node.key, by.process) for node, by in stalls.hung(nodes)]
    assert hangs.name != works.name
    assert named == [(12, hangs.name, 7), (24, hangs.name, 7)]


def test_another_process_starts_the_count_again(clock: Clock, nodes: list[Node], tmp_path: Path) -> None:
    store = Store(tmp_path)
    stalls = Stalls(store, 10.0, MINE)
    for clock.now, process in ((0.0, 7), (9.0, 7), (10.0, 8), (19.0, 8)):
        held(store, nodes[0], process)
        assert stalls.hung(nodes[:1]) == []
    clock.now = 20.5
    assert [by.process for _, by in stalls.hung(nodes[:1])] == [8]


def test_what_waits_or_is_held_elsewhere_does_not_hang_but_leaves_the_sweep_idle(
    clock: Clock, nodes: list[Node], tmp_path: Path
) -> None:
    store = Store(tmp_path)
    stalls = Stalls(store, 10.0, MINE)
    store.prepare(nodes[0].spec)
    held(store, nodes[1], sweep="another")
    for clock.now in range(0, 62, 2):
        assert stalls.hung(nodes) == []
    assert [by.sweep for by in stalls.elsewhere] == ["another"]
    assert stalls.idle_seconds() == pytest.approx(IDLE_SECONDS)
    clock.now = IDLE_SECONDS + 1
    assert stalls.idle_seconds() == pytest.approx(IDLE_SECONDS + 1)
    assert stalls.idle_seconds() == 0.0, "told once a minute"
    held(store, nodes[0])
    clock.now += 50
    stalls.hung(nodes)
    assert stalls.idle_seconds() == 0.0


def test_what_a_killed_worker_has_left_does_not_keep_a_sweep_busy(
    clock: Clock, nodes: list[Node], tmp_path: Path
) -> None:
    store = Store(tmp_path)
    stalls = Stalls(store, 1000.0, MINE)
    for clock.now in range(0, 200, 2):
        held(store, nodes[0], beat=min(int(clock.now), 20))  # no beat after 20 s
        assert stalls.hung(nodes) == []
    assert stalls.idle_seconds() == pytest.approx(198 - 20 - STALE_SECONDS, abs=2)


def test_a_worker_whose_trial_was_taken_over_is_ended_too(clock: Clock, nodes: list[Node], tmp_path: Path) -> None:
    store = Store(tmp_path)
    stalls = Stalls(store, 10.0, MINE)
    held(store, nodes[0], process=7)
    assert stalls.hung(nodes) == []
    folder = held(store, nodes[0], process=8, sweep="another")
    clock.now = 5.0
    assert stalls.hung(nodes) == []
    (folder / "lock").write_text("")  # and has finished it
    clock.now = 16.0
    assert [by.process for _, by in stalls.hung(nodes)] == [7]

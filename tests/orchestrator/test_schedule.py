"""What Tune is handed, and what a worker leaves behind between two trials. Whole sweeps are in tests/integration."""

import json
import math
import socket
import threading
import time
from pathlib import Path
from types import SimpleNamespace

import pytest
from ray.tune.search import Searcher

from orchestrator import actor, cluster, plan, schedule
from orchestrator.actor import TrialActor
from orchestrator.driving import Listener, Outcome, Stop
from orchestrator.history import note_attempt
from orchestrator.lease import Holder
from orchestrator.matrix import Study
from orchestrator.ready import ReadyQueue
from orchestrator.searcher import CANCELLED, ReadyTrials
from orchestrator.sections.training import Runtime
from orchestrator.stalls import Stalls
from orchestrator.store import RETRY, Store


def test_a_worker_that_goes_on_leaves_no_folders_of_the_last_trial(tmp_path: Path) -> None:
    folders = [tmp_path / where / trial for where in ("working_dirs", "driver_artifacts") for trial in ("one", "two")]
    for folder in folders:
        folder.mkdir(parents=True)
    (tmp_path / "driver_artifacts/two/error.txt").touch()
    actor = object.__new__(TrialActor)
    for trial in ("one", "two", "three"):  # as Tune does: the new folder first
        actor._logdir = str(tmp_path / "working_dirs" / trial)
        assert trial == "one" or actor.reset_config({})
        if trial == "one":
            actor.setup({})
    assert [folder.exists() for folder in folders] == [False, False, False, True]
    assert actor.scratch == tmp_path / "working_dirs/three"


@pytest.fixture
def searcher(micro: Study, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> ReadyTrials:
    """On a cluster with one core."""
    monkeypatch.setattr(cluster, "nodes", lambda: [{"NodeID": "here", "Resources": {"CPU": 1.0}}])
    queue = ReadyQueue(plan.build((label.spec for label in micro.labels), {}, lambda _: 1.0))
    listener = Listener(lambda *_: None, lambda *_: None, lambda *_: None)
    stop = Stop(Store(tmp_path / "store"), "stop")
    runtime = Runtime(max_failures=2)
    store = Store(tmp_path / "store")
    return ReadyTrials(queue, store, {}, Outcome(queue), stop, listener, runtime, tmp_path / "tune", {})


def test_a_trial_whose_process_never_began_is_tried_again_and_then_says_why(searcher: ReadyTrials) -> None:
    wanted = None
    for attempt in range(3):
        for number in range(100):
            config = searcher.suggest(f"{attempt}-{number}")
            wanted = wanted or config["key"]
            if config["key"] == wanted:
                break
            searcher.on_trial_complete(f"{attempt}-{number}", {"trial_status": "held"})  # another driver's
        folder = searcher.folders / f"{attempt}-{number}"
        folder.mkdir(parents=True)
        (folder / "error.txt").write_text(f"ActorDiedError: its node died, {attempt}")
        searcher.on_trial_complete(folder.name, error=True)
        assert searcher.queue.state[wanted] == ("failed" if attempt == 2 else "waiting")
    assert searcher.outcome.tracebacks == {wanted: "ActorDiedError: its node died, 2"}


@pytest.mark.parametrize(("starts", "state"), [(1, "waiting"), (2, "waiting"), (3, "failed")])
def test_a_trial_that_began_is_tried_as_often_as_the_grid_says(starts: int, state: str, searcher: ReadyTrials) -> None:
    """Tune gives it up earlier where a node dies on which it was about to start again."""
    config = searcher.suggest("one")
    folder = searcher.store.folder(config["kind"], config["key"])
    for _ in range(starts):
        note_attempt(folder, outcome="started")
        note_attempt(folder, outcome="error", traceback="ValueError: x")
    searcher.on_trial_complete("one", error=True)
    assert searcher.queue.state[config["key"]] == state
    assert searcher.outcome.tracebacks == ({config["key"]: "ValueError: x"} if state == "failed" else {})


def test_attempts_that_are_lost_with_their_node_do_not_count(
    searcher: ReadyTrials, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(cluster, "nodes", lambda: [{"NodeID": "here", "Resources": {"CPU": 1.0}}])
    for hand_out in range(9):
        config = searcher.suggest(str(hand_out))
        for node in ("here" if hand_out > 5 else "lost-1", "lost-2"):
            note_attempt(searcher.store.folder(config["kind"], config["key"]), outcome="started", node=node)
        searcher.on_trial_complete(str(hand_out), error=True)
        state = searcher.queue.state.pop(config["key"])
        searcher.queue.state[config["key"]] = state
        assert state == ("failed" if hand_out == 8 else "waiting"), hand_out
        searcher.queue.heap = []  # so that the same comes again


def test_what_waits_although_there_is_room_or_never_will_be_is_told_while_others_run(
    searcher: ReadyTrials, monkeypatch: pytest.MonkeyPatch
) -> None:
    now = 0.0
    monkeypatch.setattr("time.monotonic", lambda: now)
    monkeypatch.setattr(cluster, "nodes", lambda: [{"Resources": {"CPU": 2.0}}])
    trains, judges = (
        next(node for node in searcher.queue.nodes.values() if node.kind == kind)
        for kind in ("super_resolution", "judging")
    )
    runs, waits = [searcher.store.prepare(node.spec) for node in (judges, trains)]
    stalls, runtime = Stalls(searcher.store, 1e9, "this"), Runtime(gpus={"super_resolution": 1})
    said = {"host": "h", "process": 7, "born": 5, "node": "n", "sweep": "this", "beat": 0}

    def stuck(runtime: Runtime, slots: int) -> list[str]:
        (runs / "lock").write_text(json.dumps(said))
        stalls.hung([judges, trains])
        return [node.key for node in schedule._stuck([judges, trains], slots, stalls, runtime)]

    assert stuck(runtime, 2) == []
    now = 59.0
    assert stuck(runtime, 2) == []
    now = 61.0
    assert stuck(runtime, 1) == [waits.name], "no node has a GPU any more"
    assert stuck(Runtime(), 2) == [waits.name], "its worker does not start"
    assert stuck(Runtime(), 1) == [], "it waits for its turn"


def test_a_look_that_fails_is_told_once_and_the_next_is_made() -> None:
    told: list[str] = []
    looks, ended = iter(["first", "second", "third"]), threading.Event()

    def look() -> None:
        if next(looks) == "third":
            ended.set()
        raise OSError(28, "No space left on device")

    listener = Listener(lambda *_: None, lambda *_: None, told.append)
    with schedule._repeated("stalls", 0.001, look, listener):
        assert ended.wait(60)
    assert told[0] == "stalls: OSError: [Errno 28] No space left on device"
    assert told.count(told[0]) == 1


def test_no_more_is_handed_out_than_the_nodes_have_room_for_and_two_that_wait(
    searcher: ReadyTrials, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert [searcher.suggest(str(number)) is not None for number in range(5)] == [True, True, True, False, False]
    searcher.counted = -math.inf  # a node joins
    monkeypatch.setattr(cluster, "nodes", lambda: [{"Resources": {"CPU": 1.0}}, {"Resources": {"CPU": 1.5}}])
    assert [searcher.suggest(str(number)) is not None for number in range(5, 8)] == [True, False, False]


def test_a_sweep_in_which_nothing_runs_says_what_waits_for_what(
    searcher: ReadyTrials, monkeypatch: pytest.MonkeyPatch
) -> None:
    node = {"NodeID": "a", "NodeManagerHostname": "host-1", "Alive": True, "Resources": {"CPU": 8.0, "GPU": 1.0}}
    monkeypatch.setattr(cluster, "nodes", lambda: [node])
    monkeypatch.setattr(schedule.ray, "available_resources", lambda: {"CPU": 7.0, "GPU": 0.25})
    waiting = [node for node in searcher.queue.nodes.values() if node.kind == "super_resolution"][:2]
    runtime, stalls = Runtime(gpus={"super_resolution": 0.5}, cpus=2), Stalls(searcher.store, 10.0, "this")
    assert schedule._why_idle(waiting, stalls, runtime, "nothing has run for 62 s") == (
        "nothing has run for 62 s: 2 super_resolution (2 CPUs, 0.5 GPUs): waiting for room or for a worker to start; "
        "nodes: host-1 (8 CPUs, 1 GPUs); free: 7 CPUs, 0.25 GPUs"
    )
    stalls.elsewhere = [Holder("host-2", 42, 5, "b", "other", 3, 1.0)]
    assert "held by another sweep (process 42 on host-2)" in schedule._why_idle(waiting, stalls, runtime, "")


def test_a_waiting_trial_is_cancelled_and_retried_on_request(searcher: ReadyTrials) -> None:
    told: list[str] = []
    searcher.listener.told = told.append
    store, queue = searcher.store, searcher.queue
    name = next(name for name, node in queue.nodes.items() if not node.parents and node.children)
    node = queue.nodes[name]
    before = dict(queue.state)
    store.request_stop(name)
    assert searcher.suggest("one")["key"] != name
    assert queue.state[name] == "failed"
    assert store.status(node.kind, name) == "failed"
    assert [attempt["outcome"] for attempt in store.attempts(node.kind, name)] == ["cancelled"]
    assert store.stops_requested() == set()
    assert all(queue.state[child] == "blocked" for child in node.children)
    assert searcher.outcome.tracebacks == {name: CANCELLED}
    (store.folder(node.kind, name) / "FAILED").unlink()  # as another sweep does that hands it out
    searcher.heeded = -math.inf
    searcher.suggest("two")
    assert queue.state[name] == "failed"
    store.request_stop(RETRY + name)  # as the verb `retry` does
    searcher.heeded = -math.inf
    searcher.suggest("three")
    assert store.stops_requested() == set()
    waiting = {key: state for key, state in queue.state.items() if key not in queue.running}
    assert waiting.items() <= before.items()
    assert not searcher.outcome.tracebacks
    assert told == [
        f"cancelled: {node.kind} {name}, as was asked for",
        f"again: {node.kind} {name}, as was asked for",
    ]


def test_a_running_trial_that_stopped_on_request_counts_as_failed_and_not_as_interrupted(searcher: ReadyTrials) -> None:
    config = searcher.suggest("one")
    searcher.store.request_stop(config["key"])
    searcher.heeded = -math.inf
    assert searcher.suggest("two")
    assert searcher.store.stops_requested() == {config["key"]}, "its worker is to see it"
    searcher.on_trial_complete("one", {"trial_status": "interrupted"})
    assert searcher.queue.state[config["key"]] == "failed"
    assert searcher.store.stops_requested() == set()
    other = searcher.suggest("three")
    searcher.stop.requested = True
    searcher.on_trial_complete("three", {"trial_status": "interrupted"})
    assert searcher.queue.state[other["key"]] == "interrupted", "that is the whole sweep's end"


def test_a_request_that_came_too_late_is_forgotten(searcher: ReadyTrials) -> None:
    config = searcher.suggest("one")
    searcher.on_trial_complete("one", {"trial_status": "done"})
    searcher.store.request_stop(config["key"])
    searcher.heeded = -math.inf
    searcher.suggest("two")
    assert searcher.queue.state[config["key"]] == "done"
    assert searcher.store.stops_requested() == set()


def test_the_last_look_at_requests_is_when_nothing_is_left(searcher: ReadyTrials) -> None:
    """However short ago the one before it was."""
    queue = searcher.queue
    failed, *others = queue.nodes
    for name in others:
        queue.state[name] = "done"
    queue.heap.clear()
    queue.state[failed] = "failed"
    searcher.heeded = time.monotonic()
    assert searcher.suggest("one") == Searcher.FINISHED
    searcher.store.request_stop(RETRY + failed)
    assert searcher.suggest("two")["key"] == failed


def test_what_is_retried_when_nothing_runs_any_more_asks_for_another_round(searcher: ReadyTrials) -> None:
    store, queue = searcher.store, searcher.queue
    failed, done, blocked, silent, *_ = queue.nodes
    queue.state |= {failed: "failed", done: "done", blocked: "blocked", silent: "failed"}
    for name in (RETRY + failed, RETRY + done, RETRY + blocked, silent, "another sweep's"):
        store.request_stop(name)
    assert {node.key for node in schedule._forget(store, queue)} == {failed, done}
    assert store.stops_requested() == {"another sweep's"}


def test_a_trial_on_a_node_that_does_not_see_the_store_runs_elsewhere(searcher: ReadyTrials) -> None:
    """And its process keeps its place on that node, so that no other trial comes there."""
    told: list[str] = []
    searcher.listener.told = told.append
    config = searcher.suggest("blind")
    room = searcher._room()
    for _ in range(2):
        assert not searcher.ends("blind", {})
        searcher.on_trial_result("blind", {"trial_status": "unseen", "note": "node a sees nothing"})
    assert searcher._room() == room - 1
    assert told == ["node a sees nothing; until then no trial runs there"]
    assert searcher.suggest("elsewhere")["key"] == config["key"]
    searcher.on_trial_complete("elsewhere", {"trial_status": "done"})
    assert searcher.queue.state[config["key"]] == "done"
    searcher.stop.requested = True
    assert searcher.ends("blind", {})
    searcher.on_trial_complete("blind", {"trial_status": "unseen", "note": "node a sees nothing"})
    assert searcher._room() == room


def test_a_trial_that_has_just_come_to_such_a_node_when_the_sweep_ends_has_not_failed(searcher: ReadyTrials) -> None:
    config = searcher.suggest("blind")
    searcher.stop.requested = True
    searcher.on_trial_complete("blind", {"trial_status": "unseen", "note": "node a sees nothing"})
    assert searcher.queue.state[config["key"]] == "waiting"


def test_a_full_store_ends_the_sweep_at_the_first_trial_that_meets_it(searcher: ReadyTrials) -> None:
    config = searcher.suggest("one")
    searcher.on_trial_complete("one", {"trial_status": "no room"})
    assert searcher.queue.state[config["key"]] == "waiting", "it has not failed"
    assert searcher.suggest("two") == Searcher.FINISHED
    assert "No space left" in str(searcher.outcome.fault)


def test_a_process_that_did_not_see_the_store_runs_nothing_when_it_sees_it_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(actor, "UNSEEN_SECONDS", 0.0)
    monkeypatch.setattr(actor.ray, "get_gpu_ids", list)
    monkeypatch.setattr(actor.ray, "get_runtime_context", lambda: SimpleNamespace(get_node_id=lambda: "here"))
    one = object.__new__(TrialActor)
    one._logdir, one.unseen = str(tmp_path), ""
    one.meters = SimpleNamespace(hear=lambda *_: None, rest=lambda kind: None)
    place = {"store": str(tmp_path / "store"), "cache": "", "stop": "stop", "device": "cpu"}
    one.config = {"kind": "pretext", "key": "0" * 16, "name": "a trial", **place}
    for there in (False, False, True):
        if there:
            (tmp_path / "store/pretext" / one.config["key"]).mkdir(parents=True)
        said = one.step()
        assert (said["trial_status"], said["done"]) == ("unseen", there)
        assert "does not see runtime.storage" in said["note"]
    assert not list((tmp_path / "store").rglob("attempts.jsonl"))


def test_an_address_at_which_no_ray_listens_is_told_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    monkeypatch.setenv("RAY_ADDRESS", f"127.0.0.1:{port}")
    with pytest.raises(
        OSError, match=f"RAY_ADDRESS: no Ray answers at 127.0.0.1:{port} .Connection refused.; next: ray"
    ):
        cluster.start()

"""The verbs about one trial, and `gc`: what they say, and what they change in the store."""

import io
import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from rich.console import Console

from orchestrator import gc, trials
from orchestrator.cost import Rehearsed
from orchestrator.grid import GridError, override
from orchestrator.history import LOG, note_attempt, note_progress
from orchestrator.identity import Address
from orchestrator.plan import Node
from orchestrator.store import Store, identity_record
from orchestrator.sweep import Sweep

MICRO = Path(__file__).parents[1] / "micro.yaml"
FILE = Path("grids/micro.yaml")


@pytest.fixture
def sweep(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Sweep:
    """A project folder with one grid, in which nothing has run."""
    monkeypatch.chdir(tmp_path)
    FILE.parent.mkdir()
    shutil.copy(MICRO, FILE)
    return Sweep(FILE)


@pytest.fixture
def out() -> Console:
    return Console(file=io.StringIO(), width=200, soft_wrap=True, highlight=False)


def told(out: Console) -> list[str]:
    assert isinstance(out.file, io.StringIO)
    return out.file.getvalue().splitlines()


def of_kind(sweep: Sweep, kind: str) -> Node:
    return next(node for node in sweep.plan.nodes.values() if node.kind == kind)


def finish(store: Store, node: Node, status: str = "done") -> Path:
    """As a worker does, with one file as its result."""
    store.prepare(node.spec)
    with store.claim(node.kind, node.key) as folder:
        work = store.workspace(node.kind, node.key)
        (work / "scores.parquet").write_text("x")
        record = {"status": status, "numbers": {"srcc": 0.5}, "seconds": 61.0, "device": "a CPU", "host": "here"}
        whole = {**identity_record(node.spec), **record, "inputs": {}, "provenance": {}}
        store.finish(work, whole, host="here", process=8)
    return folder


def fail(store: Store, node: Node) -> None:
    folder = store.prepare(node.spec)
    note_attempt(folder, outcome="started", host="here", process=7)
    note_attempt(
        folder, outcome="error", host="here", process=7, traceback="Traceback\n  line 1\nValueError: too large"
    )
    store.fail(node.kind, node.key, "Traceback\n  line 1\nValueError: too large")


def test_a_trial_is_found_by_key_by_the_beginning_of_it_and_by_name(sweep: Sweep) -> None:
    known, node = trials.Trials(sweep), of_kind(sweep, "pretext")
    assert known.find(node.key) == known.find(node.key[:8]) == known.find(sweep.names[node.key])
    assert known.find(node.key) == ("pretext", node.key)
    (sweep.store.root / "judging" / "zz00").mkdir(parents=True)
    assert known.find("zz") == ("judging", "zz00"), "also one that is in the store alone"
    (sweep.store.root / "judging" / "zz01").mkdir()
    with pytest.raises(GridError, match=r"found 'zz', which begins 2 keys; allowed: more digits, e.g. of zz00 \(judg"):
        known.find("zz")
    with pytest.raises(GridError, match=r"found 'small pretext', .*; its words are in: \w+ pretext small/convnext"):
        known.find("small pretext")


def test_show_tells_parents_children_record_and_files(sweep: Sweep, out: Console) -> None:
    node = of_kind(sweep, "pretext")
    finish(sweep.store, node)
    assert trials.show_(FILE, node.key, False, out) == 0
    lines = told(out)
    assert lines[0] == f"pretext {node.key}: {sweep.names[node.key]}: done"
    children = [f"  child: {sweep.plan.nodes[key].kind} {key}: {sweep.names[key]}: " for key in node.children]
    assert children
    assert next(line for line in lines if line.startswith("  child: ")).startswith(children[0])
    assert "  srcc: 0.5" in lines
    assert "  1 min 01 s on a CPU, here" in lines
    assert any(line.startswith("  scores.parquet: 1 bytes, sha256 2d711642b726") for line in lines)
    json_out = Console(file=io.StringIO(), width=200)
    assert trials.show_(FILE, node.children[0], True, json_out) == 0
    found = json.loads("\n".join(told(json_out)))
    assert {"kind": "pretext", "key": node.key}.items() <= found["parents"][0].items()
    assert found["parents"][0]["role"] in ("weights", "discriminator.weights")
    assert found["record"] == {}


def test_logs_tell_attempts_progress_what_was_printed_and_why_it_failed(sweep: Sweep, out: Console) -> None:
    node = of_kind(sweep, "pretext")
    fail(sweep.store, node)
    folder = sweep.store.folder(node.kind, node.key)
    (folder / LOG).write_text("one\ntwo\nthree\n")
    note_progress(folder, 3, 9, per_second=2.0, values={"loss": 0.5})
    assert trials.logs(FILE, node.key, 2, out) == 0
    lines = told(out)
    assert lines[0].endswith(": failed: ValueError: too large")
    assert [line.partition(" ")[2].split()[-5:] for line in lines[1:3]] == [
        ["started", "on", "here,", "process", "7"],
        ["error", "on", "here,", "process", "7"],
    ]
    assert lines[3:] == [
        "  now: 3/9, loss 0.5, 2 it/s, 3 s left",
        "printed by the trial (the last 2 of 3 lines)",
        "two",
        "three",
        "failed (the last 2 of 3 lines)",
        "  line 1",
        "ValueError: too large",
    ]
    finish(sweep.store, node)
    again = Console(file=io.StringIO(), width=200)
    trials.logs(FILE, node.key, 9, again)
    assert not any("ValueError" in line for line in told(again)), "that is over"


def test_why_names_the_settings_that_the_nearest_finished_trial_has_otherwise(sweep: Sweep, out: Console) -> None:
    finish(sweep.store, (node := of_kind(sweep, "pretext")))
    text = FILE.read_text()
    steps = sweep.grid.pretext.steps  # type: ignore[union-attr]
    FILE.write_text(text.replace(f"pretext: {{steps: {steps}", f"pretext: {{steps: {steps + 7}"))
    changed = next(one for one in Sweep(FILE).plan.nodes.values() if one.kind == "pretext")
    assert changed.key != node.key
    assert trials.why(FILE, changed.key, out) == 0
    lines = told(out)
    assert lines[1] == f"nearest finished: pretext {node.key}: not of micro; other there:"
    assert lines[2:] == [f"  training.steps: {steps + 7}, there {steps}"]
    below = Console(file=io.StringIO(), width=200)
    child = sweep.plan.nodes[node.children[0]]
    finish(sweep.store, child)
    assert trials.why(FILE, sweep.names[child.key], below) == 0
    assert any(f"training.steps: {steps + 7}, there {steps}" in line for line in told(below)), "of a parent's, too"
    stored = Console(file=io.StringIO(), width=200)
    assert trials.why(FILE, node.key, stored) == 0
    assert told(stored)[1].startswith(f"nearest of micro: pretext {changed.key}"), "of one that the grid has no more"


def test_why_tells_the_error_of_a_trial_that_failed(sweep: Sweep, out: Console) -> None:
    fail(sweep.store, (node := of_kind(sweep, "pretext")))
    assert trials.why(FILE, node.key, out) == 0
    assert told(out)[0].endswith(": failed: ValueError: too large: failed before; will be tried again")


def test_retry_makes_failed_and_diverged_trials_ready_and_spares_finished_ones(sweep: Sweep, out: Console) -> None:
    store, (failed, diverged, done) = sweep.store, list(sweep.plan.nodes.values())[:3]
    fail(store, failed)
    finish(store, diverged, "diverged")
    finish(store, done)
    assert trials.retry(FILE, [failed.key, diverged.key], False, out) == 0
    assert trials.retry(FILE, [done.key], False, out) == 1
    assert [store.status(node.kind, node.key) for node in (failed, diverged, done)] == [None, None, "done"]
    assert told(out) == [
        f"{failed.kind} {failed.key}: {sweep.names[failed.key]}: was failed, runs again",
        f"{diverged.kind} {diverged.key}: {sweep.names[diverged.key]}: was diverged, runs again",
        "no trial runs; next: make sweep GRID=grids/micro.yaml",
        f"{done.kind} {done.key}: {sweep.names[done.key]}: is done; --again runs it again all the same",
    ]
    assert store.stops_requested() == {f"retry-{failed.key}", f"retry-{diverged.key}"}, "one may just be between trials"
    assert trials.retry(FILE, [done.key], True, out) == 0
    assert store.status(done.kind, done.key) is None
    last = store.attempts(done.kind, done.key)[-1]
    assert (last["outcome"], last["note"][:13]) == ("retried", "asked for by ")


def test_a_trial_that_runs_is_not_retried(sweep: Sweep, out: Console) -> None:
    node = of_kind(sweep, "pretext")
    fail(sweep.store, node)
    with sweep.store.claim(node.kind, node.key):
        assert trials.retry(FILE, [node.key], False, out) == 1
    assert told(out)[0].endswith(": is running")


def test_a_running_sweep_is_asked_for_what_is_retried_and_for_nothing_else(sweep: Sweep, out: Console) -> None:
    store, (runs, failed, done) = sweep.store, list(sweep.plan.nodes.values())[:3]
    fail(store, failed)
    finish(store, done)
    store.prepare(runs.spec)
    with store.claim(runs.kind, runs.key, sweep="a sweep"):
        assert trials.retry(FILE, [failed.key, done.key], False, out) == 1
    assert store.stops_requested() == {f"retry-{failed.key}"}


def test_cancel_asks_a_running_sweep_alone(sweep: Sweep, out: Console) -> None:
    node, done = of_kind(sweep, "pretext"), of_kind(sweep, "fr_iqa")
    finish(sweep.store, done)
    assert trials.cancel(FILE, [node.key], out) == 1
    assert "so there is nothing to cancel" in told(out)[-1]
    assert sweep.store.stops_requested() == set()
    sweep.store.prepare(node.spec)
    with sweep.store.claim(node.kind, node.key, sweep="this"):
        assert trials.cancel(FILE, [node.key], out) == 0
        assert trials.cancel(FILE, [done.key], out) == 1
    assert sweep.store.stops_requested() == {node.key}
    assert told(out)[-1] == f"fr_iqa {done.key}: {sweep.names[done.key]}: is done"


@pytest.fixture
def garbage(sweep: Sweep) -> Callable[[], set[Address]]:
    """What is in the store: a finished trial, and two that no grid needs, one of them unfinished."""
    finish(sweep.store, of_kind(sweep, "pretext"))
    for name in ("old", "cut"):
        shutil.copytree(
            sweep.store.folder("pretext", of_kind(sweep, "pretext").key), sweep.store.root / "judging" / name
        )
    (sweep.store.root / "judging/cut/DONE").unlink()

    def there() -> set[Address]:
        return {(path.parent.name, path.name) for path in sweep.store.root.glob("*/*") if path.is_dir()}

    return there


def test_gc_removes_what_no_grid_needs_when_it_is_told_to(
    sweep: Sweep, out: Console, garbage: Callable[[], set[Address]]
) -> None:
    before, needed = garbage(), ("pretext", of_kind(sweep, "pretext").key)
    assert gc.run(FILE, [], False, out) == 0
    assert garbage() == before
    lines = told(out)
    assert lines[0] == f"needed by grids/micro.yaml: {len(sweep.plan.nodes)} trials"
    assert lines[1].startswith("needed by none: 2 trials, 0.0 MB")
    assert "--delete removes them" in lines[-1]
    with sweep.store.claim("judging", "cut"):
        assert gc.run(FILE, [], True, out) == 1
    assert garbage() == {needed, ("judging", "cut")}
    assert gc.run(FILE, [], True, out) == 0
    assert garbage() == {needed}


def test_gc_keeps_what_other_grids_of_the_store_need_and_refuses_where_it_cannot_know(
    sweep: Sweep, out: Console, garbage: Callable[[], set[Address]]
) -> None:
    other = Path("grids/other.yaml")
    other.write_text(FILE.read_text().replace("seeds: [0", "seeds: [1"))
    FILE.write_text(FILE.read_text().replace("pretext: {steps: ", "pretext: {steps: 1"))
    assert gc.run(FILE, [], False, out) == 0
    assert told(out)[1].startswith("needed by none: 2 trials"), "the pretext trial is the other grid's now"
    other.write_text("name: [")
    with pytest.raises(GridError, match=r"gc: what grids/other.yaml needs cannot be known"):
        gc.run(FILE, [], True, out)
    assert len(garbage()) == 3


def test_gc_keeps_what_was_swept_with_settings_of_a_command_line(
    sweep: Sweep, out: Console, garbage: Callable[[], set[Address]]
) -> None:
    FILE.write_text(FILE.read_text().replace("pretext: {steps: ", "pretext: {steps: 1"))
    elsewhere = Path("elsewhere/short.yaml")
    elsewhere.parent.mkdir()
    elsewhere.write_text(FILE.read_text().replace("name: micro", "name: short"))
    override(FILE, ["pretext.steps=3", "name=mine"])
    garbage()
    assert gc.run(elsewhere, [], False, out) == 0
    assert told(out)[0].startswith("needed by elsewhere/short.yaml, grids/micro.yaml, results/mine/grid.yaml: ")
    assert told(out)[1].startswith("needed by none: 2 trials"), "the pretext trial is the one of results/mine"


def test_damaged_files_of_a_trial_are_passed_over(sweep: Sweep, out: Console) -> None:
    node, done = of_kind(sweep, "pretext"), of_kind(sweep, "fr_iqa")
    fail(sweep.store, node)
    folder = sweep.store.folder(node.kind, node.key)
    with open(folder / "attempts.jsonl", "a") as file:
        file.write('[1]\n{"host": "here"}\n{"time": 1.0, "outcome": "started", "host": "here"}\n')
    (folder / "progress.json").write_text("[1]")
    assert trials.logs(FILE, node.key, 2, out) == 0
    assert [line.partition(" on ")[2] for line in told(out)[1:4]] == ["here, process 7"] * 2 + ["here, process None"]
    assert told(out)[4].startswith("failed")
    record = finish(sweep.store, done) / "record.json"
    record.write_text(record.read_text().replace('"numbers": {', '"numbers": [], "others": {'))
    shown = Console(file=io.StringIO(), width=200)
    assert trials.show_(FILE, done.key, False, shown) == 0
    assert "  damaged or stale: record.json is not a record" in told(shown)
    assert "record.json" not in told(shown)
    old = sweep.store.root / "judging" / "old"
    shutil.copytree(record.parent, old)
    (old / "spec.json").write_text("[1]")
    assert trials.show_(FILE, "old", False, shown) == 0


@pytest.mark.parametrize("content", ['{"rates": 5}', "[" * 100_000])
def test_a_damaged_rehearsal_costs_a_forecast_alone(content: str, sweep: Sweep) -> None:
    sweep.results.mkdir(parents=True)
    (sweep.results / "cost.json").write_text(content)
    assert sweep.rehearsed() == Rehearsed()

"""Where each trial stands, told from the store alone."""

import io
import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from rich.console import Console

from orchestrator import naming, plan, status
from orchestrator.history import note_attempt, note_progress
from orchestrator.matrix import Study
from orchestrator.plan import Node, Plan
from orchestrator.store import Store

MICRO = Path(__file__).parents[1] / "micro.yaml"


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(tmp_path)


@pytest.fixture
def nodes(micro: Study) -> list[Node]:
    """Parents before children."""
    return list(plan.build((label.spec for label in micro.labels), {}, lambda _: 1.0).nodes.values())


def planned(micro: Study, store: Store) -> tuple[Plan, dict[str, str]]:
    found = plan.build((label.spec for label in micro.labels), store.index(), lambda _: 2.0)
    return found, naming.names(micro.labels, (node.spec for node in found.nodes.values()))


def finish(store: Store, node: Node) -> None:
    store.prepare(node.spec)
    (store.folder(node.kind, node.key) / "DONE").write_text("done\n")


def of_kind(nodes: list[Node], kind: str) -> Node:
    return next(node for node in nodes if node.kind == kind)


def test_states_follow_from_done_leases_failures_and_parents(micro: Study, nodes: list[Node], store: Store) -> None:
    pretext, judged = of_kind(nodes, "pretext"), of_kind(nodes, "restoration")
    finish(store, pretext)
    warm_up = next(node for node in nodes if node.kind == "super_resolution" and not node.parents)
    metric = next(node for node in nodes if node.parents == (pretext.key,) and node.kind == "fr_iqa")
    folder = store.prepare(metric.spec)
    note_attempt(folder, outcome="error", traceback="Traceback\nValueError: too large")
    store.fail(metric.kind, metric.key, "ValueError: too large")
    note_progress(store.prepare(warm_up.spec), 7, 20)
    with store.claim(warm_up.kind, warm_up.key):
        found = status.look(planned(micro, store)[0], store, lambda _: 2.0)
    assert found.states[pretext.key] == "done"
    assert found.states[warm_up.key] == "running"
    assert (found.running[warm_up.key][1].step, found.running[warm_up.key][1].steps) == (7, 20)
    assert found.states[metric.key] == "failed"
    assert found.failed == {metric.key: "ValueError: too large"}
    assert judged.parents or found.states[judged.key] == "ready"
    children = [node for node in nodes if warm_up.key in node.parents]
    assert children
    for node in children:
        expected = "blocked" if metric.key in node.parents else "waiting"
        assert (found.states[node.key], warm_up.key in found.waits_for[node.key]) == (expected, True)
    assert found.work == pytest.approx(1 / len(nodes))
    assert found.left == pytest.approx(2.0 * (len(nodes) - 1))


def test_a_failed_trial_that_a_sweep_has_just_handed_out_again_is_ready(
    micro: Study, nodes: list[Node], store: Store
) -> None:
    node = of_kind(nodes, "pretext")
    store.prepare(node.spec)
    store.fail(node.kind, node.key, "ValueError: too large")
    before = planned(micro, store)[0]
    store.prepare(node.spec)
    assert status.states(before, store).states[node.key] == "ready"


def test_a_dead_holder_runs_nothing(micro: Study, nodes: list[Node], store: Store) -> None:
    folder = store.prepare(nodes[0].spec)
    (folder / "lock").write_text(json.dumps({"host": "x", "process": 1, "born": 1, "node": "", "sweep": "", "beat": 3}))
    os.utime(folder / "lock", (1, 1))
    assert status.look(planned(micro, store)[0], store, lambda _: 1.0).states[nodes[0].key] == "ready"


def test_it_is_told_in_lines_and_as_json(micro: Study, nodes: list[Node], store: Store) -> None:
    first = next(node for node in nodes if not node.parents)
    note_progress(store.prepare(first.spec), 1, 9)
    with store.claim(first.kind, first.key, node="n"):
        of, names = planned(micro, store)
        found = status.look(of, store, lambda _: 60.0)
    out = Console(file=io.StringIO(), width=200, soft_wrap=True, highlight=False)
    status.tell("micro", of, names, found, "one core", out)
    lines = out.file.getvalue().splitlines()  # type: ignore[attr-defined]
    assert lines[0].startswith(f"micro: {len(nodes)} trials: 1 running, ")
    assert lines[0].endswith("; 0% of all work behind; about 48 min 00 s of work left (one core)")
    assert lines[1].startswith(f"  running: {first.kind} {first.key}: {names[first.key]}, 1/9; process ")
    assert any(line.startswith("  waiting: ") for line in lines)
    told = status.to_json("micro", of, names, found)
    json.dumps(told)
    assert told["running"][0]["step"] == 1
    assert sum(told["counts"].values()) == told["trials"] == len(nodes)
    assert len(told["waiting"]) == told["counts"]["waiting"]


def test_what_is_left_is_told_for_as_many_as_run_side_by_side(micro: Study, nodes: list[Node], store: Store) -> None:
    one, other = [node for node in nodes if not node.parents][:2]
    for node in (one, other):
        store.prepare(node.spec)
    with store.claim(one.kind, one.key), store.claim(other.kind, other.key):
        of, names = planned(micro, store)
        found = status.look(of, store, lambda _: 60.0)
    out = Console(file=io.StringIO(), width=200, soft_wrap=True, highlight=False)
    status.tell("micro", of, names, found, "one core", out)
    first = out.file.getvalue().splitlines()[0]  # type: ignore[attr-defined]
    assert first.endswith("; about 48 min 00 s of work left (one core), with 2 at a time at least 24 min 00 s")


def test_a_watch_draws_over_what_it_drew_also_where_lines_are_longer_than_the_terminal(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    shutil.copy(MICRO, "grid.yaml")
    looks = iter([None])

    def wait(seconds: float) -> None:
        if next(looks, KeyboardInterrupt):
            raise KeyboardInterrupt

    monkeypatch.setattr(status.time, "sleep", wait)
    out = Console(file=io.StringIO(), width=40, height=60, force_terminal=True, highlight=False, soft_wrap=True)
    with pytest.raises(KeyboardInterrupt):
        status.watch(Path("grid.yaml"), 5.0, out)
    first, *rest = re.split(r"(?:\x1b\[1A\x1b\[2K)+", text := out.file.getvalue())  # type: ignore[attr-defined]
    rows = re.sub(r"\x1b\[[?0-9;]*[A-Za-z]|\r", "", first).split("\n")
    assert max(map(len, rows)) <= 40
    assert "unless one was begun: make sweep" in " ".join(rows), "all of it is there"
    assert text.count("\x1b[1A") == len(rest) * (len(rows) - 1) > 0, "as many rows up as there were"


def test_a_watch_that_nobody_reads_any_more_ends() -> None:
    command = [sys.executable, "-m", "orchestrator", "status", "grids/demo.yaml", "--watch", "--seconds", "0.1"]
    root, pipe = Path(__file__).parents[2], subprocess.PIPE
    with subprocess.Popen(command, cwd=root, stdout=pipe, stderr=pipe) as process:
        assert process.stdout
        assert process.stderr
        process.stdout.readline()
        process.stdout.close()
        assert process.wait(timeout=60) == 0
        assert process.stderr.read() == b""

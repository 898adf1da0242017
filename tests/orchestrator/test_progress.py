"""What a running sweep shows: counts, share of the work, when it ends, and each trial that runs."""

import io
import json
from pathlib import Path

import pytest
from rich.console import Console

from orchestrator import naming, plan
from orchestrator.matrix import Study
from orchestrator.progress import Progress, Running, Tally, lines
from orchestrator.ready import ReadyQueue
from orchestrator.store import Store


class Clock:
    """Seconds that a test sets."""

    now = 0.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def tally(micro: Study, tmp_path: Path, clock: Clock) -> Tally:
    """Of a sweep in which every trial is expected to take a minute."""
    planned = plan.build((label.spec for label in micro.labels), {}, lambda _: 60.0)
    names = naming.names(micro.labels, (node.spec for node in planned.nodes.values()))
    return Tally(ReadyQueue(planned), Store(tmp_path), names, lambda kind: 0.5, clock)


def say(tally: Tally, name: str, **what: object) -> None:
    """As the process of a trial does."""
    node = tally.queue.nodes[name]
    (tally.store.prepare(node.spec) / "progress.json").write_text(json.dumps(what))


def popped(tally: Tally) -> str:
    node = tally.queue.pop()
    assert node
    return node.key


def test_it_counts_what_is_done_runs_is_ready_and_waits(tally: Tally) -> None:
    total, ready = len(tally.queue.nodes), tally.queue.counts()["ready"]
    rest = f"{ready} ready, {total - ready} waiting; 0% of this sweep's work"
    assert tally.line(tally.look()) == f"[        0 s] 0 of {total} trials done, {rest}"
    one = popped(tally)
    assert tally.line(tally.look()).endswith(rest), "it waits for a worker until it has said something"
    say(tally, one, step=20, steps=50)
    line = tally.line(tally.look())
    assert f"0 of {total} trials done, 1 running, {ready - 1} ready, {total - ready} waiting; " in line
    tally.queue.finish(one, "done")
    other = popped(tally)
    blocked = tally.queue.finish(other, "failed")
    line = tally.line(tally.look())
    assert f"] 1 of {total} trials done, " in line
    assert ", 1 failed" + (f", {len(blocked)} blocked" if blocked else "") in line
    assert f"; {1 / total:.0%} of this sweep's work" in line
    assert tally.line({}, ended=True).endswith("of this sweep's work"), "no forecast of what is over"


def test_trials_of_sweeps_before_count_as_done_and_as_no_work(micro: Study, tmp_path: Path) -> None:
    specs = [label.spec for label in micro.labels]
    nodes = plan.build(specs, {}, lambda _: 60.0).nodes
    before = next(node for node in nodes.values() if not node.parents)
    planned = plan.build(specs, {(before.kind, before.key): "done"}, lambda _: 60.0)
    line = Tally(ReadyQueue(planned), Store(tmp_path), {}).line({})
    assert f"1 of {len(nodes)} trials done (1 before)" in line
    assert "; 0% of this sweep's work" in line


def test_the_end_is_told_by_the_work_that_is_left_at_the_pace_of_what_ran(tally: Tally, clock: Clock) -> None:
    total = len(tally.queue.nodes)
    one = popped(tally)
    say(tally, one, step=0, steps=50)
    tally.look()
    assert tally.left(tally.queue.state, {}) is None, "nobody knows how many run side by side"
    tally.queue.slots = 1
    clock.now = 120.0
    tally.look()  # one ran for two minutes
    tally.queue.finish(one, "done")
    left = tally.left(tally.queue.state, {})
    assert left == pytest.approx((total - 1) * 60 * 130 / 70), "trials of a minute take two"
    clock.now = 125.0
    assert tally.left(tally.queue.state, {}) == pytest.approx(left - 5)
    tally.queue.slots, clock.now = 1000, 131.0
    assert tally.left(tally.queue.state, {}) < left / 2, "the longest path is all that is left"


def test_a_trial_that_is_half_done_is_half_the_work(tally: Tally) -> None:
    one = popped(tally)
    say(tally, one, step=30, steps=60)
    assert tally.share(tally.queue.state, tally.look()) == pytest.approx(0.5 / len(tally.queue.nodes))


def test_gpus_in_use_are_those_that_running_trials_reserve(tally: Tally) -> None:
    assert "GPUs" not in tally.line({})
    tally.queue.gpus = 4.0
    say(tally, popped(tally), step=1, steps=2)
    assert "; 0.5 of 4 GPUs" in tally.line(tally.look())


def test_a_trial_is_told_with_its_loss_speed_and_remaining_time() -> None:
    said = {"step": 1200, "steps": 2000, "per_second": 8.0, "values": {"loss": 0.031234, "pixel": 1.0}}
    one = Running.of("super_resolution", "optimize vit, seed 0", said | {"gpu_bytes": 3 << 29})
    assert lines([one], 8) == [
        "super_resolution  optimize vit, seed 0  1,200/2,000  loss 0.03123  8 it/s  1 min 40 s left  1.5 GiB"
    ]
    assert lines([Running.of("judging", "judge vsi", {"step": 3, "steps": 0})], 8) == ["judging  judge vsi"]
    assert lines([one] * 10, 2)[2:] == ["and 8 more"]


@pytest.mark.parametrize("content", ["", "{", "{}"])
def test_a_damaged_file_of_progress_is_passed_over(content: str, tally: Tally) -> None:
    node = tally.queue.nodes[popped(tally)]
    (tally.store.prepare(node.spec) / "progress.json").write_text(content)
    assert not tally.look()


def shown(tally: Tally, terminal: bool) -> str:
    out = Console(file=io.StringIO(), width=120, height=20, highlight=False, force_terminal=terminal)
    progress = Progress(out, tally)
    progress.seconds = 0.01
    with progress:
        while out.file.getvalue().count("optimize") < 2 and progress.thread.is_alive():  # type: ignore[attr-defined]
            progress.ended.wait(0.01)
    return str(out.file.getvalue())  # type: ignore[attr-defined]


@pytest.mark.parametrize("terminal", [True, False])
def test_running_trials_are_shown_on_terminals_and_in_files(terminal: bool, tally: Tally) -> None:
    running = next(name for name, node in tally.queue.nodes.items() if tally.names[name].startswith("optimize"))
    tally.queue.running.add(running)
    tally.queue.state[running] = "running"
    say(tally, running, step=5, steps=9, per_second=2.0)
    text = shown(tally, terminal)
    assert tally.names[running] in text
    assert "5/9" in text
    assert ("\x1b[" in text) == terminal
    assert text.rstrip().splitlines()[-1].endswith("% of this sweep's work")

"""What the terminal shows: durations, the plan, the progress, how a sweep ended."""

import io
import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest
from rich.console import Console

from orchestrator import naming, plan, show
from orchestrator.checks import Check
from orchestrator.forecast import Forecast
from orchestrator.grid import load
from orchestrator.identity import Address
from orchestrator.matrix import Study
from orchestrator.ready import ReadyQueue

ROOT = Path(__file__).parents[2]


@pytest.fixture
def out() -> Console:
    return Console(file=io.StringIO(), width=120, highlight=False, soft_wrap=True)


def text(out: Console) -> str:
    assert isinstance(out.file, io.StringIO)
    return out.file.getvalue()


def planned(study: Study, index: dict[Address, str]) -> tuple[plan.Plan, dict[str, str]]:
    result = plan.build((label.spec for label in study.labels), index, lambda _: 60.0)
    plan.explain(result, study.labels)
    return result, naming.names(study.labels, (node.spec for node in result.nodes.values()))


def first(result: plan.Plan, kind: str) -> plan.Node:
    return next(node for node in result.nodes.values() if node.kind == kind)


@pytest.mark.parametrize(
    ("seconds", "words"),
    [
        (0, "0 s"),
        (42.4, "42 s"),
        (59.4, "59 s"),
        (59.6, "1 min 00 s"),
        (190, "3 min 10 s"),
        (119.7, "2 min 00 s"),
        (3599.7, "1 h 00 min"),
        (7500, "2 h 05 min"),
        (2 * 86400, "2.0 days"),
        (4.1 * 86400, "4.1 days"),
    ],
)
def test_duration(seconds: float, words: str) -> None:
    assert show.duration(seconds) == words


def test_plan_says_cells_trials_reasons_and_the_longest_path(demo: Study, out: Console) -> None:
    result, names = planned(demo, {})
    show.plan(out, "demo", demo.cells, result, names, why=True, basis="one core")
    lines = text(out).splitlines()
    assert lines[0] == f"demo: 576 cells of the matrix share {len(result.nodes)} trials; {len(result.nodes)} to do"
    rows = {line.split()[0]: line.split()[1:] for line in lines[2:9]}
    for kind, counts in result.counts().items():
        assert rows[kind] == [str(counts.total()), "-", str(counts.total()), "-", "-", "-"]
    assert "    864 judging: the store has no judging trial yet" in lines
    assert f"about {show.duration(60 * len(result.nodes))} of work (one core)" in text(out)
    assert " -> ".join(names[node.key] for node in result.longest_path()) in text(out)


def test_plan_of_a_finished_grid_is_short(demo: Study, out: Console) -> None:
    nodes = planned(demo, {})[0].nodes
    result, names = planned(demo, {(node.kind, name): "done" for name, node in nodes.items()})
    show.plan(out, "demo", demo.cells, result, names, why=True, basis="one core")
    assert "; 0 to do" in text(out)
    assert "longest path" not in text(out)


@pytest.mark.parametrize(
    ("hours", "words"),
    [((0.5, 0.5), "0.5"), ((3.0, 30.0), "3 to 30"), ((12.4, 1234.0), "12 to 1,234"), ((0.0123, 0.0123), "0.012")],
)
def test_forecast_spells_hours_and_ranges(hours: tuple[float, float], words: str, out: Console) -> None:
    found = Forecast(
        device="a CPU",
        on_gpu=False,
        trials=7,
        unknown=Counter(judging=3),
        gpu_hours={"judging": hours},
        longest_path=(1.0, 2.0),
        makespan={8: (1.0, 2.0), 64: (1.0, 1.0)},
        disk_bytes=12e9,
        fractions={"judging": 0.25},
    )
    show.forecast(out, found)
    assert text(out).splitlines() == [
        "rehearsed on a CPU: operations at 4 to 40 TFLOP/s sustained; 7 trials",
        f"  GPU-hours: {words} (judging {words})",
        "  longest path 1 h 00 min to 2 h 00 min; makespan on 8 GPUs 1 h 00 min to 2 h 00 min, 64 GPUs 1 h 00 min",
        "  disk about 12 GB in the store",
        "  judging: needs 0.25 of a GPU's memory at the rehearsal's image sizes",
        "  not counted, because their shapes could not be rehearsed: 3 judging",
    ]


def test_outcome_names_what_failed_what_that_blocks_and_what_diverged(micro: Study, out: Console) -> None:
    result, names = planned(micro, {})
    queue = ReadyQueue(result)
    failed = first(result, "pretext")
    blocked = queue.finish(failed.key, "failed")
    tracebacks = {failed.key: "Traceback (most recent call last):\n  File x\nValueError: [a] shape\n"}
    show.outcome(out, result, queue, tracebacks, names)
    assert f"failed: pretext {failed.key}: pretext small/convnext" in text(out)
    assert "\n    ValueError: [a] shape\n" in text(out)
    assert f"blocks {len(blocked)} trials: " in text(out)
    assert text(out).count("\n      ") == show.MOST_BLOCKED + 1
    assert f"and {len(blocked) - show.MOST_BLOCKED} more" in text(out)
    for child in blocked[: show.MOST_BLOCKED]:
        assert f"{result.nodes[child].kind} {child}: {names[child]}" in text(out)
    assert "diverged" not in text(out)


def test_outcome_calls_divergence_an_outcome(micro: Study, out: Console) -> None:
    result, names = planned(micro, {})
    queue = ReadyQueue(result)
    node = next(node for node in result.nodes.values() if names[node.key].startswith("optimize vgg-r under"))
    queue.finish(node.key, "diverged")
    show.outcome(out, result, queue, {}, names)
    assert f"diverged (an outcome, not a failure): super_resolution {node.key}: {names[node.key]}" in text(out)


def test_a_failure_without_a_traceback_is_told_too(micro: Study, out: Console) -> None:
    result, names = planned(micro, {})
    queue = ReadyQueue(result)
    failed = first(result, "pretext")
    queue.finish(failed.key, "failed")
    show.outcome(out, result, queue, {failed.key: ""}, names)
    assert f"failed: pretext {failed.key}" in text(out)


def test_checks_say_what_holds(out: Console) -> None:
    show.checks(out, [Check("a", True, "1 against 0"), Check("b", False, "0 against 1")])
    assert text(out) == "holds: a: 1 against 0\nFAILS: b: 0 against 1\n"


def test_judges_that_share_a_network_with_losses_are_named(capsys: pytest.CaptureFixture[str]) -> None:
    show.circular(show.console(), load(Path(__file__).parents[2] / "grids" / "full.yaml"))
    told = capsys.readouterr().out.splitlines()
    assert "judge shares a network with losses: topiq_nr (architecture) with resnet50" in told
    assert "judge shares a network with losses: clipiqa+ (pretraining) with clip-vit" in told
    assert not any("musiq" in line for line in told)


def test_a_process_whose_output_nobody_reads_any_more_does_its_work_to_the_end(tmp_path: Path) -> None:
    code = "import sys; from orchestrator.show import console; out = console(); out.print('one')\n"
    code += "sys.stdin.readline(); out.print('two'); out.print('three'); open(sys.argv[1], 'w').close()"
    pipe = subprocess.PIPE
    with subprocess.Popen(
        [sys.executable, "-c", code, str(tmp_path / "end")], cwd=ROOT, stdin=pipe, stdout=pipe, stderr=pipe
    ) as process:
        assert process.stdout
        assert process.stdin
        assert process.stderr
        assert process.stdout.readline() == b"one\n"
        process.stdout.close()
        process.stdin.write(b"\n")
        process.stdin.close()
        assert process.wait(timeout=60) == 0
        assert process.stderr.read() == b""
    assert (tmp_path / "end").exists()

"""What is told of the difference between two grids."""

import io
from pathlib import Path

import pytest
from rich.console import Console

from orchestrator import plan_diff
from orchestrator.sweep import Sweep

MICRO = Path(__file__).parents[1] / "micro.yaml"
OLD, NEW = Path("old.yaml"), Path("new.yaml")


@pytest.fixture(autouse=True)
def _folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    OLD.write_text(MICRO.read_text())


def told(change: tuple[str, str]) -> list[str]:
    assert change[0] in MICRO.read_text()
    NEW.write_text(MICRO.read_text().replace(*change, 1))
    out = Console(file=io.StringIO(), width=150, soft_wrap=True, highlight=False)
    assert plan_diff.run(OLD, NEW, out) == 0
    return out.file.getvalue().splitlines()  # type: ignore[attr-defined]


def test_equal_grids_are_told_in_a_line() -> None:
    trials = len(Sweep(OLD).plan.nodes)
    line = f"old.yaml -> new.yaml: {trials} trials of both, 0 only of the first, 0 only of the second"
    assert told(("name: micro", "name: other")) == [line]


def test_a_setting_is_named_once_and_what_follows_from_it_is_counted() -> None:
    lines = told(("pretext: {steps: ", "pretext: {steps: 1"))
    before = Sweep(OLD).grid.pretext
    assert before
    old, new = Sweep(OLD).plan.nodes, Sweep(NEW).plan.nodes
    changed = [node for name, node in new.items() if name not in old]
    trained = sum(node.kind == "pretext" for node in changed)
    assert lines[0].endswith(f"{len(changed)} only of the first, {len(changed)} only of the second")
    assert f"  {trained:>5} pretext: training.steps: {before.steps} -> 1{before.steps}" in lines
    assert f"  {len(changed) - trained:>5} trials: only what they are made from is another" in lines
    assert lines[-1] == f"of the {len(changed)} only of the second a sweep would run {len(changed)}"


def test_new_levels_are_named() -> None:
    lines = told(("seeds: [0", "seeds: [7, 0"))
    new = set(Sweep(NEW).plan.nodes) - set(Sweep(OLD).plan.nodes)
    assert sum(line.startswith("  new: ") for line in lines) == min(len(new), plan_diff.MOST_LISTED) + (
        len(new) > plan_diff.MOST_LISTED
    )
    assert any("seed 7" in line for line in lines)
    assert not any(line.startswith("  gone: ") for line in lines)


def test_a_grid_that_a_command_line_made_is_called_as_it_was_asked_for() -> None:
    out = Console(file=io.StringIO(), width=150, soft_wrap=True, highlight=False)
    plan_diff.run(OLD, OLD, out, "old.yaml -o seeds=[0]")
    assert out.file.getvalue().startswith("old.yaml -> old.yaml -o seeds=[0]: ")  # type: ignore[attr-defined]

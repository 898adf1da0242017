"""A rehearsal without data and weights, and a sweep on stand-ins of official data sets, both for real."""

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from orchestrator import cost, matrix, plan
from orchestrator.grid import load
from orchestrator.manifests import Manifests
from orchestrator.store import Store

ROOT = Path(__file__).parents[2]
OFFICIAL = ROOT / "tests" / "official.yaml"
PATIENCE = 400  # seconds until a run that hangs fails the test
STAND_INS = "labels of generated stand-ins, not human opinion"


def orchestrate(folder: Path, *arguments: str) -> tuple[int, str]:
    """Exit code and output of a verb in a working folder."""
    environment = os.environ | {"PYTHONPATH": str(ROOT), "HF_HUB_OFFLINE": "1"}
    environment.pop("RAY_ADDRESS", None)
    command = [sys.executable, "-m", "orchestrator", *arguments]
    both = {"stdout": subprocess.PIPE, "stderr": subprocess.STDOUT}
    ended = subprocess.run(command, cwd=folder, env=environment, text=True, timeout=PATIENCE, check=False, **both)
    return ended.returncode, ended.stdout


def shapes(grid: Path) -> set[str]:
    """Shape of every trial of a grid."""
    study = matrix.expand(load(grid), Manifests())
    nodes = plan.build((label.spec for label in study.labels), {}, lambda spec: 1.0).nodes
    return {cost.shape(node.spec) for node in nodes.values()}


def test_a_rehearsal_needs_neither_data_nor_weights_and_measures_every_shape(tmp_path: Path) -> None:
    text = OFFICIAL.read_text()
    warmup = text[text.index("  warmup: ") : text.index("  training: ")]
    # An official checkpoint in the place of the warm-up, which is not there either.
    (tmp_path / "grid.yaml").write_text(text.replace(warmup, "  warmup: {file: swinir.pth}\n"))
    code, output = orchestrate(tmp_path, "rehearse", "grid.yaml")
    assert code == 0, output
    assert "random weights stand in for timm test_resnet (r160_in1k)" in output
    assert "random weights stand in for file generator" in output
    assert "rehearsal of official: passed" in output
    measured = json.loads((tmp_path / "results/official/cost.json").read_text())
    assert set(measured["rates"]) == shapes(tmp_path / "grid.yaml")
    trained = {
        name: rate
        for name, rate in measured["rates"].items()
        if name.startswith(("super_res", "iqa_transfer")) and "official checkpoint" not in name
    }
    assert all(rate["seconds"] > 0 and rate["flops"] > 0 for rate in trained.values())
    assert not (tmp_path / "results/rehearsal/official").exists()
    (tmp_path / "grid.yaml").write_text(OFFICIAL.read_text().replace("runtime: {", "runtime: {gpus: 1.0, "))
    code, output = orchestrate(tmp_path, "plan", "grid.yaml")
    assert code == 0, output
    assert "GPU-hours: " in output


def test_a_study_on_stand_ins_of_official_data_sets_sweeps_to_its_tables(
    official_study: Callable[[Path], Path], tmp_path: Path
) -> None:
    file = official_study(tmp_path)
    code, output = orchestrate(tmp_path, "sweep", "grid.yaml")
    assert code == 0, output
    assert output.index("reading data kadid10k") < output.index("Ray dashboard")
    before = Store(tmp_path / "results/store").index()
    assert set(before.values()) == {"done"}
    assert len(before) == len(planned(file, tmp_path))
    for table in ("fr_iqa_by_loss", "iqa_transfer", "optimization_score", "asymmetry"):
        assert STAND_INS in (tmp_path / f"results/official/tables/{table}.md").read_text()
    assert STAND_INS in (tmp_path / "results/official/report.html").read_text()
    code, output = orchestrate(tmp_path, "sweep", "grid.yaml")
    assert (code, "nothing to do" in output, "Ray dashboard" in output) == (0, True, False), output
    assert "reading" not in output
    assert Store(tmp_path / "results/store").index() == before


def planned(file: Path, folder: Path) -> dict[str, plan.Node]:
    """The trials of a grid file by key, with the contents that preflight found in `folder`."""
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        study = matrix.expand(load(file), Manifests.read(folder / "results/store"))
        return plan.build((label.spec for label in study.labels), {}, lambda spec: 1.0).nodes

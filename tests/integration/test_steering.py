"""A running sweep is watched and steered from another terminal, and by its metrics."""

import json
import re
import subprocess
import urllib.request
from pathlib import Path

import psutil

from orchestrator.identity import key
from orchestrator.spec import parents
from orchestrator.spec.kinds import Benchmark
from tests.integration.sweeping import ROOT, Folder, kill, wait_until

GRID = ROOT / "tests/micro.yaml"


def test_a_trial_is_cancelled_and_retried_while_the_sweep_runs(tmp_path: Path) -> None:
    folder = Folder(tmp_path, GRID.read_text())
    assert folder.run("orchestrator", "plan", "grid.yaml")[0] == 0
    benchmark = [label.spec for label in folder.labels() if isinstance(label.spec, Benchmark)][-1]
    ((_, parent),) = parents(benchmark)
    name = key(benchmark)
    folder.store.prepare(parent)
    with folder.store.claim(parent.KIND, key(parent), sweep="another"):  # the sweep then waits for it
        sweep = folder.start()
        output = tmp_path / "sweep.txt"
        (tmp_path / "output.txt").rename(output)  # the next command's has the name from now on
        wait_until(lambda: "Ray dashboard" in output.read_text(), sweep)
        code, told = folder.run("orchestrator", "cancel", name, "--grid", "grid.yaml")
        assert code == 0, told
        wait_until(lambda: f"cancelled: benchmark {name}, as was asked for" in output.read_text(), sweep)
        code, told = folder.run("orchestrator", "status", "grid.yaml", "--json")
        found = json.loads(told)
        assert {one["key"]: one["error"].partition(";")[0] for one in found["failed"]} == {name: "cancelled on request"}
        assert found["running"], "the sweep goes on"
        code, told = folder.run("orchestrator", "retry", name, "--grid", "grid.yaml")
        assert (code, "was failed, runs again" in told) == (0, True), told
    assert sweep.wait(timeout=300) == 0, output.read_text()
    assert f"again: benchmark {name}, as was asked for" in output.read_text()
    outcomes = [attempt["outcome"] for attempt in folder.store.attempts("benchmark", name)]
    assert outcomes == ["cancelled", "started", "done"]
    assert not folder.store.stops_requested()


def scraped(folder: Folder, wanted: set[str], sweep: "subprocess.Popen[bytes]") -> dict[str, list[str]]:
    """Lines by metric at the node's endpoint, once all the wanted ones are there."""
    found: dict[str, list[str]] = {}

    def there() -> bool:
        if address := re.search(r"^metrics: (http://127\.0\.0\.1:\d+/metrics)$", folder.output(), re.MULTILINE):
            with urllib.request.urlopen(address[1], timeout=30) as answer:
                for line in answer.read().decode().splitlines():
                    found.setdefault(line.partition("{")[0], []).append(line)
        return wanted <= found.keys()

    wait_until(there, sweep)
    return found


def title(process: psutil.Process) -> str:
    """What a process is called now; nothing where it has ended meanwhile, waited for or not."""
    try:
        return " ".join(process.cmdline())
    except psutil.NoSuchProcess:
        return ""


def test_metrics_of_the_sweep_and_of_its_trials_stand_at_rays_endpoint(tmp_path: Path) -> None:
    """And a process that runs a trial is called by its name."""
    folder = Folder(tmp_path, GRID.read_text().replace("warmup: {steps: 20,", "warmup: {steps: 10000,"))
    sweep = folder.start()

    def named() -> bool:
        family = psutil.Process(sweep.pid).children(recursive=True)
        return any(title(one).startswith("ray::super_resolution: optimize warm-up") for one in family)

    wait_until(named, sweep)
    trial = {"ray_trial_steps_per_second", "ray_trial_loss", "ray_trial_wait_seconds"}
    found = scraped(
        folder, {"ray_sweep_trials", "ray_sweep_store_bytes", "ray_sweep_trials_ended_total", *trial}, sweep
    )
    assert any('kind="judging"' in line and 'state="waiting"' in line for line in found["ray_sweep_trials"])
    assert all('grid="micro"' in line for line in found["ray_sweep_trials"])
    assert any('kind="super_resolution"' in line and not line.endswith(" 0.0") for line in found["ray_trial_loss"])
    kill(sweep)

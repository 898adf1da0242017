"""How long commands take that run no trial: whole processes, from the command line to its end."""

import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from statistics import median

import yaml

ROOT = Path(__file__).parents[2]
DEMO, FULL = "grids/demo.yaml", "grids/full.yaml"
ROUNDS = 3
SEEDS = {10_000: 4, 100_000: 40}
"""Of the wide grid, by how many trials they make at least."""


def report(device: str) -> str:
    """Seconds of each command as Markdown. Those on a finished sweep of the demo need one."""
    lines = ["| command | seconds (least to most) | target |", "|---|---:|---|"]
    for grid in (DEMO, FULL):
        lines.append(row(f"`plan {grid}`", ["orchestrator", "plan", str(ROOT / grid)], "1 s"))
    with tempfile.TemporaryDirectory(prefix="bench-") as folder:
        for trials, seeds in SEEDS.items():
            grid = Path(folder, f"wide-{trials}.yaml")
            grid.write_text(wide_grid(seeds))
            target = "2 s" if trials == 10_000 else "10 s"
            lines.append(row(f"`plan` of {trials:,} trials", ["orchestrator", "plan", str(grid)], target))
        if not finished():
            return "\n".join([*lines, "", f"On `{DEMO}` not measured: no finished sweep here; `make sweep` first."])
        run(["orchestrator", "sweep", DEMO])  # tables and mirror are up to date after it
        lines.append(row("`make sweep` on the finished demo", ["orchestrator", "sweep", DEMO], "3 s"))
        lines.append(row("`status` of the finished demo", ["orchestrator", "status", DEMO], "2 s"))
        command = ["orchestrator.aggregate", "--grid", DEMO, "--out", folder]
        lines.append(row("`aggregate` on the demo", command, "10 s"))
    return "\n".join([*lines, "", f"Median of {ROUNDS} runs, interpreter and imports included."])


def row(what: str, command: list[str], target: str) -> str:
    """A line of the table."""
    seconds = [run(command) for _ in range(ROUNDS)]
    return f"| {what} | {median(seconds):.2f} ({min(seconds):.2f} to {max(seconds):.2f}) | {target} |"


def run(module: list[str]) -> float:
    """Seconds of `python -m ...`. RuntimeError where it fails."""
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    started = time.perf_counter()
    ended = subprocess.run([sys.executable, "-m", *module], env=environment, capture_output=True, text=True)
    if ended.returncode:
        raise RuntimeError(f"{' '.join(module)} ended with {ended.returncode}:\n{ended.stdout}{ended.stderr}")
    return time.perf_counter() - started


def finished() -> bool:
    """Whether the store of this folder holds every trial of the demo."""
    from orchestrator.sweep import Sweep

    return Path(DEMO).exists() and not Sweep(Path(DEMO)).plan.to_do()


def wide_grid(seeds: int) -> str:
    """YAML of the demo grid with every backbone under every head and start, 20 discriminators besides none, and that
    many seeds."""
    grid = yaml.safe_load((ROOT / DEMO).read_text())
    pretrained = [name for name, level in grid["backbones"].items() if level["weights"] == "pretext"]
    axis = {"head": ["vanilla", "patch"], "backbone": pretrained, "start": ["random", "pretext"]}
    grid["matrix"]["discriminator"] = ["none", axis]
    grid["seeds"] = list(range(seeds))
    return yaml.safe_dump(grid, sort_keys=False)

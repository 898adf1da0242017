"""What the orchestrator itself costs: seconds, memory and disk of trials that do nothing, beside plain Ray Tune.

`python -m tests.bench.orchestration --trials 10000` runs one large sweep instead, with store and mirror: ten minutes.

A sweep starts Ray, so each is a process of its own; the two sides take turns. Start-up drops out: what is timed is from
one trial's end to the end of all, divided by the trials between.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from statistics import median
from typing import Any

ROUNDS, TRIALS, PLAIN = 2, 700, 12
"""Rounds of both sides; no-op trials of a sweep of ours, and of plain Tune: those take seconds each."""
WARM, PLAIN_WARM = 100, 4
"""Trials that do not count: processes are started during them."""


def report(device: str) -> str:
    """Paired rows, memory and disk, as Markdown."""
    bare, plain = [], []
    for _ in range(ROUNDS):
        bare.append(run("bare", TRIALS))
        plain.append(run("plain", PLAIN))
    whole = run("whole", TRIALS)
    times = sorted(a_trial(other, PLAIN_WARM) / a_trial(one, WARM) for one, other in zip(bare, plain, strict=True))
    counts = [len(one["ends"]) - 1 for one in (whole, plain[0])]
    return "\n".join(
        [
            "| a no-op trial | seconds | target |",
            "|---|---:|---|",
            f"| bare ({counts[0]} trials of the demo's graph) | {_seconds(bare, WARM)} | at most 0.05 |",
            f"| `tune.grid_search` with defaults ({counts[1]} trials) | {_seconds(plain, PLAIN_WARM)} | |",
            f"| plain Tune / ours | {median(times):.0f} ({times[0]:.0f} to {times[-1]:.0f}) | at least 20 |",
            f"| with store (fsync) and MLflow, until its last row | {_seconds([whole], WARM)} | at most 0.1 |",
            "",
            f"On disk beyond the trial's folder: {_each(whole, 'state')} a trial of Tune's state (target: 2 KiB), "
            f"{_each(whole, 'mlflow')} of MLflow's mirror, whole blocks counted. Driver's peak memory "
            f"{whole['peak'] / 2**20:.0f} MiB. Plain Tune's seconds are those of its first {counts[1]} trials.",
        ]
    )


def large(trials: int) -> str:
    """One large sweep: whether a trial's time grows, the driver's memory, the disk."""
    found = run("whole", trials)
    ends, count = found["ends"], len(found["ends"]) - 1
    first, last = ((ends[i + 999] - ends[i]) / 999 for i in (WARM, count - 1000))
    return (
        f"{count:,} no-op trials with store and MLflow: {a_trial(found, WARM):.3f} s a trial ({first:.3f} in the first "
        f"thousand, {last:.3f} in the last), the mirror's last row {ends[-1] - ends[-2]:.1f} s after the last trial; "
        f"driver's peak memory {found['peak'] / 2**20:.0f} MiB (target: 1 GiB); on disk a trial "
        f"{_each(found, 'state')} of Tune's state (target: 2 KiB), {_each(found, 'logs')} of Ray's logs, "
        f"{_each(found, 'mlflow')} of MLflow."
    )


def a_trial(found: dict[str, Any], warm: int) -> float:
    """Seconds a trial, from the end of the `warm`th to the end of all."""
    ends = found["ends"]
    return (ends[-1] - ends[warm - 1]) / (len(ends) - 1 - warm)


def _seconds(found: list[dict[str, Any]], warm: int) -> str:
    return f"{median(a_trial(one, warm) for one in found):.3f}"


def _each(found: dict[str, Any], what: str) -> str:
    return f"{found['left'][what] / (len(found['ends']) - 1) / 1024:.2f} KiB"


def run(side: str, trials: int) -> dict[str, Any]:
    """A sweep in a process of its own: `bare`, `whole` or `plain`."""
    clean = {name: value for name, value in os.environ.items() if not name.startswith(("TUNE_", "RAY_"))}
    with tempfile.TemporaryDirectory(prefix="bench-") as folder:
        command = [sys.executable, "-m", "tests.bench.orchestration", "--side", side, "--trials", str(trials), folder]
        ended = subprocess.run(command, env=clean | {"TMPDIR": folder}, capture_output=True, text=True)
        if ended.returncode:
            raise RuntimeError(f"{' '.join(command)} ended with {ended.returncode}:\n{ended.stderr[-4000:]}")
        return json.loads(Path(folder, "found.json").read_text())


def _sweep(side: str, trials: int, folder: Path) -> None:
    if side == "plain":
        found = _plain(trials, folder)
    else:
        from tests.bench import no_op  # sets Tune's variables, which plain Tune must not have

        found = no_op.sweep(side, trials, folder)
    (folder / "found.json").write_text(json.dumps(found))


def _plain(trials: int, folder: Path) -> dict[str, Any]:
    """`tune.grid_search` as its documentation shows it."""
    import ray
    from ray import tune

    ends = folder / "ends"

    def objective(config: dict[str, Any]) -> None:
        with open(ends, "a") as file:
            file.write(f"{time.time()}\n")
        tune.report({"score": config["x"]})

    ray.init(address="local", num_cpus=os.cpu_count(), log_to_driver=False)
    space = {"x": tune.grid_search(list(range(trials)))}
    tune.Tuner(objective, param_space=space, run_config=tune.RunConfig(storage_path=str(folder / "ray"))).fit()
    times = sorted(map(float, ends.read_text().split()))
    return {"ends": [*times, times[-1]]}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--side", choices=["bare", "whole", "plain"], help="one sweep, in this process")
    parser.add_argument("--trials", type=int, default=10_000)
    parser.add_argument("folder", type=Path, nargs="?")
    given = parser.parse_args()
    if given.side:
        _sweep(given.side, given.trials, given.folder)
    else:
        print(large(given.trials))


if __name__ == "__main__":
    main()

"""A sweep of trials that do nothing, so that what is left is the orchestrator.

The plan is the demo's graph with as many seeds as wanted; searcher, Tuner, run_trial, store and mirror are the real
ones. Only the actor differs: `Bare` neither reads nor writes, `Recorded` runs a recipe that returns a record at once.
"""

import os
import sys
import time
from pathlib import Path
from types import ModuleType
from typing import Any

import yaml

from orchestrator import actor, driving, grid, matrix, naming, plan, schedule
from orchestrator.manifests import Manifests
from orchestrator.spec import Trial
from orchestrator.store import Store
from orchestrator.tracking import Mirror
from tests.bench.memory import peak_bytes

DEMO = Path(__file__).parents[2] / "grids" / "demo.yaml"
RECORD = {
    "status": "done",
    "note": "",
    "numbers": {"mean": 0.5, "srcc": 0.5, "plcc": 0.5, "validation_psnr": 25.0},
    "seconds": 0.0,
    "measured": {},
    "peak_bytes": {},
    "device": "none",
    "host": "here",
    "versions": {},
}


class Bare(actor.TrialActor):
    """Neither reads nor writes."""

    def step(self) -> dict[str, Any]:
        return {"trial_status": "done", "done": True}


class Recorded(actor.TrialActor):
    """Runs the real run_trial: the folder is claimed, the history written, record and DONE synced to disk."""

    def setup(self, config: dict[str, Any]) -> None:
        recipes = ModuleType("workers.trial")  # instead of torch and all models
        recipes.run = lambda spec, context: {**RECORD, "numbers": dict(RECORD["numbers"])}
        sys.modules[recipes.__name__] = recipes
        super().setup(config)


class Nowhere(Store):
    """A store that prepares no folders."""

    def prepare(self, spec: Trial) -> Any:
        return None


def planned(trials: int, folder: Path) -> tuple[plan.Plan, dict[str, str], Any]:
    """About that many trials, with names, and where to run them."""
    wanted = yaml.safe_load(DEMO.read_text())
    wanted["seeds"] = list(range(max(1, round(trials / 670))))
    (folder / "grid.yaml").write_text(yaml.safe_dump(wanted, sort_keys=False))
    loaded = grid.load(folder / "grid.yaml")
    study = matrix.expand(loaded, Manifests())
    found = plan.build((label.spec for label in study.labels), {}, lambda spec: 1.0)
    return found, naming.names(study.labels, (node.spec for node in found.nodes.values())), loaded.runtime


def sweep(side: str, trials: int, folder: Path) -> dict[str, Any]:
    """Runs `bare` (no store, no MLflow) or `whole` (both): when each trial ended, when all was written (s since 1970),
    and the driver's peak memory and what Ray and Tune left on disk (bytes)."""
    found, names, runtime = planned(trials, folder)
    whole, ends, left = side == "whole", [], {}
    schedule.TrialActor = Recorded if whole else Bare
    store = (Store if whole else Nowhere)(folder / "store")
    tags = {"sweep": "bench", "grid": "bench", "labels": "none"}
    mirror = Mirror(str(folder / "mlflow.db"), "bench", store, names, tags) if whole else None
    shutdown = schedule.ray.shutdown

    def weigh_and_shut_down() -> None:  # once the driver is gone, so is its scratch
        session = session_folder()
        scratch = max(Path(os.environ["TMPDIR"]).glob("sweep-tune-*"), key=os.path.getmtime)
        left["logs"] = weigh(session / "logs")
        left["state"] = weigh(session / "artifacts") + weigh(scratch)
        shutdown()

    def ended(node: plan.Node, status: str) -> None:
        assert status == "done", (node.key, status)
        ends.append(time.time())
        if mirror:
            mirror.add(node)

    schedule.ray.shutdown = weigh_and_shut_down
    stop, listener = driving.Stop(store, "stop"), driving.Listener(lambda address, queue: None, ended, print)
    schedule.run(found, store, runtime, stop, {}, listener, "no-op", {})
    if mirror:
        mirror.close("FINISHED")
        assert not mirror.faults, mirror.faults
        left["mlflow"] = weigh(folder / "mlflow.db") + weigh(folder / "mlartifacts")
    ends.append(time.time() if whole else ends[-1])
    return {"ends": ends, "peak": peak_bytes(), "left": left}


def session_folder() -> Path:
    """Where the running Ray keeps its files."""
    return Path(schedule.ray._private.worker.global_worker.node.get_session_dir_path())


def weigh(path: Path) -> int:
    """Bytes that a file, or a folder with all below it, takes on disk: blocks of folders count."""
    files = [path, *path.rglob("*")] if path.is_dir() else [path]
    return sum(file.lstat().st_blocks * 512 for file in files if os.path.lexists(file))

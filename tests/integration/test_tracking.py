"""The mirror is idempotent by key, continues where a kill cut it, and its faults cost nothing but itself."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from mlflow import MlflowClient

from orchestrator import matrix, naming, plan
from orchestrator.grid import load
from orchestrator.manifests import Manifests
from orchestrator.mirror_reader import Reader
from orchestrator.spec import TRAINING_KINDS
from orchestrator.store import Store, identity_record
from orchestrator.tracking import Mirror, Writer
from tests.integration.sweeping import ROOT, wait_until

GRID = Path(__file__).parents[1] / "micro.yaml"
pytestmark = [
    pytest.mark.filterwarnings("ignore:The ``noload`` loader strategy is deprecated"),  # MLflow's use of SQLAlchemy
    pytest.mark.filterwarnings("ignore::ResourceWarning"),  # MLflow keeps its SQLite connections until exit
]


class Finished:
    """A store in which every trial of the micro grid has a record, and what the mirror needs beside it."""

    def __init__(self, folder: Path) -> None:
        self.uri = str(folder / "mlflow.db")
        self.store = Store(folder / "store")
        study = matrix.expand(load(GRID), Manifests())
        self.nodes = list(plan.build((label.spec for label in study.labels), {}, lambda spec: 1.0).nodes.values())
        self.names = naming.names(study.labels, (node.spec for node in self.nodes))
        for number, node in enumerate(self.nodes):
            self.finish(node, {"mean": float(number), "srcc": 0.5})

    def finish(self, node: plan.Node, numbers: dict[str, float], curve: float = 0.5) -> None:
        """Runs a trial, again where it is finished."""
        if self.store.status(node.kind, node.key):
            self.store.reopen(node.kind, node.key, lambda: "again")
        self.store.prepare(node.spec)
        out = self.store.workspace(node.kind, node.key)
        points = {"step": [0, 1], "name": ["loss", "loss"], "value": [1.0, curve]}
        pq.write_table(pa.table(points), out / "curves.parquet")
        record = {**identity_record(node.spec), "status": "done", "numbers": numbers, "seconds": 1.0}
        self.store.finish(out, record)

    def writer(self) -> Writer:
        return Writer(self.uri, "micro", self.store, self.names, {"sweep": "abc"})

    def contents(self) -> dict[str, Any]:
        """Everything that a person sees in MLflow, without its random ids and times."""
        client = MlflowClient(f"sqlite:///{self.uri}")
        experiment = client.get_experiment_by_name("micro")
        runs = client.search_runs([experiment.experiment_id], max_results=1000)
        own = ("kind", "key", "sweep", "mirrored")
        seen = {}
        for run in runs:
            curve = client.get_metric_history(run.info.run_id, "curve/loss")
            seen[run.info.run_id] = {
                "metrics": dict(run.data.metrics),
                "params": dict(run.data.params),
                "tags": {name: run.data.tags[name] for name in own if name in run.data.tags},
                "curve": [(point.step, point.value) for point in curve],
            }
        names = {run.info.run_id: f"{run.info.run_name} {run.data.tags.get('key', '')}" for run in runs}
        assert len(set(names.values())) == len(names), "a trial is mirrored twice"
        return {names[number]: content for number, content in seen.items()}


@pytest.fixture
def finished(tmp_path: Path) -> Finished:
    return Finished(tmp_path)


def test_writing_again_changes_nothing(finished: Finished) -> None:
    seen = []
    for _ in range(2):
        writer = finished.writer()
        for node in finished.nodes + finished.nodes:
            writer.write(node)
        writer.close("FINISHED")
        seen.append(finished.contents())
    contents = seen[1]
    assert contents == seen[0]
    training = [node for node in finished.nodes if node.kind in TRAINING_KINDS]
    assert len(contents) == len(training) + 1
    optimized = next(v for k, v in contents.items() if k.startswith("optimize vgg-r under patch-convnext-pretext"))
    assert optimized["curve"] == [(0, 1.0), (1, 0.5)]
    assert optimized["metrics"].keys() >= {"natural/piqe", "natural/psnr", "seconds"}


def test_a_trial_that_came_back_with_other_bits_is_written_again(finished: Finished) -> None:
    def mirrored() -> Writer:
        writer = finished.writer()
        for node in finished.nodes:
            writer.write(node)
        writer.close("FINISHED")
        return writer

    first = mirrored()
    trained = next(node for node in finished.nodes if node.kind == "super_resolution" and node.spec.start is not None)
    judged = [
        node
        for node in finished.nodes
        if node.kind == "judging" and first.links()["runs"][node.key] == first.runs[trained.key]
    ]
    benchmark = next(node for node in finished.nodes if node.kind == "benchmark")
    finished.finish(trained, {"validation_psnr": 31.0}, curve=0.25)
    finished.finish(benchmark, {"srcc": 0.75}, curve=0.25)
    runs = mirrored().links()["runs"]
    client = MlflowClient(f"sqlite:///{finished.uri}")
    assert "superseded" in client.get_run(first.runs[trained.key]).data.tags
    new = client.get_run(runs[trained.key])
    assert new.info.run_id != first.runs[trained.key]
    assert new.data.metrics["validation_psnr"] == 31.0
    assert new.data.metrics["curve/loss"] == 0.25
    assert judged
    assert {runs[node.key] for node in judged} == {new.info.run_id}
    assert client.get_run(runs[benchmark.key]).data.metrics[f"{benchmark.spec.data.name}/srcc"] == 0.75
    assert runs == Reader(finished.uri, "micro").runs == mirrored().links()["runs"]
    assert {name for name, run in runs.items() if run != first.links()["runs"][name]} == {
        trained.key,
        *(node.key for node in judged),
    }


def test_a_cut_mirror_is_completed(finished: Finished, tmp_path: Path) -> None:
    whole = finished.writer()
    for node in finished.nodes:
        whole.write(node)
    expected = finished.contents()
    finished.uri = str(tmp_path / "cut.db")
    cut = finished.writer()
    for node in finished.nodes[: len(finished.nodes) // 2]:
        cut.write(node)
    begun = next(node for node in finished.nodes if node.kind in TRAINING_KINDS and node.key not in cut.runs)
    cut._start(finished.names[begun.key], {"key": begun.key})
    again = finished.writer()
    for node in finished.nodes:
        again.write(node)
    contents = finished.contents()
    assert {json.dumps(x["metrics"], sort_keys=True) for x in contents.values()} == {
        json.dumps(x["metrics"], sort_keys=True) for x in expected.values()
    }
    assert len(contents) == len(expected)


def test_a_database_whose_making_was_killed_is_made_again(finished: Finished) -> None:
    """Left half made, MLflow could never open it."""
    code = f"from orchestrator.tracking import make_database; make_database({finished.uri!r})"
    with subprocess.Popen([sys.executable, "-c", code], cwd=ROOT, stderr=subprocess.DEVNULL) as process:
        wait_until(Path(finished.uri).with_name(".mlflow.db.new").exists, process)
        process.kill()
    assert not Path(finished.uri).exists()
    writer = finished.writer()
    assert {path.name for path in Path(finished.uri).parent.glob("*mlflow.db*")} == {"mlflow.db", ".mlflow.db.lock"}
    for node in finished.nodes:
        writer.write(node)
    assert len(finished.contents()) == 1 + sum(node.kind in TRAINING_KINDS for node in finished.nodes)


def test_faults_are_kept_and_raise_nothing(finished: Finished, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("no folder")
    mirror = Mirror(str(tmp_path / "file" / "mlflow.db"), "micro", finished.store, finished.names, {"sweep": "abc"})
    for node in finished.nodes:
        mirror.add(node)
    mirror.close("FINISHED")
    assert len(mirror.faults) == 1
    assert "file" in mirror.faults[0]


def test_what_a_passing_fault_has_cost_is_written_at_the_end(finished: Finished, tmp_path: Path) -> None:
    whole = finished.writer()
    for node in finished.nodes:
        whole.write(node)
    whole.close("FINISHED")
    expected = finished.contents()
    finished.uri = str(tmp_path / "folder" / "mlflow.db")
    (tmp_path / "folder").write_text("for now no folder")
    mirror = Mirror(finished.uri, "micro", finished.store, finished.names, {"sweep": "abc"})
    for node in finished.nodes:
        mirror.add(node)
    while len(mirror.missed) < len(finished.nodes):  # until all have met the fault
        mirror.thread.join(0.01)
    (tmp_path / "folder").unlink()
    mirror.close("FINISHED")
    assert mirror.faults == []
    contents = finished.contents()
    assert sorted(str(run["metrics"]) for run in contents.values()) == sorted(
        str(run["metrics"]) for run in expected.values()
    )

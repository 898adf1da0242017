"""The mirror is idempotent by key, continues where a kill cut it, and its faults cost nothing but itself."""

import http.server
import json
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from mlflow import MlflowClient

from orchestrator import matrix, naming, plan, tracking
from orchestrator.grid import load
from orchestrator.manifests import Manifests
from orchestrator.mirror_reader import MirrorError, Reader
from orchestrator.spec import TRAINING_KINDS
from orchestrator.store import Store, identity_record
from orchestrator.tracking import Mirror, Writer
from tests.chaos.faults import silent_port
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
        self.levels = naming.tags(study.labels)
        for number, node in enumerate(self.nodes):
            self.finish(node, {"mean": float(number), "srcc": 0.5})

    def finish(self, node: plan.Node, numbers: dict[str, float], curve: float = 0.5, weights: bytes = b"") -> None:
        """Runs a trial, again where it is finished."""
        if self.store.status(node.kind, node.key):
            self.store.reopen(node.kind, node.key, lambda: "again")
        self.store.prepare(node.spec)
        points = {"step": [0, 1], "name": ["loss", "loss"], "value": [1.0, curve]}
        record = {**identity_record(node.spec), "status": "done", "numbers": numbers, "seconds": 1.0}
        with self.store.claim(node.kind, node.key):
            out = self.store.workspace(node.kind, node.key)
            pq.write_table(pa.table(points), out / "curves.parquet")
            if weights:
                (out / "weights").mkdir()
                (out / "weights/backbone.safetensors").write_bytes(weights)
            self.store.finish(out, record)

    def writer(self) -> Writer:
        return Writer(self.uri, "micro", self.store, self.names, {"sweep": "abc"}, self.levels)

    def runs(self) -> list[Any]:
        """MLflow's, newest first."""
        client = MlflowClient(f"sqlite:///{self.uri}")
        return client.search_runs([client.get_experiment_by_name("micro").experiment_id], max_results=1000)

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


def test_a_run_is_tagged_with_its_levels_and_lists_its_data(finished: Finished) -> None:
    writer = finished.writer()
    for node in finished.nodes:
        writer.write(node)
    runs = {run.info.run_name: run for run in finished.runs()}
    optimized = runs["optimize vgg-r under patch-convnext-pretext, seed 0"]
    levels = {"kind": "super_resolution", "loss": "vgg-r", "discriminator": "patch-convnext-pretext", "seed": "0"}
    assert levels.items() <= optimized.data.tags.items()
    model = next(run for name, run in runs.items() if name.startswith("IQA model fr convnext from gan (vgg-r"))
    assert {"initialization": "gan", "task": "fr", "start": "pretext"}.items() <= model.data.tags.items()
    used = {one.tags[0].value: one.dataset for one in optimized.inputs.dataset_inputs}
    assert used.keys() == {"training", "validation"}
    assert used["training"].name == "train"
    assert used["training"].digest != used["validation"].digest


def test_a_running_training_has_live_metrics_in_the_run_that_it_ends_in(finished: Finished) -> None:
    first, other = [node for node in finished.nodes if node.kind == "pretext" or node.kind == "super_resolution"][:2]
    writer = finished.writer()
    for step in (10, 20):
        said = {
            "step": step,
            "steps": 40,
            "per_second": 2.0,
            "host_bytes": 5e8,
            "cpus": 0.9,
            "values": {"loss": 1 / step},
        }
        writer.live(first, said)
        writer.live(other, said)
    run = next(run for run in finished.runs() if run.data.tags.get("key") == first.key)
    assert (run.info.status, run.data.tags["status"]) == ("RUNNING", "running")
    client = MlflowClient(f"sqlite:///{finished.uri}")
    points = client.get_metric_history(run.info.run_id, "live/loss")
    assert [(point.step, point.value) for point in points] == [(10, 0.1), (20, 0.05)]
    assert {"live/progress": 0.5, "live/steps_per_second": 2.0}.items() <= run.data.metrics.items()
    taken = {"system/process_memory_megabytes": 500.0, "system/process_cpu_utilization_percentage": 90.0}
    assert taken.items() <= run.data.metrics.items()
    writer.write(first)
    writer.close("FAILED")
    by_key = {run.data.tags.get("key"): run for run in finished.runs()}
    assert len(by_key) == 3
    assert by_key[first.key].info.run_id == run.info.run_id
    assert by_key[first.key].info.status == "FINISHED"
    assert by_key[first.key].data.tags["status"] == "done"
    assert by_key[other.key].info.status == "FAILED"
    assert set(writer.links()["runs"]) == {first.key}, "what has not ended has nothing to show yet"


@pytest.mark.parametrize("weights", ["copy", "link", "none"])
def test_weights_are_copied_linked_or_left(weights: Any, finished: Finished) -> None:
    node = next(node for node in finished.nodes if node.kind == "pretext")
    folder = finished.store.folder(node.kind, node.key)
    finished.finish(node, {}, weights=b"x")
    writer = Writer(finished.uri, "micro", finished.store, finished.names, {"sweep": "abc"}, weights=weights)
    writer.write(node)
    client = MlflowClient(f"sqlite:///{finished.uri}")
    run = client.get_run(writer.runs[node.key])
    copied = [file.path for file in client.list_artifacts(run.info.run_id, "weights")]
    assert copied == (["weights/backbone.safetensors"] if weights == "copy" else [])
    assert run.data.tags.get("weights") == (str(folder / "weights") if weights == "link" else None)


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("weights/backbone.safetensors", b"y"),
        ("weights/backbone.safetensors", None),
        ("curves.parquet", b"PAR1"),
        ("spec.json", b"{}"),
    ],
)
def test_a_damaged_file_is_told_and_not_copied(name: str, content: bytes | None, finished: Finished) -> None:
    node = next(node for node in finished.nodes if node.kind == "pretext")
    finished.finish(node, {}, weights=b"x")
    file = finished.store.folder(node.kind, node.key) / name
    whole = file.read_bytes()
    file.unlink() if content is None else file.write_bytes(content)
    mirror = Mirror(finished.uri, "micro", finished.store, finished.names, {"sweep": "abc"})
    mirror.add(node)
    mirror.close("FINISHED")
    (told,) = mirror.faults
    assert told.startswith(f"Damaged: {node.kind}/{node.key}: {name} is not what was written, or not there; next: ")
    assert [run for run in finished.runs() if "key" in run.data.tags] == []
    file.write_bytes(whole)
    finished.writer().write(node)
    assert finished.writer().complete.keys() == {node.key}


def test_tables_and_report_lie_with_the_parent_run(finished: Finished, tmp_path: Path) -> None:
    results = tmp_path / "results"
    (results / "tables").mkdir(parents=True)
    (results / "tables/a.csv").write_text("1")
    client = MlflowClient(f"sqlite:///{finished.uri}")
    for report in ("one", "two"):
        (results / "report.html").write_text(report)
        mirror = Mirror(finished.uri, "micro", finished.store, finished.names, {"sweep": "abc"})
        mirror.close("FINISHED")
        mirror.publish(results)
        assert mirror.faults == []
        parent = next(run for run in finished.runs() if run.data.tags.get("sweep") == "abc")
        artifacts = client.list_artifacts(parent.info.run_id)
        assert sorted(file.path for file in artifacts) == ["report.html", "tables"]
        assert Path(client.download_artifacts(parent.info.run_id, "report.html")).read_text() == report


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


def test_a_server_that_never_answers_is_given_up_soon(finished: Finished, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tracking, "ANSWER_SECONDS", 0.2)
    with silent_port() as port:
        finished.uri = f"http://127.0.0.1:{port}"
        mirror = Mirror(finished.uri, "micro", finished.store, finished.names, {"sweep": "abc"})
        for node in finished.nodes:
            mirror.add(node)
        mirror.close("FINISHED")
    assert mirror.faults == [f"ConnectionError: {finished.uri} does not answer within 0.2 s: timed out"]


def test_a_servers_address_may_have_a_name_and_a_password_which_are_not_shown(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tracking, "ANSWER_SECONDS", 0.2)
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")

    class Answer(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            if self.path == "/health":
                self.send_error(401)

        def log_message(self, *_: object) -> None:
            pass

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Answer) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        place = f"http://me:secret@127.0.0.1:{server.server_port}"
        tracking.client_of(place)
        mirror = Mirror(place, "micro", Store(tmp_path), {}, {"sweep": "abc"})
        mirror.close("FINISHED")
        with pytest.raises(MirrorError) as unread:
            Reader(place, "micro")
        server.shutdown()
    assert mirror.faults
    assert "127.0.0.1" in mirror.faults[0]
    assert not any("secret" in said for said in (*mirror.faults, str(unread.value)))
    with silent_port() as port, pytest.raises(ConnectionError) as told:
        tracking.client_of(f"http://me:secret@127.0.0.1:{port}")
    assert str(told.value) == f"http://127.0.0.1:{port} does not answer within 0.2 s: timed out"


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

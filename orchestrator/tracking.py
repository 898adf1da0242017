"""MLflow as a mirror of the store: the only file that imports mlflow. Losing its database loses nothing.

One experiment a grid, one parent run a sweep of that grid, one child run a training trial, named readably and tagged
with its key. Evaluations are metrics of the trial that they evaluate: `<data set>/srcc` of a metric or IQA model,
`<test set>/<judge>` of a super-resolution trial. Mirroring is idempotent by key: what is there is not written again.
"""

import json
import logging
import os
import queue
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from mlflow import MlflowClient
from mlflow.entities import Metric, Param, RunStatus

from orchestrator import spec as specs
from orchestrator.identity import key, spec_json
from orchestrator.plan import Node
from orchestrator.store import Store

os.environ.setdefault("MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR", "false")
for noisy in ("mlflow.store.db.utils", "alembic"):
    logging.getLogger(noisy).setLevel(logging.WARNING)  # the set-up of a new database is not news to a person

METRICS_PER_REQUEST = 1000  # MLflow's limit; 100 for parameters
PARAMETERS_PER_REQUEST = 100


class Mirror:
    """Writes finished trials to MLflow, in a thread of its own so that the sweep does not wait for a database.

    `uri`: a path of a SQLite file, or a tracking server's address. A fault of MLflow is kept in `faults` and costs the
    mirror, never the sweep; the next sweep fills what is missing from the store.
    """

    def __init__(self, uri: str, experiment: str, store: Store, names: dict[str, str], tags: dict[str, str]) -> None:
        self.uri, self.experiment, self.store, self.names, self.tags = uri, experiment, store, names, tags
        self.faults: list[str] = []
        self.waiting: queue.SimpleQueue[Node | None] = queue.SimpleQueue()
        self.thread = threading.Thread(target=self._work, name="mlflow", daemon=True)
        self.thread.start()

    def add(self, node: Node) -> None:
        """Queues a finished trial. Parents come before children, as trials finish."""
        self.waiting.put(node)

    def close(self, status: str) -> None:
        """Waits until all that was added is written, and ends the parent run: FINISHED, FAILED or KILLED."""
        self.waiting.put(None)
        self.thread.join()
        if not self.faults:
            self._guarded(lambda: self.writer.close(status))

    def _work(self) -> None:
        self._guarded(self._open)
        while (node := self.waiting.get()) is not None:
            if not self.faults:
                self._guarded(lambda node=node: self.writer.write(node))

    def _open(self) -> None:
        self.writer = Writer(self.uri, self.experiment, self.store, self.names, self.tags)

    def _guarded(self, action: Any) -> None:
        try:
            action()
        except Exception as error:  # MLflow raises whatever its database, server or file system raises
            logging.getLogger(__name__).debug("mirroring failed", exc_info=True)
            self.faults.append(f"{type(error).__name__}: {str(error).splitlines()[0] if str(error) else ''}")


class Writer:
    """Writes to MLflow what it does not have yet. Raises what MLflow raises."""

    def __init__(self, uri: str, experiment: str, store: Store, names: dict[str, str], tags: dict[str, str]) -> None:
        self.store, self.names = store, names
        self.client = MlflowClient(tracking_uri(uri))
        found = self.client.get_experiment_by_name(experiment)
        location = None if "://" in uri else artifact_location(uri)
        self.experiment = (
            found.experiment_id if found else self.client.create_experiment(experiment, artifact_location=location)
        )
        runs = list(self._runs())
        self.runs: dict[str, str] = {run.data.tags["key"]: run.info.run_id for run in runs if "key" in run.data.tags}
        self.metrics = {run.info.run_id: set(run.data.metrics) for run in runs}
        self.complete = {run.data.tags["key"] for run in runs if run.data.tags.get("mirrored") == "whole"}
        sweep = tags["sweep"]
        parent = next((run for run in runs if run.data.tags.get("sweep") == sweep and "key" not in run.data.tags), None)
        self.parent = parent.info.run_id if parent else self._start(f"sweep {experiment}", tags)
        self.client.update_run(self.parent, status="RUNNING")

    def write(self, node: Node) -> None:
        """Mirrors one finished trial, wherever it belongs."""
        if node.kind in specs.TRAINING_KINDS:
            self._training(node)
        elif node.kind in ("benchmark", "judging"):
            self._evaluation(node)

    def close(self, status: str) -> None:
        """Ends the parent run."""
        self.client.set_terminated(self.parent, status)

    def _training(self, node: Node) -> None:
        if node.key in self.complete:
            return
        record = self.store.record(node.kind, node.key)
        run = self.runs.get(node.key) or self._start(self.names[node.key], self._tags(node, record))
        self.runs[node.key] = run
        folder = self.store.folder(node.kind, node.key)
        for parameters in _chunks(parameters_of(node.spec), PARAMETERS_PER_REQUEST):
            self.client.log_batch(run, params=[Param(name, value) for name, value in parameters])
        points = [Metric(name, value, 0, 0) for name, value in record["numbers"].items()]
        points += [Metric("seconds", record["seconds"], 0, 0), *_curves(folder)]
        for metrics in _chunks(points, METRICS_PER_REQUEST):
            self.client.log_batch(run, metrics=metrics)
        for file in sorted((folder / "weights").glob("*")):
            self.client.log_artifact(run, str(file), "weights")
        self.client.set_tag(run, "mirrored", "whole")
        self.client.set_terminated(run, RunStatus.to_string(RunStatus.FINISHED))
        self.complete.add(node.key)

    def _evaluation(self, node: Node) -> None:
        run, values = self._evaluated(node)
        known = self.metrics.setdefault(run, set())
        if not known >= set(values):
            self.client.log_batch(run, metrics=[Metric(name, value, 0, 0) for name, value in values.items()])
            known |= set(values)

    def _evaluated(self, node: Node) -> tuple[str, dict[str, float]]:
        """Run of the evaluated trial, and the metrics that this evaluation adds to it."""
        numbers = self.store.record(node.kind, node.key)["numbers"]
        if isinstance(node.spec, specs.Benchmark):
            measured = {f"{node.spec.data.name}/{name}": value for name, value in numbers.items()}
            return self._run_of(node.spec.model), measured
        assert isinstance(node.spec, specs.Judging)
        assert isinstance(node.spec.restoration, specs.Restoration)
        generator = node.spec.restoration.super_resolution
        name = f"{node.spec.test.name}/{node.spec.judge.metric}"
        if generator is None:
            return self.parent, {f"bicubic/{name}": numbers["mean"]}
        return self._run_of(generator), {name: numbers["mean"]}

    def _run_of(self, trained: Any) -> str:
        run: str = self.runs[key(trained)]
        return run

    def _start(self, name: str, tags: dict[str, str]) -> str:
        run = self.client.create_run(self.experiment, run_name=name, tags=tags)
        return str(run.info.run_id)

    def _tags(self, node: Node, record: dict[str, Any]) -> dict[str, str]:
        provenance = {name: str(value) for name, value in record.get("provenance", {}).items()}
        parents = " ".join(parent["key"] for parent in record["parents"].values())
        own = {"kind": node.kind, "key": node.key, "status": record["status"], "parents": parents}
        return {"mlflow.parentRunId": self.parent, **own, **provenance}

    def _runs(self) -> Iterator[Any]:
        """All runs of the experiment: search_runs alone silently ends at 1,000."""
        token: str | None = None
        while token is None or token:
            page = self.client.search_runs([self.experiment], max_results=1000, page_token=token)
            yield from page
            token = page.token or ""


def tracking_uri(place: str) -> str:
    """A server's address as it is; a path as a SQLite address. Creates the folder."""
    if "://" in place:
        return place
    Path(place).resolve().parent.mkdir(parents=True, exist_ok=True)
    return f"sqlite:///{Path(place).resolve()}"


def artifact_location(place: str) -> str:
    """Artifacts lie beside the database."""
    return (Path(place).resolve().parent / "mlartifacts").as_uri()


def parameters_of(trial: specs.Trial) -> list[tuple[str, str]]:
    """(dotted name, value) of the trial's settings. MLflow holds at most 6,000 characters each: long lists are cut."""
    return [(name, text[:500]) for name, text in _flat(json.loads(spec_json(trial)))]


def _flat(value: Any, path: str = "") -> Iterator[tuple[str, str]]:
    if isinstance(value, dict) and value:
        for name, item in value.items():
            yield from _flat(item, f"{path}.{name}" if path else name)
    elif isinstance(value, list) and value and isinstance(value[0], dict):
        yield path, " ".join(str(item.get("name", item)) for item in value)
    else:
        yield path, str(value)


def _curves(folder: Path) -> list[Metric]:
    import pyarrow.parquet as pq

    table = pq.read_table(folder / "curves.parquet").to_pylist() if (folder / "curves.parquet").exists() else []
    return [Metric(f"curve/{row['name']}", row["value"], 0, row["step"]) for row in table]


def _chunks(items: list[Any], size: int) -> Iterator[list[Any]]:
    return (items[start : start + size] for start in range(0, len(items), size))

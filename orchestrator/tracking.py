"""MLflow as a mirror of the store: the only file that imports mlflow. Losing its database loses nothing.

One experiment a grid, one parent run a sweep of that grid, one child run a training trial, named readably and tagged
with its key. Evaluations are metrics of the trial that they evaluate: `<data set>/srcc` of a metric or IQA model,
`<test set>/<judge>` of a super-resolution trial. Mirroring is idempotent by key and content: what is there is not
written again, and a training that came back with other bits gets a run of its own, its old one the tag `superseded`.
Runs hold the files of their trials too, as mirrored.py lays them out, so that losing the store loses no table either.
While a training runs its run has `live/` and `system/` metrics, every half minute; the parent run has the last tables
and report.
"""

import http.client
import logging
import os
import queue
import ssl
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

from mlflow import MlflowClient
from mlflow.artifacts import download_artifacts
from mlflow.entities import Dataset, DatasetInput, InputTag, Metric, Param, RunStatus, RunTag

from orchestrator import lease, manifests, mirrored
from orchestrator import spec as specs
from orchestrator.disk import sha256
from orchestrator.identity import key
from orchestrator.plan import Node
from orchestrator.store import FINISHED, Damaged, Store

os.environ.setdefault("MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR", "false")
os.environ.setdefault("MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT", "true")  # two lines a run, with a server
# A server that stops answering is given up after two minutes, not after twenty: the mirror tries again at the end.
os.environ.setdefault("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "3")
os.environ.setdefault("MLFLOW_HTTP_REQUEST_TIMEOUT", "30")
logging.getLogger("alembic").setLevel(logging.WARNING)  # the set-up of a new database is not news to a person
logging.getLogger("mlflow.store.db.utils").setLevel(logging.CRITICAL)  # nor are tracebacks: a line tells of faults

METRICS_PER_REQUEST = 1000  # MLflow's limit; 100 for parameters
PARAMETERS_PER_REQUEST = 100
WITH_FILES = "with files"
"""The tag `mirrored` of a training trial's run that has all. Of a version that mirrored no files it is `whole`."""
SUPERSEDED = "superseded"
"""The tag of a run whose trial came back with other bits: the digest of those."""
CONTENT = 8
"""Digits of the digest of a trial's files that tell one version of them from another."""
UNKNOWN = ""
"""What stands for them in mirrors of versions that did not say."""
SYSTEM = {
    "host_bytes": ("process_memory_megabytes", 1e6),
    "gpu_bytes": ("gpu_memory_megabytes", 1e6),
    "cpus": ("process_cpu_utilization_percentage", 0.01),
}
"""What running trials say of their machine: its name below `system/`, where MLflow's pages look, and its unit."""
LIVE_SECONDS = 30.0
"""Between two looks at running trials."""
ANSWER_SECONDS = 10.0
"""In which a server must answer before it is used."""
Levels = Mapping[str, Mapping[str, str]]
"""By key: the levels of the matrix that a trial answers for, as tags."""
Running = Callable[[], list[Node]]


class Mirror:
    """Writes finished trials to MLflow, in a thread of its own so that the sweep does not wait for a database.

    `uri`: a path of a SQLite file, or a tracking server's address. After a fault of MLflow all that was not written is
    tried once more at the end. What fails then is kept in `faults`, and costs the mirror, never the sweep; the next
    sweep fills what is missing from the store.
    """

    def __init__(
        self,
        uri: str,
        experiment: str,
        store: Store,
        names: dict[str, str],
        tags: dict[str, str],
        levels: Levels | None = None,
        weights: mirrored.Weights = "copy",
    ) -> None:
        self.uri, self.store = uri, store
        self.experiment = experiment
        self.make: Callable[[], Writer] = lambda: Writer(uri, experiment, store, names, tags, levels, weights)
        self.running: Running = list
        """What runs now, for `live/` metrics; the sweep says it."""
        self.faults: list[str] = []
        self.missed: list[Node] = []
        self.writer: Any = None
        self.waiting: queue.SimpleQueue[Node | None] = queue.SimpleQueue()
        self.thread = threading.Thread(target=self._work, name="mlflow", daemon=True)
        self.thread.start()

    def add(self, node: Node) -> None:
        """Queues a finished trial. Parents come before children, as trials finish."""
        self.waiting.put(node)

    def close(self, status: str) -> None:
        """Waits until all that was added is written, ends the parent run (FINISHED, FAILED or KILLED) and leaves links
        to all runs in the store."""
        self.waiting.put(None)
        self.thread.join()
        if self.faults:
            missed, self.missed, self.faults = self.missed, [], []
            self._guarded(self._open)
            for node in missed:
                self._write(node)
        if not self.faults:
            self._guarded(lambda: self.writer.close(status))
        if self.writer:
            self._guarded(lambda: mirrored.write_links(self.store.root, self.experiment, self.writer.links()))

    def publish(self, results: Path) -> None:
        """Keeps a sweep's tables and report, where there are any, with its parent run, in the place of others. After
        `close`; not where that has met a fault."""
        if not self.faults and (results / "report.html").exists():
            self._guarded(lambda: self.writer.publish(results))

    def _work(self) -> None:
        self._guarded(self._open)
        looked = time.monotonic()
        while True:
            try:
                node = self.waiting.get(timeout=max(LIVE_SECONDS - (time.monotonic() - looked), 0.01))
            except queue.Empty:
                looked = time.monotonic()
                if not self.faults:
                    self._guarded(self._tell_live)
                continue
            if node is None:
                return
            self._write(node)

    def _tell_live(self) -> None:
        for node in self.running():
            if node.kind in specs.TRAINING_KINDS and (said := self.store.progress(node.kind, node.key)):
                self.writer.live(node, said)

    def _write(self, node: Node) -> None:
        if not self.faults:
            self._guarded(lambda: self._fetched(node))
        if self.faults:
            self.missed.append(node)

    def _fetched(self, node: Node) -> None:
        if self.store.status(node.kind, node.key) not in FINISHED:  # it ran on another node
            self.store.fetch(node.kind, node.key)
        self.writer.write(node)

    def _open(self) -> None:
        self.writer = self.make()

    def _guarded(self, action: Any) -> None:
        try:
            action()
        except Exception as error:  # MLflow raises whatever its database, server or file system raises
            logging.getLogger(__name__).debug("mirroring failed", exc_info=True)
            said = f"{type(error).__name__}: {str(error).splitlines()[0] if str(error) else ''}"
            self.faults.append(mirrored.public(self.uri, said))


class Writer:
    """Writes to MLflow what it does not have yet. Raises what MLflow raises."""

    def __init__(
        self,
        uri: str,
        experiment: str,
        store: Store,
        names: dict[str, str],
        tags: dict[str, str],
        levels: Levels | None = None,
        weights: mirrored.Weights = "copy",
    ) -> None:
        self.store, self.names, self.levels, self.weights = store, names, levels or {}, weights
        make_database(uri)
        self.client = client_of(uri)
        found = self.client.get_experiment_by_name(experiment)
        location = None if "://" in uri else artifact_location(uri).as_uri()
        self.experiment: str = (
            found.experiment_id if found else self.client.create_experiment(experiment, artifact_location=location)
        )
        runs = list(runs_of(self.client, self.experiment))
        valid = [run for run in runs if SUPERSEDED not in run.data.tags]
        self.runs: dict[str, str] = {run.data.tags["key"]: run.info.run_id for run in valid if "key" in run.data.tags}
        whole = [run.data.tags for run in valid if run.data.tags.get("mirrored") == WITH_FILES]
        self.complete = {tags["key"]: tags.get("content", UNKNOWN) for tags in whole}
        self.begun: set[str] = set()
        """Keys of trainings whose runs have live metrics of this sweep."""
        self.evaluations = {run.info.run_id: evaluations_of(run) for run in reversed(valid)}
        sweep = tags["sweep"]
        parent = next((run for run in runs if run.data.tags.get("sweep") == sweep and "key" not in run.data.tags), None)
        self.parent = parent.info.run_id if parent else self._start(f"sweep {experiment}", tags)
        self.client.update_run(self.parent, status="RUNNING")
        self._manifests(parent.data.tags if parent else {})

    def write(self, node: Node) -> None:
        """Mirrors one finished trial, wherever it belongs."""
        if node.kind in specs.TRAINING_KINDS:
            self._training(node)
        elif node.kind in ("benchmark", "judging"):
            self._evaluation(node)

    def live(self, node: Node, said: Mapping[str, Any]) -> None:
        """Notes how far a running training is, `live/loss` and the like, and what it takes, `system/...`, by step."""
        if not said.get("steps"):
            return
        run = self.runs.get(node.key) or self._start(self.names[node.key], self._tags(node, {}))
        self.runs[node.key] = run
        self.begun.add(node.key)
        now, step = round(1000 * time.time()), int(said["step"])
        values = {**said.get("values", {}), "progress": step / said["steps"]}
        values |= {"steps_per_second": said["per_second"]} if "per_second" in said else {}
        metrics = [Metric(f"live/{name}", float(value), now, step) for name, value in values.items()]
        used = [(*SYSTEM[name], said[name]) for name in SYSTEM if name in said]
        metrics += [Metric(f"system/{name}", value / unit, now, step) for name, unit, value in used]
        self.client.log_batch(run, metrics=metrics)

    def close(self, status: str) -> None:
        """Ends the parent run, and those of trainings that this sweep has begun and not finished."""
        for name in self.begun - self.complete.keys():
            self.client.set_terminated(self.runs[name], "KILLED" if status == "KILLED" else "FAILED")
        self.client.set_terminated(self.parent, status)

    def publish(self, results: Path) -> None:
        """Keeps tables and report with the parent run."""
        digest = sha256(results / "report.html")
        if self.client.get_run(self.parent).data.tags.get("report") == digest:
            return
        self.client.log_artifact(self.parent, str(results / "report.html"))
        for file in sorted((results / "tables").glob("*.csv")):
            self.client.log_artifact(self.parent, str(file), "tables")
        self.client.set_tag(self.parent, "report", digest)

    def links(self) -> dict[str, Any]:
        """The experiment, and the run of every trial and evaluation in it: of this sweep and of those before it."""
        evaluations = {name: run for run, names in self.evaluations.items() for name in names}
        trained = {name: run for name, run in self.runs.items() if name not in self.begun - self.complete.keys()}
        return {"experiment": self.experiment, "runs": {**evaluations, **trained}}

    def _training(self, node: Node) -> None:
        record = self.store.record(node.kind, node.key)
        known, content = self.complete.get(node.key), self.store.content(record)[:CONTENT]
        if known in (UNKNOWN, content):
            return
        self._check(node, record)
        if known is not None:
            self.client.set_tag(self.runs.pop(node.key), SUPERSEDED, content)
        tags = self._tags(node, record)
        run = self.runs.get(node.key)
        if run:  # begun while it ran, or cut short
            self.client.log_batch(run, tags=[RunTag(name, value) for name, value in tags.items()])
        run = run or self._start(self.names[node.key], tags)
        self.runs[node.key] = run
        folder = self.store.folder(node.kind, node.key)
        self.client.log_inputs(run, [_dataset(*one) for one in mirrored.data_sets(node.spec)])
        for parameters in _chunks(mirrored.parameters(node.spec), PARAMETERS_PER_REQUEST):
            self.client.log_batch(run, params=[Param(name, value) for name, value in parameters])
        for points in _chunks(mirrored.points(folder, record), METRICS_PER_REQUEST):
            self.client.log_batch(run, metrics=[Metric(name, value, 0, step) for name, value, step in points])
        if self.weights == "copy":
            for name in filter(_is_weights, record["files"]):
                self.client.log_artifact(run, str(folder / name), mirrored.WEIGHTS)
        elif self.weights == "link":
            self.client.set_tag(run, "weights", f"{self.store}/{node.kind}/{node.key}/weights")
        self._files(run, node)
        self.client.set_tag(run, "content", content)
        self.client.set_tag(run, "mirrored", WITH_FILES)
        self.client.set_terminated(run, RunStatus.to_string(RunStatus.FINISHED))
        self.complete[node.key] = content

    def _evaluation(self, node: Node) -> None:
        record = self.store.record(node.kind, node.key)
        trained, values = mirrored.evaluated(node.spec, record["numbers"])
        run = self.parent if trained is None else self.runs[key(trained)]
        known, content = self.evaluations.setdefault(run, {}), self.store.content(record)[:CONTENT]
        if known.get(node.key) in (UNKNOWN, content):
            return
        self._check(node, record)
        self._files(run, node)
        ended = round(1000 * max((one["time"] for one in record.get("attempts", ())), default=0))  # ms
        metrics = [
            Metric(name, value, ended, 0) for name, value in values.items()
        ]  # of two versions the later is shown
        # MLflow cuts a tag after 8,000 characters: 300 evaluations of one trial.
        told = " ".join(f"{name}:{of}" for name, of in {**known, node.key: content}.items())
        self.client.log_batch(run, metrics=metrics, tags=[RunTag("evaluations", told)])
        known[node.key] = content

    def _check(self, node: Node, record: dict[str, Any]) -> None:
        """Raises Damaged where a file that is to be copied is not what was written: nothing of the trial is, then."""
        written = record["files"] | ({"spec.json": record["spec"]} if "spec" in record else {})  # older ones lack it
        for name, digest in written.items():
            copied = name in mirrored.FILES or (self.weights == "copy" and _is_weights(name))
            file = self.store.folder(node.kind, node.key) / name
            if copied and not (file.is_file() and sha256(file) == digest):
                told = f"{node.kind}/{node.key}: {name} is not what was written, or not there"
                raise Damaged(f"{told}; next: python -m orchestrator fsck GRID --repair")

    def _files(self, run: str, node: Node) -> None:
        folder = self.store.folder(node.kind, node.key)
        for file in (folder / name for name in mirrored.FILES):
            if file.exists():  # one by one: MLflow moves a file into place whole, but not a folder
                self.client.log_artifact(run, str(file), mirrored.folder_of(node.kind, node.key))

    def _manifests(self, known: dict[str, str]) -> None:
        """Keeps with the parent run what the contents of data sets, weights and judges were: keys depend on them."""
        file = self.store.root / manifests.FILE
        if file.exists() and known.get("manifests") != (digest := sha256(file)):
            self.client.log_artifact(self.parent, str(file), mirrored.SWEEP)
            self.client.set_tag(self.parent, "manifests", digest)

    def _start(self, name: str, tags: dict[str, str]) -> str:
        run = self.client.create_run(self.experiment, run_name=name, tags=tags)
        return str(run.info.run_id)

    def _tags(self, node: Node, record: dict[str, Any]) -> dict[str, str]:
        """`record` is empty for a trial that runs."""
        provenance = {name: str(value) for name, value in record.get("provenance", {}).items()}
        own = {"kind": node.kind, "key": node.key, "status": record.get("status", "running")}
        own |= {"parents": " ".join(node.parents), **self.levels.get(node.key, {})}
        return {"mlflow.parentRunId": self.parent, **own, **provenance}


def _is_weights(name: str) -> bool:
    return name.startswith(f"{mirrored.WEIGHTS}/")


def _dataset(name: str, digest: str, use: str) -> DatasetInput:
    """MLflow's entry of a data set that a training uses for training or validation."""
    source = Dataset(name=name, digest=digest[:36], source_type="local", source="{}")
    return DatasetInput(source, [InputTag("mlflow.data.context", use)])


def tracking_uri(place: str) -> str:
    """A server's address as it is; a path as a SQLite address. Creates the folder."""
    if "://" in place:
        return place
    Path(place).resolve().parent.mkdir(parents=True, exist_ok=True)
    return f"sqlite:///{Path(place).resolve()}"


def artifact_location(place: str) -> Path:
    """Where the artifacts of a local database lie: beside it."""
    return Path(place.removeprefix("sqlite:///")).resolve().parent / "mlartifacts"


def make_database(place: str) -> None:
    """Makes the SQLite database of a mirror where there is none, and moves it into place whole: MLflow cannot open one
    again whose tables a kill has cut short. Nothing where `place` is a server's address."""
    if "://" in tracking_uri(place).removeprefix("sqlite://"):
        return
    file = Path(tracking_uri(place).removeprefix("sqlite:///"))
    if file.exists():
        return
    with lease.hold(file.with_name(f".{file.name}.lock"), give_up=lambda: False):  # of two drivers one makes it
        if not file.exists():
            new = file.with_name(f".{file.name}.new")
            new.unlink(missing_ok=True)
            MlflowClient(f"sqlite:///{new}").search_experiments(max_results=1)
            os.replace(new, file)


def client_of(place: str) -> Any:
    """MLflow's client of a mirror. Raises OSError where its server does not answer: MLflow itself would try for two
    minutes, at the start of a sweep and again at its end."""
    if place.startswith("http"):
        _check_answer(place)
    return MlflowClient(tracking_uri(place))


def _check_answer(server: str) -> None:
    shown = mirrored.public(server)
    try:
        urllib.request.urlopen(f"{shown.rstrip('/')}/health", timeout=ANSWER_SECONDS).close()
    except (urllib.error.HTTPError, http.client.HTTPException):
        return  # any answer will do
    except OSError as error:
        reason = getattr(error, "reason", error)
        if not isinstance(reason, ssl.SSLError):  # MLflow has settings for certificates
            raise ConnectionError(f"{shown} does not answer within {ANSWER_SECONDS:g} s: {reason}") from None


def runs_of(client: Any, experiment: str) -> Iterator[Any]:
    """All runs of an experiment, newest first: search_runs alone silently ends at 1,000."""
    token: str | None = None
    while token is None or token:
        page = client.search_runs([experiment], max_results=1000, page_token=token)
        yield from page
        token = page.token or ""


def evaluations_of(run: Any) -> dict[str, str]:
    """Keys of the evaluations whose files and numbers a run has, each with the digest of its content."""
    told = (one.partition(":") for one in str(run.data.tags.get("evaluations", "")).split())
    return {key: content for key, _, content in told}


def download(artifacts: str, part: str, into: Path, place: str) -> None:
    """Copies the folder `part` of a run's artifacts, which lie at the address `artifacts`, to `into`/`part`."""
    download_artifacts(artifact_uri=f"{artifacts}/{part}", dst_path=str(into), tracking_uri=tracking_uri(place))


def _chunks(items: list[Any], size: int) -> Iterator[list[Any]]:
    return (items[start : start + size] for start in range(0, len(items), size))

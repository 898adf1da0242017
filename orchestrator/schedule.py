"""Runs a plan on Ray Tune: the only file that imports ray.

One Tuner runs the whole graph. Its searcher hands out a trial as soon as its parents are done (no stage barriers);
actors are reused, so that imports, loaded judges and CUDA contexts are paid for once a process. Tune's own state is
scratch: the store says what is done, and running again plans again.
"""

import logging
import math
import os
import signal
import tempfile
import threading
import time
import uuid
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

# Read when ray is imported. Tune's scratch state need not survive: its loggers and snapshots would only cost time.
os.environ.setdefault("TUNE_DISABLE_AUTO_CALLBACK_LOGGERS", "1")
os.environ.setdefault("TUNE_GLOBAL_CHECKPOINT_S", "3600")
os.environ.setdefault("TUNE_WARN_THRESHOLD_S", "60")
os.environ.setdefault("TUNE_MAX_PENDING_TRIALS_PG", "1000000")  # the searcher knows how many to hand out
os.environ.setdefault("TUNE_DISABLE_SIGINT_HANDLER", "1")  # Ctrl-C is ours: drain and checkpoint
os.environ.setdefault("RAY_AIR_NEW_OUTPUT", "0")
os.environ.setdefault("RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO", "0")

# Without it a Ray of our own listens on all of the machine's addresses, and runs code for whoever reaches it. The name
# is that of another purpose (no questions of a firewall); what it does is to keep Ray's addresses on loopback.
if not os.environ.get("RAY_ADDRESS"):
    os.environ.setdefault("RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER", "0")

import ray
from ray import tune
from ray.tune.execution.tune_controller import TuneController
from ray.tune.search import Searcher
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

from orchestrator import interrupts, reaper
from orchestrator.lease import Holder, born
from orchestrator.meters import SweepMeters, TrialMeters
from orchestrator.plan import Node, Plan
from orchestrator.ready import ReadyQueue
from orchestrator.remote import open_store
from orchestrator.runner import run_trial
from orchestrator.sections import Runtime
from orchestrator.spec import KINDS
from orchestrator.stalls import IDLE_SECONDS, Stalls
from orchestrator.store import Store, identity_record

# Tune has no setting against its snapshot of all trials (15 kB each, twice on disk) for a restore that never comes, and
# wants to find the file: without trials, then.
TuneController._get_trial_checkpoints = lambda self: {}


@dataclass
class Outcome:
    """How a sweep ended."""

    queue: ReadyQueue
    interrupted: bool = False
    tracebacks: dict[str, str] = field(default_factory=dict)
    """Last traceback of each failed trial, by key."""
    fault: OSError | None = None
    """Why the store could not be written, which ends a sweep: what is finished is kept."""


@dataclass
class Stop:
    """A request to drain: a name in the store that workers on any node can see, and a flag for the driver."""

    store: Store
    name: str
    requested: bool = False
    asking: threading.Thread | None = None

    def request(self) -> None:
        """Asks running trials to save a checkpoint and end, and starts no more. A signal's handler does not wait for
        an object store."""
        self.requested = True
        self.asking = threading.Thread(target=self._ask, name="stop", daemon=True)
        self.asking.start()

    def withdraw(self) -> None:
        """Takes the request back, where there is one."""
        if self.asking:
            self.asking.join()
        with suppress(OSError):
            self.store.forget_stop(self.name)

    def _ask(self) -> None:
        with suppress(OSError):  # the store is full or does not answer: this sweep starts no more all the same
            self.store.request_stop(self.name)


@dataclass(frozen=True)
class Addresses:
    """Where a running Ray can be looked at."""

    dashboard: str
    metrics: tuple[str, ...] = ()
    """Of each node, in Prometheus' format."""


@dataclass
class Listener:
    """What the caller wants to hear while the sweep runs."""

    started: Callable[["Addresses", ReadyQueue], None]
    """Takes where Ray can be looked at and the queue, whose state changes as trials end."""
    ended: Callable[[Node, str], None]
    """Takes a trial and how it ended: done, diverged, failed or interrupted."""
    told: Callable[[str], None]
    """Takes a line about trials that hang, or about why none can start."""


def run(
    plan: Plan,
    store: Store,
    runtime: Runtime,
    stop: Stop,
    provenance: Mapping[str, Any],
    listener: Listener,
    grid: str,
    names: Mapping[str, str],
    rehearsal: bool = False,
) -> Outcome:
    """Runs what is to do in `plan` and returns when all is done, failed or out of reach, or after `stop`. `grid` and
    the `names` of trials, by key, are for those who watch. In a `rehearsal` trials count their operations."""
    queue = ReadyQueue(plan)
    outcome = Outcome(queue)
    given = {
        "store": store.address,
        "checkpoint_seconds": runtime.checkpoint_seconds,
        "stop": stop.name,
        "provenance": dict(provenance),
        # Variables and ~ are each node's own.
        "cache": runtime.cache if runtime.cache[0] in "$~" else str(Path(runtime.cache).absolute()),
        "device": runtime.device,
        "sweep": uuid.uuid4().hex,
        "rehearsal": rehearsal,
    }
    with tempfile.TemporaryDirectory(prefix="sweep-tune-") as scratch, reaper.guard(scratch):
        try:
            try:
                dashboard = start_ray()
            except SystemExit:  # Ray's answer to a SIGTERM: while it starts it puts a handler of its own in place
                interrupts.end()
            listener.started(Addresses(dashboard, _metrics()), queue)
            _check_resources(runtime)
            _check_shared(store, str(given["cache"]))
            folders = Path(scratch) / RUN
            searcher = ReadyTrials(queue, store, given, outcome, stop, listener, runtime, folders, names)
            stalls = Stalls(store, runtime.hang_seconds, str(given["sweep"]))
            with _watched(queue, stalls, runtime, listener), _metered(SweepMeters(grid, queue, store), listener):
                _tuner(searcher, runtime, scratch).fit()
        finally:
            ray.shutdown()
            stop.withdraw()
            _forget(store, queue)
    outcome.interrupted = stop.requested
    return outcome


CANCELLED = "cancelled on request; the next sweep, or retry, runs it again"
RUN = "sweep"
"""Name of Tune's run, whose folder has one for each trial."""
LOOK_SECONDS = 5.0


def _forget(store: Store, queue: ReadyQueue) -> None:
    """Takes back requests to end single trials that came when there was nothing to end any more."""
    with suppress(OSError):  # the next sweep does it
        for name in store.stops_requested() & queue.nodes.keys():
            store.forget_stop(name)


@contextmanager
def _watched(queue: ReadyQueue, stalls: Stalls, runtime: Runtime, listener: Listener) -> Iterator[None]:
    """Within it a thread ends trials that hang, and says why when none can start."""
    ended = threading.Event()

    def look() -> None:
        while not ended.wait(min(LOOK_SECONDS, runtime.hang_seconds / 4)):
            handed_out = [queue.nodes[name] for name in sorted(queue.running.copy())]
            for node, holder in stalls.hung(handed_out):
                note = f"no progress for {runtime.hang_seconds:g} s (runtime.hang_seconds)"
                if _end_process(holder):
                    stalls.store.note(node.kind, node.key, outcome="hung", note=note, process=holder.process)
                    listener.told(f"ended: {node.kind} {node.key} on {holder.host}: {note}; it is tried again")
            if handed_out and (idle := stalls.idle_seconds()) > IDLE_SECONDS:
                listener.told(_why_idle(handed_out, stalls, runtime, idle))

    thread = threading.Thread(target=look, name="stalls", daemon=True)
    thread.start()
    try:
        yield
    finally:
        ended.set()
        thread.join()


@contextmanager
def _metered(meters: SweepMeters, listener: Listener) -> Iterator[None]:
    """Within it a thread tells Ray's metrics of the sweep."""
    ended, hear = threading.Event(), listener.ended

    def tell() -> None:
        while not ended.wait(LOOK_SECONDS):
            meters.tell()

    def hear_too(node: Node, status: str) -> None:
        meters.end(node.kind, status)
        hear(node, status)

    listener.ended = hear_too
    thread = threading.Thread(target=tell, name="meters", daemon=True)
    thread.start()
    try:
        yield
    finally:
        ended.set()
        thread.join()
        listener.ended = hear


def _metrics() -> tuple[str, ...]:
    """Where each living node gives its metrics."""
    return tuple(
        f"http://{node['NodeManagerAddress']}:{port}/metrics"
        for node in _nodes()
        if (port := node["MetricsExportPort"])
    )


def _nodes() -> list[dict[str, Any]]:
    """The cluster's living nodes."""
    return [node for node in ray.nodes() if node["Alive"]]


def _end_process(holder: Holder) -> bool:
    """Kills a worker on its node, also one that is stopped; False where the node cannot be reached, which Ray gives up
    by itself, and where the process has ended."""

    def kill(process: int, started: int) -> bool:
        if born(process) != started:
            return False
        os.kill(process, signal.SIGKILL)
        return True

    here = NodeAffinitySchedulingStrategy(holder.node, soft=False)
    asked = ray.remote(num_cpus=0, max_retries=0, scheduling_strategy=here)(kill).remote(holder.process, holder.born)
    try:
        return bool(ray.get(asked, timeout=60))
    except ray.exceptions.GetTimeoutError:
        ray.cancel(asked, force=True)  # or it would be done when the node is back, to whatever runs there then
        return False
    except (ray.exceptions.RayError, ProcessLookupError):
        return False


def _why_idle(handed_out: list[Node], stalls: Stalls, runtime: Runtime, seconds: float) -> str:
    """What trials that could start wait for, and what each node has."""
    kinds = Counter(node.kind for node in handed_out)
    wanted = ", ".join(f"{n} {kind} ({_amount(runtime.cpus, runtime.gpus_of(kind))})" for kind, n in kinds.items())
    others = ", ".join(f"process {by.process} on {by.host}" for by in stalls.elsewhere)
    reason = f"held by another sweep ({others})" if others else "waiting for room or for a worker to start"
    nodes = ", ".join(f"{node['NodeManagerHostname']} ({_of(node['Resources'])})" for node in _nodes())
    return (
        f"nothing has run for {seconds:.0f} s: {wanted}: {reason}; nodes: {nodes or 'none'}; "
        f"free: {_of(ray.available_resources())}"
    )


def _side_by_side(nodes: Iterable[Mapping[str, float]], runtime: Runtime) -> int:
    """How many trials fit on nodes of these resources, of the kinds that reserve most."""
    gpus = max(map(runtime.gpus_of, KINDS))
    fits = (min(node.get("CPU", 0) // runtime.cpus, node.get("GPU", 0) / gpus if gpus else math.inf) for node in nodes)
    return max(1, int(sum(fits)))


def _of(resources: Mapping[str, float]) -> str:
    return _amount(resources.get("CPU", 0), resources.get("GPU", 0))


def _amount(cpus: float, gpus: float) -> str:
    return f"{cpus:g} CPUs, {gpus:g} GPUs"


def _check_resources(runtime: Runtime) -> None:
    """OSError unless one node of the cluster has what one trial reserves: it would wait for ever, without a word."""
    gpus = max(map(runtime.gpus_of, KINDS))
    nodes = [node["Resources"] for node in _nodes()]
    if any(node.get("CPU", 0) >= runtime.cpus and node.get("GPU", 0) >= gpus for node in nodes):
        return
    found = ", ".join(f"{node.get('CPU', 0):g} CPUs and {node.get('GPU', 0):g} GPUs" for node in nodes)
    raise OSError(
        f"runtime: a trial reserves cpus: {runtime.cpus} and gpus: {gpus:g}, but the nodes have {found}; allowed: what "
        "one node has"
    )


def _check_shared(store: Store, cache: str) -> None:
    """OSError where a node does not see the store as this machine does: results on it would be lost."""
    nodes = [node for node in _nodes() if node["Resources"].get("CPU", 0) > 0]
    if not os.environ.get("RAY_ADDRESS"):
        return

    def sees(address: str, probe: str) -> str:
        try:
            return "" if open_store(address, cache).sees(probe) else "do not see what this machine writes"
        except OSError as error:
            return f"cannot use it: {error.strerror or error}"

    with store.probe() as probe:
        each = [NodeAffinitySchedulingStrategy(node["NodeID"], soft=False) for node in nodes]
        asked = [ray.remote(num_cpus=0, scheduling_strategy=where)(sees).remote(store.address, probe) for where in each]
        try:
            seen = ray.get(asked, timeout=300)
        except ray.exceptions.RayError as error:
            raise OSError(f"a node died, or did not answer, when asked whether it sees the store: {error}") from None
        blind = [node["NodeManagerHostname"] for node, fault in zip(nodes, seen, strict=True) if fault]
    if blind:
        raise OSError(
            f"runtime.storage: {store.address} is not shared: {len(blind)} of {len(nodes)} nodes "
            f"({', '.join(sorted(set(blind)))}) {max(seen)}; allowed: a folder on storage that every node has at the "
            "same path, or a bucket that every node has credentials for"
        )


# `reference` computes with one thread, and deterministic cuBLAS wants its workspace fixed. glibc is told to keep the
# pages that it has: small networks allocate and free the same megabytes at every step, and page faults cost 15% of a
# training step on a CPU.
WORKER_ENVIRONMENT = {
    "OMP_NUM_THREADS": "1",
    "CUBLAS_WORKSPACE_CONFIG": ":4096:8",
    "MALLOC_TRIM_THRESHOLD_": str(1 << 30),
    "MALLOC_MMAP_THRESHOLD_": str(1 << 30),
    "MALLOC_TOP_PAD_": str(64 << 20),
}


CACHES = ("HF_HOME", "TORCH_HOME", "XDG_CACHE_HOME")
"""Where prefetched weights lie: workers on other nodes must look where the driver did."""


def start_ray() -> str:
    """Connects to the cluster of RAY_ADDRESS, else starts a local Ray; returns the dashboard's address. The dashboard
    runs code for whoever reaches it, so it listens on loopback."""
    common = {"log_to_driver": False, "logging_level": logging.ERROR}
    environment = {"PYTHONPATH": str(Path(__file__).parent.parent), **WORKER_ENVIRONMENT}
    if os.environ.get("RAY_ADDRESS"):
        caches = {name: os.environ[name] for name in CACHES if name in os.environ}
        context = ray.init(runtime_env={"env_vars": {**environment, **caches}}, **common)
    else:
        context = ray.init(
            address="local",
            num_cpus=os.cpu_count(),
            include_dashboard=True,
            dashboard_host="127.0.0.1",
            object_store_memory=256 * 1024**2,  # trials exchange files, not objects
            runtime_env={"env_vars": environment},
            **common,
        )
    logging.getLogger("ray").setLevel(logging.CRITICAL)  # a failed trial is told once, by the sweep, with its name
    return f"http://{context.dashboard_url}" if context.dashboard_url else "not available"


def _tuner(searcher: "ReadyTrials", runtime: Runtime, scratch: str) -> tune.Tuner:
    return tune.Tuner(
        TrialActor,
        tune_config=tune.TuneConfig(
            search_alg=searcher, num_samples=-1, reuse_actors=True, trial_dirname_creator=lambda trial: trial.trial_id
        ),
        run_config=tune.RunConfig(
            name=RUN,
            storage_path=scratch,
            verbose=0,
            failure_config=tune.FailureConfig(max_failures=runtime.max_failures),
            checkpoint_config=tune.CheckpointConfig(checkpoint_at_end=False),  # trials keep their own, in the store
            log_to_file=False,
        ),
    )


class ReadyTrials(Searcher):
    """Feeds Tune from the queue and tells the queue, the store and the listener how trials end."""

    def __init__(
        self,
        queue: ReadyQueue,
        store: Store,
        given: dict[str, Any],
        outcome: Outcome,
        stop: Stop,
        listener: Listener,
        runtime: Runtime,
        folders: Path,
        names: Mapping[str, str],
    ) -> None:
        super().__init__(metric="done", mode="max")
        self.queue, self.store, self.given, self.outcome = queue, store, given, outcome
        self.stop, self.listener, self.runtime, self.folders, self.names = stop, listener, runtime, folders, names
        self.most, self.counted, self.heeded = 0, -math.inf, -math.inf
        self.trials: dict[str, tuple[Node, int]] = {}
        """By Tune's id: what was handed out, and how many lines its history had then."""
        self.again: Counter[str] = Counter()
        """How often a trial was handed out again, by key."""

    def set_max_concurrency(self, max_concurrent: int) -> bool:
        """The queue limits itself; without True Tune would wrap this searcher and could drop completions."""
        return True

    def suggest(self, trial_id: str) -> Any:
        """Config of the next ready trial, None when none is ready yet, FINISHED when none ever will be."""
        try:
            self._heed()
        except OSError as error:
            self.outcome.fault = error
        if self.stop.requested or self.outcome.fault or self.queue.exhausted():
            return Searcher.FINISHED
        if len(self.queue.running) >= self._room() or (node := self.queue.pop()) is None:
            return None
        try:
            self.store.prepare(node.spec)
        except OSError as error:
            self.outcome.fault = error
            return Searcher.FINISHED
        self.trials[trial_id] = node, len(self._history(node))
        gpus = self.runtime.gpus_of(node.kind)
        return {
            "kind": node.kind,
            "key": node.key,
            "identity": identity_record(node.spec),
            "name": self.names.get(node.key, node.key),
            "reserves": {"CPU": self.runtime.cpus, **({"GPU": gpus} if gpus else {})},
            **self.given,
        }

    def on_trial_complete(self, trial_id: str, result: dict[str, Any] | None = None, error: bool = False) -> None:
        """`error` comes once retries are used up."""
        node, before = self.trials.pop(trial_id)
        status = "failed" if error or not result else result["trial_status"]
        if status == "interrupted" and not self.stop.requested:
            self.queue.finish(node.key, "failed")
            self._cancelled(node)
            return
        if status == "held" or (status == "failed" and self._may_start_again(node, before)):
            self.queue.defer(node.key)
            return
        if status == "failed":
            self._note_failure(node, trial_id)
        self.queue.finish(node.key, status)
        self.listener.ended(node, status)

    def _heed(self) -> None:
        """Does now and then what people have asked of single trials (trials.py): to run again, or not to run."""
        if time.monotonic() - self.heeded < LOOK_SECONDS:
            return
        self.heeded = time.monotonic()
        for name in [name for name, state in self.queue.state.items() if state == "failed"]:
            node = self.queue.nodes[name]
            if self.store.status(node.kind, name) != "failed":
                self.queue.retry(name)
                self.outcome.tracebacks.pop(name, None)
                self.listener.told(f"again: {node.kind} {name}, as was asked for")
        for name in self.store.stops_requested() & self.queue.nodes.keys():
            if self.queue.state[name] == "waiting":
                self.queue.cancel(name)
                self._cancelled(self.queue.nodes[name])
            elif name not in self.queue.running:  # it had ended when it was asked
                self.store.forget_stop(name)

    def _cancelled(self, node: Node) -> None:
        """Tells of a trial that was asked to end, or not to start."""
        try:
            self.store.prepare(node.spec)
            self.store.note(node.kind, node.key, outcome="cancelled")
            self.store.fail(node.kind, node.key, CANCELLED)
            self.store.forget_stop(node.key)
        except OSError as error:
            self.outcome.fault = error
        self.outcome.tracebacks[node.key] = CANCELLED
        self.listener.told(f"cancelled: {node.kind} {node.key}, as was asked for")
        self.listener.ended(node, "failed")

    def __getstate__(self) -> dict[str, Any]:
        """Tune pickles its searcher for a restore that never comes: the store is the truth."""
        return {}

    def save(self, checkpoint_path: str) -> None:
        """Nothing to save."""

    def restore(self, checkpoint_path: str) -> None:
        """Nothing to restore: running again plans again."""

    def save_to_dir(self, checkpoint_dir: str, session_str: str = "default") -> None:
        """Nothing to save."""

    def _room(self) -> int:
        """How many trials to hand out: what the nodes that are there now have CPUs for, and two that wait beside."""
        if time.monotonic() - self.counted > LOOK_SECONDS:
            nodes = [node["Resources"] for node in _nodes()]
            cpus = sum(node.get("CPU", 0) // self.runtime.cpus for node in nodes)
            self.most, self.counted = max(1, int(cpus)) + 2, time.monotonic()
            self.queue.gpus = sum(node.get("GPU", 0.0) for node in nodes)
            self.queue.slots = _side_by_side(nodes, self.runtime)
        return self.most

    def _history(self, node: Node) -> list[dict[str, Any]]:
        return self.store.attempts(node.kind, node.key)

    def _may_start_again(self, node: Node, before: int) -> bool:
        """Whether Tune gave a trial up before its retries were used up: it does where a worker does not come to start,
        e.g. because its node dies meanwhile."""
        starts = sum(one["outcome"] == "started" for one in self._history(node)[before:])
        self.again[node.key] += 1
        return starts <= self.runtime.max_failures and self.again[node.key] <= self.runtime.max_failures

    def _note_failure(self, node: Node, trial_id: str) -> None:
        tries = self._history(node)
        # A history that ends with `started` is that of a process which could not say anything any more: Ray may know.
        text = str(tries[-1].get("traceback") or tries[-1].get("note") or "") if tries else ""
        with suppress(OSError):
            text = text or (self.folders / trial_id / "error.txt").read_text()
        text = text or "its process died without a traceback (killed, or out of memory)"
        self.outcome.tracebacks[node.key] = text
        try:
            self.store.fail(node.kind, node.key, text)
        except OSError as error:
            self.outcome.fault = error


class TrialActor(tune.Trainable):
    """A process that runs one trial after another. Its name is what the dashboard shows of it."""

    @classmethod
    def default_resource_request(cls, config: Mapping[str, Any]) -> tune.PlacementGroupFactory:
        """What the trial of a config reserves. (tune.with_resources would hide the class in one of its own.)"""
        return tune.PlacementGroupFactory([config["reserves"]])

    def setup(self, config: dict[str, Any]) -> None:
        """Remembers the folder that Tune made for the first trial."""
        self.scratch = Path(self.logdir)

    def reset_config(self, new_config: dict[str, Any]) -> bool:
        """The process goes on with another trial. Of the last one Tune leaves two empty folders, which would take 8 KiB
        a trial for ever: here, and on the driver's node."""
        for folder in (self.scratch, self.scratch.parents[1] / "driver_artifacts" / self.scratch.name):
            with suppress(OSError):  # not there, or not empty
                folder.rmdir()
        self.scratch = Path(self.logdir)
        return True

    def step(self) -> dict[str, Any]:
        """The whole trial; Tune sees one result."""
        device = "cuda" if ray.get_gpu_ids() and self.config["device"] == "auto" else "cpu"
        here = {"device": device, "node": ray.get_runtime_context().get_node_id()}
        kind = self.config["kind"]
        self.meters = getattr(self, "meters", None) or TrialMeters()
        with _titled(f"{kind}: {self.config['name']}"):
            try:
                status = run_trial({**self.config, **here}, partial(self.meters.hear, kind))
            finally:
                self.meters.rest(kind)
        return {"trial_status": status, "done": True}


@contextmanager
def _titled(words: str) -> Iterator[None]:
    """Within it the process is called by what it does, as the dashboard's page of nodes, ps and nvidia-smi show it."""
    before = ray._raylet.getproctitle()
    ray._raylet.setproctitle(f"ray::{words}")
    try:
        yield
    finally:
        ray._raylet.setproctitle(before)

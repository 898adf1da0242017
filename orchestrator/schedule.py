"""Runs a plan on Ray Tune.

One Tuner runs the whole graph. Its searcher hands out a trial as soon as its parents are done (no stage barriers);
actors are reused, so that imports, loaded judges and CUDA contexts are paid for once a process. Tune's own state is
scratch: the store says what is done, and running again plans again.
"""

import logging
import math
import tempfile
import threading
import time
import uuid
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from orchestrator import cluster  # before ray

# isort: split

import ray
from ray import tune
from ray.tune.execution.tune_controller import TuneController

from orchestrator import interrupts, reaper
from orchestrator.actor import TrialActor
from orchestrator.driving import Addresses, Listener, Outcome, Stop
from orchestrator.meters import SweepMeters
from orchestrator.plan import Node, Plan
from orchestrator.ready import ReadyQueue
from orchestrator.searcher import ReadyTrials
from orchestrator.sections import Runtime
from orchestrator.stalls import IDLE_SECONDS, Stalls
from orchestrator.store import FINISHED, RETRY, Store

RUN = "sweep"
"""Name of Tune's run, whose folder has one for each trial."""
LOOK_SECONDS = 5.0

# Tune has no setting against its snapshot of all trials (15 kB each, twice on disk) for a restore that never comes, and
# wants to find the file: without trials, then.
TuneController._get_trial_checkpoints = lambda self: {}


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
                dashboard = cluster.start()
            except SystemExit:  # Ray's answer to a SIGTERM: while it starts it puts a handler of its own in place
                interrupts.end()
            listener.started(Addresses(dashboard, cluster.metrics()), queue)
            cluster.check_resources(runtime)
            cluster.check_shared(store, str(given["cache"]))
            folders = Path(scratch) / RUN
            searcher = ReadyTrials(queue, store, given, outcome, stop, listener, runtime, folders, names)
            stalls = Stalls(store, runtime.hang_seconds, str(given["sweep"]))
            with _watched(queue, stalls, runtime, listener), _metered(SweepMeters(grid, queue, store), listener):
                _tuner(searcher, runtime, scratch).fit()
        finally:
            ray.shutdown()
            stop.withdraw()
            outcome.again = _forget(store, queue)
    outcome.interrupted = stop.requested
    return outcome


def _forget(store: Store, queue: ReadyQueue) -> list[Node]:
    """Takes back requests of single trials that came when nothing ran any more. Returns the ended trials that are to
    run again."""
    again = []
    with suppress(OSError):  # the next sweep does it
        for name in sorted(store.stops_requested()):
            if (node := queue.nodes.get(name.removeprefix(RETRY))) is None:
                continue
            store.forget_stop(name)
            if name.startswith(RETRY) and queue.state[node.key] in ("failed", *FINISHED):
                again.append(node)
    return again


@contextmanager
def _watched(queue: ReadyQueue, stalls: Stalls, runtime: Runtime, listener: Listener) -> Iterator[None]:
    """Within it trials that hang are ended, and it is said why when none can start."""
    told = -math.inf

    def look() -> None:
        nonlocal told
        handed_out = [queue.nodes[name] for name in sorted(queue.running.copy())]
        for node, holder in stalls.hung(handed_out):
            note = f"no progress for {runtime.hang_seconds:g} s (runtime.hang_seconds)"
            if cluster.end_process(holder):
                listener.told(f"ended: {node.kind} {node.key} on {holder.host}: {note}; it is tried again")
                stalls.store.note(node.kind, node.key, outcome="hung", note=note, process=holder.process)
        if handed_out and (idle := stalls.idle_seconds()) > IDLE_SECONDS:
            listener.told(_why_idle(handed_out, stalls, runtime, f"nothing has run for {idle:.0f} s"))
        elif time.monotonic() - told > IDLE_SECONDS and (stuck := _stuck(handed_out, queue.slots, stalls, runtime)):
            told = time.monotonic()
            waited = max(stalls.waiting_seconds(node.key) for node in stuck)
            listener.told(_why_idle(stuck, stalls, runtime, f"handed out {waited:.0f} s ago, and not begun"))

    with _repeated("stalls", min(LOOK_SECONDS, runtime.hang_seconds / 4), look, listener):
        yield


@contextmanager
def _metered(meters: SweepMeters, listener: Listener) -> Iterator[None]:
    """Within it Ray's metrics hear of the sweep."""
    hear = listener.ended

    def hear_too(node: Node, status: str) -> None:
        meters.end(node.kind, status)
        hear(node, status)

    listener.ended = hear_too
    try:
        with _repeated("meters", LOOK_SECONDS, meters.tell, listener):
            yield
    finally:
        listener.ended = hear


@contextmanager
def _repeated(name: str, seconds: float, look: Callable[[], None], listener: Listener) -> Iterator[None]:
    """Within it a thread looks again and again. What a look raises, a full disk or a node that has just died, is told
    once as long as it is the same, and ends no other look: sweeps rely on hung trials being seen for days."""
    ended, fault = threading.Event(), ""

    def looking() -> None:
        nonlocal fault
        while not ended.wait(seconds):
            try:
                look()
                fault = ""
            except Exception as error:
                logging.getLogger(__name__).debug("%s", name, exc_info=True)
                before, fault = fault, f"{name}: {type(error).__name__}: {error}"
                if fault != before:
                    listener.told(fault)

    thread = threading.Thread(target=looking, name=name, daemon=True)
    thread.start()
    try:
        yield
    finally:
        ended.set()
        thread.join()


def _stuck(handed_out: list[Node], slots: int, stalls: Stalls, runtime: Runtime) -> list[Node]:
    """Trials that have waited for a process for a minute although there is room, or although no node that is there has
    what they reserve."""
    waiting = [node for node in handed_out if stalls.waiting_seconds(node.key) > IDLE_SECONDS]
    homeless = [node for node in waiting if not cluster.fits(runtime, node.kind)]
    return homeless or (waiting if len(stalls.seen) < slots else [])


def _why_idle(waiting: list[Node], stalls: Stalls, runtime: Runtime, what: str) -> str:
    """What trials that could start wait for, and what each node has."""
    kinds = Counter(node.kind for node in waiting)
    each = {kind: cluster.amount(runtime.cpus, runtime.gpus_of(kind)) for kind in kinds}
    wanted = ", ".join(f"{n} {kind} ({each[kind]})" for kind, n in kinds.items())
    others = ", ".join(f"process {by.process} on {by.host}" for by in stalls.elsewhere)
    reason = f"held by another sweep ({others})" if others else "waiting for room or for a worker to start"
    nodes = ", ".join(f"{node['NodeManagerHostname']} ({cluster.shown(node['Resources'])})" for node in cluster.nodes())
    return f"{what}: {wanted}: {reason}; nodes: {nodes or 'none'}; free: {cluster.shown(ray.available_resources())}"


def _tuner(searcher: ReadyTrials, runtime: Runtime, scratch: str) -> tune.Tuner:
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
            stop=searcher.ends,
            checkpoint_config=tune.CheckpointConfig(checkpoint_at_end=False),  # trials keep their own, in the store
            log_to_file=False,
        ),
    )

"""Which trial Ray Tune runs next: a searcher that hands out a trial as soon as its parents are done."""

import errno
import math
import os
import time
from collections import Counter
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

from orchestrator import cluster  # before ray

# isort: split

from ray.tune.search import Searcher

from orchestrator.actor import UNSEEN
from orchestrator.driving import Listener, Outcome, Stop
from orchestrator.plan import Node
from orchestrator.ready import ReadyQueue
from orchestrator.runner import FULL
from orchestrator.sections import Runtime
from orchestrator.store import RETRY, Store, identity_record

CANCELLED = "cancelled on request; the next sweep, or retry, runs it again"
LOOK_SECONDS = 5.0
"""Between two looks at what people ask of single trials, and at the nodes."""


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
        self.blind: set[str] = set()
        """Tune's ids of what keeps the places on nodes that do not see the store."""
        self.told: set[str] = set()
        """What has been told of such nodes."""
        self.again: Counter[str] = Counter()
        """How often a trial was handed out again, by key."""

    def set_max_concurrency(self, max_concurrent: int) -> bool:
        """The queue limits itself; without True Tune would wrap this searcher and could drop completions."""
        return True

    def suggest(self, trial_id: str) -> Any:
        """Config of the next ready trial, None when none is ready yet, FINISHED when none ever will be."""
        try:
            if self.queue.exhausted() or time.monotonic() - self.heeded > LOOK_SECONDS:
                self._heed()
        except OSError as error:
            self.outcome.fault = error
        if self.is_over():
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

    def is_over(self) -> bool:
        """Whether no more trials will be handed out."""
        return self.stop.requested or self.outcome.fault is not None or self.queue.exhausted()

    def ends(self, trial_id: str, result: Mapping[str, Any]) -> bool:
        """Whether Tune is to end a trial that reports: what keeps a place that nobody needs any more."""
        return self.is_over()

    def on_trial_result(self, trial_id: str, result: dict[str, Any]) -> None:
        """Comes from nodes that do not see the store: what runs there keeps its place, and the trial runs elsewhere."""
        if trial_id not in self.blind:
            self.queue.put_back(self.trials.pop(trial_id)[0].key)
            self.blind.add(trial_id)
        if result["note"] not in self.told:
            self.told.add(result["note"])
            self.listener.told(f"{result['note']}; until then no trial runs there")

    def on_trial_complete(self, trial_id: str, result: dict[str, Any] | None = None, error: bool = False) -> None:
        """`error` comes once retries are used up."""
        if trial_id in self.blind:  # its node sees the store again, or the sweep is over
            self.blind.remove(trial_id)
            return
        node, before = self.trials.pop(trial_id)
        status = "failed" if error or not result else result["trial_status"]
        if status == "interrupted" and not self.stop.requested:
            self.queue.finish(node.key, "failed")
            self._cancelled(node)
            return
        if status == FULL:
            self.outcome.fault = OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(self.store))
        if status in (FULL, UNSEEN):  # of a sweep that is over
            self.queue.put_back(node.key)
            return
        if status == "held" or (status == "failed" and self._may_start_again(node, before)):
            self.queue.defer(node.key)
            return
        if status == "failed":
            self._note_failure(node, trial_id)
        self.queue.finish(node.key, status)
        self.listener.ended(node, status)

    def _heed(self) -> None:
        """Does what people have asked of single trials (trials.py): to run again, or not to run."""
        self.heeded = time.monotonic()
        asked = self.store.stops_requested()
        for name in [name for name, state in self.queue.state.items() if state == "failed" and RETRY + name in asked]:
            self.store.forget_stop(RETRY + name)
            self.queue.retry(name)
            self.outcome.tracebacks.pop(name, None)
            self.listener.told(f"again: {self.queue.nodes[name].kind} {name}, as was asked for")
        for name in asked & self.queue.nodes.keys():
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
            nodes = [node["Resources"] for node in cluster.nodes()]
            cpus = sum(node.get("CPU", 0) // self.runtime.cpus for node in nodes)
            self.most, self.counted = max(1, int(cpus)) + 2, time.monotonic()
            self.queue.gpus = sum(node.get("GPU", 0.0) for node in nodes)
            self.queue.slots = max(1, cluster.side_by_side(nodes, self.runtime) - len(self.blind))
        return max(1, self.most - len(self.blind))

    def _history(self, node: Node) -> list[dict[str, Any]]:
        return self.store.attempts(node.kind, node.key)

    def _may_start_again(self, node: Node, before: int) -> bool:
        """Whether Tune gave a trial up before its retries were used up: it does where a worker does not come to start,
        e.g. because its node dies meanwhile, and it counts attempts that were lost with their node, for which a trial
        can do nothing."""
        starts = [one.get("node", "") for one in self._history(node)[before:] if one["outcome"] == "started"]
        there = {one["NodeID"] for one in cluster.nodes()}
        own = [where for where in starts if not where or where in there]
        if starts and not own:
            return True
        self.again[node.key] += 1
        return len(own) <= self.runtime.max_failures and self.again[node.key] <= self.runtime.max_failures

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

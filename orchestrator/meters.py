"""What Ray's metrics hear of a sweep: each node has them at its Prometheus endpoint, docs/grafana.json draws them.

Ray puts `ray_` before each name, and says of which node and process it is. Imports ray.
"""

from collections import Counter
from collections.abc import Mapping
from typing import Any, ClassVar

from ray.util import metrics

from orchestrator.ready import ReadyQueue
from orchestrator.store import Store

STATES = ("waiting", "running", "done", "diverged", "failed", "blocked", "interrupted", "not applicable")


class SweepMeters:
    """The driver's: trials by kind and state, how many have ended, bytes in the store."""

    def __init__(self, grid: str, queue: ReadyQueue, store: Store) -> None:
        self.queue, self.store, self.grid = queue, store, {"grid": grid}
        self.trials = metrics.Gauge("sweep_trials", "Trials of the grid's plan.", ("grid", "kind", "state"))
        self.bytes = metrics.Gauge("sweep_store_bytes", "Files of the plan's finished trials.", ("grid",))
        self.ended = metrics.Counter("sweep_trials_ended", "Trials that this sweep ran.", ("grid", "kind", "status"))
        self.sizes: dict[str, int] = {}
        """Of each finished trial, by key."""

    def tell(self) -> None:
        """The state as it is now. Looks at the files of trials that are new since the last time."""
        counts = Counter((self.queue.nodes[name].kind, state) for name, state in list(self.queue.state.items()))
        for kind in {kind for kind, _ in counts}:
            for state in STATES:
                self.trials.set(counts[kind, state], {**self.grid, "kind": kind, "state": state})
        finished = [name for name, state in list(self.queue.state.items()) if state in ("done", "diverged")]
        for name in finished:
            if name not in self.sizes:
                self.sizes[name] = self.store.size(self.queue.nodes[name].kind, name)
        self.bytes.set(sum(self.sizes.values()), self.grid)

    def end(self, kind: str, status: str) -> None:
        """A trial has ended."""
        self.ended.inc(1, {**self.grid, "kind": kind, "status": status})


class TrialMeters:
    """A worker's: how fast its trial goes, its loss, what it waits for, its memory. Between two trials all are 0."""

    NAMES: ClassVar = {
        "per_second": ("trial_steps_per_second", "Steps, or images where a trial has no steps."),
        "loss": ("trial_loss", "The training's loss at its last logged step."),
        "seconds_waiting": ("trial_wait_seconds", "What a step waits for its batch, median."),
        "gpu_bytes": ("trial_gpu_bytes", "Most memory that the trial has reserved on a GPU."),
    }

    def __init__(self) -> None:
        self.gauges = {name: metrics.Gauge(*words, ("kind",)) for name, words in self.NAMES.items()}

    def hear(self, kind: str, said: Mapping[str, Any]) -> None:
        """What the trial says of its progress (runner.Said)."""
        known = {**said, **said.get("values", {})}
        for name, gauge in self.gauges.items():
            if name in known:
                gauge.set(float(known[name]), {"kind": kind})

    def rest(self, kind: str) -> None:
        """The trial has ended."""
        for gauge in self.gauges.values():
            gauge.set(0.0, {"kind": kind})

"""How far a running sweep is: a line for the sweep and one for each running trial; live on a terminal, else printed now
and then."""

import threading
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.table import Table
from rich.text import Text

from orchestrator.makespan import Job, makespan
from orchestrator.plan import TO_DO
from orchestrator.ready import FINAL, ReadyQueue
from orchestrator.show import duration, own_seconds
from orchestrator.store import Store

LIVE_SECONDS, LINE_SECONDS = 1.0, 30.0
"""Between two looks, on a terminal and elsewhere."""
FORECAST_SECONDS = 10.0
MOST_LINES = 8
"""Running trials that are told elsewhere than on a terminal, which has as many as it has room for."""
SHORTEST = 0.1
"""Seconds that a trial counts for at least."""


@dataclass(frozen=True)
class Running:
    """What a running trial says of itself."""

    kind: str
    name: str
    step: int = 0
    steps: int = 0
    """0: it does not say of how many."""
    per_second: float = 0.0
    """0: not known yet."""
    loss: float | None = None
    gpu_bytes: int = 0

    @classmethod
    def of(cls, kind: str, name: str, said: Mapping[str, Any]) -> "Running":
        """From what the store holds of its progress."""
        step, steps = int(said.get("step", 0)), int(said.get("steps", 0))
        speed, values = float(said.get("per_second", 0.0)), said.get("values", {})
        return cls(kind, name, step, steps, speed, values.get("loss"), int(said.get("gpu_bytes", 0)))

    def cells(self) -> tuple[str, ...]:
        """kind, name, step, loss, speed, remaining time, memory; empty where unknown."""
        left = self.left()
        return (
            self.kind,
            self.name,
            f"{self.step:,}/{self.steps:,}" if self.steps else "",
            f"loss {self.loss:.4g}" if self.loss is not None else "",
            f"{self.per_second:.3g} it/s" if self.per_second else "",
            f"{duration(left)} left" if left is not None else "",
            f"{self.gpu_bytes / 2**30:.1f} GiB" if self.gpu_bytes else "",
        )

    def left(self) -> float | None:
        """Seconds that it still takes at its present speed; None where that is not known."""
        return (self.steps - self.step) / self.per_second if self.steps and self.per_second else None

    def share(self) -> float:
        """How much of it is behind, 0 to 1."""
        return min(self.step / self.steps, 1.0) if self.steps else 0.0


class Tally:
    """Counts, work and time of a running sweep. `clock` is monotonic, in seconds."""

    def __init__(
        self,
        queue: ReadyQueue,
        store: Store,
        names: Mapping[str, str],
        gpus_of: Callable[[str], float] = lambda kind: 0.0,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.queue, self.store, self.names, self.gpus_of, self.clock = queue, store, names, gpus_of, clock
        own = {name: node for name, node in queue.nodes.items() if node.status in TO_DO}
        self.work = {name: max(own_seconds(node, queue.nodes), SHORTEST) for name, node in own.items()}
        self.cached = sum(node.status in ("done", "diverged") for node in queue.nodes.values())
        self.started = self.looked = clock()
        self.busy = 0.0
        """Seconds that trials have run, side by side ones added."""
        self.forecast: tuple[float, float] | None = None
        """When the sweep's end was last computed, and the end, by the clock."""

    def look(self) -> dict[str, Running]:
        """What runs now, by key: trials that were handed out and have begun to say how far they are."""
        found = {}
        for name in sorted(self.queue.running.copy()):
            node = self.queue.nodes[name]
            if said := self.store.progress(node.kind, name):
                found[name] = Running.of(node.kind, self.names[name], said)
        now = self.clock()
        self.busy += (now - self.looked) * len(found)
        self.looked = now
        return found

    def line(self, running: Mapping[str, Running], ended: bool = False) -> str:
        """[ 1 min 40 s] 212 of 1,385 trials done (170 before), 2 running, 986 waiting; 31% of this sweep's work; ...
        Of one that has ended, without a forecast."""
        state, counts = dict(self.queue.state), self.queue.counts()
        done = counts["done"] + counts["diverged"]
        words = [f"{done:,} of {len(state):,} trials done" + (f" ({self.cached:,} before)" if self.cached else "")]
        counts["ready"] += max(counts["running"] - len(running), 0)  # handed out, and not heard of yet
        counts["running"] = len(running)
        told = ("running", "ready", "waiting", "failed", "blocked", "diverged")
        words += [f"{counts[word]:,} {word}" for word in told if counts[word]]
        parts = [", ".join(words), f"{self.share(state, running):.0%} of this sweep's work", *self._gpus(running)]
        if not ended and (left := self.left(state, running)):
            at = time.strftime("%a %H:%M" if left > 43_200 else "%H:%M", time.localtime(time.time() + left))
            parts.append(f"about {duration(left)} left, done at {at}")
        return f"[{duration(self.clock() - self.started):>11}] " + "; ".join(parts)

    def share(self, state: Mapping[str, str], running: Mapping[str, Running]) -> float:
        """Of the expected seconds of what was to do, those that are behind, 0 to 1."""
        return self._spent(state, running) / max(sum(self.work.values()), SHORTEST)

    def _spent(self, state: Mapping[str, str], running: Mapping[str, Running]) -> float:
        done = sum(seconds for name, seconds in self.work.items() if state[name] in ("done", "diverged"))
        return done + sum(self.work.get(name, 0.0) * one.share() for name, one in running.items())

    def left(self, state: Mapping[str, str], running: Mapping[str, Running]) -> float | None:
        """Seconds until the sweep ends, by the cost model, corrected by what trials have taken so far; None before
        anything has been learnt. Computed now and then."""
        if self.forecast is None or self.clock() - self.forecast[0] > FORECAST_SECONDS:
            spent = self._spent(state, running)
            if not self.queue.slots or spent < SHORTEST:
                return None
            # Of a sweep that has just begun, with what it was told of its costs beforehand: as much as ten seconds.
            pace = (self.busy + FORECAST_SECONDS) / (spent + FORECAST_SECONDS)
            nodes = self.queue.nodes
            jobs: dict[str, Job] = {}
            for name in (name for name in self.work if state[name] not in FINAL):
                own, one = self.work[name] * pace, running.get(name)
                if one:
                    own = left if (left := one.left()) is not None else own * (1 - one.share())
                jobs[name] = Job(own, 1.0, nodes[name].parents, nodes[name].remaining)
            self.forecast = self.clock(), self.clock() + makespan(jobs, self.queue.slots)
        return max(self.forecast[1] - self.clock(), 0.0)

    def _gpus(self, running: Mapping[str, Running]) -> Iterable[str]:
        if self.queue.gpus:
            used = sum(self.gpus_of(one.kind) for one in running.values())
            yield f"{used:g} of {self.queue.gpus:g} GPUs"


class Progress:
    """Shows a `Tally` from a thread of its own, as long as it is entered; then a last line."""

    def __init__(self, out: Console, tally: Tally) -> None:
        self.out, self.tally = out, tally
        self.ended = threading.Event()
        self.thread = threading.Thread(target=self._show, name="progress", daemon=True)
        self.live = Live(console=out, auto_refresh=False, transient=True) if out.is_terminal else None
        self.seconds = LIVE_SECONDS if self.live else LINE_SECONDS

    def __enter__(self) -> "Progress":
        if self.live:
            self.live.start()
        self.thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.ended.set()
        self.thread.join()
        if self.live:
            self.live.stop()
        self.out.print(self.tally.line({}, ended=True), markup=False)

    def _show(self) -> None:
        while not self.ended.wait(self.seconds):
            running = self.tally.look()
            if self.live:
                self.live.update(self._picture(running), refresh=True)
                continue
            self.out.print(self.tally.line(running), markup=False)
            for line in lines(running.values(), MOST_LINES):
                self.out.print(f"  {line}", markup=False)

    def _picture(self, running: Mapping[str, Running]) -> RenderableType:
        """The sweep's line above a table of what runs."""
        most = max(self.out.size.height - 4, 1)
        table, rows = Table.grid(padding=(0, 2)), [one.cells() for one in list(running.values())[:most]]
        for column in range(7):
            whole = max((len(row[column]) for row in rows), default=0) if column != 1 else 0  # names give way
            table.add_column(no_wrap=True, overflow="ellipsis", style="cyan" if column == 0 else "", min_width=whole)
        for row in rows:
            table.add_row(*map(Text, row))
        more = [Text(f"and {len(running) - most} more")] if len(running) > most else []
        line = Text(self.tally.line(running), "bold", no_wrap=False, overflow="fold")  # whole, also where it is narrow
        return Group(line, table, *more)


def lines(running: Iterable[Running], most: int) -> list[str]:
    """A line for each of at most so many trials."""
    told = ["  ".join(filter(None, one.cells())) for one in running]
    return told[:most] + ([f"and {len(told) - most} more"] if len(told) > most else [])

"""Trials that run and get nowhere, and sweeps in which nothing runs. Knows nothing of Ray.

Time is this process's own monotonic clock, counted from when a change was seen: clocks of nodes and storage that differ
or jump change nothing.
"""

import time
from collections.abc import Iterable, Set
from dataclasses import dataclass, field

from orchestrator.lease import STALE_SECONDS, Holder, holder
from orchestrator.plan import Node
from orchestrator.store import Store, progress

IDLE_SECONDS = 60.0
"""After so long without a running trial a person is told what the sweep waits for."""


@dataclass
class Stalls:
    """Looks now and then at the trials that were handed out."""

    store: Store
    limit: float
    """Seconds without progress after which a running trial hangs."""
    seen: dict[str, tuple[object, float]] = field(default_factory=dict)
    """By key: the last sign of progress, and when it was new."""
    busy: float = field(default_factory=lambda: time.monotonic())
    """When a trial last ran."""
    elsewhere: list[Holder] = field(default_factory=list)
    """Who else runs what was handed out, as of the last look."""

    def hung(self, handed_out: Iterable[Node], cluster: Set[str]) -> list[tuple[Node, Holder]]:
        """Trials that have shown no progress for the limit, and the processes that hold them on the nodes `cluster`;
        each is named once a limit. Trials that no process holds wait for room, or for a worker to start."""
        now, before, found = time.monotonic(), self.seen, []
        self.seen, self.elsewhere = {}, []
        for node in handed_out:
            folder = self.store.folder(node.kind, node.key)
            if (by := holder(folder / "lock")) is None:
                continue
            if by.node not in cluster:  # another driver's, or one that a kill has left behind
                self.elsewhere += [by] if by.seconds < STALE_SECONDS else []
                continue
            sign = by.host, by.process, progress(folder)
            last, since = before.get(node.key, (None, now))
            since = since if last == sign else now
            if now - since > self.limit:
                found.append((node, by))
                since = now
            self.seen[node.key] = sign, since
            self.busy = now
        return found

    def idle_seconds(self) -> float:
        """How long no trial has run, as seen by the last looks; counted again from 0 once asked beyond IDLE_SECONDS."""
        idle = time.monotonic() - self.busy
        if idle > IDLE_SECONDS:
            self.busy = time.monotonic()
        return idle

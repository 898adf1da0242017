"""Trials that run and get nowhere, and sweeps in which nothing runs. Knows nothing of Ray.

Time is this process's own monotonic clock, counted from when a change was seen: clocks of nodes and storage that differ
or jump end nothing. (Only whom another sweep's trials are said to be held by is told by the storage's clock.)
"""

import time
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

from orchestrator.lease import STALE_SECONDS, Holder
from orchestrator.plan import Node
from orchestrator.store import Store

IDLE_SECONDS = 60.0
"""After so long without a running trial a person is told what the sweep waits for."""


@dataclass
class Stalls:
    """Looks now and then at the trials that were handed out."""

    store: Store
    limit: float
    """Seconds without progress after which a running trial hangs."""
    sweep: str
    """This sweep's name in the leases of its workers."""
    seen: dict[str, "Sign"] = field(default_factory=dict)
    """By key: what was seen last of a trial of this sweep."""
    busy: float = field(default_factory=lambda: time.monotonic())
    """When a trial last ran."""
    elsewhere: list[Holder] = field(default_factory=list)
    """Who else runs what was handed out, as of the last look."""
    waiting: dict[str, float] = field(default_factory=dict)
    """By key: since when a trial that was handed out has had no process, as of the last look."""

    def hung(self, handed_out: Iterable[Node]) -> list[tuple[Node, Holder]]:
        """Trials that have shown no progress for the limit, and the processes of this sweep that hold them, or did
        before another sweep took them over; each is named once a limit. Trials that no process has held wait for room,
        or for a worker to start."""
        now, before, waited, found = time.monotonic(), self.seen, self.waiting, []
        self.seen, self.elsewhere, self.waiting = {}, [], {}
        for node in handed_out:
            by, known = self.store.holder(node.kind, node.key), before.get(node.key)
            mine = by if by and by.sweep == self.sweep else known.by if known else None
            others = by and by.sweep != self.sweep and by.seconds < STALE_SECONDS  # or a killed sweep has left it
            if by and others:
                self.elsewhere.append(by)
            if mine is None:
                if not others:
                    self.waiting[node.key] = waited.get(node.key, now)
                continue
            sign = Sign(mine, self.store.progress(node.kind, node.key) if mine == by else None, now, now)
            if known and (known.by.process, known.by.born) == (mine.process, mine.born):
                sign.moved = known.moved if known.progress == sign.progress else now
                sign.beat = known.beat if known.by.beat == mine.beat else now
            if now - sign.beat < STALE_SECONDS:
                self.busy = now
            if now - sign.moved > self.limit:
                found.append((node, mine))
                sign.moved = now
            self.seen[node.key] = sign
        return found

    def waiting_seconds(self, key: str) -> float:
        """How long a trial that was handed out has waited for a process, as seen by the last looks; 0 when it has one,
        or another sweep runs it."""
        return time.monotonic() - self.waiting[key] if key in self.waiting else 0.0

    def idle_seconds(self) -> float:
        """How long no trial has run, as seen by the last looks; counted again from 0 once asked beyond IDLE_SECONDS."""
        idle = time.monotonic() - self.busy
        if idle > IDLE_SECONDS:
            self.busy = time.monotonic()
        return idle


@dataclass
class Sign:
    """What was seen of a trial, and when it was new."""

    by: Holder
    progress: dict[str, Any] | None
    moved: float
    """When the progress, or the process, last changed."""
    beat: float
    """When the lease last did."""

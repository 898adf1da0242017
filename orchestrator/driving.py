"""What a sweep's driver and its caller tell each other: how it ended, a request to stop, and who listens meanwhile."""

import os
import socket
import threading
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field

from orchestrator.plan import Node
from orchestrator.ready import ReadyQueue
from orchestrator.store import Store


@dataclass
class Outcome:
    """How a sweep ended."""

    queue: ReadyQueue
    interrupted: bool = False
    tracebacks: dict[str, str] = field(default_factory=dict)
    """Last traceback of each failed trial, by key."""
    again: list[Node] = field(default_factory=list)
    """Ended trials that people asked to run again, unheard while trials ran."""
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
        """Asks running trials to save a checkpoint and end, and starts no more. Who hears a signal does not wait for
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


def stop_name(process: int) -> str:
    """Under which the driver that is this process of this machine asks its trials to end."""
    return f"{socket.gethostname()}-{process}"


def forget_dead(store: Store) -> None:
    """Takes back the requests of drivers of this machine that are gone: who is told twice to stop, or is killed, leaves
    its own behind."""
    for name in store.stops_requested():
        process = name.rpartition("-")[2]
        if process.isdecimal() and name == stop_name(int(process)) and not _lives(int(process)):
            store.forget_stop(name)


def _lives(process: int) -> bool:
    try:
        os.kill(process, 0)
    except (ProcessLookupError, OverflowError):
        return False
    except PermissionError:  # somebody else's
        return True
    return True


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

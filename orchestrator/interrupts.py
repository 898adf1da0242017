"""Ctrl-C and SIGTERM: a running sweep drains; anything else, and whoever is asked twice, ends at once.

At once means without raising KeyboardInterrupt: Python may raise it wherever it is just then, in an import, a callback
or a destructor, where it is lost or leaves half a module behind. What a driver leaves behind is as after a SIGKILL: the
store is whole at any moment, and reaper.py ends the driver's processes.
"""

import contextlib
import os
import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import NoReturn, Protocol

EXIT_INTERRUPTED = 130


class Stoppable(Protocol):
    """What can be asked to drain."""

    requested: bool

    def request(self) -> None:
        """Asks it."""


def at_once() -> None:
    """From here on the first Ctrl-C or SIGTERM ends the process."""
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda number, frame: end())


@contextmanager
def draining(stop: Stoppable) -> Iterator[None]:
    """First Ctrl-C or SIGTERM: running trials save a checkpoint and end. Second: stop now."""

    def handle(number: int, frame: object) -> None:
        if stop.requested:
            end()
        stop.request()
        print("\nstopping: running trials save a checkpoint; once more to stop at once", file=sys.stderr, flush=True)

    before = {number: signal.signal(number, handle) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def end() -> NoReturn:
    """Says that the process was stopped, and stops it."""
    with contextlib.suppress(Exception):  # the signal may have come while this was being written to
        sys.stdout.flush()
    os.write(2, b"\nstopped; what is finished is kept\n")
    os._exit(EXIT_INTERRUPTED)

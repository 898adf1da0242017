"""Ctrl-C and SIGTERM: a running sweep drains; anything else, and whoever is asked twice, ends at once.

At once means without raising KeyboardInterrupt: Python may raise it wherever it is just then, in an import, a callback
or a destructor, where it is lost or leaves half a module behind. What a driver leaves behind is as after a SIGKILL: the
store is whole at any moment, and reaper.py ends the driver's processes.
"""

import contextlib
import os
import signal
import socket
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import NoReturn, Protocol

EXIT_INTERRUPTED = 130
ENDING = (signal.SIGINT, signal.SIGTERM)
STOPPED = "stopped; what is finished is kept"
SHOW_CURSOR = b"\x1b[?25h"


class Stoppable(Protocol):
    """What can be asked to drain."""

    requested: bool

    def request(self) -> None:
        """Asks it."""


def at_once(words: str = STOPPED) -> None:
    """From here on the first Ctrl-C or SIGTERM ends the process, which says these words."""
    for number in ENDING:
        signal.signal(number, lambda number, frame: end(words))


@contextmanager
def draining(stop: Stoppable) -> Iterator[None]:
    """First Ctrl-C or SIGTERM: running trials save a checkpoint and end. Second: stop now. To be entered by the main
    thread.

    Signals are heard by a thread: Python calls handlers between two steps of the main thread, so all that come while it
    is in Ray, which may be for seconds, would count as one.
    """
    reader, writer = socket.socketpair()
    writer.setblocking(False)

    def hear() -> None:
        while number := reader.recv(1):
            if number[0] not in ENDING:
                continue
            if stop.requested:
                end()
            stop.request()
            with contextlib.suppress(OSError, ValueError):  # nobody may read it any more: Ctrl-C ends `tee`, too
                print("\nstopping: running trials save a checkpoint; once more to stop at once", file=sys.stderr)
                sys.stderr.flush()

    before = {number: signal.signal(number, lambda number, frame: None) for number in ENDING}
    heard_before = signal.set_wakeup_fd(writer.fileno(), warn_on_full_buffer=False)
    thread = threading.Thread(target=hear, name="interrupts", daemon=True)
    thread.start()
    try:
        yield
    finally:
        signal.set_wakeup_fd(heard_before, warn_on_full_buffer=False)
        for number, handler in before.items():
            signal.signal(number, handler)
        writer.close()
        thread.join()
        reader.close()


def end(words: str = STOPPED) -> NoReturn:
    """Says that the process was stopped, and stops it."""
    with contextlib.suppress(Exception):  # the signal may have come while this was being written to
        sys.stdout.flush()
    with contextlib.suppress(OSError):  # nobody reads it any more
        if os.isatty(1):
            os.write(1, SHOW_CURSOR)  # which rich has hidden while it draws lines over
        os.write(2, f"\n{words}\n".encode())
    os._exit(EXIT_INTERRUPTED)

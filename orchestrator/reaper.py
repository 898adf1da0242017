"""Ends what a killed driver leaves behind: some of Ray's processes outlive it by minutes, and Tune's scratch folder.

`guard` starts this file as a process of its own. It keeps a list of the driver's descendants, and reads from a pipe
that the kernel closes when the driver dies, however it dies; then it ends those that are left. (A mark in the
environment would be simpler, but Ray's processes overwrite theirs when they rename themselves.)
Standard library only; does nothing where there is no /proc.
"""

import os
import select
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

LOOK_SECONDS = 0.5
BUSY_SECONDS, BUSY_LOOK_SECONDS = 30.0, 0.05
"""While Ray starts, whose processes start each other, looks are closer: what has lost its parent before it was seen is
nobody's."""
GRACE_SECONDS = 3.0
"""Time for Ray to end by itself once its driver is gone."""

NOBODY = -1
"""In the place of a driver that is gone."""
Process = tuple[int, str]
"""A process's id and the time it was started: ids are used again."""


@contextmanager
def guard(scratch: str) -> Iterator[None]:
    """Within it, everything that this process starts, and what that starts, is ended when this process dies, and the
    folder `scratch` is removed."""
    command = [sys.executable, "-S", "-E", __file__, str(os.getpid()), scratch]
    watcher = subprocess.Popen(command, stdin=subprocess.PIPE, start_new_session=True)
    try:
        yield
    finally:
        watcher.kill()
        watcher.communicate()


def alive() -> dict[Process, int]:
    """Every process of this machine and the id of its parent."""
    found = {}
    for stat in Path("/proc").glob("[0-9]*/stat"):
        with suppress(OSError):  # it has just ended
            said = fields(stat)
            found[int(stat.parent.name), said[19]] = int(said[1])
    return found


def fields(stat: Path) -> list[str]:
    """What the kernel says of a process in its `stat`, from the state on: 1 is its parent, 19 the tick of its start."""
    return stat.read_text().rpartition(")")[2].split()  # behind the name, which may hold spaces


def descendants(ancestor: int, known: set[Process]) -> set[Process]:
    """Living processes below `ancestor`, and those in `known` that still live although their parent does not."""
    processes = alive()
    found = known & processes.keys()
    while True:
        above = {ancestor, *(number for number, _ in found)}
        more = {process for process, parent in processes.items() if parent in above} - found
        if not more:
            return {process for process in found if process[0] != os.getpid()}
        found |= more


def main(driver: int, scratch: str) -> None:
    """Watches until the driver's end, then ends and removes what it has left."""
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.SIG_IGN)
    known, started, pause = set[Process](), time.monotonic(), BUSY_LOOK_SECONDS
    while not select.select([sys.stdin], [], [], pause)[0]:
        looked = time.monotonic()
        known = descendants(driver, known)
        took = time.monotonic() - looked
        pause = max(BUSY_LOOK_SECONDS, 4 * took) if looked - started < BUSY_SECONDS else LOOK_SECONDS
    gone = time.monotonic() + GRACE_SECONDS
    while time.monotonic() < gone:  # those that are left may start others before they end
        known = descendants(NOBODY, known)
        time.sleep(BUSY_LOOK_SECONDS)
    for process, _ in descendants(NOBODY, known):
        with suppress(ProcessLookupError):
            os.kill(process, signal.SIGKILL)
    shutil.rmtree(scratch, ignore_errors=True)


if __name__ == "__main__":
    main(int(sys.argv[1]), sys.argv[2])

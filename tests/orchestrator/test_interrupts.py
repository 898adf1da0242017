"""Ctrl-C once drains a sweep, twice ends it at once, also while the main thread is somewhere in Ray."""

import os
import pty
import signal
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
BUSY = """
import hashlib, sys
from orchestrator import interrupts

class Stop:
    requested = False
    def request(self):
        self.requested = True
        print("asked", flush=True)

interrupts.at_once()
stop = Stop()
with interrupts.draining(stop), interrupts.draining(stop):
    print("busy", flush=True)
    hashlib.pbkdf2_hmac("sha256", b"", b"", int(sys.argv[1]))  # Python's handlers of signals wait for its end
    print("requested" if stop.requested else "not heard", flush=True)
"""


@pytest.mark.parametrize(
    ("signals", "rounds", "code", "said"),
    [
        ([signal.SIGINT], 3_000_000, 0, "asked\nrequested\n"),
        ([signal.SIGINT, signal.SIGINT], 1_000_000_000, 130, "asked\n"),
        ([signal.SIGTERM, signal.SIGTERM], 1_000_000_000, 130, "asked\n"),
    ],
)
def test_signals_are_counted_while_the_main_thread_is_busy(
    signals: list[signal.Signals], rounds: int, code: int, said: str
) -> None:
    command = [sys.executable, "-c", BUSY, str(rounds)]
    pipe = subprocess.PIPE
    with subprocess.Popen(command, cwd=ROOT, stdout=pipe, stderr=pipe, text=True) as process:
        assert process.stdout
        assert process.stderr
        assert process.stdout.readline() == "busy\n"
        process.send_signal(signals[0])
        while "stopping: " not in process.stderr.readline():  # else the kernel may make one of two
            assert process.poll() is None
        for number in signals[1:]:
            process.send_signal(number)
        try:
            rest, errors = process.communicate(timeout=60)
        finally:
            process.kill()
    assert (process.returncode, rest) == (code, said), errors
    assert "stopping: " not in errors


def test_signals_count_also_when_nobody_reads_the_errors_any_more() -> None:
    """As with `make sweep 2>&1 | tee log`, where Ctrl-C ends `tee`, too."""
    reader, writer = os.pipe()
    command = [sys.executable, "-c", BUSY, "1000000000"]
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, stderr=writer, text=True) as process:
        os.close(writer)
        os.close(reader)
        try:
            assert process.stdout
            assert process.stdout.readline() == "busy\n"
            process.send_signal(signal.SIGINT)
            assert process.stdout.readline() == "asked\n"
            process.send_signal(signal.SIGTERM)
            assert process.wait(timeout=60) == 130
        finally:
            process.kill()


LIVE = """
import time
from rich.console import Console
from rich.live import Live
from orchestrator import interrupts

interrupts.at_once()
with Live("drawn", console=Console(force_terminal=True)):
    time.sleep(600)
"""


def test_a_terminal_has_its_cursor_again() -> None:
    ours, theirs = pty.openpty()
    with subprocess.Popen([sys.executable, "-c", LIVE], cwd=ROOT, stdout=theirs, stderr=theirs) as process:
        os.close(theirs)
        try:
            shown = b""
            while b"drawn" not in shown:
                shown += os.read(ours, 1000)
            assert b"\x1b[?25l" in shown
            process.send_signal(signal.SIGINT)
            shown = b""
            while b"is kept" not in shown:
                shown += os.read(ours, 1000)
            assert b"\x1b[?25h" in shown
            assert process.wait(timeout=60) == 130
        finally:
            process.kill()
            os.close(ours)

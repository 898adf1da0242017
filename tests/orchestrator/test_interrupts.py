"""Ctrl-C once drains a sweep, twice ends it at once, also while the main thread is somewhere in Ray."""

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
        ([signal.SIGINT], 3_000_000, 0, "requested\n"),
        ([signal.SIGINT, signal.SIGINT], 1_000_000_000, 130, ""),
        ([signal.SIGTERM, signal.SIGTERM], 1_000_000_000, 130, ""),
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

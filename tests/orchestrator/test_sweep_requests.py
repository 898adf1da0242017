"""Requests that a killed driver has left in the store."""

import os
import socket
import subprocess
import sys

from orchestrator.sweep import _of_the_dead


def test_requests_to_stop_of_this_machines_dead_drivers_are_told_from_others() -> None:
    with subprocess.Popen([sys.executable, "-c", ""]) as ended:
        pass
    host = socket.gethostname()
    assert _of_the_dead(f"{host}-{ended.pid}")
    assert not _of_the_dead(f"{host}-{os.getpid()}")
    assert not _of_the_dead(f"another-{host}-{ended.pid}")
    assert not _of_the_dead("0123456789abcdef")

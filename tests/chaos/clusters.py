"""A Ray of several nodes on one machine, for sweeps that connect to it."""

import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

MANY = {"RAY_ADDRESS": "", "RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER": "1"}
"""What the environment must say for nodes that listen to others: a process that has imported the scheduler says 0."""


@dataclass
class Cluster:
    """A running Ray whose head has no room for trials, and whose nodes have a logical GPU each."""

    process: subprocess.Popen[str]
    address: str
    dashboard: str = ""
    """`http://...`, where it has one."""

    def add(self) -> None:
        """A node joins."""
        self._ask("add")

    def remove(self) -> None:
        """The oldest node dies."""
        self._ask("remove")

    def _ask(self, what: str) -> None:
        assert self.process.stdin
        assert self.process.stdout
        print(what, file=self.process.stdin, flush=True)
        assert self.process.stdout.readline().strip() == what


@contextmanager
def cluster(nodes: int, dashboard: bool = False, cpus: int = 1) -> Iterator[Cluster]:
    """One with so many nodes of so many cores, which looks for nodes that do not answer more often than is usual."""
    command = [sys.executable, str(Path(__file__).with_name("raylets.py")), str(nodes), str(cpus), str(int(dashboard))]
    with subprocess.Popen(
        command, env=os.environ | MANY, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdin
        assert process.stdout
        yield Cluster(process, *process.stdout.readline().split())
        process.stdin.close()

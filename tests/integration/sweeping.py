"""A working folder in which sweeps are started, disturbed and looked at."""

import os
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import psutil

from orchestrator.disk import sha256
from orchestrator.grid import load
from orchestrator.last_resort import SHOWN
from orchestrator.manifests import Manifests
from orchestrator.matrix import Label, expand
from orchestrator.store import Store

ROOT = Path(__file__).parents[2]
PATIENCE = 400  # seconds until a sweep that hangs fails the test


class Folder:
    """A working folder with a grid file and what the sweeps of it leave behind."""

    def __init__(self, path: Path, grid: str, cluster: str = "") -> None:
        """`cluster`: address of a running Ray; without one each sweep starts its own."""
        self.cluster = cluster
        self.path, self.grid = path, path / "grid.yaml"
        self.grid.write_text(grid)
        self.store = Store(path / "results/store")

    def start(self, *arguments: str) -> subprocess.Popen[bytes]:
        """Starts a verb of the orchestrator or another module, a sweep unless given."""
        environment = os.environ | {"PYTHONPATH": str(ROOT), "RAY_ADDRESS": self.cluster, SHOWN: "1"}
        environment.pop("RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER", None)  # the sweep's own business
        command = [sys.executable, "-m", *(arguments or ("orchestrator", "sweep", "grid.yaml"))]
        with open(self.path / "output.txt", "w") as output:
            self.process = subprocess.Popen(
                command, cwd=self.path, env=environment, stdout=output, stderr=output, start_new_session=True
            )
        return self.process

    def output(self) -> str:
        """What the process that was started last has printed."""
        return (self.path / "output.txt").read_text()

    def run(self, *arguments: str) -> tuple[int, str]:
        code = self.start(*arguments).wait(timeout=PATIENCE)
        return code, self.output()

    def labels(self) -> tuple[Label, ...]:
        """The grid's labelled trials, with the contents that preflight found."""
        return expand(load(self.grid), Manifests.read(self.store.root)).labels

    def finished(self) -> dict[tuple[str, str], str]:
        return {address: status for address, status in self.store.index().items() if status == "done"}

    def tables(self) -> dict[str, str]:
        """Digest of every table but that of trials, which says how many seconds each took."""
        tables = (self.path / "results/micro/tables").iterdir()
        return {path.name: sha256(path) for path in tables if path.stem != "trials"}

    def results(self) -> dict[str, str]:
        """Digest of every weights, scores, curves and image file of the store."""
        files = [p for p in self.store.root.rglob("*") if p.suffix in (".safetensors", ".parquet", ".png")]
        return {str(path.relative_to(self.store.root)): sha256(path) for path in files}


def wait_until(condition: Callable[[], bool], process: subprocess.Popen[bytes], patience: float = PATIENCE) -> None:
    deadline = time.monotonic() + patience
    while not condition():
        assert process.poll() is None, "the sweep ended early"
        assert time.monotonic() < deadline
        time.sleep(0.02)


def kill(process: subprocess.Popen[bytes]) -> None:
    """Kills the driver of a sweep as the kernel would, and checks that nothing of it is left 10 s later."""
    family = psutil.Process(process.pid).children(recursive=True)
    process.kill()
    process.wait()
    assert not psutil.wait_procs(family, timeout=10)[1]

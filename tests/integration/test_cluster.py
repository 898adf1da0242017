"""Sweeps on a running Ray of several nodes, each a raylet of its own on this machine, with logical GPUs."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from orchestrator.store import attempts
from tests.chaos.clusters import MANY, cluster
from tests.integration.sweeping import PATIENCE, ROOT, Folder, wait_until

GRID = (ROOT / "tests/chaos/grid.yaml").read_text()
SHARED = GRID.replace("runtime: {", "runtime: {gpus: 0.5, device: cpu, ")
LONG = SHARED.replace("seeds: [0]", "seeds: [0, 1]").replace("steps: 60", "steps: 250")


def nodes_of(folder: Folder) -> set[str]:
    """Ray's ids of the nodes on which trials were started."""
    tries = [attempt for kind, key in folder.finished() for attempt in attempts(folder.store.folder(kind, key))]
    return {str(attempt["node"]) for attempt in tries if attempt["outcome"] == "started"}


def test_nodes_may_join_and_leave_while_a_sweep_runs(tmp_path: Path) -> None:
    with cluster(1) as nodes:
        folder = Folder(tmp_path, LONG, nodes.address)
        process = folder.start()
        wait_until(lambda: len(folder.finished()) >= 1, process)
        nodes.add()
        nodes.add()
        wait_until(lambda: len(nodes_of(folder)) >= 2, process)
        nodes.remove()
        assert process.wait(timeout=PATIENCE) == 0, folder.output()
        assert "Traceback" not in folder.output()
        assert len(nodes_of(folder)) >= 2
    assert not list(folder.store.root.rglob("checkpoint"))
    starts = [
        [attempt["outcome"] for attempt in attempts(folder.store.folder(kind, key))].count("started")
        for kind, key in folder.finished()
    ]
    assert sum(starts) <= len(starts) + 2, "at most what ran on the node that left ran again"


def test_storage_that_a_node_does_not_see_is_refused_in_one_line(tmp_path: Path) -> None:
    if subprocess.run(["unshare", "--mount", "true"], capture_output=True).returncode:
        pytest.skip("this machine does not allow a mount namespace, in which a node would not see the store")
    folder = Folder(tmp_path, SHARED)
    ray = Path(sys.executable).with_name("ray")
    with cluster(1) as nodes:
        folder.cluster = nodes.address
        start = f"mount -t tmpfs tmpfs {tmp_path} && exec {ray} start --address {nodes.address} --num-cpus 1 --block"
        command = ["unshare", "--mount", "sh", "-c", start]
        with subprocess.Popen(command, env=os.environ | MANY, stdout=subprocess.PIPE, text=True) as blind:
            try:
                assert blind.stdout
                assert any("Ray runtime started" in line for line in blind.stdout)
                code, output = folder.run()
            finally:
                blind.terminate()
                blind.communicate(timeout=60)
    assert code == 2, output
    assert "is not shared: 1 of 2 nodes" in output
    assert "Traceback" not in output
    assert not folder.finished()
    shutil.rmtree(folder.store.root)

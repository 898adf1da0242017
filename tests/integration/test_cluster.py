"""Sweeps on a running Ray of several nodes, each a raylet of its own on this machine, with logical GPUs."""

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import permutations
from pathlib import Path
from typing import NamedTuple

import pytest

from orchestrator.history import attempts
from tests.chaos.clusters import MANY, cluster
from tests.integration.sweeping import PATIENCE, ROOT, Folder, wait_until

GRID = (ROOT / "tests/chaos/grid.yaml").read_text()
SHARED = GRID.replace("runtime: {", "runtime: {gpus: 0.5, device: cpu, ")
LONG = re.sub(r"steps: (60|150)\b", "steps: 400", SHARED)
LONGER = LONG.replace("seeds: [0]", "seeds: [0, 1]")
MOST_TRAINED = 100
"""Steps after which a trial still has seconds to go."""


class Run(NamedTuple):
    """A whole attempt at a trial."""

    node: str
    begun: float
    ended: float


def runs_of(folder: Folder) -> list[Run]:
    """The last attempt at each finished trial."""
    runs = []
    for kind, key in folder.finished():
        *_, begun, ended = folder.store.record(kind, key)["attempts"]
        assert (begun["outcome"], ended["outcome"]) == ("started", "done")
        runs.append(Run(begun["node"], begun["time"], ended["time"]))
    return runs


def nodes_of(folder: Folder) -> set[str]:
    """Ray's ids of the nodes on which trials have finished."""
    return {run.node for run in runs_of(folder)}


def in_training(folder: Folder, node: str) -> dict[tuple[str, str], int]:
    """The step of the newest checkpoint of each trial that a node has begun to train."""
    found = {}
    for file in sorted(folder.store.root.glob("*/*/checkpoint/*/*-*.pt")):
        (kind, key), step = file.relative_to(folder.store.root).parts[:2], int(file.name.partition("-")[0])
        by = folder.store.holder(kind, key)
        if by and by.node == node and step < MOST_TRAINED:
            found[kind, key] = step
    return found


def test_nodes_may_join_and_leave_while_a_sweep_runs(tmp_path: Path) -> None:
    with cluster(1, cpus=2) as nodes:
        folder = Folder(tmp_path, LONGER, nodes.address)
        process = folder.start()
        wait_until(lambda: len(folder.finished()) >= 1, process)
        (oldest,) = nodes_of(folder)
        nodes.add()
        nodes.add()
        wait_until(lambda: bool(in_training(folder, oldest)), process)
        trained = in_training(folder, oldest)
        nodes.remove()
        assert process.wait(timeout=PATIENCE) == 0, folder.output()
        assert "Traceback" not in folder.output()
    assert len(nodes_of(folder)) >= 2
    pairs = permutations(runs_of(folder), 2)
    assert any(one.node == other.node and one.begun < other.begun < one.ended for one, other in pairs), (
        "two trials share a GPU"
    )
    went_on = {address: folder.store.record(*address)["measured"]["first_step"] for address in trained}
    assert went_on
    assert all(step >= trained[address] for address, step in went_on.items()), (went_on, trained)
    assert not list(folder.store.root.rglob("checkpoint"))
    starts = [
        [attempt["outcome"] for attempt in attempts(folder.store.folder(kind, key))].count("started")
        for kind, key in folder.finished()
    ]
    assert sum(starts) <= len(starts) + 2, "at most what ran on the node that left ran again"


@contextmanager
def blind_node(address: str, hidden: Path) -> Iterator[None]:
    """Within it a node of the cluster sees an empty folder in the place of `hidden`."""
    if subprocess.run(["unshare", "--mount", "true"], capture_output=True).returncode:
        pytest.skip("this machine does not allow a mount namespace, in which a node would not see the store")
    ray = Path(sys.executable).with_name("ray")
    start = f"mount -t tmpfs tmpfs {hidden} && exec {ray} start --address {address} --num-cpus 1 --num-gpus 1 --block"
    command = ["unshare", "--mount", "sh", "-c", start]
    with subprocess.Popen(command, env=os.environ | MANY, stdout=subprocess.PIPE, text=True) as blind:
        try:
            assert blind.stdout
            assert any("Ray runtime started" in line for line in blind.stdout)
            yield
        finally:
            blind.terminate()
            blind.communicate(timeout=60)


def test_storage_that_a_node_does_not_see_is_refused_in_one_line(tmp_path: Path) -> None:
    folder = Folder(tmp_path, SHARED)
    with cluster(1) as nodes, blind_node(nodes.address, tmp_path):
        folder.cluster = nodes.address
        code, output = folder.run()
    assert code == 2, output
    assert "is not shared: 1 of 2 nodes" in output
    assert "Traceback" not in output
    assert not folder.finished()
    shutil.rmtree(folder.store.root)


def test_a_node_that_joins_without_the_storage_runs_no_trial_and_fails_none(tmp_path: Path) -> None:
    with cluster(1) as nodes:
        folder = Folder(tmp_path, LONG, nodes.address)
        process = folder.start()
        wait_until(lambda: len(folder.finished()) >= 1, process)
        with blind_node(nodes.address, tmp_path):
            wait_until(lambda: "does not see runtime.storage" in folder.output(), process)
            assert process.wait(timeout=PATIENCE) == 0, folder.output()
    lines = [line for line in folder.output().splitlines() if "does not see" in line]
    assert len(lines) == 1, "it is told once"
    assert lines[0].endswith("until then no trial runs there")
    assert len(nodes_of(folder)) == 1
    for kind, key in folder.finished():
        assert [one["outcome"] for one in folder.store.attempts(kind, key)] == ["started", "done"]

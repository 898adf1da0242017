"""Sweeps whose store is in an object store end with the tables of one in a folder, and run nothing twice."""

import shutil
import signal
from pathlib import Path

import pytest

from orchestrator.remote import Replica
from tests.chaos.clusters import cluster
from tests.integration.sweeping import PATIENCE, ROOT, Folder, wait_until

GRID = (ROOT / "tests/chaos/grid.yaml").read_text().replace("checkpoint_seconds: 0.1, hang_seconds: 10", "")


@pytest.fixture(scope="module")
def in_a_folder(tmp_path_factory: pytest.TempPathFactory) -> Folder:
    folder = Folder(tmp_path_factory.mktemp("undisturbed"), GRID)
    code, output = folder.run()
    assert code == 0, output
    return folder


class Bucket(Folder):
    """A working folder whose store is in an object store; `store` is a copy that no sweep knows of."""

    def __init__(self, path: Path, storage: str, runtime: str, cluster: str = "") -> None:
        self.runtime = f"runtime: {{storage: '{storage}', checkpoint_seconds: 0.5, {runtime}"
        super().__init__(path, GRID.replace("runtime: {", self.runtime), cluster)
        self.store = Replica(storage, path / "seen")

    def done(self) -> int:
        """How many trials are finished."""
        return len(self.store.objects.names("done"))

    def outcomes(self) -> dict[str, list[str]]:
        """How the attempts at each finished trial ended."""
        records = {name: self.store.record(kind, name) for kind, name in self.finished()}
        return {name: [attempt["outcome"] for attempt in record["attempts"]] for name, record in records.items()}


def check(bucket: Bucket, reference: Folder) -> None:
    """That all is as in a folder, every trial was finished once, and nothing is left behind."""
    assert bucket.finished() == reference.finished()
    for address in bucket.finished():
        bucket.store.fetch(*address)
    assert bucket.tables() == reference.tables()
    assert bucket.results() == reference.results()
    assert {outcomes.count("done") for outcomes in bucket.outcomes().values()} == {1}
    left = {name.split("/")[0] for name in bucket.store.objects.names("")} - {kind for kind, _ in bucket.finished()}
    assert left == {"done", "manifests.json", "sources.json"}


def test_a_sweep_that_is_interrupted_and_loses_its_copy_goes_on(
    in_a_folder: Folder, storage: str, tmp_path: Path
) -> None:
    bucket = Bucket(tmp_path, storage, "cache: here, ")
    process = bucket.start()
    wait_until(lambda: bucket.done() >= 4, process)
    process.send_signal(signal.SIGINT)
    assert process.wait(timeout=PATIENCE) == 130, bucket.output()
    before = bucket.finished()
    assert 4 <= len(before) < len(in_a_folder.finished())
    shutil.rmtree(tmp_path / "here/stores")
    code, output = bucket.run()
    assert code == 0, output
    check(bucket, in_a_folder)
    shutil.rmtree(tmp_path / "here/stores")
    code, output = bucket.run()
    assert (code, "Ray dashboard" in output, "Traceback" in output) == (0, False, False), output
    check(bucket, in_a_folder)
    code, output = bucket.run("orchestrator", "fsck", "grid.yaml")
    assert (code, "13 finished trials, 0 damaged or stale" in output) == (0, True), output


def test_two_drivers_that_share_a_bucket_run_each_trial_once(in_a_folder: Folder, storage: str, tmp_path: Path) -> None:
    buckets = []
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
        buckets.append(Bucket(tmp_path / name, storage, "cache: here, "))
    for process in [bucket.start() for bucket in buckets]:
        assert process.wait(timeout=PATIENCE) == 0, "".join(bucket.output() for bucket in buckets)
    for bucket in buckets:
        check(bucket, in_a_folder)
    assert all(outcomes == ["started", "done"] for outcomes in buckets[0].outcomes().values())


def test_nodes_that_share_no_folder_sweep_together_and_one_that_dies_costs_little(
    in_a_folder: Folder, storage: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("NODES", str(tmp_path / "nodes"))
    monkeypatch.setenv("NODE", str(tmp_path / "nodes/driver"))
    with cluster(2) as nodes:
        bucket = Bucket(tmp_path, storage, "cache: $NODE, ", nodes.address)
        process = bucket.start()
        wait_until(lambda: bucket.done() >= 5, process)
        nodes.remove()
        assert process.wait(timeout=PATIENCE) == 0, bucket.output()
    assert "Traceback" not in bucket.output()
    assert {path.name for path in (tmp_path / "nodes").iterdir()} == {"driver", "0", "1"}
    check(bucket, in_a_folder)
    outcomes = bucket.outcomes().values()
    assert sum(one.count("started") for one in outcomes) <= len(outcomes) + 1, "at most what ran on the node that died"

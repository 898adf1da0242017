"""One live process holds a trial: one that dies loses it at once, one that hangs later, and then writes nothing."""

import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from orchestrator import lease
from orchestrator.identity import key
from orchestrator.lease import Watch, hold, holder
from orchestrator.matrix import Study
from orchestrator.spec import Trial
from orchestrator.store import Store, identity_record

ROOT = Path(__file__).parents[2]
WORKER = """
import sys, json, pathlib
from orchestrator import lease
from orchestrator.store import Store
lease.BEAT_SECONDS = 0.05
store, kind, key = Store(sys.argv[1]), sys.argv[2], sys.argv[3]
with store.claim(kind, key, node="n1"):
    work = store.workspace(kind, key)
    (work / "scores.parquet").write_text("of the first")
    print("held", flush=True)
    sys.stdin.readline()
    (work / "curves.parquet").write_text("of the first")
    store.finish(work, json.loads(sys.argv[4]))
"""


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(tmp_path)


@pytest.fixture
def trial(micro: Study, store: Store) -> Trial:
    """One that is prepared."""
    found = next(label.spec for label in micro.labels if label.role == "metric")
    store.prepare(found)
    return found


@pytest.fixture(autouse=True)
def _impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lease, "STALE_SECONDS", 1.0)
    monkeypatch.setattr(lease, "LOOK_SECONDS", 0.01)


def record(spec: Trial) -> dict[str, object]:
    return {**identity_record(spec), "status": "done", "numbers": {}, "seconds": 1.0}


@pytest.fixture
def worker(store: Store, trial: Trial) -> Iterator[subprocess.Popen[str]]:
    """A process that holds the trial, has written half of its results, and finishes when it reads a line."""
    command = [sys.executable, "-c", WORKER, str(store.root), trial.KIND, key(trial), json.dumps(record(trial))]
    pipe = subprocess.PIPE
    with subprocess.Popen(command, cwd=ROOT, stdin=pipe, stdout=pipe, stderr=pipe, text=True) as process:
        assert process.stdout
        assert process.stdout.readline() == "held\n"
        yield process
        process.kill()


def test_a_holder_that_hangs_loses_the_trial_and_writes_nothing_when_it_goes_on(
    store: Store, trial: Trial, worker: subprocess.Popen[str]
) -> None:
    worker.send_signal(signal.SIGSTOP)
    with store.claim(trial.KIND, key(trial), give_up=lambda: False) as folder:
        work = store.workspace(trial.KIND, key(trial))
        (work / "scores.parquet").write_text("of the second")
        worker.send_signal(signal.SIGCONT)
        _, errors = worker.communicate("go on\n", timeout=60)
        assert (worker.returncode, "FileNotFoundError" in errors) == (1, True), errors
        assert store.status(trial.KIND, key(trial)) is None
        store.finish(work, record(trial))
    assert sorted(store.record(trial.KIND, key(trial))["files"]) == ["scores.parquet"]
    assert (folder / "scores.parquet").read_text() == "of the second"
    assert not list(folder.rglob("*work*"))


def test_a_holder_that_hung_and_was_faster_after_all_is_believed(
    store: Store, trial: Trial, worker: subprocess.Popen[str]
) -> None:
    worker.communicate("go on\n", timeout=60)
    with store.claim(trial.KIND, key(trial)) as folder:
        assert store.status(trial.KIND, key(trial)) == "done"
        assert (folder / "curves.parquet").read_text() == "of the first"


def test_a_holder_that_lives_keeps_it_whatever_the_clocks_do(
    store: Store, trial: Trial, worker: subprocess.Popen[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    lock, started = store.folder(trial.KIND, key(trial)) / "lock", time.monotonic()
    monkeypatch.setattr(time, "time", lambda: 4e9)  # this machine's clock jumps a century ahead
    os.utime(lock, (1, 1))
    patience = started + 3 * lease.STALE_SECONDS
    with (
        pytest.raises(BlockingIOError, match="another live process works on this trial"),
        store.claim(trial.KIND, key(trial), give_up=lambda: time.monotonic() > patience),
    ):
        pass
    found = holder(lock)
    assert found is not None
    assert (found.process, found.node) == (worker.pid, "n1")
    assert found.beat > 1


def test_of_many_who_wait_for_one_that_hangs_one_gets_it_at_a_time(
    store: Store, trial: Trial, worker: subprocess.Popen[str]
) -> None:
    worker.send_signal(signal.SIGSTOP)
    lock = store.folder(trial.KIND, key(trial)) / "lock"
    inside, most, entered = 0, 0, 0
    counting = threading.Lock()

    def wait() -> None:
        nonlocal inside, most, entered
        with hold(lock, give_up=lambda: False):
            with counting:
                inside, entered = inside + 1, entered + 1
                most = max(most, inside)
            threading.Event().wait(0.02)
            with counting:
                inside -= 1

    waiting = [threading.Thread(target=wait) for _ in range(8)]
    for thread in waiting:
        thread.start()
    for thread in waiting:
        thread.join(timeout=60)
    assert (most, entered) == (1, 8)


def test_a_released_lock_names_nobody(store: Store, trial: Trial) -> None:
    lock = store.folder(trial.KIND, key(trial)) / "lock"
    assert holder(lock) is None
    with hold(lock, give_up=lambda: True):
        assert holder(lock) is not None
    assert holder(lock) is None
    lock.write_text("no JSON")
    assert holder(lock) is None


def test_a_pause_of_the_one_who_waits_does_not_count(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    now = 0.0
    monkeypatch.setattr(time, "monotonic", lambda: now)
    monkeypatch.setattr(lease, "STALE_SECONDS", 5.0)
    watch = Watch()
    with open(tmp_path / "lock", "w+b", buffering=0) as file:
        file.write(b"a beat")
        for _ in range(4):
            now += 1000.0
            assert not watch.stale(file)
        for _ in range(3):
            now += 1.0
            stale = watch.stale(file)
        assert stale


def test_a_beat_that_changes_is_never_stale(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    now = 0.0
    monkeypatch.setattr(time, "monotonic", lambda: now)
    watch = Watch()
    with open(tmp_path / "lock", "w+b", buffering=0) as file:
        for beat in range(5):
            file.write(b"x" * beat)
            now += 0.9
            assert not watch.stale(file)
        for _ in range(2):
            now += 0.9
            stale = watch.stale(file)
        assert stale

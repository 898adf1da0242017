"""The store: DONE is last whatever moment a process dies at, one process works on a trial, the index tells statuses."""

import hashlib
import json
import os
import re
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from orchestrator import disk, integrity, lease
from orchestrator.disk import write_atomic
from orchestrator.fence import WORK
from orchestrator.history import attempts, note_attempt, note_progress
from orchestrator.identity import digest, key
from orchestrator.matrix import Study
from orchestrator.spec import KINDS, Trial, decode
from orchestrator.store import Store, data_files, identity_record

ROOT = Path(__file__).parents[2]
RESULTS = {"scores.parquet": b"scores", "weights/backbone.safetensors": b"weights", "images/a/0.png": b"image"}


class Killed(BaseException):
    """Stands for a process that dies: nothing catches it."""


class Events:
    """Hears of every change of the file system that Python makes, and every look into a folder, before it is made."""

    HEARD = ("os.rename", "os.remove", "os.rmdir", "os.mkdir", "os.truncate", "os.link", "os.symlink", "os.listdir")

    @staticmethod
    def events(event: str, path: object) -> None:
        """Called with each."""

    @classmethod
    def hear(cls, event: str, arguments: tuple[Any, ...]) -> None:
        written = event == "open" and isinstance(arguments[2], int) and arguments[2] & (os.O_WRONLY | os.O_RDWR)
        if written or event in cls.HEARD:
            cls.events(event, arguments[0])


sys.addaudithook(Events.hear)  # for the rest of the process: there is no way to take one off


@pytest.fixture
def trial(micro: Study) -> Trial:
    return next(label.spec for label in micro.labels if label.role == "metric")


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(tmp_path / "store")


def run(store: Store, spec: Trial, status: str = "done") -> Path:
    """What a sweep does with one trial."""
    folder = store.prepare(spec)
    with store.claim(spec.KIND, key(spec)):
        (folder / "checkpoint").mkdir(exist_ok=True)
        write_atomic(folder / "checkpoint" / "state.txt", "step 3")
        write_atomic(folder / "progress.json", "{}")
        store.finish(results(store, spec), finished(spec, status))
    return folder


def results(store: Store, spec: Trial) -> Path:
    """A workspace with the files of a trial whose folder is claimed."""
    work = store.workspace(spec.KIND, key(spec))
    for name, content in RESULTS.items():
        (work / name).parent.mkdir(parents=True, exist_ok=True)
        (work / name).write_bytes(content)
    return work


def finished(spec: Trial, status: str = "done") -> dict[str, Any]:
    return {**identity_record(spec), "status": status, "numbers": {}, "seconds": 1.0}


def is_whole(store: Store, spec: Trial) -> bool:
    folder = store.folder(spec.KIND, key(spec))
    record = store.record(spec.KIND, key(spec))
    decode(json.loads((folder / "spec.json").read_text()))
    digests = {name: hashlib.sha256(content).hexdigest() for name, content in RESULTS.items()}
    return bool(record["files"] == digests)


def test_a_finished_trial_is_whole(store: Store, trial: Trial) -> None:
    assert store.status(trial.KIND, key(trial)) is None
    folder = run(store, trial)
    assert store.status(trial.KIND, key(trial)) == "done"
    assert is_whole(store, trial)
    assert not (folder / "checkpoint").exists()
    record = store.record(trial.KIND, key(trial))
    assert (record["key"], record["digest"]) == (key(trial), digest(trial))
    assert {role: parent["kind"] for role, parent in record["parents"].items()} == {}
    assert data_files(folder) == sorted(RESULTS)
    assert not [path for path in folder.rglob("*") if path.name.startswith(".")]


def test_every_file_and_folder_of_a_finished_trial_reaches_the_disk_before_done(
    store: Store, trial: Trial, monkeypatch: pytest.MonkeyPatch
) -> None:
    fsync, replace, synced = os.fsync, os.replace, list[str]()

    def sync(file: int) -> None:
        path = os.readlink(f"/proc/self/fd/{file}")
        synced.append(re.sub(rf".*/{re.escape(WORK)}\w+/\w+/", "", path))
        fsync(file)

    def move(source: Path, target: Path) -> None:
        synced.append(f"moved {target.name}")
        replace(source, target)

    monkeypatch.setattr(os, "fsync", sync)
    monkeypatch.setattr(os, "replace", move)
    folder = run(store, trial)
    end = synced.index("moved DONE")
    assert {*RESULTS, "weights", "images", "images/a", "record.json", "DONE"} <= set(synced[:end])
    assert str(folder) == synced[end - 1] == synced[end + 1]


@pytest.mark.parametrize("function", ["events", "fsync", "write"])
def test_death_between_any_two_writes_never_leaves_done_with_anything_missing(
    function: str, store: Store, trial: Trial, monkeypatch: pytest.MonkeyPatch
) -> None:
    """`events`: every file that is opened to be written, every move, removal and folder that is made."""
    holder: Any = {"events": Events, "write": disk}.get(function, os)
    real, calls, last = getattr(holder, function), 0, 0

    def dies(*arguments: Any, **named: Any) -> Any:
        nonlocal calls
        calls += 1
        if calls == last:
            raise Killed
        return real(*arguments, **named)

    for last in range(1, 100):
        calls, fresh = 0, Store(store.root / str(last))
        with monkeypatch.context() as patch:
            patch.setattr(holder, function, dies)
            try:
                run(fresh, trial)
            except Killed:
                pass
            else:
                break
        status = fresh.status(trial.KIND, key(trial))
        assert status is None or is_whole(fresh, trial)
        assert fresh.index() == ({(trial.KIND, key(trial)): status} if status else {})
        run(fresh, trial)
        assert fresh.status(trial.KIND, key(trial)) == "done"
        assert is_whole(fresh, trial)
    assert {"events": 20, "fsync": 9, "write": 4}[function] <= last < 99, "the n-th call was outlived"


def test_a_holder_that_hangs_between_any_two_writes_spoils_nothing_when_it_goes_on(
    store: Store, trial: Trial, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It hangs before its n-th change or look, from the first try for the lease on; another takes the lease and runs
    the trial, then it goes on."""
    address, calls, last = (trial.KIND, key(trial)), 0, 0
    monkeypatch.setattr(lease.Watch, "stale", lambda *_: True)

    def taken_over(_event: str, _path: object) -> None:
        nonlocal calls
        calls += 1
        if calls == last:
            other = Store(fresh.root)
            with other.claim(*address):
                if other.status(*address) is None:
                    other.finish(results(other, trial), finished(trial))

    lost = 0
    for last in range(1, 100):
        fresh = Store(store.root / str(last))
        (fresh.prepare(trial) / "weights").mkdir()  # by an attempt that was killed in `finish`
        calls = 0
        with monkeypatch.context() as patch:
            patch.setattr(Events, "events", taken_over)
            try:
                with fresh.claim(*address):
                    if fresh.status(*address) is None:
                        fresh.finish(results(fresh, trial), finished(trial))
            except (FileNotFoundError, BlockingIOError):
                lost += 1
        if calls < last:
            break
        assert not integrity.faults(fresh, [address], deep=True)
        assert is_whole(fresh, trial)
        assert [one["outcome"] for one in fresh.record(*address)["attempts"]] == ["done"]
        assert not list(fresh.folder(*address).rglob("*work*"))
    assert 20 <= lost < last < 99


@pytest.mark.parametrize("verb", ["reopen", "remove"])
def test_who_hangs_while_it_takes_a_finished_trial_away_spoils_nothing_that_another_made_meanwhile(
    verb: str, store: Store, trial: Trial, monkeypatch: pytest.MonkeyPatch
) -> None:
    address, calls, last, ran = (trial.KIND, key(trial)), 0, 0, False
    monkeypatch.setattr(lease.Watch, "stale", lambda *_: True)

    def taken_over(_event: str, _path: object) -> None:
        nonlocal calls, ran
        calls += 1
        if calls == last:
            other = Store(fresh.root)
            other.prepare(trial)
            with other.claim(*address):
                if other.status(*address) is None:
                    other.finish(results(other, trial), finished(trial))
                    ran = True

    lost = spared = 0
    for last in range(1, 100):
        fresh = Store(store.root / str(last))
        run(fresh, trial)
        calls, ran, gone = 0, False, True
        with monkeypatch.context() as patch:
            patch.setattr(Events, "events", taken_over)
            try:
                if verb == "remove":
                    fresh.remove(*address)
                else:
                    fresh.reopen(*address, lambda: "damaged")
            except (FileNotFoundError, BlockingIOError):
                lost, gone = lost + 1, False
        if calls < last:
            break
        spared += ran
        if ran or not gone:
            assert not integrity.faults(fresh, [address], deep=True), last
            assert is_whole(fresh, trial)
        else:
            assert fresh.folder(*address).exists() == (verb == "reopen")
            assert fresh.status(*address) is None
    assert lost >= 4
    assert spared >= 4
    assert last < 99


def test_a_folder_that_is_removed_goes_with_all_that_is_in_it(store: Store, trial: Trial) -> None:
    folder = run(store, trial)
    (folder / "work.dead").mkdir()
    store.remove(trial.KIND, key(trial))
    assert not folder.exists()
    assert folder.parent.exists()


def test_results_are_no_leftovers_whatever_their_names_end_with(store: Store, trial: Trial) -> None:
    folder = store.prepare(trial)
    for left in ("work.dead", ".work.dead"):
        (folder / left).mkdir()
    with store.claim(trial.KIND, key(trial)):
        work = results(store, trial)
        (work / "network.json").touch()
        store.finish(work, finished(trial))
    with store.claim(trial.KIND, key(trial)):
        assert (folder / "network.json").exists()
    assert not list(folder.glob("*work.d*"))


def test_who_asks_for_what_this_process_holds_takes_nothing_from_it(store: Store, trial: Trial) -> None:
    store.prepare(trial)
    with store.claim(trial.KIND, key(trial)):
        with pytest.raises(BlockingIOError), store.claim(trial.KIND, key(trial)):
            pass
        store.finish(results(store, trial), finished(trial))
    assert is_whole(store, trial)


def test_what_kills_have_left_beside_the_trials_goes_after_a_day(store: Store) -> None:
    store.root.mkdir()
    old, new = [store.root / f".{name}" for name in ("audit-x", "restore-x")], store.root / ".audit-y"
    for folder in (*old, new):
        folder.mkdir()
        (folder / "scores.parquet").touch()
    for folder in old:
        os.utime(folder, (0, 0))
    assert store.tidy([]) == 0
    assert list(store.root.iterdir()) == [new]


def test_write_atomic_leaves_the_old_text_when_it_dies(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_atomic(tmp_path / "x", "old")

    def dies(*_: object) -> None:
        raise Killed

    monkeypatch.setattr(os, "replace", dies)
    with pytest.raises(Killed):
        write_atomic(tmp_path / "x", "new and longer")
    assert (tmp_path / "x").read_text() == "old"


HOLD = """
import sys, time
from orchestrator.store import Store
with Store(sys.argv[1]).claim(sys.argv[2], sys.argv[3]):
    print("held", flush=True)
    time.sleep(60)
"""


def test_claim_excludes_a_second_process_and_dies_with_its_holder(store: Store, trial: Trial) -> None:
    store.prepare(trial)
    address = (trial.KIND, key(trial))
    command = [sys.executable, "-c", HOLD, str(store.root), *address]
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True) as holder:
        assert holder.stdout
        assert holder.stdout.readline() == "held\n"
        with pytest.raises(BlockingIOError, match="another live process works on this trial"), store.claim(*address):
            pass
        holder.send_signal(signal.SIGKILL)
        holder.wait()
        with store.claim(*address, give_up=lambda: False) as folder:
            assert folder == store.folder(*address)


def test_claim_is_released_at_its_end_and_by_an_error(store: Store, trial: Trial) -> None:
    store.prepare(trial)
    for _ in range(2):
        with pytest.raises(Killed), store.claim(trial.KIND, key(trial)):
            raise Killed


def test_index_equals_the_statuses(store: Store, micro: Study) -> None:
    specs = list({key(label.spec): label.spec for label in micro.labels}.values())
    expected: dict[tuple[str, str], str] = {}
    for i, spec in enumerate(specs):
        match i % 4:
            case 0 | 1:
                expected[spec.KIND, key(spec)] = ("done", "diverged")[i % 4]
                run(store, spec, expected[spec.KIND, key(spec)])
            case 2:
                expected[spec.KIND, key(spec)] = "failed"
                store.prepare(spec)
                store.fail(spec.KIND, key(spec), "because")
            case _:
                store.prepare(spec)
    (store.root / "pretext").mkdir(exist_ok=True)
    (store.root / "pretext" / "stray file").touch()
    assert store.index() == expected
    assert all(store.status(spec.KIND, key(spec)) == expected.get((spec.KIND, key(spec))) for spec in specs)


def test_index_of_no_folder_is_empty(store: Store) -> None:
    assert store.index() == {}


def test_failed_trial_is_open_again_once_prepared_and_done_outlasts_an_old_failure(store: Store, trial: Trial) -> None:
    store.prepare(trial)
    store.fail(trial.KIND, key(trial), "out of memory")
    assert store.status(trial.KIND, key(trial)) == "failed"
    store.prepare(trial)
    assert store.status(trial.KIND, key(trial)) is None
    run(store, trial)
    assert store.status(trial.KIND, key(trial)) == "done"


def test_history_of_attempts_is_kept_in_order_and_goes_into_the_record(store: Store, trial: Trial) -> None:
    folder = store.prepare(trial)
    assert attempts(folder) == []
    note_attempt(folder, outcome="error", traceback="Traceback\nValueError: x")
    note_attempt(folder, outcome="interrupted")
    run(store, trial)
    outcomes = [attempt["outcome"] for attempt in store.record(trial.KIND, key(trial))["attempts"]]
    assert outcomes == ["error", "interrupted", "done"]
    assert attempts(folder)[0]["traceback"] == "Traceback\nValueError: x"


def test_a_line_of_the_history_that_was_cut_short_is_not_the_end_of_the_trial(store: Store, trial: Trial) -> None:
    folder = store.prepare(trial)
    note_attempt(folder, outcome="error")
    with open(folder / "attempts.jsonl", "a") as file:
        file.write('{"time": 1.0, "outc')
    run(store, trial)
    outcomes = [attempt.get("outcome") for attempt in store.record(trial.KIND, key(trial))["attempts"]]
    assert outcomes[0] == "error"
    assert outcomes[-1] == "done"


@pytest.mark.parametrize("place", ["store", f"store/{next(iter(KINDS))}"])
def test_a_file_in_the_place_of_the_folder_is_an_os_error(
    place: str, store: Store, micro: Study, tmp_path: Path
) -> None:
    (tmp_path / place).parent.mkdir(exist_ok=True)
    (tmp_path / place).touch()
    pretext = next(label.spec.weights for label in micro.labels if label.loss == "convnext")  # type: ignore[attr-defined]
    with pytest.raises(OSError, match=r"exists|Not a directory"):
        store.prepare(pretext)
    if place == "store":
        with pytest.raises(OSError, match="exists"):
            store.check_writable()


def test_check_writable_leaves_nothing_behind(store: Store) -> None:
    store.check_writable()
    assert list(store.root.iterdir()) == []


DAMAGED = ("", "5", "[1]", '[["time", 1]]', '"x"', "null", "[" * 100_000, "\0", "{")


@pytest.mark.parametrize(
    "line",
    [
        *DAMAGED,
        "{}",
        '{"time": 1.0}',
        '{"outcome": "started"}',
        '{"time": "1", "outcome": "started"}',
        '{"time": 1e300, "outcome": "started"}',
        '{"time": NaN, "outcome": "started"}',
        '{"time": 1.0, "outcome": ["started"]}',
    ],
)
def test_a_damaged_line_of_the_history_is_passed_over(line: str, store: Store, trial: Trial) -> None:
    folder = store.prepare(trial)
    note_attempt(folder, outcome="error")
    with open(folder / "attempts.jsonl", "a") as file:
        file.write(f"{line}\n")
    note_attempt(folder, outcome="started")
    assert [one["outcome"] for one in attempts(folder)] == ["error", "started"]


@pytest.mark.parametrize(
    "content",
    [
        *DAMAGED,
        '{"step": "x", "steps": 3}',
        '{"step": 1, "steps": NaN}',
        f'{{"step": 1{"0" * 400}, "steps": 3}}',
        '{"step": 1, "steps": 3, "gpu_bytes": []}',
        '{"step": 1, "steps": 3, "values": 5}',
        '{"step": 1, "steps": 3, "values": {"loss": "x"}}',
    ],
)
def test_damaged_progress_is_none(content: str, store: Store, trial: Trial) -> None:
    folder = store.prepare(trial)
    (folder / "progress.json").write_text(content)
    assert store.progress(trial.KIND, key(trial)) is None


def test_progress_of_a_training_that_diverges_is_told(store: Store, trial: Trial) -> None:
    note_progress(store.prepare(trial), 1, 3, per_second=0.5, values={"loss": float("nan")})
    found = store.progress(trial.KIND, key(trial))
    assert found
    assert (found["step"], found["steps"], found["per_second"]) == (1, 3, 0.5)

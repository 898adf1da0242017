"""What is done to a sweep, one function a fault.

Each takes an arena in which nothing has run and the round's own chance, disturbs, settles, checks, and returns whether
it struck: a fault that came too late has tested nothing.
"""

import json
import random
import shutil
import signal
import sqlite3
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import psutil

from orchestrator import integrity
from orchestrator.identity import key
from orchestrator.store import identity_record
from tests.chaos.arena import Arena, Lie

Fault = Callable[[Arena, random.Random], bool]


def driver_killed(arena: Arena, chance: random.Random) -> bool:
    """SIGKILL of the driver."""
    struck = arena.start_and_kill(chance)
    arena.settle()
    arena.check(strikes=1)
    return struck


def interrupted(arena: Arena, chance: random.Random) -> bool:
    """Ctrl-C."""
    return _asked_to_stop(arena, chance, signal.SIGINT)


def terminated(arena: Arena, chance: random.Random) -> bool:
    """SIGTERM to the driver."""
    return _asked_to_stop(arena, chance, signal.SIGTERM)


def _asked_to_stop(arena: Arena, chance: random.Random, number: signal.Signals) -> bool:
    process = arena.start()
    struck = arena.moment(chance, process)
    process.send_signal(number)
    arena.end(process, 0, 130, -number)  # -number: before Python, or Ray, was there
    arena.check_no_orphans()
    arena.settle()
    arena.check(strikes=1)
    return struck


def trial_killed(arena: Arena, chance: random.Random) -> bool:
    """SIGKILL of a trial's process: the sweep itself must go on."""
    process = arena.start()
    if found := arena.a_worker(chance, process):
        with suppress(psutil.Error):
            found[0].kill()
    arena.end(process, 0)
    arena.check(strikes=1)
    return found is not None


def trial_hung(arena: Arena, chance: random.Random) -> bool:
    """SIGSTOP of a trial's process, which the sweep ends after hang_seconds."""
    process = arena.start()
    if found := arena.a_worker(chance, process):
        with suppress(psutil.Error):
            found[0].suspend()
    arena.end(process, 0)
    arena.check_no_orphans()
    arena.check(strikes=1)
    return found is not None


def write_killed(arena: Arena, chance: random.Random) -> bool:
    """SIGKILL between any two writes of a trial to the store, with a checkpoint after each step."""
    assert arena.undisturbed
    shutil.copytree(arena.undisturbed.path, arena.path, dirs_exist_ok=True)
    specs = sorted({(label.spec.KIND, key(label.spec)): label.spec for label in arena.labels()}.items())
    kind = chance.choice(sorted({address[0] for address, _ in specs}))
    spec = chance.choice([spec for address, spec in specs if address[0] == kind])
    folder, before = arena.store.folder(kind, key(spec)), arena.results()

    def run(last: int) -> tuple[int, str]:
        arena.store.prepare(spec)
        config = {
            "store": str(arena.store.root),
            "kind": kind,
            "key": key(spec),
            "identity": identity_record(spec),
            "stop": str(arena.path / "stop"),
            "cache": str(arena.path / "cache"),
            "device": "cpu",
            "checkpoint_seconds": 0.0,
            "provenance": {},
        }
        return arena.run("tests.chaos.one_trial", json.dumps(config), str(last))

    shutil.rmtree(folder)
    code, output = run(0)
    last = chance.randint(1, int(output.split()[-1])) if code == 0 else 0
    shutil.rmtree(folder)
    died, _ = run(last)
    finished = arena.store.status(kind, key(spec))
    if finished and integrity.faults(arena.store, [(kind, key(spec))], deep=True):
        raise Lie(f"{kind} was killed before its change {last}, and is finished but not whole")
    code, output = run(0)
    if code != 0 or arena.results() != before:
        raise Lie(f"{kind} was killed before its change {last}: {output[-800:]}")
    left = {path.name for path in folder.iterdir()} & {"checkpoint", "FAILED"} or list(folder.glob("*work.*"))
    if left and not finished:
        raise Lie(f"{kind} was killed before its change {last}: left behind: {left}")
    return died == -signal.SIGKILL


def disk_full(arena: Arena, chance: random.Random) -> bool:
    """No space left on device, in the store or in all of results/."""
    place = arena.store.root if chance.random() < 0.5 else arena.store.root.parent
    with small_disk(place) as resize:
        process = arena.start()
        arena.moment(chance, process)
        used = sum(file.stat().st_blocks * 512 for file in place.rglob("*") if file.is_file())
        resize(f"size={used + chance.randrange(500_000)}")
        code = arena.end(process, 0, 1, 2)
        if code and "space left" not in arena.output() and "MLflow was not filled" not in arena.output():
            raise Lie(f"does not say that the disk is full: {arena.output()[-800:]}")
        struck = "space left" in arena.output() or code != 0
        if "Traceback" in arena.output():
            raise Lie(f"a traceback: {arena.output()[-800:]}")
        resize(ROOMY)
        arena.settle()
        arena.check(strikes=99)
    return struck


def damaged(arena: Arena, chance: random.Random) -> bool:
    """A checkpoint, Parquet file, weights file, record or any other file of the store is cut short or a bit flips."""
    struck = arena.start_and_kill(chance)
    files = sorted(path for path in arena.store.root.rglob("*") if path.is_file() and path.stat().st_size)
    for file in chance.sample(files, min(len(files), 3)):
        content = bytearray(file.read_bytes())
        if chance.random() < 0.5:
            content = content[: chance.randrange(len(content))]
        else:
            content[chance.randrange(len(content))] ^= 1 << chance.randrange(8)
        file.write_bytes(content)
    arena.settle()
    assert arena.undisturbed
    if arena.tables() != arena.undisturbed.tables():
        raise Lie("other tables")
    code, output = arena.run("orchestrator", "fsck", "grid.yaml", "--repair")  # what nobody has read since
    if code != 0:
        raise Lie(f"fsck: {output[-800:]}")
    arena.settle()
    arena.check(strikes=99, damaged=True)
    return struck


def mlflow_locked(arena: Arena, chance: random.Random) -> bool:
    """Another process locks MLflow's database for the rest of the sweep."""
    process = arena.start()
    struck = _database(arena, process) and arena.moment(chance, process)
    lock = sqlite3.connect(arena.path / "results/mlflow.db", timeout=60)
    lock.execute("BEGIN EXCLUSIVE")
    arena.end(process, 0)
    lock.rollback()
    lock.close()
    return _filled_later(arena) and struck


def mlflow_deleted(arena: Arena, chance: random.Random) -> bool:
    """MLflow's database is removed while the sweep runs."""
    process = arena.start()
    struck = _database(arena, process) and arena.moment(chance, process)
    for file in (arena.path / "results").glob("mlflow.db*"):
        file.unlink()
    arena.end(process, 0)
    return _filled_later(arena) and struck


def mlflow_read_only(arena: Arena, chance: random.Random) -> bool:
    """MLflow's database, which has some trials, is on a disk that has become read-only."""
    folder = arena.path / "tracking"
    _track(arena, "tracking/mlflow.db")
    with small_disk(folder) as remount:
        struck = arena.start_and_kill(chance)
        remount("ro")
        arena.end(arena.start(), 0)
        remount("rw")
        return _filled_later(arena) and struck


def mlflow_down(arena: Arena, chance: random.Random) -> bool:
    """MLflow's server does not answer during the whole sweep."""
    _track(arena, f"http://127.0.0.1:{chance.randrange(1, 1024)}")
    arena.end(arena.start(), 0)
    if "MLflow was not filled" not in arena.output():
        raise Lie("does not say that MLflow was not filled")
    _track(arena, "results/mlflow.db")
    return _filled_later(arena)


def _track(arena: Arena, place: str) -> None:
    text = arena.grid.read_text().partition("runtime: {")
    settings = ", ".join(part for part in text[2].rstrip("} \n").split(", ") if not part.startswith("tracking"))
    arena.grid.write_text(f"{text[0]}{text[1]}{settings}, tracking: '{place}'}}\n")


def _database(arena: Arena, process: subprocess.Popen[bytes]) -> bool:
    """Waits for it; whether the sweep still runs."""
    while process.poll() is None and not (arena.path / "results/mlflow.db").exists():
        with suppress(subprocess.TimeoutExpired):
            process.wait(timeout=0.02)
    return process.poll() is None


def _filled_later(arena: Arena) -> bool:
    """Runs the command again, after which MLflow must have every trial; True."""
    from mlflow import MlflowClient

    assert arena.undisturbed
    arena.settle()
    arena.check(strikes=1)
    place = "tracking/mlflow.db" if (arena.path / "tracking/mlflow.db").exists() else "results/mlflow.db"
    runs = []
    for folder, database in ((arena.path, place), (arena.undisturbed.path, "results/mlflow.db")):
        client = MlflowClient(f"sqlite:///{folder / database}")
        experiment = client.get_experiment_by_name("micro")
        found = client.search_runs([experiment.experiment_id], max_results=1000) if experiment else []
        runs.append(sorted((run.info.run_name, len(run.data.metrics), run.info.status) for run in found))
    if runs[0] != runs[1]:
        raise Lie(f"MLflow was not filled again: {runs[0]} instead of {runs[1]}")
    return True


ROOMY = "size=4g"
"""More than a sweep asks for before it starts."""


@contextmanager
def small_disk(place: Path) -> Iterator[Callable[[str], object]]:
    """A disk at `place`, which keeps its files there; gives a function that changes its size, or another option of
    mount. Needs to be allowed to mount."""
    place.mkdir(parents=True, exist_ok=True)
    kept = {file.relative_to(place): file.read_bytes() for file in place.rglob("*") if file.is_file()}
    subprocess.run(["mount", "-t", "tmpfs", "-o", ROOMY, "tmpfs", place], check=True)
    try:
        for name, content in kept.items():
            (place / name).parent.mkdir(parents=True, exist_ok=True)
            (place / name).write_bytes(content)
        yield lambda option: subprocess.run(["mount", "-o", f"remount,{option}", place], check=True)
    finally:
        subprocess.run(["umount", "-l", place], check=True)


def node_killed(arena: Arena, chance: random.Random) -> bool:
    """SIGKILL of all processes of a node that runs a trial: the trial moves to another."""
    process = arena.start()
    if found := arena.a_worker(chance, process):
        for one in _node(found[0]):
            with suppress(psutil.Error):
                one.kill()
    arena.end(process, 0)
    arena.check(strikes=1)
    return found is not None


def node_hung(arena: Arena, chance: random.Random) -> bool:
    """A node that runs a trial stops answering (SIGSTOP of all its processes), and comes back after the sweep."""
    process = arena.start()
    frozen = []
    if found := arena.a_worker(chance, process):
        for one in _node(found[0]):
            with suppress(psutil.Error):
                one.suspend()
                frozen.append(one)
    arena.end(process, 0)
    for one in frozen:
        with suppress(psutil.Error):
            one.resume()
    psutil.wait_procs(frozen, timeout=10)
    arena.check(strikes=1)
    return found is not None


def node_drained(arena: Arena, chance: random.Random) -> bool:
    """A node that runs a trial is told that it will be taken away in a second, and is."""
    process = arena.start()
    if found := arena.a_worker(chance, process):
        drain = [Path(sys.executable).with_name("ray"), "drain-node", "--address", arena.cluster, "--node-id", found[1]]
        reason = ["--reason", "DRAIN_NODE_REASON_PREEMPTION", "--reason-message", "chaos"]
        subprocess.run([*drain, *reason, "--deadline-remaining-seconds", "1"], capture_output=True)
        for one in _node(found[0]):
            with suppress(psutil.Error):
                one.kill()
    arena.end(process, 0)
    arena.check(strikes=1)
    return found is not None


def _node(worker: psutil.Process) -> list[psutil.Process]:
    """The raylet of a worker, and all that it started."""
    try:
        raylet = next(parent for parent in worker.parents() if parent.name() == "raylet")
        return [raylet, *raylet.children(recursive=True)]
    except (psutil.Error, StopIteration):
        return []


ON_ONE_NODE: tuple[Fault, ...] = (
    driver_killed,
    interrupted,
    terminated,
    trial_killed,
    trial_hung,
    write_killed,
    disk_full,
    damaged,
    mlflow_locked,
    mlflow_read_only,
    mlflow_deleted,
    mlflow_down,
)
ON_MANY: tuple[Fault, ...] = (node_killed, node_hung, node_drained)

"""What is done to a sweep. A round takes an arena in which nothing has run and a chance of its own; it strikes with
each of its faults, in an order of chance where one can follow the other, notes in the arena which of them struck,
settles, and checks.
"""

import json
import random
import shutil
import signal
import socket
import sqlite3
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext, suppress
from pathlib import Path

import psutil

from orchestrator import integrity
from orchestrator.identity import key
from orchestrator.store import identity_record
from tests.chaos.arena import Arena, Lie, leftovers

FAULTS = {
    "driver_killed": "SIGKILL of the driver",
    "interrupted": "Ctrl-C",
    "interrupted_twice": "Ctrl-C twice within a second",
    "terminated": "SIGTERM to the driver",
    "trial_killed": "SIGKILL of a trial's process: the sweep itself goes on",
    "mlflow_locked": "Another process locks MLflow's database for the rest of the sweep",
    "trial_hung": "SIGSTOP of a trial's process, which the sweep ends after `hang_seconds`",
    "mlflow_deleted": "MLflow's database is removed while the sweep runs",
    "mlflow_down": "MLflow's server refuses or never answers during the whole sweep",
    "mlflow_read_only": "MLflow's database, which has some trials, is on a disk that has become read-only",
    "disk_full": "No space left on device, in the store or in all of results/",
    "damaged": "Three files of the store, of any kind, are cut short or a bit flips",
    "write_killed": "SIGKILL between any two writes of a trial to the store, with a checkpoint after each step",
    "node_killed": "SIGKILL of all processes of a node that runs a trial: the trial moves to another",
    "node_hung": "A node that runs a trial stops answering (SIGSTOP of its processes), and comes back after the sweep",
    "node_drained": "A node that runs a trial is told that it will be taken away in a second, and is",
}
Round = Callable[[Arena, random.Random], None]
DRIVER = {
    "driver_killed": [signal.SIGKILL],
    "interrupted": [signal.SIGINT],
    "interrupted_twice": [signal.SIGINT, signal.SIGINT],
    "terminated": [signal.SIGTERM],
}


def driver(arena: Arena, chance: random.Random) -> None:
    """The driver is ended three times."""
    names = ["driver_killed", chance.choice(["interrupted", "interrupted_twice"]), "terminated"]
    for name in chance.sample(names, 3):
        arena.struck[name] = arena.strike_driver(DRIVER[name], chance, part=1 / 3)
    arena.settle()
    arena.check(strikes=3)


def locked(arena: Arena, chance: random.Random) -> None:
    """A trial's process dies, then MLflow's database is locked."""
    process = arena.start()
    arena.struck["trial_killed"] = _signal_a_worker(arena, chance, process, signal.SIGKILL)
    struck = _database(arena, process) and arena.moment_of_trials(chance, process, part=1 / 2)
    arena.struck["mlflow_locked"] = struck
    lock = sqlite3.connect(arena.path / "results/mlflow.db", timeout=60)
    lock.execute("BEGIN EXCLUSIVE")
    arena.end(process)
    lock.rollback()
    lock.close()
    _check_filled(arena)


def deleted(arena: Arena, chance: random.Random) -> None:
    """A trial's process hangs, and MLflow's database is removed meanwhile."""
    process = arena.start()
    arena.struck["trial_hung"] = _signal_a_worker(arena, chance, process, signal.SIGSTOP)
    struck = _database(arena, process) and arena.moment_of_trials(chance, process, part=1 / 2)
    arena.struck["mlflow_deleted"] = struck
    for file in (arena.path / "results").glob("mlflow.db*"):
        file.unlink()
    arena.end(process)
    arena.check_no_orphans()
    _check_filled(arena)


def _signal_a_worker(
    arena: Arena, chance: random.Random, process: subprocess.Popen[bytes], number: signal.Signals
) -> bool:
    """At a random moment; whether there was one to be sent a signal."""
    with suppress(psutil.NoSuchProcess):
        if found := arena.a_worker(chance, process, part=1 / 2):
            found[0].send_signal(number)
            return True
    return False


def tracking(arena: Arena, chance: random.Random) -> None:
    """No MLflow at all at first, then one that cannot be written any more."""
    with silent_port() if chance.random() < 0.5 else nullcontext(chance.randrange(1, 1024)) as port:
        _track(arena, f"http://127.0.0.1:{port}")
        arena.end(arena.start())
    if "MLflow was not filled" not in arena.output():
        raise Lie("does not say that MLflow was not filled")
    arena.struck["mlflow_down"] = True
    _track(arena, "tracking/mlflow.db")
    with small_disk(arena.path / "tracking") as remount:
        process = arena.start()
        arena.struck["mlflow_read_only"] = _there(arena.path / "tracking/mlflow.db", process)
        with suppress(subprocess.TimeoutExpired):
            process.wait(chance.uniform(0, 2))
        process.kill()
        arena.end(process, (0, -signal.SIGKILL))
        remount("ro")
        arena.end(arena.start())
        remount("rw")
        _check_filled(arena)


def disk(arena: Arena, chance: random.Random) -> None:
    """The disk fills up; what is on it is damaged afterwards."""
    place = arena.store.root if chance.random() < 0.5 else arena.store.root.parent
    with small_disk(place) as resize:
        process = arena.start()
        arena.moment(chance, process)
        used = sum(file.stat().st_blocks * 512 for file in place.rglob("*") if file.is_file())
        resize(f"size={used + chance.randrange(500_000)}")
        code = arena.end(process, (0, 1, 2))
        told = "space left" in arena.output()
        arena.struck["disk_full"] = told or code != 0
        if code and not told and "MLflow was not filled" not in arena.output():
            raise Lie(f"does not say that the disk is full: {arena.output()[-800:]}")
        if "Traceback" in arena.output():
            raise Lie(f"a traceback: {arena.output()[-800:]}")
        resize(ROOMY)
        files = sorted(path for path in arena.store.root.rglob("*") if path.is_file() and path.stat().st_size)
        arena.struck["damaged"] = bool(files)
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


def writes(arena: Arena, chance: random.Random) -> None:
    """A trial's process is killed before a change of the store."""
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
    arena.struck["write_killed"] = died == -signal.SIGKILL
    finished = arena.store.status(kind, key(spec))
    if finished and integrity.faults(arena.store, [(kind, key(spec))], deep=True):
        raise Lie(f"{kind} was killed before its change {last}, and is finished but not whole")
    code, output = run(0)
    if code != 0 or arena.results() != before:
        raise Lie(f"{kind} was killed before its change {last}: {output[-800:]}")
    if left := leftovers(folder):
        raise Lie(f"{kind} was killed before its change {last}: left behind: {left}")


def nodes(arena: Arena, chance: random.Random) -> None:
    """Three of four nodes are lost, each while it runs a trial and in another way."""
    process = arena.start()
    frozen: list[psutil.Process] = []
    for name in chance.sample(["node_killed", "node_hung", "node_drained"], 3):
        found = arena.a_worker(chance, process, part=1 / 3)
        node = _node(found[0]) if found else []
        arena.struck[name] = bool(node)
        if found and node and name == "node_drained":
            _drain(arena.cluster, found[1])
        for one in node:
            with suppress(psutil.Error):
                if name == "node_hung":
                    one.suspend()
                    frozen.append(one)
                else:
                    one.kill()
    arena.end(process)
    for one in frozen:
        with suppress(psutil.Error):
            one.resume()
    psutil.wait_procs(frozen, timeout=10)
    arena.check(strikes=3)


def _drain(address: str, node: str) -> None:
    """Tells a Ray that a node of it will be taken away in a second."""
    drain = [str(Path(sys.executable).with_name("ray")), "drain-node", "--address", address, "--node-id", node]
    reason = ["--reason", "DRAIN_NODE_REASON_PREEMPTION", "--reason-message", "chaos"]
    told = subprocess.run([*drain, *reason, "--deadline-remaining-seconds", "1"], capture_output=True, text=True)
    if told.returncode:
        raise RuntimeError(f"ray drain-node: exit code {told.returncode}: {told.stderr[-800:]}")


@contextmanager
def silent_port() -> Iterator[int]:
    """A port at which the kernel accepts connections, and nobody answers."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        yield int(server.getsockname()[1])


def _track(arena: Arena, place: str) -> None:
    text = arena.grid.read_text().partition("runtime: {")
    settings = ", ".join(part for part in text[2].rstrip("} \n").split(", ") if not part.startswith("tracking"))
    arena.grid.write_text(f"{text[0]}{text[1]}{settings}, tracking: '{place}'}}\n")


def _database(arena: Arena, process: subprocess.Popen[bytes]) -> bool:
    """Waits for it; whether the sweep still runs."""
    return _there(arena.path / "results/mlflow.db", process)


def _there(file: Path, process: subprocess.Popen[bytes]) -> bool:
    """Waits until there is a file; whether the sweep still runs."""
    while process.poll() is None and not file.exists():
        with suppress(subprocess.TimeoutExpired):
            process.wait(timeout=0.02)
    return process.poll() is None


def _check_filled(arena: Arena) -> None:
    """Runs the command again, after which MLflow must have every trial."""
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
        counts = [sum(not name.startswith(("live/", "system/")) for name in run.data.metrics) for run in found]
        runs.append(sorted((run.info.run_name, n, run.info.status) for run, n in zip(found, counts, strict=True)))
    if runs[0] != runs[1]:
        raise Lie(f"MLflow was not filled again: {runs[0]} instead of {runs[1]}")


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


def _node(worker: psutil.Process) -> list[psutil.Process]:
    """The raylet of a worker, and all that it started."""
    try:
        raylet = next(parent for parent in worker.parents() if parent.name() == "raylet")
        return [raylet, *raylet.children(recursive=True)]
    except (psutil.Error, StopIteration):
        return []


ROUNDS: dict[str, Round] = {one.__name__: one for one in (driver, locked, deleted, tracking, disk, writes, nodes)}
NODES = {"nodes": 4}
"""How many nodes the sweeps of a round need; without a number, a Ray of their own."""

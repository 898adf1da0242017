"""A process that runs one trial after another does not fill up."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

from orchestrator.store import Store, identity_record

SCRIPT = Path(__file__).with_name("many_trials.py")
TRIALS, SETTLED = 200, 20
MOST_GROWTH = 50 << 20  # bytes


def test_200_trials_leak_nothing(micro: Any, tmp_path: Path) -> None:
    shutil.copytree(micro.store.root, tmp_path / "store")
    store = Store(tmp_path / "store")
    finished = [spec for spec in micro.specs if store.status(spec.KIND, identity_record(spec)["key"]) == "done"]
    kinds = {spec.KIND: spec for spec in finished}
    assert len(kinds) == 7
    # Children first would find inputs that are unfinished; each is finished again before the next begins.
    identities = json.dumps([identity_record(spec) for spec in kinds.values()])
    root = Path(__file__).parents[2]
    environment = os.environ | {"PYTHONPATH": str(root), "OMP_NUM_THREADS": "1"}
    command = [sys.executable, str(SCRIPT), str(store.root), str(tmp_path / "cache"), str(TRIALS)]
    done = subprocess.run(
        command, input=identities, env=environment, capture_output=True, text=True, cwd=tmp_path, check=False
    )
    assert done.returncode == 0, done.stderr
    held = json.loads(done.stdout)
    before, after = held[SETTLED - 1], held[-1]
    assert after[0] - before[0] <= MOST_GROWTH, [resident >> 20 for resident, *_ in held[::10]]
    (_, sockets, threads, *others), (_, sockets_then, threads_then, *others_then) = after, before
    assert others == others_then, "open files, child processes, shared-memory segments"
    assert sockets <= sockets_then + 1, "Ray opens one to its own server after some twenty seconds"
    assert threads <= threads_then + (os.cpu_count() or 1), "pyarrow starts its pool's threads when it needs them"

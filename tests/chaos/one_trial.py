"""Runs one prepared trial as a worker does, with a checkpoint after each step, and dies by SIGKILL before its N-th
change of a file or folder below the store (0: never); prints how many it made. Arguments: the trial's configuration as
JSON, N."""

import json
import os
import signal
import sys
from typing import Any

from orchestrator.runner import run_trial
from workers.resuming import Steps

CHANGES = ("os.rename", "os.remove", "os.rmdir", "os.mkdir", "os.truncate")


def main(config: dict[str, Any], last: int) -> None:
    changes = 0

    def hear(event: str, arguments: tuple[Any, ...]) -> None:
        nonlocal changes
        writes = event == "open" and isinstance(arguments[2], int) and arguments[2] & (os.O_WRONLY | os.O_RDWR)
        if (writes or event in CHANGES) and _is_in(config["store"], str(arguments[0])):
            changes += 1
            if changes == last:
                os.kill(os.getpid(), signal.SIGKILL)

    Steps.SPACING = 0.0
    sys.addaudithook(hear)
    run_trial(config)
    print(changes)


def _is_in(store: str, path: str) -> bool:
    return path.startswith(store) or not path.startswith("/")  # relative: rmtree, below a folder that it has opened


if __name__ == "__main__":
    main(json.loads(sys.argv[1]), int(sys.argv[2]))

"""Runs trials one after another in this process, as a reused actor does, and prints what it holds after each: resident
bytes, open files, threads, child processes and shared-memory segments. Arguments: a store, the folder for a cache, how
many; standard input: the identities of finished trials, whose results are made again in turn."""

import json
import sys
from itertools import cycle, islice
from typing import Any

import psutil

from orchestrator.runner import run_trial
from orchestrator.store import Store


def main(root: str, cache: str, count: int) -> None:
    store, me = Store(root), psutil.Process()
    held = []
    for identity in islice(cycle(json.load(sys.stdin)), count):
        kind, key = identity["kind"], identity["key"]
        store.reopen(kind, key, lambda: "to be made again")
        config: dict[str, Any] = {
            "store": root,
            "kind": kind,
            "key": key,
            "identity": identity,
            "stop": f"{root}/stop",
            "cache": cache,
            "device": "cpu",
            "checkpoint_seconds": 0.0,
            "provenance": {},
        }
        assert run_trial(config) == "done"
        shared = sum("/dev/shm/" in mapped.path for mapped in me.memory_maps(grouped=False))
        held.append((me.memory_info().rss, me.num_fds(), me.num_threads(), len(me.children(True)), shared))
    print(json.dumps(held))


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], int(sys.argv[3]))

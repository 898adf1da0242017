"""Runs trials one after another in one worker of Ray, which a TrialActor keeps as Tune reuses it, and prints what the
worker holds after each: resident bytes, sockets, threads, open files, child processes and shared-memory segments.
Arguments: a store, the folder for a cache, how many; standard input: the identities of finished trials, whose results
are made again in turn."""

import json
import os
import sys
from contextlib import suppress
from itertools import cycle, islice

import psutil

from orchestrator import cluster  # before ray

# isort: split

import ray

from orchestrator.actor import TrialActor
from orchestrator.store import Store


class Watched(TrialActor):
    """An actor that says what its process holds."""

    def held(self) -> tuple[int, ...]:
        me, files, sockets = psutil.Process(), 0, 0
        for handle in os.scandir("/proc/self/fd"):
            with suppress(FileNotFoundError):  # that of this look itself
                is_socket = os.readlink(handle.path).startswith("socket:")
                files, sockets = files + (not is_socket), sockets + is_socket
        shared = sum("/dev/shm/" in mapped.path for mapped in me.memory_maps(grouped=False))
        return me.memory_info().rss, sockets, me.num_threads(), files, len(me.children(True)), shared


def main(root: str, cache: str, count: int) -> None:
    store, held, actor = Store(root), [], None
    ray.init(
        address="local",
        num_cpus=1,
        include_dashboard=False,
        object_store_memory=100 << 20,
        log_to_driver=False,
        runtime_env={"env_vars": cluster.WORKER_ENVIRONMENT},
    )
    for identity in islice(cycle(json.load(sys.stdin)), count):
        kind, key = identity["kind"], identity["key"]
        store.reopen(kind, key, lambda: "to be made again")
        config = {
            "store": root,
            "kind": kind,
            "key": key,
            "name": key,
            "identity": identity,
            "stop": "nobody",
            "cache": cache,
            "device": "cpu",
            "checkpoint_seconds": 0.0,
            "provenance": {},
        }
        if actor is None:
            actor = ray.remote(num_cpus=1)(Watched).remote(config)
        else:
            assert ray.get(actor.reset.remote(config))
        assert ray.get(actor.train.remote())["trial_status"] == "done"
        held.append(ray.get(actor.held.remote()))
    ray.shutdown()
    print(json.dumps(held))


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], int(sys.argv[3]))

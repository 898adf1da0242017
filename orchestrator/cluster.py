"""Ray as a sweep uses it: started or connected to, its nodes, and whether they have what trials need.

To be imported before anything of ray: it sets what ray reads when it is imported.
"""

import logging
import math
import os
import signal
import socket
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

# Read when ray is imported. Tune's scratch state need not survive: its loggers and snapshots would only cost time.
os.environ.setdefault("TUNE_DISABLE_AUTO_CALLBACK_LOGGERS", "1")
os.environ.setdefault("TUNE_GLOBAL_CHECKPOINT_S", "3600")
os.environ.setdefault("TUNE_WARN_THRESHOLD_S", "60")
os.environ.setdefault("TUNE_MAX_PENDING_TRIALS_PG", "1000000")  # the searcher knows how many to hand out
os.environ.setdefault("TUNE_DISABLE_SIGINT_HANDLER", "1")  # Ctrl-C is ours: drain and checkpoint
os.environ.setdefault("RAY_AIR_NEW_OUTPUT", "0")
os.environ.setdefault("RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO", "0")

# Without it a Ray of our own listens on all of the machine's addresses, and runs code for whoever reaches it. The name
# is that of another purpose (no questions of a firewall); what it does is to keep Ray's addresses on loopback.
if not os.environ.get("RAY_ADDRESS"):
    os.environ.setdefault("RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER", "0")

import ray
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

from orchestrator.lease import Holder, born
from orchestrator.remote import open_store
from orchestrator.sections import Runtime
from orchestrator.spec import KINDS
from orchestrator.store import Store

# `reference` computes with one thread, and deterministic cuBLAS wants its workspace fixed. glibc is told to keep the
# pages that it has: small networks allocate and free the same megabytes at every step, and page faults cost 15% of a
# training step on a CPU.
WORKER_ENVIRONMENT = {
    "OMP_NUM_THREADS": "1",
    "CUBLAS_WORKSPACE_CONFIG": ":4096:8",
    "MALLOC_TRIM_THRESHOLD_": str(1 << 30),
    "MALLOC_MMAP_THRESHOLD_": str(1 << 30),
    "MALLOC_TOP_PAD_": str(64 << 20),
}


CACHES = ("HF_HOME", "TORCH_HOME", "XDG_CACHE_HOME")
"""Where prefetched weights lie: workers on other nodes must look where the driver did."""


def start() -> str:
    """Connects to the cluster of RAY_ADDRESS, else starts a local Ray; returns the dashboard's address. The dashboard
    runs code for whoever reaches it, so it listens on loopback."""
    common = {"log_to_driver": False, "logging_level": logging.ERROR}
    environment = {"PYTHONPATH": str(Path(__file__).parent.parent), **WORKER_ENVIRONMENT}
    if os.environ.get("RAY_ADDRESS"):
        caches = {name: os.environ[name] for name in CACHES if name in os.environ}
        _listens(os.environ["RAY_ADDRESS"])
        try:
            context = ray.init(runtime_env={"env_vars": {**environment, **caches}}, **common)
        except ConnectionError as error:
            token = "where the cluster has a token: export RAY_AUTH_MODE=token, and its ~/.ray/auth_token"
            raise OSError(f"RAY_ADDRESS: {error}; {token}") from None
    else:
        context = ray.init(
            address="local",
            num_cpus=os.cpu_count(),
            include_dashboard=True,
            dashboard_host="127.0.0.1",
            object_store_memory=256 * 1024**2,  # trials exchange files, not objects
            runtime_env={"env_vars": environment},
            **common,
        )
    logging.getLogger("ray").setLevel(logging.CRITICAL)  # a failed trial is told once, by the sweep, with its name
    return f"http://{context.dashboard_url}" if context.dashboard_url else "not available"


def _listens(address: str) -> None:
    """OSError, in one line, where nothing listens at the address of a Ray: ray.init would try for minutes."""
    host, _, port = address.rpartition(":")
    if "://" in address or not port.isdecimal():  # auto
        return
    try:
        socket.create_connection((host, int(port)), timeout=10).close()
    except OSError as error:
        why = error.strerror or error
        raise OSError(
            f"RAY_ADDRESS: no Ray answers at {address} ({why}); next: ray start, as docs/cluster.md says"
        ) from None


def metrics() -> tuple[str, ...]:
    """Where each living node gives its metrics."""
    return tuple(
        f"http://{node['NodeManagerAddress']}:{port}/metrics" for node in nodes() if (port := node["MetricsExportPort"])
    )


def nodes() -> list[dict[str, Any]]:
    """The cluster's living nodes."""
    return [node for node in ray.nodes() if node["Alive"]]


def side_by_side(nodes: Iterable[Mapping[str, float]], runtime: Runtime) -> int:
    """How many trials fit on nodes of these resources, of the kinds that reserve most."""
    gpus = max(map(runtime.gpus_of, KINDS))
    fits = (min(node.get("CPU", 0) // runtime.cpus, node.get("GPU", 0) / gpus if gpus else math.inf) for node in nodes)
    return max(1, int(sum(fits)))


def shown(resources: Mapping[str, float]) -> str:
    return amount(resources.get("CPU", 0), resources.get("GPU", 0))


def amount(cpus: float, gpus: float) -> str:
    return f"{cpus:g} CPUs, {gpus:g} GPUs"


def fits(runtime: Runtime, kind: str) -> bool:
    """Whether one living node has what a trial of this kind reserves."""
    there = [node["Resources"] for node in nodes()]
    return any(one.get("CPU", 0) >= runtime.cpus and one.get("GPU", 0) >= runtime.gpus_of(kind) for one in there)


def check_resources(runtime: Runtime) -> None:
    """OSError unless one node of the cluster has what one trial reserves: it would wait for ever, without a word."""
    if all(fits(runtime, kind) for kind in KINDS):
        return
    gpus, there = max(map(runtime.gpus_of, KINDS)), [node["Resources"] for node in nodes()]
    found = ", ".join(f"{node.get('CPU', 0):g} CPUs and {node.get('GPU', 0):g} GPUs" for node in there)
    raise OSError(
        f"runtime: a trial reserves cpus: {runtime.cpus} and gpus: {gpus:g}, but the nodes have {found}; allowed: what "
        "one node has"
    )


def check_shared(store: Store, cache: str) -> None:
    """OSError where a node does not see the store as this machine does: results on it would be lost."""
    there = [node for node in nodes() if node["Resources"].get("CPU", 0) > 0]
    if not os.environ.get("RAY_ADDRESS"):
        return

    def sees(address: str, probe: str) -> str:
        try:
            return "" if open_store(address, cache).sees(probe) else "do not see what this machine writes"
        except OSError as error:
            return f"cannot use it: {error.strerror or error}"

    with store.probe() as probe:
        each = [NodeAffinitySchedulingStrategy(node["NodeID"], soft=False) for node in there]
        asked = [ray.remote(num_cpus=0, scheduling_strategy=where)(sees).remote(store.address, probe) for where in each]
        try:
            seen = ray.get(asked, timeout=300)
        except ray.exceptions.RayError as error:
            raise OSError(f"a node died, or did not answer, when asked whether it sees the store: {error}") from None
        blind = [node["NodeManagerHostname"] for node, fault in zip(there, seen, strict=True) if fault]
    if blind:
        raise OSError(
            f"runtime.storage: {store.address} is not shared: {len(blind)} of {len(there)} nodes "
            f"({', '.join(sorted(set(blind)))}) {max(seen)}; allowed: a folder on storage that every node has at the "
            "same path, or a bucket that every node has credentials for"
        )


def end_process(holder: Holder) -> bool:
    """Kills a worker on its node, also one that is stopped; False where the node cannot be reached, which Ray gives up
    by itself, and where the process has ended."""

    def kill(process: int, started: int) -> bool:
        if born(process) != started:
            return False
        os.kill(process, signal.SIGKILL)
        return True

    here = NodeAffinitySchedulingStrategy(holder.node, soft=False)
    asked = ray.remote(num_cpus=0, max_retries=0, scheduling_strategy=here)(kill).remote(holder.process, holder.born)
    try:
        return bool(ray.get(asked, timeout=60))
    except ray.exceptions.GetTimeoutError:
        ray.cancel(asked, force=True)  # or it would be done when the node is back, to whatever runs there then
        return False
    except (ray.exceptions.RayError, ProcessLookupError):
        return False

"""Several Ray nodes on one machine, until standard input is closed; prints the address, and that of the dashboard where
one is asked for. Arguments: how many, with how many CPUs each, 1 for a dashboard. A line `add` on standard input adds a
node, `remove` kills the oldest; each is answered when it is done. Each node has a logical GPU, and a variable NODE of
its own, a folder below that which the variable NODES names."""

import itertools
import os
import socket
import sys

from ray.cluster_utils import Cluster

MEMORY = 100 << 20
QUICK = {"health_check_initial_delay_ms": 0, "health_check_period_ms": 1000, "health_check_timeout_ms": 1000,
         "health_check_failure_threshold": 3}  # fmt: skip


def free_port() -> int:
    """One that nobody listens on now."""
    with socket.create_server(("", 0)) as free:
        return int(free.getsockname()[1])


def main(nodes: int, cpus: int, dashboard: bool) -> None:
    node = {"num_cpus": cpus, "num_gpus": 1, "object_store_memory": MEMORY}
    head = {"num_cpus": 0, "include_dashboard": dashboard, "object_store_memory": MEMORY, "_system_config": QUICK}
    if dashboard:  # whose usual ports another Ray of this machine may have
        head |= {"dashboard_port": free_port(), "dashboard_agent_listen_port": free_port()}
    cluster = Cluster(initialize_head=True, head_node_args=head)
    names = (f"{os.environ.get('NODES', '')}/{number}" for number in itertools.count())
    there = [cluster.add_node(**node, wait=False, env_vars={"NODE": next(names)}) for _ in range(nodes)]
    cluster.wait_for_nodes()
    print(cluster.address, f"http://{cluster.webui_url}" if dashboard else "", flush=True)
    for line in sys.stdin:
        if line == "add\n":
            there.append(cluster.add_node(**node, env_vars={"NODE": next(names)}))
        else:
            cluster.remove_node(there.pop(0), allow_graceful=False)
        print(line, end="", flush=True)
    cluster.shutdown()


if __name__ == "__main__":
    main(int(sys.argv[1]), int(sys.argv[2]), sys.argv[3] == "1")

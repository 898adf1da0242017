"""The queue of a sweep: hands out trials whose parents are done, longest remaining path first. Knows nothing of Ray."""

import heapq
from collections import Counter, deque

from orchestrator.plan import TO_DO, Node, Plan

FINAL = ("done", "diverged", "failed", "blocked", "not applicable")


class ReadyQueue:
    """State of every trial of a plan while it runs."""

    def __init__(self, plan: Plan) -> None:
        self.nodes = plan.nodes
        self.state = {name: "waiting" if node.status in TO_DO else node.status for name, node in plan.nodes.items()}
        self.missing = {
            name: sum(self.state[parent] != "done" for parent in node.parents) for name, node in plan.nodes.items()
        }
        self.heap: list[tuple[float, int, str]] = []
        self.order = {name: i for i, name in enumerate(plan.nodes)}
        self.deferred: deque[str] = deque()
        self.blocked_by: dict[str, str] = {}
        self.running: set[str] = set()
        self.slots, self.gpus = 0, 0.0
        """How many trials fit side by side, and GPUs there are, as far as is known: for forecasts."""
        for name in plan.nodes:
            self._release(name)

    def pop(self) -> Node | None:
        """The ready trial with the longest remaining path, now running; None when none is ready. Those that another
        driver runs come last."""
        if not self.heap and not self.deferred:
            return None
        name = heapq.heappop(self.heap)[2] if self.heap else self.deferred.popleft()
        self.state[name] = "running"
        self.running.add(name)
        return self.nodes[name]

    def finish(self, name: str, status: str) -> list[str]:
        """Notes that a trial ended as done, diverged, failed or interrupted. Returns the keys of the trials that this
        puts out of reach: blocked by a failure, or not applicable after a divergence."""
        self.running.discard(name)
        self.state[name] = status
        if status == "done":
            for child in self.nodes[name].children:
                self.missing[child] -= 1
                self._release(child)
            return []
        if status in ("failed", "diverged"):
            return self._cut_off(name, "blocked" if status == "failed" else "not applicable")
        return []

    def exhausted(self) -> bool:
        """Whether nothing is ready and nothing runs: what still waits never will."""
        return not self.heap and not self.deferred and not self.running

    def defer(self, name: str) -> None:
        """Puts a running trial back that another driver's worker holds: it is looked at again after all others."""
        self.running.discard(name)
        self.state[name] = "waiting"
        self.deferred.append(name)

    def put_back(self, name: str) -> None:
        """Puts a running trial back as if it had not been handed out."""
        self.running.discard(name)
        self.state[name] = "waiting"
        self._release(name)

    def cancel(self, name: str) -> list[str]:
        """As `finish` with a failure, of a trial that waits."""
        self.heap = [entry for entry in self.heap if entry[2] != name]
        heapq.heapify(self.heap)
        self.deferred = deque(other for other in self.deferred if other != name)
        return self.finish(name, "failed")

    def retry(self, name: str) -> None:
        """Puts a failed trial back, and what it alone had blocked."""
        for child in [child for child, cause in self.blocked_by.items() if cause == name]:
            self.state[child] = "waiting"
            del self.blocked_by[child]
        self.state[name] = "waiting"
        for other, state in list(self.state.items()):  # those that another failure blocks, too
            if state == "failed":
                self._cut_off(other, "blocked")
        self._release(name)

    def counts(self) -> Counter[str]:
        """Number of trials in each state; `ready` are those that could start now."""
        counts = Counter(self.state.values())
        counts["ready"] = len(self.heap) + len(self.deferred)
        counts["waiting"] -= counts["ready"]
        return counts

    def _release(self, name: str) -> None:
        if self.state[name] == "waiting" and self.missing[name] == 0:
            heapq.heappush(self.heap, (-self.nodes[name].remaining, self.order[name], name))

    def _cut_off(self, name: str, state: str) -> list[str]:
        cut = []
        below = list(self.nodes[name].children)
        while below:
            child = below.pop()
            if self.state[child] == "waiting":
                self.state[child] = state
                self.blocked_by[child] = name
                cut.append(child)
                below += self.nodes[child].children
        return cut

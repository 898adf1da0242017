"""The queue against a brute force on random graphs: order, closures of failures and divergences, the end."""

import random
from collections.abc import Callable

import pytest

from orchestrator import plan
from orchestrator.identity import Address
from orchestrator.ready import FINAL, ReadyQueue
from orchestrator.spec import Trial

Graph = Callable[[random.Random, int], list[Trial]]
OUTCOMES = ("done", "done", "done", "done", "failed", "diverged")


def below(nodes: dict[str, plan.Node], root: str) -> set[str]:
    found: set[str] = set()
    while more := {name for name, node in nodes.items() if set(node.parents) & (found | {root})} - found:
        found |= more
    return found


def drawn_plan(generator: random.Random, graph: Graph) -> plan.Plan:
    """Up to 30 trials of random costs, some of them finished before, as a store could have them."""
    steps = graph(generator, generator.randrange(1, 30))
    seconds = {id(step): generator.choice([0.0, 0.5, 1.0, 4.0]) for step in steps}
    nodes = plan.build(steps, {}, lambda _: 1.0).nodes
    index: dict[Address, str] = {}
    for name, node in nodes.items():
        if (
            all(index.get((nodes[parent].kind, parent)) == "done" for parent in node.parents)
            and generator.random() < 0.3
        ):
            index[node.kind, name] = generator.choice(["done", "done", "failed", "diverged"])
    return plan.build(steps, index, lambda step: seconds[id(step)])


@pytest.mark.parametrize("draw", range(60))
def test_random_graphs_run_to_their_end(draw: int, random_graph: Graph) -> None:
    generator = random.Random(draw)
    planned = drawn_plan(generator, random_graph)
    queue, nodes = ReadyQueue(planned), planned.nodes
    state = {name: "waiting" if node.status in ("to do", "failed") else node.status for name, node in nodes.items()}
    running: list[str] = []
    while not queue.exhausted():
        ready = [
            name
            for name, node in nodes.items()
            if state[name] == "waiting" and all(state[parent] == "done" for parent in node.parents)
        ]
        assert (queue.counts()["ready"], queue.running) == (len(ready), set(running))
        if ready and generator.random() < 0.6:
            node = queue.pop()
            assert node
            assert node.key in ready
            assert node.remaining == max(nodes[name].remaining for name in ready)
            state[node.key] = "running"
            running.append(node.key)
        elif running:
            name = running.pop(generator.randrange(len(running)))
            state[name] = generator.choice(OUTCOMES)
            cut = (
                {child for child in below(nodes, name) if state[child] == "waiting"} if state[name] != "done" else set()
            )
            state |= dict.fromkeys(cut, "blocked" if state[name] == "failed" else "not applicable")
            returned = queue.finish(name, state[name])
            assert sorted(returned) == sorted(cut)
            assert all(queue.blocked_by[child] == name for child in cut)
        assert queue.state == state
    assert queue.pop() is None
    assert set(state.values()) <= set(FINAL)
    assert queue.counts().total() == len(nodes)


def chain(graph: Graph) -> tuple[ReadyQueue, plan.Plan]:
    """A graph of 12 trials in which the first one has descendants."""
    for draw in range(100):
        planned = plan.build(graph(random.Random(draw), 12), {}, lambda _: 1.0)
        if next(iter(planned.nodes.values())).children:
            return ReadyQueue(planned), planned
    raise AssertionError


def test_interrupted_trial_leaves_its_children_waiting(random_graph: Graph) -> None:
    queue, planned = chain(random_graph)
    first = next(iter(planned.nodes))
    while (node := queue.pop()) and node.key != first:
        assert queue.finish(node.key, "interrupted") == []
    assert queue.finish(first, "interrupted") == []
    assert all(queue.state[child] == "waiting" for child in below(planned.nodes, first))
    assert not queue.blocked_by


def test_trials_that_cost_nothing_run_too(random_graph: Graph) -> None:
    planned = plan.build(random_graph(random.Random(0), 12), {}, lambda _: 0.0)
    queue = ReadyQueue(planned)
    while node := queue.pop():
        queue.finish(node.key, "done")
    assert queue.exhausted()
    assert set(queue.state.values()) == {"done"}


def test_nothing_to_do_is_exhausted_at_once(random_graph: Graph) -> None:
    steps = random_graph(random.Random(0), 12)
    nodes = plan.build(steps, {}, lambda _: 1.0).nodes
    queue = ReadyQueue(plan.build(steps, {(node.kind, name): "done" for name, node in nodes.items()}, lambda _: 1.0))
    assert queue.exhausted()
    assert queue.pop() is None


def test_what_another_driver_holds_is_looked_at_last(random_graph: Graph) -> None:
    planned = plan.build(random_graph(random.Random(1), 6), {}, lambda _: 1.0)
    queue = ReadyQueue(planned)
    ready = queue.counts()["ready"]
    first = queue.pop()
    assert first
    queue.defer(first.key)
    assert (queue.counts()["ready"], queue.running, queue.exhausted()) == (ready, set(), False)
    order = [node.key for node in iter(queue.pop, None)]
    assert len(order) == ready
    assert order[-1] == first.key
    queue.defer(first.key)
    assert not queue.exhausted()
    again = queue.pop()
    assert again
    assert again.key == first.key


@pytest.mark.parametrize("draw", range(40))
def test_a_failure_that_is_tried_again_releases_what_it_alone_has_blocked(draw: int, random_graph: Graph) -> None:
    """Two trials fail and one of them is tried again: all is as if that one had never failed."""
    generator = random.Random(draw)
    planned = plan.build(random_graph(generator, 20), {}, lambda _: 1.0)
    queue, spared = ReadyQueue(planned), ReadyQueue(planned)
    roots = [name for name, node in planned.nodes.items() if not node.parents]
    again, other = generator.sample(roots, 2) if len(roots) > 1 else (roots[0], None)
    assert other is None or queue.cancel(other) is not None
    queue.cancel(again)
    queue.retry(again)
    if other:
        spared.cancel(other)
    assert queue.state == spared.state
    assert queue.blocked_by == spared.blocked_by
    assert queue.counts() == spared.counts()
    while node := queue.pop():
        queue.finish(node.key, "done")
    assert queue.exhausted()
    cut = {other, *below(planned.nodes, other)} if other else set()
    assert {name for name, state in queue.state.items() if state != "done"} == cut


def test_a_cancelled_trial_is_never_handed_out(random_graph: Graph) -> None:
    planned = plan.build(random_graph(random.Random(1), 12), {}, lambda _: 1.0)
    queue = ReadyQueue(planned)
    first = queue.pop()
    assert first
    queue.defer(first.key)  # another driver's
    waiting = [name for name, node in planned.nodes.items() if not node.parents][:2]
    for name in waiting:
        queue.cancel(name)
    handed_out = []
    while node := queue.pop():
        handed_out.append(node.key)
        queue.finish(node.key, "done")
    assert not set(waiting) & set(handed_out)
    assert queue.exhausted()

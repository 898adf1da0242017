"""The graph of trials: equal specs shared, in topological order, with what is done, to do, and why. Pure."""

from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from orchestrator.identity import Address, key
from orchestrator.matrix import FACTORS, Label
from orchestrator.spec import KINDS, Trial, parents

TO_DO = ("to do", "failed")


@dataclass
class Node:
    """One trial of the graph."""

    spec: Trial
    key: str
    parents: tuple[str, ...]
    children: list[str] = field(default_factory=list)
    status: str = "to do"
    """done, diverged, to do, failed (before; will be retried), or not applicable (a parent diverged)"""
    why: str = ""
    """For a trial to do: why its result is not there yet."""
    remaining: float = 0.0
    """Seconds of the longest path from the start of this trial to the end of the graph, over trials to do."""

    @property
    def kind(self) -> str:
        """The spec's kind."""
        return self.spec.KIND


@dataclass
class Plan:
    """All trials of a study by key, parents before children."""

    nodes: dict[str, Node]
    unused: Counter[str]
    """Finished trials of each kind in the store that are not of this plan: another grid's, or this one's before it was
    edited."""

    def to_do(self) -> list[Node]:
        """Trials that a sweep would run."""
        return [node for node in self.nodes.values() if node.status in TO_DO]

    def counts(self) -> dict[str, Counter[str]]:
        """kind -> number of trials by status."""
        counts: dict[str, Counter[str]] = {kind: Counter() for kind in KINDS}
        for node in self.nodes.values():
            counts[node.kind][node.status] += 1
        return counts

    def longest_path(self) -> list[Node]:
        """The chain of trials to do that bounds the sweep from below, however many machines there are."""
        path: list[Node] = []
        ready = self.to_do()
        while ready:
            path.append(max(ready, key=lambda node: node.remaining))
            ready = [child for child in map(self.nodes.__getitem__, path[-1].children) if child.status in TO_DO]
        return path


def build(specs: Iterable[Trial], index: Mapping[Address, str], seconds: Callable[[Trial], float]) -> Plan:
    """Plans `specs` and everything that they depend on against `index`, the store's (kind, key) -> status."""
    nodes: dict[str, Node] = {}
    for spec in specs:
        _add(spec, nodes)
    for name, node in nodes.items():
        for parent in node.parents:
            nodes[parent].children.append(name)
    for node in nodes.values():
        _judge(node, nodes, index)
    for node in reversed(list(nodes.values())):
        if node.status in TO_DO:
            after = max((nodes[child].remaining for child in node.children), default=0.0)
            node.remaining = seconds(node.spec) + after
    others = (kind for (kind, name), status in index.items() if status != "failed" and name not in nodes)
    return Plan(nodes, Counter(others))


def _add(spec: Trial, nodes: dict[str, Node]) -> str:
    name = key(spec)
    if name not in nodes:
        above = dict.fromkeys(_add(parent, nodes) for _, parent in parents(spec))
        nodes[name] = Node(spec, name, tuple(above))
    return name


def _judge(node: Node, nodes: dict[str, Node], index: Mapping[Address, str]) -> None:
    found = index.get((node.kind, node.key))
    if any(nodes[parent].status in ("diverged", "not applicable") for parent in node.parents):
        node.status, node.why = "not applicable", "a parent diverged"
    elif found == "failed":
        node.status, node.why = "failed", "failed before; will be tried again"
    elif found:
        node.status = found


def explain(plan: Plan, labels: Iterable[Label]) -> None:
    """Says for each trial to do why it is new: which of its levels no finished trial has."""
    labels = list(labels)
    finished = _finished_levels(plan, labels)
    # Not by baselines: the warm-up and bicubic stay finished when the settings of all others are edited.
    known = {label.role for label in labels if not label.baseline and _is_finished(plan, label)}
    for label in labels:
        node = plan.nodes[key(label.spec)]
        if node.status != "to do" or node.why:
            continue
        new = [f"{factor} {value}" for role, factor, value in _levels(label) if (role, factor, value) not in finished]
        node.why = _new_settings(plan, node)
        if label.role in known:
            others = f", or {node.why}" if plan.unused.get(node.kind) else ""
            node.why = (f"new {', '.join(new)}" if new else "new combination") + others
    for node in reversed(list(plan.nodes.values())):  # what has no label of its own is there for its children
        if node.status == "to do" and not node.why:
            below = [plan.nodes[child].why for child in node.children if plan.nodes[child].why]
            node.why = f"for a child: {below[0]}" if below else _new_settings(plan, node)


def _is_finished(plan: Plan, label: Label) -> bool:
    return plan.nodes[key(label.spec)].status in ("done", "diverged")


def _finished_levels(plan: Plan, labels: list[Label]) -> set[tuple[str, str, str]]:
    """(role, factor, level) of finished trials. Where labels share a trial, only what they agree on: a metric that all
    seeds share is no evidence that a new seed was there before."""
    agreed: dict[str, set[tuple[str, str, str]]] = {}
    for label in labels:
        if _is_finished(plan, label):
            name = key(label.spec)
            agreed[name] = agreed.get(name, set(_levels(label))).intersection(_levels(label))
    return set().union(*agreed.values())


def _levels(label: Label) -> list[tuple[str, str, str]]:
    values = ((factor, getattr(label, factor)) for factor in FACTORS)
    return [(label.role, factor, str(value)) for factor, value in values if value not in ("", None)]


def _new_settings(plan: Plan, node: Node) -> str:
    if others := plan.unused.get(node.kind):
        return f"new settings ({others} finished {node.kind} trials of the store are none of this plan's)"
    return f"the store has no {node.kind} trial yet"


def as_json(plan: Plan, cells: int) -> dict[str, Any]:
    """The plan for machines."""
    path = plan.longest_path()
    return {
        "cells": cells,
        "trials": len(plan.nodes),
        "to_do": len(plan.to_do()),
        "by_kind": {kind: dict(counts) for kind, counts in plan.counts().items()},
        "longest_path": {
            "seconds": path[0].remaining if path else 0.0,
            "trials": [{"kind": node.kind, "key": node.key} for node in path],
        },
        "new": [{"kind": node.kind, "key": node.key, "why": node.why} for node in plan.to_do()],
    }

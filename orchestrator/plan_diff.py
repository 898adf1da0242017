"""What changes between two grids: `plan NEW --diff OLD`. Trials of one name and another key have other settings."""

import json
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from orchestrator.identity import spec_json
from orchestrator.plan import TO_DO, Node
from orchestrator.spec import KINDS
from orchestrator.sweep import Sweep

MOST_LISTED = 12


def run(old: Path, new: Path, out: Console, called: str = "") -> int:
    """Prints which trials two grids share, which only one of them has, and which settings are the reason; 0. `called`:
    the second one, in the words of who asks."""
    before, after = Sweep(old), Sweep(new)
    gone = [node for key, node in before.plan.nodes.items() if key not in after.plan.nodes]
    come = [node for key, node in after.plan.nodes.items() if key not in before.plan.nodes]
    shared = len(after.plan.nodes) - len(come)
    only = f"{len(gone):,} only of the first, {len(come):,} only of the second"
    out.print(f"{old} -> {called or new}: {shared:,} trials of both, {only}", markup=False)
    if not gone and not come:
        return 0
    _tell_kinds(before, after, out)
    pairs = _pairs(before, gone, after, come)
    causes = Counter(cause for pair in pairs for cause in _causes(*pair))
    for (kind, path, was, now), count in causes.most_common(MOST_LISTED):
        out.print(f"  {count:>5} {kind}: {path}: {was} -> {now}", markup=False)
    if len(causes) > MOST_LISTED:
        out.print(f"  and {len(causes) - MOST_LISTED} more settings")
    if below := sum(not list(_causes(*pair)) for pair in pairs):
        out.print(f"  {below:>5} trials: only what they are made from is another")
    paired = {node.key for pair in pairs for node in pair}
    for nodes, names, word in ((gone, before.names, "gone"), (come, after.names, "new")):
        others = [node for node in nodes if node.key not in paired]
        for node in others[:MOST_LISTED]:
            out.print(f"  {word}: {node.kind} {node.key}: {names[node.key]}", markup=False)
        if len(others) > MOST_LISTED:
            kinds = Counter(node.kind for node in others[MOST_LISTED:])
            rest = ", ".join(f"{kinds[kind]:,} {kind}" for kind in KINDS if kinds[kind])
            out.print(f"  {word}: and {rest}")
    to_do = sum(node.status in TO_DO for node in come)
    rest = f"; the others are in {after.store}" if to_do < len(come) else ""
    out.print(f"of the {len(come):,} only of the second a sweep would run {to_do:,}{rest}", markup=False)
    return 0


def _tell_kinds(before: Sweep, after: Sweep, out: Console) -> None:
    table = Table(box=None, pad_edge=False, header_style="dim")
    for column in ("kind", "of both", "only of the first", "only of the second"):
        table.add_column(column, justify="left" if column == "kind" else "right")
    for kind in KINDS:
        first, second = ({n.key for n in one.plan.nodes.values() if n.kind == kind} for one in (before, after))
        table.add_row(kind, *(f"{len(keys):,}" for keys in (first & second, first - second, second - first)))
    out.print(table)


def _pairs(before: Sweep, gone: list[Node], after: Sweep, come: list[Node]) -> list[tuple[Node, Node]]:
    """Trials of one kind and name in both."""
    named = {(node.kind, before.names[node.key]): node for node in gone}
    found = ((named.get((node.kind, after.names[node.key])), node) for node in come)
    return [(old, new) for old, new in found if old]


def _causes(old: Node, new: Node) -> Iterator[tuple[str, str, str, str]]:
    """(kind, setting, value before, value now) of what is not equal in two trials' own settings."""
    was, now = (dict(_leaves(json.loads(spec_json(node.spec)))) for node in (old, new))
    for path in dict.fromkeys([*was, *now]):
        if path != "key" and was.get(path) != now.get(path):
            yield old.kind, path, was.get(path, "not there"), now.get(path, "not there")


def _leaves(value: Any, path: str = "") -> Iterator[tuple[str, str]]:
    """Settings by dotted path, without parents."""
    if not isinstance(value, dict):
        yield path, json.dumps(value)
    elif value.keys() != {"kind", "key"}:
        for name, part in value.items():
            yield from _leaves(part, f"{path}.{name}" if path else name)

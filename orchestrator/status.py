"""The verb `status`: how far a grid's sweep is, from any terminal that sees the store. Knows nothing of Ray."""

import io
import time
from collections import Counter
from collections.abc import Callable, Mapping
from contextlib import nullcontext, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.live import Live
from rich.text import Text

from orchestrator import show
from orchestrator.lease import STALE_SECONDS, Holder
from orchestrator.plan import TO_DO, Node, Plan
from orchestrator.progress import Running
from orchestrator.spec import Trial
from orchestrator.store import Store
from orchestrator.sweep import Sweep

MOST_LISTED = 20
STATES = ("done", "diverged", "not applicable", "running", "ready", "waiting", "failed", "blocked")
"""`failed`: before, and the next sweep tries again; `blocked`: waits for a failed one."""


@dataclass
class State:
    """Where each trial of a plan stands."""

    states: dict[str, str]
    """One of `STATES`, by key."""
    waits_for: dict[str, list[str]] = field(default_factory=dict)
    """Keys of the unfinished parents of what is waiting or blocked."""
    running: dict[str, tuple[Holder, Running]] = field(default_factory=dict)
    """Who works on it, and how far it is."""
    failed: dict[str, str] = field(default_factory=dict)
    """The last line of why."""
    work: float = 0.0
    """Share of the expected seconds of all trials that are behind, 0 to 1."""
    left: float = 0.0
    """Expected seconds of what is to do, one trial at a time."""


def look(planned: Plan, store: Store, seconds: Callable[[Trial], float]) -> State:
    """The state of every trial, and the work; `seconds` is what one is expected to take."""
    found = states(planned, store)
    spent = {name: seconds(node.spec) for name, node in planned.nodes.items()}
    found.left = sum(spent[name] for name, node in planned.nodes.items() if node.status in TO_DO)
    found.work = 1 - found.left / sum(spent.values()) if spent else 1.0
    return found


def states(planned: Plan, store: Store) -> State:
    """The state of every trial."""
    found = State({})
    for name, node in planned.nodes.items():
        found.states[name] = _state(node, found, store)
    return found


def _state(node: Node, found: State, store: Store) -> str:
    """Parents have theirs already."""
    if node.status not in TO_DO:
        return node.status
    by = store.holder(node.kind, node.key)
    if by and by.seconds < STALE_SECONDS:
        found.running[node.key] = by, Running.of(node.kind, "", store.progress(node.kind, node.key) or {})
        return "running"
    if node.status == "failed":
        with suppress(FileNotFoundError):  # a sweep has just handed it out again
            text = (store.folder(node.kind, node.key) / "FAILED").read_text(errors="replace")
            found.failed[node.key] = (text.strip().splitlines() or ["without a reason"])[-1]
            return "failed"
    if missing := [parent for parent in node.parents if found.states[parent] != "done"]:
        found.waits_for[node.key] = missing
        return "blocked" if any(found.states[parent] in ("failed", "blocked") for parent in missing) else "waiting"
    return "ready"


def run(file: Path, as_json: bool, out: Console) -> int:
    """Prints the state of the sweep of a grid; 0."""
    sweep = Sweep(file)
    found = look(sweep.plan, sweep.store, sweep.costs.seconds)
    if as_json:
        out.print_json(data=to_json(sweep.grid.name, sweep.plan, sweep.names, found))
    else:
        _tell(sweep, found, out)
    return 0


def watch(file: Path, seconds: float, out: Console) -> int:
    """Shows the state again and again, in the same place on a terminal, until all is done; 0. Ctrl-C ends the
    process."""
    sweep = Sweep(file)
    with Live(console=out, auto_refresh=False) if out.is_terminal else nullcontext() as live:
        while True:
            text = io.StringIO()
            told = Console(file=text, highlight=False, soft_wrap=True) if live else out
            _tell(sweep, found := look(sweep.plan, sweep.store, sweep.costs.seconds), told)
            if live:
                live.update(Text(text.getvalue().rstrip(), no_wrap=False, overflow="fold"), refresh=True)
            if out.quiet or not (found.running or sweep.plan.to_do()):  # quiet: nobody reads it any more
                return 0
            time.sleep(seconds)
            sweep.plan, sweep.names = sweep.replan()


def _tell(sweep: Sweep, found: State, out: Console) -> None:
    tell(sweep.grid.name, sweep.plan, sweep.names, found, sweep.basis(), out)
    if not found.running and sweep.plan.to_do():
        begun = "(a sweep needs some seconds until its first trial begins)"
        out.print(f"no trial runs {begun}; next, unless one was begun: make sweep GRID={sweep.file}", markup=False)


def tell(name: str, planned: Plan, names: Mapping[str, str], found: State, basis: str, out: Console) -> None:
    """One line for the sweep, one for each running and failed trial, and what the others wait for."""
    counts = Counter(found.states.values())
    words = ", ".join(f"{counts[state]:,} {state}" for state in STATES if counts[state])
    left = f"; about {show.duration(found.left)} of work left ({basis})" if found.left else ""
    if left and (side_by_side := len(found.running)) > 1:
        left += f", with {side_by_side} at a time at least {show.duration(found.left / side_by_side)}"
    out.print(
        f"{name}: {len(planned.nodes):,} trials: {words}; {found.work:.0%} of all work behind{left}", markup=False
    )
    for key, (by, at) in list(found.running.items())[:MOST_LISTED]:
        where = f"process {by.process} on {by.host}, last sign of life {show.duration(by.seconds)} ago"
        told = ", ".join(filter(None, (f"{planned.nodes[key].kind} {key}: {names[key]}", *at.cells()[2:])))
        out.print(f"  running: {told}; {where}", markup=False)
    for key, error in list(found.failed.items())[:MOST_LISTED]:
        out.print(f"  failed: {planned.nodes[key].kind} {key}: {names[key]}: {error}", markup=False)
    if found.failed:
        out.print(f"  why, whole: .venv/bin/python -m orchestrator logs {next(iter(found.failed))}", markup=False)
    reasons = Counter(
        (planned.nodes[key].kind, found.states[key], planned.nodes[parents[0]].kind, found.states[parents[0]])
        for key, parents in found.waits_for.items()
    )
    for (kind, state, parent, its), count in reasons.most_common(MOST_LISTED):
        out.print(f"  {state}: {count:,} {kind}, each for a trial of {parent} that is {its}", markup=False)


def to_json(name: str, planned: Plan, names: Mapping[str, str], found: State) -> dict[str, Any]:
    """All of it, for machines: each unfinished trial with its reason."""

    def entry(key: str, **more: Any) -> dict[str, Any]:
        return {"kind": planned.nodes[key].kind, "key": key, "name": names[key], **more}

    running = [
        entry(key, step=at.step, steps=at.steps, per_second=at.per_second, loss=at.loss, gpu_bytes=at.gpu_bytes,
              host=by.host, process=by.process, node=by.node, seconds_silent=by.seconds)
        for key, (by, at) in found.running.items()
    ]  # fmt: skip
    return {
        "grid": name,
        "trials": len(planned.nodes),
        "counts": dict(Counter(found.states.values())),
        "work_done": found.work,
        "seconds_left": found.left,
        "running": running,
        "ready": [entry(key) for key, state in found.states.items() if state == "ready"],
        "failed": [entry(key, error=error) for key, error in found.failed.items()],
        "waiting": [entry(key, state=found.states[key], waits_for=parents) for key, parents in found.waits_for.items()],
    }

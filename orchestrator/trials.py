"""The verbs about one trial: `show`, `logs`, `why`, `retry`, `cancel`. Told from the grid's plan and the store; a trial
that is in the store and not in the plan (another grid's, or of older settings) is known by its key, too."""

import getpass
import json
import socket
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
from rich.console import Console

from orchestrator import integrity, show, status
from orchestrator.grid import GridError
from orchestrator.history import LOG
from orchestrator.identity import Address, spec_json
from orchestrator.lease import STALE_SECONDS
from orchestrator.plan import TO_DO
from orchestrator.progress import Running
from orchestrator.spec import KINDS
from orchestrator.store import FINISHED, RETRY, Store
from orchestrator.sweep import Sweep

EXIT_DONE, EXIT_NOT_DONE = 0, 1
MOST_NAMED = 10
MOST_LISTED = 40
MOST_DIFFERENCES = 20
Say = Callable[[str], object]


@dataclass
class Trials:
    """What of trials a grid's plan and its store know."""

    sweep: Sweep
    flat: dict[Address, dict[str, str]] = field(default_factory=dict)

    @property
    def store(self) -> Store:
        """The grid's."""
        return self.sweep.store

    def find(self, text: str) -> Address:
        """The trial with this key, the only one whose key begins so, or the one of this name. Raises GridError."""
        planned = self.sweep.plan.nodes
        found = {(node.kind, key) for key, node in planned.items() if key.startswith(text)}
        found |= {address for address in self.stored() if address[1].startswith(text)}
        found = found or {(planned[key].kind, key) for key, name in self.sweep.names.items() if name == text}
        if len(found) == 1:
            return found.pop()
        if not found:
            words = text.lower().split()
            near = [f"{key} {name}" for key, name in self.sweep.names.items() if all(word in name for word in words)]
            nearest = f"; its words are in: {'; '.join(near[:MOST_NAMED])}" if near else ""
            raise GridError(
                f"KEY: found {text!r}, which is no trial of {self.sweep.file} or its store; allowed: a key, the "
                f"beginning of one, or a name, as status and plan --json give them{nearest}"
            )
        some = ", ".join(f"{key} ({kind})" for kind, key in sorted(found)[:MOST_NAMED])
        raise GridError(f"KEY: found {text!r}, which begins {len(found)} keys; allowed: more digits, e.g. of {some}")

    def stored(self) -> Iterator[Address]:
        """All trials that have a folder."""
        return ((kind, folder.name) for kind in KINDS for folder in sorted((self.store.root / kind).glob("[!.]*")))

    def name(self, address: Address) -> str:
        """Readable, in the grid's words where it has any."""
        return self.sweep.names.get(address[1]) or f"not of {self.sweep.grid.name}"

    def spec(self, address: Address) -> dict[str, Any]:
        """`spec.json`, parsed: each parent is {"kind", "key"}. Empty where nobody knows it any more."""
        kind, key = address
        if key in self.sweep.plan.nodes:
            return dict(json.loads(spec_json(self.sweep.plan.nodes[key].spec)))
        try:
            return dict(json.loads((self.store.folder(kind, key) / "spec.json").read_text()))
        except (OSError, ValueError, TypeError, RecursionError):
            return {}

    def settings(self, address: Address) -> dict[str, str]:
        """Every setting that the trial depends on, also those of the trials that it is made from: path -> JSON."""
        if address not in self.flat:
            spec = self.spec(address)
            spec.pop("key", None)
            self.flat[address] = dict(self._leaves(spec, ""))
        return self.flat[address]

    def _leaves(self, value: Any, path: str) -> Iterator[tuple[str, str]]:
        if isinstance(value, dict) and value.keys() == {"kind", "key"}:
            below = self.settings((value["kind"], value["key"]))
            yield from ((f"{path}.{name}", content) for name, content in below.items())
        elif isinstance(value, dict):
            for name, part in value.items():
                yield from self._leaves(part, f"{path}.{name}" if path else name)
        elif isinstance(value, list) and any(isinstance(part, dict) for part in value):
            yield path, f"{len(value)} of them"
            for i, part in enumerate(value):
                yield from self._leaves(part, f"{path}[{i}]")
        else:
            yield path, json.dumps(value)

    def state(self, address: Address) -> str:
        """In words: done, running, waiting, failed: KeyError: ..."""
        kind, key = address
        if key in self.sweep.plan.nodes:
            found = status.states(self.sweep.plan, self.store)
            return found.states[key] + (f": {found.failed[key]}" if key in found.failed else "")
        return self.store.status(kind, key) or "unfinished"


def show_(file: Path, text: str, as_json: bool, out: Console) -> int:
    """Prints all that is known of a trial: parents, children, record with its files, and last the long spec."""
    trials, say = Trials(Sweep(file)), partial(out.print, markup=False)
    address = trials.find(text)
    found = describe(trials, address)
    if as_json:
        out.print_json(data=found)
        return EXIT_DONE
    kind, key = address
    say(f"{kind} {key}: {found['name']}: {found['state']}")
    if found["why"]:
        say(f"  {found['why']}")
    say(f"  {found['folder']}")
    for word in ("parents", "children"):
        for one in found[word][:MOST_LISTED]:
            role = f"{one['role']}: " if "role" in one else ""
            told = f"{role}{one['kind']} {one['key']}: {one['name']}: {one['state']}"
            say(f"  {'parent' if word == 'parents' else 'child'}: {told}")
        if len(found[word]) > MOST_LISTED:
            say(f"  and {len(found[word]) - MOST_LISTED} more {word}, all with --json")
    if record := found["record"]:
        say("record.json", style="bold")
        for name, value in record.get("numbers", {}).items():
            say(f"  {name}: {value}")
        took = show.duration(record.get("seconds", 0.0))
        made = record.get("provenance", {})
        commit = f"; commit {made['git_commit'][:12]}" if made.get("git_commit") else ""
        changed = " with changes" if made.get("git_dirty") else ""
        say(f"  {took} on {record.get('device')}, {record.get('host')}{commit}{changed}")
        for name, size in record.get("bytes", {}).items():
            say(f"  {name}: {size:,} bytes, sha256 {record['files'][name][:12]}")
    say("spec.json", style="bold")
    say(json.dumps(found["spec"], indent=1))
    return EXIT_DONE


def describe(trials: Trials, address: Address) -> dict[str, Any]:
    """A trial for machines."""
    kind, key = address
    node, store = trials.sweep.plan.nodes.get(key), trials.store
    states = status.states(trials.sweep.plan, store).states
    spec = trials.spec(address)
    finished = store.status(kind, key) in FINISHED
    fault = integrity.faults(store, [address]).get(address, "") if finished else ""

    def entry(address: Address) -> dict[str, Any]:
        state = states.get(address[1]) or store.status(*address) or "unfinished"
        return {"kind": address[0], "key": address[1], "name": trials.name(address), "state": state}

    nodes = trials.sweep.plan.nodes
    return {
        **entry(address),
        "why": node.why if node and node.status in TO_DO else fault,
        "folder": str(store.folder(kind, key)),
        "parents": [{"role": role, **entry(parent)} for role, parent in _parents(spec)],
        "children": [entry((nodes[child].kind, child)) for child in node.children] if node else [],
        "spec": spec,
        "record": store.record(kind, key) if finished and not fault else {},
        "attempts": store.attempts(kind, key),
    }


def _parents(value: Any, role: str = "") -> Iterator[tuple[str, Address]]:
    if isinstance(value, dict) and value.keys() == {"kind", "key"}:
        yield role, (value["kind"], value["key"])
    elif isinstance(value, dict):
        for name, part in value.items():
            yield from _parents(part, f"{role}.{name}" if role else name)


def logs(file: Path, text: str, tail: int, out: Console) -> int:
    """Prints a trial's history of attempts, how far it is, what it has printed, its curves, and why it failed."""
    trials, say = Trials(Sweep(file)), partial(out.print, markup=False)
    kind, key = address = trials.find(text)
    say(f"{kind} {key}: {trials.name(address)}: {trials.state(address)}")
    attempts = trials.store.attempts(kind, key)
    for attempt in attempts:
        at = time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(attempt["time"]))
        where = f" on {attempt['host']}, process {attempt.get('process')}" if "host" in attempt else ""
        note = f": {attempt['note']}" if attempt.get("note") else ""
        say(f"  {at} {attempt['outcome']}{where}{note}")
    if not attempts:
        say("  no attempt yet")
    if now := ", ".join(filter(None, Running.of(kind, "", trials.store.progress(kind, key) or {}).cells()[2:])):
        say(f"  now: {now}")
    folder = trials.store.folder(kind, key)
    _tell_curves(folder / "curves.parquet", say)
    for title, content in (("printed by the trial", _read(folder / LOG)), ("failed", _last_failure(attempts))):
        if content:
            shown = content.splitlines()
            say(title + (f" (the last {tail} of {len(shown)} lines)" if len(shown) > tail else ""), style="bold")
            say("\n".join(shown[-tail:]))
    return EXIT_DONE


def _read(path: Path) -> str:
    try:
        return path.read_text(errors="replace").rstrip()
    except OSError:
        return ""


def _last_failure(attempts: list[dict[str, Any]]) -> str:
    failures = [str(one["traceback"]) for one in attempts if one.get("traceback")]
    return failures[-1].rstrip() if failures and attempts[-1]["outcome"] not in FINISHED else ""


def _tell_curves(path: Path, say: Say) -> None:
    """First and last value of each curve of a finished training."""
    try:
        rows = pq.read_table(path, columns=["step", "name", "value"]).to_pylist()
    except (OSError, ValueError):
        return
    curves: dict[str, list[dict[str, Any]]] = {}
    for row in rows:
        curves.setdefault(row["name"], []).append(row)
    for name, points in curves.items():
        ends = (
            f"{points[0]['value']:.6g} at step {points[0]['step']} to {points[-1]['value']:.6g} at {points[-1]['step']}"
        )
        say(f"  {name}: {ends}")


def why(file: Path, text: str, out: Console) -> int:
    """Prints in which settings a trial differs from its nearest finished relative: the trial of its kind with the
    fewest other settings."""
    trials, say = Trials(Sweep(file)), partial(out.print, markup=False)
    kind, key = address = trials.find(text)
    node = trials.sweep.plan.nodes.get(key)
    state = trials.state(address)
    reason = f": {node.why}" if node and node.why else ""
    say(f"{kind} {key}: {trials.name(address)}: {state}{reason}")
    planned = {(one.kind, one.key) for one in trials.sweep.plan.nodes.values()}
    finished = [
        one for one, its in trials.store.index().items() if its in FINISHED and one[0] == kind and one != address
    ]
    relatives = finished if node else [one for one in planned if one[0] == kind]
    if not relatives:
        say(f"no other {kind} trial is finished in {trials.store}, so there is none to compare it with", markup=False)
        return EXIT_DONE
    mine = trials.settings(address)
    nearest = min(relatives, key=lambda one: (len(mine.items() ^ trials.settings(one).items()), one))
    its = trials.settings(nearest)
    of = "finished" if node else f"of {trials.sweep.grid.name}"
    say(f"nearest {of}: {nearest[0]} {nearest[1]}: {trials.name(nearest)}; other there:")
    differing = _differences(mine, its)
    for path, here, there in differing[:MOST_DIFFERENCES]:
        say(f"  {path}: {here}, there {there}")
    if len(differing) > MOST_DIFFERENCES:
        say(f"  and {len(differing) - MOST_DIFFERENCES} more settings")
    return EXIT_DONE


def _differences(mine: dict[str, str], its: dict[str, str]) -> list[tuple[str, str, str]]:
    """(path, value here, value there) of what is not equal. Below a part that only one of them has, just the part."""
    differing = [path for path in dict.fromkeys([*mine, *its]) if mine.get(path) != its.get(path)]
    return [(path, mine.get(path, "not there"), its.get(path, "not there")) for path in differing]


def retry(file: Path, texts: list[str], again: bool, out: Console) -> int:
    """Lets failed and diverged trials run again: at once where a sweep runs, else in the next one. With `again` also
    finished ones. 1 where one could not."""
    trials, say = Trials(Sweep(file)), partial(out.print, markup=False)
    asked = [trials.find(text) for text in texts]
    retried = [address for address in asked if _retried(trials, address, again, say)]
    for _, key in retried:
        if key in trials.sweep.plan.nodes:  # also where none runs just now: a sweep begins by forgetting requests
            trials.store.request_stop(RETRY + key)
    whole = len(retried) == len(asked)
    if whole and not _running(trials):
        say(f"no trial runs; next: make sweep GRID={file}")
    return EXIT_DONE if whole else EXIT_NOT_DONE


def _retried(trials: Trials, address: Address, again: bool, say: Say) -> bool:
    (kind, key), store = address, trials.store
    told, found = f"{kind} {key}: {trials.name(address)}", store.status(*address)
    if found == "done" and not again:
        say(f"{told}: is done; --again runs it again all the same")
        return False
    try:
        if found in FINISHED:
            store.reopen(kind, key, lambda: f"asked for by {who()}", "retried")
        elif found == "failed":
            with store.claim(kind, key) as folder:
                (folder / "FAILED").unlink(missing_ok=True)
    except BlockingIOError:
        say(f"{told}: is running")
        return False
    words = f"was {found}, runs again" if found else "is to do anyway"
    say(f"{told}: {words}")
    return True


def cancel(file: Path, texts: list[str], out: Console) -> int:
    """Asks the running sweep to end these trials, with a checkpoint, or not to start them. What depends on them is
    blocked; `retry` or the next sweep runs them. 1 where one could not be cancelled."""
    trials, say, left = Trials(Sweep(file)), partial(out.print, markup=False), 0
    if not _running(trials):
        say(f"no trial of {file} runs just now, so there is nothing to cancel; `exclude` in a grid leaves cells out")
        return EXIT_NOT_DONE
    for kind, key in [trials.find(text) for text in texts]:
        told, found = f"{kind} {key}: {trials.name((kind, key))}", trials.store.status(kind, key)
        if found in FINISHED or key not in trials.sweep.plan.nodes:
            say(f"{told}: is {found or 'not of this grid'}")
            left += 1
            continue
        trials.store.request_stop(key)
        say(f"{told}: is asked to end; what depends on it is blocked until it is retried")
    return EXIT_NOT_DONE if left else EXIT_DONE


def _running(trials: Trials) -> bool:
    """Whether a live sweep runs trials of the plan."""
    holders = (trials.store.holder(node.kind, node.key) for node in trials.sweep.plan.to_do())
    return any(by and by.sweep and by.seconds < STALE_SECONDS for by in holders)


def who() -> str:
    """The person, for histories."""
    try:
        return f"{getpass.getuser()} on {socket.gethostname()}"
    except (KeyError, OSError):
        return socket.gethostname()

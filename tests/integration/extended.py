"""Runs one new trial of each grid of a tree that was extended, with all that it needs, in this process.

    python extended.py ANSWER.json GRIDS    # in that tree

GRIDS is JSON: [[grid, the one that it grew from, kind], ...]. ANSWER.json holds the numbers and the spec of each trial.
"""

import json
import sys
from pathlib import Path
from typing import Any

from orchestrator import grid, known, matrix, plan, spec
from orchestrator.identity import key, spec_json
from orchestrator.manifests import Manifests, Request, requests
from orchestrator.store import Store, identity_record
from workers import prefetch, sources, trial
from workers.context import Context
from workers.data.scan import scan
from workers.stand_ins import write_weights


def main() -> None:
    """The command line."""
    answer, grids = Path(sys.argv[1]), json.loads(sys.argv[2])
    store = Store(Path("results/store"))
    answer.write_text(json.dumps([grow(store, Path(new), Path(old), kind) for new, old, kind in grids]))


def grow(store: Store, new: Path, old: Path, kind: str) -> dict[str, Any]:
    """Runs that new trial of the kind which needs the fewest others."""
    manifests = look(new)
    manifests.write(store.root)
    before = set(planned(old, manifests))
    nodes = planned(new, manifests)
    found = [node.spec for name, node in nodes.items() if name not in before and node.kind == kind]
    chosen = min(found, key=lambda one: len(lineage(one)))
    for one in lineage(chosen):
        run(store, one)
    numbers = store.record(kind, key(chosen))["numbers"]
    return {"numbers": numbers, "spec": json.loads(spec_json(chosen))}


def look(file: Path) -> Manifests:
    """What a preflight finds, but for the judges of pyiqa, which take long to load and are not run here."""
    found = Manifests()
    for one in requests(grid.load(file)):
        if one.kind == "data":
            low = tuple(map(Path, one.low))
            scanned = scan(one.layout, tuple(map(Path, one.folders)), low=low, scale=one.scale if low else None)
            assert not scanned.faults, scanned.faults
            found.found[one.key] = scanned.to_json()
        elif one.kind == "file":
            found.found[one.key] = weights(one)
        elif one.name in known.own_judges():
            found.found[one.key] = {"files": [], "content": ""}
    return found


def weights(request: Request) -> dict[str, Any]:
    """The manifest of a weights file, which is made where it is not there."""
    if not Path(request.tag).exists():
        write_weights(request.name, Path(request.tag))
    fetched = prefetch.checked(prefetch.fetch(prefetch.Wanted("file", name=request.name, path=request.tag)))
    assert not fetched.fault, fetched.fault
    return {"files": fetched.files, "content": fetched.content}


def planned(file: Path, manifests: Manifests) -> dict[str, plan.Node]:
    """The trials of a grid by key, parents first."""
    labels = matrix.expand(grid.load(file), manifests).labels
    return plan.build([label.spec for label in labels], {}, lambda _: 1.0).nodes


def lineage(one: spec.Trial) -> list[spec.Trial]:
    """A trial behind all that it needs, each once."""
    above = [older for _, parent in spec.parents(one) for older in lineage(parent)]
    return list({key(older): older for older in [*above, one]}.values())


def run(store: Store, one: spec.Trial) -> None:
    """Runs a trial as a worker does, unless the store has it."""
    if store.status(one.KIND, key(one)) == "done":
        return
    read = spec.decode(json.loads((store.prepare(one) / "spec.json").read_text()))
    inputs = {role: store.folder(parent.KIND, key(parent)) for role, parent in spec.parents(one)}
    where = sources.read(store.root / "sources.json", cache=Path("results/cache"))
    with store.claim(one.KIND, key(one)):
        work = store.workspace(one.KIND, key(one))
        record = trial.run(read, Context(inputs, work, key=key(one), sources=where))
        assert record["status"] == "done", record
        store.finish(work, {**identity_record(one), **record})


if __name__ == "__main__":
    main()

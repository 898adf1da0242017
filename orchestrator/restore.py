"""The verb `restore`: fills a store from what MLflow holds of a grid's sweeps, so that tables can be built from it.

Images of restorations are not mirrored, so the report of such a store has no crops; neither are trials that failed.
"""

import json
import os
import tempfile
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from rich.console import Console

from orchestrator import matrix, mirrored, plan
from orchestrator.disk import sha256, write_atomic
from orchestrator.fence import place
from orchestrator.grid import RESULTS, GridError, load
from orchestrator.identity import digest
from orchestrator.manifests import FILE, Manifests, parse, requests
from orchestrator.mirror_reader import MirrorError, Reader
from orchestrator.plan import Node
from orchestrator.sections import Grid
from orchestrator.store import FINISHED, Damaged, Store, done
from orchestrator.transfer import move_in

EXIT_DONE, EXIT_DAMAGED = 0, 1


def run(file: Path, storage: Path, tracking: str | None, weights: bool, out: Console) -> int:
    """Restores into the store at `storage` what it lacks of the grid's trials, from the experiment of the grid's name,
    and prints what could not be. Exit code 1 when files are damaged. Raises GridError for a wrong grid and for a mirror
    that cannot be read or has none of the grid's trials, OSError where the store cannot be written."""
    grid, store = load(file), Store(storage)
    store.check_writable()
    try:
        reader = Reader(tracking or grid.runtime.tracking, grid.name)
        manifests = _restore_manifests(reader, store)
    except MirrorError as error:
        raise GridError(str(error)) from None
    nodes, hints = _planned(grid, manifests, store).nodes.values(), list(_strangers(grid, manifests))
    there = {node.key for node in nodes if _is_whole(store, node, weights)}
    wanted = [node for node in nodes if node.key in reader.runs and node.key not in there]
    if not wanted and not there:
        raise GridError("\n".join([f"{reader.shown}: has none of the {len(nodes)} trials of {file}", *hints]))
    damaged = list(restore(reader, store, wanted, weights))
    mirrored.write_links(store.root, grid.name, reader.links())
    restored = sum(_is_whole(store, node, weights) for node in wanted)
    out.print(f"{len(nodes)} trials: {restored} restored to {storage}, {len(there)} were there", markup=False)
    for line in (*damaged, *_lost(_planned(grid, manifests, store), reader), *hints):
        out.print(line, markup=False)
    if not weights:
        out.print("no weights were asked for: tables need none, but a sweep that goes on from here does (--weights)")
    tables = f"--grid {file} --storage {storage} --out {RESULTS / f'{grid.name}-restored'}"
    out.print(f"next: .venv/bin/python -m orchestrator.aggregate {tables}", markup=False)
    return EXIT_DAMAGED if damaged else EXIT_DONE


def restore(reader: Reader, store: Store, nodes: Iterable[Node], weights: bool) -> Iterator[str]:
    """Puts trials that the mirror has into the store. Yields a line for each that had to be left out."""
    by_run: dict[str, list[Node]] = defaultdict(list)
    for node in nodes:
        by_run[reader.runs[node.key]].append(node)
    for run_id, own in by_run.items():
        with tempfile.TemporaryDirectory(prefix=".restore-", dir=store.root) as folder:
            yield from _restore_run(reader, store, run_id, own, weights, Path(folder))


def _restore_run(
    reader: Reader, store: Store, run_id: str, nodes: list[Node], weights: bool, folder: Path
) -> Iterator[str]:
    try:
        for part in {mirrored.folder_of(node.kind, node.key).partition("/")[0] for node in nodes}:
            reader.download(run_id, part, folder)
    except MirrorError as error:
        yield f"{error}; trials left out: {len(nodes)}"
        return
    for node in nodes:
        source = folder / mirrored.folder_of(node.kind, node.key)
        try:
            record = _record(source, node)
            if weights and any(map(_is_weights, record["files"])):
                reader.download(run_id, mirrored.WEIGHTS, source)
            _place(store, node, source, record, weights)
        except (Damaged, MirrorError, BlockingIOError) as error:
            yield f"{node.kind} {node.key} left out: {error}"


def _record(source: Path, node: Node) -> dict[str, Any]:
    try:
        record: dict[str, Any] = json.loads((source / "record.json").read_text())
    except FileNotFoundError:
        raise Damaged("the mirror has no record.json of it") from None
    except ValueError:
        raise Damaged("its record.json is cut short or not JSON") from None
    if record.get("digest") != digest(node.spec) or record.get("status") not in FINISHED or "files" not in record:
        raise Damaged("its record.json is not that of this trial, finished")
    return record


def _place(store: Store, node: Node, source: Path, record: dict[str, Any], weights: bool) -> None:
    """Moves a trial's files into the store, checked, and DONE last; not where somebody has finished it meanwhile."""
    names = [name for name in record["files"] if name in mirrored.FILES or (weights and _is_weights(name))]
    for name in names:
        if not (source / name).is_file():
            raise Damaged(f"the mirror has no {name} of it")
        if sha256(source / name, sync=True) != record["files"][name]:
            raise Damaged(f"its {name} does not have the digest that its record says")
    store.prepare(node.spec)
    with store.claim(node.kind, node.key) as folder:
        if _is_whole(store, node, weights):
            return
        work = place(store.own[node.kind, node.key])
        for name in names:
            (work / name).parent.mkdir(exist_ok=True)
            os.rename(source / name, work / name)
        content = (source / "record.json").read_text()
        write_atomic(work / "record.json", content)
        write_atomic(work / "DONE", done(record["status"], content))
        move_in(work, folder)


def _restore_manifests(reader: Reader, store: Store) -> Manifests:
    """Those of the mirror's sweeps, a later one before an earlier, and before all what the store knows itself."""
    found: dict[str, Any] = {}
    for run_id in reader.sweeps():
        with tempfile.TemporaryDirectory(prefix=".restore-", dir=store.root) as folder:
            file = reader.download(run_id, mirrored.SWEEP, Path(folder)) / FILE
            try:
                found |= parse(file.read_bytes())
            except ValueError:
                raise MirrorError(f"{reader.shown}: {FILE} of run {run_id} is cut short or not JSON") from None
    known = Manifests.read(store.root).found
    Manifests({name: one for name, one in found.items() if name not in known}).write(store.root)
    return Manifests.read(store.root)


def _planned(grid: Grid, manifests: Manifests, store: Store) -> plan.Plan:
    study = matrix.expand(grid, manifests)
    return plan.build((label.spec for label in study.labels), store.index(), lambda spec: 0.0)


def _is_whole(store: Store, node: Node, weights: bool) -> bool:
    """Whether the store has a trial already, and its weights where they are asked for."""
    if store.status(node.kind, node.key) not in FINISHED:
        return False
    names = store.record(node.kind, node.key).get("files", {}) if weights else {}
    return all((store.folder(node.kind, node.key) / name).exists() for name in names if _is_weights(name))


def _is_weights(name: str) -> bool:
    return name.startswith(f"{mirrored.WEIGHTS}/") and name.count("/") == 1


def _lost(planned: plan.Plan, reader: Reader) -> Iterator[str]:
    """A line for each kind of trial that the mirror does not have."""
    counts = Counter(node.kind for node in planned.to_do() if node.key not in reader.runs)
    if images := counts.pop("restoration", 0):
        yield f"restoration: {images} are not in the mirror, as images are not; the report has no crops of them"
    for kind, count in counts.items():
        yield f"{kind}: {count} are not in the mirror: failed, or never run"


def _strangers(grid: Grid, manifests: Manifests) -> Iterator[str]:
    """A line for data sets, weights and judges of which the mirror does not know the contents."""
    if unknown := [one.words for one in requests(grid) if one.key not in manifests.found]:
        yield (
            f"the mirror does not know: {', '.join(unknown)}; trials that use them have other keys here; name them as "
            "the sweep did (DATA_ROOT, paths of weights, version of pyiqa)"
        )

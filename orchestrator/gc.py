"""The verb `gc`: trials in a store that no grid needs any more. Dry unless it is told to delete."""

from collections import Counter
from pathlib import Path

from rich.console import Console
from rich.table import Table

from orchestrator.composing import RAN
from orchestrator.grid import RESULTS, GridError
from orchestrator.identity import Address
from orchestrator.spec import KINDS
from orchestrator.store import Store
from orchestrator.sweep import Sweep

EXIT_DONE, EXIT_LEFT = 0, 1


def run(file: Path, others: list[Path], delete: bool, out: Console) -> int:
    """Lists, and with `delete` removes, the trials in the store of the grid `file` that are of the plan of none of the
    grids beside it, in grids/, made by `-o` (results/*/grid.yaml), and of `others`. Raises GridError where one of them
    has faults: what it needs cannot be known. 1 where a trial could not be removed because it runs."""
    sweep = Sweep(file)
    folders = (file.parent.glob("*.yaml"), Path("grids").glob("*.yaml"), RESULTS.glob(f"*/{RAN}"))
    beside = {path.resolve(): path for folder in folders for path in sorted(folder)}
    grids = [file, *(path for real, path in beside.items() if real != file.resolve()), *others]
    kept, sweeps = set(), []
    for path in dict.fromkeys(grids):
        try:
            one = sweep if path == file else Sweep(path)
        except GridError as error:
            raise GridError(f"{error}\ngc: what {path} needs cannot be known; mend it, or move it elsewhere") from None
        if one.store.address == sweep.store.address:
            kept |= {(node.kind, node.key) for node in one.plan.nodes.values()}
            sweeps.append(path)
    out.print(f"needed by {', '.join(map(str, sweeps))}: {len(kept):,} trials", markup=False)
    unneeded = [address for address in _stored(sweep.store) if address not in kept]
    sizes = {address: sweep.store.size(*address) for address in unneeded}
    _tell(sizes, out)
    if not sizes:
        return EXIT_DONE
    if not delete:
        out.print("nothing was removed; --delete removes them. Grids elsewhere that need some: name them, too")
        return EXIT_DONE
    held = [address for address in unneeded if not _removed(sweep.store, address)]
    for kind, key in held:
        out.print(f"is running, and stays: {kind} {key}", markup=False)
    freed = sum(size for address, size in sizes.items() if address not in held)
    out.print(f"removed {len(unneeded) - len(held):,} trials, {freed / 1e6:,.1f} MB")
    return EXIT_LEFT if held else EXIT_DONE


def _stored(store: Store) -> list[Address]:
    """All trials that have a folder, finished or not."""
    there = set(store.index())
    there |= {(kind, folder.name) for kind in KINDS for folder in (store.root / kind).glob("[!.]*")}
    return sorted(there)


def _tell(sizes: dict[Address, int], out: Console) -> None:
    counts, total = Counter(kind for kind, _ in sizes), Counter[str]()
    for (kind, _), size in sizes.items():
        total[kind] += size
    out.print(f"needed by none: {len(sizes):,} trials, {sum(sizes.values()) / 1e6:,.1f} MB")
    table = Table(box=None, pad_edge=False, show_header=False)
    for kind in KINDS:
        if counts[kind]:
            table.add_row(f"  {kind}", f"{counts[kind]:,}", f"{total[kind] / 1e6:,.1f} MB")
    if sizes:
        out.print(table)


def _removed(store: Store, address: Address) -> bool:
    try:
        store.remove(*address)
    except BlockingIOError:
        return False
    return True

"""The verb `fsck`: a store's finished trials, byte by byte."""

import contextlib
from pathlib import Path

from rich.console import Console

from orchestrator import integrity
from orchestrator.grid import load
from orchestrator.identity import Address
from orchestrator.remote import open_store
from orchestrator.store import FINISHED, Store

EXIT_WHOLE, EXIT_DAMAGED = 0, 1


def run(file: Path, repair: bool, out: Console) -> int:
    """The verb `fsck`: looks at every byte of every finished trial in the store of a grid, and with `repair` makes the
    damaged and stale ones unfinished, so that the next sweep runs them. Exit code 1 where some are left."""
    runtime = load(file).runtime
    store = open_store(runtime.storage, runtime.cache)
    finished = [address for address, status in store.index().items() if status in FINISHED]
    there = store.audit(finished)
    mended = [address for address in there if repair and _mended(store, address)]
    found = integrity.faults(store, finished, deep=True)
    found |= {address: fault for address, fault in there.items() if address not in mended}
    out.print(f"{store}: {len(finished):,} finished trials, {len(found):,} damaged or stale", markup=False)
    for (kind, key), fault in found.items():
        out.print(f"  {kind}/{key}: {fault}", markup=False)
    if untidy := store.tidy(finished) if repair else sum(bool(store.leftovers(*address)) for address in finished):
        said = "removed" if repair else "--repair, or the next sweep, removes them"
        out.print(f"{untidy:,} of them have checkpoints or work folders that a kill has left: {said}")
    if mended:
        out.print(f"{len(mended):,} more were damaged, and are mended from the copy that this machine has")
    if not found:
        return EXIT_WHOLE
    if not repair:
        out.print(f"next: .venv/bin/python -m orchestrator fsck {file} --repair", markup=False)
        return EXIT_DAMAGED
    reopened = integrity.reopen(store, found)
    out.print(f"{reopened:,} of them are unfinished now; next: make sweep GRID={file}", markup=False)
    return EXIT_WHOLE if reopened == len(found) else EXIT_DAMAGED


def _mended(store: Store, address: Address) -> bool:
    with contextlib.suppress(BlockingIOError):
        return store.give_again(*address)
    return False

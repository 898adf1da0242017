"""The verb `mirror`: fills an MLflow database or server, a new one too, from the store: no trial runs."""

from pathlib import Path

from rich.console import Console

from orchestrator.mirrored import public
from orchestrator.store import FINISHED
from orchestrator.sweep import Sweep, mirror_of

EXIT_DONE, EXIT_INCOMPLETE = 0, 1


def run(file: Path, tracking: str | None, out: Console) -> int:
    """Writes all finished trials of a grid, and its tables and report where they were built, to what `tracking` names,
    the grid's own unless given. 1 where MLflow could not be written, or trials are unfinished."""
    sweep = Sweep(file)
    place = tracking or sweep.grid.runtime.tracking
    shown, mirror = public(place), mirror_of(sweep, place)
    whole = not sweep.plan.to_do()
    mirror.close("FINISHED" if whole else "FAILED")
    mirror.publish(sweep.results)
    if mirror.faults:
        out.print(f"[yellow]not all was written[/] to {shown} ({mirror.faults[0]}); next: the same command again")
        return EXIT_INCOMPLETE
    finished = sum(node.status in FINISHED for node in sweep.plan.nodes.values())
    out.print(f"{shown}: {finished:,} of {len(sweep.plan.nodes):,} trials of {sweep.grid.name}", markup=False)
    if not whole:
        out.print(f"{len(sweep.plan.to_do()):,} are unfinished; next: make sweep GRID={file}", markup=False)
    return EXIT_DONE if whole else EXIT_INCOMPLETE

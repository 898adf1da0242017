"""The verbs: `python -m orchestrator plan|preflight|prefetch|rehearse|sweep|status|fsck|restore GRID`.

Exit codes: 0 all that was planned is done; 1 something failed or is blocked; 2 the grid, a file or the store cannot be
used; 130 interrupted.
"""

import dataclasses
import json
import sys
from pathlib import Path
from typing import Annotated

import typer

from orchestrator import interrupts, show
from orchestrator.grid import GridError, last_sweep

app = typer.Typer(add_completion=False, no_args_is_help=True, pretty_exceptions_enable=False)
GridFile = Annotated[Path, typer.Argument(help="a grid file, e.g. grids/demo.yaml")]


@app.callback()
def verbs() -> None:
    """Does a better image quality metric make a better training loss? Plans and runs sweeps over a grid."""


@app.command()
def plan(
    grid: GridFile,
    as_json: Annotated[
        bool, typer.Option("--json", help="for machines: counts, longest path, every new trial")
    ] = False,
) -> None:
    """Shows what a sweep would run, and why. Example: python -m orchestrator plan grids/demo.yaml"""
    from orchestrator.plan import as_json as to_json
    from orchestrator.sweep import Sweep

    sweep = Sweep(grid)
    if as_json:
        found = {"forecast": dataclasses.asdict(told)} if (told := sweep.forecast()) else {}
        print(json.dumps(to_json(sweep.plan, sweep.study.cells) | found, indent=1))
        return
    out = show.console()
    show.plan(out, sweep.grid.name, sweep.study.cells, sweep.plan, sweep.names, why=True, basis=sweep.basis())
    show.circular(out, sweep.grid)
    if told := sweep.forecast():
        show.forecast(out, told)
    elif sweep.plan.to_do() and sweep.reserves_gpus():
        out.print(f"what it costs on GPUs: make rehearse GRID={grid}", markup=False)
    if unresolved := sweep.unresolved():
        words = ", ".join(f"{count} {what}" for what, count in unresolved.items())
        out.print(f"not looked at yet, so keys are not final: {words}; next: make preflight GRID={grid}", markup=False)


@app.command()
def sweep(grid: GridFile) -> None:
    """Runs what is to do and builds the tables. Example: python -m orchestrator sweep grids/demo.yaml"""
    from orchestrator.sweep import run

    raise typer.Exit(run(grid, show.console()))


@app.command("preflight")
def preflight_(grid: GridFile) -> None:
    """Checks data sets, weights, judges, storage and GPUs, and lists all that is wrong. `sweep` does it first, too."""
    from orchestrator.sweep import looked_over

    out = show.console()
    checked = looked_over(grid, out)
    show.manifests(out, checked.manifests, checked.grid)
    out.print(f"all in order; next: make sweep GRID={grid}", markup=False)


@app.command()
def prefetch(grid: GridFile) -> None:
    """Fetches every weights file that the grid names, once; afterwards nothing needs a network."""
    from orchestrator.prefetch import run

    raise typer.Exit(run(grid, show.console()))


@app.command()
def rehearse(
    grid: GridFile, keep: Annotated[bool, typer.Option(help="keep what was run in results/rehearsal/")] = False
) -> None:
    """Runs each shape of trial for a few steps on stand-ins of the data, and measures what the grid will cost."""
    from orchestrator.rehearse import run

    raise typer.Exit(run(grid, show.console(), keep))


@app.command()
def status(
    grid: Annotated[Path | None, typer.Argument(help="a grid file; without it, the one that was swept last")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="for machines: all unfinished trials and why")] = False,
) -> None:
    """Says how far a sweep is, from any terminal that sees the store. Example: python -m orchestrator status"""
    from orchestrator.status import run

    raise typer.Exit(run(grid or last_sweep(), as_json, show.console()))


@app.command()
def fsck(
    grid: GridFile,
    repair: Annotated[
        bool, typer.Option("--repair", help="make them unfinished: the next sweep runs them again")
    ] = False,
) -> None:
    """Looks at every byte of the finished trials in the store, and lists damaged and stale ones."""
    from orchestrator.fsck import run

    raise typer.Exit(run(grid, repair, show.console()))


@app.command()
def restore(
    grid: GridFile,
    storage: Annotated[Path, typer.Option(help="the store to fill, e.g. results/restored")],
    tracking: Annotated[str | None, typer.Option(help="MLflow's database or server; the grid's unless given")] = None,
    weights: Annotated[bool, typer.Option("--weights", help="weights too, which tables do not need")] = False,
) -> None:
    """Fills a store from MLflow alone, for tables of a sweep whose store is lost or elsewhere. Images it has none."""
    from orchestrator.restore import run

    raise typer.Exit(run(grid, storage, tracking, weights, show.console()))


def main() -> None:
    """Runs a verb; errors that are the user's are printed without a traceback."""
    interrupts.at_once()
    try:
        app()
    except GridError as error:
        sys.exit(_tell(str(error)))
    except OSError as error:
        where = f"{error.filename}: " if error.filename else ""
        sys.exit(_tell(f"{where}{error.strerror or error}; finished trials are kept, run the same command again"))


def _tell(message: str) -> int:
    print(message, file=sys.stderr)
    return 2


if __name__ == "__main__":
    main()

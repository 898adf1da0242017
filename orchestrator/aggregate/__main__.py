"""`python -m orchestrator.aggregate`: rebuilds results/<grid>/ (tables, figures, report.html) from the store alone, or
sets the tables of two sweeps side by side."""

import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from orchestrator import last_resort
from orchestrator.aggregate import compare, figures, report, saved, scores, tables, terminal, writing
from orchestrator.aggregate.scores import Evidence
from orchestrator.grid import RESULTS, GridError, beside, last_sweep, load
from orchestrator.sections import Grid as Study


@dataclass(frozen=True)
class Summary:
    """What an aggregation found and wrote."""

    out: Path
    report: Path
    tables: dict[str, writing.Table]
    """By name."""
    asymmetry: list[writing.Table]
    """That of the ranked losses, and where there are random twins, theirs."""
    done: int
    planned: int
    unusable: list[tuple[str, str]]
    """Kind and key of finished trials whose files cannot be used."""


def aggregate(
    grid_path: Path, out: Path | None = None, console: Console | None = None, storage: Path | None = None
) -> Summary:
    """Rebuilds the tables, figures and report of a grid from its store, or from that in the folder `storage`, and
    prints the main tables.

    `out` is results/<grid's name> unless given. Raises `grid.GridError` for a grid that is not valid and LookupError
    where `storage` is no folder.
    """
    if storage is not None and not storage.is_dir():
        raise LookupError(f"{storage}: not there; --storage names the folder of a store, as runtime.storage does")
    grid = load(grid_path)
    names = {claim.grid for claim in grid.claims.values() if claim.grid is not None}
    others = {name: _stored_in(beside(grid_path, name), storage) for name in sorted(names)}
    return aggregate_grid(_stored_in(grid, storage), out, console, others)


def _stored_in(grid: Study, storage: Path | None) -> Study:
    if storage is None:
        return grid
    return grid.model_copy(update={"runtime": grid.runtime.model_copy(update={"storage": str(storage)})})


def aggregate_grid(
    grid: Study, out: Path | None = None, console: Console | None = None, others: Mapping[str, Study] | None = None
) -> Summary:
    """As `aggregate`, for a grid that has been read. `others`: the grids that its claims name."""
    evidence = scores.read(grid)
    out = out or RESULTS / evidence.name
    elsewhere = {name: scores.read(other) for name, other in (others or {}).items()}
    built = tables.build(evidence, grid.claims, elsewhere)
    by_name = {table.name: table for table in built}
    writing.write([*built, *saved.study(evidence)], out / "tables", evidence.label_kind)
    frames = {name: table.frame for name, table in by_name.items()}
    drawn = {suffix: figures.write(frames, group, out / "figures", suffix) for suffix, group in evidence.groups()}
    page = report.write(evidence, built, drawn, out / "report.html")
    done = evidence.cells.loc[evidence.cells["status"] == "done", "key"].nunique()
    asymmetry = [by_name[f"asymmetry{suffix}"] for suffix in drawn]
    faults = evidence.faults[evidence.faults["key"] != ""]
    unusable = list(zip(faults["kind"], faults["key"], strict=True))
    summary = Summary(out, page, by_name, asymmetry, int(done), int(evidence.cells["key"].nunique()), unusable)
    _print(summary, evidence, console or _console())
    return summary


def _print(summary: Summary, evidence: Evidence, out: Console) -> None:
    terminal.faults(evidence.faults, out)
    for table in summary.asymmetry:
        terminal.asymmetry(table, evidence.label_kind, out)
    if "claims" in summary.tables and not summary.tables["claims"].frame.empty:
        terminal.claims(summary.tables["claims"], out)
    if summary.done < summary.planned:
        missing = summary.out / "tables/missing.md"
        out.print(f"{summary.done} of {summary.planned} trials are there; {missing} says why.", highlight=False)
    wrote = f"Wrote {summary.report}, {summary.out / 'tables'} and {summary.out / 'figures'}."
    out.print(wrote, highlight=False, soft_wrap=True)


def compare_sweeps(a: Path, b: Path, out: Path | None = None, console: Console | None = None) -> compare.Comparison:
    """Sets two sweeps side by side, each a results folder or a grid's file, and writes what was found to
    results/<a>-against-<b>/tables unless `out` is given. Raises `grid.GridError` and `saved.Incomparable`."""
    left, right = saved.read(a), saved.read(b)
    found = compare.compare(left, right)
    folder = (out or RESULTS / f"{left.name}-against-{right.name}") / "tables"
    compare.save(found, folder)
    terminal.comparison(found, folder, console or _console())
    return found


def _console() -> Console:
    return Console(width=None if sys.stdout.isatty() else 120)


def main(
    grid: Annotated[Path | None, typer.Option(help="The grid; without it, the one that was swept last.")] = None,
    out: Annotated[Path | None, typer.Option(help="Folder to write to; below results/ unless given.")] = None,
    storage: Annotated[Path | None, typer.Option(help="Read this store instead of the grid's.")] = None,
    compare: Annotated[
        tuple[Path, Path] | None,
        typer.Option(metavar="A B", help="Compare the tables of two sweeps: results folders or grids."),
    ] = None,
) -> None:
    """Rebuild tables, figures and report.html from the store, or compare the tables of two sweeps."""
    try:
        if compare is None:
            aggregate(grid or last_sweep(), out, storage=storage)
        elif grid or storage:
            raise LookupError("--compare A B reads tables alone: leave out --grid and --storage")
        else:
            compare_sweeps(*compare, out)
    except (GridError, LookupError, saved.Incomparable) as error:
        typer.echo(error.args[0], err=True)
        raise typer.Exit(2) from None


if __name__ == "__main__":
    last_resort.run(lambda: typer.run(main))

"""`python -m orchestrator.aggregate`: rebuilds results/<grid>/ (tables, figures, report.html) from the store alone."""

import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.table import Table as Grid

from orchestrator.aggregate import figures, report, scores, tables, writing
from orchestrator.grid import LAST_SWEEP, RESULTS, GridError, load
from orchestrator.sections import Grid as Study


@dataclass(frozen=True)
class Summary:
    """What an aggregation found and wrote."""

    out: Path
    report: Path
    asymmetry: list[writing.Table]
    """That of the ranked losses, and where there are random twins, theirs."""
    done: int
    planned: int


def aggregate(grid_path: Path, out: Path | None = None, console: Console | None = None) -> Summary:
    """Rebuilds the tables, figures and report of a grid from its store, and prints the asymmetry table.

    `out` is results/<grid's name> unless given. Raises `grid.GridError` for a grid that is not valid.
    """
    return aggregate_grid(load(grid_path), out, console)


def aggregate_grid(grid: Study, out: Path | None = None, console: Console | None = None) -> Summary:
    """As `aggregate`, for a grid that has been read."""
    evidence = scores.read(grid)
    out = out or RESULTS / evidence.name
    built = tables.build(evidence)
    by_name = {table.name: table for table in built}
    writing.write(built, out / "tables", evidence.label_kind)
    drawn = {}
    for suffix, group in evidence.groups():
        ranks, agreement = (by_name[name + suffix].frame for name in ("ranks", "asymmetry"))
        drawn[suffix] = figures.write(ranks, agreement, group.restorations, out / "figures", suffix)
    page = report.write(evidence, built, drawn, out / "report.html")
    done = evidence.cells.loc[evidence.cells["status"] == "done", "key"].nunique()
    asymmetry = [by_name[f"asymmetry{suffix}"] for suffix in drawn]
    summary = Summary(out, page, asymmetry, int(done), int(evidence.cells["key"].nunique()))
    _print(summary, evidence.label_kind, console or Console(width=None if sys.stdout.isatty() else 120))
    return summary


def _print(summary: Summary, label_kind: str, console: Console) -> None:
    for table in summary.asymmetry:
        _print_asymmetry(table, label_kind, console)
    if summary.done < summary.planned:
        console.print(
            f"{summary.done} of {summary.planned} trials are there; {summary.out / 'tables/missing.md'} says why.",
            highlight=False,
        )
    console.print(
        f"Wrote {summary.report}, {summary.out / 'tables'} and {summary.out / 'figures'}.",
        highlight=False,
        soft_wrap=True,
    )


def _print_asymmetry(table: writing.Table, label_kind: str, console: Console) -> None:
    said = "; ".join(filter(None, (writing.caution(label_kind), label_kind)))
    shown, rows = Grid(title=f"{table.title} ({said})", title_justify="left"), table.frame.to_dict("records")
    for heading in ("discriminator", "losses", "Spearman", "95 %", "p", "ceiling", "change", "seeds"):
        shown.add_column(heading, justify="left" if heading == "discriminator" else "right")
    for row in rows:
        names = ("spearman", "spearman_low", "spearman_high", "spearman_p", "noise_ceiling", "change_against_none")
        rho, low, high, p, ceiling, change = (writing.text(row.get(name)) for name in names)
        bounds = f"{low} to {high}" if low else ""
        shown.add_row(
            row["discriminator"],
            str(row["losses"]),
            rho,
            bounds,
            p,
            ceiling,
            change,
            f"{row['seeds']} of {row['seeds_planned']}",
        )
    console.print(shown)
    notes = {row["discriminator"]: row["note"] for row in rows if row["note"]}
    if len(rows) == len(notes) > 1 and len(set(notes.values())) == 1:
        notes = {"every discriminator": rows[0]["note"]}
    for name, note in notes.items():
        console.print(f"{name}: {note}", markup=False, highlight=False)


def main(
    grid: Annotated[Path | None, typer.Option(help="The grid; without it, the one that was swept last.")] = None,
    out: Annotated[Path | None, typer.Option(help="Folder to write to; results/<grid's name> unless given.")] = None,
) -> None:
    """Rebuild tables, figures and report.html from the store."""
    try:
        aggregate(grid or last_sweep(LAST_SWEEP), out)
    except (GridError, LookupError) as error:
        typer.echo(error.args[0], err=True)
        raise typer.Exit(2) from None


def last_sweep(file: Path) -> Path:
    """The grid that was swept last, which `file` names. Raises LookupError where nothing was."""
    try:
        return Path(file.read_text(encoding="utf-8").strip())
    except FileNotFoundError:
        message = f"{file}: not there, so no sweep ran here; name a grid, e.g. --grid grids/demo.yaml"
        raise LookupError(message) from None


if __name__ == "__main__":
    typer.run(main)

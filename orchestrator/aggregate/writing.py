"""A table and its files: CSV and Parquet long and at full precision, Markdown and LaTeX folded for people."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from orchestrator.aggregate import latex
from orchestrator.aggregate.folding import Column, columns
from orchestrator.aggregate.folding import text as text
from orchestrator.matrix import OPINION

PIPE = r"\|"
CAUTION = "demonstration, not evidence"


def caution(label_kind: str) -> str:
    """What is said of a study whose labels are not, or not all, human opinion; nothing of any other."""
    return "" if label_kind == OPINION else CAUTION


@dataclass(frozen=True)
class Table:
    """One table: its file's name, a title, what its numbers mean, and its rows."""

    name: str
    title: str
    note: str
    frame: pd.DataFrame
    method: str = ""
    """How the numbers are made, where that is long."""


def markdown(table: Table, label_kind: str) -> str:
    """The table as Markdown, headed by the caution that its labels deserve and by their kind; keys stand in the CSV and
    Parquet files."""
    warning = caution(label_kind)
    lines = [
        f"# {table.title}",
        "",
        " · ".join([*([f"**{warning}**"] if warning else []), f"labels: {label_kind}"]),
        "",
        table.note,
        *([table.method] if table.method else []),
        "",
    ]
    if table.frame.empty:
        return "\n".join([*lines, "No rows.", ""])
    shown = columns(table.frame)
    lines += [_row([_beside(c.heading, c.beside_heading) for c in shown])]
    lines += [f"|{'|'.join('---:' if c.number else '---' for c in shown)}|"]
    lines += [_row(cells) for cells in zip(*map(_cells, shown), strict=True)]
    return "\n".join([*lines, ""])


def _cells(column: Column) -> list[str]:
    beside = column.beside or [""] * len(column.cells)
    return [_beside(cell, more) for cell, more in zip(column.cells, beside, strict=True)]


def _beside(cell: str, more: str) -> str:
    return f"{cell} ({more})" if more else cell


def _row(cells: Iterable[str]) -> str:
    return f"| {' | '.join(' '.join(cell.split()).replace('|', PIPE) for cell in cells)} |"


def tex(table: Table, label_kind: str) -> str:
    """The table as LaTeX (latex.py); how its numbers are made is a comment in the file, for whoever cites it."""
    warning = caution(label_kind)
    said = f"{f'{warning.capitalize()}. ' if warning else ''}Labels: {label_kind}. {table.note}"
    return latex.typeset(table.name, table.title, said, table.frame, table.method)


def write(tables: Sequence[Table], folder: Path, label_kind: str) -> list[Path]:
    """Writes every table as CSV, Parquet, Markdown and LaTeX into `folder`, and all.tex, a document of all of them;
    returns the paths of the tables."""
    folder.mkdir(parents=True, exist_ok=True)
    written = []
    for table in tables:
        stem = folder / table.name
        table.frame.to_csv(stem.with_suffix(".csv"), index=False)
        table.frame.to_parquet(stem.with_suffix(".parquet"), index=False)
        stem.with_suffix(".md").write_text(markdown(table, label_kind), encoding="utf-8")
        stem.with_suffix(".tex").write_text(tex(table, label_kind), encoding="utf-8")
        written += [stem.with_suffix(suffix) for suffix in (".csv", ".parquet", ".md", ".tex")]
    (folder / "all.tex").write_text(latex.document([table.name for table in tables]), encoding="utf-8")
    return written

"""What an aggregation and a comparison print: the main tables, compactly."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pandas as pd
from rich.console import Console
from rich.markup import escape
from rich.table import Table as Grid

from orchestrator.aggregate.compare import Comparison
from orchestrator.aggregate.differences import CHANGED, NO_SPREAD
from orchestrator.aggregate.folding import short, text
from orchestrator.aggregate.scores import TWINS
from orchestrator.aggregate.writing import Table, caution

MOST_FAULTS = 20
"""Lines on files that cannot be read, before the rest is a number."""
VERDICTS = {"supported": "green", "contradicted": "red", "undetermined": "yellow", CHANGED: "bold"}


def asymmetry(table: Table, label_kind: str, out: Console) -> None:
    """The asymmetry table, and below it the notes on its rows."""
    said = "; ".join(filter(None, (caution(label_kind), label_kind)))
    columns = "losses Spearman p corrected 95_% ceiling corrected_change seeds"
    shown = _grid(f"{table.title} ({said})", "discriminator", columns)
    rows = table.frame.to_dict("records")
    for row in rows:
        rho, p, corrected, ceiling, change = (
            text(row.get(name)) for name in ("spearman", "spearman_p", "corrected", "noise_ceiling", "corrected_change")
        )
        seeds = f"{row['seeds']} of {row['seeds_planned']}"
        shown.add_row(
            escape(row["discriminator"]),
            text(row["losses"]),
            rho,
            p,
            corrected,
            between(row, "spearman"),
            ceiling,
            change,
            seeds,
        )
    out.print(shown)
    notes = {row["discriminator"]: row["note"] for row in rows if text(row.get("note"))}
    if len(rows) == len(notes) > 1 and len(set(notes.values())) == 1:
        notes = {"every discriminator": rows[0]["note"]}
    for name, note in notes.items():
        out.print(f"{name}: {note}", markup=False, highlight=False)


def claims(table: Table, out: Console) -> None:
    """The verdict on each claim: Holm's p of what speaks for it and of what speaks against it."""
    shown = _grid("Claims", "claim", "effect 95_% p_for p_against")
    shown.add_column("verdict")
    for row in table.frame.to_dict("records"):
        values = (between(row, "effect"), text(row["p_holm"]), text(row["p_against_holm"]))
        shown.add_row(escape(row["claim"]), text(row["effect"]), *values, _coloured(row["verdict"]))
    out.print(shown)


def faults(frame: pd.DataFrame, out: Console) -> None:
    """A line for each trial whose files could not be read."""
    for row in frame.iloc[:MOST_FAULTS].to_dict("records"):
        out.print(f"not used: {row['what']}", markup=False, highlight=False, soft_wrap=True)
    if len(frame) > MOST_FAULTS:
        out.print(f"and {len(frame) - MOST_FAULTS:,} more that could not be read; tables/missing.md has all")


def comparison(found: Comparison, folder: Path, out: Console) -> None:
    """The agreement and the claims of two sweeps side by side, ranks where they changed, and what else differs."""
    rows = found.differences[
        ~found.differences["table"].str.startswith("ranks") | found.differences["verdict"].isin([CHANGED, NO_SPREAD])
    ]
    shown = _grid(f"{escape(found.a)} (a) against {escape(found.b)} (b); {found.label_kind}", "", "a b b_-_a 95_% z")
    for heading in ("trials shared", "verdict"):
        shown.add_column(heading)
    for row in rows.to_dict("records"):
        numbers = [short(row[name]) for name in ("a", "b", "difference")]
        group = " (random twins)" if row["table"].endswith(TWINS) else ""
        named = escape(f"{row['number'].replace('_', ' ')}{group}: {row['row']}")
        z = "" if pd.isna(row["z"]) else f"{row['z']:.1f}"
        shown.add_row(named, *numbers, between(row, "difference"), z, row["shared"], _coloured(row["verdict"]))
    if shown.row_count:
        out.print(shown)
    for line in found.summary:
        out.print(line, markup=False, highlight=False)
    out.print(f"Wrote {folder}.", markup=False, highlight=False, soft_wrap=True)


def between(row: dict[str, Any], name: str) -> str:
    """ "0.1 to 0.9"; nothing where there is no interval."""
    low, high = (text(row.get(f"{name}_{end}")) for end in ("low", "high"))
    return f"{low} to {high}" if low and high else ""


def _grid(title: str, name: str, numbers: str) -> Grid:
    """An empty table with a column of names and columns of numbers; _ in their headings is a space."""
    shown = Grid(title=title, title_justify="left", box=None, pad_edge=False, collapse_padding=True)
    shown.add_column(name, overflow="fold")
    headings: Sequence[str] = numbers.split()
    for heading in headings:
        shown.add_column(heading.replace("_", " "), justify="right")
    return shown


def _coloured(verdict: str) -> str:
    style = VERDICTS.get(verdict)
    return f"[{style}]{verdict}[/]" if style else escape(verdict)

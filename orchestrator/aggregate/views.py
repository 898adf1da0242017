"""Tables as the page shows them: bounds and spreads folded into their value's cell, so that a row fits a screen."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import pandas as pd

from orchestrator.aggregate.folding import HOLE, Column, columns, short, text
from orchestrator.aggregate.provenance import Provenance, title
from orchestrator.aggregate.writing import Table

METHODS = {"interval_method": "interval", "like_method": "losses like these", "p_method": "p", "resamples": "resamples"}
"""Columns that say how a row was made: shown as one."""
RESTS_ON = "trials"
"""Heading of the column that links to the trials behind a row."""
LONG = 32
"""Characters from which text is wrapped."""
MOST_ROWS = 1_000
"""Rows of a table that the page shows; its files hold all."""


@dataclass(frozen=True)
class Trials:
    """The trials that a row or cell rests on: positions for the page's script, a tooltip for a reader without it."""

    ranges: str
    title: str
    text: str = ""
    """What the link to them says."""


@dataclass(frozen=True)
class Cell:
    """What one cell shows: its text, smaller lines below, and what it rests on where it has its own keys."""

    text: str
    beside: str = ""
    number: bool = False
    value: str = ""
    """What it is sorted by, where its text is not enough."""
    trials: Trials | None = None
    kind: str = ""
    """`verdict` for one, `few` for less than planned, `words` for a sentence."""


@dataclass(frozen=True)
class View:
    """A table of the page: headings and rows."""

    table: Table
    headings: list[Cell]
    rows: list[list[Cell]]
    total: int
    """Rows of the table, shown or not."""


def view(table: Table, provenance: Provenance) -> View:
    """The view of any table. A row that names keys ends in a link to its trials."""
    frame = table.frame.iloc[:MOST_ROWS]
    made = [name for name in METHODS if name in frame]
    shown = [column for column in columns(frame.drop(columns=made)) if column.name != "trials"]
    headings = [Cell(column.heading, column.beside_heading, column.number) for column in shown]
    cells = [_cells(column, frame) for column in shown]
    if made:
        headings.append(Cell("made by"))
        cells.append([_made_by(row, made) for row in frame.to_dict("records")])
    if "keys" in frame:
        headings.append(Cell(RESTS_ON, number=True))
        cells.append([_rests_on(row, provenance) for row in frame.to_dict("records")])
    return View(table, headings, [list(row) for row in zip(*cells, strict=True)], len(table.frame))


def _cells(column: Column, frame: pd.DataFrame) -> list[Cell]:
    values = _exact(frame[column.name]) if column.number and column.name in frame else [""] * len(frame)
    fewer = _fewer(frame, column.name)
    triples = zip(column.cells, column.beside or [""] * len(frame), values, fewer, strict=True)
    return [_cell(column, shown, beside, value, few) for shown, beside, value, few in triples]


def _cell(column: Column, shown: str, beside: str, value: str, few: bool) -> Cell:
    if column.number:
        return Cell(minus(shown), minus(beside), True, value, kind="few" if few else "")
    kind = "verdict" if column.name == "verdict" else "words" if len(shown) > LONG else ""
    return Cell("" if shown == HOLE else shown, beside, kind=kind)


def _exact(values: pd.Series) -> list[str]:
    """What each cell is sorted by where its rounded text would tie; empty where the text will do."""
    if not pd.api.types.is_float_dtype(values):
        return [""] * len(values)
    return ["" if pd.isna(value) else f"{value:.6g}" for value in values]


def _fewer(frame: pd.DataFrame, name: str) -> list[bool]:
    """Whether a count is below its plan."""
    if f"{name}_planned" not in frame:
        return [False] * len(frame)
    return [there < planned for there, planned in zip(frame[name], frame[f"{name}_planned"], strict=True)]


def _made_by(row: Mapping[str, Any], names: Sequence[str]) -> Cell:
    return Cell("; ".join(f"{METHODS[name]}: {text(row[name])}" for name in names if text(row[name])), kind="words")


def _rests_on(row: Mapping[str, Any], provenance: Provenance) -> Cell:
    keys, counted = text(row["keys"]).split(), "trials_planned" in row
    shown = f"{row['trials']} of {row['trials_planned']}" if counted else str(len(set(keys)))
    few = "few" if counted and row["trials"] < row["trials_planned"] else ""
    return Cell(shown, number=True, trials=trials(keys, provenance), kind=few)


def minus(shown: str) -> str:
    """A number with a true minus sign, which is as wide as a plus."""
    return shown.replace("-", "−")


def trials(keys: Sequence[str], provenance: Provenance, shown: str = "") -> Trials | None:
    """The link to the trials of `keys`; None where there are none."""
    return Trials(provenance.ranges(keys), title(keys), shown) if keys else None


# -------------------------------------------------------------------------------------------------------- ranks


def ranks_view(table: Table, provenance: Provenance) -> View:
    """The ranks table laid out wide: a row a loss, a column a discriminator, the shift below each rank; every rank
    links to its own trials."""
    frame, rows = table.frame, []
    for _, of_loss in frame.groupby("loss", sort=False):
        records = of_loss.to_dict("records")
        first = Cell(_rank(records[0], "iqa_rank"), _between(records[0], "iqa_rank"), True)
        rows.append([Cell(records[0]["loss"]), first, *(_rank_cell(row, provenance) for row in records)])
    headings = [Cell("loss"), Cell("IQA rank", "95 % interval", True)]
    headings += [Cell(name, "optimization rank", True) for name in dict.fromkeys(frame["discriminator"])]
    return View(table, headings, rows, len(rows))


def _rank_cell(row: Mapping[str, Any], provenance: Provenance) -> Cell:
    shift, bounds = "", _between(row, "shift")
    if pd.notna(row["shift"]):
        shift = f"shift {'+' if row['shift'] > 0 else ''}{minus(short(row['shift']))}"
    beside = [
        _between(row, "optimization_rank"),
        f"{shift} ({bounds})" if shift and bounds else shift,
        f"{row['seeds']} of {row['seeds_planned']} seeds",
        f"{row['diverged']:.0f} diverged" if row.get("diverged") else "",
    ]
    few = "few" if row["seeds"] < row["seeds_planned"] else ""
    own = trials(text(row["keys"]).split(), provenance)
    return Cell(_rank(row, "optimization_rank"), "\n".join(filter(None, beside)), True, trials=own, kind=few)


def _rank(row: Mapping[str, Any], name: str) -> str:
    return short(row[name]) or HOLE


def _between(row: Mapping[str, Any], name: str) -> str:
    low, high = row[f"{name}_low"], row[f"{name}_high"]
    return f"{minus(short(low))} to {minus(short(high))}" if pd.notna(low) else ""

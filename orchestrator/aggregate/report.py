"""report.html: one self-contained page with the study's tables and figures, readable without JavaScript.

The page's look is report.html.j2 beside this file. Jinja escapes every name (autoescape); images are data URIs.
Rows carry the keys of their trials as tooltips, the CSV and Parquet files as a column.
"""

import base64
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import pandas as pd
from jinja2 import Environment, FileSystemLoader, StrictUndefined

from orchestrator.aggregate.counting import COUNTS
from orchestrator.aggregate.figures import Drawn
from orchestrator.aggregate.scores import TWINS, Evidence
from orchestrator.aggregate.tables import APART
from orchestrator.aggregate.writing import Table, caution, text

BOUNDS = {
    "spearman": ("spearman_low", "spearman_high"),
    "change_against_none": ("change_low", "change_high"),
    "iqa_rank": ("iqa_rank_low", "iqa_rank_high"),
    "optimization_rank": ("optimization_rank_low", "optimization_rank_high"),
    "shift": ("shift_low", "shift_high"),
}
"""Columns that bound a value: shown in its own cell."""
WORDS = {
    "data_set": "set",
    "spearman": "Spearman ρ",
    "spearman_p": "p (ρ)",
    "kendall": "Kendall τ",
    "kendall_p": "p (τ)",
    "smallest_p": "smallest p",
    "srcc": "SRCC",
    "krcc": "KRCC",
    "plcc": "PLCC",
    "plcc_fitted": "PLCC fitted",
    "iqa_score": "IQA score",
    "iqa_rank": "IQA rank",
    "iqa_reliability": "IQA reliability",
}
MOST_ROWS = 1_000
"""Rows of a table that the page shows; its files hold all."""
OPEN = ("asymmetry", "ranks", "fr_iqa_by_loss", "iqa_transfer", "counts")
"""Tables that are shown unfolded."""


@dataclass(frozen=True)
class Cell:
    """What one cell shows: its text, smaller lines below, whether it is a number, and its keys where it has its own."""

    text: str
    beside: str = ""
    number: bool = False
    keys: str = ""


@dataclass(frozen=True)
class View:
    """A table as the page shows it: headings and rows of (tooltip, cells)."""

    table: Table
    headings: list[Cell]
    rows: list[tuple[str, list[Cell]]]
    open: bool
    total: int
    """Rows of the table, shown or not."""


@dataclass(frozen=True)
class Figures:
    """Figures as data URIs, to be shown below the ranks of one group of losses."""

    name: str
    """Of the section with the strips."""
    title: str
    ranks: Mapping[str, str] | None
    strips: Mapping[str, str]


def write(evidence: Evidence, tables: Sequence[Table], figures: Mapping[str, Drawn], path: Path) -> Path:
    """Writes the page to `path` and returns it. `figures` are those of each group of losses, by what ends the names of
    its tables."""
    environment = Environment(
        loader=FileSystemLoader(Path(__file__).parent),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    page = environment.get_template("report.html.j2").render(
        name=evidence.name,
        caution=caution(evidence.label_kind),
        label_kind=evidence.label_kind,
        losses=evidence.losses,
        twins=evidence.twins,
        discriminators=evidence.discriminators,
        seeds=evidence.seeds,
        done=_done(evidence.cells),
        planned=evidence.cells["key"].nunique(),
        diverged=_diverged(evidence.cells),
        tables={table.name: ranks_view(table) if _kind(table) == "ranks" else view(table) for table in tables},
        figures={f"ranks{suffix}": _figures(drawn, suffix) for suffix, drawn in figures.items()},
    )
    path.write_text(page, encoding="utf-8")
    return path


def _figures(drawn: Drawn, suffix: str) -> Figures:
    dark = drawn.ranks and drawn.ranks.with_name(f"{drawn.ranks.stem}-dark.svg")
    ranks = (
        {"light": data_uri(drawn.ranks.with_suffix(".svg")), "dark": data_uri(dark)} if drawn.ranks and dark else None
    )
    title = "Restored crops" + (f": {APART}" if suffix else "")
    return Figures(f"strips{suffix}", title, ranks, {name: data_uri(png) for name, png in drawn.strips.items()})


def _kind(table: Table) -> str:
    """The table's name without what ends those of the random twins."""
    return table.name.removesuffix(TWINS)


def view(table: Table) -> View:
    """Folds bounds into their value's cell and the four counts into two, so that a row fits a screen."""
    folded = {*COUNTS, "keys", *(bound for pair in BOUNDS.values() for bound in pair)}
    folded |= {f"{name}_sd" for name in table.frame if f"{name}_sd" in table.frame}
    names, shown = [name for name in table.frame if name not in folded], table.frame.iloc[:MOST_ROWS]
    columns = [_column(shown, name) for name in names]
    headings = [_heading(table.frame, name) for name in names]
    if "seeds" in table.frame:
        columns += [_counted(shown, name) for name in ("seeds", "trials")]
        headings += [Cell("seeds", "of planned", True), Cell("trials", "of planned", True)]
    keys = ["keys: " + value for value in shown["keys"]]
    rows = [[column[i] for column in columns] for i in range(len(shown))]
    return View(table, headings, list(zip(keys, rows, strict=True)), _kind(table) in OPEN, len(table.frame))


def _heading(frame: pd.DataFrame, name: str) -> Cell:
    beside = "95 % interval" if name in BOUNDS and BOUNDS[name][0] in frame else "± sd" if f"{name}_sd" in frame else ""
    return Cell(WORDS.get(name, name.replace("_", " ")), beside, _is_number(frame[name]))


def _is_number(column: pd.Series) -> bool:
    return pd.api.types.is_numeric_dtype(column) and not pd.api.types.is_bool_dtype(column)


def _column(frame: pd.DataFrame, name: str) -> list[Cell]:
    number = _is_number(frame[name])
    beside = [""] * len(frame)
    if name in BOUNDS and BOUNDS[name][0] in frame:
        low, high = (frame[bound] for bound in BOUNDS[name])
        beside = [f"{text(a)} to {text(b)}" if pd.notna(a) else "" for a, b in zip(low, high, strict=True)]
    elif f"{name}_sd" in frame:
        beside = [f"± {text(sd)}" if pd.notna(sd) else "" for sd in frame[f"{name}_sd"]]
    return [
        Cell(text(value) or ("–" if number else ""), extra, number)
        for value, extra in zip(frame[name], beside, strict=True)
    ]


def _counted(frame: pd.DataFrame, name: str) -> list[Cell]:
    pairs = zip(frame[name], frame[f"{name}_planned"], strict=True)
    return [Cell(f"{there} of {planned}", number=True) for there, planned in pairs]


def ranks_view(table: Table) -> View:
    """The ranks table laid out wide: a row a loss, a column a discriminator, the shift below each rank."""
    frame, rows = table.frame, []
    for _, of_loss in frame.groupby("loss", sort=False):
        records = of_loss.to_dict("records")
        cells = [Cell(records[0]["loss"]), Cell(_rank(records[0], "iqa_rank"), _bounds(records[0], "iqa_rank"), True)]
        for row in records:
            beside = [_bounds(row, "optimization_rank")]
            if pd.notna(row["shift"]):
                beside.append(f"shift {row['shift']:+g} ({_bounds(row, 'shift')})")
            beside.append(f"{row['seeds']} of {row['seeds_planned']} seeds")
            cells.append(Cell(_rank(row, "optimization_rank"), "\n".join(beside).strip(), True, f"keys: {row['keys']}"))
        rows.append(("", cells))
    headings = [Cell("loss"), Cell("IQA rank", "95 % interval", True)]
    headings += [Cell(name, "optimization rank", True) for name in dict.fromkeys(frame["discriminator"])]
    return View(table, headings, rows, True, len(rows))


def _rank(row: Mapping[str, float], name: str) -> str:
    return f"{round(row[name], 3):g}" if pd.notna(row[name]) else "–"


def _bounds(row: Mapping[str, float], name: str) -> str:
    low, high = row[f"{name}_low"], row[f"{name}_high"]
    return f"{round(low, 3):g} to {round(high, 3):g}" if pd.notna(low) else ""


def data_uri(file: Path) -> str:
    """A PNG or SVG file as a data URI."""
    media = {".svg": "image/svg+xml", ".png": "image/png"}[file.suffix]
    return f"data:{media};base64,{base64.b64encode(file.read_bytes()).decode()}"


def _done(cells: pd.DataFrame) -> int:
    return int(cells.loc[cells["status"] == "done", "key"].nunique())


def _diverged(cells: pd.DataFrame) -> int:
    return int(cells.loc[cells["status"] == "diverged", "key"].nunique())

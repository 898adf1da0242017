"""A table and its files: CSV and Parquet at full precision, Markdown with three decimals for people."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from orchestrator.matrix import OPINION

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


def text(value: Any) -> str:
    """A cell for people: three decimals, nothing for a hole, yes for a true mark."""
    if isinstance(value, bool | np.bool_):
        return "yes" if value else ""
    if value is None or pd.isna(value):
        return ""
    if isinstance(value, float | np.floating):
        return "<0.001" if 0 < value < 0.0005 else f"{value:.3f}".replace("-0.000", "0.000")
    return str(value)


def markdown(table: Table, label_kind: str) -> str:
    """The table as Markdown, headed by the caution that its labels deserve and by their kind; keys stand in the CSV and
    Parquet files."""
    names, warning = [name for name in table.frame if name != "keys"], caution(label_kind)
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
    columns = [[text(value).replace("|", "\\|") for value in table.frame[name]] for name in names]
    lines += [f"| {' | '.join(names)} |", f"|{'---|' * len(names)}"]
    lines += [f"| {' | '.join(row)} |" for row in zip(*columns, strict=True)]
    return "\n".join([*lines, ""])


def write(tables: Sequence[Table], folder: Path, label_kind: str) -> list[Path]:
    """Writes every table as CSV, Parquet and Markdown into `folder`; returns the paths."""
    folder.mkdir(parents=True, exist_ok=True)
    written = []
    for table in tables:
        stem = folder / table.name
        table.frame.to_csv(stem.with_suffix(".csv"), index=False)
        table.frame.to_parquet(stem.with_suffix(".parquet"), index=False)
        stem.with_suffix(".md").write_text(markdown(table, label_kind), encoding="utf-8")
        written += [stem.with_suffix(suffix) for suffix in (".csv", ".parquet", ".md")]
    return written

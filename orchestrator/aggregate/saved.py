"""The tables of a sweep as files: what a comparison reads, and the tables that it needs besides a study's numbers."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import pandas as pd
import pyarrow as pa

from orchestrator.aggregate.scores import Evidence
from orchestrator.aggregate.writing import Table
from orchestrator.grid import RESULTS, load

STUDY, TRIALS = "study", "trials"
LABELS, LOSS, TWIN = "labels", "loss", "random twin"
"""Factors of the table of levels that have a meaning here."""
AGAIN = "write them again: python -m orchestrator.aggregate --grid GRID"


class Incomparable(ValueError):
    """Tables that cannot be used; `str()` says why in a line."""


@dataclass(frozen=True)
class Sweep:
    """The tables of one sweep by name."""

    name: str
    folder: Path
    tables: dict[str, pd.DataFrame]

    def frame(self, name: str, columns: Sequence[str]) -> pd.DataFrame:
        """A table; one without rows where the sweep has none of that name. Incomparable where a column is missing."""
        frame = self.tables.get(name, pd.DataFrame(columns=list(columns)))
        if lost := [column for column in columns if column not in frame]:
            file = self.folder / f"{name}.parquet"
            raise Incomparable(f"{file}: no column {', '.join(lost)}: another version wrote these tables; {AGAIN}")
        return frame

    def levels(self) -> dict[str, list[str]]:
        """Factor -> its levels: losses, seeds, judges and so on."""
        study = self.frame(STUDY, ["factor", "level"])
        return {factor: list(rows["level"]) for factor, rows in study.groupby("factor", sort=False)}

    def finished(self) -> dict[str, str]:
        """Key -> kind and name of every trial that is done or diverged."""
        trials = self.frame(TRIALS, ["kind", "name", "status", "keys"])
        ended = trials[trials["status"].isin(["done", "diverged"])]
        return {row["keys"]: f"{row['kind']} {row['name']}" for row in ended.to_dict("records")}


def study(evidence: Evidence) -> list[Table]:
    """The levels of a study's factors, and its trials."""
    cells = evidence.cells
    judged, benchmarks = cells[cells["role"] == "judging"], cells["role"].isin(["metric_benchmark", "iqa_benchmark"])
    levels = {
        LABELS: [evidence.label_kind],
        LOSS: evidence.losses,
        TWIN: evidence.twins,
        "discriminator": evidence.discriminators,
        "seed": evidence.seeds,
        "judge": judged["judge"].unique(),
        "test set": judged["data_set"].unique(),
        "benchmark": cells.loc[benchmarks, "data_set"].unique(),
        "IQA task": cells["task"].unique(),
        "initialization": cells["initialization"].unique(),
    }
    rows = [(factor, str(level)) for factor, found in levels.items() for level in found if str(level)]
    trials = evidence.trials[["kind", "name", "status", "seconds", "device", "git_commit", "git_dirty"]]
    return [
        Table(STUDY, "Levels of the study", "What the grid asks for.", pd.DataFrame(rows, columns=["factor", "level"])),
        Table(TRIALS, "Trials", "Every trial of the study.", trials.reset_index(names="keys")[[*trials, "keys"]]),
    ]


def read(source: Path) -> Sweep:
    """The tables of a results folder, or of that of a grid's file. Raises Incomparable where they are not there or
    cannot be read, and GridError for a wrong grid."""
    folder = source if source.is_dir() else RESULTS / load(source).name
    files = sorted((folder / "tables").glob("*.parquet"))
    if not files:
        raise Incomparable(
            f"{folder / 'tables'}: no tables (*.parquet) there; name a results folder, e.g. results/demo, or the grid "
            "of a sweep whose tables are in results/: python -m orchestrator.aggregate --grid GRID writes them"
        )
    tables = {file.stem: _read(file) for file in files}
    if lost := [name for name in (STUDY, TRIALS, "asymmetry", "ranks") if name not in tables]:
        missing = ", ".join(f"{name}.parquet" for name in lost)
        raise Incomparable(f"{folder / 'tables'}: no {missing}: another version wrote these tables; {AGAIN}")
    return Sweep(folder.resolve().name, folder / "tables", tables)


def _read(file: Path) -> pd.DataFrame:
    try:
        return pd.read_parquet(file)
    except (OSError, pa.ArrowException) as error:
        raise Incomparable(f"{file}: cannot be read ({str(error).splitlines()[0]}); {AGAIN}") from None

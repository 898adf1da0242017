"""Where the numbers come from: every trial of a study with its record, code and MLflow run, and the learning curves."""

import json
import math
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from orchestrator import naming
from orchestrator.aggregate.correlation import Array
from orchestrator.aggregate.faults import Unusable, opened, sift
from orchestrator.aggregate.finished import Finished
from orchestrator.aggregate.records import Record
from orchestrator.matrix import Label
from orchestrator.spec import Trial
from orchestrator.store import FINISHED, Store

TRIALS = ["kind", "name", "status", "seconds", "device", "git_commit", "git_dirty", "record", "mlflow"]
FACTORS = ["key", "loss", "discriminator", "seed", "baseline"]
POINT = ["name", "step", "value"]
MOST_POINTS = 100
"""Of one curve: a chart shows no more, and a full grid logs ten thousand steps of 350 trainings."""


def trials(
    labels: Sequence[Label], specs: Mapping[str, Trial], found: Finished, store: Store, runs: Mapping[str, str]
) -> pd.DataFrame:
    """One row a trial of the study, indexed by key, with the columns `TRIALS`; what is not known is empty or NaN.

    `specs` are a `lineage`; `runs` are addresses in MLflow by key.
    """
    names = naming.names(labels, specs.values())
    rows = []
    for key, trial in specs.items():
        record = found.records.get(key)
        rows.append(
            {
                "kind": trial.KIND,
                "name": names[key],
                "status": found.outcomes[key][0],
                "seconds": record.seconds if record else math.nan,
                "device": record.device if record else "",
                "git_commit": record.git_commit if record else "",
                "git_dirty": record.git_dirty if record else None,
                "record": shown(store.folder(trial.KIND, key) / "record.json") if record else "",
                "mlflow": runs.get(key, ""),
            }
        )
    return pd.DataFrame(rows, columns=TRIALS, index=pd.Index(list(specs), name="key")).astype({"git_dirty": "boolean"})


def shown(path: Path) -> str:
    """The path relative to the working directory where it lies below it."""
    here = Path.cwd()
    return str(path.relative_to(here) if path.is_relative_to(here) else path)


def mlflow_runs(root: Path, experiment: str) -> tuple[dict[str, str], str]:
    """(address of its run within MLflow's pages by the key of a trial, what is wrong with the file that names them).

    The mirror leaves the file in the store; without one nothing is known, and nothing wrong.
    """
    path = root / "mlflow" / f"{experiment}.json"
    if not path.exists():
        return {}, ""
    try:
        with opened("this list of MLflow's runs"):
            found = json.loads(path.read_bytes())
            place, runs = found["experiment"], dict(found["runs"])
    except (Unusable, LookupError, TypeError) as fault:
        why = fault if isinstance(fault, Unusable) else "this list of MLflow's runs lacks experiment or runs"
        return {}, f"{path}: {why}; nothing links to MLflow; sweep again to write it anew"
    return {key: f"#/experiments/{place}/runs/{run}" for key, run in runs.items()}, ""


def curves(cells: pd.DataFrame, store: Store, records: Mapping[str, Record]) -> tuple[pd.DataFrame, dict[str, str]]:
    """(the learning curves of the SR trials of `cells`, one row a point: `FACTORS` and `POINT`, what is wrong with the
    files that cannot be read, by key).

    A curve of more than `MOST_POINTS` points is thinned: runs of points are replaced by the mean of their steps and of
    their values. Where no file is there is no curve and no fault: a mirror may not have kept it.
    """
    trained = cells[(cells["role"] == "optimization") & cells["status"].isin(FINISHED)]
    folders = {key: store.folder("super_resolution", key) for key in trained["key"]}
    there = {key: folder for key, folder in folders.items() if (folder / "curves.parquet").exists()}
    digests = {key: records[key].digests.get("curves.parquet", "") for key in there if key in records}
    found, faults = sift(there, "curves.parquet", _curves, digests=digests)
    points = [(key, *point) for key, of_trial in found.items() for point in of_trial]
    frame = pd.DataFrame(points, columns=["key", *POINT]).astype({"key": object, "step": float, "value": float})
    lost = {key: f"{fault}; its learning curves alone are lost, the trial counts" for key, fault in faults.items()}
    return trained[FACTORS].merge(frame, on="key"), lost


def _curves(_: Path, content: bytes) -> list[tuple[str, float, float]]:
    """(name, step, value) of each point of the thinned curves."""
    with opened("curves.parquet"), pq.ParquetFile(pa.BufferReader(content)) as file:
        table = file.read(columns=POINT)
        if len(table.column_names) < len(POINT):
            raise Unusable(f"curves.parquet lacks a column: it needs {', '.join(POINT)}")
        names = table["name"].combine_chunks().dictionary_encode()
        steps, values = (table[column].cast("float64").to_numpy() for column in POINT[1:])
    codes = names.indices.to_numpy()
    by_name = ((name, codes == i) for i, name in enumerate(names.dictionary.to_pylist()))
    return [(name, *point) for name, own in by_name for point in _thinned(steps[own], values[own])]


def _thinned(steps: Array, values: Array) -> list[tuple[float, float]]:
    starts = np.unique(np.linspace(0, len(steps), min(MOST_POINTS, len(steps)), endpoint=False).astype(int))
    counts = np.diff(starts, append=len(steps))
    with np.errstate(invalid="ignore"):  # a diverged run has infinite values
        means = [np.add.reduceat(column, starts) / counts for column in (steps, values)]
    return list(zip(*(column.tolist() for column in means), strict=True))

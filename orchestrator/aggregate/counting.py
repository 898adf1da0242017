"""What stands behind a row of a table: complete seeds, trials and their keys, so that nothing is averaged silently."""

from collections.abc import Sequence

import numpy as np
import pandas as pd

COUNTS = ["seeds", "seeds_planned", "trials", "trials_planned"]


def with_counts(rows: pd.DataFrame, cells: pd.DataFrame, by: list[str]) -> pd.DataFrame:
    """`rows` with what stands behind each, from the `cells` that share its values of `by`: seeds that are complete,
    seeds planned, distinct trials done and planned, and the keys of those done, joined by spaces."""
    done = cells["status"] == "done"
    seed = cells["seed"].fillna(-1)
    complete = done.groupby([*(cells[name] for name in by), seed]).all().groupby(level=by)
    per_row = cells.groupby(by)
    finished = cells[done].groupby(by)["key"]
    found = pd.DataFrame(
        {
            "seeds": complete.sum(),
            "seeds_planned": complete.size(),
            "trials": finished.nunique(),
            "trials_planned": per_row["key"].nunique(),
            "keys": finished.agg(lambda keys: " ".join(sorted(set(keys)))),
        }
    ).reset_index()
    merged = rows.merge(found, on=by, how="left")
    merged[COUNTS] = merged[COUNTS].fillna(0).astype(int)
    merged["keys"] = merged["keys"].fillna("")
    return merged


def judged_cells(cells: pd.DataFrame) -> pd.DataFrame:
    """The judgings that enter the optimization score."""
    return cells[(cells["role"] == "judging") & ~cells["baseline"] & (cells["family"] != "")]


def both_sides(cells: pd.DataFrame, discriminators: Sequence[str]) -> pd.DataFrame:
    """What a comparison under each discriminator rests on: its judgings, and the metric benchmarks of its losses."""
    judged = judged_cells(cells)
    metrics = cells[cells["role"] == "metric_benchmark"]
    return pd.concat([judged, *(metrics.assign(discriminator=name) for name in discriminators)], ignore_index=True)


def over_seeds(values: pd.DataFrame, by: list[str], columns: Sequence[str]) -> pd.DataFrame:
    """Mean and sample standard deviation over the rows of each group; the deviation is empty where fewer than two
    distinct trials stand behind it, since seeds that share a trial have no spread."""
    groups = values.groupby(by, sort=False)
    mean, spread = groups[list(columns)].mean(), groups[list(columns)].std(ddof=1)
    spread[groups["key"].nunique() < 2] = np.nan
    columns_in_order = [name for column in columns for name in (column, f"{column}_sd")]
    return mean.join(spread.add_suffix("_sd"))[columns_in_order].reset_index()


def planned(cells: pd.DataFrame, by: list[str]) -> pd.DataFrame:
    """One row a planned combination of `by`, in the study's order, done or not."""
    return cells[by].drop_duplicates().reset_index(drop=True)

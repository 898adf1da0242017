"""The tables of a study, computed from the frames of `Evidence`, and their CSV, Parquet and Markdown files.

Every row says how many seeds are there of how many planned (a seed is there when all its trials are), how many distinct
trials that took, and their keys. Holes stay empty. CSV and Parquet hold full precision; Markdown shows three decimals.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from orchestrator.aggregate import asymmetry as asymmetries
from orchestrator.aggregate.correlation import krcc, plcc, plcc_fitted, srcc
from orchestrator.aggregate.ranking import (
    everything,
    iqa_panel,
    iqa_scores,
    optimization_panel,
    optimization_scores,
    ranks,
    z_scores,
)
from orchestrator.aggregate.scores import Evidence

CAUTION = "demonstration, not evidence"
COUNTS = ["seeds", "seeds_planned", "trials", "trials_planned"]
TRANSFER = ["task", "backbone", "initialization", "start", "data_set"]
STATUSES = ("done", "diverged", "failed", "missing", "parent diverged", "parent failed")


@dataclass(frozen=True)
class Table:
    """One table: its file's name, a title, what its numbers mean, and its rows."""

    name: str
    title: str
    note: str
    frame: pd.DataFrame
    method: str = ""
    """How the numbers are made, where that is long."""


def build(evidence: Evidence) -> list[Table]:
    """All tables of the study, the main one first."""
    iqa = iqa_panel(evidence.cells, evidence.scores, evidence.losses, evidence.seeds)
    panels = {
        name: optimization_panel(evidence.cells, evidence.scores, evidence.losses, evidence.seeds, name)
        for name in evidence.discriminators
    }
    asymmetry, ranking = asymmetries.asymmetry(iqa, panels)
    judged = judged_cells(evidence.cells)
    return [
        Table(
            "asymmetry",
            "Asymmetry",
            "Agreement of the ranking of losses as metrics (IQA score) with their ranking as "
            "training losses (optimization score): +1 is full agreement. smallest p is the least p that can be "
            "attained at this number of losses.",
            with_counts(asymmetry, _both_sides(evidence.cells, evidence.discriminators), ["discriminator"]),
            method=asymmetries.METHOD,
        ),
        Table(
            "ranks",
            "Ranks of the losses",
            "Rank 1 is best; shift = optimization rank - IQA rank, so a positive shift is "
            "a loss that trains worse than it measures. _low and _high bound the 95 % bootstrap intervals described "
            "at the asymmetry table.",
            with_counts(ranking, _both_sides(evidence.cells, evidence.discriminators), ["loss", "discriminator"]),
        ),
        fr_iqa_by_loss(evidence, iqa_scores(iqa, everything(iqa))[0] if iqa.sets else np.full(len(iqa.losses), np.nan)),
        optimization_by_judge(evidence),
        Table(
            "optimization_score",
            "Optimization score by loss and discriminator",
            "Borda points over the ranked losses "
            "present, 1 is best and 0 worst, averaged within judge families, over families, test sets and seeds; the "
            "z-score is the second view. Only judges with a family count. Comparable within a discriminator, not "
            "between them.",
            with_counts(_optimization_scores(panels), judged, ["loss", "discriminator"]),
        ),
        *iqa_transfer(evidence),
        counts(evidence),
        missing(evidence),
    ]


# ---------------------------------------------------------------------------------------------- counting


def with_counts(rows: pd.DataFrame, cells: pd.DataFrame, by: list[str]) -> pd.DataFrame:
    """`rows` with what stands behind each, from the `cells` that share its values of `by`: seeds that are complete, seeds
    planned, distinct trials done and planned, and the keys of those done, joined by spaces."""
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


def _both_sides(cells: pd.DataFrame, discriminators: Sequence[str]) -> pd.DataFrame:
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


def _planned(cells: pd.DataFrame, by: list[str]) -> pd.DataFrame:
    """One row a planned combination of `by`, in the study's order, done or not."""
    return cells[by].drop_duplicates().reset_index(drop=True)


# ------------------------------------------------------------------------------------------- the tables


def correlations(scores: pd.DataFrame, fitted: bool = False) -> pd.DataFrame:
    """SRCC, KRCC and PLCC (with `fitted`, PLCC after the logistic and whether it converged) of each benchmark trial."""
    rows: list[dict[str, Any]] = []
    for key, trial in scores[scores["kind"] == "benchmark"].groupby("key", sort=False):
        prediction, label = trial["prediction"].to_numpy(dtype=float), trial["label"].to_numpy(dtype=float)
        rows.append(
            {
                "key": key,
                "srcc": srcc(prediction, label),
                "krcc": krcc(prediction, label),
                "plcc": plcc(prediction, label),
            }
        )
        if fitted:
            rows[-1]["plcc_fitted"], rows[-1]["converged"] = plcc_fitted(prediction, label)
    return pd.DataFrame(
        rows, columns=["key", "srcc", "krcc", "plcc", *(["plcc_fitted", "converged"] if fitted else [])]
    )


def fr_iqa_by_loss(evidence: Evidence, iqa_score: np.ndarray) -> Table:
    """Correlations of every loss with the labels of every FR benchmark, and its IQA score and rank."""
    cells, by = evidence.cells[evidence.cells["role"] == "metric_benchmark"], ["loss", "data_set"]
    trials = correlations(evidence.scores[evidence.scores["key"].isin(set(cells["key"]))], fitted=True)
    values = cells[cells["status"] == "done"].merge(trials, on="key")
    rows = _planned(cells, by).merge(over_seeds(values, by, ["srcc", "krcc", "plcc", "plcc_fitted"]), how="left", on=by)
    fits = values.groupby(by)["converged"].agg(lambda fit: f"converged {int(fit.sum())} of {len(fit)}")
    rows = rows.merge(fits.rename("fit").reset_index(), how="left", on=by)
    ranked = pd.DataFrame({"loss": evidence.losses, "iqa_score": iqa_score, "iqa_rank": ranks(iqa_score)})
    return Table(
        "fr_iqa_by_loss",
        "FR-IQA performance of each loss",
        "PLCC raw and after a four-parameter logistic fit "
        "(empty where no fit converged); mean and sd over seeds. IQA score: mean SRCC over the FR benchmarks, "
        "a seed that lacks one being left out. An sd is empty where the seeds share one trial.",
        with_counts(rows.merge(ranked, how="left", on="loss"), cells, by),
    )


def optimization_by_judge(evidence: Evidence) -> Table:
    """What every judge says of every loss under every discriminator on every test set, in the judge's own units."""
    by = ["loss", "discriminator", "data_set", "judge", "family", "baseline"]
    cells = evidence.cells[evidence.cells["role"] == "judging"]
    images = evidence.scores[evidence.scores["kind"] == "judging"].groupby("key", sort=False)["prediction"]
    means = images.agg(["mean", "size"]).rename(columns={"size": "images"}).reset_index()
    values = cells[cells["status"] == "done"].merge(means, on="key")
    rows = _planned(cells, by).merge(over_seeds(values, by, ["mean"]), how="left", on=by)
    sizes = values.groupby(by)["images"].first().reset_index()
    better = values.groupby("judge")["lower_better"].first().map({0.0: "higher", 1.0: "lower"})
    rows = rows.merge(sizes, how="left", on=by).astype({"images": "Int64"})
    rows["better"] = rows["judge"].map(better).fillna("").astype(str)
    return Table(
        "optimization_by_judge",
        "Optimization by judge",
        "Image means in the judge's own units: mean and sd over "
        "seeds. Judges without a family are printed beside and not in the score; baselines are never ranked.",
        with_counts(rows, cells, by),
    )


def _optimization_scores(panels: dict[str, Any]) -> pd.DataFrame:
    frames = []
    for name, panel in panels.items():
        if not panel.sets:
            continue
        score = optimization_scores(panel, everything(panel))[0]
        z_score = optimization_scores(panel, everything(panel), view=z_scores)[0]
        frames.append(
            pd.DataFrame(
                {
                    "loss": panel.losses,
                    "discriminator": name,
                    "optimization_score": score,
                    "optimization_rank": ranks(score),
                    "z_score": z_score,
                }
            )
        )
    columns = ["loss", "discriminator", "optimization_score", "optimization_rank", "z_score"]
    return pd.concat(frames, ignore_index=True) if frames else pd.DataFrame(columns=columns)


def iqa_transfer(evidence: Evidence) -> list[Table]:
    """IQA models by initialization, gan averaged over ranked losses and heads within each seed, and the gan ones apart."""
    cells = evidence.cells[evidence.cells["role"] == "iqa_benchmark"]
    trials = correlations(evidence.scores[evidence.scores["key"].isin(set(cells["key"]))])
    values, numbers = cells[cells["status"] == "done"].merge(trials, on="key"), ["srcc", "krcc", "plcc"]
    ranked_cells, ranked = cells[~cells["baseline"]], values[~values["baseline"]]
    within = ranked.groupby([*TRANSFER, "seed"], sort=False)
    by_seed = within[numbers].mean().join(within["key"].agg(" ".join)).reset_index()
    rows = _planned(ranked_cells, TRANSFER).merge(over_seeds(by_seed, TRANSFER, numbers), how="left", on=TRANSFER)
    rows = _survivors(with_counts(rows, ranked_cells, TRANSFER), ranked_cells, TRANSFER)
    by = [*TRANSFER, "loss", "discriminator", "baseline"]
    gan = cells[cells["initialization"] == "gan"]
    long = _planned(gan, by).merge(over_seeds(values, by, numbers), how="left", on=by)
    note = (
        "Mean and sd over seeds. parent_diverged counts the models whose SR trial diverged: they do not exist, so gan "
        "is an average over survivors."
    )
    return [
        Table(
            "iqa_transfer",
            "IQA models by initialization",
            f"{note} gan is averaged over ranked losses and heads "
            "within each seed first; the pixel baseline is not in it. A seed counts as there when none of its models "
            "lacks.",
            rows,
        ),
        Table(
            "iqa_transfer_gan",
            "IQA models from discriminators",
            f"{note} One row a loss and discriminator.",
            _survivors(with_counts(long, gan, by), gan, by),
        ),
    ]


def _survivors(rows: pd.DataFrame, cells: pd.DataFrame, by: list[str]) -> pd.DataFrame:
    status = cells["status"]
    marks = cells[by].assign(
        parent_diverged=status == "parent diverged", otherwise_absent=~status.isin(["done", "parent diverged"])
    )
    lost = marks.groupby(by)[["parent_diverged", "otherwise_absent"]].sum().reset_index()
    counted = rows.merge(lost, on=by, how="left")
    return counted[[*(name for name in counted if name != "keys"), "keys"]]


def counts(evidence: Evidence) -> Table:
    """Outcomes of the SR trials of every loss and discriminator, and their mean validation PSNR."""
    by = ["loss", "discriminator", "baseline"]
    cells = evidence.cells[evidence.cells["role"] == "optimization"]
    tally = pd.DataFrame({name.replace(" ", "_"): cells["status"] == name for name in STATUSES})
    rows = _planned(cells, by).merge(tally.groupby([cells[name] for name in by]).sum().reset_index(), on=by)
    psnr = cells[cells["status"] == "done"].groupby(by)[["validation_psnr", "validation_psnr_bicubic"]].mean()
    return Table(
        "counts",
        "Outcomes of the super-resolution trials",
        "Seeds by outcome for each loss and discriminator; "
        "validation PSNR in dB, mean over the done seeds, beside that of bicubic interpolation.",
        with_counts(rows.merge(psnr.reset_index(), how="left", on=by), cells, by),
    )


def missing(evidence: Evidence) -> Table:
    """Every trial that the tables lack, and why; `labels` counts the rows of the study that it would have served."""
    absent = evidence.cells[evidence.cells["status"] != "done"]
    first = [
        "role",
        "loss",
        "discriminator",
        "task",
        "backbone",
        "initialization",
        "start",
        "seed",
        "data_set",
        "judge",
    ]
    groups = absent.groupby(["kind", "key"], sort=False)
    rows = groups[[*first, "status", "because"]].first().assign(labels=groups.size()).reset_index()
    rows = rows.rename(columns={"status": "reason", "key": "keys"})
    planned = evidence.cells["key"].nunique()
    return Table(
        "missing",
        "Missing trials",
        f"{len(rows)} of {planned} trials are not there. missing: not run yet or "
        "unfinished; failed: after all retries; diverged: ran and diverged; parent ...: an ancestor stopped it.",
        rows[["kind", "reason", "because", *first, "labels", "keys"]],
    )


# ---------------------------------------------------------------------------------------------- writing


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
    """The table as Markdown, headed by the caution and the kind of labels; keys stand in the CSV and Parquet files."""
    names = [name for name in table.frame if name != "keys"]
    lines = [
        f"# {table.title}",
        "",
        f"**{CAUTION}** · labels: {label_kind}",
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

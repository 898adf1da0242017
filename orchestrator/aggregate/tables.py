"""The tables of a study, computed from the frames of `Evidence`.

Every row says how many seeds are there of how many planned (a seed is there when all its trials are), how many distinct
trials that took, and their keys (counting.py). Holes stay empty.
"""

from collections.abc import Mapping
from dataclasses import replace

import numpy as np
import pandas as pd

from orchestrator.aggregate import asymmetry as asymmetries
from orchestrator.aggregate.correlation import Array
from orchestrator.aggregate.counting import both_sides, judged_cells, over_seeds, planned, with_counts
from orchestrator.aggregate.per_trial import correlations, image_means
from orchestrator.aggregate.ranking import (
    Panel,
    everything,
    iqa_panel,
    iqa_scores,
    optimization_panel,
    optimization_scores,
    ranks,
    z_scores,
)
from orchestrator.aggregate.scores import Evidence
from orchestrator.aggregate.writing import Table

TRANSFER = ["task", "backbone", "initialization", "start", "data_set"]
APART = "random twins, apart"
STATUSES = ("done", "diverged", "failed", "missing", "parent diverged", "parent failed")


def build(evidence: Evidence) -> list[Table]:
    """All tables of the study, the main one first; then those of the random twins, where there are any."""
    groups = [_apart(table, suffix) for suffix, group in evidence.groups() for table in _tables(group)]
    return [*groups, missing(evidence)]


def _apart(table: Table, suffix: str) -> Table:
    """The table of a group of losses, whose name ends in `suffix`: that of the main group is left as it is."""
    return replace(table, name=table.name + suffix, title=f"{table.title}: {APART}") if suffix else table


def _tables(evidence: Evidence) -> list[Table]:
    """All tables on the losses that are ranked together."""
    iqa = iqa_panel(evidence.cells, evidence.scores, evidence.losses, evidence.seeds)
    panels = {
        name: optimization_panel(evidence.cells, evidence.scores, evidence.losses, evidence.seeds, name)
        for name in evidence.discriminators
    }
    asymmetry, ranking = asymmetries.asymmetry(iqa, panels)
    judged, compared = judged_cells(evidence.cells), both_sides(evidence.cells, evidence.discriminators)
    return [
        Table(
            "asymmetry",
            "Asymmetry",
            "Agreement of the ranking of losses as metrics (IQA score) with their ranking as "
            "training losses (optimization score): +1 is full agreement. smallest p is the least p that can be "
            "attained at this number of losses.",
            with_counts(asymmetry, compared, ["discriminator"]),
            method=asymmetries.METHOD,
        ),
        Table(
            "ranks",
            "Ranks of the losses",
            "Rank 1 is best; shift = optimization rank - IQA rank, so a positive shift is "
            "a loss that trains worse than it measures. Bounds are 95 % bootstrap intervals, made as the asymmetry "
            "table's are.",
            with_counts(ranking, compared, ["loss", "discriminator"]),
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
    ]


def fr_iqa_by_loss(evidence: Evidence, iqa_score: Array) -> Table:
    """Correlations of every loss with the labels of every FR benchmark, and its IQA score and rank."""
    cells, by = evidence.cells[evidence.cells["role"] == "metric_benchmark"], ["loss", "data_set"]
    trials = correlations(evidence.scores, cells["key"], fitted=True)
    values = cells[cells["status"] == "done"].merge(trials, on="key")
    rows = planned(cells, by).merge(over_seeds(values, by, ["srcc", "krcc", "plcc", "plcc_fitted"]), how="left", on=by)
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
    done = cells[cells["status"] == "done"]
    values = done.merge(image_means(evidence.scores, done["key"]), on="key")
    rows = planned(cells, by).merge(over_seeds(values, by, ["mean"]), how="left", on=by)
    sizes = values.groupby(by)["images"].first().reset_index()
    better = values.groupby("judge")["lower_better"].first().map({0.0: "higher", 1.0: "lower"}).to_dict()
    rows = rows.merge(sizes, how="left", on=by).astype({"images": "Int64"})
    rows["better"] = [better.get(judge, "") for judge in rows["judge"]]
    return Table(
        "optimization_by_judge",
        "Optimization by judge",
        "Image means in the judge's own units: mean and sd over "
        "seeds. Judges without a family are printed beside and not in the score; baselines are never ranked.",
        with_counts(rows, cells, by),
    )


def _optimization_scores(panels: Mapping[str, Panel]) -> pd.DataFrame:
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
    """IQA models by initialization, gan averaged over ranked losses and heads within each seed; the gan ones apart. No
    tables in a study of optimization alone."""
    cells = evidence.cells[evidence.cells["role"] == "iqa_benchmark"]
    if cells.empty:
        return []
    trials = correlations(evidence.scores, cells["key"])
    values, numbers = cells[cells["status"] == "done"].merge(trials, on="key"), ["srcc", "krcc", "plcc"]
    ranked_cells, ranked = cells[~cells["baseline"]], values[~values["baseline"]]
    within = ranked.groupby([*TRANSFER, "seed"], sort=False)
    by_seed = within[numbers].mean().join(within["key"].agg(" ".join)).reset_index()
    rows = planned(ranked_cells, TRANSFER).merge(over_seeds(by_seed, TRANSFER, numbers), how="left", on=TRANSFER)
    rows = survivors(with_counts(rows, ranked_cells, TRANSFER), ranked_cells, TRANSFER)
    by = [*TRANSFER, "loss", "discriminator", "baseline"]
    gan = cells[cells["initialization"] == "gan"]
    long = planned(gan, by).merge(over_seeds(values, by, numbers), how="left", on=by)
    note = (
        "Mean and sd over seeds. parent_diverged counts the models whose SR trial diverged: they do not exist, so gan "
        "is an average over survivors."
    )
    return [
        Table(
            "iqa_transfer",
            "IQA models by initialization",
            f"{note} gan is averaged over ranked losses and heads "
            "within each seed first; the pixel baseline is not in it. A seed counts only when all of its "
            "models are there.",
            rows,
        ),
        Table(
            "iqa_transfer_gan",
            "IQA models from discriminators",
            f"{note} One row a loss and discriminator.",
            survivors(with_counts(long, gan, by), gan, by),
        ),
    ]


def survivors(rows: pd.DataFrame, cells: pd.DataFrame, by: list[str]) -> pd.DataFrame:
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
    rows = planned(cells, by).merge(tally.groupby([cells[name] for name in by]).sum().reset_index(), on=by)
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
    return Table(
        "missing",
        "Missing trials",
        f"{len(rows)} of {evidence.cells['key'].nunique()} trials are not there. missing: not run yet or "
        "unfinished; failed: after all retries; diverged: ran and diverged; parent ...: an ancestor stopped it.",
        rows[["kind", "reason", "because", *first, "labels", "keys"]],
    )

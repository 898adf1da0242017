"""The tables of a study, computed from the frames of `Evidence`.

Every row says how many seeds are there of how many planned (a seed is there when all its trials are), how many distinct
trials that took, and their keys (counting.py). Holes stay empty.
"""

import itertools
from collections.abc import Mapping
from dataclasses import replace
from functools import partial
from types import MappingProxyType

import pandas as pd

from orchestrator.aggregate import measures, perspectives, ranked_tables
from orchestrator.aggregate.claims import Basis
from orchestrator.aggregate.contrasts import contrast
from orchestrator.aggregate.counting import over_seeds, planned, with_counts
from orchestrator.aggregate.panel import iqa_panel
from orchestrator.aggregate.per_trial import correlations, image_means
from orchestrator.aggregate.perspectives import INDEPENDENT
from orchestrator.aggregate.ranking import iqa_scores, ranks
from orchestrator.aggregate.resampling import everything
from orchestrator.aggregate.scores import Evidence
from orchestrator.aggregate.writing import Table
from orchestrator.sections.claims import Claim, Difference, Levels

TRANSFER = ["task", "backbone", "initialization", "start", "data_set"]
APART = "random twins, apart"
STATUSES = ("done", "diverged", "failed", "missing", "parent diverged", "parent failed", "unreadable")


def build(
    evidence: Evidence,
    stated: Mapping[str, Claim] = MappingProxyType({}),
    elsewhere: Mapping[str, Evidence] = MappingProxyType({}),
) -> list[Table]:
    """All tables of the study, the main one first; then those of the random twins, where there are any. Claims are
    about the ranked losses, not their twins; `elsewhere` is the evidence of the grids that they name."""
    groups, basis_of = [], partial(_basis, elsewhere)
    for suffix, group in evidence.groups():
        ranked = ranked_tables.build(group, {} if suffix else stated, basis_of)
        groups += [_apart(table, suffix) for table in [*ranked, *_tables(group)]]
    return [*groups, missing(evidence)]


def _basis(elsewhere: Mapping[str, Evidence], claim: Claim, basis: Basis) -> Basis | str:
    """What a claim rests on: this grid's own trials, or those of the grid that it names."""
    if claim.grid is None:
        return basis
    if claim.grid not in elsewhere:
        return f"it rests on {claim.grid}, whose trials were not read"
    _, evidence = next(elsewhere[claim.grid].groups())
    if not (evidence.cells["status"] == "done").any():
        return f"it rests on {claim.grid}, of which no trial is there: sweep that grid"
    return Basis(perspectives.seen(evidence, basis.view), view=basis.view, needed=basis.needed)


def _apart(table: Table, suffix: str) -> Table:
    """The table of a group of losses, whose name ends in `suffix`: that of the main group is left as it is. What says
    that circular judges are left out stays last."""
    if not suffix:
        return table
    stem = table.name.removesuffix(INDEPENDENT)
    name = stem + suffix + table.name.removeprefix(stem)
    return replace(table, name=name, title=f"{table.title}: {APART}")


def _tables(evidence: Evidence) -> list[Table]:
    """The tables of a group of losses in which nothing is ranked but IQA scores."""
    return [
        fr_iqa_by_loss(evidence),
        optimization_by_judge(evidence),
        *iqa_transfer(evidence),
        *adversarial_weight(evidence),
        stability(evidence),
        counts(evidence),
    ]


def fr_iqa_by_loss(evidence: Evidence) -> Table:
    """Correlations of every loss with the labels of every FR benchmark, and its IQA score and rank."""
    cells, by = evidence.cells[evidence.cells["role"] == "metric_benchmark"], ["loss", "data_set"]
    trials = correlations(evidence.scores, cells["key"], fitted=True)
    values = cells[cells["status"] == "done"].merge(trials, on="key")
    rows = planned(cells, by).merge(over_seeds(values, by, ["srcc", "krcc", "plcc", "plcc_fitted"]), how="left", on=by)
    fits = values.groupby(by)["converged"].agg(lambda fit: f"converged {int(fit.sum())} of {len(fit)}")
    rows = rows.merge(fits.rename("fit").reset_index(), how="left", on=by)
    panel = iqa_panel(evidence.cells, evidence.scores, evidence.losses, evidence.seeds)
    iqa_score = iqa_scores(panel, everything(panel))[0]
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


def adversarial_weight(evidence: Evidence) -> list[Table]:
    """Quality over the adversarial weight, against the smallest weight of the same discriminator; no table where the
    weight is no factor."""
    levels = evidence.levels[evidence.levels["weight"].notna()]
    if levels.empty:
        return []
    measured, rows = measures.quality(evidence), []
    for same, group in levels.groupby(["head", "backbone", "start"], sort=False):
        for weight, loss in itertools.product(sorted(group["weight"]), evidence.losses):
            factors = dict(zip(("head", "backbone", "start"), same, strict=True))
            found = contrast(_against(factors, weight, group["weight"].min(), loss), measured)
            numbers = {"quality": found.estimate, "quality_low": found.low, "quality_high": found.high}
            rows.append({**factors, "weight": weight, "loss": loss, **numbers, "keys": " ".join(sorted(found.keys))})
    note = (
        "Judge scores (higher is better, in standard deviations of each judge over the warm-up's outputs) "
        "less those under the smallest weight of the same discriminator, paired by seed; 95 % intervals over "
        "seeds and test sets."
    )
    return [Table("adversarial_weight", "Quality over the adversarial weight", note, pd.DataFrame(rows))]


def _against(factors: Mapping[str, str], weight: float, smallest: float, loss: str) -> Difference:
    of, over = (Levels.model_validate({"loss": loss, "weight": value, **factors}) for value in (weight, smallest))
    return Difference(
        contrast="difference", says="quality against the smallest weight", matters=0.1, measure="quality", of=of,
        over=over, pairs=("seed",), direction="higher",
    )  # fmt: skip


def stability(evidence: Evidence) -> Table:
    """How steadily the SR trials of every loss and discriminator train."""
    by = ["loss", "discriminator", "baseline"]
    cells = evidence.cells[evidence.cells["role"] == "optimization"]
    done = cells[cells["status"] == "done"]
    spread = over_seeds(done, by, ["validation_psnr"])
    within = done.groupby(by, sort=False)["validation_psnr_spread"].mean().reset_index()
    lost = (cells["status"] == "diverged").groupby([cells[name] for name in by], sort=False).sum()
    rows = planned(cells, by).merge(spread, how="left", on=by).merge(within, how="left", on=by)
    rows = rows.merge(lost.rename("diverged").reset_index(), on=by)
    return Table(
        "stability",
        "Stability of training",
        "Validation PSNR (dB): mean and sd over seeds; validation_psnr_spread is the standard deviation over the last "
        "checkpoints of a run, mean over seeds. diverged: runs that diverged, which are in neither.",
        with_counts(rows, cells, by),
    )


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

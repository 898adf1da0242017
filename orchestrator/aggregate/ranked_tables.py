"""The tables that rank losses: asymmetry, ranks, optimization scores, claims, their views, and reliability."""

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from functools import partial
from typing import Any, Protocol

import choix
import numpy as np
import pandas as pd

from orchestrator.aggregate import asymmetry, claims, perspectives, reliability
from orchestrator.aggregate.agreement import spearman
from orchestrator.aggregate.asymmetry import LEAST_LOSSES, rho_of, seen_through
from orchestrator.aggregate.claims import Basis
from orchestrator.aggregate.correlation import Array
from orchestrator.aggregate.counting import both_sides, judged_cells, with_counts
from orchestrator.aggregate.noise import HIDDEN
from orchestrator.aggregate.panel import Panel
from orchestrator.aggregate.perspectives import BRADLEY_TERRY, FIXED_SETS, INDEPENDENT
from orchestrator.aggregate.ranking import ALL, View, optimization_scores, ranks, wins
from orchestrator.aggregate.resampling import everything
from orchestrator.aggregate.scored import Scored, panels, score
from orchestrator.aggregate.scores import Evidence
from orchestrator.aggregate.writing import Table
from orchestrator.sections.claims import Agreement, AgreementChange, Claim, Upset

SENSITIVITY_DRAWS = 1_000
PRIOR_WINS = 0.1
"""Added to each comparison of a Bradley-Terry model: a loss that always wins has no finite strength without it."""
CLAIMS_NOTE = (
    "A verdict is 'supported' when the Holm-corrected p is at most .05 and the effect at least the "
    "smallest that matters, 'contradicted' when the null that an effect which matters exists is rejected "
    "likewise, else 'undetermined'. needed: units (losses, pairs, seeds) at which a true effect of twice "
    "what matters would be supported with 80 % power."
)


@dataclass(frozen=True)
class Group:
    """One group of losses that are ranked together, and its scores in every view."""

    evidence: Evidence
    iqa: Panel
    optimization: Panel
    views: Mapping[str, tuple[View, Scored]]
    fixed_sets: Scored

    @classmethod
    def of(cls, evidence: Evidence) -> "Group":
        """Computes the scores."""
        iqa, optimization = panels(evidence)
        views = perspectives.all_views(evidence, iqa, optimization)
        scored = score(iqa, optimization, views)
        fixed = score(iqa, optimization, resamples=SENSITIVITY_DRAWS, fixed_sets=True)[0]
        found = {view.name: (view, one) for view, one in zip(views, scored, strict=True)}
        return cls(evidence, iqa, optimization, found, fixed)

    @property
    def main(self) -> Scored:
        """The scores with all judges."""
        return self.views[ALL.name][1]

    def diverged(self, *, by_loss: bool = False) -> dict[Any, int]:
        """Runs that diverged, by discriminator, or by (loss, discriminator)."""
        lost = self.optimization.diverged
        assert lost is not None
        names, losses = self.optimization.discriminators, self.optimization.losses
        if by_loss:
            return {(loss, d): int(lost[i, :, j].sum()) for i, d in enumerate(names) for j, loss in enumerate(losses)}
        return {d: int(lost[i].sum()) for i, d in enumerate(names)}


class ClaimBasis(Protocol):
    """What a claim rests on, given what it would rest on in this grid; or why there is nothing."""

    def __call__(self, claim: Claim, basis: Basis) -> Basis | str: ...


def build(evidence: Evidence, stated: Mapping[str, Claim], basis_of: ClaimBasis) -> list[Table]:
    """All tables of a group: with all judges, then without the circular ones, then the views side by side. Claims are
    judged where some are stated."""
    group = Group.of(evidence)
    tables = list(_of_view(group, ALL, stated, basis_of))
    independent = perspectives.independent(evidence)
    if independent:
        tables += [_without_circular(table, evidence) for table in _of_view(group, independent, stated, basis_of)]
    if stated:
        tables.append(_claims_by_view(group, stated, basis_of))
    return [*tables, _sensitivity(group), _reliability(group)]


def _of_view(group: Group, view: View, stated: Mapping[str, Claim], basis_of: ClaimBasis) -> Iterator[Table]:
    seen, scored = perspectives.seen(group.evidence, view), group.views[view.name][1]
    compared = both_sides(seen.cells, seen.discriminators)
    iqa, optimization = (group.iqa, group.optimization) if view is ALL else panels(seen)
    rows = asymmetry.asymmetry(scored, reliability.table(iqa, optimization), group.diverged())
    yield Table(
        "asymmetry",
        "Asymmetry",
        "Agreement of the ranking of losses as metrics (IQA score) with their ranking as "
        "training losses (optimization score): +1 is full agreement. smallest p is the least p that can be "
        "attained at this number of losses. A training that diverged ranks last in its blocks.",
        with_counts(rows, compared, ["discriminator"]),
        method=asymmetry.METHOD,
    )
    yield Table(
        "ranks",
        "Ranks of the losses",
        "Rank 1 is best; shift = optimization rank - IQA rank, so a positive shift is "
        "a loss that trains worse than it measures. Bounds are 95 % percentile intervals of the asymmetry table's "
        "bootstrap.",
        with_counts(asymmetry.ranks_table(scored, group.diverged(by_loss=True)), compared, ["loss", "discriminator"]),
    )
    if stated:
        found = claims.table(stated, partial(basis_of, basis=Basis(seen, scored, view)))
        yield Table("claims", "Claims", CLAIMS_NOTE, found)
    yield Table(
        "optimization_score",
        "Optimization score by loss and discriminator",
        "Borda points over the ranked losses present, 1 is best and 0 worst, averaged within judge families, over "
        "families, test sets and seeds. Beside it the mean z-score of image means, and the strength (log "
        "scale, mean 0) of a Bradley-Terry model of the same comparisons. Only judges with a family count. "
        "Comparable within a discriminator, not between them.",
        with_counts(_optimization_scores(optimization), judged_cells(seen.cells), ["loss", "discriminator"]),
    )


def _without_circular(table: Table, evidence: Evidence) -> Table:
    judges = ", ".join(dict.fromkeys(evidence.circular["judge"]))
    said = f"Without the judges that share a network with a ranked loss ({judges}), for the whole comparison."
    title = f"{table.title}, without circular judges"
    return replace(table, name=table.name + INDEPENDENT, title=title, note=f"{said} {table.note}")


def _optimization_scores(panel: Panel) -> pd.DataFrame:
    views = (ALL, View("z", z_scores=True))
    points, z = optimization_scores(panel, everything(panel), views)[:, 0]
    strengths = bradley_terry(panel)
    frames = [
        pd.DataFrame(
            {
                "loss": panel.losses,
                "discriminator": name,
                "optimization_score": points[d],
                "optimization_rank": ranks(points[d]),
                "z_score": z[d],
                "bradley_terry": strengths[d],
            }
        )
        for d, name in enumerate(panel.discriminators)
    ]
    return pd.concat(frames, ignore_index=True)


def bradley_terry(panel: Panel) -> Array:
    """(D, L): log strengths, mean 0, of a Bradley-Terry model of all comparisons of image means (choix); NaN for a loss
    that was compared with none."""
    strengths = np.full((len(panel.discriminators), len(panel.losses)), np.nan)
    for d, won in enumerate(wins(panel)):
        there = np.flatnonzero((won + won.T).sum(1) > 0)
        if len(there) > 1:
            prior = PRIOR_WINS * (1 - np.eye(len(there)))
            found = choix.ilsr_pairwise_dense(won[np.ix_(there, there)] + prior)
            strengths[d, there] = found - found.mean()
    return strengths


def _sensitivity(group: Group) -> Table:
    rows = [row for view, scored in group.views.values() for row in _view_rows(group, view, scored)]
    rows += _view_rows(group, View(FIXED_SETS), group.fixed_sets)
    strengths, iqa = bradley_terry(group.optimization), group.main.point.iqa[0]
    rho = spearman(np.broadcast_to(iqa, strengths.shape), strengths)
    none = list(group.main.discriminators).index("none") if group.main.has("none") else None
    for d, name in enumerate(group.main.discriminators):
        row = _view_row(group, View(BRADLEY_TERRY), name, strengths[d], iqa) | {"spearman": rho[d]}
        rows.append(row | ({} if none in (None, d) else {"change_against_none": rho[d] - rho[none]}))
    return Table(
        "sensitivity",
        "Agreement under other views",
        "Spearman's rho between IQA and optimization scores when judges, sets or scores are others: one row a view and "
        "discriminator. Intervals by test inversion (for these losses); 'these benchmarks and test sets' "
        f"keeps the sets and draws their contents. Inversions see {SENSITIVITY_DRAWS} draws here.",
        pd.DataFrame(rows),
    )


def _view_rows(group: Group, view: View, scored: Scored) -> Iterator[dict[str, object]]:
    rho = rho_of(scored.point)[0]
    none = list(scored.discriminators).index("none") if scored.has("none") else None
    for d, name in enumerate(scored.discriminators):
        row = _view_row(group, view, name, scored.point.optimization[0, d], scored.point.iqa[0])
        found = seen_through(scored, d, float(rho[d]), SENSITIVITY_DRAWS)
        bounds = {bound: found[bound] for bound in ("spearman_low", "spearman_high") if bound in found}
        change = {} if none in (None, d) else {"change_against_none": rho[d] - rho[none]}
        note = "one ranking is constant" if row["losses"] >= LEAST_LOSSES and np.isnan(rho[d]) else ""
        hidden = "resamples" in found and math.isnan(found["corrected"])  # type: ignore[arg-type]
        note = HIDDEN if hidden else note
        yield row | {"spearman": rho[d]} | bounds | change | {"note": note}


def _view_row(group: Group, view: View, name: str, scores: Array, iqa: Array) -> dict[str, Any]:
    return {
        "view": view.name,
        "discriminator": name,
        "judges": len(view.judges(group.optimization)),
        "sets": len(group.optimization.without(view.without_sets).sets),
        "losses": int((np.isfinite(scores) & np.isfinite(iqa)).sum()),
    }


def _claims_by_view(group: Group, stated: Mapping[str, Claim], basis_of: ClaimBasis) -> Table:
    frames = []
    for view, scored in group.views.values():
        here = {name: claim for name, claim in stated.items() if _concerns(view, claim)}
        own = Basis(perspectives.seen(group.evidence, view), scored, view, needed=False)
        frames.append(claims.table(here, partial(basis_of, basis=own), len(stated)).assign(view=view.name))
    numbers = ["effect", "effect_low", "effect_high", "p", "p_holm", "p_against", "p_against_holm"]
    order = {name: i for i, name in enumerate(stated)}
    frame = pd.concat(frames, ignore_index=True)[["claim", "view", *numbers, "verdict"]]
    return Table(
        "claims_by_view",
        "Claims under other views",
        "The same claims when judges, test sets or benchmarks are left out, or with z-scores. Holm's "
        "correction is over all claims, also those that a view does not concern.",
        frame.sort_values("claim", key=lambda names: names.map(order), kind="stable").reset_index(drop=True),
    )


def _concerns(view: View, claim: Claim) -> bool:
    """Whether the claim could come out differently in the view."""
    if isinstance(claim, Agreement | AgreementChange) or view is ALL:
        return True
    fewer_judged = bool(view.without_judges or view.without_sets)
    if isinstance(claim, Upset):
        return fewer_judged or bool(view.without_benchmarks)
    return {"quality": fewer_judged, "srcc": bool(view.without_benchmarks)}.get(claim.measure, False)


def _reliability(group: Group) -> Table:
    return Table(
        "reliability",
        "Split-half reliability of the rankings",
        "Mean Spearman correlation of the scores from two random halves, Spearman-Brown corrected. 'seeds "
        "and contents' enters the noise ceiling; over judges and sets it says how much depends on whom one "
        "asks, and where.",
        reliability.table(group.iqa, group.optimization),
    )

"""The views of a study: without circular judges, without each family, test set and benchmark in turn, and other scores.

A view of the rankings (`ranking.View`) is also one of the evidence: what it leaves out is left out of every contrast.
"""

from collections.abc import Iterator
from dataclasses import replace

import numpy as np

from orchestrator.aggregate.panel import Panel
from orchestrator.aggregate.ranking import ALL, View
from orchestrator.aggregate.scores import Evidence

INDEPENDENT = "-independent"
"""Ends the names of tables without circular judges."""
FIXED_SETS, BRADLEY_TERRY = "these benchmarks and test sets", "Bradley-Terry"


def independent(evidence: Evidence) -> View | None:
    """The view without the judges that share a network with a ranked loss, for the whole comparison; None without
    such."""
    judges = frozenset(evidence.circular["judge"])
    return View("without circular judges", without_judges=judges) if judges else None


def all_views(evidence: Evidence, iqa: Panel, optimization: Panel) -> list[View]:
    """Every view of a group of losses that leaves something to compare, the plain one first."""
    return [ALL, *_fewer(evidence, iqa, optimization), *_other_scores(optimization)]


def _fewer(evidence: Evidence, iqa: Panel, optimization: Panel) -> Iterator[View]:
    if view := independent(evidence):
        yield view
    families = dict.fromkeys(optimization.families)
    for family in families if len(families) > 1 else ():
        judges = [j for j, own in zip(optimization.judges, optimization.families, strict=True) if own == family]
        yield View(f"without family {family}", without_judges=frozenset(judges))
    for part in optimization.sets if len(optimization.sets) > 1 else ():
        yield View(f"without test set {part.name}", without_sets=frozenset([part.name]))
    for part in iqa.sets if len(iqa.sets) > 1 else ():
        yield View(f"without benchmark {part.name}", without_benchmarks=frozenset([part.name]))


def _other_scores(optimization: Panel) -> Iterator[View]:
    yield View("z-scores", z_scores=True)
    if optimization.diverged is not None and np.any(optimization.diverged):
        yield View("diverged left out", diverged_last=False)


def seen(evidence: Evidence, view: View) -> Evidence:
    """The evidence without what the view leaves out."""
    cells = evidence.cells
    judging, benchmark = cells["role"] == "judging", cells["role"].isin(["metric_benchmark", "iqa_benchmark"])
    gone = judging & (cells["judge"].isin(view.without_judges) | cells["data_set"].isin(view.without_sets))
    gone |= benchmark & cells["data_set"].isin(view.without_benchmarks)
    return replace(evidence, cells=cells[~gone])

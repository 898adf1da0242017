"""Scores of the losses of one group under each view, as estimated, resampled, and with each unit left out once."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from orchestrator.aggregate.correlation import Array
from orchestrator.aggregate.panel import Panel, iqa_panel, optimization_panel
from orchestrator.aggregate.ranking import ALL, View, iqa_scores, optimization_scores
from orchestrator.aggregate.resampling import Both, bootstrap, everything, left_out
from orchestrator.aggregate.scores import Evidence

RESAMPLES = 10_000
SEED = 0


@dataclass(frozen=True)
class Scores:
    """IQA scores (R, L) and optimization scores (R, D, L) that belong together."""

    iqa: Array
    optimization: Array


@dataclass(frozen=True)
class Scored:
    """The scores of one view."""

    losses: tuple[str, ...]
    discriminators: tuple[str, ...]
    point: Scores
    """R = 1."""
    drawn: Scores
    """Of the bootstrap."""
    left_out: Mapping[str, Scores]
    """By kind of unit."""

    def has(self, discriminator: str) -> bool:
        """Whether the study has this discriminator."""
        return discriminator in self.discriminators


def score(
    iqa: Panel,
    optimization: Panel,
    views: Sequence[View] = (ALL,),
    resamples: int | None = None,
    *,
    fixed_sets: bool = False,
) -> list[Scored]:
    """The scores of each view, with `RESAMPLES` resamples unless given. Views of the same sets see the same draws."""
    found: dict[str, Scored] = {}
    for sets in dict.fromkeys((view.without_benchmarks, view.without_sets) for view in views):
        alike = [view for view in views if (view.without_benchmarks, view.without_sets) == sets]
        panels = iqa.without(sets[0]), optimization.without(sets[1])
        scored = _of_sets(*panels, alike, resamples or RESAMPLES, fixed_sets=fixed_sets)
        found |= {view.name: one for view, one in zip(alike, scored, strict=True)}
    return [found[view.name] for view in views]


def _of_sets(
    iqa: Panel, optimization: Panel, views: Sequence[View], resamples: int, *, fixed_sets: bool
) -> list[Scored]:
    whole = everything(iqa), everything(optimization)
    draws = bootstrap(iqa, optimization, resamples, SEED, fixed_sets=fixed_sets)
    point, drawn = _scores(iqa, optimization, whole, views), _scores(iqa, optimization, draws, views)
    fewer = left_out(iqa, optimization, fixed_sets=fixed_sets)
    left = {name: _scores(iqa, optimization, both, views) for name, both in fewer}
    return [
        Scored(
            iqa.losses, optimization.discriminators, point[v], drawn[v], {name: one[v] for name, one in left.items()}
        )
        for v in range(len(views))
    ]


def panels(evidence: Evidence) -> tuple[Panel, Panel]:
    """Both sides of a group of losses."""
    cells, scores, losses, seeds = evidence.cells, evidence.scores, evidence.losses, evidence.seeds
    return iqa_panel(cells, scores, losses, seeds), optimization_panel(
        cells, scores, losses, seeds, evidence.discriminators
    )


def score_evidence(evidence: Evidence) -> Scored:
    """The scores of a group of losses with all that there is."""
    return score(*panels(evidence))[0]


def _scores(iqa: Panel, optimization: Panel, draws: Both, views: Sequence[View]) -> list[Scores]:
    measured, trained = iqa_scores(iqa, draws[0]), optimization_scores(optimization, draws[1], views)
    return [Scores(measured, trained[v]) for v in range(len(views))]

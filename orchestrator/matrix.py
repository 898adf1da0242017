"""From a grid to its trials: every evaluation that the tables need, labelled with the levels of the matrix.

A *cell* is one combination of loss, discriminator, backbone of the IQA model, initialization, task and seed. Cells
share most of their trials; a `Label` says which trial answers for which levels, so several labels may hold equal specs.
"""

import itertools
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from orchestrator import known, spec
from orchestrator.builder import PIXEL, Builder
from orchestrator.manifests import Manifests, requests
from orchestrator.sections import Condition, DiscriminatorLevel, Grid, OfficialSet

WARMUP, BICUBIC, NONE = "warm-up", "bicubic", "none"
RESERVED = (PIXEL, WARMUP, BICUBIC, NONE)
SEVERITY, OPINION = "severity labels, not human opinion", "labels of human opinion"


@dataclass(frozen=True, kw_only=True)
class Label:
    """One evaluation or training of the study and the trial that does it. Factors that do not apply are empty."""

    role: str
    """metric, metric_benchmark, optimization, judging, iqa_model or iqa_benchmark"""
    spec: spec.Trial
    loss: str = ""
    discriminator: str = ""
    initialization: str = ""
    task: str = ""
    backbone: str = ""
    start: str = ""
    """Start of the discriminator that a gan initialization comes from."""
    seed: int | None = None
    data_set: str = ""
    judge: str = ""
    family: str = ""
    """Family of the judge; empty for a judge that is printed beside the score."""
    baseline: bool = False
    """pixel, warm-up, bicubic: never ranked nor correlated."""


FACTORS = ("loss", "discriminator", "backbone", "initialization", "start", "task", "seed", "data_set", "judge")
"""The fields of a label that say which levels it stands for."""


@dataclass(frozen=True)
class Study:
    """All labels of a grid and what its tables are laid out by."""

    labels: tuple[Label, ...]
    losses: tuple[str, ...]
    twins: tuple[str, ...]
    """Losses that are ranked among themselves, apart from the others."""
    discriminators: tuple[str, ...]
    cells: int
    label_kind: str


def expand(grid: Grid, manifests: Manifests) -> Study:
    """All trials of the grid, labelled."""
    left = list(cells(grid))
    return Study(
        labels=tuple(Labels(grid, manifests).all(left)),
        losses=grid.matrix.loss,
        twins=grid.matrix.twins,
        discriminators=tuple(level.name for level in grid.discriminators()),
        cells=len(left),
        label_kind=_label_kind(grid, manifests),
    )


def _label_kind(grid: Grid, manifests: Manifests) -> str:
    """What the IQA labels of the study are, for every output to say."""
    official = [isinstance(grid.iqa_sets.of(task), OfficialSet) for task in grid.iqa_sets.tasks()]
    if any(manifests.found.get(one.key, {}).get("stand_in") for one in requests(grid)):
        return "labels of generated stand-ins, not human opinion"
    return OPINION if all(official) else f"{OPINION}, and {SEVERITY}" if any(official) else SEVERITY


@dataclass(frozen=True)
class Cell:
    """One combination of the matrix."""

    loss: str
    discriminator: DiscriminatorLevel
    backbone: str
    initialization: str
    task: spec.Task | Literal[""]
    seed: int

    def levels(self) -> dict[str, str | int]:
        """Level of each factor that `exclude`, `when` and `zip` may name."""
        names = ("loss", "initialization", "task", "seed")
        return {"discriminator": self.discriminator.name, **{name: getattr(self, name) for name in names}}


def cells(grid: Grid) -> Iterator[Cell]:
    """The cells that `exclude`, `when` and `zip` leave."""
    return (cell for cell in _cells(grid) if _stays(grid, cell.levels()))


def _cells(grid: Grid) -> Iterator[Cell]:
    axes = grid.matrix
    backbones = grid.iqa_backbones() or ("",)  # without any discriminator there may be no IQA model: optimization alone
    starts, tasks = axes.initialization or ("",), axes.task or ("",)
    for loss, level, backbone in itertools.product((*axes.loss, *axes.twins), grid.discriminators(), backbones):
        for initialization, task, seed in itertools.product(starts, tasks, grid.seeds):
            if initialization != "gan" or backbone == level.backbone != "":
                yield Cell(loss, level, backbone, initialization, task, seed)


def _stays(grid: Grid, cell: Mapping[str, object]) -> bool:
    return (
        not any(one.met(cell) for one in grid.exclude)
        and all(one.only.met(cell) for one in grid.when if one.met(cell))
        and all(one.met(cell) for one in grid.zip)
    )


def unmatched(grid: Grid, conditions: Sequence[Condition]) -> list[int]:
    """Positions of the conditions whose levels no cell of the whole matrix has together."""
    levels = [cell.levels() for cell in _cells(grid)] if conditions else []
    return [i for i, one in enumerate(conditions) if not any(Condition.met(one, cell) for cell in levels)]


class Labels:
    """Labels the trials that cells need."""

    def __init__(self, grid: Grid, manifests: Manifests) -> None:
        self.grid, self.build = grid, Builder(grid, manifests)
        self.warmups = {test: self._restoration(self.build.warmup(), test) for test in self.build.data.tests}
        """What the warm-up makes of each test set: once for all that is judged against it."""

    def all(self, cells: list[Cell]) -> Iterator[Label]:
        """All labels that `cells` and the grid's baselines need, each once."""
        yield from self._baseline_labels()
        metrics = dict.fromkeys((cell.loss, cell.seed) for cell in cells)
        for loss, seed in metrics:
            yield from self._metric_labels(loss, seed)
        optimized = dict.fromkeys((cell.loss, cell.discriminator, cell.seed) for cell in cells)
        trained = dict.fromkeys((cell.discriminator, cell.seed) for cell in cells)
        pixel = [(PIXEL, level, seed) for level, seed in trained if PIXEL in self.grid.baselines]
        for loss, level, seed in [*optimized, *pixel]:
            trial = self.build.super_resolution(loss, level, seed)
            factors: dict[str, Any] = {"loss": loss, "discriminator": level.name, "seed": seed}
            yield from self._optimization_labels(trial, baseline=loss == PIXEL, **factors)
        yield from self._iqa_labels(cells)

    def _baseline_labels(self) -> Iterator[Label]:
        yield from self._judging_labels(None, loss=BICUBIC, baseline=True)
        yield from self._optimization_labels(self.build.warmup(), loss=WARMUP, discriminator=NONE, baseline=True)

    def _metric_labels(self, loss: str, seed: int) -> Iterator[Label]:
        metric = self.build.metric(loss, seed)
        yield Label(role="metric", spec=metric, loss=loss, seed=seed)
        for benchmark, data in self.build.data.benchmarks["fr"].items():
            trial = spec.Benchmark(model=metric, data=data, numerics=self.grid.numerics)
            yield Label(role="metric_benchmark", spec=trial, loss=loss, seed=seed, data_set=benchmark)

    def _optimization_labels(self, trial: spec.SuperResolution, **factors: Any) -> Iterator[Label]:
        yield Label(role="optimization", spec=trial, **factors)
        yield from self._judging_labels(trial, **factors)

    def _judging_labels(self, trial: spec.SuperResolution | None, **factors: Any) -> Iterator[Label]:
        for name, test in self.build.data.tests.items():
            restoration = self._restoration(trial, name)
            for judge, family in self.grid.judges.families().items():
                judging = spec.Judging(
                    restoration=restoration,
                    against=self.warmups[name] if judge in known.own_judges() else None,
                    test=test,
                    scale=restoration.scale,
                    judge=self.build.judges[judge],
                    numerics=self.grid.numerics,
                )
                yield Label(role="judging", spec=judging, data_set=name, judge=judge, family=family, **factors)

    def _restoration(self, trial: spec.SuperResolution | None, test: str) -> spec.Restoration:
        return spec.Restoration(
            super_resolution=trial,
            scale=self.grid.super_resolution.scale,
            test=self.build.data.tests[test],
            numerics=self.grid.numerics,
        )

    def _iqa_labels(self, cells: list[Cell]) -> Iterator[Label]:
        """Only gan depends on loss and discriminator: else all cells of one (backbone, task, seed) share a model."""
        seen = set()
        for cell in cells:
            gan = cell.initialization == "gan"
            source = (cell.loss, cell.discriminator) if gan else None
            identity = (source, cell.backbone, cell.initialization, cell.task, cell.seed)
            if not cell.backbone or not cell.task or identity in seen:
                continue
            seen.add(identity)
            origin = {"loss": cell.loss, "discriminator": cell.discriminator.name, "start": cell.discriminator.start}
            factors: dict[str, Any] = {
                name: getattr(cell, name) for name in ("backbone", "initialization", "task", "seed")
            }
            factors |= origin if gan else {}
            model = self.build.iqa_model(cell.task, cell.backbone, cell.initialization, source, cell.seed)
            yield Label(role="iqa_model", spec=model, **factors)
            for benchmark, data in self.build.data.benchmarks[cell.task].items():
                trial = spec.Benchmark(model=model, data=data, numerics=self.grid.numerics)
                yield Label(role="iqa_benchmark", spec=trial, data_set=benchmark, **factors)

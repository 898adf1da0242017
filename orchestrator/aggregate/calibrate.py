"""`make calibrate`: do the verdicts keep their promises? Simulated studies with known truths, judged by the very code
that judges real ones, from arrays of scores onwards; the results go into docs/statistics.md.

A study has 6 or 24 losses, three discriminators, five seeds, four benchmarks and five test sets. Every loss has a true
quality as a metric and one as a training loss under each discriminator; what is seen of them differs by benchmark, test
set, seed and image. Judges' shares of noise are normal; runs under adversarial training are noisier.
"""

import math
import re
import time
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, replace
from functools import partial
from multiprocessing import get_context
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import pandas as pd
import typer
from scipy.stats import norm

from orchestrator.aggregate import claims, contrasts, measures
from orchestrator.aggregate.agreement import critical_rho, spearman
from orchestrator.aggregate.asymmetry import rho_of
from orchestrator.aggregate.claims import Basis
from orchestrator.aggregate.correlation import Array
from orchestrator.aggregate.intervals import Bootstrap, bonett_wright
from orchestrator.aggregate.measures import Measured
from orchestrator.aggregate.noise import Noisy, losses_like_these, perfect, population_rho, these_losses
from orchestrator.aggregate.panel import ImageSet, Panel
from orchestrator.aggregate.scored import Scored, Scores, score
from orchestrator.sections.claims import Agreement, AgreementChange, Difference, Levels, Trend, Upset

STUDIES = 1_000
SIZES = (6, 24)
SEEDS, BENCHMARKS, TEST_SETS, CONTENTS, VERSIONS, JUDGES = 5, 4, 5, 12, 4, 3
RESAMPLES, DRAWS, PERMUTATIONS = 500, 400, 5_000
"""Fewer than a study's, so that thousands of studies take minutes; that can only make verdicts less certain."""
DISCRIMINATORS = ("none", "vanilla", "patch")
DOCUMENT = Path("docs/statistics.md")
MARKS = "<!-- calibration: written by make calibrate -->", "<!-- end of calibration -->"
MATTERS = 0.2

F1 = Agreement(contrast="agreement", says="F1", matters=MATTERS)
F2 = AgreementChange(contrast="agreement_change", says="F2", matters=MATTERS, of=("adversarial",), direction="lower")


# -------------------------------------------------------------------------------------- claims on correlations


@dataclass(frozen=True)
class World:
    """What is true of a simulated study of rankings."""

    name: str
    rho: tuple[float, float]
    """Pearson correlation of true metric and training qualities without, and with, a discriminator."""
    noise: float
    """1: the rankings' reliability is about .9; 2: about .6."""
    adversarial: float = 1.5
    """Noise under a discriminator, as a multiple."""
    outlier: bool = False
    """Whether one loss trains far worse than all others, which lie within noise of each other (in the same order)."""
    holes: bool = False
    """Whether one loss has but three of its seeds."""


WORLDS = (
    World("perfect agreement, noisy scores", (1.0, 1.0), 1.0),
    World("perfect agreement, very noisy scores", (1.0, 1.0), 2.0),
    World("no agreement", (0.0, 0.0), 1.0),
    World("r = .7 everywhere", (0.7, 0.7), 1.0),
    World("r = .9 everywhere", (0.9, 0.9), 1.0),
    World("r = .95 without, 0 with a discriminator", (0.95, 0.0), 1.0),
    World("perfect agreement, near ties and one outlier", (1.0, 1.0), 1.0, adversarial=3.0, outlier=True),
    World("r = .7 everywhere, seeds of a loss missing", (0.7, 0.7), 1.0, holes=True),
)


def study(world: World, losses: int, generator: np.random.Generator) -> tuple[Panel, Panel, Array]:
    """(IQA side, optimization side, true qualities (1 + D, L): as a metric, then under each discriminator)."""
    metric = generator.normal(size=losses)
    shared = generator.normal(size=losses)  # what training qualities have in common beyond the metric's
    truths = [metric]
    for d in range(len(DISCRIMINATORS)):
        r = world.rho[min(d, 1)]
        own = math.sqrt(0.5) * (shared + generator.normal(size=losses))
        truths.append(_with_outlier(metric) if world.outlier else r * metric + math.sqrt(1 - r**2) * own)
    names, seeds = tuple(f"loss{i}" for i in range(losses)), tuple(range(SEEDS))
    iqa = Panel(names, seeds, tuple(_benchmark(f"b{i}", metric, world, generator) for i in range(BENCHMARKS)))
    run = [_noise(world, d) * 0.3 * generator.normal(size=(SEEDS, losses)) for d in range(len(DISCRIMINATORS))]
    tests = tuple(_test_set(f"t{i}", truths[1:], run, world, generator) for i in range(TEST_SETS))
    judges = tuple(f"judge{i}" for i in range(JUDGES))
    lost = np.zeros((len(DISCRIMINATORS), SEEDS, losses), bool)
    if world.holes:
        tests = tuple(replace(test, values=_without_seeds(test.values)) for test in tests)
    return iqa, Panel(names, seeds, tests, DISCRIMINATORS, judges, judges, lost), np.stack(truths)


def _with_outlier(metric: Array) -> Array:
    """Qualities in the same order: the worst 3 below the rest, which are .02 apart."""
    order = metric.argsort().argsort()
    return np.where(order == 0, -3.0, 0.02 * order)


def _without_seeds(values: Array) -> Array:
    """(D, J, S, L, N) with three seeds of the first loss."""
    kept = values.copy()
    kept[:, :, 3:, 0] = np.nan
    return kept


def _noise(world: World, discriminator: int) -> float:
    return world.noise * (1.0 if discriminator == 0 else world.adversarial)


def _benchmark(name: str, metric: Array, world: World, generator: np.random.Generator) -> ImageSet:
    """Predictions follow the labels the better, the better the metric is on this benchmark."""
    images, losses = CONTENTS * VERSIONS, len(metric)
    content, labels = np.repeat(np.arange(CONTENTS), VERSIONS), generator.normal(size=images)
    strength = 1.2 * np.exp(0.35 * (metric + 0.35 * world.noise * generator.normal(size=losses)))
    own = 0.5 * generator.normal(size=(losses, CONTENTS))[:, content] + generator.normal(size=(losses, images))
    values = strength[:, None] * labels + math.sqrt(world.noise) * own
    return ImageSet(name, np.broadcast_to(values, (1, 1, SEEDS, losses, images)), content, labels)


def _test_set(
    name: str, truths: list[Array], run: list[Array], world: World, generator: np.random.Generator
) -> ImageSet:
    """Judges see the training quality, a part that belongs to the set, one that belongs to the run, and the image."""
    found = []
    for d, (truth, own) in enumerate(zip(truths, run, strict=True)):
        size = _noise(world, d)
        level = truth + 0.35 * size * generator.normal(size=len(truth)) + own
        images = size * generator.normal(size=(JUDGES, SEEDS, len(truth), CONTENTS))
        found.append(level[None, :, :, None] + images)
    return ImageSet(name, np.stack(found), np.arange(CONTENTS))


@dataclass(frozen=True, eq=False)
class Simulated(Basis):
    """Scores without trials behind them."""

    def keys(self, discriminators: tuple[str, ...] = ("",)) -> frozenset[str]:
        """None: nothing was stored."""
        return frozenset()


def rankings(world: World, losses: int, number: int) -> dict[str, float]:
    """What one study finds: verdicts of F1 and F2, and under none coverage, significance and what was promised."""
    generator = np.random.default_rng([WORLDS.index(world), losses, number])
    iqa, optimization, truths = study(world, losses, generator)
    scored = score(iqa, optimization, resamples=RESAMPLES)[0]
    basis = Simulated(None, scored, needed=False, draws=DRAWS, permutations=PERMUTATIONS)  # type: ignore[arg-type]
    each = [claims.table({claim.says: claim}, lambda claim: basis) for claim in (F1, F2)]  # no Holm over the two
    found = pd.concat(each).set_index("claim")
    row = {
        f"{name} {verdict}": float(found["verdict"][name] == verdict) for name in found.index for verdict in VERDICTS
    }
    true = spearman(truths[:1], truths[1:])
    change = true[1:].mean() - true[0]
    bounds = found.loc["F2", ["effect_low", "effect_high"]].to_numpy(float)
    matters = {"F1": 1 - true.mean() >= MATTERS, "F2": change <= -MATTERS}  # of these losses
    wrong = {f"{name} wrong": row[f"{name} contradicted"] * float(matters[name]) for name in matters}
    covers = {"F2 covers": float(not (change < bounds[0] or change > bounds[1]))}  # no bounds leave nothing out
    return row | wrong | covers | _under_none(world, scored, truths, losses)


VERDICTS = (claims.SUPPORTED, claims.CONTRADICTED)


def _under_none(world: World, scored: Scored, truths: Array, losses: int) -> dict[str, float]:
    """Of rho without a discriminator: which intervals hold the truth, whether p <= .05, and the power promised."""
    noisy = Noisy.of(scored, [0], DRAWS)
    rho, truth = noisy.rho(), float(spearman(truths[0], truths[1]))
    population, like = population_rho(world.rho[0]), losses_like_these(noisy)
    left = {name: rho_of(one)[:, 0] for name, one in scored.left_out.items()}
    bca = Bootstrap.of(rho, rho_of(scored.drawn)[:, 0], left).interval()[:2]
    return {
        "these": _holds(these_losses(noisy).interval(rho), truth),
        "like": _holds(like.interval(rho), population),
        "BCa": _holds(bca, truth),
        "Bonett-Wright": _holds(bonett_wright(rho, losses), population),
        "significant": float(abs(rho) >= critical_rho(losses) - 1e-9),
        "promised": like.power(population, critical_rho(losses)),
        "rho": rho,
        "perfect": float(np.median(perfect(noisy))),
    }


def _holds(bounds: tuple[float, float], truth: float) -> float:
    return float(bounds[0] - 1e-9 <= truth <= bounds[1] + 1e-9)


# ------------------------------------------------------------------------------------------ claims on contrasts

QUALITY: dict[str, Any] = {"says": "simulated", "matters": 0.1, "measure": "quality"}
ADVERSARIAL, NONE = Levels(discriminator=("adversarial",)), Levels(discriminator=("none",))
CONTRASTS: dict[str, Difference | Trend] = {
    "F4, unit pair": Difference(
        contrast="difference", says="F4", measure="srcc", of=Levels(initialization=("released",)),
        over=Levels(initialization=("gan",)), pairs=("task", "backbone", "seed"), direction="higher", matters=0.01),
    "F4 small": Difference(
        contrast="difference", says="F4", measure="srcc", of=Levels(initialization=("released",)),
        over=Levels(initialization=("gan",)), pairs=("task", "backbone", "seed"), direction="negligible", matters=0.01),
    "F5, unit pair": Difference(
        contrast="difference", of=Levels(head=("patch",)), over=Levels(head=("vanilla",)),
        pairs=("loss", "seed"), direction="higher", **QUALITY),
    "F5, unit seed": Difference(
        contrast="difference", of=Levels(head=("patch",)), over=Levels(head=("vanilla",)), unit="seed",
        pairs=("loss", "seed"), direction="higher", **QUALITY),
    "F6": Trend(
        contrast="trend", of=Levels(backbone=("resnet50",)), over=Levels(backbone=("dinov2",)), pairs=("loss", "seed"),
        direction="higher", **QUALITY),
    "F7": Difference(
        contrast="difference", of=ADVERSARIAL, over=NONE, pairs=("loss", "seed"), direction="higher", **QUALITY),
}  # fmt: skip
WEIGHTS = (0.01, 0.1, 1.0)


def measured(claim: Difference | Trend, effect: float, losses: int, generator: np.random.Generator) -> Measured:
    """Values of a measure in which `of` is above `over` by `effect` on average; the difference varies by test set, by
    seed (half as much as by run), and by run, with the heavy tails of a t distribution with 3 degrees of freedom."""
    rows, shift = _design(claim, losses)
    unit = claim.matters
    columns = 2 * BENCHMARKS if claim.measure == "srcc" else TEST_SETS
    values = generator.normal(size=columns) + 2 * unit * generator.standard_t(3, size=(len(rows), 1))
    values = values + unit * generator.normal(size=(len(rows), columns))
    by_set = effect + 0.5 * unit * generator.normal(size=columns)
    by_seed = unit * generator.normal(size=SEEDS)[[row["seed"] for row in rows]]
    values = values + np.outer(shift, by_set) + (shift * by_seed)[:, None]
    if claim.measure == "srcc":  # each task has benchmarks of its own
        own = np.array([row["task"] == "fr" for row in rows])[:, None] == (np.arange(columns) < BENCHMARKS)
        values = np.where(own, values, np.nan)
    cells = pd.DataFrame(rows).assign(status="done", keys=[()] * len(rows))
    return Measured(cells, values)


def _design(claim: Difference | Trend, losses: int) -> tuple[list[dict[str, Any]], Array]:
    """(rows of factors, how much of the effect each row has)."""
    every: dict[str, tuple[Any, ...]] = {"seed": tuple(range(SEEDS))}
    if claim.measure == "srcc":
        every |= {"task": ("fr", "nr"), "backbone": ("a", "b", "c"), "initialization": ("released", "gan")}
        rows = _rows(every)
        return rows, np.array([float(row["initialization"] == "released") for row in rows])
    every |= {"loss": tuple(f"loss{i}" for i in range(losses))}
    if isinstance(claim, Trend):
        rows = _rows(every | {"backbone": ("resnet50", "dinov2"), "weight": WEIGHTS})
        return rows, np.array([(row["backbone"] == "resnet50") * math.log10(row["weight"]) for row in rows])
    if claim.of.head:
        rows = _rows(every | {"head": ("patch", "vanilla")})
        return rows, np.array([float(row["head"] == "patch") for row in rows])
    rows = _rows(every | {"discriminator": DISCRIMINATORS})
    return rows, np.array([float(row["discriminator"] != "none") for row in rows])


def _rows(levels: Mapping[str, tuple[Any, ...]]) -> list[dict[str, Any]]:
    index = pd.MultiIndex.from_product(levels.values(), names=list(levels))
    return list(index.to_frame(index=False).to_dict("records"))


def contrast_study(name: str, effect: float, losses: int, number: int) -> dict[str, float]:
    """Verdict, coverage and significance of one claim in one study, its true effect being `effect` times what
    matters."""
    claim = CONTRASTS[name]
    generator = np.random.default_rng([100 + list(CONTRASTS).index(name), losses, number, int(10 * effect)])
    true = effect * claim.matters
    found = contrasts.contrast(claim, measured(claim, true, losses, generator))
    row: dict[str, Any] = {"effect": found.estimate, "direction": claim.direction, "matters": claim.matters}
    verdict = claims.verdict(row | {"p_holm": found.p, "p_against_holm": found.p_against})
    return {f"{name} {one}": float(verdict == one) for one in VERDICTS} | {
        "covers": float(found.low <= true <= found.high)
    }


def upset_study(name: str, effect: float, worst: bool, losses: int, number: int) -> dict[str, float]:
    """F3: the first loss is the worst metric, or one like the next two; under patch it trains better than they do by
    `effect` times what matters, under the other discriminators worse or alike."""
    generator = np.random.default_rng([200, losses, number, int(10 * effect)])
    claim = Upset(contrast="upset", says="F3", loss="loss0", over=("loss1", "loss2"), matters=0.1)
    rows = _rows(
        {"seed": tuple(range(SEEDS)), "loss": tuple(f"loss{i}" for i in range(losses)), "discriminator": DISCRIMINATORS}
    )
    lifted = [
        (row["loss"] == "loss0") * (effect if row["discriminator"] == "patch" else min(0.0, effect)) for row in rows
    ]
    values = 0.1 * np.array(lifted)[:, None] + 0.1 * generator.normal(size=(len(rows), 1))
    values = values + 0.1 * generator.normal(size=(len(rows), TEST_SETS))
    cells = pd.DataFrame(rows).assign(status="done", keys=[()] * len(rows))
    world = World("F3", (0.0, 0.0), 0.3 if worst else 1.0)
    metric = generator.normal(size=losses)
    metric[:3] = (metric.min(), *np.sort(metric)[1:3]) if worst else 0.0
    benchmarks = tuple(_benchmark(f"b{i}", metric, world, generator) for i in range(BENCHMARKS))
    names = tuple(f"loss{i}" for i in range(losses))
    metrics = measures.metrics(Panel(names, tuple(range(SEEDS)), benchmarks))
    basis = Given(None, given=Measured(cells, values), as_metrics=metrics)  # type: ignore[arg-type]
    verdict = claims.table({"F3": claim}, lambda claim: basis)["verdict"][0]
    return {f"{name} {one}": float(verdict == one) for one in VERDICTS}


@dataclass(frozen=True, eq=False)
class Given(Simulated):
    """With measured values that are given."""

    given: Measured | None = None
    as_metrics: Measured | None = None

    @property
    def scored(self) -> Scored:
        """The names alone."""
        nothing = Scores(np.zeros((0, 0)), np.zeros((0, 0, 0)))
        return Scored((), DISCRIMINATORS, nothing, nothing, {})

    @property
    def metrics(self) -> Measured:
        """What was given."""
        assert self.as_metrics is not None
        return self.as_metrics

    def quality(self, judges: tuple[str, ...] | None) -> Measured:
        """What was given."""
        assert self.given is not None
        return self.given


# -------------------------------------------------------------------------------------------------- the tables

Task = Callable[[int], dict[str, float]]


def tasks() -> Iterator[tuple[str, str, int, Task]]:
    """(part, what is true, losses, one study by its number) of everything that is simulated."""
    for world in WORLDS:
        for losses in SIZES:
            yield "rankings", world.name, losses, partial(rankings, world, losses)
    for name, claim in CONTRASTS.items():
        effects = (1.0, 0.0) if claim.direction == "negligible" else (0.0, 1.0, 2.0)
        for effect in effects:
            for losses in SIZES if claim.measure != "srcc" else SIZES[:1]:
                yield "contrasts", f"{name}|{effect:g}", losses, partial(contrast_study, name, effect, losses)
    for name, effect, worst in (("F3", 0.0, True), ("F3", 3.0, True), ("F3, no worse metric", 3.0, False)):
        yield "contrasts", f"{name}|{effect:g}", SIZES[0], partial(upset_study, name, effect, worst, SIZES[0])


def run(studies: int, processes: int) -> dict[str, pd.DataFrame]:
    """Means over `studies` of every figure, by part: one row a (truth, losses)."""
    found: dict[str, list[dict[str, Any]]] = {"rankings": [], "contrasts": []}
    with ProcessPoolExecutor(processes, mp_context=get_context("spawn")) as pool:
        for part, truth, losses, task in tasks():
            begun = time.time()
            rows = pd.DataFrame(pool.map(task, range(studies), chunksize=max(1, studies // (4 * processes))))
            found[part].append({"truth": truth, "losses": losses, **rows.mean()})
            typer.echo(f"{part}: {truth}, n = {losses}: {time.time() - begun:.0f} s")
    return {part: pd.DataFrame(rows) for part, rows in found.items()}


def document(found: Mapping[str, pd.DataFrame], studies: int) -> str:
    """The results as Markdown."""
    error = 100 * float(norm.ppf(0.975)) * math.sqrt(0.05 * 0.95 / studies)
    lines = [
        f"`make calibrate`: {studies:,} studies in each row, {SEEDS} seeds, {BENCHMARKS} benchmarks, "
        f"{TEST_SETS} test sets, "
        f"{JUDGES} judges, {len(DISCRIMINATORS)} discriminators; {RESAMPLES} resamples and {DRAWS} draws a "
        f"study. Shares in percent; the Monte Carlo error of a share of 5 % is +- {error:.1f}.",
        "",
        "| what is true | n | F1 supported | F1 contradicted | wrongly | F2 supported | F2 contradicted | wrongly | F2 "
        "interval covers | rho, these losses: covers | rho, losses like these: covers | BCa, these | Bonett-Wright, "
        "like these | p <= .05 | power promised | mean rho | perfect |",
        "|---|" + "---:|" * 16,
    ]
    shares = [f"{claim} {what}" for claim in ("F1", "F2") for what in (*VERDICTS, "wrong")]
    shares += ["F2 covers", "these", "like", "BCa", "Bonett-Wright", "significant", "promised"]
    for row in found["rankings"].to_dict("records"):
        numbers = [*(f"{100 * row[name]:.1f}" for name in shares), f"{row['rho']:.2f}", f"{row['perfect']:.2f}"]
        lines.append(f"| {row['truth']} | {row['losses']} | {' | '.join(numbers)} |")
    lines += ["", "| claim | true effect / smallest that matters | n | supported | contradicted | interval covers |"]
    lines.append("|---|---:|---:|---:|---:|---:|")
    for row in found["contrasts"].to_dict("records"):
        name, effect = row["truth"].split("|")
        supported, contradicted = (100 * row[f"{name} {verdict}"] for verdict in VERDICTS)
        covers = f"{100 * row['covers']:.1f}" if math.isfinite(row["covers"]) else ""
        lines.append(f"| {name} | {effect} | {row['losses']} | {supported:.1f} | {contradicted:.1f} | {covers} |")
    return "\n".join(lines)


def main(
    studies: Annotated[int, typer.Option(help="Simulated studies in each row.")] = STUDIES,
    processes: Annotated[int, typer.Option(help="Processes at once.")] = 2,
    document_file: Annotated[Path, typer.Option("--into", help="The page whose marked part is replaced.")] = DOCUMENT,
) -> None:
    """Simulate, judge, count; write the results into docs/statistics.md."""
    text = document_file.read_text(encoding="utf-8")
    if not all(mark in text for mark in MARKS):
        typer.echo(f"{document_file}: has no lines {' and '.join(MARKS)} to write between", err=True)
        raise typer.Exit(2)
    begun = time.time()
    results = document(run(studies, processes), studies)
    results += f"\n\nTook {(time.time() - begun) / 60:.0f} minutes on {processes} processes."
    begin, end = MARKS
    pattern = f"{re.escape(begin)}.*{re.escape(end)}"
    text = re.sub(pattern, lambda _: f"{begin}\n\n{results}\n\n{end}", text, flags=re.DOTALL)
    document_file.write_text(text, encoding="utf-8")
    typer.echo(results)


if __name__ == "__main__":
    typer.run(main)

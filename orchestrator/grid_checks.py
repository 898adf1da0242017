"""What is wrong with a grid whose types are right: (path, what was found; what is allowed)."""

import dataclasses
from collections.abc import Iterator
from typing import Any

from orchestrator import known, matrix, spec, yaml_lines
from orchestrator.grid_claim_checks import check_claims
from orchestrator.grid_data_checks import check_data
from orchestrator.grid_errors import Fault, found, nearest, shown
from orchestrator.sections import (
    GAN,
    STARTS,
    BackboneLevel,
    Condition,
    DiscriminatorAxis,
    Grid,
    LadderSet,
    Warmup,
    discriminator_levels,
)

STORAGE_SCHEMES = ("s3", "gs", "gcs", "abfs", "abfss")
"""Of object stores that pyarrow opens, in which what is written is there whole or not at all."""


def check(grid: Grid) -> Iterator[Fault]:
    """Faults of a well-typed grid. Claims are looked at when all is right that they name."""
    faults = list(_check_study(grid))
    own = {name: claim for name, claim in grid.claims.items() if claim.grid is None}
    yield from faults or check_claims(own, grid)


def _check_study(grid: Grid) -> Iterator[Fault]:
    yield from _check_axes(grid)
    yield from _check_backbones(grid)
    yield from _check_names(grid)
    yield from _check_starts(grid)
    yield from check_data(grid)
    yield from _check_sizes(grid)
    yield from _check_initialization(grid)
    yield from _check_cells(grid)
    yield from _check_storage(grid)


def _check_storage(grid: Grid) -> Iterator[Fault]:
    path = ("runtime", "storage")
    scheme, marked, rest = grid.runtime.storage.partition("://")
    place = rest.partition("?")[0]
    if not marked:
        return
    if scheme not in STORAGE_SCHEMES:
        listed = ", ".join(f"{one}://" for one in STORAGE_SCHEMES)
        near = nearest(scheme, list(STORAGE_SCHEMES))
        yield path, f"found {shown(grid.runtime.storage)}; allowed: a folder, or an address with {listed}{near}"
    elif "@" in place and not scheme.startswith("abfs"):
        yield (
            path,
            f"found credentials in it; allowed: {scheme}://bucket/prefix; variables, a profile or a role give them",
        )
    elif not place.partition("/")[0]:
        yield path, f"found {shown(grid.runtime.storage)} without a bucket; allowed: {scheme}://bucket/prefix"


def _check_axes(grid: Grid) -> Iterator[Fault]:
    for path, levels in _lists(grid):
        for i, level in enumerate(levels):
            if level in levels[:i]:
                yield (*path, i), f"found {shown(level)} a second time; allowed: each level once"
    made: set[str] = set()
    for i, entry in enumerate(grid.matrix.discriminator):
        for level in discriminator_levels(entry) if entry not in grid.matrix.discriminator[:i] else ():
            if level.name in made:
                yield ("matrix", "discriminator", i), f"found {level.name} a second time; allowed: each level once"
            made.add(level.name)
    for i, twin in enumerate(grid.matrix.twins):
        if twin in grid.matrix.loss:
            yield ("matrix", "twins", i), f"found {twin!r}, which is in matrix.loss too; allowed: one of them"


def _lists(grid: Grid) -> Iterator[tuple[yaml_lines.Path, tuple[Any, ...]]]:
    """Every list of levels or names in which a second mention would be an accident, or count something twice."""
    entries = (", ".join(level.name for level in discriminator_levels(entry)) for entry in grid.matrix.discriminator)
    yield ("seeds",), grid.seeds
    yield ("matrix", "loss"), grid.matrix.loss
    yield ("matrix", "twins"), grid.matrix.twins
    yield ("matrix", "discriminator"), tuple(entries)
    yield ("matrix", "initialization"), grid.matrix.initialization
    yield ("matrix", "task"), grid.matrix.task
    yield ("baselines",), grid.baselines
    for split, photographs in grid.photographs or ():
        yield ("photographs", split), photographs
    for task in grid.iqa_sets.tasks():
        iqa_set = grid.iqa_sets.of(task)
        if not isinstance(iqa_set, LadderSet):
            yield ("iqa_sets", task, "benchmarks"), iqa_set.benchmarks
            continue
        yield ("iqa_sets", task, "distortions"), iqa_set.distortions
        for name, benchmark in iqa_set.benchmarks.items():
            for field, values in benchmark:
                yield ("iqa_sets", task, "benchmarks", name, field), values or ()
    tests = grid.super_resolution.tests
    for name, photographs in tests.items() if isinstance(tests, dict) else ():
        yield ("super_resolution", "tests", name), photographs
    yield ("super_resolution", "tests"), () if isinstance(tests, dict) else tests
    yield ("super_resolution", "adversarial", "augment"), grid.super_resolution.adversarial.augment
    yield ("iqa_transfer", "backbones"), (grid.iqa_transfer and grid.iqa_transfer.backbones) or ()


def _check_backbones(grid: Grid) -> Iterator[Fault]:
    for name, level in grid.backbones.items():
        path = ("backbones", name)
        if name in matrix.RESERVED:
            yield path, f"found {name!r}; allowed: any name but {', '.join(matrix.RESERVED)}"
        library, _, model = level.model.partition("/")
        names = {"small": [one.partition("/")[2] for one in spec.SMALL_MODELS], "timm": known.timm_models()}
        allowed = names.get(library) or known.open_clip_models()
        architecture = model.partition(".")[0] if library == "timm" else model
        if architecture not in allowed:
            yield (*path, "model"), found(architecture, sorted(allowed), f"models of {library}")
        yield from _check_weights((*path, "weights"), level, library, grid)
        for start in level.starts:
            yield from _check_own_start((*path, "starts", start), start, level.started(start), library, grid)


def _check_own_start(
    path: yaml_lines.Path, start: str, level: BackboneLevel, library: str, grid: Grid
) -> Iterator[Fault]:
    if start in (*STARTS, GAN):
        yield path, f"found {start!r}; allowed: any name but {', '.join((*STARTS, GAN))}"
    if level.has_released:
        yield from _check_weights(path, level, library, grid)
    else:
        yield path, f"found {shown(level.weights)}; allowed: a file, {{file: PATH}}, or released weights"


def _check_weights(path: yaml_lines.Path, level: BackboneLevel, library: str, grid: Grid) -> Iterator[Fault]:
    weights = level.weights
    if not isinstance(weights, str):
        return
    allowed = {"small": ("random", "pretext", "{file: PATH}"), "timm": ("random", "released", "{file: PATH}")}
    if library in allowed and weights not in allowed[library]:
        yield path, found(weights, allowed[library])
    if library == "open_clip" and weights in ("pretext", "released"):
        yield path, f"found {weights!r}; allowed: random, a tag of open_clip such as openai, {{file: PATH}}"
    quick = f"{level.model.partition('/')[2]}-quickgelu"
    if library == "open_clip" and weights == "openai" and quick in known.open_clip_models():
        yield path, f"found 'openai', weights that were trained with QuickGELU; allowed: the model open_clip/{quick}"
    if library == "small" and weights == "pretext" and (grid.pretext is None or grid.photographs is None):
        yield path, "found 'pretext', which needs the sections pretext and photographs"


def _check_names(grid: Grid) -> Iterator[Fault]:
    backbones = list(grid.backbones)
    for axis in ("loss", "twins"):
        for i, loss in enumerate(getattr(grid.matrix, axis)):
            if loss not in backbones:
                yield ("matrix", axis, i), found(loss, backbones)
    for i, entry in enumerate(grid.matrix.discriminator):
        if not isinstance(entry, DiscriminatorAxis):
            continue
        for field, names, allowed in (("head", entry.head, known.heads()), ("backbone", entry.backbone, backbones)):
            for name in names:
                if name not in allowed:
                    yield ("matrix", "discriminator", i, field), found(name, allowed)
    for i, name in enumerate((grid.iqa_transfer and grid.iqa_transfer.backbones) or ()):
        if name not in backbones:
            yield ("iqa_transfer", "backbones", i), found(name, backbones)
    if grid.super_resolution.reference_loss not in grid.backbones:
        yield ("super_resolution", "reference_loss"), found(grid.super_resolution.reference_loss, backbones)
    judges: set[str] = set()
    for path, judge in _judge_paths(grid):
        if judge not in known.judges():
            yield path, found(judge, known.judges())
        if judge in judges:
            yield path, f"found {judge!r} a second time; allowed: each judge once, in one family or beside"
        judges.add(judge)


def _judge_paths(grid: Grid) -> Iterator[tuple[yaml_lines.Path, str]]:
    for family, judges in grid.judges.score.items():
        yield from ((("judges", "score", family, i), judge) for i, judge in enumerate(judges))
    yield from ((("judges", "beside", i), judge) for i, judge in enumerate(grid.judges.beside))


def _check_starts(grid: Grid) -> Iterator[Fault]:
    """A start must be one that its backbone has: released weights cannot start what has none."""
    for i, entry in enumerate(grid.matrix.discriminator):
        for name in entry.backbone if isinstance(entry, DiscriminatorAxis) else ():
            yield from _missing_starts(("matrix", "discriminator", i, "start"), grid, name, entry.start)  # type: ignore[union-attr]
    allowed = (*STARTS, GAN, *dict.fromkeys(start for level in grid.backbones.values() for start in level.starts))
    for i, start in enumerate(grid.matrix.initialization):
        if start not in allowed:
            yield ("matrix", "initialization", i), found(start, allowed)
    starts = tuple(start for start in grid.matrix.initialization if start in allowed and start != GAN)
    for name in grid.iqa_backbones():
        yield from _missing_starts(("matrix", "initialization"), grid, name, starts)


def _missing_starts(path: yaml_lines.Path, grid: Grid, name: str, starts: tuple[str, ...]) -> Iterator[Fault]:
    level = grid.backbones.get(name)
    for start in starts if level else ():
        if start == "released" and level and not level.has_released:
            yield (
                path,
                f"found 'released', but backbones.{name} has the weights {shown(level.weights)}; allowed: random",
            )
        if start == "pretext" and (grid.pretext is None or grid.photographs is None):
            yield path, "found 'pretext', which needs the sections pretext and photographs"
        if level and start not in (*STARTS, *level.starts):
            yield path, found(start, (*STARTS, *level.starts), f"starts of backbones.{name}")


def _check_sizes(grid: Grid) -> Iterator[Fault]:
    for section, settings in (("pretext", grid.pretext), ("fr_iqa", grid.fr_iqa)):
        for name, value in dataclasses.asdict(settings).items() if settings else ():
            if value <= 0:
                yield (section, name), f"found {value}; allowed: a number above 0"
    sr, path = grid.super_resolution, ("super_resolution", "generator")
    generator = sr.generator
    for name, value in dataclasses.asdict(generator).items():
        numbers = value if isinstance(value, tuple) else (value,)
        if any(not isinstance(number, str) and number <= 0 for number in numbers) and name != "heads":
            yield (*path, name), f"found {shown(value)}; allowed: numbers above 0"
    if len(generator.depths) != len(generator.heads) or not generator.depths:
        yield (*path, "heads"), f"found {len(generator.heads)}; allowed: one for each of {len(generator.depths)} depths"
    for heads in generator.heads:
        if heads <= 0 or generator.channels % heads:
            yield (*path, "heads"), f"found {heads} heads; allowed: divisors of channels = {generator.channels}"
    if sr.weights.pixel == sr.weights.fidelity == 0:
        yield ("super_resolution", "weights"), "found 0 for pixel and fidelity; allowed: at least one above 0"
    if sr.crop % sr.scale:
        yield ("super_resolution", "crop"), f"found {sr.crop}; allowed: a multiple of scale = {sr.scale}"
    if isinstance(sr.warmup, Warmup):
        return
    if sr.generator.window != 8:
        yield (*path, "window"), f"found {sr.generator.window}; allowed with an official checkpoint: 8"


def _check_initialization(grid: Grid) -> Iterator[Fault]:
    if bool(grid.matrix.initialization) != bool(grid.matrix.task):
        given, other = ("initialization", "task") if grid.matrix.initialization else ("task", "initialization")
        yield ("matrix", given), f"found levels, but no matrix.{other}; allowed: both, or neither (optimization alone)"
    for task in grid.matrix.task:
        if grid.iqa_transfer is None or getattr(grid.iqa_transfer, task) is None:
            yield ("matrix", "task"), f"found {task!r}; it needs the section iqa_transfer.{task}"
        if task not in grid.iqa_sets.tasks():
            yield ("matrix", "task"), f"found {task!r}; it needs the section iqa_sets.{task}"
    if "gan" not in grid.matrix.initialization:
        return
    where = ("matrix", "initialization", grid.matrix.initialization.index("gan"))
    trained = {level.backbone for level in grid.discriminators()} - {""}
    if not trained:
        yield where, "found 'gan', but the matrix has no discriminator to start from; add one or leave gan out"
    for name in (grid.iqa_transfer and grid.iqa_transfer.backbones) or ():
        if trained and name not in trained:
            wanted = f"no discriminator has the backbone {name!r} of iqa_transfer.backbones"
            yield where, f"found 'gan', but {wanted}; allowed: {', '.join(sorted(trained))}"


def _check_cells(grid: Grid) -> Iterator[Fault]:
    """Of `exclude`, `when` and `zip`: names, levels that meet, and that something is left."""
    places: list[tuple[yaml_lines.Path, Condition]] = [(("exclude", i), one) for i, one in enumerate(grid.exclude)]
    places += [(("when", i), when) for i, when in enumerate(grid.when)]
    places += [(("when", i, "only"), when.only) for i, when in enumerate(grid.when)]
    places += [(("zip", i), one) for i, one in enumerate(grid.zip)]
    faults = [fault for path, one in places for fault in _check_condition(grid, path, one)]
    yield from faults
    for i, together in enumerate(grid.zip):
        lengths = {name: len(levels) for name, levels in together.named().items()}
        if len(lengths) < 2 or len(set(lengths.values())) > 1:
            counts = ", ".join(f"{name}: {length}" for name, length in lengths.items()) or "no factor"
            yield ("zip", i), f"found lists of {counts}; allowed: two factors or more, lists of one length"
            return
    if places and not faults and not any(matrix.cells(grid)):
        first = next(name for name in ("exclude", "when", "zip") if getattr(grid, name))
        yield (first,), "found entries that together match every cell; allowed: those that leave some"


def _check_condition(grid: Grid, path: yaml_lines.Path, condition: Condition) -> Iterator[Fault]:
    allowed: dict[str, list[Any]] = {
        "loss": [*grid.matrix.loss, *grid.matrix.twins],
        "discriminator": [level.name for level in grid.discriminators()],
        "initialization": list(grid.matrix.initialization),
        "task": list(grid.matrix.task),
        "seed": list(grid.seeds),
    }
    named = condition.named()
    if not named:
        yield path, "found no level; allowed: at least one (without any it would leave nothing)"
        return
    strangers = [
        ((*path, name, i) if len(levels) > 1 else (*path, name), found(level, allowed[name]))
        for name, levels in named.items()
        for i, level in enumerate(levels)
        if level not in allowed[name]
    ]
    yield from strangers
    if not strangers and matrix.unmatched(grid, [condition]):
        told = {name: levels[0] if len(levels) == 1 else list(levels) for name, levels in named.items()}
        yield path, f"found {told}, which matches no cell; allowed: levels that meet"

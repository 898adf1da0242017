"""Reads and checks a grid file: one scientific question as YAML.

Every fault is reported as `file:line: field: what was found; what is allowed; the nearest name`, before anything runs.
"""

import ast
import dataclasses
import functools
import importlib.util
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from orchestrator import matrix, spec, yaml_lines
from orchestrator.grid_errors import Fault, dotted, echoes, explain, found, shown
from orchestrator.sections import DiscriminatorAxis, Grid, discriminator_levels

RESULTS = Path("results")
LAST_SWEEP = RESULTS / "last_sweep"
"""Holds the path of the grid that was swept last."""


class GridError(ValueError):
    """A grid that cannot be used. `str()` holds one line for each fault."""


def load(file: str | Path) -> Grid:
    """Reads and checks a grid file. Raises GridError with one line for each fault."""
    file = Path(file)
    try:
        document = yaml_lines.read(file)
    except yaml_lines.YamlProblem as error:
        raise GridError(f"{file}:{error.line}: {error}") from None
    except OSError as error:
        folder = file if isinstance(error, IsADirectoryError) else file.parent
        nearby = ", ".join(sorted(str(path) for path in folder.glob("*.yaml"))[:12]) or "none"
        raise GridError(f"{file}: {error.strerror}; grids in that folder: {nearby}") from None
    try:
        grid = Grid.model_validate_json(json.dumps(document.value))
        faults = list(check(grid))
    except ValidationError as error:
        faults = [explain(details) for details in error.errors() if not echoes(details)]
    if faults:
        raise GridError("\n".join(f"{file}:{document.line(path)}: {dotted(path)}: {text}" for path, text in faults))
    return grid


def check(grid: Grid) -> Iterator[Fault]:
    """Faults of a well-typed grid: (path, what is wrong)."""
    yield from _check_axes(grid)
    yield from _check_names(grid)
    yield from _check_photographs(grid)
    yield from _check_sizes(grid)
    yield from _check_crops(grid)
    yield from _check_initialization(grid)
    yield from _check_excludes(grid)


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


def _lists(grid: Grid) -> Iterator[tuple[yaml_lines.Path, tuple[Any, ...]]]:
    """Every list of levels or names in which a second mention would be an accident, or count something twice."""
    entries = (entry if isinstance(entry, str) else entry.model_dump_json() for entry in grid.matrix.discriminator)
    yield ("seeds",), grid.seeds
    yield ("matrix", "loss"), grid.matrix.loss
    yield ("matrix", "discriminator"), tuple(entries)
    yield ("matrix", "initialization"), grid.matrix.initialization
    yield ("matrix", "task"), grid.matrix.task
    yield ("baselines",), grid.baselines
    for split, photographs in grid.photographs:
        yield ("photographs", split), photographs
    for task, iqa_set in grid.iqa_sets:
        yield ("iqa_sets", task, "distortions"), iqa_set.distortions
        for name, benchmark in iqa_set.benchmarks.items():
            for field, values in benchmark:
                yield ("iqa_sets", task, "benchmarks", name, field), values or ()
    for name, photographs in grid.super_resolution.tests.items():
        yield ("super_resolution", "tests", name), photographs
    yield ("iqa_transfer", "backbones"), grid.iqa_transfer.backbones or ()


def _check_names(grid: Grid) -> Iterator[Fault]:
    backbones = list(grid.backbones)
    for name in backbones:
        if name in matrix.RESERVED:
            yield ("backbones", name), f"found {name!r}; allowed: any name but {', '.join(matrix.RESERVED)}"
    for i, loss in enumerate(grid.matrix.loss):
        if loss not in backbones:
            yield ("matrix", "loss", i), found(loss, backbones)
    for i, entry in enumerate(grid.matrix.discriminator):
        for name in entry.backbone if isinstance(entry, DiscriminatorAxis) else ():
            if name not in backbones:
                yield ("matrix", "discriminator", i, "backbone"), found(name, backbones)
    for i, name in enumerate(grid.iqa_transfer.backbones or ()):
        if name not in backbones:
            yield ("iqa_transfer", "backbones", i), found(name, backbones)
    if grid.super_resolution.reference_loss not in grid.backbones:
        yield ("super_resolution", "reference_loss"), found(grid.super_resolution.reference_loss, backbones)
    judges: set[str] = set()
    for path, judge in _judge_paths(grid):
        if judge not in known_judges():
            yield path, found(judge, known_judges())
        if judge in judges:
            yield path, f"found {judge!r} a second time; allowed: each judge once, in one family or beside"
        judges.add(judge)


def _judge_paths(grid: Grid) -> Iterator[tuple[yaml_lines.Path, str]]:
    for family, judges in grid.judges.score.items():
        yield from ((("judges", "score", family, i), judge) for i, judge in enumerate(judges))
    yield from ((("judges", "beside", i), judge) for i, judge in enumerate(grid.judges.beside))


def _check_photographs(grid: Grid) -> Iterator[Fault]:
    split_of: dict[str, str] = {}  # content -> split
    for split in ("train", "validation", "test"):
        for i, name in enumerate(getattr(grid.photographs, split)):
            if name not in spec.PHOTOGRAPHS:
                yield ("photographs", split, i), found(name, spec.PHOTOGRAPHS)
            elif split_of.setdefault(spec.PHOTOGRAPHS[name].content, split) != split:
                other = split_of[spec.PHOTOGRAPHS[name].content]
                yield ("photographs", split, i), f"found {name!r}, whose content is in {other} too; allowed: one split"
    tests: list[tuple[yaml_lines.Path, tuple[str, ...]]] = [
        (("super_resolution", "tests", name), names) for name, names in grid.super_resolution.tests.items()
    ]
    tests += [
        (("iqa_sets", task, "benchmarks", name, "photographs"), benchmark.photographs)
        for task in ("fr", "nr")
        for name, benchmark in grid.iqa_sets.of(task).benchmarks.items()
    ]
    for path, names in tests:
        for i, name in enumerate(names):
            if name not in grid.photographs.test:
                yield (*path, i), found(name, grid.photographs.test, "the test photographs")


def _check_sizes(grid: Grid) -> Iterator[Fault]:
    for section, settings in (("pretext", grid.pretext), ("fr_iqa", grid.fr_iqa)):
        for name, value in dataclasses.asdict(settings).items():
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


SMALLEST_CROP = 16
"""The least side that every backbone takes, pixels (workers/models/backbones.py)."""


def _check_crops(grid: Grid) -> Iterator[Fault]:
    """Crops fit into the photographs that they are cut from, and backbones can take them."""
    split, sr = grid.photographs, grid.super_resolution
    crops: list[tuple[yaml_lines.Path, int, int, tuple[str, ...]]] = [
        (("pretext", "crop"), grid.pretext.crop, 1, split.train),
        (("super_resolution", "crop"), sr.crop, 1, split.validation + split.test),
        (("super_resolution", "warmup", "patch"), sr.warmup.patch, sr.scale, split.train),
        (("super_resolution", "training", "patch"), sr.training.patch, sr.scale, split.train),
    ]
    everything = split.train + split.validation + split.test
    crops += [(("iqa_sets", task, "crop"), iqa_set.crop, 1, everything) for task, iqa_set in grid.iqa_sets]
    for path, crop, scale, names in crops:
        known = [name for name in names if name in spec.PHOTOGRAPHS]
        smallest = min(known, key=lambda name: spec.PHOTOGRAPHS[name].side, default="")
        most = spec.PHOTOGRAPHS[smallest].side // scale if smallest else crop
        least = -(-SMALLEST_CROP // scale)
        if not least <= crop <= most:
            yield path, f"found {crop}; allowed: {least} (what backbones need) to {most} (the side of {smallest})"


def _check_initialization(grid: Grid) -> Iterator[Fault]:
    if "gan" not in grid.matrix.initialization:
        return
    where = ("matrix", "initialization", grid.matrix.initialization.index("gan"))
    trained = {level.backbone for level in grid.discriminators()} - {""}
    if not trained:
        yield where, "found 'gan', but the matrix has no discriminator to start from; add one or leave gan out"
    for name in grid.iqa_transfer.backbones or ():
        if trained and name not in trained:
            wanted = f"no discriminator has the backbone {name!r} of iqa_transfer.backbones"
            yield where, f"found 'gan', but {wanted}; allowed: {', '.join(sorted(trained))}"


def _check_excludes(grid: Grid) -> Iterator[Fault]:
    empty = [i for i, entry in enumerate(grid.exclude) if not entry.named()]
    for i in empty:
        yield ("exclude", i), "found no level; allowed: at least one (without any it would leave nothing)"
    if grid.exclude and not empty and not any(matrix.cells(grid)):
        yield ("exclude",), "found entries that together match every cell; allowed: those that leave some"
    allowed: dict[str, list[Any]] = {
        "loss": list(grid.matrix.loss),
        "discriminator": [level.name for level in grid.discriminators()],
        "initialization": list(grid.matrix.initialization),
        "task": list(grid.matrix.task),
        "seed": list(grid.seeds),
    }
    for i in matrix.unmatched_excludes(grid):
        named = grid.exclude[i].named()
        strangers = [(name, level) for name, level in named.items() if level not in allowed[name]]
        for name, level in strangers:
            yield ("exclude", i, name), found(level, allowed[name])
        if not strangers:
            yield ("exclude", i), f"found {named}, which matches no cell; allowed: levels that meet"


@functools.cache
def known_judges() -> tuple[str, ...]:
    """Names of pyiqa's metrics, read from its table of configurations without importing it (which takes seconds)."""
    package = importlib.util.find_spec("pyiqa")
    if package is None or package.origin is None:
        raise GridError("pyiqa is not installed; run: make setup")
    tree = ast.parse((Path(package.origin).parent / "default_model_configs.py").read_text())
    for node in ast.walk(tree):
        if isinstance(node, ast.Assign) and getattr(node.targets[0], "id", "") == "DEFAULT_CONFIGS":
            return tuple(ast.literal_eval(key) for key in _mapping_keys(node.value))
    raise GridError("pyiqa has no table DEFAULT_CONFIGS in default_model_configs.py; run: make setup")


def _mapping_keys(node: ast.expr) -> list[Any]:
    """Keys of a mapping written as a literal, or wrapped in a call such as OrderedDict({...})."""
    mapping = node.args[0] if isinstance(node, ast.Call) else node
    return mapping.keys if isinstance(mapping, ast.Dict) else []

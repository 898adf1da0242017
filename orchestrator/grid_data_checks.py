"""What is wrong with the data of a grid: photographs in two splits, undeclared data sets, crops that do not fit."""

from collections.abc import Iterator

from orchestrator import spec, yaml_lines
from orchestrator.grid_errors import Fault, found
from orchestrator.sections import Grid, ImageFolders, IqaFolder, LadderSet, OfficialSet, PhotographSplit, Warmup

SMALLEST_CROP = 16
"""The least side that every small backbone takes, pixels (workers/models/backbones.py)."""


def check_data(grid: Grid) -> Iterator[Fault]:
    """Faults of photographs and data sets."""
    yield from _check_needs(grid)
    yield from _check_sets(grid)
    if grid.photographs is not None:
        yield from _check_photographs(grid, grid.photographs)
    yield from _check_crops(grid)


def _check_needs(grid: Grid) -> Iterator[Fault]:
    """Sections that are made of photographs need some."""
    if grid.photographs is not None:
        return
    for task in grid.iqa_sets.tasks():
        if isinstance(grid.iqa_sets.of(task), LadderSet):
            yield ("iqa_sets", task), "found a set made of photographs, but no section photographs"
    if grid.super_resolution.train is None:
        yield ("super_resolution",), "found no train; give the name of a data set of images, or the section photographs"
    if isinstance(grid.super_resolution.tests, dict):
        yield ("super_resolution", "tests"), "found test sets made of photographs, but no section photographs"


def _check_sets(grid: Grid) -> Iterator[Fault]:
    """Data sets are declared, and of the kind that their place needs."""
    sets = grid.data.sets if grid.data else {}
    images = [name for name, entry in sets.items() if isinstance(entry, ImageFolders)]
    quality = [name for name in sets if name not in images]
    for path, name, allowed in _named_sets(grid, images, quality):
        if name not in allowed:
            yield path, found(name, allowed, "data.sets")
    for name in images:
        yield from _check_folders(("data", "sets", name), sets[name])
    section = grid.super_resolution
    for i, name in enumerate(section.tests if not isinstance(section.tests, dict) else ()):
        if name == section.train:
            yield ("super_resolution", "tests", i), f"found {name!r}, which generators are trained on; allowed: others"
    if section.train is not None and section.hold_out == 0:
        yield ("super_resolution", "hold_out"), "found 0; allowed: at least 1 image of the training set, to validate on"
    for task in grid.iqa_sets.tasks():
        iqa_set = grid.iqa_sets.of(task)
        if isinstance(iqa_set, OfficialSet) and iqa_set.train in sets:
            yield from _check_split(("iqa_sets", task, "split"), sets[iqa_set.train].layout, iqa_set)
            if task == "fr":
                no_reference = [name for name in (iqa_set.train, *iqa_set.benchmarks) if _no_reference(grid, name)]
                for name in no_reference:
                    yield (
                        ("iqa_sets", task),
                        f"found {name!r}, a set without references; FR models and metrics need them",
                    )


WITHOUT_REFERENCE = ("koniq10k", "spaq", "live_challenge", "pyiqa_nr")
WITH_OFFICIAL_SPLIT = ("koniq10k", "pyiqa_fr", "pyiqa_nr")


def _no_reference(grid: Grid, name: str) -> bool:
    return bool(grid.data) and name in grid.data.sets and grid.data.sets[name].layout in WITHOUT_REFERENCE  # type: ignore[union-attr]


def _check_folders(path: yaml_lines.Path, entry: IqaFolder | ImageFolders) -> Iterator[Fault]:
    assert isinstance(entry, ImageFolders), "the caller looked"
    if len(entry.low) not in (0, len(entry.folder)):
        yield (*path, "low"), f"found {len(entry.low)}; allowed: one for each of {len(entry.folder)} folders, or none"
    everything = (*entry.folder, *entry.low)
    for folder in dict.fromkeys(one for i, one in enumerate(everything) if one in everything[:i]):
        yield path, f"found {folder!r} a second time; allowed: each folder once"


def _check_split(path: yaml_lines.Path, layout: str, iqa_set: OfficialSet) -> Iterator[Fault]:
    if iqa_set.split == "official":
        if layout not in WITH_OFFICIAL_SPLIT:
            yield path, f"found 'official', but {layout} has no official split; allowed: {{seed, train, validation}}"
    elif iqa_set.split.train + iqa_set.split.validation > 1:
        total = iqa_set.split.train + iqa_set.split.validation
        yield path, f"found fractions that sum to {total:g}; allowed: at most 1 (the rest is the test part)"
    elif iqa_set.train in iqa_set.benchmarks and iqa_set.split.train + iqa_set.split.validation == 1:
        why = f"found fractions that sum to 1, but {iqa_set.train} is among the benchmarks with its test part"
        yield path, f"{why}; allowed: fractions that leave a rest"


def _named_sets(grid: Grid, images: list[str], quality: list[str]) -> Iterator[tuple[yaml_lines.Path, str, list[str]]]:
    """(path, data set, what is allowed there) of each place that names one."""
    section = grid.super_resolution
    if section.train is not None:
        yield ("super_resolution", "train"), section.train, images
    for i, name in enumerate(section.tests if not isinstance(section.tests, dict) else ()):
        yield ("super_resolution", "tests", i), name, images
    for task in grid.iqa_sets.tasks():
        iqa_set = grid.iqa_sets.of(task)
        if isinstance(iqa_set, OfficialSet):
            yield ("iqa_sets", task, "train"), iqa_set.train, quality
            yield from ((("iqa_sets", task, "benchmarks", i), one, quality) for i, one in enumerate(iqa_set.benchmarks))


def _check_photographs(grid: Grid, splits: PhotographSplit) -> Iterator[Fault]:
    split_of: dict[str, str] = {}  # content -> split
    for split in ("train", "validation", "test"):
        for i, name in enumerate(getattr(splits, split)):
            if name not in spec.PHOTOGRAPHS:
                yield ("photographs", split, i), found(name, spec.PHOTOGRAPHS)
            elif split_of.setdefault(spec.PHOTOGRAPHS[name].content, split) != split:
                other = split_of[spec.PHOTOGRAPHS[name].content]
                yield ("photographs", split, i), f"found {name!r}, whose content is in {other} too; allowed: one split"
    for path, names in _photograph_tests(grid):
        for i, name in enumerate(names):
            if name not in splits.test:
                yield (*path, i), found(name, splits.test, "the test photographs")


def _photograph_tests(grid: Grid) -> Iterator[tuple[yaml_lines.Path, tuple[str, ...]]]:
    tests = grid.super_resolution.tests
    for name, names in tests.items() if isinstance(tests, dict) else ():
        yield ("super_resolution", "tests", name), names
    for task in grid.iqa_sets.tasks():
        iqa_set = grid.iqa_sets.of(task)
        for name, benchmark in iqa_set.benchmarks.items() if isinstance(iqa_set, LadderSet) else ():
            yield ("iqa_sets", task, "benchmarks", name, "photographs"), benchmark.photographs


def _check_crops(grid: Grid) -> Iterator[Fault]:
    """Crops fit into the photographs that they are cut from, and backbones can take them."""
    for path, crop, scale, names in _crops(grid):
        known = [name for name in names if name in spec.PHOTOGRAPHS]
        smallest = min(known, key=lambda name: spec.PHOTOGRAPHS[name].side, default="")
        most = spec.PHOTOGRAPHS[smallest].side // scale if smallest else crop
        least = -(-SMALLEST_CROP // scale)
        if not least <= crop <= most:
            upper = f"to {most} (the side of {smallest})" if smallest else "or more"
            yield path, f"found {crop}; allowed: {least} (what backbones need) {upper}"


def _crops(grid: Grid) -> Iterator[tuple[yaml_lines.Path, int, int, tuple[str, ...]]]:
    """(path, crop, scale, photographs it is cut from; none for the images of a data set)."""
    sr = grid.super_resolution
    split = grid.photographs or PhotographSplit.model_construct(train=(), validation=(), test=())
    everything = split.train + split.validation + split.test
    if grid.pretext is not None:
        yield ("pretext", "crop"), grid.pretext.crop, 1, split.train
    if isinstance(sr.tests, dict):
        yield ("super_resolution", "crop"), sr.crop, 1, split.validation + split.test
    patches = split.train if sr.train is None else ()
    if isinstance(sr.warmup, Warmup):
        yield ("super_resolution", "warmup", "patch"), sr.warmup.patch, sr.scale, patches
    yield ("super_resolution", "training", "patch"), sr.training.patch, sr.scale, patches
    for task in grid.iqa_sets.tasks():
        iqa_set = grid.iqa_sets.of(task)
        yield ("iqa_sets", task, "crop"), iqa_set.crop, 1, everything if isinstance(iqa_set, LadderSet) else ()

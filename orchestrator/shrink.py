"""A grid as its rehearsal runs it: the same architectures, losses and graph, a few steps on generated stand-ins."""

from pathlib import Path
from typing import Any

from orchestrator import spec
from orchestrator.sections import Grid, IqaFolder, LadderSet, OfficialGenerator, OfficialSet, Warmup

STEPS, STEPS_ON_GPU = 4, 16
PATCH = 24
"""Low-resolution pixels on a CPU: three windows of SwinIR a side; times a scale of 4 what every backbone takes."""
CROP = 96
SIDE = 112
"""Of stand-in images on a CPU, pixels."""
STAND_IN_JUDGES = ("piqe",)
"""Take the place of score judges whose weights are not there: without any there would be no optimization score."""


def shrink(grid: Grid, folder: Path, judges: set[str], on_gpu: bool) -> Grid:
    """The grid with its first seed, few steps and stand-ins below `folder`; with only those of its judges that are in
    `judges`. Sizes of batches and crops stay on a GPU, where seconds are to be measured; on a CPU they are small."""
    steps = STEPS_ON_GPU if on_gpu else STEPS
    runtime = grid.runtime.model_copy(
        update={
            "storage": str(folder / "store"),
            "tracking": str(folder / "mlflow.db"),
            "cache": str(folder / "cache"),
            "max_failures": 0,
            "checkpoint_seconds": 3600.0,
            "cpus": 1,
            "gpus": 1.0 if on_gpu else 0.0,  # one trial at a time: memory and seconds are its own
        }
    )
    return grid.model_copy(
        update={
            "name": f"{grid.name}-rehearsal",
            "seeds": grid.seeds[:1],
            "exclude": tuple(one for one in grid.exclude if one.seed is None or grid.seeds[0] in one.seed),
            # What names seeds goes: one seed has all shapes.
            "when": tuple(one for one in grid.when if one.seed is None and one.only.seed is None),
            "zip": tuple(one for one in grid.zip if one.seed is None),
            "data": _data(grid, folder / "data"),
            "iqa_sets": _iqa_sets(grid, on_gpu),
            "pretext": _replaced(grid.pretext, steps=steps),
            "fr_iqa": _replaced(grid.fr_iqa, iterations=steps),
            "super_resolution": _super_resolution(grid, steps, on_gpu),
            "iqa_transfer": _iqa_transfer(grid, steps, on_gpu),
            "judges": _judges(grid, judges),
            "runtime": runtime,
        }
    )


def side(grid: Grid, judges: set[str], on_gpu: bool) -> int:
    """Side of the stand-in images, pixels: what the largest crop and the `judges` that can be had need."""
    needed = max(spec.SMALLEST_IMAGE.get(judge, 0) for judge in judges) if judges else 0
    if not on_gpu:
        return max(SIDE, needed)
    section = grid.super_resolution
    warmup = section.warmup.patch if isinstance(section.warmup, Warmup) else 0
    crops = [grid.iqa_sets.of(task) for task in grid.iqa_sets.tasks()]
    return max(needed, section.scale * max(warmup, section.training.patch), *(one.crop for one in crops)) + 32


def _replaced(spec: Any, **changes: Any) -> Any:
    """A frozen spec class with other values; None stays None."""
    return None if spec is None else type(spec)(**{**vars_of(spec), **changes})


def vars_of(spec: Any) -> dict[str, Any]:
    """Fields of a spec class, without what is remembered on it."""
    return {name: getattr(spec, name) for name in spec.__dataclass_fields__}


def _data(grid: Grid, root: Path) -> Any:
    if grid.data is None:
        return None
    sets = {
        name: entry.model_copy(update={"folder": name})
        if isinstance(entry, IqaFolder)
        else entry.model_copy(
            update={
                "folder": tuple(f"{name}/{i}" for i in range(len(entry.folder))),
                "low": tuple(low_folder(f"{name}/{i}", grid.super_resolution.scale) for i in range(len(entry.low))),
            }
        )
        for name, entry in grid.data.sets.items()
    }
    return grid.data.model_copy(update={"root": str(root), "sets": sets})


def low_folder(folder: str, scale: int) -> str:
    """Where stand-ins have the low-resolution side of a folder of images: as DIV2K names it."""
    return f"{folder}_LR_bicubic/X{scale}"


def _iqa_sets(grid: Grid, on_gpu: bool) -> Any:
    changed: dict[str, Any] = {}
    for task in grid.iqa_sets.tasks():
        section = grid.iqa_sets.of(task)
        if isinstance(section, OfficialSet) and not on_gpu:
            changed[task] = section.model_copy(update={"crop": min(section.crop, CROP)})
        elif isinstance(section, LadderSet):
            fewer = {"levels": 2, "crops": 1, "evaluation_crops": 1}
            changed[task] = section.model_copy(update=fewer)
    return grid.iqa_sets.model_copy(update=changed)


def _super_resolution(grid: Grid, steps: int, on_gpu: bool) -> Any:
    section = grid.super_resolution
    small = {} if on_gpu else {"batch": 1, "patch": min(section.training.patch, PATCH)}
    short = {"steps": steps, **small}
    warmup = section.warmup
    return section.model_copy(
        update={
            "warmup": warmup
            if isinstance(warmup, OfficialGenerator)
            else warmup.model_copy(update={**short, "patch": min(warmup.patch, PATCH)} if small else short),
            "training": section.training.model_copy(update=short),
            "hold_out": 1 if section.train else 0,
            "discriminator_warmup": 1,
            "divergence": 1e6,  # random weights in the place of released ones are no outcome
            "crop": section.scale * PATCH,
        }
    )


def _iqa_transfer(grid: Grid, steps: int, on_gpu: bool) -> Any:
    if grid.iqa_transfer is None:
        return None
    changed = {}
    for task in ("fr", "nr"):
        if (section := getattr(grid.iqa_transfer, task)) is not None:
            small = {} if on_gpu else {"batch": 2}
            changed[task] = section.model_copy(update={"steps": steps, "evaluate_every": steps, **small})
    return grid.iqa_transfer.model_copy(update=changed)


def _judges(grid: Grid, judges: set[str]) -> Any:
    score = {family: tuple(judge for judge in names if judge in judges) for family, names in grid.judges.score.items()}
    left = {family: names for family, names in score.items() if names}
    beside = tuple(judge for judge in grid.judges.beside if judge in judges)
    stand_ins = {"stand-in": tuple(judge for judge in STAND_IN_JUDGES if judge not in beside)}
    return grid.judges.model_copy(update={"score": left or stand_ins, "beside": beside})

"""The data of a grid: embedded photographs, and official data sets on disk."""

import os
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import Discriminator, Field, Tag

from orchestrator import spec
from orchestrator.sections.common import Fraction, Name, Names, Positive, Section, Seed, listed

Folder = Annotated[str, Field(min_length=1)]
Folders = Annotated[tuple[Folder, ...], listed, Field(min_length=1)]


class IqaFolder(Section):
    """An IQA data set in its official layout; pyiqa's meta CSVs are layouts too."""

    layout: spec.IqaLayout
    folder: Folder


class ImageFolders(Section):
    """High-resolution images for super-resolution, and their official low-resolution side where there is one."""

    layout: Literal["images"]
    folder: Folders
    low: Annotated[tuple[Folder, ...], listed] = ()


DataSet = Annotated[
    Annotated[IqaFolder, Tag("<iqa>")] | Annotated[ImageFolders, Tag("<images>")],
    Discriminator(lambda value: "<images>" if _get(value, "layout") == "images" else "<iqa>"),
]


def _get(value: Any, name: str) -> Any:
    return value.get(name) if isinstance(value, dict) else getattr(value, name, None)


class DataSection(Section):
    """Official data sets by name, in folders below `root`; $NAME in it is read from the environment."""

    root: Folder
    sets: Annotated[dict[Name, DataSet], Field(min_length=1)]

    def paths(self, name: str) -> tuple[tuple[Path, ...], tuple[Path, ...]]:
        """(folders, low-resolution folders) of a data set, absolute."""
        entry = self.sets[name]
        folders = entry.folder if isinstance(entry, ImageFolders) else (entry.folder,)
        low = entry.low if isinstance(entry, ImageFolders) else ()
        root = Path(os.path.expandvars(self.root)).expanduser()
        return tuple((root / folder).absolute() for folder in folders), tuple((root / one).absolute() for one in low)


class PhotographSplit(Section):
    """Photographs by content, apart before anything is derived from them."""

    train: Names
    validation: Names
    test: Names


class LadderBenchmark(Section):
    """A benchmark of severity labels on test photographs; distortions default to those of the training set."""

    photographs: Names
    distortions: Annotated[tuple[spec.Distortion, ...], Field(min_length=1)] | None = None


class LadderSet(Section):
    """An IQA set generated from photographs. Its labels are severity levels, not human opinion."""

    distortions: Annotated[tuple[spec.Distortion, ...], Field(min_length=1)]
    levels: Annotated[int, Field(ge=2, le=5)]
    crop: Positive
    crops: Positive
    """Crops per training photograph."""
    evaluation_crops: Positive
    """Crops per photograph of the validation set and the benchmarks."""
    seed: Seed
    benchmarks: Annotated[dict[Name, LadderBenchmark], Field(min_length=1)]


class SplitByReference(Section):
    """Fractions of the references that train and validate; the rest is the test part."""

    seed: Seed
    train: Fraction
    validation: Fraction


class OfficialSet(Section):
    """An IQA data set to train on and those to benchmark on, by the names of data.sets."""

    train: Name
    split: Annotated[
        Annotated[Literal["official"], Tag("<name>")] | Annotated[SplitByReference, Tag("<fractions>")],
        Discriminator(lambda value: "<fractions>" if isinstance(value, dict | SplitByReference) else "<name>"),
    ]
    crop: Positive
    """Side of the random crops of trainings, pixels; metrics are fitted and all is evaluated on whole images."""
    benchmarks: Names
    """The training set's own name stands for its test part."""


IqaSet = Annotated[
    Annotated[LadderSet, Tag("<ladder>")] | Annotated[OfficialSet, Tag("<official>")],
    Discriminator(lambda value: "<official>" if _get(value, "train") or _get(value, "split") else "<ladder>"),
]


class IqaSets(Section):
    """The set that metrics and FR models are trained on, and the one for NR models, each with its benchmarks."""

    fr: IqaSet
    nr: IqaSet | None = None

    def of(self, task: str) -> "LadderSet | OfficialSet":
        """The set of a task."""
        found = self.fr if task == "fr" else self.nr
        assert found is not None, "grid.py checks that each task has its set"
        return found

    def tasks(self) -> tuple[spec.Task, ...]:
        """The tasks that have a set."""
        return ("fr", "nr") if self.nr is not None else ("fr",)

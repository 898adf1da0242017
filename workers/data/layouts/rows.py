"""A labelled image of a data set, and where its file lies."""

import json
import os
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any, Literal, TypeVar

OfficialPart = Literal["train", "validation", "test"]
Item = TypeVar("Item")
Made = TypeVar("Made")


STAND_IN = "STAND_IN.json"
"""Marks a generated copy of a layout (stand_ins.py), and tells its counts."""


class DataSetError(ValueError):
    """A data set that is not in its official form; `faults` has one sentence for each thing that is wrong."""

    def __init__(self, faults: Iterable[str]) -> None:
        self.faults = tuple(faults)
        super().__init__("\n".join(self.faults))


@dataclass(frozen=True)
class Row:
    """One labelled image. Paths are relative to the set's folder, with forward slashes; a file that is not there keeps
    the path that it should have."""

    image: str
    reference: str | None
    """The undistorted image; None in a set without references."""
    label: float
    """As the label file gives it; `quality` of this package orients and scales it."""
    content: str
    """The photograph that it shows: the reference's name, or its own, in lower case without the suffix."""
    split: OfficialPart | None
    """The set's own split; None where it has none."""


def content_of(name: str) -> str:
    """The photograph that a file name stands for: without folder and last suffix, in lower case."""
    return PurePosixPath(name).stem.casefold()


def each(items: Iterable[Item], make: Callable[[Item], Made]) -> list[Made]:
    """`make` of every item; the faults of all items are raised together as one DataSetError."""
    made: list[Made] = []
    faults: list[str] = []
    for item in items:
        try:
            made.append(make(item))
        except DataSetError as error:
            faults += error.faults
    if faults:
        raise DataSetError(faults)
    return made


def stand_in_counts(folder: Path) -> dict[str, Any]:
    """What a generated copy holds: `references`, `images`, and for LIVE `parts`; empty for the data set itself."""
    marker = folder / STAND_IN
    return dict(json.loads(marker.read_text())) if marker.exists() else {}


class Listing:
    """The files of a folder and of those below it, found by name whatever the case: labels and files of one official
    archive do not agree in it (TID2013 has I01.BMP and i25.bmp)."""

    def __init__(self, folder: Path) -> None:
        self._paths = sorted(relative_files(folder))
        self._caseless = {path.casefold(): path for path in self._paths}
        self._exact = set(self._paths)
        self._by_name: dict[str, list[str]] = {}
        for path in self._paths:
            self._by_name.setdefault(path.rpartition("/")[2].casefold(), []).append(path)

    def find(self, *candidates: str) -> str:
        """The first candidate that is a file, in its own case before in any; the first candidate if none is."""
        exact = (path for path in candidates if path in self._exact)
        caseless = (self._caseless[path.casefold()] for path in candidates if path.casefold() in self._caseless)
        return next(exact, None) or next(caseless, candidates[0])

    def ending(self, name: str) -> Sequence[str]:
        """Every file whose path ends with `name`, in any case: a file name, or one with folders before it."""
        named = self._by_name.get(name.rpartition("/")[2].casefold(), ())
        return [path for path in named if f"/{path}".casefold().endswith(f"/{name}".casefold())]


def relative_files(folder: Path) -> Iterable[str]:
    """Paths of all files below `folder`, relative to it, with forward slashes; linked folders are followed."""
    for where, _, names in os.walk(folder, followlinks=True):
        below = Path(where).relative_to(folder)
        yield from ((below / name).as_posix() for name in names)

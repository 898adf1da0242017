"""A labelled image of a data set, and where its file lies."""

import json
import os
import stat
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any, Literal, TypeVar

OfficialPart = Literal["train", "validation", "test"]
Item = TypeVar("Item")
Made = TypeVar("Made")
Identity = tuple[int, int]
"""Device and number of a folder, whatever it is called."""


STAND_IN = "STAND_IN.json"
"""Marks a generated copy of a layout (stand_ins.py), and tells its counts."""
MOST_MADE = 10**6
"""No copy has so many images."""


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


def read_file(path: Path) -> bytes:
    """A label file. Raises DataSetError unless it is a regular file that can be read: a pipe would be waited for."""
    try:
        if not stat.S_ISREG(path.stat().st_mode):
            raise DataSetError([f"{path}: found a folder, a pipe or a device; expected a regular file"])
        return path.read_bytes()
    except FileNotFoundError:
        expected = "expected the data set as its official archive unpacks"
        raise DataSetError([f"{path}: no such label file; {expected}"]) from None
    except OSError as error:
        raise DataSetError([f"{path}: unreadable ({error.strerror}); expected a readable file"]) from None


def read_text(path: Path) -> str:
    """A label file as text, with or without a byte order mark. Raises DataSetError where it is not UTF-8."""
    try:
        return read_file(path).decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise DataSetError([f"{path}: found bytes that are not text ({error}); expected UTF-8"]) from None


def read_json(path: Path, make: Callable[[Any], Made], expected: str) -> Made:
    """`make` of a JSON file. Raises DataSetError, which says what is `expected`, where it is no JSON, or `make` raises
    an error of what it finds."""
    text = read_text(path)
    try:
        return make(json.loads(text))
    except (ValueError, KeyError, TypeError, OverflowError, RecursionError):
        raise DataSetError([f"{path}: found {text.strip()[:200]}; expected {expected}"]) from None


def stand_in_counts(folder: Path) -> dict[str, Any]:
    """What a generated copy holds: `references`, `images`, and for LIVE `parts`; empty for the data set itself. Raises
    DataSetError for a damaged file."""
    marker = folder / STAND_IN
    return read_json(marker, _counts, '{"references": COUNT, "images": COUNT}') if os.path.exists(marker) else {}


def _counts(found: Any) -> dict[str, Any]:
    if not all(count in range(MOST_MADE) for count in (found["references"], found["images"], *_parts(found))):
        raise ValueError("no counts")
    return dict(found)


def _parts(found: dict[str, Any]) -> Iterable[Any]:
    return dict(found.get("parts", {})).values()


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


def relative_files(folder: Path) -> Iterator[str]:
    """Paths of all files below `folder`, relative to it, with forward slashes. Linked folders are followed, each once
    and none back to a folder that the link lies in: circles of links would double the paths at every turn."""
    linked: set[Identity] = set()
    left: deque[tuple[str, tuple[Identity, ...]]] = deque([("", (_identity(folder),))])
    while left:
        below, above = left.popleft()
        for entry in _entries(folder / below):
            name = f"{below}{entry.name}"
            if not _is_folder(entry):
                yield name
                continue
            identity = _identity(Path(entry.path))
            if identity in above or (entry.is_symlink() and identity in linked):
                continue
            if entry.is_symlink():
                linked.add(identity)
            left.append((f"{name}/", (*above, identity)))


def _entries(folder: Path) -> list[os.DirEntry[str]]:
    """By name, so that of two links to one folder always the same is followed; none where there is no right to look."""
    try:
        with os.scandir(folder) as entries:
            return sorted(entries, key=lambda entry: entry.name)
    except OSError:
        return []


def _is_folder(entry: os.DirEntry[str]) -> bool:
    try:
        return entry.is_dir()
    except OSError:  # a link to itself
        return False


def _identity(folder: Path) -> Identity:
    status = folder.stat()
    return status.st_dev, status.st_ino

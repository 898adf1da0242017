"""Where the files lie that a spec names by their content: weights and data sets of this machine or its shared storage.

Specs hold digests, never paths. Preflight writes `sources.json` beside the store, `python -m workers --sources` reads
it, and a trial finds its files in it.
"""

import functools
import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any


class MissingSource(FileNotFoundError):
    """A content that no file of this machine is known to have."""


PREFETCH = "run: python -m orchestrator prefetch GRID"


def sha256(file: Path) -> str:
    """SHA-256 of a file, 64 hex digits."""
    with open(file, "rb") as opened:
        return hashlib.file_digest(opened, "sha256").hexdigest()


@functools.cache
def check(file: Path, content: str) -> None:
    """Reads a file once a process. Raises MissingSource unless it is there with that content."""
    try:
        found = sha256(file)
    except OSError as error:
        raise MissingSource(
            f"{file}: {error.strerror}; on every node it must be what preflight saw; {PREFETCH}"
        ) from None
    if found != content:
        raise MissingSource(f"{file}: found SHA-256 {found}; the spec means {content}; {PREFETCH}")


@dataclass(frozen=True)
class DataFolders:
    """Where one data set lies."""

    layout: str
    """One of `workers.data.layouts.LAYOUTS`, or `images`."""
    folders: tuple[Path, ...]
    """One folder for an IQA set; any number for `images`."""
    low: tuple[Path, ...] = ()
    """For `images`: the official low-resolution side of each of `folders`; empty: antialiased bicubic is computed."""


@dataclass(frozen=True)
class Sources:
    """Files by content (SHA-256)."""

    weights: Mapping[str, Path] = field(default_factory=dict)
    data: Mapping[str, DataFolders] = field(default_factory=dict)
    judges: Mapping[str, tuple[tuple[Path, str], ...]] = field(default_factory=dict)
    """(file, SHA-256) of what a judge loads, by the content of all."""
    cache: Path = Path("results/cache")
    """Node-local folder for decoded pixels and tables that can be computed again."""

    def weights_file(self, content: str) -> Path:
        """The weights file with that content. Raises MissingSource for one that is not known, not there or changed."""
        if content not in self.weights:
            raise MissingSource(f"weights {content}: no file with that content is known; {PREFETCH}")
        check(self.weights[content], content)
        return self.weights[content]

    def check_judge(self, judge: str, content: str) -> None:
        """Whether this node has the very files of a judge that the spec means. Raises MissingSource."""
        if content and content not in self.judges:
            raise MissingSource(f"judge {judge} ({content}): no files with that content are known; {PREFETCH}")
        for file, digest in self.judges.get(content, ()):
            check(file, digest)

    def data_set(self, name: str, content: str) -> DataFolders:
        """The folders of the data set with that content. Raises MissingSource."""
        if content not in self.data:
            raise MissingSource(
                f"data set {name} ({content}): no folder with that content is known; "
                "run: python -m orchestrator preflight GRID"
            )
        return self.data[content]


def read(file: Path, cache: Path | None = None) -> Sources:
    """Reads `sources.json`; an absent file knows nothing. `cache` overrides the file's own."""
    if not file.exists():
        return Sources(cache=cache or Sources.cache)
    found: dict[str, Any] = json.loads(file.read_text())
    return Sources(
        weights={content: Path(path) for content, path in found.get("weights", {}).items()},
        data={
            content: DataFolders(
                entry["layout"], tuple(map(Path, entry["folders"])), tuple(map(Path, entry.get("low", ())))
            )
            for content, entry in found.get("data", {}).items()
        },
        judges={
            content: tuple((Path(path), digest) for path, digest in files)
            for content, files in found.get("judges", {}).items()
        },
        cache=cache or Sources.cache,
    )

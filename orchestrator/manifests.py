"""What preflight and prefetch found out about files: contents (SHA-256) of data sets, weights and judges.

`manifests.json` lies in the store, so that planning stays pure: it reads contents here and never a data set. Whatever
is not in it has the content `unresolved ...`, under which nothing is ever run.
"""

import fcntl
import hashlib
import importlib.metadata
import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from orchestrator import spec
from orchestrator.disk import write_atomic
from orchestrator.sections import BackboneLevel, Grid, OfficialGenerator, SuperResolutionSection, WeightsFile
from orchestrator.store import Store

FILE = "manifests.json"
SOURCES = "sources.json"


@dataclass(frozen=True)
class Request:
    """Something outside the repository that a grid names."""

    kind: str
    """data, timm, open_clip, judge or file"""
    name: str
    """Data set, model, judge, or what the file is for."""
    tag: str = ""
    layout: str = ""
    folders: tuple[str, ...] = ()
    low: tuple[str, ...] = ()
    scale: int = 0
    settings: str = ""
    """Of the file of a generator: its sizes and scale as JSON."""

    @property
    def key(self) -> str:
        """Under which its manifest is kept: what was asked for, without the grid's name for it."""
        if self.kind == "data":
            return json.dumps(["data", self.layout, self.folders, self.low, self.scale if self.low else 0])
        if self.kind == "file":
            return json.dumps(["file", self.tag, self.name, self.settings])  # a file is checked as what it is meant for
        version = importlib.metadata.version("pyiqa") if self.kind == "judge" else ""
        return json.dumps([self.kind, self.name, self.tag, version])

    @property
    def words(self) -> str:
        """How a person is told of it."""
        where = self.tag if self.kind == "file" else ", ".join(self.folders) or self.tag
        return f"{self.kind} {self.name}" + (f" ({where})" if where else "")


def weights_request(level: BackboneLevel) -> Request:
    """The released weights of a backbone level."""
    if isinstance(level.weights, WeightsFile):
        return Request("file", level.model, str(Path(level.weights.file).absolute()))
    library, _, model = level.model.partition("/")
    if library == "timm":
        name, _, tag = model.partition(".")
        return Request(library, name, tag)
    return Request(library, model, level.weights)


def generator_request(section: SuperResolutionSection) -> Request:
    """A released generator in the place of the warm-up."""
    assert isinstance(section.warmup, OfficialGenerator), "asked for only where there is one"
    sizes = {name: getattr(section.generator, name) for name in spec.field_names(spec.SwinIR)}
    settings = json.dumps({**sizes, "scale": section.scale}, sort_keys=True)
    return Request("file", "generator", str(Path(section.warmup.file).absolute()), settings=settings)


def data_request(grid: Grid, name: str) -> Request:
    """An official data set of the grid."""
    assert grid.data is not None, "grid.py checks that named data sets exist"
    folders, low = grid.data.paths(name)
    return Request(
        "data",
        name,
        layout=grid.data.sets[name].layout,
        folders=tuple(map(str, folders)),
        low=tuple(map(str, low)),
        scale=grid.super_resolution.scale,
    )


def judge_request(judge: str) -> Request:
    """The files that a judge loads."""
    return Request("judge", judge)


@dataclass
class Manifests:
    """Manifests by the key of their request."""

    found: dict[str, dict[str, Any]] = field(default_factory=dict)
    dropped: set[str] = field(default_factory=set)

    @classmethod
    def read(cls, root: Path) -> "Manifests":
        """From the store; empty where preflight never ran, and where the file is damaged: the next one looks again."""
        try:
            return cls(parse((root / FILE).read_bytes()))
        except (FileNotFoundError, ValueError):
            return cls()

    def write(self, root: Path) -> None:
        """Into the store, with `sources.json`, which tells trials where contents lie. What another preflight wrote
        meanwhile stays."""
        root.mkdir(parents=True, exist_ok=True)
        with open(root / f"{FILE}.lock", "a") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            own = self.dropped | set(self.found)
            others = {key: one for key, one in Manifests.read(root).found.items() if key not in own}
            self.found = others | self.found
            sealed = {"sha256": _digest(self.found), "found": self.found}
            write_atomic(root / FILE, json.dumps(sealed, indent=1) + "\n")
            write_atomic(root / SOURCES, self._sources_text())

    @classmethod
    def of(cls, store: Store) -> "Manifests":
        """As all nodes have them."""
        store.bring(FILE)
        store.bring(SOURCES)
        return cls.read(store.root)

    def keep(self, store: Store) -> None:
        """Writes them for all nodes."""
        self.write(store.root)
        store.share(FILE)
        store.share(SOURCES)

    def sources_are_in(self, root: Path) -> bool:
        """Whether `sources.json` is what was written."""
        try:
            return (root / SOURCES).read_text(errors="replace") == self._sources_text()
        except FileNotFoundError:
            return False

    def drop(self, request: Request) -> None:
        """Forgets a manifest whose files are not in order any more."""
        self.found.pop(request.key, None)
        self.dropped.add(request.key)

    def last(self, wanted: Iterable[Request]) -> None:
        """Moves what is wanted now behind the rest: of two places with one content `sources.json` names the later, and
        only that has just been looked at."""
        for request in wanted:
            if request.key in self.found:
                self.found[request.key] = self.found.pop(request.key)

    def content(self, request: Request) -> str:
        """SHA-256 of what was asked for, `unresolved ...` where no manifest knows it, empty for nothing to load."""
        manifest = self.found.get(request.key)
        return str(manifest["content"]) if manifest else f"{spec.UNRESOLVED} {request.words}"

    def _sources_text(self) -> str:
        return json.dumps(self._sources(), indent=1) + "\n"

    def _sources(self) -> Mapping[str, Any]:
        keys = {key: json.loads(key) for key in self.found}
        weights = {
            self.found[key]["content"]: self.found[key]["files"][0][0]
            for key, parts in keys.items()
            if parts[0] in ("timm", "open_clip", "file")
        }
        data = {
            self.found[key]["content"]: {"layout": parts[1], "folders": parts[2], "low": parts[3]}
            for key, parts in keys.items()
            if parts[0] == "data"
        }
        judges = {
            self.found[key]["content"]: self.found[key]["files"] for key, parts in keys.items() if parts[0] == "judge"
        }
        return {"weights": weights, "data": data, "judges": judges}


def parse(content: bytes) -> dict[str, dict[str, Any]]:
    """Manifests by the key of their request, from the bytes of a file. ValueError where they are not what was written;
    older versions wrote no digest."""
    try:
        file = json.loads(content)
    except RecursionError:
        raise ValueError("nested too deeply") from None
    if not isinstance(file, dict) or not isinstance(found := file.get("found", file), dict):
        raise ValueError("no manifests")
    if "sha256" in file:
        if file["sha256"] != _digest(found):
            raise ValueError("another digest")
    elif not all(_is_manifest(key, one) for key, one in found.items()):
        raise ValueError("no manifests")
    return found


def _is_manifest(key: str, found: Any) -> bool:
    """Whether an entry without a digest has what is read of one before its files are looked at."""
    try:
        files = [] if json.loads(key)[0] == "data" else [(path, digest) for path, digest in found["files"]]
        return isinstance(found["content"], str) and all(isinstance(path, str) for path, _ in files)
    except (LookupError, TypeError, ValueError, RecursionError):
        return False


def _digest(found: Mapping[str, Any]) -> str:
    return hashlib.sha256(json.dumps(found).encode()).hexdigest()


def requests(grid: Grid) -> list[Request]:
    """Everything outside the repository that the grid's trials need, each once."""
    return list(dict.fromkeys([*_data_requests(grid), *_weights_requests(grid), *map(judge_request, _judges(grid))]))


def _data_requests(grid: Grid) -> Iterable[Request]:
    return [data_request(grid, name) for name in (grid.data.sets if grid.data else ())]


def _weights_requests(grid: Grid) -> Iterable[Request]:
    used = {*grid.matrix.loss, *grid.matrix.twins, grid.super_resolution.reference_loss, *grid.iqa_backbones()}
    used |= {level.backbone for level in grid.discriminators()} - {""}
    starts = {*grid.matrix.initialization, *(level.start for level in grid.discriminators())}
    levels = [level for name, level in grid.backbones.items() if name in used]
    levels += [level.started(start) for level in levels for start in level.starts if start in starts]
    found = [weights_request(level) for level in levels if level.has_released]
    section = grid.super_resolution
    return [*found, generator_request(section)] if isinstance(section.warmup, OfficialGenerator) else found


def _judges(grid: Grid) -> Iterable[str]:
    return grid.judges.families()

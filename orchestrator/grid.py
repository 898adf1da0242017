"""Reads and checks a grid file: one scientific question as YAML.

Every fault is reported as `file:line: field: what was found; what is allowed; the nearest name`, before anything runs.
"""

import json
import re
from collections.abc import Iterator, Sequence
from pathlib import Path

from pydantic import ValidationError

from orchestrator import composing, grid_checks, yaml_lines
from orchestrator.grid_claim_checks import check_claims
from orchestrator.grid_errors import Fault, dotted, echoes, explain, found
from orchestrator.sections import Grid

RESULTS = Path("results")
LAST_SWEEP = RESULTS / "last_sweep"
"""Holds the path of the grid that was swept last."""


class GridError(ValueError):
    """A grid that cannot be used. `str()` holds one line for each fault."""


def last_sweep(file: Path = LAST_SWEEP) -> Path:
    """The grid that was swept last, which `file` names. Raises GridError where nothing was, or nobody can tell."""
    try:
        name = file.read_text(encoding="utf-8", errors="surrogateescape").strip()
    except FileNotFoundError:
        message = f"{file}: not there, so no sweep ran here; name a grid, e.g. grids/demo.yaml"
        raise GridError(message) from None
    if not name or not name.isprintable():
        raise GridError(f"{file}: damaged, it names no file; name a grid, e.g. grids/demo.yaml")
    return Path(name)


def load(file: str | Path) -> Grid:
    """Reads and checks a grid file. Raises GridError with one line for each fault."""
    file = Path(file)
    document = _document(file)
    grid = _grid(document)
    if faults := list(_check_others(document, grid)):
        raise GridError(_lines(faults, document))
    return grid


def override(file: Path, settings: Sequence[str], runs: bool = True) -> Path:
    """The grid file that stands for `file` with settings of a command line, each `section.key=VALUE`; `file` itself
    without any. One that `runs` is kept, so that what ran stands in a file, which every verb takes; a look at one
    leaves what ran as it is. Raises GridError for settings that cannot be read or give no valid grid."""
    try:
        made = composing.overridden(file, settings, RESULTS)
    except yaml_lines.YamlProblem as error:
        raise GridError(f"{error.file}:{error.line}: {error}" if error.file else str(error)) from None
    except OSError:
        _document(file)  # says so, with the grids that are there
        raise
    if made == file:
        return file
    try:
        load(made)
    except GridError as error:
        made.unlink()
        raise GridError(re.sub(rf"(?m)^{re.escape(str(made))}:\d+: ", "-o: ", str(error))) from None
    return made.replace(made.with_name(composing.RAN)) if runs else made


def beside(file: Path, name: str) -> Grid:
    """The grid that claims of the grid in `file` call `name`. Claims of its own are not followed to further grids, so
    two grids may name each other. Raises GridError."""
    return _grid(_document(_path_beside(_document(file), name)))


def _path_beside(document: yaml_lines.Document, name: str) -> Path:
    """Beside the file itself, else beside one that it includes."""
    paths = [source.parent / name for source in reversed(document.sources)]
    return next((path for path in paths if path.is_file()), paths[0])


def _document(file: Path) -> yaml_lines.Document:
    try:
        return composing.read(file)
    except yaml_lines.YamlProblem as error:
        raise GridError(f"{error.file or file}:{error.line}: {error}") from None
    except OSError as error:
        folder = file if isinstance(error, IsADirectoryError) else file.parent
        nearby = ", ".join(sorted(str(path) for path in folder.glob("*.yaml"))[:12]) or "none"
        raise GridError(f"{file}: {error.strerror}; grids in that folder: {nearby}") from None


def _grid(document: yaml_lines.Document) -> Grid:
    try:
        grid = Grid.model_validate_json(json.dumps(document.value))
        faults = list(dict.fromkeys(grid_checks.check(grid)))
    except ValidationError as error:
        faults = [explain(details) for details in error.errors() if not echoes(details)]
    if faults:
        raise GridError(_lines(faults, document))
    return grid


def _lines(faults: list[Fault], document: yaml_lines.Document) -> str:
    return "\n".join(f"{document.place(path)}: {dotted(path)}: {text}" for path, text in faults)


def _check_others(document: yaml_lines.Document, grid: Grid) -> Iterator[Fault]:
    """Faults of the claims that rest on other grids."""
    for claim_name, claim in grid.claims.items():
        path, name = ("claims", claim_name), claim.grid
        if name is None:
            continue
        other = _path_beside(document, name)
        if not other.is_file():
            near = {grid for source in document.sources for grid in source.parent.glob("*.yaml")} - {*document.sources}
            yield (*path, "grid"), found(name, sorted({grid.name for grid in near}))
            continue
        try:
            faults = list(check_claims({claim_name: claim}, _grid(_document(other))))
        except GridError as error:
            faults = [((*path, "grid"), f"found {name!r}, which has faults itself: {str(error).splitlines()[0]}")]
        else:
            faults = [(at, f"{text} (in {name})") for at, text in faults]
        yield from faults

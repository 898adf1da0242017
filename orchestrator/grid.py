"""Reads and checks a grid file: one scientific question as YAML.

Every fault is reported as `file:line: field: what was found; what is allowed; the nearest name`, before anything runs.
"""

import json
from collections.abc import Iterator
from pathlib import Path

from pydantic import ValidationError

from orchestrator import grid_checks, yaml_lines
from orchestrator.grid_claim_checks import check_claims
from orchestrator.grid_errors import Fault, dotted, echoes, explain, found
from orchestrator.sections import Grid

RESULTS = Path("results")
LAST_SWEEP = RESULTS / "last_sweep"
"""Holds the path of the grid that was swept last."""


class GridError(ValueError):
    """A grid that cannot be used. `str()` holds one line for each fault."""


def last_sweep(file: Path = LAST_SWEEP) -> Path:
    """The grid that was swept last, which `file` names. Raises GridError where nothing was."""
    try:
        return Path(file.read_text(encoding="utf-8").strip())
    except FileNotFoundError:
        message = f"{file}: not there, so no sweep ran here; name a grid, e.g. grids/demo.yaml"
        raise GridError(message) from None


def load(file: str | Path) -> Grid:
    """Reads and checks a grid file. Raises GridError with one line for each fault."""
    file = Path(file)
    document = _document(file)
    grid = _grid(document)
    if faults := list(_check_others(file, grid)):
        raise GridError(_lines(faults, document))
    return grid


def beside(file: Path, name: str) -> Grid:
    """The grid that claims of the grid in `file` call `name`. Claims of its own are not followed to further grids, so
    two grids may name each other. Raises GridError."""
    return _grid(_document(file.parent / name))


def _document(file: Path) -> yaml_lines.Document:
    try:
        return yaml_lines.read(file)
    except yaml_lines.YamlProblem as error:
        raise GridError(f"{file}:{error.line}: {error}") from None
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
    return "\n".join(f"{document.file}:{document.line(path)}: {dotted(path)}: {text}" for path, text in faults)


def _check_others(file: Path, grid: Grid) -> Iterator[Fault]:
    """Faults of the claims that rest on other grids."""
    for claim_name, claim in grid.claims.items():
        path, name = ("claims", claim_name), claim.grid
        if name is None:
            continue
        if not (file.parent / name).is_file():
            yield (
                (*path, "grid"),
                found(name, sorted(p.name for p in file.parent.glob("*.yaml") if p.name != file.name)),
            )
            continue
        try:
            faults = list(check_claims({claim_name: claim}, beside(file, name)))
        except GridError as error:
            faults = [((*path, "grid"), f"found {name!r}, which has faults itself: {str(error).splitlines()[0]}")]
        else:
            faults = [(at, f"{text} (in {name})") for at, text in faults]
        yield from faults

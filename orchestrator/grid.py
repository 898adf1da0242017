"""Reads and checks a grid file: one scientific question as YAML.

Every fault is reported as `file:line: field: what was found; what is allowed; the nearest name`, before anything runs.
"""

import json
from pathlib import Path

from pydantic import ValidationError

from orchestrator import grid_checks, yaml_lines
from orchestrator.grid_errors import dotted, echoes, explain
from orchestrator.sections import Grid

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
        faults = list(dict.fromkeys(grid_checks.check(grid)))
    except ValidationError as error:
        faults = [explain(details) for details in error.errors() if not echoes(details)]
    if faults:
        raise GridError("\n".join(f"{file}:{document.line(path)}: {dotted(path)}: {text}" for path, text in faults))
    return grid

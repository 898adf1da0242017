"""The JSON Schema of a grid, for editors: `make schema` writes grids/schema.json. What goes beyond types (names that
must be known, sizes that must fit) only `plan` checks."""

import json
from pathlib import Path
from typing import Any

from orchestrator.sections import Grid

FILE = Path("grids/schema.json")


def schema() -> dict[str, Any]:
    """Of a whole grid, or of parts of one, which others include: nothing is required."""
    found = Grid.model_json_schema()
    found.pop("required", None)
    found["title"] = "grid"
    found["properties"]["include"] = {
        "description": "Grids, or parts of some, on top of which this one is put: paths relative to this file.",
        "anyOf": [{"type": "string"}, {"type": "array", "items": {"type": "string"}, "minItems": 1}],
    }
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", **found}


def text() -> str:
    """The content of the file."""
    return json.dumps(schema(), indent=1) + "\n"

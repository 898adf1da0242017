"""What a wrong grid is told: where, what was found, what is allowed, the nearest name."""

import dataclasses
import difflib
import json
from collections.abc import Iterator
from typing import Any, get_args

from pydantic import BaseModel
from pydantic_core import ErrorDetails

from orchestrator import yaml_lines
from orchestrator.sections import Grid

Fault = tuple[yaml_lines.Path, str]


def found(value: Any, allowed: Any, of_what: str = "") -> str:
    """found 'x'; allowed: a, b, c; did you mean 'b'?"""
    names = [str(name) for name in allowed]
    shown = ", ".join(names[:24]) + (f" ... ({len(names)} in all)" if len(names) > 24 else "")
    return f"found {value!r}; allowed: {f'{of_what}: ' if of_what else ''}{shown}{nearest(str(value), names)}"


def nearest(value: str, names: list[str]) -> str:
    """ "; did you mean 'x'?" when one of `names` is close to `value`, else nothing."""
    close = difflib.get_close_matches(value, names, n=1)
    return f"; did you mean {close[0]!r}?" if close else ""


def dotted(path: yaml_lines.Path) -> str:
    """("matrix", "loss", 2) -> matrix.loss[2]"""
    text = "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in path).lstrip(".")
    return text or "the grid"


def explain(details: ErrorDetails) -> Fault:
    """Turns one of pydantic's errors into a path in the file and a sentence."""
    path = _without_tags(details["loc"])
    value, kind, context = details["input"], details["type"], details.get("ctx", {})
    if kind in ("extra_forbidden", "unexpected_keyword_argument"):
        allowed = _fields_at(path[:-1])
        return path, f"unknown field; allowed: {', '.join(allowed)}{nearest(str(path[-1]), allowed)}"
    if kind in ("missing", "missing_argument", "missing_keyword_only_argument"):
        return path, "missing; it has no default"
    if kind == "literal_error":
        allowed = [text.strip().strip("'") for text in context["expected"].replace(" or ", ", ").split(",")]
        return path, found(value, allowed)
    if kind == "too_short":
        return path, "empty; give at least one level"
    if kind in ("float_type", "int_type") and isinstance(value, str) and _reads_as_number(value):
        return path, f"found the text {value!r}; YAML reads it as text: write {_as_yaml_number(value, kind)}"
    wanted = details["msg"].replace("Input should be ", "").replace("Value error, ", "")
    shown = json.dumps(value, default=str)
    return path, f"found {shown if len(shown) < 80 else shown[:77] + '...'}; allowed: {wanted}"


def _without_tags(loc: yaml_lines.Path) -> yaml_lines.Path:
    """pydantic's path without the tag that it puts behind an index of the discriminator axis."""
    return loc[:3] + loc[4:] if loc[:2] == ("matrix", "discriminator") else loc


def _reads_as_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True


def _as_yaml_number(text: str, kind: str) -> str:
    """A spelling that YAML 1.1 reads as a number: its exponents want a dot and a sign."""
    number = float(text)
    return f"{number:.0f}" if kind == "int_type" and number.is_integer() else f"{number:f}".rstrip("0")


def _fields_at(path: yaml_lines.Path) -> list[str]:
    """Names of the fields that the grid allows at `path`."""
    here: Any = Grid
    for part in path:
        here = _inner(here, part)
    return _fields(here)


def _fields(kind: Any) -> list[str]:
    if isinstance(kind, type) and issubclass(kind, BaseModel):
        return list(kind.model_fields)
    return [field.name for field in dataclasses.fields(kind)] if dataclasses.is_dataclass(kind) else []


def _inner(kind: Any, part: str | int) -> Any:
    """The section that stands in the field or at the position `part` of `kind`."""
    if isinstance(kind, type) and issubclass(kind, BaseModel):
        kind = kind.model_fields[str(part)].annotation
    sections: list[Any] = list(_sections(kind))
    return sections[-1] if sections else kind


def _sections(kind: Any) -> Iterator[Any]:
    if _fields(kind):
        yield kind
    for argument in get_args(kind):
        yield from _sections(argument)

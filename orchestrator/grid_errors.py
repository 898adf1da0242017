"""What a wrong grid is told: where, what was found, what is allowed, the nearest name."""

import dataclasses
import difflib
import json
import math
import types
from typing import Annotated, Any, Union, get_args, get_origin

from pydantic import BaseModel, Tag
from pydantic_core import ErrorDetails

from orchestrator import yaml_lines
from orchestrator.sections import GENERATORS, Grid

Fault = tuple[yaml_lines.Path, str]

MOST_CHARACTERS = 80
AXIS = "{head: ..., backbone: ..., start: ...}"
OTHERS = {  # field -> what it may be besides the names that pydantic lists
    "discriminator": [AXIS],
    "layout": ["images"],
    "split": ["{seed: ..., train: ..., validation: ...}"],
}
NUMBERS = ("float_type", "int_type", "weight")
WANTED = {  # pydantic's type of error: what is allowed, in the words of YAML
    "model_type": "a mapping of names to values",
    "dataclass_type": "a mapping of names to values",
    "dict_type": "a mapping of names to values",
    "tuple_type": "a list",
    "string_too_short": "at least one character",
    "string_pattern_mismatch": "a to z, 0 to 9 and . _ + - (at most 64, the first a letter or digit)",
}


def found(value: Any, allowed: Any, of_what: str = "") -> str:
    """found 'x'; allowed: a, b, c; did you mean 'b'?"""
    names = [str(name) for name in allowed]
    listed = ", ".join(names[:24]) + (f" ... ({len(names)} in all)" if len(names) > 24 else "")
    return f"found {shown(value)}; allowed: {f'{of_what}: ' if of_what else ''}{listed}{nearest(str(value), names)}"


def shown(value: Any) -> str:
    """The value as it can be written in the file, cut to one line of 80 characters."""
    text = repr(value) if isinstance(value, str) else json.dumps(value)
    return text if len(text) <= MOST_CHARACTERS else text[: MOST_CHARACTERS - 3] + "..."


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
    path = _in_file(details["loc"])
    value, kind, context = details["input"], details["type"], details.get("ctx", {})
    if kind in ("extra_forbidden", "unexpected_keyword_argument"):
        allowed = _fields_at(details["loc"][: len(details["loc"]) - 1])
        return path, f"found an unknown field; allowed: {', '.join(allowed)}{nearest(str(path[-1]), allowed)}"
    if kind in ("missing", "missing_argument", "missing_keyword_only_argument"):
        return path, "found nothing; it has no default, so it must be given"
    if kind == "literal_error":
        allowed = [text.strip().strip("'") for text in context["expected"].replace(" or ", ", ").split(",")]
        field = next((part for part in reversed(path) if isinstance(part, str)), "")
        return path, found(value, allowed + OTHERS.get(field, []))
    if kind == "too_short":
        return path, "found no level; allowed: at least one"
    if path == ("super_resolution", "generator") and isinstance(value, str):
        return path, found(value, [*GENERATORS, "{channels: ..., depths: ..., ...}"])
    if kind == "string_pattern_mismatch" and path[-1] == "model":
        return path, f"found {shown(value)}; allowed: small/MODEL, timm/MODEL.TAG, open_clip/MODEL"
    wanted = WANTED.get(kind) or details["msg"].replace("Input should be ", "")
    if isinstance(value, str) and kind in NUMBERS and (number := _as_yaml_number(value, kind)):
        wanted = f"{wanted}; YAML reads this as text: write {number}"
    return path, f"found {shown(value)}; allowed: {wanted}"


def _in_file(loc: yaml_lines.Path) -> yaml_lines.Path:
    """pydantic's path without the <tag> that it puts behind a field of several shapes, and without its mark of a key
    that is wrong itself."""
    path: list[str | int] = []
    here: Any = Grid
    for part in loc:
        if not _is_tag(here, part):
            path.append(part)
        here = _inner(here, part)
    return tuple(path[:-1] if path[-1:] == ["[key]"] else path)


def echoes(details: ErrorDetails) -> bool:
    """Whether pydantic only repeats an error of an item: it calls a list empty when no item of it is right."""
    return details["type"] == "too_short" and bool(details["input"])


def _as_yaml_number(text: str, kind: str) -> str | None:
    """A spelling that YAML 1.1 reads as a number (its exponents want a dot and a sign); None for what is no number."""
    try:
        number = float(text)
    except ValueError:
        return None
    if not math.isfinite(number):
        return None
    if kind == "int_type" and number.is_integer():
        return f"{number:.0f}"
    mantissa, _, exponent = repr(number).partition("e")
    return f"{mantissa}{'' if '.' in mantissa else '.0'}" + (f"e{int(exponent):+d}" if exponent else "")


def _fields_at(path: yaml_lines.Path) -> list[str]:
    """Names of the fields that the grid allows at pydantic's `path`."""
    here: Any = Grid
    for part in path:
        here = _inner(here, part)
    return list(_fields(_bare(here)))


def _inner(kind: Any, part: str | int) -> Any:
    """Type of the field or item `part` of `kind`, for a <tag> the member of a union that has it; None for another."""
    if (member := _tagged(kind, part)) is not None:
        return member
    kind = _bare(kind)
    if get_origin(kind) in (dict, tuple):
        return get_args(kind)[1 if get_origin(kind) is dict else 0]
    return _fields(kind).get(str(part))


def _is_tag(kind: Any, part: str | int) -> bool:
    """A name that stands in the grid may look like one."""
    looks = isinstance(part, str) and part.startswith("<")
    return looks and (_tagged(kind, part) is not None or get_origin(_bare(kind)) is not dict)


def _tagged(kind: Any, part: str | int) -> Any:
    """The member of a union that has the <tag> `part`; None where there is none."""
    if not isinstance(part, str):
        return None
    return next((member for member in _members(kind) if Tag(part) in get_args(member)[1:]), None)


def _members(kind: Any) -> tuple[Any, ...]:
    """The members of a union, whatever annotations are around it."""
    if get_origin(kind) is Annotated:
        return _members(get_args(kind)[0])
    return get_args(kind)


def _bare(kind: Any) -> Any:
    """`kind` without annotations; of a union the member that has fields, else the first."""
    if get_origin(kind) is Annotated:
        return _bare(get_args(kind)[0])
    if get_origin(kind) in (Union, types.UnionType):
        members = [_bare(member) for member in get_args(kind)]
        return next((member for member in members if _fields(member)), members[0])
    return kind


def _fields(kind: Any) -> dict[str, Any]:
    """Field name -> type of a section or a spec class; empty for any other type."""
    if isinstance(kind, type) and issubclass(kind, BaseModel):
        return {name: field.annotation for name, field in kind.model_fields.items()}
    return {field.name: field.type for field in dataclasses.fields(kind)} if dataclasses.is_dataclass(kind) else {}

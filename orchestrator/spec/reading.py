"""Walks a spec's parents, and reads a `spec.json` back."""

import dataclasses
import functools
import types
import typing
from typing import Any, Literal, cast

from orchestrator.spec.kinds import KINDS, Discriminator, Parent, Trial


def parents(spec: Any, role: str = "") -> list[tuple[str, Any]]:
    """(role, parent) for each direct parent of `spec`, in field order. The role is the field's dotted path, e.g.
    `discriminator.weights`; the parent is a `Trial`, or a `Parent` when `spec` was read back from `spec.json`."""
    found = []
    for name in field_names(spec.__class__):
        value, path = getattr(spec, name), f"{role}.{name}" if role else name
        if isinstance(value, Trial | Parent):
            found.append((path, value))
        elif isinstance(value, Discriminator):  # the one part of a spec that has parents of its own
            found += parents(value, path)
    return found


@functools.cache
def field_names(cls: Any) -> tuple[str, ...]:
    """Names of a spec class's fields in order."""
    return tuple(field.name for field in dataclasses.fields(cls))


HEADER = ("kind", "kind_version", "key")


def decode(data: dict[str, Any]) -> Trial:
    """Reads a trial's `spec.json` (parsed). Raises ValueError naming the field for anything that does not fit."""
    if data.get("kind") not in KINDS:
        raise ValueError(f"kind: found {data.get('kind')!r}; allowed: {', '.join(KINDS)}")
    cls = KINDS[data["kind"]]
    if data.get("kind_version") != cls.VERSION:
        raise ValueError(f"kind_version: found {data.get('kind_version')!r}; this code runs {cls.KIND} {cls.VERSION}")
    return cast(Trial, _decode_class(cls, {k: v for k, v in data.items() if k not in HEADER}, cls.KIND))


def _decode_class(cls: type, data: dict[str, Any], where: str) -> Any:
    hints = typing.get_type_hints(cls)
    names = field_names(cls)
    if set(data) != set(names):
        raise ValueError(f"{where}: found the fields {sorted(data)}; expected {sorted(names)}")
    return cls(**{name: _decode_value(hints[name], data[name], f"{where}.{name}") for name in names})


def _decode_value(hint: Any, value: Any, where: str) -> Any:
    origin, arguments = typing.get_origin(hint), typing.get_args(hint)
    if origin in (types.UnionType, typing.Union):
        return _decode_union(arguments, value, where)
    if origin is tuple and isinstance(value, list):
        return tuple(_decode_value(arguments[0], item, f"{where}[{i}]") for i, item in enumerate(value))
    if dataclasses.is_dataclass(hint) and isinstance(value, dict):
        tagged = {k: v for k, v in value.items() if not (k == "kind" and hasattr(hint, "KIND"))}
        return _decode_class(cast(type, hint), tagged, where)
    if origin is Literal and value in arguments:
        return value
    if isinstance(hint, type) and type(value) is hint:
        return value
    raise ValueError(f"{where}: found {value!r}; expected {hint}")


def _decode_union(members: tuple[Any, ...], value: Any, where: str) -> Any:
    if value is None and types.NoneType in members:
        return None
    if isinstance(value, dict):
        if set(value) == {"kind", "key"} and Parent in members:
            return Parent(**value)
        for member in members:
            if getattr(member, "KIND", None) == value.get("kind"):
                return _decode_value(member, value, where)
    for member in members:
        if member in (int, float, str, bool) and type(value) is member:
            return value
    raise ValueError(f"{where}: found {value!r}; expected one of {members}")

"""Grids made of grids: `include:` of others, and settings that a command line gives in the place of a grid's.

An included grid is read first; what the including one says goes on top: mappings are merged, anything else replaces
what was there, and null (~) takes it away.
"""

import os
import re
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path
from typing import Any

import yaml

from orchestrator import yaml_lines
from orchestrator.yaml_lines import Document, YamlProblem

ASKED, RAN = "asked.yaml", "grid.yaml"
"""Grids that `-o` has made, in a grid's folder of results: the last one that was looked at, and the last that ran."""
INCLUDE = "include"
MOST_INCLUDED = 50
"""Files of one grid, each counted as often as it is read: few that include each other twice would be read for ever."""
NO_MAPPING = "found no mapping of names to values; allowed: a grid, or parts of one"
NAME = re.compile(r"[a-z0-9][a-z0-9._+-]{0,63}")


def read(file: Path) -> Document:
    """The document of a grid file with all that it includes. Raises YamlProblem, which knows its file, and OSError."""
    return _read(file, (), [])


def _read(file: Path, above: tuple[Path, ...], included: list[Path]) -> Document:
    """`above`: the files by which this one is included. `included` grows with each that is read."""
    try:
        document = yaml_lines.read(file)
    except YamlProblem as error:
        raise _of(file, error) from None
    if not isinstance(document.value, dict) or INCLUDE not in document.value:
        return document
    own = {key: value for key, value in document.value.items() if key != INCLUDE}
    chain, found = (*above, file), None
    for name, line in _included(document):
        path = file.parent / name
        if os.path.realpath(path) in map(os.path.realpath, chain):
            raise _of(file, YamlProblem(line, f"{INCLUDE}: {name} includes itself: {' > '.join(map(str, chain))}"))
        included.append(path)
        if len(included) > MOST_INCLUDED:
            message = f"{INCLUDE}: {name} is one too many; allowed: {MOST_INCLUDED} in all, each as often as it is read"
            raise _of(file, YamlProblem(line, message))
        try:
            part = _mapping(_read(path, chain, included))
        except OSError as error:
            near = ", ".join(sorted(one.name for one in file.parent.glob("*.yaml") if one != file)[:12]) or "none"
            raise _of(file, YamlProblem(line, f"{INCLUDE}: {name}: {error.strerror}; grids there: {near}")) from None
        found = part if found is None else merged(found, part)
    assert found is not None
    return merged(found, replace(document, value=own))


def _mapping(document: Document) -> Document:
    if not isinstance(document.value, dict):
        raise _of(document.file, YamlProblem(1, NO_MAPPING))
    return document


def _included(document: Document) -> list[tuple[str, int]]:
    """Names of the files that a document includes, each with its line."""
    value = document.value[INCLUDE]
    names = value if isinstance(value, list) else [value]
    for i, name in enumerate(names):
        if not isinstance(name, str) or not name:
            message = f"{INCLUDE}: found {name!r}; allowed: a grid file, or a list of them"
            raise _of(document.file, YamlProblem(document.line((INCLUDE, i)), message))
    if not names:
        message = f"{INCLUDE}: found no file; allowed: at least one"
        raise _of(document.file, YamlProblem(document.line((INCLUDE,)), message))
    return [(name, document.line((INCLUDE, i))) for i, name in enumerate(names)]


def _of(file: Path, error: YamlProblem) -> YamlProblem:
    error.file = error.file or file
    return error


def merged(below: Document, above: Document) -> Document:
    """`above` on top of `below`."""
    places = {path: below.place(path) for path in below.lines} | {path: above.place(path) for path in above.lines}
    lines = below.lines | above.lines
    return Document(above.file, _merged(below.value, above.value), lines, places, (*below.sources, *above.included))


def _merged(below: dict[str, Any], above: dict[str, Any]) -> dict[str, Any]:
    found = dict(below)
    for key, value in above.items():
        if value is None and key in found:
            del found[key]
        elif isinstance(value, dict) and isinstance(found.get(key), dict):
            found[key] = _merged(found[key], value)
        else:
            found[key] = value
    return found


def overridden(file: Path, settings: Iterable[str], results: Path) -> Path:
    """A grid file, below `results` in the folder of its name, that includes `file` and sets what `settings` say, each
    `section.key=VALUE` with VALUE in YAML; `file` itself without any. Raises YamlProblem and OSError."""
    parts: dict[str, Any] = {}
    for setting in settings:
        parts = _merged(parts, _part(setting))
    if not parts:
        return file
    name = _merged(_mapping(read(file)).value, parts).get("name")
    folder = results / (name if isinstance(name, str) and NAME.fullmatch(name) else "overridden")
    folder.mkdir(parents=True, exist_ok=True)
    made = folder / ASKED
    if os.path.realpath(file) in (os.path.realpath(made), os.path.realpath(folder / RAN)):
        raise YamlProblem(1, f"-o: {file} was made by -o itself; name the grid that it includes, with all settings")
    text = yaml.safe_dump({INCLUDE: os.path.relpath(file, folder), **parts}, sort_keys=False, allow_unicode=True)
    made.write_text(f"# {file} -o {' -o '.join(settings)}\n{text}")
    return made


def _part(setting: str) -> dict[str, Any]:
    """ "a.b=1" -> {"a": {"b": 1}}"""
    path, equals, text = setting.partition("=")
    names = path.split(".")
    named = all(re.fullmatch(r"[\w+.-]+", name) for name in names) and len(names) <= yaml_lines.MAX_DEPTH
    if not equals or not named or not setting.isprintable():
        example = "super_resolution.training.steps=2000"
        raise YamlProblem(1, f"-o: found {setting!r}; allowed: SECTION.KEY=VALUE with a value in YAML, e.g. {example}")
    try:
        value = yaml_lines.parse(text.encode(), Path("-o")).value
    except YamlProblem as error:
        raise YamlProblem(1, f"-o {setting}: {error}") from None
    for name in reversed(names):
        value = {name: value}
    return dict(value)

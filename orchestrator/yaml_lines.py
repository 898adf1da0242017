"""Reads YAML and remembers on which line each value stands, so that an error can point at it."""

from dataclasses import dataclass, field
from pathlib import Path as File
from typing import Any

import yaml

Path = tuple[str | int, ...]

# A grid has hundreds of values in a few kilobytes. More is the wrong file, or aliases that multiply.
MAX_BYTES = 200_000
MAX_NODES = 20_000
MAX_DEPTH = 20


@dataclass(frozen=True)
class Document:
    """A YAML document as plain Python values, and the 1-based line of each value by its path."""

    file: File
    value: Any
    lines: dict[Path, int]
    places: dict[Path, str] = field(default_factory=dict)
    """`file:line` of each value, where they stand in several files (composing.py)."""
    included: tuple[File, ...] = ()
    """The other files."""

    @property
    def sources(self) -> tuple[File, ...]:
        """All files that values stand in, the document's own last."""
        return (*self.included, self.file)

    def place(self, path: Path) -> str:
        """`file:line` of the value at `path`, or of its nearest ancestor that stands in a file."""
        while path and path not in self.lines:
            path = path[:-1]
        return self.places.get(path) or f"{self.file}:{self.lines.get(path, 1)}"

    def line(self, path: Path) -> int:
        """Line of the value at `path`, or of its nearest ancestor that stands in the file (a missing key has none)."""
        while path and path not in self.lines:
            path = path[:-1]
        return self.lines.get(path, 1)


class YamlProblem(ValueError):
    """The file is not readable YAML; `line` is 1-based."""

    def __init__(self, line: int, message: str) -> None:
        super().__init__(message)
        self.line = line
        self.file: File | None = None
        """Where it is another than the one that was asked for."""


def read(file: File) -> Document:
    """Parses `file`. Raises YamlProblem for a syntax error, a key given twice, a key that is not a string and a value
    that JSON does not have, and OSError when the file cannot be read."""
    with open(file, "rb") as opened:
        content = opened.read(MAX_BYTES + 1)
    if len(content) > MAX_BYTES:
        raise YamlProblem(1, f"more than {MAX_BYTES:,} bytes: this is no grid; see grids/demo.yaml for one")
    return parse(content, file)


def parse(content: bytes, file: File) -> Document:
    """The document of a file's bytes. Raises YamlProblem."""
    try:
        loader = yaml.SafeLoader(content.decode())
        node = loader.get_single_node()
        lines: dict[Path, int] = {}
        value = _value(loader, node, (), lines) if node else None
    except yaml.MarkedYAMLError as error:
        line = error.problem_mark.line + 1 if error.problem_mark else 1
        raise YamlProblem(line, f"not readable as YAML: {error.problem}") from None
    except UnicodeDecodeError as error:
        raise YamlProblem(1, f"not UTF-8 text: byte {error.start} is {error.object[error.start]:#04x}") from None
    except yaml.YAMLError as error:  # characters that YAML does not allow
        raise YamlProblem(1, f"not readable as YAML: {' '.join(str(error).split())}") from None
    except RecursionError:
        raise YamlProblem(1, "nested too deeply, or an alias that contains itself") from None
    except YamlProblem:
        raise
    except (ValueError, ArithmeticError):  # what PyYAML's scanner raises, e.g. for the character "\UFFFFFFFF"
        raise YamlProblem(loader.line + 1, "not readable as YAML: a number or a character that is none") from None
    return Document(file, value, lines)


def _value(loader: yaml.SafeLoader, node: yaml.Node, path: Path, lines: dict[Path, int]) -> Any:
    line = node.start_mark.line + 1
    lines[path] = line
    if len(lines) > MAX_NODES:
        raise YamlProblem(line, f"more than {MAX_NODES:,} values: write the grid with axes instead of aliases")
    if len(path) > MAX_DEPTH:
        raise YamlProblem(line, f"nested more than {MAX_DEPTH} deep: a grid has at most five")
    if isinstance(node, yaml.SequenceNode):
        return [_value(loader, item, (*path, i), lines) for i, item in enumerate(node.value)]
    if not isinstance(node, yaml.MappingNode):
        return _scalar(loader, node)
    found: dict[str, Any] = {}
    for key_node, value_node in node.value:
        key = _key(loader, key_node, found)
        found[key] = _value(loader, value_node, (*path, key), lines)
        lines[(*path, key)] = key_node.start_mark.line + 1
    return found


def _scalar(loader: yaml.SafeLoader, node: yaml.ScalarNode) -> Any:
    line, shown = node.start_mark.line + 1, repr(node.value[:60])
    try:
        value = loader.construct_object(node)
        repr(value)  # raises for an integer with more digits than Python reads back
    except (ValueError, LookupError, ArithmeticError, AttributeError):  # PyYAML's constructors, e.g. for month 99
        kind = node.tag.rpartition(":")[2]
        raise YamlProblem(line, f"found {shown}, which is no {kind}; put text in quotes") from None
    if isinstance(value, str) and not value.isprintable():
        raise YamlProblem(line, f"found {shown}; allowed: text of printable characters on one line")
    if not isinstance(value, str | int | float | None):
        kind = type(value).__name__
        raise YamlProblem(line, f"found {shown}, which YAML reads as a {kind}; if text is meant, put it in quotes")
    return value


def _key(loader: yaml.SafeLoader, node: yaml.Node, found: dict[str, Any]) -> str:
    line = node.start_mark.line + 1
    if node.tag == "tag:yaml.org,2002:merge":
        raise YamlProblem(line, "<< is not supported: write the fields out, so that the file says what runs")
    key = _scalar(loader, node) if isinstance(node, yaml.ScalarNode) else node.value
    if not isinstance(key, str):
        text = node.value if isinstance(node, yaml.ScalarNode) else "a list or mapping"
        raise YamlProblem(line, f"the key {text} is read as {type(key).__name__}, not as a name: put it in quotes")
    if key in found:
        raise YamlProblem(line, f"{key} is given twice: remove one of them")
    return key

"""Names that a grid may use, read from the sources that define them: installed packages and our own workers, which all
load torch. A table there is a mapping written as a literal; nothing of it is run."""

import ast
import functools
import importlib.util
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

WORKERS = Path(__file__).parents[1] / "workers"


class NotInstalled(ValueError):
    """A package is missing, or is not what this project was written for."""


@functools.cache
def judges() -> tuple[str, ...]:
    """This project's own judges, and pyiqa's metrics, from its table of configurations."""
    table = _table(_package("pyiqa") / "default_model_configs.py", "DEFAULT_CONFIGS")
    if table is None:
        raise NotInstalled("pyiqa has no table DEFAULT_CONFIGS in default_model_configs.py; run: make setup")
    return (*own_judges(), *(ast.literal_eval(key) for key in _mapping_keys(table)))


@functools.cache
def own_judges() -> Mapping[str, str]:
    """Judges that pyiqa does not have, and the version of each: VERSIONS in workers/judging.py."""
    versions: Mapping[str, str] = ast.literal_eval(_own_table("judging.py", "VERSIONS"))
    return versions


@functools.cache
def heads() -> tuple[str, ...]:
    """Heads of discriminators: the names of HEADS in workers/models/discriminators.py."""
    return tuple(ast.literal_eval(key) for key in _mapping_keys(_own_table("models/discriminators.py", "HEADS")))


@functools.cache
def timm_models() -> tuple[str, ...]:
    """timm's architectures: the functions that its modules register."""
    files = sorted((_package("timm") / "models").glob("*.py"))
    return tuple(name for file in files for name in re.findall(r"@register_model\s+def (\w+)", file.read_text()))


@functools.cache
def open_clip_models() -> tuple[str, ...]:
    """open_clip's architectures: the files of its configurations."""
    return tuple(sorted(file.stem for file in (_package("open_clip") / "model_configs").glob("*.json")))


def _package(name: str) -> Path:
    package = importlib.util.find_spec(name)
    if package is None or package.origin is None:
        raise NotInstalled(f"{name} is not installed; run: make setup")
    return Path(package.origin).parent


def _own_table(file: str, name: str) -> ast.expr:
    table = _table(WORKERS / file, name)
    assert table is not None, f"workers/{file} has a table {name}"
    return table


def _table(file: Path, name: str) -> ast.expr | None:
    """What is assigned to `name` in a source file; None where nothing is."""
    for node in ast.walk(ast.parse(file.read_text())):
        if isinstance(node, ast.Assign | ast.AnnAssign):
            target = node.target if isinstance(node, ast.AnnAssign) else node.targets[0]
            if getattr(target, "id", "") == name:
                return node.value
    return None


def _mapping_keys(node: ast.expr) -> list[Any]:
    """Keys of a mapping written as a literal, or wrapped in a call such as OrderedDict({...})."""
    mapping = node.args[0] if isinstance(node, ast.Call) else node
    return mapping.keys if isinstance(mapping, ast.Dict) else []

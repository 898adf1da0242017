"""Names that a grid may use. Those of installed packages are read from their sources: importing them takes seconds."""

import ast
import functools
import importlib.util
import re
from pathlib import Path
from typing import Any

from orchestrator.spec import OWN_JUDGES


class NotInstalled(ValueError):
    """A package is missing, or is not what this project was written for."""


@functools.cache
def judges() -> tuple[str, ...]:
    """This project's own judges, and pyiqa's metrics, from its table of configurations."""
    tree = ast.parse((_package("pyiqa") / "default_model_configs.py").read_text())
    for node in ast.walk(tree):
        if isinstance(node, ast.Assign) and getattr(node.targets[0], "id", "") == "DEFAULT_CONFIGS":
            return (*OWN_JUDGES, *(ast.literal_eval(key) for key in _mapping_keys(node.value)))
    raise NotInstalled("pyiqa has no table DEFAULT_CONFIGS in default_model_configs.py; run: make setup")


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


def _mapping_keys(node: ast.expr) -> list[Any]:
    """Keys of a mapping written as a literal, or wrapped in a call such as OrderedDict({...})."""
    mapping = node.args[0] if isinstance(node, ast.Call) else node
    return mapping.keys if isinstance(mapping, ast.Dict) else []

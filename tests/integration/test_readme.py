"""The README's commands run as they stand there, in the folder of a finished sweep of the micro grid."""

import functools
import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.integration.sweeping import PATIENCE, ROOT, Folder

NOT_RUN = {
    "make sweep": "minutes: test_sweep.py sweeps a smaller grid",
    "make test": "all tests, this one among them",
    "make check": "all tests, this one among them",
    "make prefetch": "needs a network",
    "make preflight": "needs the data sets",
    "make rehearse": "minutes: test_rehearse.py rehearses a smaller grid",
    "RAY_ADDRESS=auto make sweep": "needs a cluster: test_cluster.py has one",
    ".venv/bin/python -m orchestrator cancel": "needs a running sweep: test_steering.py has one",
    "make calibrate": "minutes",
    "make bench": "minutes",
    "make chaos": "minutes: test_chaos.py does a part of it",
}
"""How a command begins, and why it is left out."""

TEXT = (ROOT / "README.md").read_text()


def blocks(language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```", TEXT, re.DOTALL | re.MULTILINE)


def to_run(block: str) -> str:
    return "\n".join(line for line in block.splitlines() if not line.startswith(tuple(NOT_RUN)))


SCRIPTS = [
    *filter(None, map(to_run, blocks("sh"))),
    *(f".venv/bin/python - <<'END'\n{block}END" for block in blocks("python")),
]


@pytest.fixture
def folder(undisturbed: Folder, tmp_path: Path) -> Path:
    """A copy of it with all that the commands name, and a second sweep to compare with."""
    shutil.copytree(undisturbed.path, tmp_path, dirs_exist_ok=True)
    shutil.copytree(tmp_path / "results/micro", tmp_path / "results/other")
    for name in ("Makefile", "requirements.lock", "grids"):
        (tmp_path / name).symlink_to(ROOT / name)
    (tmp_path / ".venv").symlink_to(sys.prefix)
    return tmp_path


def of_micro(script: str, folder: Path) -> str:
    """With the micro grid in the demo's place, and a trial's key where the README says KEY."""
    spec = min((folder / "results/store/benchmark").glob("*/spec.json"))
    parent = json.loads(spec.read_text())["model"]
    named = {
        "grids/demo.yaml": "grid.yaml",
        "results/demo": "results/micro",
        "KEY": spec.parent.name,
        "fr_iqa/PARENT": f"{parent['kind']}/{parent['key']}",
    }
    return functools.reduce(lambda text, word: text.replace(word, named[word]), named, script)


@pytest.mark.parametrize("script", SCRIPTS, ids=lambda script: script.partition("  ")[0].partition("\n")[0])
def test_the_commands_of_a_block_run(script: str, folder: Path) -> None:
    set_up = 'make() { command make -o .venv/.installed "$@"; }\n'  # .venv is there, whatever the age of the lock
    ended = subprocess.run(
        ["bash", "-euxc", set_up + of_micro(script, folder)],
        cwd=folder,
        env=os.environ | {"PYTHONPATH": str(ROOT), "RAY_ADDRESS": ""},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=PATIENCE,
        check=False,
    )
    assert ended.returncode == 0, ended.stdout


def test_what_is_left_out_stands_in_the_readme() -> None:
    lines = "".join(blocks("sh")).splitlines()
    assert [start for start in NOT_RUN if not any(line.startswith(start) for line in lines)] == []

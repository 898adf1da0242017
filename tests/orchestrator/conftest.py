"""Grids with one change and what a wrong one is told, committed grids expanded, and random graphs of trials."""

import random
import re
import shutil
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

import pytest

from orchestrator import grid, matrix
from orchestrator.__main__ import main
from orchestrator.manifests import Manifests, judge_request
from orchestrator.spec import Trial

ROOT = Path(__file__).parents[2]
FILES = {"micro": ROOT / "tests" / "micro.yaml", **{file.stem: file for file in (ROOT / "grids").glob("*.yaml")}}

Edit = Callable[..., Path]
Expand = Callable[[Path], matrix.Study]
Told = Callable[[Path], list[str]]
Refused = Callable[..., None]


def expanded(file: Path) -> matrix.Study:
    """The study of a grid whose judges are known to need no file, as a preflight finds for those of micro and demo."""
    loaded = grid.load(file)
    known = {judge_request(judge).key: {"content": ""} for judge in loaded.judges.families()}
    return matrix.expand(loaded, Manifests(known))


@pytest.fixture
def edited(tmp_path: Path) -> Edit:
    """(old, new, base) -> a copy of a committed grid in which `new` stands for the first `old`."""

    def edit(old: str = "", new: str = "", base: str = "micro") -> Path:
        text = FILES[base].read_text()
        assert old in text, f"{FILES[base].name} has no {old!r} to change"
        file = tmp_path / "grid.yaml"
        file.write_text(text.replace(old, new, 1))
        shutil.copy(FILES["gan_weight"], tmp_path)  # a claim of full rests on it
        return file

    return edit


def lines_told(file: Path) -> list[str]:
    """The lines of the error that `file` raises: each whole and printable, without the <tags> of pydantic's unions."""
    with pytest.raises(grid.GridError) as error:
        grid.load(file)
    lines = str(error.value).split("\n")
    assert all(line.isprintable() and not re.search(r"<[a-z]+>", line) for line in lines)
    return lines


@pytest.fixture(scope="session")
def told() -> Told:
    return lines_told


@pytest.fixture
def refused(edited: Edit, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Refused:
    """(change, expected, base): the changed grid ends the command line with 2 and just the lines `expected`, each given
    as a text that stands on the line which it must point at, and its message."""

    def check(change: tuple[str, str], expected: list[tuple[str, str]], base: str = "micro") -> None:
        file = edited(*change, base=base)
        written = [(n, text) for n, text in enumerate(file.read_text().split("\n"), 1) if text.lstrip()[:1] != "#"]
        numbered = [(next(n for n, text in written if mark in text), message) for mark, message in expected]
        lines = [f"{file}:{number}: {message}" for number, message in numbered]
        assert lines_told(file) == lines
        monkeypatch.setattr(sys, "argv", ["orchestrator", "plan", str(file)])
        with pytest.raises(SystemExit) as end:
            main()
        assert end.value.code == 2
        assert capsys.readouterr() == ("", "\n".join(lines) + "\n")

    return check


@pytest.fixture(scope="session")
def expand() -> Expand:
    return expanded


@pytest.fixture(scope="session")
def micro() -> matrix.Study:
    return expanded(FILES["micro"])


@pytest.fixture(scope="session")
def demo() -> matrix.Study:
    return expanded(FILES["demo"])


@pytest.fixture(scope="session")
def full() -> matrix.Study:
    return expanded(FILES["full"])


@dataclass(frozen=True, kw_only=True)
class Step(Trial):
    """A trial with up to three parents, for graphs of any shape."""

    KIND: ClassVar[str] = "pretext"
    VERSION: ClassVar[int] = 1
    number: int
    first: Trial | None = None
    second: Trial | None = None
    third: Trial | None = None


@pytest.fixture
def random_graph() -> Callable[[random.Random, int], list[Step]]:
    """(generator, size) -> steps, each with none to three of the earlier ones as parents."""

    def make(generator: random.Random, size: int) -> list[Step]:
        steps: list[Step] = []
        for number in range(size):
            above = generator.sample(steps, k=min(len(steps), generator.randrange(4)))
            steps.append(Step(number=number, **dict(zip(("first", "second", "third"), above, strict=False))))
        return steps

    return make

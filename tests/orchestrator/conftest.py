"""Grids with one change, committed grids expanded, and random graphs of trials."""

import random
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

import pytest

from orchestrator import grid, matrix
from orchestrator.manifests import Manifests, judge_request
from orchestrator.spec import Trial

ROOT = Path(__file__).parents[2]
FILES = {"micro": ROOT / "tests" / "micro.yaml", **{file.stem: file for file in (ROOT / "grids").glob("*.yaml")}}

Edit = Callable[..., Path]
Expand = Callable[[Path], matrix.Study]


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
        return file

    return edit


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

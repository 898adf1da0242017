"""The short form of `make chaos`: a round of some kinds, whose moments are always the same ones."""

from pathlib import Path

import pytest

from tests.chaos.__main__ import calm, run
from tests.chaos.arena import Arena

ROUNDS = [("writes", 0), ("writes", 1), ("deleted", 0), ("disk", 0), ("nodes", 0)]
"""Kills and interrupts of the driver are in test_sweep.py."""


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory: pytest.TempPathFactory) -> Arena:
    return calm(tmp_path_factory.mktemp("chaos") / "undisturbed")


@pytest.mark.filterwarnings("ignore:The ``noload`` loader strategy is deprecated")  # MLflow's own use of SQLAlchemy
@pytest.mark.filterwarnings("ignore::ResourceWarning")  # MLflow keeps its SQLite connections until exit
@pytest.mark.parametrize(("kind", "seed"), ROUNDS)
def test_a_disturbed_sweep_ends_like_an_undisturbed_one(
    kind: str, seed: int, undisturbed: Arena, tmp_path: Path
) -> None:
    assert run(kind, seed, tmp_path, undisturbed).lie == ""

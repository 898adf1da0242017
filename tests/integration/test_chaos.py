"""The short form of `make chaos`: a round of some faults, whose moments are always the same ones."""

from pathlib import Path

import pytest

from tests.chaos import faults
from tests.chaos.__main__ import calm, run
from tests.chaos.arena import Arena

ROUNDS = [
    (faults.write_killed, 0),
    (faults.write_killed, 1),
    (faults.trial_hung, 0),
    (faults.damaged, 0),
    (faults.mlflow_deleted, 0),
    (faults.node_killed, 0),
]
"""Kills and interrupts of the driver are in test_sweep.py."""


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory: pytest.TempPathFactory) -> Arena:
    return calm(tmp_path_factory.mktemp("chaos") / "undisturbed")


@pytest.mark.filterwarnings("ignore:The ``noload`` loader strategy is deprecated")  # MLflow's own use of SQLAlchemy
@pytest.mark.filterwarnings("ignore::ResourceWarning")  # MLflow keeps its SQLite connections until exit
@pytest.mark.parametrize(("fault", "seed"), ROUNDS)
def test_a_disturbed_sweep_ends_like_an_undisturbed_one(
    fault: faults.Fault, seed: int, undisturbed: Arena, tmp_path: Path
) -> None:
    assert run(fault, seed, tmp_path, undisturbed).lie == ""

"""What a worker leaves behind between two trials. Whole sweeps are in tests/integration."""

from pathlib import Path

from orchestrator.schedule import TrialActor


def test_a_worker_that_goes_on_leaves_no_folders_of_the_last_trial(tmp_path: Path) -> None:
    folders = [tmp_path / where / trial for where in ("working_dirs", "driver_artifacts") for trial in ("one", "two")]
    for folder in folders:
        folder.mkdir(parents=True)
    (tmp_path / "driver_artifacts/two/error.txt").touch()
    actor = object.__new__(TrialActor)
    for trial in ("one", "two", "three"):  # as Tune does: the new folder first
        actor._logdir = str(tmp_path / "working_dirs" / trial)
        assert trial == "one" or actor.reset_config({})
        if trial == "one":
            actor.setup({})
    assert [folder.exists() for folder in folders] == [False, False, False, True]
    assert actor.scratch == tmp_path / "working_dirs/three"

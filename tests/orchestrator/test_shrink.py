"""A rehearsed grid is small in every size and the same in every architecture, loss and edge of its graph."""

import shutil
from pathlib import Path

import pytest

from orchestrator import cost, grid, grid_checks, matrix, plan, spec
from orchestrator.manifests import Manifests
from orchestrator.sections import Grid, OfficialGenerator, OfficialSet
from orchestrator.shrink import PATCH, STEPS, low_folder, shrink, side

ROOT = Path(__file__).parents[2]
NAMES = ("demo", "full", "lite", "gan_weight", "wide")
FOLDER = Path("/rehearsal")


def committed(name: str) -> Grid:
    return grid.load(ROOT / "grids" / f"{name}.yaml")


def all_judges(found: Grid) -> set[str]:
    return set(found.judges.families())


def trials(found: Grid) -> list[spec.Trial]:
    study = matrix.expand(found, Manifests())
    nodes = plan.build((label.spec for label in study.labels), {}, lambda _: 1.0).nodes
    return [node.spec for node in nodes.values()]


def edges(found: Grid) -> set[tuple[str, str, str]]:
    """(shape, role, parent's shape) of every edge of the graph."""
    return {
        (cost.shape(trial), role, cost.shape(parent)) for trial in trials(found) for role, parent in spec.parents(trial)
    }


@pytest.mark.parametrize("on_gpu", [False, True], ids=["cpu", "gpu"])
@pytest.mark.parametrize("name", NAMES)
def test_every_architecture_and_edge_of_one_seed_is_still_there(name: str, on_gpu: bool) -> None:
    whole = committed(name)
    small = shrink(whole, FOLDER, all_judges(whole), on_gpu)
    one_seed = whole.model_copy(update={"seeds": whole.seeds[:1]})
    assert {cost.shape(trial) for trial in trials(small)} == {cost.shape(trial) for trial in trials(one_seed)}
    assert edges(small) == edges(one_seed)
    assert len(trials(small)) == len(trials(one_seed))


@pytest.mark.parametrize("on_gpu", [False, True], ids=["cpu", "gpu"])
@pytest.mark.parametrize("name", NAMES)
def test_a_small_grid_is_a_right_one(name: str, on_gpu: bool) -> None:
    whole = committed(name)
    assert list(grid_checks.check(shrink(whole, FOLDER, all_judges(whole), on_gpu))) == []


def test_trainings_are_short() -> None:
    whole = committed("full")
    for trial in trials(shrink(whole, FOLDER, all_judges(whole), on_gpu=False)):
        if isinstance(trial, spec.SuperResolution):
            assert (trial.training.steps, trial.training.batch, trial.training.patch) == (STEPS, 1, PATCH)
        if isinstance(trial, spec.IqaTransfer):
            assert (trial.training.steps, trial.training.batch) == (STEPS, 2)


def test_sizes_that_cost_stay_on_a_gpu() -> None:
    whole = committed("full")
    small = shrink(whole, FOLDER, all_judges(whole), on_gpu=True)
    assert (small.super_resolution.training.batch, small.super_resolution.training.patch) == (16, 64)
    assert isinstance(small.iqa_sets.fr, OfficialSet)
    assert small.iqa_sets.fr.crop == 224
    assert small.iqa_transfer
    assert small.iqa_transfer.of("nr").batch == 32
    assert side(whole, set(), on_gpu=True) >= 4 * 64  # high-resolution pixels of a patch
    assert side(whole, set(), on_gpu=False) >= 4 * PATCH
    assert side(whole, {"psnr", "liqe"}, on_gpu=False) == 224, "a judge that can be had takes no smaller image"


def test_everything_lies_in_the_rehearsals_own_folder() -> None:
    whole = committed("full")
    small = shrink(whole, FOLDER, all_judges(whole), on_gpu=False)
    assert small.data
    folders = [folder for name in small.data.sets for part in small.data.paths(name) for folder in part]
    assert len(folders) == len(set(folders)) == 14 + 1 + 1  # df2k has two folders, div2k-val a low-resolution side
    assert all(folder.is_relative_to(FOLDER) for folder in folders)
    assert small.data.paths("div2k-val")[1] == (FOLDER / "data" / low_folder("div2k-val/0", 4),)
    runtime = small.runtime
    assert all(path.startswith(f"{FOLDER}/") for path in (runtime.storage, runtime.tracking, runtime.cache))
    assert (runtime.max_failures, runtime.cpus, runtime.gpus) == (0, 1, 0.0)
    assert small.name == "full-rehearsal"


def test_judges_without_weights_are_left_out_and_a_score_remains() -> None:
    whole = committed("full")
    small = shrink(whole, FOLDER, {"psnr", "ssim", "musiq"}, on_gpu=False)
    assert small.judges.score == {"transformer": ("musiq",)}
    assert small.judges.beside == ("psnr", "ssim")
    without = shrink(whole, FOLDER, {"psnr"}, on_gpu=False)
    assert without.judges.families() == {"piqe": "stand-in", "psnr": ""}


def test_an_official_checkpoint_stays_one(tmp_path: Path) -> None:
    trained = "{steps: 500000, batch: 16, patch: 64, learning_rate: 0.0002, decay: true, ema: 0.999, seed: 0}"
    text = (ROOT / "grids" / "full.yaml").read_text()
    shutil.copy(ROOT / "grids" / "gan_weight.yaml", tmp_path)  # a claim of full rests on it
    (tmp_path / "grid.yaml").write_text(text.replace(trained, "{file: /weights/swinir.pth}"))
    small = shrink(grid.load(tmp_path / "grid.yaml"), FOLDER, set(), on_gpu=False)
    assert small.super_resolution.warmup == OfficialGenerator(file="/weights/swinir.pth")


def test_excludes_of_other_seeds_go_and_the_others_stay(tmp_path: Path) -> None:
    text = (ROOT / "grids" / "demo.yaml").read_text()
    entries = "exclude: [{loss: vit, seed: 1}, {loss: swin, seed: 0}, {task: nr}]"
    (tmp_path / "grid.yaml").write_text(text.replace("baselines:", f"{entries}\nbaselines:"))
    whole = grid.load(tmp_path / "grid.yaml")
    assert [entry.named() for entry in shrink(whole, FOLDER, all_judges(whole), on_gpu=False).exclude] == [
        {"loss": ("swin",), "seed": (0,)},
        {"task": ("nr",)},
    ]

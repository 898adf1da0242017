"""The seven recipes: equal bytes on every run, learning that is real, and runs that end as diverged."""

import dataclasses
import math
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest
import torch
from PIL import Image

from orchestrator.spec import MetricFit
from workers import benchmark, judges, pretext, super_resolution, weights
from workers.context import Interrupted
from workers.data.photographs import to_tensor
from workers.data.sr_pairs import evaluation_pairs, upscale_bicubic
from workers.sources import Sources
from workers.training import SCORES
from workers.weights import load_backbone, load_generator, load_metric

EVERY_KIND = (
    "pretext",
    "fr_iqa",
    "warm-up",
    "loss",
    "gan",
    "bicubic",
    "restoration",
    "psnr",
    "piqe",
    "artifacts",
    "fr",
    "nr",
    "gan-start",
    "benchmark",
    "iqa-benchmark",
)


@pytest.mark.parametrize("name", EVERY_KIND)
def test_a_second_run_gives_equal_bytes(name: str, micro: Any, files_of: Any, tmp_path: Path) -> None:
    torch.manual_seed(1234)  # nothing may depend on global generators
    np.random.seed(1234)
    again = micro.run(micro.trial(name), tmp_path)
    assert again.files
    assert again.files == files_of(micro.folder(name))
    assert again.numbers == micro.record(name)["numbers"]


# ------------------------------------------------------------------------------------------------ pretext


def test_pretext_crops_are_a_function_of_seed_and_step(micro: Any) -> None:
    found = micro.trial("pretext")
    one, other = pretext.Crops(found), pretext.Crops(found)
    one.batch(0)
    for step in (5, 0):
        assert all(torch.equal(a, b) for a, b in zip(one.batch(step), other.batch(step), strict=True))
    images, labels = one.batch(5)
    side = found.training.crop
    assert images.shape == (found.training.batch, 3, side, side)
    assert 0 <= images.min() <= images.max() <= 1
    assert set(labels.tolist()) <= set(range(len(found.photographs)))
    assert not torch.equal(images, one.batch(6)[0])
    assert not torch.equal(images, pretext.Crops(dataclasses.replace(found, seed=1)).batch(5)[0])


def test_pretext_learns_to_tell_photographs_apart(micro: Any, retrained: Any, tmp_path: Path) -> None:
    spec = retrained(micro.trial("pretext"), steps=40, batch=16)
    numbers = micro.run(spec, tmp_path).numbers
    assert numbers["chance"] == 0.5
    assert numbers["accuracy"] > 0.8


# ------------------------------------------------------------------------------------------------- fr_iqa


def test_a_fitted_metric_is_no_worse_than_uniform_weights(micro: Any, tmp_path: Path) -> None:
    spec = dataclasses.replace(micro.trial("fr_iqa"), fit=MetricFit(iterations=60, learning_rate=0.1))
    numbers = micro.run(spec, tmp_path).numbers
    assert numbers["validation_srcc"] >= numbers["validation_srcc_uniform"]
    curve = pq.read_table(tmp_path / "curves.parquet").to_pandas()
    plcc = curve[curve.name == "train_plcc"].value.to_numpy()
    assert len(plcc) == 61
    assert plcc[-1] > plcc[0]
    assert numbers["validation_srcc"] == pytest.approx(curve[curve.name == "validation_srcc"].value.max())


def test_the_exported_metric_has_weights_on_the_simplex(micro: Any) -> None:
    metric = load_metric(micro.folder("fr_iqa"))
    assert min(metric.alpha.min(), metric.beta.min()) >= 0
    assert float(metric.alpha.sum() + metric.beta.sum()) == pytest.approx(1, abs=1e-5)


# --------------------------------------------------------------------------------------- super-resolution


def test_the_warm_up_learns(micro: Any) -> None:
    numbers = micro.record("warm-up")["numbers"]
    assert numbers["validation_psnr"] > numbers["validation_psnr_start"] + 3
    assert numbers["weight_pixel"] == 1.0
    for child in ("loss", "gan"):
        assert micro.record(child)["numbers"]["validation_psnr_start"] == numbers["validation_psnr"]


def test_at_first_only_the_discriminator_is_trained(micro: Any, retrained: Any, tmp_path: Path) -> None:
    spec = retrained(micro.trial("gan"), discriminator_warmup=3, steps=1)
    stops = iter([False, False, True])
    with pytest.raises(Interrupted):
        micro.run(spec, tmp_path, should_stop=lambda: next(stops))
    (checkpoint,) = (tmp_path / "checkpoint").iterdir()
    state = torch.load(checkpoint, weights_only=True)
    start = load_generator(micro.folder("warm-up")).state_dict()
    for part in ("generator", "ema"):
        assert all(torch.equal(value, start[name]) for name, value in state[part].items())
    assert state["optimizer"]["state"] == {}
    assert state["terms"]["weights"] is None
    trained, untrained = state["terms"]["adversarial"]["discriminator"], load_backbone(micro.folder("pretext"))
    changed = [not torch.equal(trained[f"backbone.{name}"], p) for name, p in untrained.named_parameters()]
    assert any(changed)


def test_the_moving_average_is_what_is_exported(micro: Any, retrained: Any, tmp_path: Path) -> None:
    """With decay 1 the average never leaves the warm-up, however the generator moves."""
    spec = retrained(micro.trial("loss"), ema=1.0)
    numbers = micro.run(spec, tmp_path).numbers
    exported, start = load_generator(tmp_path), load_generator(micro.folder("warm-up"))
    assert all(torch.equal(a, b) for a, b in zip(exported.parameters(), start.parameters(), strict=True))
    assert numbers["validation_psnr"] == numbers["validation_psnr_start"]


# ---------------------------------------------------------------------------------------------- diverging


@pytest.mark.parametrize("name", ["pretext", "warm-up", "loss", "gan", "fr", "nr"])
def test_an_absurd_learning_rate_ends_as_diverged(name: str, micro: Any, retrained: Any, tmp_path: Path) -> None:
    outcome = micro.run(retrained(micro.trial(name), steps=4, learning_rate=1e6), tmp_path)
    assert outcome.status == "diverged"
    assert "not finite" in outcome.note or "nan" in outcome.note or "inf" in outcome.note
    assert set(outcome.files) == {"curves.parquet"}


def spoil(optimizer: torch.optim.Adam) -> None:
    """An update after which the weights are not finite."""
    for group in optimizer.param_groups:
        for parameter in group["params"]:
            parameter.data.fill_(float("nan"))


@pytest.mark.parametrize(
    ("name", "why"), [("pretext", "weights are"), ("warm-up", "weights are"), ("gan", "a gradient is")]
)
def test_an_update_that_no_loss_follows_is_checked_too(
    name: str, why: str, micro: Any, retrained: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(torch.optim.Adam, "step", spoil)
    outcome = micro.run(retrained(micro.trial(name), steps=1), tmp_path)
    assert outcome.status == "diverged"
    assert outcome.note.startswith(f"{why} not finite")
    assert set(outcome.files) == {"curves.parquet"}


def test_a_fall_of_more_than_the_threshold_is_a_divergence(micro: Any, retrained: Any, tmp_path: Path) -> None:
    spec = retrained(micro.trial("loss"), learning_rate=0.01)
    numbers = micro.run(spec, tmp_path / "lenient").numbers
    fall = numbers["validation_psnr_start"] - numbers["validation_psnr"]
    at, over = fall, math.nextafter(fall, -math.inf)
    assert micro.run(retrained(spec, divergence=at), tmp_path / "at").status == "done"
    outcome = micro.run(retrained(spec, divergence=over), tmp_path / "over")
    assert (outcome.status, outcome.note) == ("diverged", f"validation PSNR fell {fall:.2f} dB below the warm-up's")
    assert set(outcome.files) == {"curves.parquet"}
    assert outcome.numbers == numbers


@pytest.mark.parametrize(
    ("steps", "measured"),
    [
        (0, [0]),
        (3, [3]),
        (19, [19]),
        (30, [10, 20, 30]),
        (99, [11, 22, 33, 44, 55, 66, 77, 88, 99]),
        (100_000, list(range(10_000, 100_001, 10_000))),
    ],
)
def test_checkpoints_are_equally_spaced_and_end_with_the_training(steps: int, measured: list[int]) -> None:
    assert super_resolution.checkpoints(steps) == measured


@pytest.mark.parametrize("name", ["warm-up", "gan"])
def test_stability_is_the_spread_over_the_last_checkpoints(
    name: str, micro: Any, retrained: Any, tmp_path: Path
) -> None:
    spec = retrained(micro.trial(name), steps=62, batch=1)
    numbers = micro.run(spec, tmp_path).numbers
    curve = pq.read_table(tmp_path / "curves.parquet").to_pandas()
    measured = curve[curve.name == "validation_psnr"]
    first = spec.training.discriminator_warmup
    assert measured.step.to_list() == [first + steps - 1 for steps in (10, 20, 31, 41, 51, 62)]
    assert measured.value.iloc[-1] == numbers["validation_psnr"]
    assert numbers["validation_psnr_spread"] == pytest.approx(np.std(measured.value[-5:], ddof=1), rel=1e-9)
    assert numbers["validation_psnr_spread"] > 0


def test_a_checkpoint_is_what_a_shorter_training_ends_with(micro: Any, retrained: Any, tmp_path: Path) -> None:
    long = retrained(micro.trial("loss"), steps=20)
    micro.run(long, tmp_path / "long")
    ended = micro.run(retrained(long, steps=10), tmp_path / "short").numbers
    curve = pq.read_table(tmp_path / "long" / "curves.parquet").to_pandas()
    at_ten = curve[(curve.name == "validation_psnr") & (curve.step == 9)]
    assert at_ten.value.to_list() == [ended["validation_psnr"]]
    assert "validation_psnr_spread" not in ended  # of one checkpoint there is none


def test_measuring_changes_no_weight(
    micro: Any, retrained: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    spec = retrained(micro.trial("gan"), steps=4)
    often, never = tmp_path / "often", tmp_path / "never"
    without = micro.run(spec, never)
    monkeypatch.setattr(super_resolution, "STEPS_APART", 1)
    measured = micro.run(spec, often)
    assert "validation_psnr_spread" in measured.numbers.keys() - without.numbers.keys()
    names = [name for name in measured.files if name.startswith("weights/")]
    assert names
    assert all(measured.files[name] == without.files[name] for name in names)


# ---------------------------------------------------------------------------------- restoration and judging


def read(folder: Path) -> dict[str, np.ndarray]:
    return {file.stem: np.asarray(Image.open(file)) for file in sorted(folder.iterdir())}


def test_restored_images_are_the_generators_output_rounded(micro: Any) -> None:
    found = micro.trial("restoration")
    generator = load_generator(micro.inputs(found)["super_resolution"]).eval()
    images, pairs = read(micro.folder("restoration") / "images"), evaluation_pairs(found.test, Sources(), found.scale)
    assert list(images) == sorted(pair.image_name for pair in pairs)
    for pair in pairs:
        with torch.no_grad():
            output = generator(to_tensor(pair.low)[None])[0].permute(1, 2, 0).numpy()
        assert np.abs(images[pair.image_name] - 255.0 * output.clip(0, 1)).max() <= 0.5 + 1e-3
        assert images[pair.image_name].shape == pair.high.shape


def test_bicubic_keeps_both_sides_of_each_pair(micro: Any) -> None:
    found, folder = micro.trial("bicubic"), micro.folder("bicubic")
    written = {name: read(folder / name) for name in ("reference", "low_resolution", "images")}
    for pair in evaluation_pairs(found.test, Sources(), found.scale):
        np.testing.assert_array_equal(written["reference"][pair.image_name], pair.high)
        np.testing.assert_array_equal(written["low_resolution"][pair.image_name], pair.low)
        np.testing.assert_array_equal(written["images"][pair.image_name], upscale_bicubic(pair.low, found.scale))
    assert not (micro.folder("restoration") / "reference").exists()


@pytest.mark.parametrize("name", ["psnr", "piqe"])
def test_judgements_are_pyiqas_own_on_the_pngs(name: str, micro: Any) -> None:
    judges.judge(name)  # imports pyiqa with its one warning silenced
    import pyiqa

    metric = pyiqa.create_metric(name, device="cpu")
    found, table = micro.trial(name), pq.read_table(micro.folder(name) / "scores.parquet").to_pylist()
    restored, reference = (
        read(micro.inputs(found)["restoration"] / "images"),
        read(micro.folder("bicubic") / "reference"),
    )
    assert [row["image"] for row in table] == [photograph.name for photograph in found.test.photographs]
    for row in table:
        x, y = (to_tensor(images[row["image"]])[None] for images in (restored, reference))
        assert row["prediction"] == pytest.approx(float(metric(x, y) if name == "psnr" else metric(x)), rel=1e-5)
    numbers = micro.record(name)["numbers"]
    assert numbers["mean"] == pytest.approx(np.mean([row["prediction"] for row in table]))
    assert numbers["lower_better"] == (name == "piqe")


def test_a_judge_of_another_version_is_refused(micro: Any, tmp_path: Path) -> None:
    found = micro.trial("psnr")
    old = dataclasses.replace(found, judge=dataclasses.replace(found.judge, version="pyiqa 0.0.1"))
    with pytest.raises(ValueError, match=r"judge psnr: the spec wants pyiqa 0\.0\.1, installed is pyiqa \d"):
        micro.run(old, tmp_path)


# ------------------------------------------------------------------------------------- transfer and benchmark


def test_iqa_training_keeps_the_best_validated_step(micro: Any, retrained: Any, tmp_path: Path) -> None:
    spec = retrained(micro.trial("fr"), steps=15, evaluate_every=3)
    numbers = micro.run(spec, tmp_path).numbers
    curve = pq.read_table(tmp_path / "curves.parquet").to_pandas()
    validation = curve[curve.name == "validation_mse"]
    assert validation.step.to_list() == [2, 5, 8, 11, 14]
    assert numbers["validation_mse"] == min(numbers["validation_mse_constant"], validation.value.min())
    assert numbers["validation_mse"] < numbers["validation_mse_constant"]
    assert numbers["best_step"] == validation.step[validation.value.idxmin()] + 1


def test_a_gan_start_is_the_discriminators_backbone(micro: Any, retrained: Any, tmp_path: Path) -> None:
    """Without any step the exported model still has the backbone that it started from."""
    spec = retrained(micro.trial("gan-start"), steps=0)
    numbers = micro.run(spec, tmp_path).numbers
    assert numbers["validation_mse"] == pytest.approx(numbers["validation_mse_constant"], rel=1e-5)
    assert "validation_srcc" not in numbers  # a constant has none
    ours = weights.load_iqa_model(tmp_path).backbone.state_dict()
    theirs = load_backbone(micro.inputs(spec)["weights"]).state_dict()
    assert all(torch.equal(value, theirs[name]) for name, value in ours.items())


def test_a_benchmark_records_the_correlations_of_its_scores(micro: Any) -> None:
    table = pq.read_table(micro.folder("benchmark") / "scores.parquet").to_pandas()
    numbers = micro.record("benchmark")["numbers"]
    assert numbers["srcc"] == pytest.approx(table.prediction.corr(table.label, method="spearman"))
    assert numbers["krcc"] == pytest.approx(table.prediction.corr(table.label, method="kendall"))
    assert numbers["plcc"] == pytest.approx(table.prediction.corr(table.label))
    assert benchmark.correlations(np.ones(3), np.arange(3.0)) == {}


@pytest.mark.parametrize("name", ["fr_iqa", "psnr", "benchmark", "iqa-benchmark"])
def test_every_table_of_scores_has_the_same_columns(name: str, micro: Any) -> None:
    table = pq.read_table(micro.folder(name) / "scores.parquet")
    assert table.schema.remove_metadata().equals(SCORES)
    found, rows = micro.trial(name), table.to_pylist()
    assert {(row["key"], row["kind"]) for row in rows} == {(micro.folder(name).name, found.KIND)}
    assert {row["split"] for row in rows} == {"validation" if name == "fr_iqa" else "test"}
    assert len({row["image"] for row in rows}) == len(rows)
    assert all((row["label"] is None) == (name == "psnr") for row in rows)

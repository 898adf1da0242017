"""What is read of a store: the frames of the evidence, the groups of losses, runs in MLflow, small studies."""

import json
import re
from collections import Counter

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from orchestrator import circularity
from orchestrator import grid as grids
from orchestrator.aggregate import origins, scores
from orchestrator.aggregate.finished import lineage
from orchestrator.aggregate.per_trial import correlations, image_means
from orchestrator.identity import key
from tests.aggregate.conftest import GRID, PSNRS, cell, evidence_of, fill, frame, predicted, small_grid
from tests.aggregate.test_shapes import OFFICIAL, OPTIMIZATION_ALONE

FACTORS = ["role", "loss", "discriminator", "initialization", "task", "backbone", "start", "seed", "data_set", "judge"]
FACTORS += ["family", "baseline"]


def read(path):
    return scores.read(grids.load(path))


@pytest.fixture(scope="module")
def found(filled):
    return read(filled[0])


def expanded(tmp_path, text):
    """Evidence of a grid with an empty store."""
    return read(small_grid(tmp_path, text)[0])


def test_a_cell_is_a_label_with_the_outcome_and_the_numbers_of_its_trial(filled, found):
    cells = found.cells
    assert list(cells) == [*FACTORS, "kind", "key", "status", "because", "lower_better", *PSNRS]
    assert cells["key"].tolist() == [key(label.spec) for label in filled[1].labels]
    trained = cells[cells["role"] == "optimization"]
    assert Counter(trained["status"]) == {"done": 16, "diverged": 1}
    for name, value in PSNRS.items():
        assert set(trained[name]) == {value}
    judged = cells[(cells["role"] == "judging") & (cells["status"] == "done")]
    assert dict(zip(judged["judge"], judged["lower_better"], strict=True)) == {
        "piqe": 1.0,
        "vsi": 0.0,
        "gmsd": 1.0,
        "psnr": 0.0,
    }
    (diverged,) = trained.loc[trained["status"] == "diverged", "key"]
    stopped = cells[cells["status"] == "parent diverged"]
    assert set(stopped["because"]) == {f"super_resolution {diverged}"}
    assert set(stopped["role"]) == {"judging", "iqa_model", "iqa_benchmark"}


def test_every_trial_has_its_name_its_outcome_and_its_record(filled, found):
    _, study, store = filled
    trials = found.trials
    assert list(trials) == origins.TRIALS
    assert trials.index.tolist() == list(lineage(label.spec for label in study.labels))
    assert trials.index.is_unique
    (one,) = found.cells.loc[
        (found.cells["role"] == "optimization")
        & (found.cells["loss"] == "vit")
        & (found.cells["discriminator"] == "patch-vgg-pretext")
        & (found.cells["seed"] == 0),
        "key",
    ]
    row = trials.loc[one]
    assert row["name"] == "optimize vit under patch-vgg-pretext, seed 0"
    assert row[["kind", "status", "seconds", "device"]].tolist() == ["super_resolution", "done", 2.5, "some processor"]
    assert row[["git_commit", "git_dirty", "mlflow"]].tolist() == ["0123456789abcdef", False, ""]
    assert row["record"] == str(store.folder("super_resolution", one) / "record.json")
    absent = trials[~trials["status"].isin(["done", "diverged"])]
    assert set(absent["status"]) == {"missing", "failed", "parent diverged"}
    assert set(absent["record"]) == {""}
    assert absent["seconds"].isna().all()
    assert absent["git_dirty"].isna().all()


def test_records_are_named_from_the_working_directory(tmp_path, monkeypatch):
    path, study, store = small_grid(tmp_path)
    fill(store, study, lambda label: "done" if label.role == "metric" else None)
    monkeypatch.chdir(tmp_path)
    records = read(path).trials.query("status == 'done'")["record"]
    assert set(records) == {f"store/fr_iqa/{name}/record.json" for name in records.index}


def test_levels_are_those_of_the_discriminators(found, tmp_path):
    parts = ["discriminator", "head", "backbone", "start"]
    assert found.levels[parts].values.tolist() == [
        ["none", "", "", ""],
        ["patch-vgg-pretext", "patch", "vgg", "pretext"],
    ]
    assert found.levels["weight"].isna().all()
    raw = expanded(tmp_path, OPTIMIZATION_ALONE).levels
    assert raw.loc[1].tolist() == ["patch-resnet50-released-w0.003", "patch", "resnet50", "released", 0.003]
    assert raw.groupby("backbone", sort=False)["weight"].max().tolist() == pytest.approx([np.nan, 1, 1], nan_ok=True)


def test_a_calibrated_weight_is_a_multiple(tmp_path):
    text = GRID.replace("start: pretext}", "start: pretext, weight: [{calibrated: 0.1}, {calibrated: 1}]}")
    found = expanded(tmp_path, text).levels
    assert found["discriminator"].tolist() == ["none", "patch-vgg-pretext-x0.1", "patch-vgg-pretext-x1"]
    assert found["weight"].tolist() == pytest.approx([np.nan, 0.1, 1.0], nan_ok=True)


JUDGED = OFFICIAL.replace("[psnr]", "[psnr, dists]")
WITH_TWINS = JUDGED.replace("loss: [vgg16, resnet50, dinov2]", "loss: [vgg16, resnet50]\n  twins: [resnet50-r, dinov2]")
WITH_TWINS = WITH_TWINS.replace(
    "  dinov2: {", "  resnet50-r: {model: timm/resnet50.tv2_in1k, weights: random}\n  dinov2: {"
)


def test_judges_of_the_score_that_are_kin_to_a_loss(tmp_path):
    found = expanded(tmp_path, JUDGED).circular  # dists, which shares its weights with vgg16, is not in the score
    assert found[["judge", "loss"]].values.tolist() == [["topiq_nr", "resnet50"]]
    assert found["why"].item() == circularity.shared("topiq_nr", "timm/resnet50.tv2_in1k", "released")


def test_each_group_has_the_kin_and_the_curves_of_its_own_losses(tmp_path):
    path, study, store = small_grid(tmp_path, WITH_TWINS)
    fill(store, study, lambda label: "done" if label.role == "optimization" else None)
    whole = read(path)
    assert whole.circular["loss"].tolist() == ["resnet50", "resnet50-r"]
    (_, main), (suffix, apart) = whole.groups()
    assert suffix == "-twins"
    assert main.circular["loss"].tolist() == ["resnet50"]
    assert apart.circular["loss"].tolist() == ["resnet50-r"]
    assert apart.circular["why"].item().startswith("architecture only: ")
    assert set(main.curves["loss"]) == {"vgg16", "resnet50", "warm-up"}
    assert set(apart.curves["loss"]) == {"resnet50-r", "dinov2", "warm-up"}
    for group in (main, apart):
        assert not group.twins
        for same in ("levels", "trials", "faults"):
            assert getattr(group, same) is getattr(whole, same)


def test_a_judge_of_which_nobody_declared_the_networks_is_kin_to_every_loss(tmp_path, monkeypatch):
    monkeypatch.delitem(circularity.KINSHIP, "gmsd")
    found = expanded(tmp_path, GRID).circular
    assert found[["judge", "loss"]].values.tolist() == [["gmsd", "vgg-r"], ["gmsd", "vgg"], ["gmsd", "vit"]]
    why = "undeclared: nobody has declared which networks gmsd shares (orchestrator/circularity.py)"
    assert set(found["why"]) == {why}


def test_curves_are_those_of_the_finished_trainings(found):
    curves = found.curves
    assert list(curves) == ["key", "loss", "discriminator", "seed", "baseline", "name", "step", "value"]
    trained = found.cells[found.cells["role"] == "optimization"]
    assert set(curves["key"]) == set(trained["key"])  # a diverged one has curves too
    one = curves[curves["key"] == trained["key"].iloc[0]]
    assert one[["name", "step", "value"]].values.tolist() == [
        ["loss", 0.0, 0.5],
        ["loss", 10.0, 0.25],
        ["pixel", 0.0, 0.125],
    ]
    assert one["loss"].tolist() == ["warm-up"] * 3
    assert one["baseline"].all()


@pytest.mark.parametrize("points", [1, 99, 100, 101, 250, 10_000])
def test_long_curves_are_thinned_by_means(tiny, points):
    path, study, store = tiny
    fill(store, study, lambda label: "done" if label.loss == "vit" and label.role == "optimization" else None)
    steps = np.arange(points) * 10
    table = pa.table({"name": ["loss"] * points, "step": steps, "value": steps / 10 + 1.0})
    trained = sorted(store.root.glob("super_resolution/*/curves.parquet"))
    pq.write_table(table, trained[0])
    found = read(path).curves
    thin = found[found["key"] == trained[0].parent.name]
    assert len(thin) == min(points, origins.MOST_POINTS)
    assert thin["step"].is_monotonic_increasing
    np.testing.assert_allclose(thin["value"], thin["step"] / 10 + 1.0)
    if points % len(thin) == 0:
        assert thin["value"].mean() == pytest.approx(table["value"].to_numpy().mean())


def test_infinite_values_of_a_curve_stay_infinite(tiny):
    path, study, store = tiny
    fill(store, study, lambda label: "diverged" if label.role == "optimization" else None)
    file = min(store.root.glob("super_resolution/*/curves.parquet"))
    values = [1.0, *[np.inf, -np.inf] * 150]
    pq.write_table(pa.table({"name": ["loss"] * 301, "step": range(301), "value": values}), file)
    found = read(path).curves
    assert not np.isfinite(found.loc[found["key"] == file.parent.name, "value"]).all()


def test_trainings_without_curves_have_none_and_count(tiny):
    path, study, store = tiny
    fill(store, study, lambda label: "done" if label.role == "optimization" else None)
    for file in store.root.glob("super_resolution/*/curves.parquet"):
        file.unlink()
    found = read(path)
    assert found.curves.empty
    assert found.faults.empty
    assert set(found.cells.loc[found.cells["role"] == "optimization", "status"]) == {"done"}


def test_runs_in_mlflow_are_linked(tiny):
    path, study, store = tiny
    metric, benchmark = (
        next(key(label.spec) for label in study.labels if label.role == role) for role in ("metric", "metric_benchmark")
    )
    (store.root / "mlflow").mkdir(parents=True)
    links = {"experiment": "7", "runs": {metric: "abc", benchmark: "abc"}}
    (store.root / "mlflow/tiny.json").write_text(json.dumps(links))
    found = read(path)
    assert found.trials.loc[[metric, benchmark], "mlflow"].tolist() == ["#/experiments/7/runs/abc"] * 2
    assert set(found.trials["mlflow"]) == {"", "#/experiments/7/runs/abc"}
    assert found.faults.empty


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ('{"experiment": "7", "ru', r"cannot be read \(.+\)"),
        ('{"runs": {}}', "lacks experiment or runs"),
        ("[]", "lacks experiment or runs"),
    ],
)
def test_a_damaged_list_of_runs_costs_the_links_alone(tiny, text, why):
    path, _, store = tiny
    (store.root / "mlflow").mkdir(parents=True)
    (store.root / "mlflow/tiny.json").write_text(text)
    found = read(path)
    assert set(found.trials["mlflow"]) == {""}
    assert found.faults[["kind", "key"]].values.tolist() == [["mlflow", ""]]
    wanted = (
        f"{re.escape(str(store.root))}/mlflow/tiny.json: this list of MLflow's runs {why}; nothing links to MLflow; "
    )
    assert re.fullmatch(wanted + "sweep again to write it anew", found.faults["what"].item())


def test_one_loss_one_seed_and_one_judge_are_read(tmp_path):
    text = GRID.replace("seeds: [0, 1]", "seeds: [3]").replace("loss: [vgg-r, vgg, vit]", "loss: [vgg]")
    text = text.replace(
        "{score: {no-reference: [piqe], structural: [vsi, gmsd]}, beside: [psnr]}", "{score: {a: [vsi]}}"
    )
    path, study, store = small_grid(tmp_path, text)
    fill(store, study)
    found = read(path)
    assert (found.losses, found.seeds, found.faults.empty) == (("vgg",), (3,), True)
    judged = found.cells[(found.cells["role"] == "judging") & ~found.cells["baseline"]]
    assert set(judged["judge"]) == {"vsi"}
    assert len(found.scores) == found.cells["role"].isin(scores.SCORED_ROLES).sum()


def test_an_empty_store_is_read_as_missing(tiny):
    found = read(tiny[0])
    assert set(found.cells["status"]) == set(found.trials["status"]) == {"missing"}
    assert found.scores == {}
    assert found.curves.empty
    assert found.faults.empty


def test_constant_scores_have_no_correlation_and_a_mean():
    given = {"a": predicted([1.0, 1.0, 1.0], [1, 2, 3]), "b": predicted([1.0, 2.0, 3.0], [1, 2, 3])}
    found = correlations(given, ["a", "b", "absent"], fitted=True).set_index("key")
    assert found.index.tolist() == ["a", "b"]
    assert found.loc["a", ["srcc", "krcc", "plcc"]].isna().all()
    assert found.loc["b", ["srcc", "krcc", "plcc"]].tolist() == pytest.approx([1, 1, 1])
    assert image_means(given, ["b", "a", "b"]).values.tolist() == [["b", 2.0, 3], ["a", 1.0, 3]]
    assert image_means({}, []).empty


def test_evidence_of_rows_has_frames_of_the_same_columns(found):
    """What the tests of tables are given is what a store gives."""
    built = evidence_of([cell("metric_benchmark", "a", loss="a")], {}, ["a"])
    for name in ("cells", "restorations", "levels", "circular", "trials", "curves", "faults"):
        assert set(getattr(built, name)) == set(getattr(found, name)), name
    assert built.trials.loc["a", "kind"] == "benchmark"
    kin = frame("judge loss why", [("vsi", "a", "weights: the same")])
    assert evidence_of([cell("metric_benchmark", "a")], {}, ["a"], circular=kin).circular is kin
    assert pd.isna(built.levels["weight"].item())

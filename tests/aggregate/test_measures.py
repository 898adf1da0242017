import numpy as np
import pandas as pd
import pytest
import scipy.stats

from orchestrator.aggregate.measures import performance, quality, stability
from tests.aggregate.conftest import cell, evidence_of, frame, predicted

FAMILIES = {"x1": "x", "x2": "x", "y": "y", "psnr": ""}
LOSSES, HEADS, SEEDS = ("a", "b"), ("none", "patch"), (0, 1)
LEVELS = frame("discriminator head backbone start weight", [("none", "", "", "", np.nan), ("patch", "p", "v", "", 0.1)])


def images(judge, data_set, *levels, n=3):
    """Invented scores of one judging; y is lower-better."""
    return np.random.default_rng(list("/".join(map(str, (judge, data_set, *levels))).encode())).normal(50, 10, size=n)


def judged(sets=("natural",), judges=("x1", "x2", "y", "psnr"), warmup_judges=None, gone=(), lost=()):
    """Evidence of two losses under two discriminators with two seeds, judged, and of the warm-up; `gone` names keys
    that are missing, `lost` trainings that diverged."""
    cells, scores = [], {}

    def judging(judge, data_set, **levels):
        name = f"{judge}-{data_set}-{levels['loss']}-{levels['discriminator']}-{levels['seed']}"
        training = (levels["loss"], levels["discriminator"], levels["seed"])
        status = "parent diverged" if training in lost else "missing" if name in gone else "done"
        levels |= {"judge": judge, "data_set": data_set, "family": FAMILIES[judge], "status": status}
        cells.append(cell("judging", name, lower_better=float(judge == "y"), **levels))
        if status == "done":
            scores[name] = predicted(images(judge, data_set, *training))

    for data_set in sets:
        for judge in judges if warmup_judges is None else warmup_judges:
            judging(judge, data_set, loss="warm-up", discriminator="none", seed=0, baseline=True)
        for loss, head, seed in ((x, d, s) for x in LOSSES for d in HEADS for s in SEEDS):
            for judge in judges:
                judging(judge, data_set, loss=loss, discriminator=head, seed=seed)
    for loss, head, seed in ((x, d, s) for x in LOSSES for d in HEADS for s in SEEDS):
        status = "diverged" if (loss, head, seed) in lost else "done"
        spread = np.nan if status == "diverged" else 0.1 * (seed + 1)
        levels = {"loss": loss, "discriminator": head, "seed": seed, "status": status}
        cells.append(cell("optimization", f"sr-{loss}-{head}-{seed}", validation_psnr_spread=spread, **levels))
    return evidence_of(cells, scores, LOSSES, HEADS, SEEDS, levels=LEVELS)


def row_of(measured, loss, head, seed):
    where = [(r["loss"], r["discriminator"], r["seed"]) == (loss, head, seed) for r in measured.records]
    assert sum(where) == 1
    return where.index(True)


def in_deviations(judge, data_sets, one, *training):
    """Scores of one judging over the deviation of the warm-up's on all test images together."""
    pooled = np.concatenate([images(judge, name, "warm-up", "none", 0) for name in data_sets])
    return images(judge, one, *training) / pooled.std()


# -------------------------------------------------------------------------------------------------------- quality


def test_quality_is_oriented_in_deviations_of_the_warm_up_and_families_weigh_alike():
    measured = quality(judged())
    for training in (("a", "none", 1), ("b", "patch", 0)):
        x1, x2, y = (in_deviations(judge, ["natural"], "natural", *training) for judge in ("x1", "x2", "y"))
        expected = ((x1 + x2) / 2 - y) / 2
        np.testing.assert_allclose(measured.values[row_of(measured, *training)], expected)  # a column a content


def test_columns_are_test_sets_where_there_are_two_and_the_deviation_is_over_both():
    sets = ("natural", "texture")
    measured, training = quality(judged(sets)), ("b", "none", 0)
    parts = [[in_deviations(j, sets, name, *training).mean() for j in ("x1", "x2", "y")] for name in sets]
    expected = [((x1 + x2) / 2 - y) / 2 for x1, x2, y in parts]
    np.testing.assert_allclose(measured.values[row_of(measured, *training)], expected)


def test_named_judges_take_the_place_of_the_score_each_a_family():
    measured, training = quality(judged(), ("psnr", "y")), ("a", "none", 0)
    psnr, y = (in_deviations(judge, ["natural"], "natural", *training) for judge in ("psnr", "y"))
    row = row_of(measured, *training)
    np.testing.assert_allclose(measured.values[row], (psnr - y) / 2)
    assert set(measured.records[row]["keys"]) == {"psnr-natural-a-none-0", "y-natural-a-none-0"}


def test_keys_are_of_the_judges_of_the_score():
    row = quality(judged()).records[0]
    assert {key.split("-")[0] for key in row["keys"]} == {"x1", "x2", "y"}
    assert len(row["keys"]) == 3


def test_a_missing_judging_gives_a_hole_and_never_a_mean_of_the_rest():
    measured = quality(judged(("natural", "texture"), gone={"x1-texture-a-none-0"}))
    values = measured.values[row_of(measured, "a", "none", 0)]
    assert np.isfinite(values).tolist() == [True, False]
    assert np.isfinite(np.delete(measured.values, row_of(measured, "a", "none", 0), axis=0)).all()
    assert np.flatnonzero(measured.partial).tolist() == [row_of(measured, "a", "none", 0)]


def test_without_the_warm_up_a_judge_has_no_unit_and_nothing_has_a_value():
    assert np.isnan(quality(judged(warmup_judges=("x1", "x2"))).values).all()


def test_a_named_judge_that_is_not_there_compares_nothing():
    evidence = judged()
    measured = quality(evidence, ("psnr", "niqe"))
    assert measured.values.shape == (8, 1)
    assert np.isnan(measured.values).all()


def test_a_diverged_training_is_a_row_without_values():
    measured = quality(judged(lost={("a", "patch", 1)}))
    row = row_of(measured, "a", "patch", 1)
    assert np.isnan(measured.values[row]).all()
    assert measured.records[row]["status"] == "diverged"
    assert not measured.partial.any()


def test_rows_carry_the_levels_of_their_discriminator():
    rows = quality(judged()).records
    assert {(r["discriminator"], r["head"], r["backbone"]) for r in rows} == {("none", "", ""), ("patch", "p", "v")}
    assert len(rows) == 8  # baselines are not compared


def test_stability_is_minus_the_spread():
    measured = stability(judged(lost={("b", "none", 0)}))
    assert measured.values[row_of(measured, "a", "patch", 1)] == pytest.approx(-0.2)
    assert np.isnan(measured.values[row_of(measured, "b", "none", 0)])


# ---------------------------------------------------------------------------------------------------- performance


def transferred(gone=(), lost=()):
    """An fr model from released weights and one from a discriminator, with two benchmarks; an nr one with one."""
    cells, scores = [], {}
    models = [("fr", "released", "", ""), ("fr", "gan", "a", "patch"), ("nr", "released", "", "")]
    for task, initialization, loss, discriminator in models:
        for name in ("live", "csiq") if task == "fr" else ("spaq",):
            key = f"{task}-{initialization}-{name}"
            status = "parent diverged" if initialization in lost else "missing" if key in gone else "done"
            levels = {"task": task, "initialization": initialization, "loss": loss, "discriminator": discriminator}
            cells.append(cell("iqa_benchmark", key, data_set=name, status=status, backbone="vgg", **levels))
            if status == "done":
                scores[key] = predicted(images("iqa", key, n=12), np.arange(12.0))
    extra = {"task": "fr", "initialization": "gan", "loss": "pixel", "baseline": True, "data_set": "live"}
    cells.append(cell("iqa_benchmark", "baseline", backbone="vgg", **extra))
    scores["baseline"] = predicted(images("iqa", "baseline", n=12), np.arange(12.0))
    return evidence_of(cells, scores, ["a"], HEADS, levels=LEVELS)


def expected_srcc(*keys):
    return [scipy.stats.spearmanr(images("iqa", key, n=12), np.arange(12)).statistic if key else np.nan for key in keys]


def model(measured, task, initialization):
    where = [(r["task"], r["initialization"]) == (task, initialization) for r in measured.records]
    assert sum(where) == 1
    return where.index(True)


def test_srcc_of_every_model_on_every_benchmark_of_its_task():
    measured = performance(transferred())
    assert measured.values.shape == (3, 3)  # the baseline is not in it
    expected = expected_srcc("fr-gan-live", "fr-gan-csiq", None)
    np.testing.assert_allclose(measured.values[model(measured, "fr", "gan")], expected)
    expected = expected_srcc(None, None, "nr-released-spaq")
    np.testing.assert_allclose(measured.values[model(measured, "nr", "released")], expected)
    assert measured.records[model(measured, "fr", "gan")]["keys"] == ("fr-gan-live", "fr-gan-csiq")
    assert measured.records[model(measured, "fr", "gan")]["head"] == "p"
    assert not measured.partial.any()


def test_a_missing_benchmark_is_a_hole_and_a_model_that_lacks_one_is_partial():
    measured = performance(transferred(gone={"fr-released-csiq"}))
    row = model(measured, "fr", "released")
    np.testing.assert_allclose(measured.values[row], expected_srcc("fr-released-live", None, None))
    assert (measured.records[row]["status"], np.flatnonzero(measured.partial).tolist()) == ("missing", [row])


def test_a_model_whose_training_diverged_says_so():
    measured = performance(transferred(lost={"gan"}))
    row = model(measured, "fr", "gan")
    assert np.isnan(measured.values[row]).all()
    assert measured.records[row]["status"] == "parent diverged"


def test_a_study_without_iqa_models_has_no_performance():
    measured = performance(judged())
    assert (len(measured.cells), len(measured.values)) == (0, 0)
    assert isinstance(measured.cells, pd.DataFrame)

import numpy as np
import pandas as pd
import pytest

from orchestrator import grid as grids
from orchestrator.aggregate import scores, tables
from orchestrator.aggregate.counting import over_seeds, with_counts
from orchestrator.aggregate.writing import Table, markdown, text, write
from tests.aggregate.conftest import cell, evidence_of, predicted

LABELS = np.arange(4.0)
VIEWS = {"sensitivity", "reliability", "claims_by_view"}


def by_name(path):
    """The tables of a grid file by name."""
    grid = grids.load(path)
    return {table.name: table.frame for table in tables.build(scores.read(grid), grid.claims)}


@pytest.fixture(scope="module")
def frames(filled):
    """The tables of the filled store by name."""
    return by_name(filled[0])


def test_every_table_says_how_many_seeds_are_there_and_names_its_keys(frames):
    """The views of the whole study have none: they rest on the trials of the tables that they vary."""
    assert set(frames) >= VIEWS
    for name, frame in frames.items():
        assert ("keys" in frame) == (name not in VIEWS), name
        counted = {"seeds", "seeds_planned", "trials", "trials_planned"} <= set(frame)
        assert counted == (name not in VIEWS | {"missing", "claims"}), name  # claims count their units


def test_claims_name_the_trials_that_they_rest_on(filled, frames):
    grid = grids.load(filled[0])
    cells = scores.read(grid).cells
    done = cells[(cells["status"] == "done") & ~cells["baseline"]]
    judged = set(done.loc[(done["role"] == "judging") & (done["family"] != ""), "key"])
    metrics = set(done.loc[done["role"] == "metric_benchmark", "key"])
    trained = done[(done["role"] == "iqa_benchmark") & done["initialization"].isin(["pretext", "gan"])]
    named = frames["claims"].set_index("claim")["keys"].str.split().map(set)
    assert named["F1"] == named["F2"] == judged | metrics
    assert named["F4"] == set(trained.loc[trained["backbone"] == "vgg", "key"])  # no discriminator is a vit


def test_claims_say_what_they_could_not_use(frames):
    claims = frames["claims"].set_index("claim")
    assert claims["contrast"].tolist() == ["agreement", "agreement_change", "difference", "difference"]
    assert claims["units"].tolist() == [3, 3, 4, 5]  # losses; 2 tasks x 2 seeds; 3 losses x 2 seeds but for vit's
    assert "diverged runs that are not in it: 1 (an average over survivors)" in claims.loc["F7", "note"]
    assert "runs that lack some of their test sets or benchmarks: 1" in claims.loc["F7", "note"]
    assert (
        "diverged runs that are not in it: 2 (" in claims.loc["F4", "note"]
    )  # the fr and the nr model of vit's discriminator


def test_claims_are_judged_in_each_view_that_concerns_them(frames):
    found = frames["claims_by_view"].groupby("claim", sort=False)["view"].agg(set)
    views = set(frames["sensitivity"]["view"]) - {"Bradley-Terry", "these benchmarks and test sets"}
    assert found.index.tolist() == ["F1", "F2", "F4", "F7"]
    assert found["F1"] == found["F2"] == views
    assert found["F4"] == {name for name in views if "benchmark" in name} | {"all judges"}
    assert found["F7"] == {name for name in views if "family" in name or "test set" in name} | {"all judges"}
    main = frames["claims_by_view"].query("view == 'all judges'")
    np.testing.assert_array_equal(main["effect"], frames["claims"]["effect"])  # NaN where the noise hides all
    assert main["verdict"].tolist() == frames["claims"]["verdict"].tolist()


def test_views_have_a_row_for_each_view_and_discriminator(frames):
    views = frames["sensitivity"]["view"].unique().tolist()
    assert views[0] == "all judges"
    alone = ("family no-reference", "family structural", "test set natural", "test set texture")
    alone += ("benchmark ladder", "benchmark other")
    assert {f"without {name}" for name in alone} <= set(views)
    assert {"z-scores", "diverged left out", "Bradley-Terry", "these benchmarks and test sets"} <= set(views)
    assert len(frames["sensitivity"]) == len(views) * 2
    assert not frames["sensitivity"].duplicated(["view", "discriminator"]).any()
    main = frames["sensitivity"].query("view == 'all judges'")
    assert main["spearman"].tolist() == pytest.approx(frames["asymmetry"]["spearman"].tolist(), nan_ok=True)


def test_holes_are_counted_with_their_reason(frames):
    lost = frames["missing"]
    reasons = lost.groupby(["kind", "reason"]).size().to_dict()
    assert reasons == {
        ("super_resolution", "diverged"): 1,
        ("judging", "parent diverged"): 8,  # 2 test sets x 4 judges
        ("judging", "failed"): 1,
        ("iqa_transfer", "parent diverged"): 2,  # fr and nr
        ("benchmark", "parent diverged"): 4,
    }
    because = lost.loc[lost["reason"] == "parent diverged", "because"].unique()
    assert because.tolist() == [f"super_resolution {lost.loc[lost['reason'] == 'diverged', 'keys'].item()}"]


def test_a_diverged_trial_shows_in_the_counts_and_in_the_survivors(frames):
    counts = frames["counts"].set_index(["loss", "discriminator"])
    assert counts.loc[("vit", "patch-vgg-pretext"), ["done", "diverged", "seeds", "seeds_planned"]].tolist() == [
        1,
        1,
        1,
        2,
    ]
    gan = frames["iqa_transfer"].query("initialization == 'gan'")
    assert gan["parent_diverged"].tolist() == [1] * len(gan)
    assert gan["seeds"].tolist() == [1] * len(gan)
    assert frames["iqa_transfer"].query("initialization == 'random'")["parent_diverged"].sum() == 0


def test_baselines_stand_beside_and_are_marked(frames):
    judged = frames["optimization_by_judge"]
    assert set(judged.loc[judged["baseline"], "loss"]) == {"pixel", "warm-up", "bicubic"}
    assert "pixel" not in set(frames["ranks"]["loss"]) | set(frames["optimization_score"]["loss"])
    assert judged.set_index("judge")["better"].to_dict() == {
        "piqe": "lower",
        "vsi": "higher",
        "gmsd": "lower",
        "psnr": "higher",
    }


def test_an_empty_store_gives_every_table_with_nothing_but_holes(tiny):
    path, study, _ = tiny
    frames = by_name(path)
    assert set(frames["missing"]["reason"]) == {"missing"}
    assert frames["missing"]["labels"].sum() == len(study.labels)
    assert frames["fr_iqa_by_loss"]["srcc"].isna().all()
    assert (frames["fr_iqa_by_loss"]["seeds"] == 0).all()
    assert frames["asymmetry"]["note"].str.startswith("0 losses have both scores").all()
    assert frames["sensitivity"][["spearman", "spearman_low", "spearman_high"]].isna().all(axis=None)
    assert (frames["sensitivity"]["losses"] == 0).all()
    assert frames["reliability"]["reliability"].isna().all()
    assert (frames["reliability"]["note"] != "").all()
    assert frames["ranks"][["iqa_rank", "optimization_rank", "shift", "shift_low"]].isna().all(axis=None)


def test_gan_is_averaged_within_the_seed_before_seeds_are_averaged():
    """Seed 0 has three gan models and seed 1 one: the mean is over seeds, not over models."""
    values = {("a", 0): [0, 1, 2, 3], ("b", 0): [0, 1, 2, 3], ("c", 0): [0, 1, 2, 3], ("a", 1): [3, 2, 1, 0]}
    levels = {"initialization": "gan", "task": "fr", "backbone": "vgg", "start": "pretext", "data_set": "ladder"}
    rows = [
        cell("iqa_benchmark", f"{loss}{seed}", loss=loss, seed=seed, discriminator="patch", **levels)
        for loss, seed in values
    ]
    evidence = evidence_of(
        rows, {f"{a}{s}": predicted(v, LABELS) for (a, s), v in values.items()}, ["a", "b", "c"], seeds=(0, 1)
    )
    frame = tables.iqa_transfer(evidence)[0].frame
    assert frame["srcc"].tolist() == [pytest.approx(0.0)]
    assert frame["srcc_sd"].tolist() == [pytest.approx(np.sqrt(2))]


def test_spread_over_seeds_is_empty_where_they_share_one_trial():
    values = pd.DataFrame({"loss": ["a", "a", "b", "b"], "key": ["k", "k", "m", "n"], "srcc": [0.5, 0.5, 0.2, 0.4]})
    frame = over_seeds(values, ["loss"], ["srcc"]).set_index("loss")
    assert np.isnan(frame.loc["a", "srcc_sd"])
    assert frame.loc["b", "srcc_sd"] == pytest.approx(0.2 / np.sqrt(2))


def test_a_seed_is_there_only_when_all_its_trials_are():
    cells = pd.DataFrame(
        {
            "loss": "a",
            "seed": [0, 0, 1, 1],
            "key": ["k0", "k1", "k2", "k3"],
            "status": ["done", "done", "done", "failed"],
        }
    )
    row = with_counts(pd.DataFrame({"loss": ["a", "b"]}), cells, ["loss"]).iloc[0]
    assert row[["seeds", "seeds_planned", "trials", "trials_planned"]].tolist() == [1, 2, 3, 4]
    assert row["keys"] == "k0 k1 k2"


def test_files_hold_full_precision_and_markdown_three_decimals(tmp_path):
    frame = pd.DataFrame({"loss": ["a|b"], "srcc": [1 / 3], "keys": ["0123456789abcdef"]})
    paths = write([Table("small", "Small", "A note.", frame)], tmp_path, "severity labels, not human opinion")
    assert sorted(path.name for path in paths) == ["small.csv", "small.md", "small.parquet", "small.tex"]
    assert pd.read_parquet(tmp_path / "small.parquet").equals(frame)
    assert pd.read_csv(tmp_path / "small.csv")["srcc"].item() == 1 / 3
    words = (tmp_path / "small.md").read_text()
    assert "**demonstration, not evidence** · labels: severity labels, not human opinion" in words
    assert "| a\\|b | 0.333 |" in words
    assert "0123456789abcdef" not in words
    typeset = (tmp_path / "small.tex").read_text()
    assert r"a\textbar{}b & 0.333 \tabularnewline" in typeset
    assert "0123456789abcdef" not in typeset
    assert "small" in (tmp_path / "all.tex").read_text()


@pytest.mark.parametrize(
    ("value", "shown"),
    [
        (0.12345, "0.123"),
        (0.0001, "<0.001"),
        (-0.0001, "0.000"),
        (float("nan"), ""),
        (None, ""),
        (True, "yes"),
        (3, "3"),
    ],
)
def test_cells_for_people(value, shown):
    assert text(value) == shown


def test_markdown_of_an_empty_table_says_so():
    assert "No rows." in markdown(Table("missing", "Missing", "", pd.DataFrame({"keys": []})), "labels")

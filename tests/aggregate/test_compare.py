import io

import numpy as np
import pandas as pd
import pytest
from rich.console import Console
from typer import Typer
from typer.testing import CliRunner

from orchestrator.aggregate import compare, saved, terminal
from orchestrator.aggregate.differences import QUANTILE, difference, judged, overlap
from orchestrator.aggregate.writing import Table, write
from orchestrator.matrix import OPINION

LOSSES = ("vgg", "resnet", "swin")
CLAIM = {
    "says": "The rankings disagree.",
    "contrast": "agreement",
    "measure": "",
    "of": "",
    "over": "",
    "unit": "loss",
    "direction": "higher",
    "matters": 0.2,
}


def results(folder, key="a", rho=0.5, effect=0.5, verdict="supported", losses=LOSSES, seeds=(0, 1), **claim):
    """A results folder whose numbers rest on trials of their own, named with `key`, on which bounds are +-0.1."""
    keys = [f"{key}{i}" for i in range(4)]
    asymmetry = pd.DataFrame(
        {
            "discriminator": ["none", "patch"],
            "spearman": [rho, 0.25],
            "corrected": [rho, 0.25],
            "spearman_low": [rho - 0.1, 0.15],
            "spearman_high": [rho + 0.1, 0.35],
            "corrected_change": [np.nan, 0.25 - rho],
            "change_low": [np.nan, 0.15 - rho],
            "change_high": [np.nan, 0.35 - rho],
            "keys": [" ".join(keys[:2]), " ".join(keys[1:3])],
        }
    )
    ranks = pd.DataFrame(
        {"loss": losses, "discriminator": "none", "iqa_rank": range(1, len(losses) + 1), "keys": keys[0]}
    )
    ranks = ranks.assign(optimization_rank=ranks["iqa_rank"], shift=0.0)
    for name in ("iqa_rank", "optimization_rank", "shift"):
        ranks = ranks.assign(**{f"{name}_low": ranks[name] - 0.5, f"{name}_high": ranks[name] + 0.5})
    claims = pd.DataFrame(
        [{"claim": "F1", **CLAIM, "effect": effect, "verdict": verdict, "keys": keys[0]} | claim]
    ).assign(effect_low=effect - 0.1, effect_high=effect + 0.1)
    levels = {"labels": [OPINION], "loss": losses, "seed": seeds, "judge": ["musiq"]}
    study = [(factor, str(level)) for factor, found in levels.items() for level in found]
    trials = pd.DataFrame({"kind": "judging", "name": [f"of {k}" for k in keys], "status": "done", "keys": keys})
    frames = {
        "asymmetry": asymmetry,
        "ranks": ranks,
        "claims": claims,
        "study": pd.DataFrame(study, columns=["factor", "level"]),
        "trials": trials,
        "fr_iqa_by_loss": pd.DataFrame({"loss": losses, "keys": keys[3]}),
    }
    write([Table(name, name, "", frame) for name, frame in frames.items()], folder / "tables", OPINION)
    return folder


def found(a, b):
    return compare.compare(saved.read(a), saved.read(b))


def numbers(comparison):
    frame = comparison.differences
    return frame.set_index([frame["number"], frame["row"]])


def test_the_interval_of_a_difference_faces_both_intervals():
    """By hand: 0.5 up to 0.6 and 0.9 down to 0.6, sqrt(0.1^2 + 0.3^2); away from zero sqrt(0.2^2 + 0.05^2)."""
    one = difference((0.5, 0.3, 0.6), (0.9, 0.6, 0.95))
    assert one.difference == pytest.approx(0.4)
    assert one.low == pytest.approx(0.4 - np.hypot(0.1, 0.3))
    assert one.high == pytest.approx(0.4 + np.hypot(0.2, 0.05))
    assert one.standard_error == pytest.approx(np.hypot(0.1, 0.3) / 1.959964, rel=1e-6)
    back = difference((0.9, 0.6, 0.95), (0.5, 0.3, 0.6))
    assert (back.z, back.low, back.high) == (pytest.approx(-one.z), pytest.approx(-one.high), pytest.approx(-one.low))


def test_symmetric_intervals_give_the_usual_standard_error():
    one = difference((0.0, -QUANTILE, QUANTILE), (1.0, 1 - QUANTILE, 1 + QUANTILE))
    assert one.standard_error == pytest.approx(np.sqrt(2))
    assert one.z == pytest.approx(1 / np.sqrt(2))


def test_equal_sweeps_differ_by_chance_as_often_as_promised():
    """Two independent sweeps of equal truth: 5 % of the verdicts are 'changed', +- 4 standard errors."""
    generator, n = np.random.default_rng(0), 4_000
    a, b = generator.normal(size=(2, n))
    ends = {
        f"{side}{end}": x + sign * QUANTILE
        for side, x in (("a", a), ("b", b))
        for end, sign in (("_low", -1), ("_high", 1))
    }
    frame = judged(pd.DataFrame({"a": a, "b": b, **ends, "shared": "none"}))
    assert (frame["verdict"] == "changed").mean() == pytest.approx(0.05, abs=4 * np.sqrt(0.05 * 0.95 / n))
    assert (frame["p_holm"] <= 0.05).sum() <= 1


def test_overlap_of_trials():
    a, b = frozenset("xy"), frozenset("yz")
    assert [overlap(a, a), overlap(a, b), overlap(a, frozenset("z")), overlap(frozenset(), frozenset())] == [
        "all",
        "some",
        "none",
        "none",
    ]


def test_what_changed_and_what_is_noise(tmp_path):
    comparison = found(results(tmp_path / "A"), results(tmp_path / "B", "b", rho=0.9))
    rows = numbers(comparison)
    moved = rows.loc[("corrected", "none")]
    assert moved["difference"] == pytest.approx(0.4)
    assert moved["z"] == pytest.approx(0.4 / (np.hypot(0.1, 0.1) / QUANTILE))
    assert (moved["verdict"], moved["shared"]) == ("changed", "none")
    assert rows.loc[("corrected", "patch"), "verdict"] == "within noise"
    assert rows.loc[("corrected_change", "patch"), "difference"] == pytest.approx(-0.4)
    assert ("corrected_change", "none") not in rows.index  # has no interval
    assert rows.loc["iqa_rank"].index.tolist() == list(LOSSES)  # once a loss, not once a discriminator
    assert comparison.summary[0] == (
        "13 numbers tested, 2 changed; 0.7 would by chance alone if nothing had; 2 remain after Holm's correction."
    )


def test_the_same_trials_are_not_tested(tmp_path):
    comparison = found(results(tmp_path / "A"), results(tmp_path / "B", rho=0.9))
    assert set(comparison.differences["shared"]) == {"all"}
    assert set(comparison.differences["verdict"]) == {"the same trials"}
    assert comparison.differences[["z", "p", "p_holm", "standard_error"]].isna().all(axis=None)
    assert comparison.summary == [
        "No number was tested: none that both have with an interval rests on different trials.",
        "13 rest on the same trials in both and were not tested.",
    ]


def test_correlations_that_noise_hides_are_named(tmp_path):
    clear, hidden = results(tmp_path / "A"), results(tmp_path / "B", key="b")
    file = hidden / "tables/asymmetry.parquet"
    pd.read_parquet(file).assign(corrected=[np.nan, 0.25]).to_parquet(file)
    said = found(clear, hidden).summary
    assert "Not compared, hidden by noise in A or B: the correlation under none." in said


def test_a_rank_rests_on_the_trials_of_all_losses_and_a_change_on_both_sides(tmp_path):
    sweep = saved.read(results(tmp_path / "A"))
    keys = {
        name: compare._rests_on(sweep, table, name, {"discriminator": "patch", "keys": "a0"})
        for table, name in (
            ("ranks", "iqa_rank"),
            ("ranks", "shift"),
            ("asymmetry", "corrected_change"),
            ("claims", "effect"),
        )
    }
    assert keys == {
        "iqa_rank": {"a3"},
        "shift": {"a1", "a2"},
        "corrected_change": {"a0", "a1", "a2"},
        "effect": {"a0"},
    }


def test_intervals_without_width_prove_nothing():
    row = {"a": 1.0, "a_low": 1.0, "a_high": 1.0, "b": 2.0, "b_low": 2.0, "b_high": 2.0, "shared": "none"}
    frame = judged(pd.DataFrame([row, row | {"b": 1.0, "b_low": 1.0, "b_high": 1.0}]))
    assert frame["verdict"].tolist() == ["no spread", "within noise"]
    assert frame["p"].isna().all()


def test_claims_that_turned_and_claims_that_mean_something_else(tmp_path):
    comparison = found(results(tmp_path / "A"), results(tmp_path / "B", "b", verdict="undetermined", matters=0.3))
    assert comparison.verdicts.to_dict("records") == [
        {
            "claim": "F1",
            "says": CLAIM["says"],
            "verdict_a": "supported",
            "verdict_b": "undetermined",
            "differs": "matters",
        }
    ]
    assert "F1: supported, now undetermined." in comparison.summary
    assert "F1 is another claim in each: matters differ." in comparison.summary
    assert "effect" not in set(comparison.differences["number"])


def test_what_only_one_of_them_has(tmp_path):
    comparison = found(
        results(tmp_path / "A", seeds=(0, 1)), results(tmp_path / "B", "b", losses=("vgg", "clip"), seeds=(0, 2))
    )
    only = comparison.only
    factors = only[only["what"] != "trial"]
    assert factors[["what", "level", "only_in"]].to_numpy().tolist() == [
        ["loss", "resnet", "A"],
        ["loss", "swin", "A"],
        ["seed", "1", "A"],
        ["loss", "clip", "B"],
        ["seed", "2", "B"],
    ]
    trials = only[only["what"] == "trial"]
    assert trials["keys"].tolist() == ["a0", "a1", "a2", "a3", "b0", "b1", "b2", "b3"]
    assert trials["level"].iloc[0] == "judging of a0"
    assert "Ranks were not compared: the sweeps rank different losses." in comparison.summary
    assert "Only in A: loss resnet, swin." in comparison.summary
    assert "Only in B: 4 finished trials." in comparison.summary
    assert not comparison.differences["table"].str.startswith("ranks").any()


def test_sweeps_of_one_name_are_told_apart(tmp_path):
    comparison = found(results(tmp_path / "here/full"), results(tmp_path / "there/full", "b"))
    assert (comparison.a, comparison.b) == ("full (a)", "full (b)")


def test_what_is_written_and_printed(tmp_path):
    comparison = found(results(tmp_path / "A"), results(tmp_path / "B", "b", rho=0.9))
    compare.save(comparison, tmp_path / "out")
    assert {path.name for path in (tmp_path / "out").glob("*.tex")} == {
        "all.tex",
        "differences.tex",
        "only-in-one.tex",
        "verdicts.tex",
    }
    again = pd.read_parquet(tmp_path / "out/differences.parquet")
    assert again["difference"].tolist() == comparison.differences["difference"].tolist()
    assert "a is A, b is B. 13 numbers tested" in (tmp_path / "out/differences.md").read_text()
    console = Console(record=True, width=160, file=io.StringIO())
    terminal.comparison(comparison, tmp_path / "out", console)
    words = console.export_text()
    assert "A (a) against B (b)" in words
    line = next(line for line in words.splitlines() if "corrected: none" in line)
    assert line.split() == ["corrected:", "none", "0.5", "0.9", "0.4", "0.259", "to", "0.541", "5.5", "none", "changed"]
    assert "13 numbers tested" in words


def test_a_folder_without_tables_is_one_line(tmp_path):
    with pytest.raises(saved.Incomparable, match=r"tables: no tables .* name a results folder"):
        saved.read(tmp_path)


def test_tables_of_another_version_are_named(tmp_path):
    folder = results(tmp_path / "A")
    (folder / "tables/study.parquet").unlink()
    with pytest.raises(
        saved.Incomparable, match=r"no study\.parquet: another version wrote these tables; write them again"
    ):
        saved.read(folder)
    folder = results(tmp_path / "B")
    file = folder / "tables/asymmetry.parquet"
    pd.read_parquet(file).drop(columns="spearman_low").to_parquet(file)
    with pytest.raises(saved.Incomparable, match=r"asymmetry\.parquet: no column spearman_low: another version"):
        found(folder, results(tmp_path / "C"))


def test_a_truncated_table_is_named(tmp_path):
    folder = results(tmp_path / "A")
    (folder / "tables/ranks.parquet").write_bytes(b"PAR1")
    with pytest.raises(saved.Incomparable, match=r"ranks\.parquet: cannot be read"):
        saved.read(folder)


@pytest.fixture(scope="module")
def run():
    """The command, as the terminal runs it."""
    from orchestrator.aggregate.__main__ import main

    app = Typer()
    app.command()(main)
    return lambda *words: CliRunner().invoke(app, [str(word) for word in words])


def test_the_command_compares_folders_and_writes_tables(tmp_path, run, monkeypatch):
    monkeypatch.chdir(tmp_path)
    ended = run("--compare", results(tmp_path / "A"), results(tmp_path / "B", "b"))
    assert ended.exit_code == 0, ended.output
    assert "13 numbers tested, 0 changed" in ended.output
    assert (tmp_path / "results/A-against-B/tables/differences.tex").exists()


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--compare", ".", "."], "tables: no tables (*.parquet) there; name a results folder"),
        (["--compare", "nowhere.yaml", "."], "nowhere.yaml: No such file or directory"),
        (["--compare", ".", ".", "--storage", "."], "--compare A B reads tables alone: leave out --grid and --storage"),
        (["--grid", "GRID", "--storage", "nowhere"], "nowhere: not there; --storage names the folder of a store"),
    ],
)
def test_faults_of_the_command_are_one_line_and_exit_2(words, said, filled, tmp_path, run, monkeypatch):
    monkeypatch.chdir(tmp_path)
    ended = run(*[filled[0] if word == "GRID" else word for word in words])
    assert ended.exit_code == 2
    assert len(ended.output.splitlines()) == 1
    assert said in ended.output


def test_another_store_can_be_read_and_its_tables_compared(tiny, filled, tmp_path, run, monkeypatch):
    """A grid whose own store is empty, read from a filled one; set beside its own tables nothing is left to test."""
    monkeypatch.chdir(tmp_path)
    assert run("--grid", tiny[0], "--storage", filled[2].root, "--out", "results/tiny").exit_code == 0
    sweep = saved.read(tiny[0])
    assert sweep.name == "tiny"
    assert sweep.levels()["seed"] == ["0", "1"]
    assert sweep.levels()["judge"] == ["piqe", "vsi", "gmsd", "psnr"]
    assert sweep.levels()["benchmark"] == ["ladder", "other"]
    assert len(sweep.finished()) == (sweep.tables["trials"]["status"].isin(["done", "diverged"])).sum() > 0
    ended = run("--compare", tiny[0], "results/tiny")
    assert ended.exit_code == 0, ended.output
    assert "rest on the same trials in both and were not tested" in ended.output


def printed(show, *given):
    console = Console(record=True, width=120, file=io.StringIO())
    show(*given, console)
    return console.export_text()


def test_claims_are_printed_with_their_verdict():
    row = CLAIM | {"claim": "F1", "effect": 0.5, "effect_low": 0.25, "effect_high": 0.75, "verdict": "supported"}
    frame = pd.DataFrame([row | {"p_holm": 0.0001, "p_against_holm": 1.0}])
    line = next(
        line for line in printed(terminal.claims, Table("claims", "Claims", "", frame)).splitlines() if "F1" in line
    )
    assert line.split() == ["F1", "0.500", "0.250", "to", "0.750", "<0.001", "1.000", "supported"]


def test_files_that_could_not_be_read_are_a_line_each():
    frame = pd.DataFrame({"kind": "judging", "key": "k", "what": [f"store/{i}: truncated" for i in range(25)]})
    lines = printed(terminal.faults, frame).splitlines()
    assert lines[0] == "not used: store/0: truncated"
    assert lines[-1] == "and 5 more that could not be read; tables/missing.md has all"
    assert len(lines) == 21

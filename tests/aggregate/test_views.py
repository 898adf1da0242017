import json
import os

import numpy as np
import pandas as pd
import pytest

from orchestrator.aggregate.cards import cards
from orchestrator.aggregate.provenance import MLFLOW, TITLE_KEYS, Provenance, commits, title
from orchestrator.aggregate.views import MOST_ROWS, ranks_view, view
from orchestrator.aggregate.writing import Table

KEYS = [f"{i:016x}" for i in range(12)]


@pytest.fixture
def provenance(tmp_path):
    return Provenance(trials(tmp_path / "store"), tmp_path / "results/demo")


def trials(store):
    """Twelve judgings, of which the last has no record and the first uncommitted changes."""
    records = [str(store / "judging" / key / "record.json") for key in KEYS]
    frame = pd.DataFrame(
        {
            "kind": "judging",
            "name": [f"judge piqe {i}" for i in range(12)],
            "status": "done",
            "seconds": 1.26,
            "device": "some processor",
            "git_commit": "abc",
            "git_dirty": pd.array([True, *[False] * 11], dtype="boolean"),
            "record": records,
            "mlflow": ["#/experiments/1/runs/9", *[""] * 11],
        },
        index=pd.Index(KEYS, name="key"),
    )
    unknown = {"status": "missing", "seconds": np.nan, "device": "", "git_commit": "", "git_dirty": pd.NA, "record": ""}
    frame.loc[KEYS[-1], list(unknown)] = list(unknown.values())
    return frame


# -------------------------------------------------------------------------------------------------- provenance


def test_keys_become_ranges_of_positions(provenance):
    assert provenance.ranges([KEYS[4], KEYS[1], KEYS[0], KEYS[2], KEYS[1]]) == "0-2 4"


def test_the_index_of_trials_leads_from_the_page_to_records_runs_and_commits(provenance):
    data = json.loads(json.dumps(provenance.data()))
    key, name, kind, status, seconds, device, commit, root, mlflow = data["trials"][0]
    assert (key, name, seconds, mlflow) == (KEYS[0], "judge piqe 0", 1.3, "#/experiments/1/runs/9")
    assert (data["kinds"][kind], data["statuses"][status], data["devices"][device]) == (
        "judging",
        "done",
        "some processor",
    )
    assert data["commits"][commit] == "abc with uncommitted changes"
    assert data["commits"][data["trials"][1][6]] == "abc"
    assert data["roots"][root] == os.path.join("..", "..", "store")
    assert data["mlflow"] == MLFLOW


def test_a_trial_without_a_record_has_no_link(provenance):
    row = provenance.data()["trials"][-1]
    assert [row[i] for i in (4, 7, 8)] == [None, -1, ""]


def test_keys_of_another_grid_are_appended_and_said(provenance):
    assert provenance.ranges([KEYS[0], "ffff"]) == "0 12"
    assert provenance.data()["trials"][12][:2] == ["ffff", "trial of another grid"]


def test_a_tooltip_names_the_first_of_many_keys():
    assert title(["a", "b"]) == "keys: a b"
    many = [str(i) for i in range(TITLE_KEYS + 3)]
    assert title(many).endswith(f" {TITLE_KEYS - 1} and 3 more: the CSV file has all")


def test_commits_count_the_trials_of_each(provenance):
    assert commits(provenance.trials).values.tolist() == [
        ["abc", "some processor", 10],
        ["abc with uncommitted changes", "some processor", 1],
    ]
    assert commits(provenance.trials.iloc[-1:]).empty


# ------------------------------------------------------------------------------------------------------- tables


def asymmetry(**columns):
    frame = {"discriminator": ["none"], "spearman": [-0.5], "spearman_low": [-0.9], "spearman_high": [0.1]}
    counts = {"seeds": [1], "seeds_planned": [2], "trials": [2], "trials_planned": [4]}
    return pd.DataFrame(frame | columns | counts | {"keys": [f"{KEYS[0]} {KEYS[1]}"]})


def test_views_fold_bounds_and_counts_and_end_in_a_link_to_the_trials(provenance):
    shown = view(Table("asymmetry", "", "", asymmetry()), provenance)
    assert [(c.text, c.beside) for c in shown.headings] == [
        ("discriminator", ""),
        ("Spearman ρ", "95 % interval"),
        ("seeds", ""),
        ("trials", ""),
    ]
    name, rho, seeds, behind = shown.rows[0]
    assert (name.text, name.number) == ("none", False)
    assert (rho.text, rho.beside, rho.number, rho.value) == ("−0.500", "−0.900 to 0.100", True, "-0.5")
    assert (seeds.text, seeds.kind) == ("1 of 2", "few")
    assert (behind.text, behind.kind) == ("2 of 4", "few")
    assert (behind.trials.ranges, behind.trials.title) == ("0-1", f"keys: {KEYS[0]} {KEYS[1]}")


def test_how_a_row_was_made_is_one_column(provenance):
    made = asymmetry(interval_method=["BCa"], like_method=["percentile"], resamples=[1000])
    shown = view(Table("asymmetry", "", "", made), provenance)
    at = [heading.text for heading in shown.headings].index("made by")
    assert shown.rows[0][at].text == "interval: BCa; losses like these: percentile; resamples: 1000"


def test_numbers_are_sorted_by_more_than_is_shown_and_holes_are_dashes(provenance):
    frame = pd.DataFrame({"judge": ["a", "b", "c"], "mean": [0.12341, 0.12344, np.nan], "images": [1, 2, 3]})
    rows = view(Table("x", "", "", frame), provenance).rows
    assert [(row[1].text, row[1].value) for row in rows] == [("0.123", "0.12341"), ("0.123", "0.12344"), ("–", "")]
    assert [row[2].value for row in rows] == ["", "", ""]


def test_verdicts_and_sentences_are_told_from_other_cells(provenance):
    frame = pd.DataFrame({"claim": ["F1"], "says": ["word " * 20], "verdict": ["supported"]})
    assert [c.kind for c in view(Table("claims", "", "", frame), provenance).rows[0]] == ["", "words", "verdict"]


def test_a_long_table_is_cut_and_its_length_kept(provenance):
    shown = view(Table("x", "", "", pd.DataFrame({"a": range(MOST_ROWS + 5)})), provenance)
    assert (len(shown.rows), shown.total) == (MOST_ROWS, MOST_ROWS + 5)


def test_an_empty_table_has_headings_and_no_rows(provenance):
    shown = view(Table("x", "", "", asymmetry().iloc[:0]), provenance)
    assert len(shown.headings) == 4
    assert shown.rows == []


def test_ranks_are_laid_out_by_discriminator_with_trials_in_each_cell(provenance):
    bounds = {f"{name}_low": [1.0, np.nan] for name in ("iqa_rank", "optimization_rank", "shift")}
    bounds |= {name.replace("low", "high"): [2.0, np.nan] for name in bounds}
    ranks = {"iqa_rank": 1.0, "optimization_rank": [1.5, np.nan], "shift": [-0.5, np.nan], **bounds}
    counts = {"diverged": [0, 1], "seeds": [2, 1], "seeds_planned": 2, "keys": [KEYS[3], ""]}
    frame = pd.DataFrame({"loss": "a", "discriminator": ["none", "patch"], **ranks, **counts})
    shown = ranks_view(Table("ranks", "", "", frame), provenance)
    assert [c.text for c in shown.headings] == ["loss", "IQA rank", "none", "patch"]
    loss, iqa, none, patch = shown.rows[0]
    assert (loss.text, iqa.text, iqa.beside) == ("a", "1", "1 to 2")
    assert (none.text, none.trials.ranges, none.kind) == ("1.5", "3", "")
    assert none.beside.splitlines() == ["1 to 2", "shift −0.5 (1 to 2)", "2 of 2 seeds"]
    assert (patch.text, patch.trials, patch.kind) == ("–", None, "few")
    assert patch.beside.splitlines() == ["1 of 2 seeds", "1 diverged"]


# -------------------------------------------------------------------------------------------------------- cards


def claim(**columns):
    row = {
        "claim": "F5-a",
        "says": "Patch beats vanilla.",
        "contrast": "difference",
        "measure": "quality",
        "of": "head: patch",
        "over": "head: vanilla",
        "unit": "pair",
        "units": 30,
        "effect": 0.2,
        "effect_low": 0.1,
        "effect_high": 0.4,
        "matters": 0.1,
        "direction": "higher",
        "p_holm": 0.0001,
        "p_against_holm": 1.0,
        "verdict": "supported",
        "needed": np.nan,
        "note": "",
        "keys": f"{KEYS[0]} {KEYS[1]}",
    }
    return pd.DataFrame([row | columns])


def test_a_card_tells_the_claim_in_words_and_draws_its_effect(provenance):
    card = cards(claim(), pd.DataFrame(), provenance)[0]
    assert (card.verdict, card.sign) == ("supported", "✓")
    assert card.facts == [
        ("effect", "+0.20 sd, 95 % +0.10 to +0.40"),
        ("claimed", "higher"),
        ("matters from", "0.1 sd"),
        ("n", "30 pairs"),
        ("p for it", "<0.001 (Holm)"),
        ("p against it", "1.000 (Holm)"),
        ("compares", "head: patch over head: vanilla"),
    ]
    assert (card.trials.text, card.trials.ranges) == ("2 trials", "0-1")
    assert 50 < card.drawing.matters[1] <= card.drawing.low < card.drawing.effect < card.drawing.high <= 100
    assert card.drawing.alt == "effect +0.20, 95 % interval +0.10 to +0.40; what matters begins at 0.1"


def test_a_card_says_what_other_views_find_and_what_is_needed(provenance):
    names = ["all judges", "z-scores", "without family clip", "without test set set5"]
    verdicts = ["undetermined", "supported", "supported", "undetermined"]
    views = pd.DataFrame({"claim": "F5-a", "view": names, "verdict": verdicts})
    facts = dict(cards(claim(verdict="undetermined", needed=41), views, provenance)[0].facts)
    assert facts["n needed"] == "about 41 pairs"
    assert facts["other views"] == "same verdict in 1 of 3; supported: z-scores, without family clip"


def test_a_claim_without_a_value_has_no_drawing_and_no_link(provenance):
    card = cards(claim(effect=np.nan, verdict="undetermined", keys="", note="no trials"), pd.DataFrame(), provenance)[0]
    assert card.drawing is None
    assert card.trials is None
    assert ("effect", "no value") in card.facts
    assert ("note", "no trials") in card.facts

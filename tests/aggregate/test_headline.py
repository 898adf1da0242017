import numpy as np
import pandas as pd
import pytest

from orchestrator.aggregate.headline import headline
from orchestrator.matrix import OPINION

ASYMMETRY = pd.DataFrame({"discriminator": ["none", "patch"], "losses": 6, "spearman": [0.4, 0.2], "power_70": 0.29})
AGREEMENT = {
    "claim": "F1",
    "contrast": "agreement",
    "says": "Losses rank differently.",
    "unit": "loss",
    "units": 6,
    "effect": 0.6,
    "effect_low": -0.1,
    "effect_high": 1.2,
    "direction": "higher",
    "verdict": "undetermined",
    "needed": 24,
}
CHANGE = AGREEMENT | {"claim": "F2", "contrast": "agreement_change", "direction": "lower", "effect": -0.3, "needed": 31}
UPSET = AGREEMENT | {"claim": "F3", "contrast": "upset", "says": "VGG-16-R upsets.", "unit": "seed", "units": 5}
QUALITY = AGREEMENT | {
    "claim": "F5-a",
    "contrast": "difference",
    "measure": "quality",
    "says": "Patch beats vanilla.",
    "unit": "pair",
    "units": 30,
    "needed": 40,
}
TREND = QUALITY | {"claim": "F6", "contrast": "trend", "says": "DINOv2 falls faster."}
START = QUALITY | {
    "claim": "F4-a",
    "measure": "srcc",
    "says": "Released beats gan.",
    "of": "initialization: released",
    "over": "initialization: gan, start: released",
    "effect": 0.0312,
    "effect_low": 0.02,
    "effect_high": 0.04,
}


def answers(*claims, asymmetry=ASYMMETRY, label_kind=OPINION):
    frame = pd.DataFrame(
        [{"measure": "", "of": "", "over": "", "note": "", "p_holm": 0.01} | claim for claim in claims]
    )
    if "needed" in frame:
        frame = frame.astype({"needed": "Int64"})
    return headline(frame, asymmetry, label_kind).sentences


def test_an_undetermined_agreement_says_n_power_and_what_is_needed_and_is_never_support():
    sentence = answers(AGREEMENT)[0]
    assert sentence.text == (
        "Undetermined: 6 losses do not tell agreement from asymmetry (F1: 1 − ρ = +0.60, 95 % −0.10 to +1.20); "
        "at n = 6 a true r of 0.7 is found with a power of 29 %; about 24 losses would be needed."
    )
    assert sentence.claims == ["F1"]
    assert "support" not in sentence.text


@pytest.mark.parametrize(
    ("verdicts", "answer"),
    [
        (("supported",), "No"),
        (("contradicted",), "Yes"),
        (("supported", "supported"), "No"),
        (("supported", "undetermined"), "In part"),
        (("supported", "contradicted"), "In part"),
    ],
)
def test_the_first_answer_is_that_of_the_agreement_claims(verdicts, answer):
    claims = [AGREEMENT | {"claim": f"F1-{i}", "verdict": verdict} for i, verdict in enumerate(verdicts)]
    sentence = answers(*claims)[0]
    assert sentence.answer == answer
    assert sentence.claims == [claim["claim"] for claim in claims]


def test_a_decided_agreement_and_an_upset_share_the_first_sentence():
    sentence = answers(AGREEMENT | {"verdict": "supported"}, UPSET | {"verdict": "contradicted", "effect": -0.2})[0]
    assert sentence.text == (
        "No: as metrics and as losses 6 losses rank further apart than noise explains (F1: 1 − ρ = +0.60, "
        "95 % −0.10 to +1.20); “VGG-16-R upsets” is contradicted (F3, −0.20 sd)."
    )


@pytest.mark.parametrize(
    ("direction", "verdict", "answer"),
    [
        ("lower", "supported", "It widens the gap"),
        ("higher", "supported", "It narrows the gap"),
        ("lower", "contradicted", "It does not widen the gap"),
    ],
)
def test_the_second_answer_is_that_of_the_change_of_agreement(direction, verdict, answer):
    sentence = answers(CHANGE | {"direction": direction, "verdict": verdict}, QUALITY)[1]
    assert sentence.answer == answer
    assert sentence.claims == ["F2", "F5-a"]


def test_an_undetermined_second_answer_counts_what_was_decided():
    sentence = answers(CHANGE, QUALITY | {"verdict": "supported"}, TREND | {"effect": np.nan})[1]
    assert sentence.text == (
        "1 of 3 claims decided: “Patch beats vanilla” is supported (F5-a, +0.60 sd); not decided: F2 (6 losses; "
        "about 31 needed), F6 (no value yet); at n = 6 a true r of 0.7 is found with a power of 29 %."
    )


GAN_OVER_RANDOM = START | {"claim": "F4-c", "of": "initialization: gan", "over": "initialization: random"}


@pytest.mark.parametrize(
    ("claims", "answer"),
    [
        ([START | {"verdict": "supported"}], "Worse than released"),
        ([START | {"verdict": "supported", "direction": "lower"}], "Better than released"),
        ([START | {"verdict": "contradicted"}], "Contradicted"),  # it may be no more than too small to matter
        ([START], "Undetermined"),
        (
            [START | {"verdict": "supported"}, GAN_OVER_RANDOM | {"verdict": "supported"}],
            "Worse than released, better than random",
        ),
        ([START | {"verdict": "supported", "direction": "negligible"}], "Supported"),
    ],
)
def test_the_third_answer_says_what_a_discriminator_starts_better_than(claims, answer):
    assert answers(*claims)[2].answer == answer


def test_of_many_decided_claims_two_are_quoted_and_the_others_named():
    decided = [QUALITY | {"claim": f"F5-{i}", "verdict": v} for i, v in enumerate(["contradicted", *["supported"] * 3])]
    sentence = answers(*decided)[1]
    assert sentence.text == (
        "4 of 4 claims decided: “Patch beats vanilla” is supported (F5-1, +0.60 sd); “Patch beats "
        "vanilla” is supported (F5-2, +0.60 sd); also supported: F5-3; also contradicted: F5-0."
    )


def test_undetermined_claims_of_pairs_say_n_and_what_is_needed():
    sentence = answers(QUALITY, TREND | {"needed": None})[1]
    assert sentence.text == "Undetermined: F5-a (30 pairs; about 40 needed), F6 (30 pairs)."


def test_an_effect_in_srcc_has_three_decimals():
    assert "(F4-a, +0.031 SRCC)" in answers(START | {"verdict": "supported"})[2].text


def test_without_claims_each_sentence_says_what_is_missing():
    first, second, third = headline(pd.DataFrame(), ASYMMETRY, OPINION).sentences
    assert first.text == (
        "Not asked: the grid states no claim on the ranks of the losses as metrics and as losses (agreement, upset); "
        "the mean rank correlation seen is +0.30 at n = 6, which decides nothing."
    )
    assert second.text.startswith("Not asked: the grid states no claim on discriminators")
    assert third.text.startswith("Not asked: the grid states no claim on initializations of IQA models")


def test_without_trials_the_claims_say_why_they_have_no_value():
    empty = {"effect": np.nan, "effect_low": np.nan, "effect_high": np.nan, "units": 0, "needed": None}
    sentences = answers(AGREEMENT | empty, START | empty | {"note": "no pair is there."}, asymmetry=pd.DataFrame())
    assert sentences[0].text == "No value yet: F1 cannot be computed: the trials behind it are not there."
    assert sentences[2].text == "No value yet: F4-a cannot be computed: no pair is there."


HIDDEN = {
    "effect": np.nan,
    "needed": None,
    "note": "observed mean rho 0.4; noise hides whether the rankings agree (so)",
}


def test_what_noise_hides_is_no_value_that_is_yet_to_come():
    first, second, _ = answers(AGREEMENT | HIDDEN, CHANGE | HIDDEN, QUALITY)
    assert first.text == (
        "Undetermined: noise hides whether 6 losses rank alike as metrics and as losses (F1); "
        "at n = 6 a true r of 0.7 is found with a power of 29 %."
    )
    assert second.text == "Undetermined: F2 (hidden by noise), F5-a (30 pairs; about 40 needed)."


def test_a_quoted_verdict_says_in_how_many_other_views_it_holds():
    claims = pd.DataFrame([QUALITY | {"verdict": "supported", "note": "", "of": "", "over": ""}])
    verdicts = {"all judges": "supported", "z-scores": "supported", "without family clip": "undetermined"}
    views = pd.DataFrame([{"claim": "F5-a", "view": view, "verdict": found} for view, found in verdicts.items()])
    text = headline(claims, ASYMMETRY, OPINION, views).sentences[1].text
    assert "“Patch beats vanilla” is supported (F5-a, +0.60 sd, but in 1 of 2 other views)" in text
    views = views.assign(verdict="supported")
    assert "(F5-a, +0.60 sd)" in headline(claims, ASYMMETRY, OPINION, views).sentences[1].text


def test_without_an_asymmetry_table_no_power_is_told():
    text = answers(AGREEMENT | {"needed": None}, asymmetry=pd.DataFrame())[0].text
    assert text.endswith("(F1: 1 − ρ = +0.60, 95 % −0.10 to +1.20).")


@pytest.mark.parametrize(("label_kind", "caution"), [(OPINION, ""), ("severity labels", "demonstration, not evidence")])
def test_labels_that_are_no_opinion_are_cautioned(label_kind, caution):
    assert headline(pd.DataFrame(), ASYMMETRY, label_kind).caution == caution

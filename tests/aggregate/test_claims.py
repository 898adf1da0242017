import math
from dataclasses import dataclass, field

import numpy as np
import pandas as pd
import pytest
import scipy.stats

from orchestrator.aggregate import claims
from orchestrator.aggregate.claims import Basis, holm, table, verdict
from orchestrator.aggregate.measures import Measured
from orchestrator.aggregate.scored import Scored, Scores
from orchestrator.aggregate.tables import build
from orchestrator.sections.claims import Agreement, AgreementChange, Difference, Levels, Trend, Upset
from tests.aggregate.conftest import cell, evidence_of

NAN = float("nan")
SAID = {"says": "somebody said so", "matters": 0.2}
CLAIMS = {
    "agreement": Agreement(contrast="agreement", **SAID),
    "change": AgreementChange(contrast="agreement_change", of=("adversarial",), direction="lower", **SAID),
    "upset": Upset(contrast="upset", loss="l0", over=("l1", "l2"), **SAID),
    "difference": Difference(
        contrast="difference", measure="quality", of=Levels(discriminator=("adversarial",)),
        over=Levels(discriminator=("none",)), pairs=("loss", "seed"), direction="higher", **SAID),
    "srcc": Difference(
        contrast="difference", measure="srcc", of=Levels(initialization=("released",)),
        over=Levels(initialization=("gan",)), pairs=("seed",), direction="negligible", **SAID),
    "trend": Trend(
        contrast="trend", measure="stability", of=Levels(head=("patch",)), pairs=("seed",), direction="lower", **SAID),
}  # fmt: skip
NAMES = ("none", "patch", "vanilla")


@dataclass(frozen=True, eq=False)
class Given(Basis):
    """Scores and qualities that are given, with no trials behind them."""

    measured: Measured | None = None
    keys_of: frozenset[str] = field(default_factory=frozenset)

    def keys(self, discriminators=("",)):
        return self.keys_of

    def quality(self, judges):
        return self.measured

    @property
    def metrics(self):
        """IQA scores on three benchmarks and with four seeds, between which they vary a little."""
        generator, iqa = np.random.default_rng(5), self.scored.point.iqa[0]
        rows = [{"loss": loss, "seed": seed} for seed in range(4) for loss in self.scored.losses]
        cells = pd.DataFrame(rows).assign(status="done", keys=[()] * len(rows))
        return Measured(cells, np.tile(iqa, 4)[:, None] + 0.05 * generator.normal(size=(len(rows), 3)))


def scored(iqa, optimization, noise, draws=300):
    """Scores (L,) and (D, L) of three discriminators, and independent normal noise around them."""
    iqa, optimization = np.asarray(iqa, float), np.asarray(optimization, float)
    generator = np.random.default_rng(2)
    drawn = [values + noise * generator.normal(size=(draws, *values.shape)) for values in (iqa, optimization)]
    losses = tuple(f"l{i}" for i in range(len(iqa)))
    return Scored(losses, NAMES, Scores(iqa[None], optimization[None]), Scores(*drawn), {})


def judged(claim, iqa, optimization, noise, **more):
    basis = Given(None, scored(iqa, optimization, noise), draws=300, permutations=2_000, **more)
    return table({"it": claim}, lambda claim: basis).iloc[0]


# ----------------------------------------------------------------------------------------------- Holm and verdicts


def test_holm_by_hand():
    """Sorted .01 .02 .03 .04 times 4 3 2 1: .04 .06 .06 .06, which never falls."""
    found = holm(pd.Series([0.03, 0.01, NAN, 0.04, 0.02]))
    np.testing.assert_allclose(found, [0.06, 0.04, NAN, 0.06, 0.06])


def test_a_claim_that_cannot_be_judged_yet_stays_in_the_family():
    ps = pd.Series([0.02, NAN, 0.03])
    assert holm(ps, 3).tolist()[::2] == pytest.approx([0.06, 0.06])
    assert holm(ps, 3).isna().tolist() == [False, True, False]


def test_holm_ends_at_one_and_leaves_a_single_claim_alone():
    assert holm(pd.Series([0.7, 0.6])).tolist() == [1.0, 1.0]
    assert holm(pd.Series([0.049])).tolist() == [0.049]
    assert holm(pd.Series([NAN])).isna().all()


@pytest.mark.parametrize(
    ("direction", "effect", "p", "against", "expected"),
    [
        ("higher", 0.3, 0.04, 1.0, "supported"),
        ("higher", 0.2, 0.05, 1.0, "supported"),  # both at the very limit
        ("higher", 0.3, 0.06, 1.0, "undetermined"),
        ("higher", 0.1, 0.001, 0.3, "undetermined"),  # real, but smaller than matters
        ("higher", 0.1, 0.001, 0.01, "contradicted"),  # real, and surely smaller than matters
        ("higher", 0.0, 0.99, 0.2, "undetermined"),  # a large p is no support of anything
        ("higher", 0.0, 0.99, 0.05, "contradicted"),
        ("higher", -0.5, 0.001, 0.001, "contradicted"),  # the other way round
        ("higher", -0.5, 0.001, 0.2, "undetermined"),
        ("lower", -0.3, 0.04, 1.0, "supported"),
        ("lower", -0.1, 0.04, 0.5, "undetermined"),
        ("lower", 0.3, 0.04, 0.04, "contradicted"),
        ("negligible", 0.05, 0.04, 1.0, "supported"),
        ("negligible", 0.05, 0.5, 1.0, "undetermined"),  # 'no significant difference' is no support
        ("negligible", 0.5, 1.0, 0.04, "contradicted"),
        ("negligible", 0.5, 1.0, 0.06, "undetermined"),
        ("higher", NAN, NAN, NAN, "undetermined"),
        ("higher", 0.3, NAN, NAN, "undetermined"),
    ],
)
def test_the_rule_of_verdicts(direction, effect, p, against, expected):
    row = {"direction": direction, "effect": effect, "matters": 0.2, "p_holm": p, "p_against_holm": against}
    assert verdict(row) == expected


@pytest.mark.parametrize("name", ["agreement", "change"])
def test_nothing_is_claimed_of_rankings_that_noise_hides(name):
    """Six losses that are all alike, whatever their estimates say."""
    alike = 1e-3 * np.random.default_rng(4).normal(size=(4, 6))
    found = judged(CLAIMS[name], alike[0], alike[1:], 1.0)
    assert found["verdict"] == "undetermined"
    assert math.isnan(found["effect"])
    assert "noise hides whether the rankings agree" in found["note"]


def qualities(gain, losses=("l0", "l1"), seeds=3, spread=0.05):
    """Every run has a quality; those under a discriminator `gain` more."""
    generator = np.random.default_rng(0)
    rows = [
        {"loss": loss, "seed": seed, "discriminator": name, "status": "done", "keys": (f"{loss}-{name}-{seed}",)}
        for loss in losses for seed in range(seeds) for name in ("none", "patch")
    ]  # fmt: skip
    values = [[gain * (row["discriminator"] != "none") + spread * generator.normal()] for row in rows]
    return Measured(pd.DataFrame(rows), np.array(values))


def test_several_claims_share_the_level():
    """Each claim's p is multiplied: what one claim alone supports, ten of them do not."""
    basis = Given(None, measured=qualities(0.4, seeds=3, spread=0.15))
    alone = table({"a": CLAIMS["difference"]}, lambda claim: basis)
    p = alone["p"][0]
    assert (alone["p_holm"][0], alone["verdict"][0]) == (p, "supported")
    count = math.ceil(0.05 / p) + 1
    many = table({f"c{i}": CLAIMS["difference"] for i in range(count)}, lambda claim: basis)
    assert many["p_holm"].tolist() == pytest.approx([min(1.0, count * p)] * count)
    assert set(many["verdict"]) == {"undetermined"}


def test_a_decided_claim_needs_nothing_and_an_undetermined_one_says_how_much():
    decided = table({"a": CLAIMS["difference"]}, lambda claim: Given(None, measured=qualities(0.5)))
    assert (decided["verdict"][0], decided["needed"][0]) == ("supported", pd.NA)
    vague = table({"a": CLAIMS["difference"]}, lambda claim: Given(None, measured=qualities(0.1, spread=0.4))).iloc[0]
    assert vague["verdict"] == "undetermined"
    assert vague["needed"] > vague["units"]
    assert vague["keys"].split() == sorted(key for keys in qualities(0).cells["keys"] for key in keys)


def test_an_undetermined_claim_that_only_more_images_help_says_so_and_a_decided_one_does_not():
    """Two runs a side, alike but for two test sets that disagree."""
    runs = qualities(0.0)
    sets = np.where(runs.cells["discriminator"] != "none", 1.0, 0.0)[:, None] * [-0.5, 0.7]
    row = table(
        {"a": CLAIMS["difference"]}, lambda claim: Given(None, measured=Measured(runs.cells, runs.values + sets))
    )
    assert (row["verdict"][0], row["needed"][0]) == ("undetermined", pd.NA)
    assert row["note"][0] == "no number of units would do: more test images are needed"
    decided = table({"a": CLAIMS["difference"]}, lambda claim: Given(None, measured=qualities(0.5)))
    assert decided["note"][0] == ""


# ------------------------------------------------------------------------------------------------- rank correlations


ORDER = np.arange(8.0)


@pytest.mark.parametrize("noise", [0.5, 1.5, 3.0])
def test_perfect_agreement_seen_through_noise_is_no_asymmetry(noise):
    """Both rankings are truly the same; how they are seen disagrees ever more."""
    generator = np.random.default_rng(11)
    seen = [ORDER + noise * generator.normal(size=shape) for shape in ((8,), (3, 8))]
    found = judged(CLAIMS["agreement"], *seen, noise)
    assert scipy.stats.spearmanr(seen[0], seen[1][0]).statistic < 1
    assert found["p"] > 0.05
    assert found["verdict"] != "supported"


def test_opposite_rankings_with_little_noise_are_an_asymmetry():
    found = judged(CLAIMS["agreement"], ORDER, [-ORDER] * 3, 0.3)
    assert found["effect"] == pytest.approx(2.0, abs=0.05)
    assert found["p"] == pytest.approx(1 / 301)
    assert (found["verdict"], found["units"]) == ("supported", 8)


def test_equal_rankings_with_little_noise_contradict_an_asymmetry():
    found = judged(CLAIMS["agreement"], ORDER, [ORDER] * 3, 0.1)
    assert found["effect"] == pytest.approx(0.0, abs=0.05)
    assert (found["p"], found["verdict"]) == (1.0, "contradicted")


def test_no_significant_correlation_is_no_support():
    """Scores that are nothing but noise: rho near 0, and nothing follows from it."""
    generator = np.random.default_rng(1)
    found = judged(CLAIMS["agreement"], generator.normal(size=6), generator.normal(size=(3, 6)), 1.0)
    assert found["verdict"] == "undetermined"


def test_agreement_that_breaks_under_discriminators_is_a_change():
    found = judged(CLAIMS["change"], ORDER, [ORDER, -ORDER, -ORDER], 0.1)
    assert found["effect"] == pytest.approx(-2.0, abs=0.1)
    assert found["verdict"] == "supported"
    # equal where no draw of the noise moves a rank
    assert found["effect_low"] <= found["effect"] <= found["effect_high"]


def test_the_same_agreement_everywhere_is_no_change():
    found = judged(CLAIMS["change"], ORDER, [ORDER] * 3, 0.1)
    assert found["effect"] == pytest.approx(0.0, abs=0.05)
    assert found["verdict"] != "supported"


def test_a_discriminator_with_too_few_losses_is_left_out_and_named():
    holes = np.where(np.arange(8) < 2, ORDER, NAN)
    found = judged(CLAIMS["agreement"], ORDER, [ORDER, ORDER, holes], 0.1)
    assert "without vanilla: not enough there" in found["note"]
    nothing = judged(CLAIMS["change"], ORDER, [holes, ORDER, ORDER], 0.1)
    assert (nothing["note"], nothing["verdict"]) == ("too few losses have scores under none", "undetermined")


def test_losses_that_lack_a_score_are_named():
    hole = np.where(np.arange(8) == 2, NAN, ORDER)
    found = judged(CLAIMS["agreement"], ORDER, [ORDER, ORDER, hole], 0.1)
    assert found["units"] == 7
    assert "without the losses l2: not all of their scores are there" in found["note"]


@pytest.mark.parametrize(
    ("optimization", "noise", "note"),
    [
        ([ORDER] * 3, 0.0, "nothing to resample"),
        ([ORDER * 0] * 3, 0.1, "one ranking is constant"),
        ([np.full(8, NAN)] * 3, 0.1, "fewer than 3 losses have both scores"),
    ],
)
def test_what_cannot_be_judged_says_why(optimization, noise, note):
    found = judged(CLAIMS["agreement"], ORDER, optimization, noise)
    assert found["note"].startswith(note)
    assert found["verdict"] == "undetermined"
    assert np.isnan(found["effect"])


# ------------------------------------------------------------------------------------------------------------ upset


def margins(patch, none=-1.0, vanilla=-1.0, seeds=6, patch_noise=0.1, noise=0.1):
    """l0 is above l1 and l2 by these amounts under each discriminator."""
    generator = np.random.default_rng(4)
    above = {"none": none, "patch": patch, "vanilla": vanilla}
    spread = {"none": noise, "patch": patch_noise, "vanilla": noise}
    rows = [
        {"loss": f"l{i}", "seed": seed, "discriminator": name, "status": "done", "keys": ()}
        for i in range(3) for seed in range(seeds) for name in NAMES
    ]  # fmt: skip
    levels = [(row["discriminator"], row["loss"] == "l0") for row in rows]
    values = [[above[name] * own + spread[name] * generator.normal()] for name, own in levels]
    return Measured(pd.DataFrame(rows), np.array(values))


@pytest.mark.parametrize(
    ("iqa", "patch", "expected"),
    [
        ([0.0, 1.0, 2.0], 1.0, "supported"),
        ([3.0, 1.0, 2.0], 1.0, "undetermined"),  # trains better, but is the better metric too
        ([0.0, 1.0, 2.0], 0.1, "undetermined"),  # hardly better
        ([0.0, 1.0, 2.0], -1.0, "contradicted"),
    ],
)
def test_an_upset_takes_a_worse_metric_and_a_better_loss_under_some_discriminator(iqa, patch, expected):
    found = judged(CLAIMS["upset"], iqa, np.zeros((3, 3)), 0.05, measured=margins(patch))
    assert found["verdict"] == expected
    if expected == "supported":
        values = {(r["discriminator"], r["loss"]): [] for r in margins(patch).records}
        for record, value in zip(margins(patch).records, margins(patch).values[:, 0], strict=True):
            values[record["discriminator"], record["loss"]].append(value)
        best = max(values["patch", "l1"], values["patch", "l2"], key=np.mean)
        assert found["effect"] == pytest.approx(np.mean(values["patch", "l0"]) - np.mean(best))
        assert "largest under patch" in found["note"]


def test_an_upset_under_one_of_three_discriminators_pays_for_having_looked_at_three():
    found = judged(CLAIMS["upset"], [0.0, 1.0, 2.0], np.zeros((3, 3)), 1e-3, measured=margins(0.12, seeds=4))
    runs = margins(0.12, seeds=4)
    of = {(r["discriminator"], r["loss"], r["seed"]): v for r, v in zip(runs.records, runs.values[:, 0], strict=True)}
    each = [[[of[name, x, s] for s in range(4)] for x in ("l0", "l1", "l2")] for name in NAMES]
    ps = [
        max(scipy.stats.ttest_rel(own, other).pvalue if np.mean(own) > np.mean(other) else 1.0 for other in others)
        for own, *others in each
    ]
    assert found["p"] == pytest.approx(max(min(1.0, 3 * min(ps)), 2 / 301))


def test_an_upset_is_large_and_certain_under_one_and_the_same_discriminator():
    """Under vanilla the margin is certain and too small to matter, under patch large and uncertain: neither will do."""
    runs = margins(0.6, vanilla=0.12, patch_noise=0.6, noise=0.01)
    found = judged(CLAIMS["upset"], [0.0, 1.0, 2.0], np.zeros((3, 3)), 0.05, measured=runs)
    assert "largest under patch" in found["note"]
    assert found["effect"] > found["matters"]
    assert found["effect_low"] < 0
    assert (found["p"] > 0.05, found["verdict"]) == (True, "undetermined")


def test_a_loss_that_is_no_worse_a_metric_is_told_so_and_needs_no_more_units():
    found = judged(CLAIMS["upset"], [1.0, 0.0, 2.0], np.zeros((3, 3)), 0.05, measured=margins(0.1))
    assert found["verdict"] == "undetermined"
    assert "its IQA score is not below that of l1" in found["note"]
    assert pd.isna(found["needed"])


def test_where_nothing_ran_no_upset_is_refuted():
    """Refuted under patch; vanilla and none have no runs yet."""
    runs = margins(-1.0)
    there = runs.cells["discriminator"] == "patch"
    some = Measured(runs.cells, np.where(there.to_numpy()[:, None], runs.values, NAN))
    found = judged(CLAIMS["upset"], [0.0, 1.0, 2.0], np.zeros((3, 3)), 0.05, measured=some)
    assert (found["p_against"], found["verdict"]) == (1.0, "undetermined")
    assert "without none, vanilla: not enough there" in found["note"]


# ------------------------------------------------------------------------------------------------- nothing to judge


def test_every_claim_has_a_row_even_if_nothing_is_there():
    """A grid of which no trial has run."""
    losses, cells = ("l0", "l1", "l2"), []
    for loss in losses:
        cells.append(cell("metric_benchmark", f"m-{loss}", loss=loss, data_set="live", status="missing"))
        for name in NAMES:
            levels = {"loss": loss, "discriminator": name, "status": "missing"}
            cells.append(cell("optimization", f"sr-{loss}-{name}", **levels))
            cells.append(cell("judging", f"j-{loss}-{name}", judge="x", family="x", data_set="natural", **levels))
    basis = Basis(evidence_of(cells, {}, losses, NAMES))
    found = table(CLAIMS, lambda claim: basis).set_index("claim")
    assert found.index.tolist() == list(CLAIMS)
    assert set(found["verdict"]) == {"undetermined"}
    assert (found["note"] != "").all()
    assert (found["keys"] == "").all()
    assert found[["effect", "p", "p_holm", "p_against_holm", "needed"]].isna().all(axis=None)


def test_a_claim_on_another_grid_that_was_not_read_is_undetermined_and_says_so():
    cells = [cell("metric_benchmark", "m", loss="l0", data_set="live", status="missing")]
    evidence = evidence_of(cells, {}, ("l0",))
    stated = {"F6": CLAIMS["trend"].model_copy(update={"grid": "gan_weight.yaml"})}
    frames = {one.name: one.frame for one in build(evidence, stated)}
    row = frames["claims"].iloc[0]
    assert (row["claim"], row["verdict"]) == ("F6", "undetermined")
    assert row["note"] == "it rests on gan_weight.yaml, whose trials were not read"
    frames = {one.name: one.frame for one in build(evidence, stated, {"gan_weight.yaml": evidence})}
    elsewhere = frames["claims"].iloc[0]
    assert elsewhere["verdict"] == "undetermined"
    assert elsewhere["note"] == "it rests on gan_weight.yaml, of which no trial is there: sweep that grid"


def test_rows_say_what_was_claimed():
    found = table(CLAIMS, lambda claim: "not read").set_index("claim")
    assert found.columns.tolist() == claims.COLUMNS[1:]
    assert found.loc["difference", ["of", "over", "unit", "measure"]].tolist() == [
        "discriminator adversarial", "discriminator none", "pair", "quality",
    ]  # fmt: skip
    assert found.loc["upset", ["of", "over", "unit", "direction"]].tolist() == ["l0", "l1, l2", "seed", "higher"]
    assert found.loc["agreement", ["of", "over", "unit"]].tolist() == ["all", "", "loss"]
    assert set(found["note"]) == {"not read"}

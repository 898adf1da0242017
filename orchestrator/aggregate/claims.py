"""Claims of a grid, judged: effect, interval, p on both sides, and a verdict by one rule (docs/statistics.md).

A claim is *supported* when its p, corrected by Holm over the claims of the grid, is at most .05 and the effect is at
least the smallest that matters; *contradicted* when the null that an effect which matters exists is rejected in the
same way; else *undetermined*. 'No significant correlation' is neither.
"""

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import numpy as np
import pandas as pd
from scipy.stats import norm

from orchestrator.aggregate import measures
from orchestrator.aggregate.agreement import MONTE_CARLO, correlated, joint_p, spearman, standard_ranks
from orchestrator.aggregate.asymmetry import DRAWS, LEAST_LOSSES
from orchestrator.aggregate.contrasts import NAN, POWER, Effect, contrast
from orchestrator.aggregate.counting import both_sides
from orchestrator.aggregate.intervals import LEVEL
from orchestrator.aggregate.measures import Measured
from orchestrator.aggregate.noise import BLIND, Inversion, Noisy, change, losses_like_these, perfect, these_losses
from orchestrator.aggregate.panel import iqa_panel
from orchestrator.aggregate.ranking import ALL, View
from orchestrator.aggregate.scored import Scored, score_evidence
from orchestrator.aggregate.scores import Evidence
from orchestrator.sections.claims import Agreement, AgreementChange, Claim, Difference, Levels, Upset, meant

ALPHA = 0.05
SUPPORTED, CONTRADICTED, UNDETERMINED = "supported", "contradicted", "undetermined"
MORE = "no number of units would do: more test images are needed"
COLUMNS = [
    "claim", "says", "contrast", "measure", "of", "over", "unit", "units", "effect", "effect_low", "effect_high",
    "matters", "direction", "p", "p_holm", "p_against", "p_against_holm", "p_sign_flip", "verdict", "needed", "note",
    "keys",
]  # fmt: skip


@dataclass(frozen=True, eq=False)
class Basis:
    """What claims are judged on: the evidence of one group of losses, and its scores in one view."""

    evidence: Evidence
    known: Scored | None = None
    """Its scores in the view, where they have been computed."""
    view: View = ALL
    """The view that both are seen in."""
    needed: bool = True
    """Whether to compute how many losses a claim would need, which takes long."""
    draws: int = DRAWS
    """Draws of the noise that inversions see."""
    permutations: int = MONTE_CARLO
    """Permutations where there are too many to walk them all."""

    @cached_property
    def scored(self) -> Scored:
        """Both scores of the ranked losses."""
        return self.known or score_evidence(self.evidence)

    @cached_property
    def performance(self) -> Measured:
        """IQA models on their benchmarks."""
        return measures.performance(self.evidence)

    @cached_property
    def stability(self) -> Measured:
        """Spread of the validation PSNR."""
        return measures.stability(self.evidence)

    @cached_property
    def score_quality(self) -> Measured:
        """Standardised scores of the judges of the score."""
        return measures.quality(self.evidence)

    @cached_property
    def metrics(self) -> Measured:
        """Losses as metrics on the FR benchmarks."""
        seen = self.evidence
        return measures.metrics(iqa_panel(seen.cells, seen.scores, seen.losses, seen.seeds))

    def quality(self, judges: tuple[str, ...] | None) -> Measured:
        """Standardised judge scores."""
        return self.score_quality if judges is None else measures.quality(self.evidence, judges)

    def noisy(self, discriminators: list[int]) -> Noisy:
        """Both scores and their noise, of the losses that have all of them."""
        return Noisy.of(self.scored, discriminators, self.draws)

    def lost(self, discriminators: list[int]) -> list[str]:
        """A word on the losses that lack a score on either side or under one of the discriminators."""
        point = self.scored.point
        there = np.isfinite(point.iqa[0]) & np.isfinite(point.optimization[0, discriminators]).all(0)
        names = [name for name, known in zip(self.scored.losses, there, strict=True) if not known]
        return [f"without the losses {', '.join(names)}: not all of their scores are there"] if names else []

    def keys(self, discriminators: tuple[str, ...] = ("",)) -> frozenset[str]:
        """Of the done trials behind both scores under these discriminators, or behind the IQA scores."""
        cells = both_sides(self.evidence.cells, discriminators)
        return frozenset(cells.loc[cells["discriminator"].isin(discriminators) & (cells["status"] == "done"), "key"])

    def with_scores(self, names: tuple[str, ...]) -> tuple[list[int], list[str]]:
        """(positions of those of `names` under which three losses have both scores, the names of the others)."""
        there = np.isfinite(self.scored.point.optimization[0]) & np.isfinite(self.scored.point.iqa[0])
        enough = [int(row.sum()) >= LEAST_LOSSES for row in there]
        position = {name: self.scored.discriminators.index(name) for name in names}
        return [d for d in position.values() if enough[d]], [name for name, d in position.items() if not enough[d]]


def table(
    claims: Mapping[str, Claim], basis_of: Callable[[Claim], Basis | str], stated: int | None = None
) -> pd.DataFrame:
    """One row a claim. `basis_of` gives what a claim rests on, or says why there is nothing. `stated`: claims that the
    correction takes into account, if more than these."""
    rows = []
    for name, claim in claims.items():
        basis = basis_of(claim)
        found = Effect(note=basis) if isinstance(basis, str) else judge(claim, basis)
        rows.append(_described(name, claim) | _numbers(found))
    frame = pd.DataFrame(rows, columns=[column for column in COLUMNS if "holm" not in column and column != "verdict"])
    for column in ("p", "p_against"):
        frame[f"{column}_holm"] = holm(frame[column], max(stated or 0, len(frame)))
    frame["verdict"] = [verdict(row) for row in frame.to_dict("records")]
    needed = frame["needed"].astype(float).where(frame["verdict"] == UNDETERMINED)
    hopeless = np.isinf(needed)
    frame["note"] = frame["note"].mask(hopeless, frame["note"].map(lambda said: "; ".join(filter(None, [said, MORE]))))
    frame["needed"] = needed.mask(hopeless).astype("Int64")
    return frame[COLUMNS]


def judge(claim: Claim, basis: Basis) -> Effect:
    """The effect of a claim, with p on both sides."""
    if isinstance(claim, Agreement):
        return agreement(claim, basis)
    if isinstance(claim, AgreementChange):
        return agreement_change(claim, basis)
    if isinstance(claim, Upset):
        return upset(claim, basis)
    if claim.measure == "quality":
        return contrast(claim, basis.quality(claim.judges))
    return contrast(claim, basis.performance if claim.measure == "srcc" else basis.stability)


def holm(ps: pd.Series, family: int | None = None) -> pd.Series:
    """Holm's (1979) correction over a family of tests, as many as there are p values unless given: a claim that cannot
    be judged yet stays in it, so that no verdict rests on what is missing."""
    there = ps.dropna().sort_values(kind="stable")
    factors = (family or len(there)) - np.arange(len(there))
    stepped = np.minimum(1.0, np.maximum.accumulate(there.to_numpy(float) * factors))
    return pd.Series(stepped, index=there.index, dtype=float).reindex(ps.index)


def verdict(row: Mapping[str, Any]) -> str:
    """Supported, contradicted or undetermined."""
    size = {"higher": row["effect"], "lower": -row["effect"]}.get(str(row["direction"]))
    if row["p_holm"] <= ALPHA and (size is None or size >= row["matters"]):
        return SUPPORTED
    return CONTRADICTED if row["p_against_holm"] <= ALPHA else UNDETERMINED


# --------------------------------------------------------------------------------- claims on rank correlations


def agreement(claim: Agreement, basis: Basis) -> Effect:
    """1 - rho. p: how often perfect agreement, seen through the noise, shows a correlation as low (one-sided: nothing
    is better than perfect). p against: how often a truth of rho = 1 - matters shows one as high."""
    names = meant(claim.discriminators, basis.scored.discriminators)
    there, absent = basis.with_scores(names)
    noisy = basis.noisy(there)
    why = _unusable(noisy, there)
    if why:
        return Effect(note=why)
    rho, truths = noisy.rho(), these_losses(noisy)
    under_perfect = perfect(noisy).mean(1)
    p = (1 + (under_perfect <= rho + 1e-9).sum()) / (1 + len(under_perfect))
    low, high = truths.interval(rho)
    estimate = truths.estimate(rho)
    against = _floor(float(np.interp(claim.matters - 1, -truths.truth, truths.at_least(rho))), truths)
    found = Effect(
        estimate=1 - estimate,
        low=1 - high,
        high=1 - low,
        p=float(p),
        p_against=min(1.0, 2 * against) if 1 - estimate < claim.matters else 1.0,
        units=len(noisy.iqa),
        needed=_losses_needed(noisy, claim.matters) if basis.needed else NAN,
        keys=basis.keys(names),
    )
    shown = BLIND if truths.blind else f"perfect agreement would show {np.median(under_perfect):.3f}"
    seen = f"observed mean rho {rho:.3f}"
    return replace(found, note="; ".join([seen, shown, *_left_out(absent), *basis.lost(there)]))


def agreement_change(claim: AgreementChange, basis: Basis) -> Effect:
    """Mean rho over `of` minus rho under `over`, both seen through the noise. p: the largest of the permutation p (the
    IQA scores are permuted, once for all discriminators), that of the noise-corrected difference, and that of a
    difference as large between two perfect agreements: noise that differs must not look like a change."""
    names = meant(claim.of, basis.scored.discriminators)
    there, absent = basis.with_scores(names)
    beside, missing = basis.with_scores((claim.over,))
    if not beside:
        return Effect(note=f"too few losses have scores under {', '.join(missing)}")
    noisy = basis.noisy([*there, *beside])
    why = _unusable(noisy, there)
    if why:
        return Effect(note=why)
    found = change(noisy, len(there))
    difference, error, draws = found.estimate, found.error, len(noisy.iqa_noise)
    needed = _losses_needed(noisy, claim.matters) if basis.needed else NAN
    keys = basis.keys((*names, claim.over))
    if math.isnan(difference):
        return Effect(units=len(noisy.iqa), needed=needed, keys=keys, note=BLIND)
    ps = _two_sided(difference, error, draws), _permuted(noisy, len(there), basis.permutations), _perfect(noisy, there)
    least = claim.matters if claim.direction == "higher" else -claim.matters
    looks_larger = difference >= least if claim.direction == "higher" else difference <= least
    return Effect(
        estimate=difference,
        low=found.low,
        high=found.high,
        p=max(ps),
        p_against=1.0 if looks_larger else _two_sided(difference - least, error, draws),
        units=len(noisy.iqa),
        needed=needed,
        note="; ".join([*_left_out(absent), *basis.lost([*there, *beside])]),
        keys=keys,
    )


def _perfect(noisy: Noisy, of: list[int]) -> float:
    """Two-sided p of the observed difference were all rankings truly equal."""

    def difference(rho: np.ndarray) -> np.ndarray:
        return np.asarray(rho[:, : len(of)].mean(1) - rho[:, len(of)])

    observed = difference(spearman(noisy.iqa[None], noisy.optimization)[None])
    seen = difference(perfect(noisy))
    tails = (seen <= observed + 1e-9).sum(), (seen >= observed - 1e-9).sum()
    return float(min(1.0, 2 * (1 + min(tails)) / (1 + len(seen))))


def _permuted(noisy: Noisy, of: int, permutations: int) -> float:
    """Two-sided permutation p of the mean rho over the first `of` rows less that of the last."""

    def difference(x: np.ndarray, ys: np.ndarray) -> np.ndarray:
        rho = correlated(x, ys)
        return np.asarray(rho[..., :of].mean(-1, keepdims=True) - rho[..., of:])

    x, ys = standard_ranks(noisy.iqa), standard_ranks(noisy.optimization)
    found, _, _ = joint_p(x, ys, difference, permutations)
    return float(found[0])


def upset(claim: Upset, basis: Basis) -> Effect:
    """The margin of a loss over the best of others under the discriminator where it is largest. p: the larger of that
    of this very margin (t over seeds and sets; the largest over the others, times the number of discriminators looked
    at) and that of its IQA score lying below each of theirs."""
    measured = basis.quality(None)
    names = meant(claim.discriminators, basis.scored.discriminators)
    margins = {name: [_margin(claim, measured, name, claim.loss, rival) for rival in claim.over] for name in names}
    known = {name: effects for name, effects in margins.items() if all(math.isfinite(e.p) for e in effects)}
    if not known:
        return Effect(note="no discriminator under which the loss and each of the others have two seeds")
    worst = {name: min(effects, key=lambda e: e.estimate) for name, effects in known.items()}
    best = max(worst, key=lambda name: worst[name].estimate)
    exists = min(1.0, len(known) * max(_one_sided(e) for e in known[best]))
    never = max(min(1.0, len(effects) * min(e.p_against for e in effects)) for effects in known.values())
    if len(known) < len(names):  # where nothing ran, nothing is refuted
        never = 1.0
    premise, fails, said = _lower_iqa(claim, basis)
    keys = frozenset().union(*(e.keys for effects in known.values() for e in effects))
    chosen = f"largest under {best} of {len(known)}, whose interval is not corrected for the choice"
    note = "; ".join([chosen, said, *_left_out([name for name in names if name not in known])])
    found = worst[best]
    needed = NAN if fails else found.needed
    found = replace(found, p=max(exists, premise), p_against=never, p_sign=NAN)
    return replace(found, needed=needed, keys=keys | basis.keys(), note=note)


def _margin(claim: Upset, measured: Measured, discriminator: str, loss: str, rival: str) -> Effect:
    """How much one loss is above another, by seeds; as metrics where no discriminator is named."""
    under = (discriminator,) if discriminator else None
    sides = [Levels(loss=(one,), discriminator=under) for one in (loss, rival)]
    paired = Difference(
        contrast="difference", says=claim.says, matters=claim.matters, measure="quality", of=sides[0], over=sides[1],
        pairs=("seed",), unit="pair", direction="higher",
    )  # fmt: skip
    return contrast(paired, measured)


def _one_sided(found: Effect) -> float:
    """Of a two-sided p, twice the tail on the claim's side: 1 where the effect points away from it."""
    return found.p if found.estimate > 0 else 1.0


def _lower_iqa(claim: Upset, basis: Basis) -> tuple[float, bool, str]:
    """(p of the null that the loss's IQA score is not below each of the others', whether it is above one, in words)."""
    margins = {rival: _margin(claim, basis.metrics, "", rival, claim.loss) for rival in claim.over}
    p = max(_one_sided(found) if math.isfinite(found.p) else 1.0 for found in margins.values())
    if worse := [rival for rival, found in margins.items() if found.estimate < 0]:
        return p, True, f"its IQA score is not below that of {' and '.join(worse)}"
    return p, False, f"its IQA score is below theirs with p = {p:.3f}"


def _two_sided(estimate: float, error: float, draws: int) -> float:
    """Normal p, never below 1 / (draws + 1): where no draw of the noise moved a rank the error is 0."""
    if error == 0:
        return 1 / (1 + draws) if abs(estimate) > 1e-9 else 1.0
    return max(1 / (1 + draws), 2 * float(norm.sf(abs(estimate) / error)))


def _floor(share: float, truths: Inversion) -> float:
    """A share of R draws is never taken for less than 1 / (R + 1)."""
    return max(share, 1 / (1 + len(truths.seen[0])))


def _unusable(noisy: Noisy, discriminators: list[int]) -> str:
    if not discriminators or len(noisy.iqa) < LEAST_LOSSES:
        return f"fewer than {LEAST_LOSSES} losses have both scores"
    if not np.isfinite(spearman(noisy.iqa[None], noisy.optimization)).all():
        return "one ranking is constant"
    return "" if noisy.usable and noisy.noise else "nothing to resample: one seed, one set, one content"


def _left_out(names: list[str]) -> list[str]:
    return [f"without {', '.join(names)}: not enough there"] if names else []


def _losses_needed(noisy: Noisy, matters: float) -> float:
    """Losses at which a true effect of twice `matters` has 80 % power, were the losses drawn anew: the standard error
    for the population of losses, averaged over discriminators, shrinks with their square root. Rough for a change. NaN
    where noise hides all: losses do not help there."""
    halves = []
    for d in range(len(noisy.optimization)):
        one = noisy.under([d])
        like = losses_like_these(one)
        if like.blind:
            return NAN
        low, high = like.interval(one.rho())
        halves.append((high - low) / 2)
    wanted: float = float(norm.ppf((1 + LEVEL) / 2) + norm.ppf(POWER)) / float(norm.ppf((1 + LEVEL) / 2))
    return float(math.ceil(len(noisy.iqa) * (wanted * float(np.mean(halves)) / (2 * matters)) ** 2))


# ------------------------------------------------------------------------------------------------------- rows


def _described(name: str, claim: Claim) -> dict[str, object]:
    row: dict[str, object] = {"claim": name, "says": claim.says, "contrast": claim.contrast, "matters": claim.matters}
    row |= {"direction": claim.direction, "unit": "loss", "measure": "", "over": ""}
    if isinstance(claim, Agreement):
        return row | {"of": ", ".join(claim.discriminators)}
    if isinstance(claim, AgreementChange):
        return row | {"of": ", ".join(claim.of), "over": claim.over}
    if isinstance(claim, Upset):
        return row | {"of": claim.loss, "over": ", ".join(claim.over), "measure": "quality", "unit": "seed"}
    over = _words(claim.over) if claim.over else ""
    return row | {"of": _words(claim.of), "over": over, "measure": claim.measure, "unit": claim.unit}


def _words(levels: Levels) -> str:
    return ", ".join(f"{factor} {' or '.join(map(str, names))}" for factor, names in levels.named().items())


def _numbers(found: Effect) -> dict[str, object]:
    return {
        "units": found.units,
        "effect": found.estimate,
        "effect_low": found.low,
        "effect_high": found.high,
        "p": found.p,
        "p_against": found.p_against,
        "p_sign_flip": found.p_sign,
        "needed": found.needed,
        "note": found.note,
        "keys": " ".join(sorted(found.keys)),
    }

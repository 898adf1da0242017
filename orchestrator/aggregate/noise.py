"""What the noise of the scores does to a rank correlation, and how to see through it.

Unreliable scores keep a correlation from 1 and pull every correlation towards 0, so that the correlation of the scores
as estimated is not the one of the losses. Two families of truths are therefore simulated, seen through the noise that
the bootstrap found, and compared with what was observed (test inversion: Carpenter 1999; the parametric
family is ours). BCa does not do here: noise makes the bootstrap's bias larger than its spread, and its endpoints then
stick to the largest resample (docs/statistics.md has the figures). K truths, R draws of the noise, L losses, D
discriminators.
"""

import math
from dataclasses import dataclass
from functools import cache

import numpy as np
from scipy.optimize import isotonic_regression
from scipy.special import ndtri
from scipy.stats import rankdata

from orchestrator.aggregate.agreement import correlated, spearman, standard_ranks
from orchestrator.aggregate.correlation import Array
from orchestrator.aggregate.intervals import LEVEL
from orchestrator.aggregate.scored import Scored, Scores
from orchestrator.aggregate.shrinkage import shrunk

HIDDEN = "noise hides whether the rankings agree"
BLIND = f"{HIDDEN} (perfect agreement would look like perfect disagreement): more seeds and test images are needed"
TRUTHS = 25
"""Truths on the way from rho = 1 to rho = -1."""
SEED = 0


@dataclass(frozen=True)
class Noisy:
    """Scores as estimated, and the noise in them."""

    iqa: Array
    """(L,)"""
    optimization: Array
    """(D, L)"""
    iqa_noise: Array
    """(R, L): deviations of the bootstrap scores from their mean, less what all losses share in a draw; their
    covariance is shrunk."""
    optimization_noise: Array
    """(R, D, L), drawn together with `iqa_noise`."""

    @classmethod
    def of(cls, scored: Scored, discriminators: list[int], draws: int) -> "Noisy":
        """From the scores under some discriminators and the first `draws` draws of their noise, its covariance shrunk
        (shrinkage.py). Losses without all scores are left out, and so is a draw in which one of them has none."""
        point = _together(scored.point, discriminators)[0]
        here = np.isfinite(point).all(0)
        drawn = _together(scored.drawn, discriminators)[:draws, :, here]
        left_out = [_together(one, discriminators)[:, :, here] for one in scored.left_out.values()]
        # A loss that has but the unit that is left out shows nothing of how units differ.
        left_out = [np.where(np.isfinite(one), one, point[:, here]) for one in left_out]
        drawn = drawn[np.isfinite(drawn).all((1, 2))]
        errors = shrunk(_deviations(drawn), left_out, np.random.default_rng([SEED, 7]))
        return cls(point[0, here], point[1:, here], errors[:, 0], errors[:, 1:])

    def under(self, discriminators: list[int]) -> "Noisy":
        """The same with some of the discriminators."""
        return Noisy(
            self.iqa, self.optimization[discriminators], self.iqa_noise, self.optimization_noise[:, discriminators]
        )

    @property
    def usable(self) -> bool:
        """Whether there is noise to see through: draws in which everything has a score, and three losses."""
        return len(self.iqa_noise) > 1 and len(self.iqa) > 2 and len(self.optimization) > 0

    @property
    def noise(self) -> bool:
        """Whether anything varied when it was resampled."""
        return bool((self.iqa_noise.std(0) > 1e-12).any() or (self.optimization_noise.std(0) > 1e-12).any())

    def rho(self) -> float:
        """Mean over the discriminators of the observed rho."""
        return float(spearman(self.iqa[None], self.optimization).mean())


@dataclass(frozen=True)
class Inversion:
    """Mean correlations as they would be seen under each of K truths."""

    truth: Array
    """(K,), from 1 downwards."""
    seen: Array
    """(K, R)"""

    @property
    def blind(self) -> bool:
        """Whether the noise hides all: what perfect agreement typically shows is not rare under perfect disagreement
        either, whatever was observed."""
        return bool(self.at_least(float(np.median(self.seen[0])))[-1] > (1 - LEVEL) / 2)

    def interval(self, rho: float, level: float = LEVEL) -> tuple[float, float]:
        """Truths under which neither a correlation as high nor one as low as `rho` is rarer than (1 - level) / 2; all
        where the noise hides all, since an unlikely observation would leave a few of them by chance."""
        if self.blind:
            return float(self.truth[-1]), float(self.truth[0])
        tail = (1 - level) / 2
        return self._where(self.at_least(rho), tail, last=True), self._where(self.at_most(rho), tail, last=False)

    def estimate(self, rho: float) -> float:
        """The truth under which `rho` is the median: median-unbiased. NaN where the noise hides all."""
        return math.nan if self.blind else float(np.interp(-rho, -self._medians(), self.truth))

    def estimates(self, rhos: Array) -> Array:
        """As `estimate`, for many."""
        return np.asarray(np.interp(-rhos, -self._medians(), self.truth))

    def power(self, truth: float, critical: float) -> float:
        """How often |rho| reaches `critical` under a truth."""
        reached = (np.abs(self.seen) >= critical - 1e-9).mean(1)
        return float(np.interp(-truth, -self.truth, reached))

    def nearest(self, truth: float) -> int:
        """Position of the truth that is nearest to a value."""
        return int(np.abs(self.truth - truth).argmin())

    def at_least(self, rho: float) -> Array:
        """(K,): share of draws that show `rho` or more, an equal one being half."""
        return np.asarray((self.seen > rho + 1e-9).mean(1) + 0.5 * (np.abs(self.seen - rho) <= 1e-9).mean(1))

    def at_most(self, rho: float) -> Array:
        """(K,): share of draws that show `rho` or less, an equal one being half."""
        return 1.0 - self.at_least(rho)

    def _medians(self) -> Array:
        """Medians of what is seen, made to fall with the truth."""
        return np.asarray(np.minimum.accumulate(np.median(self.seen, axis=1) - 1e-9 * np.arange(len(self.truth))))

    def _where(self, share: Array, tail: float, *, last: bool) -> float:
        """The last (or first) truth whose share is above `tail`, interpolated to the point where it crosses."""
        inside = np.flatnonzero(share > tail)
        if not inside.size:
            return float(self.truth[-1] if not last else self.truth[0])
        i = int(inside[-1] if last else inside[0])
        j = i + 1 if last else i - 1
        if not 0 <= j < len(share):
            return float(self.truth[i])
        weight = (share[i] - tail) / (share[i] - share[j])
        return float(self.truth[i] + weight * (self.truth[j] - self.truth[i]))


def these_losses(noisy: Noisy) -> Inversion:
    """Truths for the losses at hand: the order of the true optimization scores turns, over K steps, from that of the
    IQA scores to its opposite, in half of the draws through the order that was observed, in half through its mirror
    image. Values are the denoised scores'.

    Mirrored, since values that are no straight line of their ranks make noise move a correlation a little up or down,
    by the orders that it turns through; were they the observed ones alone, this would follow the noise in them.
    """
    observed, mirrored = _turning(noisy, slice(0, None, 2), 1), _turning(noisy, slice(1, None, 2), -1)
    return Inversion(observed.truth, np.hstack([observed.seen, _at(observed.truth, mirrored)]))


def _at(truths: Array, inversion: Inversion) -> Array:
    """(K, R): correlations seen under other truths than those of an inversion: each draw takes the truth before or
    after, so many of them that their mean is right. Averages of both would vary less than either."""
    place = np.interp(-truths, -inversion.truth, np.arange(TRUTHS))
    draws = inversion.seen.shape[1]
    turns = np.random.default_rng([SEED, 8]).permutation((np.arange(draws) + 0.5) / max(1, draws))
    rows = np.floor(place[:, None] + turns).astype(int).clip(0, TRUTHS - 1)
    return np.take_along_axis(inversion.seen, rows, axis=0)


def _turning(noisy: Noisy, draws: slice, side: int) -> Inversion:
    """Normal scores of the IQA ranks (Blom 1958) and the part of those of the optimization ranks that is orthogonal to
    them span a plane; an angle in it is a truth. Several discriminators turn together."""
    left = standard_ranks(denoised(noisy.iqa, noisy.iqa_noise) + noisy.iqa_noise[draws])
    u = _unit(_normal_scores(noisy.iqa))
    angles = np.linspace(0, math.pi, TRUTHS)
    truths, seen = np.zeros(TRUTHS), np.zeros((TRUTHS, len(left)))
    for d, scores in enumerate(noisy.optimization):
        turned = np.cos(angles)[:, None] * u + side * np.sin(angles)[:, None] * _beside(u, _normal_scores(scores))
        error = noisy.optimization_noise[:, d]
        values = np.sort(denoised(scores, error))[rankdata(turned, axis=1, method="ordinal") - 1]
        found = spearman(np.broadcast_to(u, turned.shape), turned)
        truths += np.round(found, 12) / len(noisy.optimization)  # 1 is 1, not the float beside it
        for k in range(TRUTHS):
            seen[k] += _seen(left, values[k] + error[draws]) / len(noisy.optimization)
    return Inversion(truths, seen)


@dataclass(frozen=True)
class Change:
    """A difference of two correlations, both seen through the noise, and its standard error."""

    estimate: float
    error: float

    @property
    def low(self) -> float:
        """Lower end of the 95 % interval (normal)."""
        return self.estimate - float(ndtri((1 + LEVEL) / 2)) * self.error

    @property
    def high(self) -> float:
        """Upper end."""
        return self.estimate + float(ndtri((1 + LEVEL) / 2)) * self.error


def change(noisy: Noisy, of: int) -> Change:
    """Mean correlation under the first `of` discriminators minus that under the others. The error is that of the
    corrected difference were the estimates true, one draw of the noise for both sides. NaN where the noise of a side
    hides all."""
    parts = [noisy.under(list(places)) for places in (range(of), range(of, len(noisy.optimization)))]
    inversions = [these_losses(part) for part in parts]
    estimates = [inversion.estimate(part.rho()) for part, inversion in zip(parts, inversions, strict=True)]
    if not np.isfinite(estimates).all():
        return Change(math.nan, math.nan)
    found = [
        inversion.estimates(inversion.seen[inversion.nearest(estimate)])
        for inversion, estimate in zip(inversions, estimates, strict=True)
    ]
    return Change(estimates[0] - estimates[1], float((found[0] - found[1]).std(ddof=1)))


def losses_like_these(noisy: Noisy) -> Inversion:
    """Truths for the population that the losses come from: true scores of as many losses are drawn from a bivariate
    normal population with the variances of the denoised scores, each with the noise of one of the losses at hand. One
    discriminator. A truth is the population's Spearman correlation, `population_rho` of its Pearson's r."""
    generator = np.random.default_rng([SEED, 6])
    draws, losses = noisy.iqa_noise.shape
    scores, errors = (noisy.iqa, noisy.optimization[0]), (noisy.iqa_noise, noisy.optimization_noise[:, 0])
    spread = [denoised(one, error).std(ddof=1) for one, error in zip(scores, errors, strict=True)]
    picked = generator.permuted(np.tile(np.arange(losses), (draws, 1)), axis=1)
    noise = [np.take_along_axis(error, picked, axis=1) for error in errors]
    first, second = generator.normal(size=(2, draws, losses))
    left = standard_ranks(spread[0] * first + noise[0])
    pearson = np.cos(np.linspace(0, math.pi, TRUTHS))
    right = (spread[1] * (r * first + math.sqrt(1 - r**2) * second) + noise[1] for r in pearson)
    seen = np.stack([_seen(left, one) for one in right])
    return Inversion(np.array([population_rho(float(r)) for r in pearson]), seen)


def population_rho(r: float) -> float:
    """Spearman's correlation of a bivariate normal population with Pearson's r: 6/pi asin(r/2) (Pearson 1907)."""
    return 6 / math.pi * math.asin(r / 2)


def perfect(noisy: Noisy) -> Array:
    """(R, D): rho between IQA and optimization scores, were both rankings truly the same and only the noise kept them
    apart: the null of asymmetry.

    The common order is that of the mean of the standardised scores, in which the IQA scores and all optimization scores
    together have equal weight. Each vector of scores is replaced by its least-squares fit that never falls in this
    order (isotonic regression), which ties the losses on which the two sides disagree: ties are what noise tears apart
    most. Then the fit is denoised, by the spread of the bulk of the losses if that is smaller, and the noise added
    again, jointly over discriminators as it was drawn.
    """
    scores = np.vstack([noisy.iqa, noisy.optimization])
    errors = [noisy.iqa_noise, *np.moveaxis(noisy.optimization_noise, 1, 0)]
    weights = [1.0, *[1 / len(noisy.optimization)] * len(noisy.optimization)]
    order = np.argsort(np.average(_standardised(scores), axis=0, weights=weights), kind="stable")
    seen = []
    for score, error in zip(scores, errors, strict=True):
        fitted = np.empty_like(score)
        fitted[order] = isotonic_regression(score[order]).x
        seen.append(denoised(fitted, error, min(float(score.var(ddof=1)), bulk_variance(score))) + error)
    left = standard_ranks(seen[0])
    return np.stack([_seen(left, one) for one in seen[1:]], axis=1)


def denoised(scores: Array, error: Array, spread: float | None = None) -> Array:
    """`scores` (L,) shrunk about their mean until their variance is what remains of `spread` (their own unless given)
    when that of the noise (R, L) is taken off: estimated scores are spread by their noise. L - 1 losses' worth of noise
    is left in `error`, from which the mean over the losses was taken."""
    spread = float(scores.var(ddof=1)) if spread is None else spread
    noise = error.var(axis=0, ddof=1).sum() / max(1, len(scores) - 1)
    share = math.sqrt(max(0.0, 1 - noise / spread)) if spread > 0 else 0.0
    return np.asarray(scores.mean() + share * (scores - scores.mean()))


def bulk_variance(scores: Array) -> float:
    """Variance of (L,) without the one that is farthest from the median, in the scale in which that of normal samples
    is unbiased: one loss far from all others must not pass for a spread of all."""
    kept = np.delete(scores, np.abs(scores - np.median(scores)).argmax())
    return float(kept.var(ddof=1)) / _bulk_share(len(scores))


@cache
def _bulk_share(losses: int) -> float:
    """Mean variance of standard normal samples without their most extreme value (simulated)."""
    samples = np.random.default_rng([SEED, 9]).normal(size=(20_000, losses))
    far = np.abs(samples - np.median(samples, axis=1, keepdims=True)).argmax(1)
    kept = np.where(np.arange(losses) == far[:, None], np.nan, samples)
    return float(np.nanvar(kept, axis=1, ddof=1).mean())


def _seen(left: Array, right: Array) -> Array:
    """Rho of `standard_ranks` with scores; 0 where all scores of a side are equal, since then they show no order."""
    return np.nan_to_num(correlated(left, standard_ranks(right)))


def _together(scores: Scores, discriminators: list[int]) -> Array:
    """(R, 1 + D, L): IQA scores first."""
    return np.concatenate([scores.iqa[:, None], scores.optimization[:, discriminators]], axis=1)


def _deviations(drawn: Array) -> Array:
    """A benchmark on which all losses score high moves no rank: what the losses share in a draw is taken off."""
    if not drawn.size:
        return drawn
    relative = drawn - drawn.mean(-1, keepdims=True)
    return np.asarray(relative - relative.mean(0))


def _standardised(scores: Array) -> Array:
    deviation = scores.std(1, keepdims=True)
    return np.asarray((scores - scores.mean(1, keepdims=True)) / np.where(deviation > 0, deviation, 1.0))


def _normal_scores(scores: Array) -> Array:
    return np.asarray(ndtri((rankdata(scores) - 0.375) / (len(scores) + 0.25)))


def _unit(vector: Array) -> Array:
    length = math.sqrt(float(vector @ vector))
    return vector / length if length > 0 else vector


def _beside(u: Array, vector: Array) -> Array:
    """The unit vector along what of `vector` is orthogonal to `u`; where nothing is, along the squares of `u`: the
    middle of the order against its ends."""
    rest = vector - (vector @ u) * u
    if rest @ rest < 1e-9:
        squares = u**2 - (u**2).mean()
        rest = squares - (squares @ u) * u
    return _unit(rest)

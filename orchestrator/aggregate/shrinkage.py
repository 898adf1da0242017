"""Noise of the scores with as much structure as few seeds and sets can show.

Five seeds and four benchmarks span seven directions, while the noise of 24 losses has 23: draws of the bootstrap stay
in those seven, and what they do to a correlation is as uncertain as a variance with seven degrees of freedom. So the
covariance of the noise is shrunk towards noise that is independent between losses, by the share that minimises the
expected squared error (Ledoit and Wolf 2004; Schaefer and Strimmer 2005). R draws, S sides (IQA scores, and
optimization scores under each discriminator), L losses.
"""

import math
from collections.abc import Sequence

import numpy as np

from orchestrator.aggregate.correlation import Array


def shrunk(errors: Array, left_out: Sequence[Array], generator: np.random.Generator) -> Array:
    """Draws (R, S, L) of the noise with the shrunk covariance, from those of the bootstrap and, for each kind of unit
    (seeds, benchmarks, test sets), the scores (n, S, L) with one unit left out. The variance of each side stays,
    nearly that of each loss, and the mean correlation of the sides within a loss: a seed's metric is the loss of its
    training. Without units left out, the draws as they are."""
    parts = [values for values in left_out if len(values) > 1]
    if not parts or not errors.any():
        return errors
    share = chance_share(parts)
    losses = errors.shape[-1]
    within = np.einsum("ral,rbl->ab", errors, errors) / (len(errors) * max(1, losses - 1))
    values, vectors = np.linalg.eigh(within)
    root = vectors * np.sqrt(np.maximum(values, 0.0))
    independent = np.einsum("ab,rbl->ral", root, generator.normal(size=errors.shape))
    own = np.sqrt((errors**2).mean(0) / np.maximum((errors**2).mean((0, 2)), 1e-300)[:, None])
    mixed = math.sqrt(1 - share) * errors + math.sqrt(share) * own * independent
    mixed -= mixed.mean(-1, keepdims=True)
    scale = np.sqrt((errors**2).sum((0, 2)) / np.maximum((mixed**2).sum((0, 2)), 1e-300))
    return np.asarray(mixed * scale[:, None])


def chance_share(left_out: Sequence[Array]) -> float:
    """How much of the covariance found between different losses is chance, 0 to 1, from scores (n, S, L) with one unit
    of each kind left out. The sampling variance of a covariance s_ij of normal numbers is (s_ii s_jj + s_ij^2) / df."""
    sides, losses = left_out[0].shape[1:]
    others = np.kron(np.ones((sides, sides)), 1 - np.eye(losses)).astype(bool)
    found, chance = np.zeros(others.shape), np.zeros(others.shape)
    for values in left_out:
        flat = _deviations(values).reshape(len(values), -1)
        covariance = flat.T @ flat
        variance = np.diag(covariance)
        found += covariance
        chance += (np.outer(variance, variance) + covariance**2) / (len(values) - 1)
    structure = found - _independent(found, sides, losses)
    squares = float((structure[others] ** 2).sum())
    return min(1.0, float(chance[others].sum()) / squares) if squares > 0 else 1.0


def _independent(covariance: Array, sides: int, losses: int) -> Array:
    """The same within losses, on average, but independent between them: deviations from a mean over L losses still
    covary by -1 / (L - 1) of it."""
    blocks = covariance.reshape(sides, losses, sides, losses)
    within = np.einsum("ajbj->ab", blocks) / losses
    apart = np.eye(losses) - (1 - np.eye(losses)) / max(1, losses - 1)
    return np.kron(within, apart)


def _deviations(left_out: Array) -> Array:
    """Deviations whose outer products sum to the jackknife's covariance of the scores, less what all losses share."""
    n = len(left_out)
    relative = left_out - left_out.mean(-1, keepdims=True)
    return np.asarray(np.sqrt((n - 1) / n) * (relative - relative.mean(0)))

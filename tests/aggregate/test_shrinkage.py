import numpy as np
import pytest

from orchestrator.aggregate.shrinkage import chance_share, shrunk

DRAWS = 20_000


def deviations(generator, units, structure):
    """Scores (n, S, L) with each of n units left out, whose units have the covariance `structure` (S, L, S, L)."""
    sides, losses = structure.shape[:2]
    root = np.linalg.cholesky(structure.reshape(sides * losses, -1))
    values = generator.normal(size=(units, sides * losses)) @ root.T
    return ((values.sum(0) - values) / (units - 1)).reshape(units, sides, losses)


def independent(sides, losses):
    return np.eye(sides * losses).reshape(sides, losses, sides, losses)


def in_two_groups(losses, share):
    """Losses of one half have noise in common, and so do those of the other."""
    half = np.arange(losses) < losses // 2
    return ((1 - share) * np.eye(losses) + share * (half[:, None] == half)).reshape(1, losses, 1, losses)


def bootstrapped(generator, left_out):
    """Draws (R, S, L) of the bootstrap of means over the units, less what losses share."""
    n = len(left_out)
    units = n * left_out.mean(0) - (n - 1) * left_out
    units = units - units.mean(0)
    errors = np.einsum("rn,nsl->rsl", generator.normal(size=(DRAWS, n)), units) / np.sqrt(n * (n - 1))
    errors = errors - errors.mean(-1, keepdims=True)
    return errors - errors.mean(0)


def test_of_independent_noise_all_covariance_is_chance():
    generator = np.random.default_rng(0)
    found = [chance_share([deviations(generator, 5, independent(2, 24))]) for _ in range(20)]
    assert np.mean(found) > 0.9


def test_structure_that_units_show_again_and_again_is_kept():
    generator = np.random.default_rng(0)
    few, many = (chance_share([deviations(generator, n, in_two_groups(24, 0.8))]) for n in (5, 500))
    assert many < 0.05 < few < 0.9


def test_the_share_takes_most_of_the_error_that_the_best_fixed_share_would_take():
    """Squared errors of covariances, in studies whose noise has two groups."""
    generator = np.random.default_rng(1)
    structure = in_two_groups(12, 0.6)
    centre = np.eye(12) - 1 / 12
    truth = centre @ structure[0, :, 0] @ centre / 8
    apart = 1 - np.eye(12)
    shares, errors = np.linspace(0, 1, 21), []
    for _ in range(300):
        left_out = deviations(generator, 8, structure)
        relative = left_out[:, 0] - left_out[:, 0].mean(-1, keepdims=True)
        relative = relative - relative.mean(0)
        found = 7 / 8 * relative.T @ relative
        tried = chance_share([left_out]), *shares
        errors.append([(((1 - share) * found - truth) ** 2 * apart).sum() for share in tried])
    own, raw, *others = np.mean(errors, axis=0)
    assert raw - own > 0.6 * (raw - min(others))


def test_several_kinds_of_units_add_up():
    """Two kinds with the same deviations: twice the covariance and twice its sampling variance, half its chance."""
    one = deviations(np.random.default_rng(0), 6, in_two_groups(8, 0.9))
    assert chance_share([one, one]) == pytest.approx(chance_share([one]) / 2)


def test_shrunk_noise_keeps_variances_and_the_correlation_of_the_sides():
    generator = np.random.default_rng(2)
    structure = np.kron([[1.0, 0.6], [0.6, 1.0]], np.diag([1.0, 1.0, 1.0, 4.0, 4.0, 4.0])).reshape(2, 6, 2, 6)
    left_out = deviations(generator, 5, structure)
    errors = bootstrapped(generator, left_out)
    found = shrunk(errors, [left_out], generator)
    np.testing.assert_allclose(found.sum(-1), 0.0, atol=1e-9)
    before, after = ((one**2).mean(0).sum(-1) for one in (errors, found))
    np.testing.assert_allclose(after, before, rtol=0.1)
    assert (found[:, 0] * found[:, 1]).mean() == pytest.approx((errors[:, 0] * errors[:, 1]).mean(), rel=0.2)
    assert np.linalg.matrix_rank(errors[:, 0], tol=1e-6) == 4  # the directions of five units
    assert np.linalg.matrix_rank(found[:, 0], tol=1e-6) == 5


def test_without_units_left_out_or_without_noise_nothing_changes():
    generator = np.random.default_rng(3)
    errors = generator.normal(size=(10, 1, 4))
    assert shrunk(errors, [], generator) is errors
    assert shrunk(errors, [errors[:1]], generator) is errors
    nothing = np.zeros((10, 1, 4))
    assert shrunk(nothing, [nothing], generator) is nothing


def test_a_side_without_noise_stays_without():
    generator = np.random.default_rng(4)
    left_out = deviations(generator, 5, independent(2, 6))
    left_out[:, 1] = 0.0
    found = shrunk(bootstrapped(generator, left_out), [left_out], generator)
    assert not found[:, 1].any()
    assert found[:, 0].any()

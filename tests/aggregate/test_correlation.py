import numpy as np
import pytest
import scipy.stats
from scipy.optimize import approx_fprime, curve_fit

from orchestrator.aggregate.correlation import Ties, _slopes, krcc, logistic, plcc, plcc_fitted, srcc, srcc_resampled


@pytest.fixture
def pair():
    """Tie-free predictions and labels that agree partly."""
    generator = np.random.default_rng(0)
    label = generator.normal(size=40)
    return label + generator.normal(size=40), label


def test_equals_scipy_without_ties(pair):
    assert srcc(*pair) == pytest.approx(scipy.stats.spearmanr(*pair).statistic)
    assert krcc(*pair) == pytest.approx(scipy.stats.kendalltau(*pair).statistic)
    assert plcc(*pair) == pytest.approx(scipy.stats.pearsonr(*pair).statistic)


def test_equals_scipy_with_tied_labels(pair):
    prediction, label = pair[0], np.round(pair[1])
    assert srcc(prediction, label) == pytest.approx(scipy.stats.spearmanr(prediction, label).statistic)
    assert krcc(prediction, label) == pytest.approx(scipy.stats.kendalltau(prediction, label).statistic)


@pytest.mark.parametrize("measure", [srcc, krcc, plcc, lambda x, y: plcc_fitted(x, y)[0]])
def test_constant_predictions_have_no_correlation(measure):
    assert np.isnan(measure(np.ones(10), np.arange(10.0)))


def test_logistic_fit_recovers_a_logistic_relation():
    prediction = np.linspace(-3, 5, 60)
    label = logistic(prediction, 4.0, 1.0, 0.7, 0.4)
    fitted, converged = plcc_fitted(prediction, label)
    assert converged
    assert fitted == pytest.approx(1.0, abs=1e-6)
    assert fitted > plcc(prediction, label)


def test_logistic_fit_does_not_depend_on_the_unit(pair):
    assert plcc_fitted(1e4 * pair[0] - 7, pair[1])[0] == pytest.approx(plcc_fitted(*pair)[0], abs=1e-4)


def test_logistic_fit_equals_that_of_levenberg_and_marquardt(pair):
    prediction, label = pair
    x = (prediction - prediction.mean()) / prediction.std()
    start = [label.max(), label.min(), 0.0, 0.25]
    found, _ = curve_fit(logistic, x, label, start, method="lm", maxfev=5000)
    assert plcc_fitted(*pair)[0] == pytest.approx(plcc(logistic(x, *found), label), abs=1e-6)


@pytest.mark.parametrize("width", [0.25, -0.25, 3.0])
def test_slopes_of_the_logistic_are_its_differences(width):
    x, at = np.linspace(-2, 2, 9), np.array([4.0, 1.0, 0.3, width])
    differences = approx_fprime(at, lambda beta: logistic(x, *beta), 1e-7)
    np.testing.assert_allclose(_slopes(x, *at), differences, rtol=1e-5, atol=1e-5)


def test_a_fit_that_does_not_converge_is_said_and_left_empty(pair, monkeypatch):
    monkeypatch.setattr("orchestrator.aggregate.correlation.EVALUATIONS", 6)
    value, converged = plcc_fitted(*pair)
    assert np.isnan(value)
    assert not converged


def test_resampled_srcc_equals_srcc_of_the_repeated_points(pair):
    prediction, label = np.round(pair[0], 1), np.round(pair[1])
    counts = np.random.default_rng(1).integers(0, 4, size=(5, 40)).astype(float)
    values = srcc_resampled([prediction, -prediction], label, counts, np.arange(40))
    np.testing.assert_allclose(values[1], -values[0])
    for value, times in zip(values[0], counts.astype(int), strict=True):
        expected = scipy.stats.spearmanr(np.repeat(prediction, times), np.repeat(label, times)).statistic
        assert value == pytest.approx(expected)


def test_weighted_ranks_are_midranks_of_the_repeated_points():
    (ranks,) = Ties.of(np.array([3.0, 1.0, 3.0, 2.0])).ranks(np.array([[1.0, 2.0, 1.0, 0.0]])) + 0.5
    assert ranks[[0, 2, 3]].tolist() == [1.5, 3.5, 3.5]


def test_resampled_srcc_is_undefined_where_nothing_varies_or_a_prediction_lacks():
    counts = np.array([[1.0, 0.0, 0.0], [1.0, 1.0, 1.0]])
    values, holes = srcc_resampled([np.arange(3.0), np.array([1.0, np.nan, 2.0])], np.arange(3.0), counts, np.arange(3))
    assert np.isnan(values[0])
    assert values[1] == pytest.approx(1.0)
    assert np.isnan(holes).all()

"""Losses of IQA models: their values, finite gradients from a constant start, and errors."""

import numpy as np
import pytest
import torch

from workers.losses.regression import RegressionLoss, regression_loss

SCORE = torch.tensor([0.1, 0.5, 0.4, 0.9])
QUALITY = torch.tensor([0.2, 0.3, 0.6, 0.8])


def test_values() -> None:
    error = (SCORE - QUALITY).abs().double()
    mse = float(error.square().mean())
    assert regression_loss("mse", SCORE, QUALITY).item() == pytest.approx(mse)
    huber = torch.where(error <= 0.1, error.square() / 2, 0.1 * (error - 0.05)).mean()
    assert regression_loss("huber", SCORE, QUALITY).item() == pytest.approx(float(huber), rel=1e-5)
    pearson = np.corrcoef(SCORE.numpy(), QUALITY.numpy())[0, 1]
    assert regression_loss("plcc", SCORE, QUALITY).item() == pytest.approx(1 - pearson + mse, rel=1e-5)


def test_plcc_is_zero_for_the_labels_and_pinned_to_their_scale() -> None:
    assert regression_loss("plcc", QUALITY, QUALITY).item() == pytest.approx(0, abs=1e-6)
    assert regression_loss("plcc", 2 * QUALITY, QUALITY).item() == pytest.approx(QUALITY.square().mean().item())
    assert regression_loss("plcc", -QUALITY, QUALITY).item() > 2


@pytest.mark.parametrize("kind", ["mse", "huber", "plcc"])
@pytest.mark.parametrize("quality", [QUALITY, torch.full((4,), 0.3)], ids=["labels", "equal labels"])
def test_gradients_are_bounded_for_constant_scores_and_equal_labels(
    kind: RegressionLoss, quality: torch.Tensor
) -> None:
    for score in (torch.full((4,), 0.6), SCORE.clone()):
        score.requires_grad_()
        (gradient,) = torch.autograd.grad(regression_loss(kind, score, quality), score)
        assert gradient.isfinite().all()
        assert 0 < gradient.abs().max() < 30


def test_plcc_leads_a_constant_towards_the_order_of_the_labels() -> None:
    score = torch.full((4,), 0.5, requires_grad=True)
    (gradient,) = torch.autograd.grad(regression_loss("plcc", score, QUALITY), score)
    assert torch.equal((-gradient).argsort(), QUALITY.argsort())


def test_an_unknown_loss_is_refused() -> None:
    with pytest.raises(ValueError, match="loss: found 'mae'; allowed: huber, mse, plcc"):
        regression_loss("mae", SCORE, QUALITY)  # type: ignore[arg-type]

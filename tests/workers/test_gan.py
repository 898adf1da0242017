"""GAN losses equal their formulas, by value and by gradient; R1 equals what it is on a linear discriminator."""

import math

import pytest
import torch
from torch import Tensor

from orchestrator.spec import GanLoss
from workers.losses.gan import discriminator_loss, generator_loss, r1_penalty

KINDS: tuple[GanLoss, ...] = ("vanilla", "hinge", "relativistic")


def logits(seed: int, shape: tuple[int, ...] = (3, 1, 2, 2)) -> Tensor:
    return (2 * torch.randn(shape, generator=torch.Generator().manual_seed(seed))).double().requires_grad_()


def log_sigmoid(x: Tensor) -> Tensor:
    return (1 / (1 + torch.exp(-x))).log()


def expected(kind: GanLoss, fake: Tensor, real: Tensor) -> tuple[Tensor, Tensor]:
    """The discriminator's and the generator's loss as the papers write them."""
    if kind == "vanilla":
        return -log_sigmoid(-fake).mean() - log_sigmoid(real).mean(), -log_sigmoid(fake).mean()
    if kind == "hinge":
        return (1 + fake).clamp(min=0).mean() + (1 - real).clamp(min=0).mean(), -fake.mean()
    above, below = real - fake.mean(), fake - real.mean()
    as_discriminator = -log_sigmoid(above).mean() - log_sigmoid(-below).mean()
    as_generator = (-log_sigmoid(-above).mean() - log_sigmoid(below).mean()) / 2
    return as_discriminator, as_generator


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("shape", [(3, 1), (3, 1, 2, 2)])
def test_values_and_gradients_are_those_of_the_papers(kind: GanLoss, shape: tuple[int, ...]) -> None:
    fake, real = logits(0, shape), logits(1, shape)
    for found, wanted in zip(
        (discriminator_loss(kind, fake, real), generator_loss(kind, fake, real)),
        expected(kind, fake, real),
        strict=True,
    ):
        assert found.item() == pytest.approx(wanted.item(), rel=1e-6)
        ours, theirs = (torch.autograd.grad(loss, (fake, real), allow_unused=True) for loss in (found, wanted))
        for mine, paper in zip(ours, theirs, strict=True):
            if paper is None:
                assert mine is None
            else:
                torch.testing.assert_close(mine, paper, rtol=1e-5, atol=1e-7)


@pytest.mark.parametrize(("kind", "cost"), [("vanilla", math.log(2)), ("relativistic", math.log(2)), ("hinge", 1.0)])
def test_a_discriminator_that_knows_nothing(kind: GanLoss, cost: float) -> None:
    nothing = torch.zeros(2, 1)
    assert discriminator_loss(kind, nothing, nothing).item() == pytest.approx(2 * cost)
    assert generator_loss(kind, nothing, nothing).item() == pytest.approx(0.0 if kind == "hinge" else cost)


def test_all_kinds_pull_equally_hard_at_first_but_hinge_twice() -> None:
    pulls = []
    for kind in KINDS:
        fake = torch.zeros(4, 1, requires_grad=True)
        (gradient,) = torch.autograd.grad(generator_loss(kind, fake, torch.zeros(4, 1)), fake)
        pulls.append(float(gradient.sum()))
    assert pulls == pytest.approx([-0.5, -1.0, -0.5])


@pytest.mark.parametrize("kind", KINDS)
def test_half_precision_logits_are_summed_in_float32(kind: GanLoss) -> None:
    fake, real = logits(0).to(torch.bfloat16), logits(1).to(torch.bfloat16)
    for loss in (discriminator_loss, generator_loss):
        found = loss(kind, fake, real)
        assert found.dtype == torch.float32
        assert torch.equal(found, loss(kind, fake.float(), real.float()))


def test_an_unknown_loss_is_refused() -> None:
    for loss in (discriminator_loss, generator_loss):
        with pytest.raises(ValueError, match="loss: found 'wgan'; allowed: hinge, relativistic, vanilla"):
            loss("wgan", logits(0), logits(1))  # type: ignore[arg-type]


def test_r1_of_a_linear_discriminator_is_half_the_squared_norm_of_its_weights() -> None:
    weight = torch.randn(3, 4, 4, generator=torch.Generator().manual_seed(0)).requires_grad_()
    images = torch.rand(5, 3, 4, 4, requires_grad=True)
    penalty = r1_penalty([(images * weight).sum((1, 2, 3))[:, None]], images)
    assert penalty.item() == pytest.approx(0.5 * weight.square().sum().item(), rel=1e-6)
    (gradient,) = torch.autograd.grad(penalty, weight)
    torch.testing.assert_close(gradient, weight.detach())


def test_r1_does_not_depend_on_how_many_locations_say_the_same() -> None:
    images = torch.rand(2, 3, 4, 4, requires_grad=True)
    logit = images.square().sum((1, 2, 3))[:, None, None, None]
    one, many = (r1_penalty([logit.expand(-1, -1, side, side)], images) for side in (1, 6))
    assert one.item() == pytest.approx(many.item(), rel=1e-6)
    assert one.item() == pytest.approx(2 * images.square().sum((1, 2, 3)).mean().item(), rel=1e-6)

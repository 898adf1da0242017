"""The adversarial loss: its values, who receives gradients, and a resume that is exact to the bit."""

import copy
import math

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from workers.losses.adversarial import AdversarialLoss
from workers.models.backbones import build
from workers.models.discriminators import Discriminator


def images(count: int, seed: int, low: float = 0.0, high: float = 1.0) -> Tensor:
    noise = torch.rand(count, 3, 32, 32, generator=torch.Generator().manual_seed(seed))
    return low + (high - low) * noise


def adversarial(head: str = "vanilla", backbone: str = "small/vgg", learning_rate: float = 1e-3) -> AdversarialLoss:
    return AdversarialLoss(Discriminator(build(backbone, seed=0), head, seed=0), learning_rate)  # type: ignore[arg-type]


def weights(loss: AdversarialLoss) -> dict[str, Tensor]:
    return {key: value.clone() for key, value in loss.discriminator.state_dict().items()}


@pytest.mark.parametrize("head", ["vanilla", "patch"])
def test_values_are_the_textbook_ones(head: str) -> None:
    loss, fake, real = adversarial(head), images(2, 1), images(2, 2)
    twin = copy.deepcopy(loss.discriminator).train()
    logits = twin(torch.cat((fake, real)))[0][0]
    expected = -torch.log(1 - logits[:2].sigmoid()).mean() - torch.log(logits[2:].sigmoid()).mean()
    assert loss.train_discriminator(fake, real).item() == pytest.approx(expected.item(), rel=1e-5)
    judged = loss.discriminator.eval()(fake)[0][0]
    assert loss.forward(fake).item() == pytest.approx(F.softplus(-judged).mean().item(), rel=1e-6)


def test_an_ignorant_discriminator_costs_two_log_two() -> None:
    loss = adversarial()
    last = loss.discriminator.head[-1]
    torch.nn.init.zeros_(last.bias)  # type: ignore[arg-type]
    same = images(2, 1)
    assert loss.train_discriminator(same, same).item() == pytest.approx(2 * math.log(2), abs=0.3)


@pytest.mark.parametrize("head", ["vanilla", "patch"])
def test_training_tells_real_from_fake_and_raises_the_generators_loss(head: str) -> None:
    loss, fake, real = adversarial(head), images(4, 1, high=0.4), images(4, 2, low=0.6)
    before, first = loss(fake).item(), loss.train_discriminator(fake, real).item()
    for _ in range(15):
        last = loss.train_discriminator(fake, real).item()
    assert last < 0.5 * first
    assert loss(fake).item() > before
    assert loss(real).item() < loss(fake).item()


def test_generator_step_leads_towards_real() -> None:
    loss, fake, real = adversarial(), images(4, 1, high=0.4).requires_grad_(), images(4, 2, low=0.6)
    for _ in range(15):
        loss.train_discriminator(fake, real)
    value = loss(fake)
    value.backward()
    assert fake.grad is not None
    assert loss(fake - 0.5 * fake.grad / fake.grad.abs().max()).item() < value.item()


@pytest.mark.parametrize("backbone", ["small/vgg", "small/resnet"])
def test_generator_loss_leaves_the_discriminator_as_it_was(backbone: str) -> None:
    loss = adversarial(backbone=backbone)
    before, fake = weights(loss), images(2, 1).requires_grad_()
    loss(fake).backward()
    assert fake.grad is not None
    assert fake.grad.abs().sum() > 0
    assert all(p.grad is None and p.requires_grad for p in loss.discriminator.parameters())
    assert loss.discriminator.training
    assert all(torch.equal(value, before[key]) for key, value in weights(loss).items())


def test_discriminator_step_sends_no_gradient_to_the_generator() -> None:
    loss, fake = adversarial(), images(2, 1).requires_grad_()
    value = loss.train_discriminator(fake * 1.0, images(2, 2))
    assert fake.grad is None
    assert not value.requires_grad


@pytest.mark.parametrize("head", ["vanilla", "patch"])
def test_resumed_training_goes_on_bit_by_bit(head: str) -> None:
    straight, resumed = adversarial(head), adversarial(head)
    batches = [(images(2, seed), images(2, 100 + seed)) for seed in range(6)]
    for batch in batches[:3]:
        straight.train_discriminator(*batch)
    resumed.load_state_dict(copy.deepcopy(straight.state_dict()))
    for batch in batches[3:]:
        assert torch.equal(straight.train_discriminator(*batch), resumed.train_discriminator(*batch))
    ours, theirs = weights(straight), weights(resumed)
    assert all(torch.equal(ours[key], theirs[key]) for key in ours)


def test_a_state_of_another_architecture_is_refused() -> None:
    with pytest.raises(RuntimeError, match="Missing key"):
        adversarial().load_state_dict(adversarial(backbone="small/vit").state_dict())

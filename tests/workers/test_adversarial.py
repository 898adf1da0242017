"""The adversarial loss: its values under every setting, who receives gradients, and a resume exact to the bit."""

import copy
import math
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor
from torch.nn.attention import SDPBackend, sdpa_kernel

from orchestrator import spec
from workers.losses.adversarial import AdversarialLoss
from workers.losses.gan import discriminator_loss, generator_loss
from workers.models.backbones import BACKBONES, build
from workers.models.discriminators import Discriminator


def images(count: int, seed: int, low: float = 0.0, high: float = 1.0) -> Tensor:
    noise = torch.rand(count, 3, 32, 32, generator=torch.Generator().manual_seed(seed))
    return low + (high - low) * noise


def adversarial(
    head: str = "vanilla", backbone: str = "small/vgg", learning_rate: float = 1e-3, seed: int = 0, **settings: Any
) -> AdversarialLoss:
    found: dict[str, Any] = {"loss": "vanilla", "backbone_factor": 1.0, "r1": 0.0, "augment": (), **settings}
    discriminator = spec.Discriminator(
        head=head,  # type: ignore[arg-type]
        backbone=spec.Backbone(model=backbone),
        weights=spec.RandomWeights(purpose="discriminator", seed=0),
        **found,
    )
    network = Discriminator(build(backbone, seed=0), discriminator.head, seed=0)
    return AdversarialLoss(network, discriminator, learning_rate, seed)


EVERYTHING: dict[str, Any] = {"loss": "relativistic", "r1": 1.0, "augment": ("color", "translation", "cutout")}


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
    assert loss.forward(fake, real).item() == pytest.approx(F.softplus(-judged).mean().item(), rel=1e-6)


def test_an_ignorant_discriminator_costs_two_log_two() -> None:
    loss = adversarial()
    last = loss.discriminator.head.layers[-1]
    torch.nn.init.zeros_(last.bias)  # type: ignore[arg-type]
    same = images(2, 1)
    assert loss.train_discriminator(same, same).item() == pytest.approx(2 * math.log(2), abs=0.3)


@pytest.mark.parametrize("head", ["vanilla", "patch"])
def test_training_tells_real_from_fake_and_raises_the_generators_loss(head: str) -> None:
    loss, fake, real = adversarial(head), images(4, 1, high=0.4), images(4, 2, low=0.6)
    before, first = loss(fake, real).item(), loss.train_discriminator(fake, real).item()
    for _ in range(15):
        last = loss.train_discriminator(fake, real).item()
    assert last < 0.5 * first
    assert loss(fake, real).item() > before
    assert loss(real, real).item() < loss(fake, real).item()


def test_generator_step_leads_towards_real() -> None:
    loss, fake, real = adversarial(), images(4, 1, high=0.4).requires_grad_(), images(4, 2, low=0.6)
    for _ in range(15):
        loss.train_discriminator(fake, real)
    value = loss(fake, real)
    value.backward()
    assert fake.grad is not None
    assert loss(fake - 0.5 * fake.grad / fake.grad.abs().max(), real).item() < value.item()


@pytest.mark.parametrize("backbone", ["small/vgg", "small/resnet"])
@pytest.mark.parametrize("settings", [{}, EVERYTHING], ids=["vanilla", "everything"])
def test_generator_loss_leaves_the_discriminator_as_it_was(backbone: str, settings: dict[str, Any]) -> None:
    loss = adversarial(backbone=backbone, **settings)
    before, fake, real = weights(loss), images(2, 1).requires_grad_(), images(2, 2).requires_grad_()
    loss(fake, real).backward()
    assert loss.state_dict()["step"] == 0
    assert real.grad is None
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
@pytest.mark.parametrize("settings", [{}, EVERYTHING], ids=["vanilla", "everything"])
def test_resumed_training_goes_on_bit_by_bit(head: str, settings: dict[str, Any]) -> None:
    straight, resumed = adversarial(head, **settings), adversarial(head, **settings)
    batches = [(images(2, seed), images(2, 100 + seed)) for seed in range(6)]
    for batch in batches[:3]:
        straight.train_discriminator(*batch)
    resumed.load_state_dict(copy.deepcopy(straight.state_dict()))
    for batch in batches[3:]:
        assert torch.equal(straight(*batch), resumed(*batch))
        assert torch.equal(straight.train_discriminator(*batch), resumed.train_discriminator(*batch))
    ours, theirs = weights(straight), weights(resumed)
    assert all(torch.equal(ours[key], theirs[key]) for key in ours)


def test_a_state_of_another_architecture_is_refused() -> None:
    with pytest.raises(RuntimeError, match="Missing key"):
        adversarial().load_state_dict(adversarial(backbone="small/vit").state_dict())


@pytest.mark.parametrize("kind", ["hinge", "relativistic"])
@pytest.mark.parametrize("head", ["vanilla", "patch"])
def test_other_losses_are_those_of_their_logits_and_learn(kind: spec.GanLoss, head: str) -> None:
    loss, fake, real = adversarial(head, loss=kind), images(4, 1, high=0.4), images(4, 2, low=0.6)
    twin = copy.deepcopy(loss.discriminator).train()
    on_fake, on_real = twin(torch.cat((fake, real)))[0][0].chunk(2)
    first = loss.train_discriminator(fake, real)
    assert torch.equal(first, discriminator_loss(kind, on_fake, on_real).detach())
    twin = copy.deepcopy(loss.discriminator).eval()
    wanted = generator_loss(kind, twin(fake)[0][0], twin(real)[0][0])
    assert loss(fake, real).item() == pytest.approx(wanted.item(), rel=1e-6)
    for _ in range(15):
        last = loss.train_discriminator(fake, real)
    assert last < 0.5 * first


def test_only_a_relativistic_generator_loss_looks_at_the_real_images() -> None:
    fake = images(2, 1)
    for kind, differs in (("vanilla", False), ("hinge", False), ("relativistic", True)):
        loss = adversarial(loss=kind)
        assert (loss(fake, images(2, 2)).item() != loss(fake, images(2, 3)).item()) is differs


@pytest.mark.parametrize("factor", [1.0, 0.1])
def test_the_backbone_learns_at_its_own_rate(factor: float) -> None:
    loss = adversarial(backbone_factor=factor)
    before = weights(loss)
    loss.train_discriminator(images(2, 1), images(2, 2))
    moved = {key: (value - before[key]).abs().max().item() for key, value in weights(loss).items()}
    # Adam's first step moves each weight by its rate, where the gradient is not tiny.
    backbone = [size for key, size in moved.items() if key.startswith("backbone.")]
    assert max(backbone) == pytest.approx(1e-3 * factor, rel=0.01)
    assert max(size for key, size in moved.items() if key.endswith("original")) == pytest.approx(1e-3, rel=0.01)


@pytest.mark.parametrize("settings", [{}, EVERYTHING], ids=["vanilla", "everything"])
def test_a_frozen_backbone_stays_while_the_head_learns(settings: dict[str, Any]) -> None:
    loss = adversarial(**{**settings, "backbone_factor": 0.0})
    before, fake = weights(loss), images(2, 1).requires_grad_()
    for _ in range(2):
        loss.train_discriminator(fake, images(2, 2))
    for key, value in weights(loss).items():
        if key.startswith("backbone."):
            assert torch.equal(value, before[key])
        # A relativistic loss compares logits, so that the shift of all of them has no gradient but rounding.
        elif key.endswith(("original", "bias")) and not (
            key == "head.layers.3.bias" and settings.get("loss") == "relativistic"
        ):
            assert not torch.equal(value, before[key])
    loss(fake, images(2, 2)).backward()
    assert fake.grad is not None
    assert fake.grad.abs().sum() > 0


@pytest.mark.parametrize("backbone", BACKBONES)
def test_r1_adds_the_penalty_on_real_images_alone(backbone: str) -> None:
    fake, real = images(2, 1), images(2, 2)
    plain, penalized = adversarial(backbone=backbone), adversarial(backbone=backbone, r1=4.0)
    twin, source = copy.deepcopy(plain.discriminator).train(), real.clone().requires_grad_()
    with sdpa_kernel(SDPBackend.MATH):
        total = twin(torch.cat((fake, source)))[0][0][2:].sum()
    (gradient,) = torch.autograd.grad(total, source)
    wanted = plain.train_discriminator(fake, real) + 4 / 2 * gradient.square().sum((1, 2, 3)).mean()
    assert penalized.train_discriminator(fake, real).item() == pytest.approx(wanted.item(), rel=1e-4)
    assert all(
        parameter.grad is not None and parameter.grad.isfinite().all()
        for parameter in penalized.discriminator.parameters()
    )
    ours, theirs = weights(plain), weights(penalized)
    assert any(not torch.equal(ours[key], theirs[key]) for key in ours)


def test_r1_flattens_the_discriminator_around_real_images() -> None:
    fake, real = images(4, 1, high=0.4), images(4, 2, low=0.6)
    slopes = []
    for r1 in (0.0, 100.0):
        loss = adversarial(r1=r1)
        for _ in range(10):
            loss.train_discriminator(fake, real)
        source = real.clone().requires_grad_()
        (gradient,) = torch.autograd.grad(loss.discriminator.eval()(source)[0][0].sum(), source)
        slopes.append(gradient.norm().item())
    assert slopes[1] < 0.5 * slopes[0]


def test_augmentation_draws_by_seed_and_step_and_can_be_left_out() -> None:
    settings = {"augment": ("color", "translation", "cutout")}
    fake, real = images(2, 1), images(2, 2)
    one, same, other = (adversarial(seed=seed, **settings) for seed in (0, 0, 1))
    assert torch.equal(one(fake, real), same(fake, real))
    assert not torch.equal(one(fake, real), other(fake, real))
    assert torch.equal(one(fake, real, augmented=False), adversarial()(fake, real))
    before = one(fake, real)
    one.step += 1
    assert not torch.equal(one(fake, real), before)
    # Three draws: of the generator's image, and of both that the discriminator is trained with.
    seen = [one._augment(fake, whose) for whose in ("generator's fake", "fake", "real")]
    assert not any(torch.equal(a, b) for a, b in ((seen[0], seen[1]), (seen[1], seen[2]), (seen[0], seen[2])))


def test_the_global_generator_is_left_alone() -> None:
    loss = adversarial(**EVERYTHING)
    before = torch.random.get_rng_state()
    loss(images(2, 1), images(2, 2))
    loss.train_discriminator(images(2, 1), images(2, 2))
    assert torch.equal(torch.random.get_rng_state(), before)

"""Discriminators: shapes under both heads, calm first logits, frozen batch norm, a backbone that can be handed on."""

from typing import Any

import pytest
import torch
from torch import Tensor

from orchestrator import spec
from workers.losses.adversarial import AdversarialLoss
from workers.models.backbones import BACKBONES, Backbone, build
from workers.models.discriminators import HEADS, Discriminator
from workers.models.iqa import IqaModel

RELEASED = {
    "timm/vgg16.tv_in1k": (4, 2),
    "timm/resnet50.tv2_in1k": (3, 2),
    "timm/vit_small_patch14_dinov2.lvd142m": (11, 3),
}
"""The study's discriminators: the stage that a patch head reads, and the side of its logits on a crop of 32 pixels."""


def images(count: int, size: int = 64, seed: int = 0) -> Tensor:
    return torch.rand(count, 3, size, size, generator=torch.Generator().manual_seed(seed))


@pytest.mark.parametrize("name", BACKBONES)
@pytest.mark.parametrize("head", HEADS)
def test_logits_are_small_seeded_and_one_for_an_image_or_a_place(name: str, head: str) -> None:
    one, same = (Discriminator(build(name, seed=0), head, seed=1).eval() for _ in range(2))
    logits, maps = one(images(2))
    assert tuple(m.shape[1] for m in maps) == one.backbone.channels
    for level, again in zip(logits, same(images(2))[0], strict=True):
        assert level.shape[:2] == (2, 1)
        assert level.abs().max() < 3
        assert torch.equal(level, again)


@pytest.mark.parametrize("name", BACKBONES)
def test_shapes_of_logits(name: str) -> None:
    (logit,), _ = Discriminator(build(name, seed=0), "vanilla", seed=1)(images(2))
    assert logit.shape == (2, 1)
    patch = Discriminator(build(name, seed=0), "patch", seed=1)
    (logits,), maps = patch(images(2))
    assert logits.shape == (2, 1, *maps[patch.head.stage].shape[2:])


def test_patch_head_reads_the_deepest_map_that_is_fine_enough() -> None:
    assert Discriminator(build("small/vgg", seed=0), "patch", seed=0).head.stage == 4
    assert Discriminator(build("small/resnet", seed=0), "patch", seed=0).head.stage == 3


def test_batch_norm_statistics_stay_and_scores_do_not_depend_on_the_batch() -> None:
    discriminator = Discriminator(build("small/resnet", seed=0), "vanilla", seed=0).train()
    before = {k: v.clone() for k, v in discriminator.backbone.state_dict().items()}
    batch = images(4)
    together = discriminator(batch)[0][0]
    assert all(torch.equal(v, before[k]) for k, v in discriminator.backbone.state_dict().items())
    discriminator.eval()  # the power iteration rests
    torch.testing.assert_close(discriminator(batch[:1])[0][0], discriminator(batch)[0][0][:1])
    assert together.isfinite().all()


def test_head_is_spectrally_normalised_and_seeded() -> None:
    one, same, other = (Discriminator(build("small/vgg", seed=0), "vanilla", seed=seed).eval() for seed in (0, 0, 1))
    layers: Any = one.head.layers
    for layer in (layers[1], layers[3]):
        norm = torch.linalg.matrix_norm(layer.weight.flatten(1), 2)
        assert norm.item() == pytest.approx(1, abs=0.1)
    a, b, c = (d(images(1))[0][0] for d in (one, same, other))
    assert torch.equal(a, b)
    assert not torch.equal(a, c)


def test_backbone_starts_another_model_strictly() -> None:
    discriminator = Discriminator(build("small/vgg", seed=0), "patch", seed=0)
    fresh = build("small/vgg", seed=5)
    fresh.load_state_dict(discriminator.backbone.state_dict(), strict=True)
    assert torch.equal(fresh(images(1))[-1], discriminator.backbone(images(1))[-1])


def test_unknown_head_is_refused() -> None:
    with pytest.raises(ValueError, match=f"head: found 'pixel'; allowed: {', '.join(sorted(HEADS))}"):
        Discriminator(build("small/vgg", seed=0), "pixel", seed=0)


@pytest.fixture(scope="module", params=RELEASED)
def released(request: pytest.FixtureRequest) -> tuple[str, dict[str, Tensor]]:
    """A model of the study and random weights for it: drawing them takes longer than a step."""
    return request.param, build(request.param, seed=0).state_dict()


@pytest.mark.parametrize(("head", "factor", "r1"), [("vanilla", 1.0, 0.0), ("patch", 0.1, 1.0)])
def test_the_studys_discriminators_train_and_hand_their_backbone_on(
    released: tuple[str, dict[str, Tensor]], head: Any, factor: float, r1: float
) -> None:
    model, drawn = released
    backbone = build(model, seed=0)
    settings = spec.Discriminator(
        head=head,
        backbone=spec.Backbone(model=model),
        loss="vanilla",
        backbone_factor=factor,
        r1=r1,
        augment=(),
        weights=spec.RandomWeights(purpose="discriminator", seed=0),
    )
    loss = AdversarialLoss(Discriminator(backbone, head, seed=0), settings, 1e-4, seed=0)
    fake, real = images(1, 32, seed=1).requires_grad_(), images(1, 32, seed=2)
    stage, side = RELEASED[model]
    for _ in range(2):
        assert loss.train_discriminator(fake, real).isfinite()
    check_backbone_after_training(backbone, drawn, stage if head == "patch" else len(backbone.channels) - 1)
    loss(fake, real).backward()
    assert fake.grad is not None
    assert fake.grad.abs().sum() > 0
    (logits,), _ = loss.discriminator(images(2, 32))
    assert logits.shape == ((2, 1) if head == "vanilla" else (2, 1, side, side))
    if head == "patch":
        check_an_iqa_model_starts_from(backbone, model)


def check_backbone_after_training(backbone: Backbone, drawn: dict[str, Tensor], stage: int) -> None:
    """Every parameter before the stage that the head reads has learnt; statistics of batch norm are as they were."""
    learns = {name for name, parameter in backbone.named_parameters() if parameter.grad is not None}
    assert len(learns) > 20
    assert (stage + 1 < len(backbone.channels)) == (learns < {name for name, _ in backbone.named_parameters()})
    for name, value in backbone.state_dict().items():
        changed = not torch.equal(value, drawn[name])
        assert changed == (name in learns), name
        if "running" in name or "num_batches" in name:
            assert not changed, name


def check_an_iqa_model_starts_from(backbone: Backbone, model: str) -> None:
    fresh = build(model, seed=1)
    fresh.load_state_dict(backbone.state_dict(), strict=True)
    iqa = IqaModel(fresh, "fr", initial_score=0.4, seed=0)
    scores = iqa(images(2, 32), images(2, 32, seed=1))
    assert torch.equal(scores, torch.full((2,), 0.4))


def test_crops_below_a_backbones_least_size_are_refused() -> None:
    for name in ("small/vgg", "timm/vgg16.tv_in1k"):
        discriminator = Discriminator(build(name, seed=0), "patch", seed=0)
        with pytest.raises(ValueError, match="image: found 8 x 12 pixels; each side needs at least 16"):
            discriminator(torch.rand(1, 3, 8, 12))


def test_a_patch_head_without_a_fine_map_is_refused() -> None:
    backbone = build("small/vgg", seed=0)
    backbone.reductions = (32, 64, 64, 64, 64)
    with pytest.raises(ValueError, match=r"head: patch needs a map with cells of at most 16 pixels; found \(32, 64"):
        Discriminator(backbone, "patch", seed=0)

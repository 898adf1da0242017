"""Discriminators: shapes under both heads, calm first logits, frozen batch norm, a backbone that can be handed on."""

import pytest
import torch
from torch import Tensor

from workers.models.backbones import BACKBONES, build
from workers.models.discriminators import Discriminator


def images(count: int, size: int = 64, seed: int = 0) -> Tensor:
    return torch.rand(count, 3, size, size, generator=torch.Generator().manual_seed(seed))


@pytest.mark.parametrize("name", BACKBONES)
@pytest.mark.parametrize("head", ["vanilla", "patch"])
def test_logits_are_small_and_shaped_by_the_head(name: str, head: str) -> None:
    discriminator = Discriminator(build(name, seed=0), head, seed=1)  # type: ignore[arg-type]
    (logits,), maps = discriminator(images(2))
    assert logits.shape == ((2, 1) if head == "vanilla" else (2, 1, *maps[discriminator.stage].shape[2:]))
    assert logits.abs().max() < 3
    assert tuple(m.shape[1] for m in maps) == discriminator.backbone.channels


def test_patch_head_reads_the_deepest_map_that_is_fine_enough() -> None:
    assert Discriminator(build("small/vgg", seed=0), "patch", seed=0).stage == 4
    assert Discriminator(build("small/resnet", seed=0), "patch", seed=0).stage == 3


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
    for layer in (one.head[1], one.head[3]):
        norm = torch.linalg.matrix_norm(layer.weight.flatten(1), 2)  # type: ignore[operator]
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
    with pytest.raises(ValueError, match="head: found 'pixel'; allowed: vanilla, patch"):
        Discriminator(build("small/vgg", seed=0), "pixel", seed=0)  # type: ignore[arg-type]

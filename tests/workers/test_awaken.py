"""Random backbones that stay frozen: no residual branch is switched off by its initialization."""

import pytest
import torch

from workers.models import backbones

# A ResNet whose last batch norms start at 0, and layer scales of 1e-6 and 1e-5, with a part of each residual branch.
ASLEEP = {
    "timm/resnet18.tv_in1k": ".conv2.",
    "timm/convnext_tiny.fb_in1k": ".mlp.fc2.",
    "timm/vit_small_patch14_dinov2.lvd142m": ".mlp.fc2.",
}


def change_by_the_branches(backbone: backbones.Backbone, part: str) -> float:
    """How far the deepest map moves, relative to itself, when the residual branches change sign."""
    image = torch.rand(1, 3, 70, 70, generator=torch.Generator().manual_seed(0))
    branches = [parameter for name, parameter in backbone.named_parameters() if part in name]
    assert branches
    with torch.no_grad():
        before = backbone(image)[-1]
        for parameter in branches:
            parameter.neg_()
        after = backbone(image)[-1]
    return float((after - before).norm() / before.norm())


@pytest.mark.parametrize("model", ASLEEP)
def test_branches_take_part_in_the_maps(model: str) -> None:
    asleep = change_by_the_branches(backbones.build(model, seed=0).eval(), ASLEEP[model])
    awake = change_by_the_branches(backbones.awaken(backbones.build(model, seed=0)).eval(), ASLEEP[model])
    assert asleep < 1e-2
    assert awake > 0.1


@pytest.mark.parametrize("model", ["timm/vgg16.tv_in1k", "small/vgg", "small/convnext"])
def test_networks_without_such_scales_stay_as_drawn(model: str) -> None:
    drawn = backbones.build(model, seed=0).state_dict()
    for name, tensor in backbones.awaken(backbones.build(model, seed=0)).state_dict().items():
        assert torch.equal(tensor, drawn[name]), name


def test_shifts_stay_at_zero() -> None:
    awake = backbones.awaken(backbones.build("timm/resnet18.tv_in1k", seed=0))
    shifts = [value for name, value in awake.named_parameters() if name.endswith("bias")]
    assert shifts
    assert all(not value.any() for value in shifts)

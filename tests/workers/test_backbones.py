"""Every backbone keeps the one interface that losses, discriminators and IQA models rely on."""

import pytest
import torch
from torch import Tensor

from workers.models.backbones import BACKBONES, build
from workers.models.feature_maps import fit_sizes

NAMES = tuple(BACKBONES)


def images(count: int, height: int, width: int, seed: int = 0) -> Tensor:
    return torch.rand(count, 3, height, width, generator=torch.Generator().manual_seed(seed))


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize(("height", "width"), [(64, 64), (96, 96), (128, 128), (65, 77)])
def test_maps_have_the_announced_shapes(name: str, height: int, width: int) -> None:
    backbone = build(name, seed=0).eval()
    maps = backbone(images(1, height, width))
    assert tuple(m.shape[1] for m in maps) == backbone.channels
    for m, reduction in zip(maps, backbone.reductions, strict=True):
        padded = 31 + reduction  # at most one padding to a multiple of 32, then one cell of rounding
        assert height - reduction < m.shape[2] * reduction <= height + padded
        assert width - reduction < m.shape[3] * reduction <= width + padded
        assert m.isfinite().all()


@pytest.mark.parametrize("name", NAMES)
def test_weights_are_a_function_of_the_seed_alone(name: str) -> None:
    before = torch.random.get_rng_state()
    one, same, other = (build(name, seed).state_dict() for seed in (3, 3, 4))
    assert torch.equal(torch.random.get_rng_state(), before)
    assert all(torch.equal(one[key], same[key]) for key in one)
    assert any(not torch.equal(one[key], other[key]) for key in one)


@pytest.mark.parametrize("name", NAMES)
def test_every_parameter_learns_and_the_model_is_small(name: str) -> None:
    backbone = build(name, seed=0)
    image = images(2, 64, 64).requires_grad_()
    torch.stack([m.square().mean() for m in backbone(image)]).sum().backward()
    assert image.grad is not None
    assert image.grad.abs().sum() > 0
    assert all(p.grad is not None and p.grad.isfinite().all() for p in backbone.parameters())
    assert 5e4 <= sum(p.numel() for p in backbone.parameters()) <= 4e5


@pytest.mark.parametrize("name", NAMES)
def test_state_dict_holds_the_network_only_and_loads_strictly(name: str) -> None:
    one, other = build(name, seed=0).eval(), build(name, seed=1).eval()
    assert all(key.startswith("network.") for key in one.state_dict())
    other.load_state_dict(one.state_dict(), strict=True)
    image = images(1, 64, 64)
    assert all(torch.equal(a, b) for a, b in zip(one(image), other(image), strict=True))


@pytest.mark.parametrize("name", NAMES)
def test_normalises_the_image_itself(name: str) -> None:
    backbone = build(name, seed=0).eval()
    image = images(1, 64, 64)
    expected = backbone.network.forward_intermediates(  # type: ignore[operator]
        (image - torch.tensor([0.485, 0.456, 0.406]).view(1, 3, 1, 1))
        / torch.tensor([0.229, 0.224, 0.225]).view(1, 3, 1, 1),
        intermediates_only=True,
    )
    assert all(torch.equal(a, b) for a, b in zip(backbone(image), expected, strict=True))


def test_padding_replicates_the_edge() -> None:
    backbone = build("small/vit", seed=0).eval()
    image = images(1, 60, 64)
    by_hand = torch.cat((image, image[:, :, -1:].expand(-1, -1, 4, -1)), 2)
    assert all(torch.equal(a, b) for a, b in zip(backbone(image), backbone(by_hand), strict=True))


def test_vgg_maps_are_rectified_and_taken_before_each_pool() -> None:
    maps = build("small/vgg", seed=0)(images(1, 64, 64))
    assert [m.shape[2] for m in maps] == [64, 32, 16, 8, 4]
    assert all((m >= 0).all() and (m == 0).any() for m in maps)


def test_unknown_name_says_what_is_allowed_and_what_is_near() -> None:
    with pytest.raises(
        ValueError,
        match=r"model: found 'small/vg'; allowed: open_clip/<model>, small/convnext, .*, timm/<model>.<tag>; did you "
        r"mean 'small/vgg'\?",
    ):
        build("small/vg", seed=0)


@pytest.mark.parametrize(
    ("name", "allowed"),
    [
        ("timm/vgg16", "timm/vgg16.tv_in1k; did you mean 'timm/vgg16.tv_in1k'"),
        ("timm/vgg16.tv_in2k", "timm/vgg16.tv_in1k; did you mean 'timm/vgg16.tv_in1k'"),
        ("timm/vg16.tv_in1k", "timm/.* in all\\); did you mean 'timm/vgg16.tv_in1k'"),
        ("open_clip/ViT-B16", "open_clip/.* in all\\); did you mean 'open_clip/ViT-B-16'"),
    ],
)
def test_unpinned_and_mistyped_names_are_refused(name: str, allowed: str) -> None:
    with pytest.raises(ValueError, match=rf"model: found '{name}'; allowed: {allowed}\?"):
        build(name, seed=0)


def test_a_network_without_feature_maps_is_refused() -> None:
    with pytest.raises(ValueError, match=r"model: timm/x yields no feature maps"):
        fit_sizes("timm/x", torch.nn.Linear(3, 3), 224, (0.5,) * 3, (0.5,) * 3)


def test_a_network_of_one_image_size_is_refused() -> None:
    name = "timm/coatnet_nano_rw_224.sw_in1k"
    with pytest.raises(ValueError, match=rf"model: {name} does not take images of any size \(.*\); take one that does"):
        build(name, seed=0)


def test_released_models_are_drawn_from_the_seed_alone() -> None:
    for name in ("timm/test_vit.r160_in1k", "timm/test_resnet.r160_in1k"):
        before = torch.random.get_rng_state()
        one, same, other = (build(name, seed).state_dict() for seed in (3, 3, 4))
        assert torch.equal(torch.random.get_rng_state(), before)
        assert all(torch.equal(one[key], same[key]) for key in one)
        assert any(not torch.equal(one[key], other[key]) for key in one)
        assert build(name, 0).training


def test_unfit_images_are_refused() -> None:
    backbone = build("small/vgg", seed=0)
    with pytest.raises(ValueError, match="found 12 x 64 pixels; each side needs at least 16"):
        backbone(images(1, 12, 64))
    with pytest.raises(ValueError, match=r"expected N x 3 x H x W"):
        backbone(torch.zeros(1, 1, 64, 64))

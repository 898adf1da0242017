"""The contract of every loss backbone of grids/wide.yaml, with random weights: maps, gradients, and DISTS on top."""

from dataclasses import dataclass

import pytest
import torch
from torch import Tensor

from workers.losses.dists import Dists, uniform_weights, with_l2_pooling
from workers.models.backbones import Backbone, build

WIDE = (
    "timm/vgg16.tv_in1k",
    "timm/vgg19.tv_in1k",
    "timm/resnet18.tv_in1k",
    "timm/resnet50.tv2_in1k",
    "timm/resnext50_32x4d.tv2_in1k",
    "timm/regnety_008.pycls_in1k",
    "timm/densenet121.tv_in1k",
    "timm/inception_v3.tv_in1k",
    "timm/efficientnet_b0.ra_in1k",
    "timm/tf_efficientnetv2_b0.in1k",
    "timm/mobilenetv3_large_100.ra_in1k",
    "timm/mobilevit_s.cvnets_in1k",
    "timm/hrnet_w18_small.ms_in1k",
    "timm/convnext_tiny.fb_in1k",
    "timm/convnextv2_nano.fcmae_ft_in1k",
    "timm/poolformer_s12.sail_in1k",
    "timm/pvt_v2_b1.in1k",
    "timm/swin_tiny_patch4_window7_224.ms_in1k",
    "timm/maxvit_rmlp_pico_rw_256.sw_in1k",
    "timm/vit_small_patch16_224.augreg_in21k_ft_in1k",
    "timm/deit3_small_patch16_224.fb_in1k",
    "timm/vit_small_patch14_dinov2.lvd142m",
    "open_clip/ViT-B-16-quickgelu",
    "open_clip/RN50-quickgelu",
)
# The rest of them was trained with ImageNet's mean.
OWN_MEAN = {
    "timm/inception_v3.tv_in1k": (0.5, 0.5, 0.5),
    "timm/mobilevit_s.cvnets_in1k": (0.0, 0.0, 0.0),
    "timm/maxvit_rmlp_pico_rw_256.sw_in1k": (0.5, 0.5, 0.5),
    "timm/vit_small_patch16_224.augreg_in21k_ft_in1k": (0.5, 0.5, 0.5),
    "open_clip/ViT-B-16-quickgelu": (0.48145466, 0.4578275, 0.40821073),
    "open_clip/RN50-quickgelu": (0.48145466, 0.4578275, 0.40821073),
}
# The rest of them takes a single pixel, padded to one cell of the last map.
MINIMUM_SIZE = {"timm/vgg16.tv_in1k": 16, "timm/vgg19.tv_in1k": 16, "timm/inception_v3.tv_in1k": 65}


@dataclass(frozen=True)
class Case:
    """One model, and what it makes of two images of an odd size, the first with gradient."""

    name: str
    backbone: Backbone
    metric: Dists
    x: Tensor
    y: Tensor
    maps: list[Tensor]
    distance: Tensor


@pytest.fixture(scope="module", params=WIDE)
def case(request: pytest.FixtureRequest) -> Case:
    backbone = with_l2_pooling(build(request.param, seed=0))
    metric = Dists(backbone, *uniform_weights(3 + sum(backbone.channels)))
    generator = torch.Generator().manual_seed(0)
    x, y = (torch.rand(1, 3, 75, 83, generator=generator) for _ in range(2))
    x.requires_grad_()
    distance = metric(x, y)
    distance.sum().backward()
    with torch.no_grad():
        maps = backbone(y)
    return Case(request.param, backbone, metric, x, y, maps, distance.detach())


def test_maps_have_the_announced_channels_and_reductions(case: Case) -> None:
    assert len(case.backbone.channels) == len(case.backbone.reductions) == len(case.maps) >= 4
    assert list(case.backbone.reductions) == sorted(case.backbone.reductions)
    for features, channels, reduction in zip(case.maps, case.backbone.channels, case.backbone.reductions, strict=True):
        assert features.shape[:2] == (1, channels)
        for cells, pixels in zip(features.shape[2:], (75, 83), strict=True):
            padded = pixels + -pixels % case.backbone.multiple
            # An L2 pool rounds up; Inception's convolutions without padding lose four cells.
            assert padded / reduction - 5 < cells < padded / reduction + 1
        assert features.isfinite().all()


def test_the_model_brings_its_own_mean(case: Case) -> None:
    expected = OWN_MEAN.get(case.name, (0.485, 0.456, 0.406))
    assert case.backbone.mean.flatten().tolist() == pytest.approx(expected)


def test_every_pixel_has_a_finite_gradient(case: Case) -> None:
    gradient = case.x.grad
    assert gradient is not None
    assert gradient.isfinite().all()
    assert (gradient != 0).float().mean() > 0.999
    assert gradient[..., -1, :].abs().max() > 0
    assert gradient[..., -1].abs().max() > 0


def test_distance_is_positive_bounded_and_symmetric(case: Case) -> None:
    assert case.distance.shape == (1,)
    assert 0 < case.distance.item() <= 2
    with torch.no_grad():
        torch.testing.assert_close(case.metric(case.y, case.x), case.distance)


def test_distance_to_itself_is_exactly_zero(case: Case) -> None:
    # With and without a gradient: the reference never has one, and both must be computed alike.
    assert case.metric(case.x, case.x).item() == 0
    assert case.metric(case.y, case.y).item() == 0


def test_the_smallest_image_is_taken_and_a_smaller_one_refused(case: Case) -> None:
    side = case.backbone.minimum_size
    with torch.no_grad():
        maps = case.backbone(case.y[..., :side, :side])
    assert all(m.numel() and m.isfinite().all() for m in maps)
    assert side == MINIMUM_SIZE.get(case.name, 1)
    if side > 1:
        with pytest.raises(ValueError, match=rf"each side needs at least {side}"):
            case.backbone(case.y[..., : side - 1, :side])


def test_the_grid_spans_many_families() -> None:
    assert len(WIDE) == len(set(WIDE)) >= 24
    families = {name.split("/")[1].split("_")[0].split("-")[0].rstrip("0123456789") for name in WIDE}
    assert len(families) >= 15

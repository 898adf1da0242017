"""The circularity table: the study's judges against the study's losses."""

import pytest

from orchestrator import circularity, known

STUDY = ("musiq", "maniqa", "topiq_nr", "clipiqa+", "liqe", "afine_all", "psnr", "ssim", "lpips", "dists", "artifacts")
DEMO = ("piqe", "vsi", "gmsd")
WITHOUT_NETWORK = ("psnr", "ssim", "artifacts", *DEMO)
LOSSES = {
    "vgg16-r": ("timm/vgg16.tv_in1k", "random"),
    "vgg16": ("timm/vgg16.tv_in1k", "released"),
    "resnet50": ("timm/resnet50.tv2_in1k", "released"),
    "convnext": ("timm/convnext_tiny.fb_in1k", "released"),
    "clip-vit": ("open_clip/ViT-B-16-quickgelu", "openai"),
    "swin-t": ("timm/swin_tiny_patch4_window7_224.ms_in1k", "released"),
    "dinov2": ("timm/vit_small_patch14_dinov2.lvd142m", "released"),
}
CIRCULAR = {
    ("dists", "vgg16"): "weights",
    ("dists", "vgg16-r"): "architecture only",
    ("topiq_nr", "resnet50"): "architecture",
    ("clipiqa+", "clip-vit"): "pretraining",
    ("liqe", "clip-vit"): "pretraining",
    ("afine_all", "clip-vit"): "pretraining",
    ("maniqa", "clip-vit"): "architecture",
}


@pytest.mark.parametrize("judge", STUDY + DEMO)
@pytest.mark.parametrize("loss", LOSSES)
def test_the_study(judge: str, loss: str) -> None:
    why = circularity.shared(judge, *LOSSES[loss])
    assert (why and why.partition(":")[0]) == CIRCULAR.get((judge, loss))


@pytest.mark.parametrize(
    ("judge", "model", "weights", "degree"),
    [
        ("lpips-vgg", "timm/vgg16.tv_in1k", "released", "weights"),
        ("lpips-vgg", "timm/vgg16_bn.tv_in1k", "released", "architecture"),
        ("dists", "timm/vgg19.tv_in1k", "released", None),
        ("dists", "small/vgg", "random", None),
        ("topiq_nr", "timm/resnet50.a1_in1k", "released", "pretraining"),
        ("topiq_nr", "timm/resnet50.a1_in1k", "random", "architecture only"),
        ("topiq_nr", "timm/resnet50_clip.openai", "released", None),
        ("topiq_nr", "timm/resnet101.a1_in1k", "released", None),
        ("clipiqa+", "open_clip/RN50", "openai", "weights"),
        ("clipiqa+", "open_clip/RN50", "yfcc15m", "architecture"),
        ("clipiqa+", "open_clip/RN50", "pretext", "architecture only"),
        ("clipiqa+", "timm/resnet50_clip.openai", "released", "weights"),
        ("clipiqa+", "timm/resnet50.tv2_in1k", "released", None),
        ("liqe", "timm/vit_base_patch32_clip_224.openai", "released", "pretraining"),
        ("liqe", "timm/vit_base_patch32_clip_224.laion2b", "released", "architecture"),
        ("liqe", "open_clip/ViT-L-14", "openai", "pretraining"),
        ("liqe", "open_clip/ViT-L-14", "laion2b_s32b_b82k", None),
        ("afine_nr", "open_clip/ViT-B-32", "laion2b_s34b_b79k", "architecture"),
        ("maniqa", "timm/vit_base_patch8_224.augreg2_in21k_ft_in1k", "released", "pretraining"),
        ("maniqa", "timm/vit_base_patch14_dinov2.lvd142m", "released", "architecture"),
    ],
)
def test_names_by_pattern(judge: str, model: str, weights: str, degree: str | None) -> None:
    why = circularity.shared(judge, model, weights)
    assert (why and why.partition(":")[0]) == degree


def test_a_reason_in_words() -> None:
    assert circularity.shared("dists", "timm/vgg16.tv_in1k", "random") == (
        "architecture only: dists is VGG-16, ImageNet, frozen; the loss has its trunk with random weights"
    )


def test_judges_without_a_network_are_circular_with_nothing_and_say_what_they_are() -> None:
    for judge in WITHOUT_NETWORK:
        kin = circularity.KINSHIP[judge]
        assert (kin.network, kin.architecture, kin.pretraining, kin.weights) == ("",) * 4


def test_every_entry_says_where_it_was_read() -> None:
    for judge, kin in circularity.KINSHIP.items():
        assert ("_arch.py: " in kin.source) != (judge in known.own_judges()), judge
        assert kin.network or not (kin.architecture or kin.pretraining or kin.weights), judge


def test_every_own_judge_is_declared() -> None:
    assert {*known.own_judges()} <= {*circularity.KINSHIP}


def test_a_judge_that_nobody_declared() -> None:
    with pytest.raises(ValueError, match=r"judge of the circularity table: found 'topiq_n'.*did you mean 'topiq_nr'"):
        circularity.shared("topiq_n", "small/vgg", "random")

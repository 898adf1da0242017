"""The `small/` family, built from timm's own classes at 0.08 to 0.3 M parameters: cheap on one CPU thread, without
released weights."""

from collections.abc import Callable

from timm.models.convnext import ConvNeXt
from timm.models.resnet import BasicBlock, ResNet
from timm.models.swin_transformer import SwinTransformer
from timm.models.vgg import VGG
from timm.models.vision_transformer import VisionTransformer

from workers.models.feature_maps import Backbone


def _vgg() -> Backbone:
    # Five maps, each a ReLU before a pool or the last one. `mlp_ratio` keeps the classifier, removed at once, tiny.
    cfg = [8, "M", 16, "M", 32, "M", 64, "M", 96]
    return Backbone(VGG(cfg, num_classes=0, mlp_ratio=1 / 4096), minimum_size=16)


def _resnet() -> Backbone:
    # The deep stem (ResNet-C) is the one whose width timm lets choose: 2 x stem_width channels.
    network = ResNet(BasicBlock, (1, 1, 1, 1), num_classes=0, stem_type="deep", stem_width=8, channels=(16, 32, 64, 96))
    return Backbone(network)


def _convnext() -> Backbone:
    # No layer scale: at the usual 1e-6 the blocks would stay out of the network for the whole of a short training.
    network = ConvNeXt(num_classes=0, depths=(1, 1, 2, 1), dims=(24, 48, 72, 96), ls_init_value=None)
    return Backbone(network, multiple=32)


def _vit() -> Backbone:
    network = VisionTransformer(
        img_size=64,
        patch_size=8,
        num_classes=0,
        global_pool="avg",
        class_token=False,
        embed_dim=80,
        depth=4,
        num_heads=4,
        mlp_ratio=2.0,
        dynamic_img_size=True,
    )
    return Backbone(network, multiple=8)


def _swin() -> Backbone:
    network = SwinTransformer(
        img_size=64,
        patch_size=4,
        num_classes=0,
        embed_dim=32,
        depths=(2, 2, 1),
        num_heads=(2, 4, 8),
        window_size=4,
        mlp_ratio=2.0,
        drop_path_rate=0.0,
        strict_img_size=False,
    )
    return Backbone(network, multiple=4)


SMALL: dict[str, Callable[[], Backbone]] = {
    "small/vgg": _vgg,
    "small/resnet": _resnet,
    "small/convnext": _convnext,
    "small/vit": _vit,
    "small/swin": _swin,
}

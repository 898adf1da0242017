"""Feature backbones behind one interface, so that losses, discriminators and IQA models need not know which they hold.

A `Backbone` takes an image in [0, 1], normalises and pads it itself, and returns a list of NCHW maps (tokens of
Transformers folded back), from shallow to deep. The `small/` family is built from timm's own classes at 0.08 to 0.3 M
parameters: cheap on one CPU thread, without released weights. A model with released weights is one more line of
`BACKBONES`, e.g. `timm/vgg16.tv_in1k`, whose constructor returns a `Backbone` with that model's own mean and std.
"""

from collections.abc import Callable, Sequence
from typing import Any

import torch
import torch.nn.functional as F
from timm.models.convnext import ConvNeXt
from timm.models.resnet import BasicBlock, ResNet
from timm.models.swin_transformer import SwinTransformer
from timm.models.vgg import VGG
from timm.models.vision_transformer import VisionTransformer
from torch import Tensor, nn

from orchestrator import spec

IMAGENET_MEAN = (0.485, 0.456, 0.406)
IMAGENET_STD = (0.229, 0.224, 0.225)


class Backbone(nn.Module):
    """A network's feature maps at every stage.

    Args:
        network: a timm model: has `forward_intermediates`, `prune_intermediate_layers` and `feature_info`. Its
            classifier and its final norm, which no map passes through, are removed.
        multiple: height and width are padded (bottom and right edge replicated) to multiples of this, pixels.
        minimum_size: smallest height or width it takes, pixels.
        mean, std: of the RGB values in [0, 1] that the network was, or is to be, trained with.

    Attributes:
        channels: channels of each map.
        reductions: image pixels along one side of a map's cell.
    """

    mean: Tensor
    std: Tensor

    def __init__(
        self,
        network: nn.Module,
        *,
        multiple: int = 1,
        minimum_size: int = 1,
        mean: Sequence[float] = IMAGENET_MEAN,
        std: Sequence[float] = IMAGENET_STD,
    ) -> None:
        super().__init__()
        stages: Any = network.feature_info
        model: Any = network
        model.prune_intermediate_layers(list(range(len(stages))), prune_norm=True, prune_head=True)
        self.network = network
        self.channels: tuple[int, ...] = tuple(stage["num_chs"] for stage in stages)
        self.reductions: tuple[int, ...] = tuple(stage["reduction"] for stage in stages)
        self.multiple = multiple
        self.minimum_size = minimum_size
        # Not persistent: a weights file holds the network and nothing else.
        self.register_buffer("mean", torch.tensor(mean).view(1, 3, 1, 1), persistent=False)
        self.register_buffer("std", torch.tensor(std).view(1, 3, 1, 1), persistent=False)

    def forward(self, image: Tensor) -> list[Tensor]:
        """Feature maps of `image` (N3HW, RGB in [0, 1]), each N x channels[i] x ~H/reductions[i] x ~W/reductions[i].

        Raises ValueError for an image that is not N3HW or is smaller than `minimum_size`.
        """
        if image.ndim != 4 or image.shape[1] != 3:
            raise ValueError(f"image: found shape {tuple(image.shape)}; expected N x 3 x H x W")
        if min(image.shape[2:]) < self.minimum_size:
            height, width = image.shape[2:]
            raise ValueError(f"image: found {height} x {width} pixels; each side needs at least {self.minimum_size}")
        network: Any = self.network
        features: list[Tensor] = network.forward_intermediates(self._prepare(image), intermediates_only=True)
        return features

    def _prepare(self, image: Tensor) -> Tensor:
        bottom, right = (-image.shape[2] % self.multiple, -image.shape[3] % self.multiple)
        if bottom or right:
            image = F.pad(image, (0, right, 0, bottom), mode="replicate")
        return (image - self.mean) / self.std


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


BACKBONES: dict[str, Callable[[], Backbone]] = {
    "small/vgg": _vgg,
    "small/resnet": _resnet,
    "small/convnext": _convnext,
    "small/vit": _vit,
    "small/swin": _swin,
}


def build(model: str, seed: int) -> Backbone:
    """The backbone `model` with weights drawn from `seed`; the global generator is left as it was.

    Raises ValueError for a name that is not in `BACKBONES`, naming the allowed ones and the nearest.
    """
    if model not in BACKBONES:
        raise spec.unknown("model", model, BACKBONES)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return BACKBONES[model]()

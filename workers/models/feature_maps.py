"""The one interface of all backbones, and the image sizes that a network of others really takes."""

from collections.abc import Sequence
from itertools import chain
from typing import Any

import torch
from torch import Tensor, nn
from torch.func import functional_call

IMAGENET_MEAN = (0.485, 0.456, 0.406)
IMAGENET_STD = (0.229, 0.224, 0.225)


class Backbone(nn.Module):
    """A network's feature maps at every stage.

    Args:
        network: a timm model, or one with the same `forward_intermediates`, `prune_intermediate_layers` and
            `feature_info`. Its classifier and its final norm, which no map passes through, are removed.
        maps: how many maps are used, from the first on; None: all. Layers behind the last one are removed.
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
        maps: int | None = None,
        multiple: int = 1,
        minimum_size: int = 1,
        mean: Sequence[float] = IMAGENET_MEAN,
        std: Sequence[float] = IMAGENET_STD,
    ) -> None:
        super().__init__()
        model: Any = network
        stages = model.feature_info[:maps]
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
        # Not F.pad, whose gradient has no deterministic form on a GPU.
        if bottom:
            image = torch.cat((image, image[:, :, -1:].expand(-1, -1, bottom, -1)), 2)
        if right:
            image = torch.cat((image, image[..., -1:].expand(-1, -1, -1, right)), 3)
        return (image - self.mean) / self.std


def fit_sizes(name: str, network: nn.Module, native: int, mean: Sequence[float], std: Sequence[float]) -> Backbone:
    """A backbone of `network` with the least padding under which it takes images of every size.

    Padding is to multiples of the last map's reduction, for many networks ignore the rest of a cell or refuse it;
    where windows divide the image (MaxViT) it is to multiples of `native`, the side of the images that the network was
    trained with, pixels. Sizes are tried on shapes alone, without computing. `name` is for the error.
    Raises ValueError for a network without feature maps, or whose maps exist at fixed sizes only.
    """
    stages: Any = getattr(network, "feature_info", None)
    if not stages or not hasattr(network, "forward_intermediates"):
        raise ValueError(f"model: {name} yields no feature maps; take a model that has `forward_intermediates`")
    backbone = Backbone(network, mean=mean, std=std).eval()
    problem = ""
    for multiple in (max(backbone.reductions), native):
        for side in range(multiple, max(native, multiple) + 1, multiple):
            problem = _problem(backbone, side, side) or _problem(backbone, side + multiple, side + 2 * multiple)
            if not problem:
                backbone.multiple, backbone.minimum_size = multiple, side - multiple + 1
                return backbone.train()
    raise ValueError(f"model: {name} does not take images of any size ({problem}); take one that does")


def _problem(backbone: Backbone, height: int, width: int) -> str:
    """Why `backbone` does not take an image of that size as it is; empty where it does."""
    tensors = chain(backbone.named_parameters(), backbone.named_buffers())
    image = torch.zeros(1, 3, height, width, device="meta")
    try:
        maps = functional_call(backbone, {name: tensor.to("meta") for name, tensor in tensors}, (image,))
    except Exception as error:  # networks of others refuse a size in their own ways
        return " ".join(str(error).split())[:200] or type(error).__name__
    if any(m.ndim != 4 for m in maps) or tuple(m.shape[1] for m in maps) != backbone.channels:
        return f"its maps have the shapes {[tuple(m.shape) for m in maps]}, channels should be {backbone.channels}"
    return "" if all(m.numel() for m in maps) else f"its maps are empty at {height} x {width} pixels"

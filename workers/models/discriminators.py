"""Discriminators: a backbone that learns to tell real images from restored ones, under one of the `HEADS`.

Heads are spectrally normalised (arXiv 1802.05957), and the batch-norm statistics of the backbone stay frozen: the two
usual stabilisers of a discriminator that starts from pretrained weights.
"""

from collections.abc import Callable
from typing import Self

import torch
from torch import Tensor, nn
from torch.nn.utils.parametrizations import spectral_norm

from orchestrator import spec
from workers.models.backbones import Backbone

# A patch head reads the deepest map whose cells are at most this wide, image pixels: 4 x 4 logits on a crop of 64.
PATCH_REDUCTION = 16


class Discriminator(nn.Module):
    """Logits of an image being real, from `backbone` and a head of `HEADS` whose weights are drawn from `seed`.

    `backbone` is trained with the head, and its state dict starts an IQA model of the same backbone with strict=True.
    """

    def __init__(self, backbone: Backbone, head: str, seed: int) -> None:
        """Raises ValueError for an unknown head, or a patch head on a backbone without a fine enough map."""
        super().__init__()
        if head not in HEADS:
            raise spec.unknown("head", head, HEADS)
        self.backbone = backbone
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            self.head = HEADS[head](backbone.channels, backbone.reductions)
        self.train()

    def forward(self, image: Tensor) -> tuple[list[Tensor], list[Tensor]]:
        """Logits and feature maps of `image` (N3HW in [0, 1]): the head's list of logits, and the maps of the backbone,
        from shallow to deep."""
        maps = self.backbone(image)
        return self.head(maps), maps

    def train(self, mode: bool = True) -> Self:
        """As usual, but batch norm stays in evaluation: its statistics would otherwise mix real and restored images."""
        super().train(mode)
        for module in self.modules():
            if isinstance(module, nn.modules.batchnorm._BatchNorm):
                module.eval()
        return self


class Vanilla(nn.Module):
    """One logit an image, (N, 1), from the pooled last map."""

    def __init__(self, channels: tuple[int, ...], reductions: tuple[int, ...]) -> None:
        super().__init__()
        self.stage = len(channels) - 1
        self.layers = logit_layers(channels[self.stage], kernel=1)

    def forward(self, maps: list[Tensor]) -> list[Tensor]:
        """Logits of a backbone's maps, in a list of one."""
        return [self.layers(maps[self.stage].mean((2, 3), keepdim=True)).flatten(1)]


class Patch(nn.Module):
    """One logit a location, (N, 1, h, w), of the deepest map that is fine enough (after PatchGAN, arXiv 1611.07004)."""

    def __init__(self, channels: tuple[int, ...], reductions: tuple[int, ...]) -> None:
        """Raises ValueError where no map is."""
        super().__init__()
        self.stage = _patch_stage(reductions)
        self.layers = logit_layers(channels[self.stage], kernel=3)

    def forward(self, maps: list[Tensor]) -> list[Tensor]:
        """Logits of a backbone's maps, in a list of one."""
        return [self.layers(maps[self.stage])]


HEADS: dict[str, Callable[..., nn.Module]] = {"vanilla": Vanilla, "patch": Patch}
"""Name in a grid -> class: made from the channels and the reductions of a backbone's maps, it turns the maps into a
list of logits, each (N, 1, ...). A grid is checked by the names that stand here, without loading torch."""


class UnitScale(nn.Module):
    """Divides each position's features by their root mean square (pixel norm, arXiv 1710.10196, section 4.2), so that
    the first logits are of order one whatever the scale of a backbone's features."""

    def forward(self, features: Tensor) -> Tensor:
        """Same shape out, NCHW."""
        return features * (features.square().mean(1, keepdim=True) + 1e-8).rsqrt()


def logit_layers(channels: int, kernel: int) -> nn.Sequential:
    """Layers that make a logit for each location of a map, (N, channels, h, w) -> (N, 1, h, w)."""
    hidden = nn.Conv2d(channels, channels, kernel, padding=kernel // 2)
    logit = nn.Conv2d(channels, 1, kernel, padding=kernel // 2)
    return nn.Sequential(UnitScale(), spectral_norm(hidden), nn.LeakyReLU(0.2), spectral_norm(logit))


def _patch_stage(reductions: tuple[int, ...]) -> int:
    fine = [stage for stage, reduction in enumerate(reductions) if reduction <= PATCH_REDUCTION]
    if not fine:
        raise ValueError(f"head: patch needs a map with cells of at most {PATCH_REDUCTION} pixels; found {reductions}")
    return fine[-1]

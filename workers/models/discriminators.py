"""Discriminators: a backbone that learns to tell real images from restored ones, under one of two heads.

`vanilla` gives one logit an image from the pooled last map; `patch` gives one logit a location (after PatchGAN,
arXiv 1611.07004). Both heads are spectrally normalised (arXiv 1802.05957), and the batch-norm statistics of the
backbone stay frozen: the two usual stabilisers of a discriminator that starts from pretrained weights.
"""

from typing import Self

import torch
from torch import Tensor, nn
from torch.nn.utils.parametrizations import spectral_norm

from orchestrator import spec
from workers.models.backbones import Backbone

# A patch head reads the deepest map whose cells are at most this wide, image pixels: 4 x 4 logits on a crop of 64.
PATCH_REDUCTION = 16


class Discriminator(nn.Module):
    """Logits of an image being real, from `backbone` and a `head` whose weights are drawn from `seed`.

    `backbone` is trained with the head, and its state dict starts an IQA model of the same backbone with strict=True.
    """

    def __init__(self, backbone: Backbone, head: spec.Head, seed: int) -> None:
        """Raises ValueError for an unknown head, or a patch head on a backbone without a fine enough map."""
        super().__init__()
        if head not in ("vanilla", "patch"):
            raise ValueError(f"head: found {head!r}; allowed: vanilla, patch")
        self.backbone = backbone
        self.pooled = head == "vanilla"
        self.stage = len(backbone.channels) - 1 if self.pooled else _patch_stage(backbone.reductions)
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            self.head = _head(backbone.channels[self.stage], kernel=1 if self.pooled else 3)
        self.train()

    def forward(self, image: Tensor) -> tuple[list[Tensor], list[Tensor]]:
        """Logits and feature maps of `image` (N3HW in [0, 1]). Logits are a list of one: (N, 1) under a vanilla head,
        (N, 1, h, w) under a patch head; maps are those of the backbone, from shallow to deep."""
        maps = self.backbone(image)
        features = maps[self.stage]
        if self.pooled:
            return [self.head(features.mean((2, 3), keepdim=True)).flatten(1)], maps
        return [self.head(features)], maps

    def train(self, mode: bool = True) -> Self:
        """As usual, but batch norm stays in evaluation: its statistics would otherwise mix real and restored images."""
        super().train(mode)
        for module in self.modules():
            if isinstance(module, nn.modules.batchnorm._BatchNorm):
                module.eval()
        return self


class UnitScale(nn.Module):
    """Divides each position's features by their root mean square (pixel norm, arXiv 1710.10196, section 4.2), so that
    the first logits are of order one whatever the scale of a backbone's features."""

    def forward(self, features: Tensor) -> Tensor:
        """Same shape out, NCHW."""
        return features * (features.square().mean(1, keepdim=True) + 1e-8).rsqrt()


def _head(channels: int, kernel: int) -> nn.Sequential:
    hidden = nn.Conv2d(channels, channels, kernel, padding=kernel // 2)
    logit = nn.Conv2d(channels, 1, kernel, padding=kernel // 2)
    return nn.Sequential(UnitScale(), spectral_norm(hidden), nn.LeakyReLU(0.2), spectral_norm(logit))


def _patch_stage(reductions: tuple[int, ...]) -> int:
    fine = [stage for stage, reduction in enumerate(reductions) if reduction <= PATCH_REDUCTION]
    if not fine:
        raise ValueError(f"head: patch needs a map with cells of at most {PATCH_REDUCTION} pixels; found {reductions}")
    return fine[-1]

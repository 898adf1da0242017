"""DISTS (Ding et al., arXiv 2004.07728) on any backbone: the metric, and the fit of its weights.

An image's features are the image itself (stage 0) and the maps of a frozen backbone. For each channel, over positions:

    l = (2 mu_x mu_y + c1) / (mu_x^2 + mu_y^2 + c1)        s = (2 cov + c2) / (var_x + var_y + c2)
    D(x, y) = 1 - sum_j (alpha_j l_j + beta_j s_j),        alpha, beta >= 0, sum(alpha) + sum(beta) = 1

The code works with 1 - l = (mu_x - mu_y)^2 / (mu_x^2 + mu_y^2 + c1) and 1 - s = var(x - y) / (var_x + var_y + c2), the
same without cancellation: D is exactly 0 at x = y, never negative, and its gradient is finite everywhere.
"""

import copy
from dataclasses import dataclass
from typing import Self

import numpy as np
import torch
import torch.nn.functional as F
from scipy.stats import rankdata
from timm.models.vgg import VGG
from torch import Tensor, nn

from orchestrator import spec
from workers.models.backbones import Backbone

C1 = C2 = 1e-6  # official DISTS


class L2Pool(nn.Module):
    """L2 pooling with stride 2: the root of the Hann-weighted local mean of squares, alias-free where max pooling is
    not (arXiv 2004.07728; window and constant of the official code)."""

    window: Tensor

    def __init__(self) -> None:
        super().__init__()
        hann = torch.hann_window(5, periodic=False)[1:-1]
        window = torch.outer(hann, hann)
        self.register_buffer("window", (window / window.sum()).view(1, 1, 3, 3), persistent=False)

    def forward(self, features: Tensor) -> Tensor:
        """NCHW to N x C x ceil(H/2) x ceil(W/2)."""
        channels = features.shape[1]
        window = self.window.expand(channels, -1, -1, -1)
        return (F.conv2d(features.square(), window, stride=2, padding=1, groups=channels) + 1e-12).sqrt()


def with_l2_pooling(backbone: Backbone) -> Backbone:
    """A copy of `backbone` for DISTS, parameters frozen, in evaluation mode: in a VGG without batch norm each max pool
    becomes an L2 pool, as in the paper. Nowhere else: a batch norm that is frozen after training behind a max pool, as
    in a ResNet, would meet features of another scale, and the network would not be the released one any more."""
    pooled = copy.deepcopy(backbone)
    network = pooled.network
    if isinstance(network, VGG) and not network.use_norm:
        for name, layer in network.features.named_children():
            if isinstance(layer, nn.MaxPool2d):
                setattr(network.features, name, L2Pool())
    return pooled.requires_grad_(False).eval()


def channel_statistics(backbone: Backbone, x: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
    """l and s of each channel, both N x C with C = 3 + sum(backbone.channels); x and y are N3HW in [0, 1].
    They do not depend on alpha and beta, so one pass over a data set is all that `fit` needs. Gradient reaches x alone.
    Raises ValueError where the shapes of x and y differ."""
    luminance, structure = _dissimilarity(backbone, x, y)
    return 1 - luminance, 1 - structure


def uniform_weights(channels: int) -> tuple[Tensor, Tensor]:
    """alpha and beta, each of `channels` = C equal weights, 2C of which sum to one."""
    weights = torch.full((channels,), 0.5 / channels)
    return weights, weights.clone()


class Dists(nn.Module):
    """D(x, y) with fixed weights: 0 for equal images, higher is worse, at most 2.

    Freezes `backbone` (usually `with_l2_pooling` of one) and keeps it in evaluation mode. `alpha` and `beta` are (C,).
    """

    alpha: Tensor
    beta: Tensor

    def __init__(self, backbone: Backbone, alpha: Tensor, beta: Tensor) -> None:
        """Raises ValueError for weights of another length, negative ones, or ones that do not sum to one."""
        super().__init__()
        _check_weights(3 + sum(backbone.channels), alpha, beta)
        self.backbone = backbone.requires_grad_(False)
        self.register_buffer("alpha", alpha.detach().clone())
        self.register_buffer("beta", beta.detach().clone())
        self.train()

    def forward(self, x: Tensor, y: Tensor) -> Tensor:
        """(N,) for x and y N3HW in [0, 1]. Symmetric in value; gradient reaches x alone, y being the reference."""
        luminance, structure = _dissimilarity(self.backbone, x, y)
        return luminance @ self.alpha + structure @ self.beta

    def train(self, mode: bool = True) -> Self:
        """As usual, but the backbone stays in evaluation: a loss must not depend on the rest of the batch."""
        super().train(mode)
        self.backbone.eval()
        return self


def _dissimilarity(backbone: Backbone, x: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
    """1 - l and 1 - s, both N x C and not negative."""
    if x.shape != y.shape:
        raise ValueError(f"x, y: found shapes {tuple(x.shape)} and {tuple(y.shape)}; they must be equal")
    with torch.no_grad():
        reference = [y.detach(), *backbone(y)]
    pairs = zip([x, *backbone(x)], reference, strict=True)
    luminance, structure = zip(*(_stage_dissimilarity(*pair) for pair in pairs), strict=True)
    return torch.cat(luminance, 1), torch.cat(structure, 1)


def _stage_dissimilarity(x: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
    # Not torch.var_mean, which is 2 to 3 times slower on a CPU.
    mu_x, mu_y = (z.mean((2, 3), keepdim=True) for z in (x, y))
    centred_x, centred_y = x - mu_x, y - mu_y
    luminance = (mu_x - mu_y).square() / (mu_x.square() + mu_y.square() + C1)
    spread = _mean_square(centred_x) + _mean_square(centred_y)
    return luminance.flatten(1), _mean_square(centred_x - centred_y) / (spread + C2)


def _mean_square(features: Tensor) -> Tensor:
    return features.square().mean((2, 3))


# ----------------------------------------------------------------------------------------------------- fit


@dataclass(frozen=True, kw_only=True)
class Fitted:
    """What `fit` found."""

    alpha: Tensor
    """(C,), float32."""
    beta: Tensor
    """(C,), float32."""
    validation_srcc: float
    """Of -D with quality, at the weights that were kept."""
    validation_srcc_uniform: float
    """The same at uniform weights: what the fit had to beat."""
    curve: list[tuple[float, float]]
    """Training PLCC and validation SRCC after each iteration; entry 0 is uniform weights."""


def fit(
    train_l: Tensor,
    train_s: Tensor,
    train_quality: Tensor,
    validation_l: Tensor,
    validation_s: Tensor,
    validation_quality: Tensor,
    settings: spec.MetricFit,
) -> Fitted:
    """alpha and beta that correlate best with quality (higher is better), from tables of `channel_statistics`.

    Full-batch Adam on a softmax over all 2C weights maximises the Pearson correlation of -D with the training quality,
    from exactly uniform weights. The weights with the best validation SRCC are kept, uniform ones being the first
    candidate and the earlier one winning a tie. Deterministic. l and s are N x C, quality is (N,).
    Raises ValueError for tables that do not fit each other, values that are not finite, or quality that is constant.
    """
    train, quality = _table("train", train_l, train_s, train_quality)
    validation, validation_labels = _table("validation", validation_l, validation_s, validation_quality)
    logits = torch.zeros(train.shape[1], dtype=torch.float64, requires_grad=True)
    optimizer = torch.optim.Adam([logits], lr=settings.learning_rate)
    curve: list[tuple[float, float]] = []
    best, best_weights = -np.inf, logits.detach().softmax(0)
    for _ in range(settings.iterations + 1):
        weights = logits.softmax(0)
        plcc = _pearson(-(train @ weights), quality)
        srcc = _srcc(-(validation @ weights.detach()), validation_labels)
        curve.append((plcc.item(), srcc))
        if srcc > best:
            best, best_weights = srcc, weights.detach().clone()
        optimizer.zero_grad()
        (-plcc).backward()
        optimizer.step()
    alpha, beta = best_weights.float().chunk(2)
    return Fitted(alpha=alpha, beta=beta, validation_srcc=best, validation_srcc_uniform=curve[0][1], curve=curve)


def _table(name: str, luminance: Tensor, structure: Tensor, quality: Tensor) -> tuple[Tensor, Tensor]:
    """1 - [l, s] as N x 2C and quality as (N,), both float64."""
    if luminance.shape != structure.shape or luminance.ndim != 2 or quality.shape != luminance.shape[:1]:
        shapes = [tuple(table.shape) for table in (luminance, structure, quality)]
        raise ValueError(f"{name}: found l, s, quality of shapes {shapes}; expected (N, C), (N, C), (N,)")
    table, labels = 1 - torch.cat((luminance, structure), 1).double(), quality.double()
    if not (table.isfinite().all() and labels.isfinite().all()):
        raise ValueError(f"{name}: found values that are not finite; l, s and quality must be")
    if len(labels) < 2 or bool((labels == labels[0]).all()):
        raise ValueError(f"{name}: found constant quality; a correlation needs at least two different labels")
    return table.detach(), labels


def _pearson(a: Tensor, b: Tensor) -> Tensor:
    """Correlation; 0 where `a` is constant."""
    return F.cosine_similarity(a - a.mean(), b - b.mean(), dim=0, eps=1e-12)


def _srcc(prediction: Tensor, quality: Tensor) -> float:
    """Spearman's correlation, ties averaged; 0 where the prediction is constant."""
    ranks = (torch.from_numpy(rankdata(values.numpy())) for values in (prediction, quality))
    return _pearson(*ranks).item()


def _check_weights(channels: int, alpha: Tensor, beta: Tensor) -> None:
    for name, weights in (("alpha", alpha), ("beta", beta)):
        if weights.shape != (channels,):
            raise ValueError(f"{name}: found shape {tuple(weights.shape)}; this backbone needs ({channels},)")
        if not bool((weights >= 0).all()):
            raise ValueError(f"{name}: found weights below 0 or not finite; all must be at least 0")
    total = (alpha.sum() + beta.sum()).item()
    if abs(total - 1) > 1e-3:
        raise ValueError(f"alpha, beta: found a sum of {total:.6g}; sum(alpha) + sum(beta) must be 1")

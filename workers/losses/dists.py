"""DISTS (Ding et al., arXiv 2004.07728) on any backbone: the metric, and the fit of its weights.

An image's features are the image itself (stage 0) and the maps of a frozen backbone. For each channel, over positions:

    l = (2 mu_x mu_y + c1) / (mu_x^2 + mu_y^2 + c1)        s = (2 cov + c2) / (var_x + var_y + c2)
    D(x, y) = 1 - sum_j (alpha_j l_j + beta_j s_j),        alpha, beta >= 0, sum(alpha) + sum(beta) = 1

The code works with 1 - l = (mu_x - mu_y)^2 / (mu_x^2 + mu_y^2 + c1) and 1 - s = var(x - y) / (var_x + var_y + c2), the
same without cancellation: D is exactly 0 at x = y, never negative, and its gradient is finite everywhere. Pools and
statistics have gradients of their own: of every intermediate of theirs that autograd would keep, as large as the maps,
nothing is kept but the maps.
"""

import copy
from dataclasses import dataclass
from typing import Any, Self

import torch
import torch.nn.functional as F
from scipy.stats import rankdata
from timm.models.vgg import VGG
from torch import Tensor, nn
from torch.autograd.function import once_differentiable
from torch.nn.grad import conv2d_input

from orchestrator import spec
from workers.models.backbones import Backbone
from workers.resuming import Collected, Work, at_once

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
        window = self.window.expand(features.shape[1], -1, -1, -1)
        pooled: Tensor = _Pooled.apply(features, window)  # type: ignore[no-untyped-call, unused-ignore]
        return pooled


class _Pooled(torch.autograd.Function):
    """root(window * x^2 + 1e-12); its gradient, x times the transposed convolution of g / root, needs no squares."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, window: Tensor) -> Tensor:
        squares = F.conv2d(x.square(), window, stride=2, padding=1, groups=len(window))
        root = squares.add_(1e-12).sqrt_()
        ctx.save_for_backward(x, window, root)
        return root

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, g: Tensor) -> tuple[Tensor, None]:
        x, window, root = ctx.saved_tensors
        spread = conv2d_input(list(x.shape), window, g / root, stride=2, padding=1, groups=len(window))
        return spread.mul_(x), None


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
    """l and s of each channel, both N x C with C = 3 + sum(backbone.channels); x is N3HW in [0, 1], y alike, or one
    reference of all, 13HW. They do not depend on alpha and beta, so one pass over a data set is all that `fit` needs.
    Gradient reaches x alone. Raises ValueError where the shapes of x and y differ otherwise."""
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
    if x.shape[1:] != y.shape[1:] or len(y) not in (1, len(x)):
        raise ValueError(f"x, y: found shapes {tuple(x.shape)} and {tuple(y.shape)}; they must be equal")
    with torch.no_grad():
        reference = [y.detach(), *backbone(y)]
    pairs = zip([x, *backbone(x)], reference, strict=True)
    luminance, structure = zip(*(_Compared.apply(*pair) for pair in pairs), strict=True)
    return torch.cat(luminance, 1), torch.cat(structure, 1)


class _Compared(torch.autograd.Function):
    """1 - l and 1 - s, both N x C, of two maps. Gradient reaches x alone, which is why it is short: with P positions,
    k = 2 / (P (var_x + var_y + c2)) and d = x - y,  d(1 - s)/dx = k (d - mean(d)) - (1 - s) k (x - mu_x)."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
        # Not torch.var_mean, 2 to 3 times slower on a CPU. Centred twice: keeping it would be the peak of memory.
        mu_x, mu_y = (z.mean((2, 3), keepdim=True) for z in (x, y))
        size = mu_x.square() + mu_y.square() + C1
        spread = _mean_square(x - mu_x) + _mean_square(y - mu_y) + C2
        structure = _mean_square((x - mu_x).sub_(y - mu_y)) / spread
        luminance = (mu_x - mu_y).square() / size
        ctx.save_for_backward(x, y, mu_x, mu_y, size, spread, structure)
        return luminance.flatten(1), structure.flatten(1)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad_luminance: Tensor, grad_structure: Tensor) -> tuple[Tensor, None]:
        x, y, mu_x, mu_y, size, spread, structure = ctx.saved_tensors
        positions, difference = x.shape[2] * x.shape[3], mu_x - mu_y
        by_mean = 2 * difference / size - 2 * mu_x * (difference / size).square()
        of_difference = 2 / positions * grad_structure[..., None, None] / spread
        of_x = -structure * of_difference
        constant = grad_luminance[..., None, None] * by_mean / positions - of_difference * difference - of_x * mu_x
        return (x - y).mul_(of_difference).add_(constant).addcmul_(x, of_x), None


def _mean_square(features: Tensor) -> Tensor:
    """Over positions. Overwrites `features`."""
    return features.square_().mean((2, 3), keepdim=True)


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
    work: Work = at_once,
) -> Fitted:
    """alpha and beta that correlate best with quality (higher is better), from tables of `channel_statistics`.

    Full-batch Adam on a softmax over all 2C weights maximises the Pearson correlation of -D with the training quality,
    from exactly uniform weights. The weights with the best validation SRCC are kept, uniform ones being the first
    candidate and the earlier one winning a tie. Deterministic. l and s are N x C, quality is (N,). `work`: for a fit
    that may be interrupted. Raises ValueError for tables that do not fit each other, values that are not finite, or
    quality that is constant.
    """
    train, quality = _table("train", train_l, train_s, train_quality)
    validation, validation_labels = _table("validation", validation_l, validation_s, validation_quality)
    parameters = nn.ParameterDict({"logits": torch.zeros(train.shape[1], dtype=torch.float64)})
    optimizer = torch.optim.Adam(parameters.values(), lr=settings.learning_rate)
    found = Collected()
    for _ in work(settings.iterations + 1, {"parameters": parameters, "optimizer": optimizer, "found": found}):
        weights = parameters["logits"].softmax(0)
        plcc = _pearson(-(train @ weights), quality)
        found.items.append((weights.detach(), plcc.item()))
        optimizer.zero_grad()
        (-plcc).backward()
        optimizer.step()
    tried, plccs = zip(*found.items, strict=True)
    # Of all candidates at once: one by one, Spearman would take as long as the training of the weights.
    ranks = _ranks(-(torch.stack(tried) @ validation.T))
    srccs = _pearson(ranks, _ranks(validation_labels).expand_as(ranks)).tolist()
    best = max(range(len(srccs)), key=srccs.__getitem__)
    alpha, beta = tried[best].float().chunk(2)
    curve = list(zip(plccs, srccs, strict=True))
    return Fitted(alpha=alpha, beta=beta, validation_srcc=srccs[best], validation_srcc_uniform=srccs[0], curve=curve)


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
    """Correlation along the last axis; 0 where `a` is constant."""
    return F.cosine_similarity(a - a.mean(-1, keepdim=True), b - b.mean(-1, keepdim=True), dim=-1, eps=1e-12)


def _ranks(values: Tensor) -> Tensor:
    """Along the last axis; float64, ties averaged."""
    return torch.from_numpy(rankdata(values.numpy(), axis=-1))


def _check_weights(channels: int, alpha: Tensor, beta: Tensor) -> None:
    for name, weights in (("alpha", alpha), ("beta", beta)):
        if weights.shape != (channels,):
            raise ValueError(f"{name}: found shape {tuple(weights.shape)}; this backbone needs ({channels},)")
        if not bool((weights >= 0).all()):
            raise ValueError(f"{name}: found weights below 0 or not finite; all must be at least 0")
    total = (alpha.sum() + beta.sum()).item()
    if abs(total - 1) > 1e-3:
        raise ValueError(f"alpha, beta: found a sum of {total:.6g}; sum(alpha) + sum(beta) must be 1")

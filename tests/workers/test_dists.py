"""DISTS: the properties of the metric, independent computations of it, and the fit of its weights."""

from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from scipy.stats import spearmanr
from timm.models.vgg import VGG, cfgs
from torch import Tensor
from torchvision.models.vgg import make_layers

from orchestrator.spec import MetricFit
from workers.losses.dists import Dists, Fitted, channel_statistics, fit, uniform_weights, with_l2_pooling
from workers.models.backbones import BACKBONES, Backbone, build


def images(count: int, size: int = 64, seed: int = 0) -> Tensor:
    return torch.rand(count, 3, size, size, generator=torch.Generator().manual_seed(seed))


def metric(name: str = "small/vgg") -> Dists:
    backbone = with_l2_pooling(build(name, seed=0))
    return Dists(backbone, *uniform_weights(3 + sum(backbone.channels)))


@pytest.mark.parametrize("name", BACKBONES)
def test_zero_at_equality_positive_elsewhere_and_symmetric(name: str) -> None:
    d, x, y = metric(name), images(2), images(2, seed=1)
    assert torch.equal(d(x, x), torch.zeros(2))
    assert (d(x, y) > 0).all()
    assert (d(x, y) <= 2).all()
    torch.testing.assert_close(d(x, y), d(y, x))


@pytest.mark.parametrize("name", BACKBONES)
def test_gradient_reaches_the_distorted_image_alone(name: str) -> None:
    d, x, y = metric(name), images(2).requires_grad_(), images(2, seed=1).requires_grad_()
    d(x, y).sum().backward()
    assert x.grad is not None
    assert x.grad.isfinite().all()
    assert x.grad.abs().sum() > 0
    assert y.grad is None
    assert all(p.grad is None for p in d.parameters())


@pytest.mark.parametrize("name", BACKBONES)
@pytest.mark.parametrize("value", [None, 0.0, 0.5])
def test_gradient_is_finite_at_equality_and_on_flat_images(name: str, value: float | None) -> None:
    x = (images(1) if value is None else torch.full((1, 3, 64, 64), value)).requires_grad_()
    metric(name)(x, x.detach()).sum().backward()
    assert x.grad is not None
    assert x.grad.isfinite().all()


def test_descending_its_gradient_restores_the_reference() -> None:
    d, y = metric(), images(1, 32)
    x = (y + 0.1 * torch.randn(y.shape, generator=torch.Generator().manual_seed(3))).requires_grad_()
    optimizer = torch.optim.Adam([x], lr=0.01)
    start = d(x, y).item()
    for _ in range(20):
        optimizer.zero_grad()
        d(x, y).sum().backward()
        optimizer.step()
    assert d(x, y).item() < 0.5 * start


@pytest.mark.parametrize("name", ["small/vgg", "small/vit"])
def test_statistics_equal_numpy(name: str) -> None:
    backbone, x, y = with_l2_pooling(build(name, seed=0)), images(2), images(2, seed=1)
    expected_l, expected_s = [], []
    for fx, fy in zip([x, *backbone(x)], [y, *backbone(y)], strict=True):
        a, b = (f.flatten(2).double().numpy() for f in (fx, fy))
        mu_a, mu_b = a.mean(2), b.mean(2)
        cov = (a * b).mean(2) - mu_a * mu_b
        expected_l.append((2 * mu_a * mu_b + 1e-6) / (mu_a**2 + mu_b**2 + 1e-6))
        expected_s.append((2 * cov + 1e-6) / (a.var(2) + b.var(2) + 1e-6))
    luminance, structure = channel_statistics(backbone, x, y)
    assert luminance.shape == structure.shape == (2, 3 + sum(backbone.channels))
    np.testing.assert_allclose(luminance.numpy(), np.concatenate(expected_l, 1), atol=1e-5)
    np.testing.assert_allclose(structure.numpy(), np.concatenate(expected_s, 1), atol=1e-5)


@pytest.fixture(scope="module")
def official() -> Iterator[tuple[Any, Backbone]]:
    """pyiqa's DISTS and our VGG-16 with the same random weights: the released ones cannot be had offline."""
    dists_arch = pytest.importorskip("pyiqa.archs.dists_arch", exc_type=ImportError)
    backbone = build("timm/vgg16.tv_in1k", seed=0)
    features = make_layers(list(cfgs["vgg16"]), batch_norm=False)
    assert isinstance(backbone.network, VGG)
    features.load_state_dict(backbone.network.features.state_dict(), strict=True)
    with pytest.MonkeyPatch.context() as patch, torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        patch.setattr(dists_arch.models, "vgg16", lambda **_: SimpleNamespace(features=features))
        yield dists_arch.DISTS(pretrained=False).eval(), with_l2_pooling(backbone)


def official_like_weights() -> tuple[Tensor, Tensor]:
    """alpha and beta spread as the released ones are: alpha up to 80 times its least, most of beta exactly zero."""
    generator = torch.Generator().manual_seed(1)
    alpha = 2.5e-4 + 0.02 * torch.rand(1475, generator=generator) ** 4
    beta = torch.rand(1475, generator=generator) * 1e-3
    beta[torch.randperm(1475, generator=generator)[:1063]] = 0
    return alpha, beta


@pytest.mark.parametrize("weights", ["initial", "official-like"])
@pytest.mark.parametrize(("height", "width"), [(64, 64), (50, 75)])
def test_equals_pyiqa_on_vgg16(official: tuple[Any, Backbone], weights: str, height: int, width: int) -> None:
    # Whole network, L2 pools, formula and gradient.
    theirs, backbone = official
    if weights == "official-like":
        for parameter, values in zip((theirs.alpha, theirs.beta), official_like_weights(), strict=True):
            parameter.data = values.view(1, -1, 1, 1)
    given = torch.cat((theirs.alpha, theirs.beta)).detach().flatten()
    ours = Dists(backbone, *(given / given.sum()).chunk(2))
    x, y = (torch.rand(2, 3, height, width, generator=torch.Generator().manual_seed(seed)) for seed in (0, 1))
    values, gradients = [], []
    for distance in (ours, theirs):
        image = x.clone().requires_grad_()
        value = distance(image, y).flatten()
        value.sum().backward()
        values.append(value.detach())
        gradients.append(image.grad)
    torch.testing.assert_close(*values, atol=1e-5, rtol=0)
    torch.testing.assert_close(*gradients, atol=1e-5 * gradients[1].abs().max().item(), rtol=1e-3)


def test_l2_pooling_copies_and_freezes() -> None:
    backbone = build("small/vgg", seed=0)
    pooled = with_l2_pooling(backbone)
    assert sum(isinstance(m, torch.nn.MaxPool2d) for m in backbone.modules()) == 4
    assert not any(isinstance(m, torch.nn.MaxPool2d) for m in pooled.modules())
    assert all(p.requires_grad for p in backbone.parameters())
    assert not pooled.training
    assert not any(p.requires_grad for p in pooled.parameters())
    assert pooled.state_dict().keys() == backbone.state_dict().keys()


@pytest.mark.parametrize("name", ["small/resnet", "timm/vgg11_bn.tv_in1k"])
def test_max_pools_in_front_of_batch_norm_stay(name: str) -> None:
    backbone = build(name, seed=0).eval()
    pooled = with_l2_pooling(backbone)
    assert any(isinstance(m, torch.nn.MaxPool2d) for m in pooled.modules())
    assert not any(p.requires_grad for p in pooled.parameters())
    assert all(torch.equal(a, b) for a, b in zip(backbone(images(1)), pooled(images(1)), strict=True))


def test_metric_stays_in_evaluation() -> None:
    d = metric("small/resnet").train()
    before = {key: value.clone() for key, value in d.state_dict().items()}
    x, y = images(2), images(2, seed=1)
    torch.testing.assert_close(d(x, y)[:1], d(x[:1], y[:1]))
    assert all(torch.equal(value, before[key]) for key, value in d.state_dict().items())


@pytest.mark.parametrize(
    ("alpha", "beta", "message"),
    [
        (torch.ones(3), torch.ones(3), r"alpha: found shape \(3,\); this backbone needs \(219,\)"),
        (torch.full((219,), -0.1), torch.ones(219), "alpha: found weights below 0"),
        (torch.ones(219), torch.ones(219), "found a sum of 438; .* must be 1"),
    ],
)
def test_weights_off_the_simplex_are_refused(alpha: Tensor, beta: Tensor, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Dists(build("small/vgg", seed=0), alpha, beta)


def test_images_of_different_shapes_are_refused() -> None:
    with pytest.raises(ValueError, match=r"x, y: found shapes .* must be equal"):
        metric()(images(1, 64), images(1, 32))


# ----------------------------------------------------------------------------------------------------- fit


def table(count: int, seed: int, channels: int = 20) -> tuple[Tensor, Tensor, Tensor]:
    """l and s in which only channel 0 of l and channel 1 of s tell the quality; the others are noise."""
    generator = torch.Generator().manual_seed(seed)
    quality = torch.rand(count, generator=generator)
    luminance, structure = (torch.rand(count, channels, generator=generator) for _ in range(2))
    luminance[:, 0] = 0.5 + 0.3 * quality
    structure[:, 1] = 0.3 + 0.6 * quality
    return luminance, structure, quality


def fitted(iterations: int = 100) -> Fitted:
    return fit(*table(80, 0), *table(40, 1), MetricFit(iterations=iterations, learning_rate=0.05))


def test_fit_finds_the_telling_channels_and_stays_on_the_simplex() -> None:
    found = fitted()
    assert found.validation_srcc > 0.95 > 0.7 > found.validation_srcc_uniform
    assert found.alpha.argmax() == 0
    assert found.beta.argmax() == 1
    assert (found.alpha >= 0).all()
    assert (found.beta >= 0).all()
    assert (found.alpha.sum() + found.beta.sum()).item() == pytest.approx(1, abs=1e-6)
    assert len(found.curve) == 101
    assert found.curve[-1][0] > found.curve[0][0]
    assert found.validation_srcc == max(srcc for _, srcc in found.curve)


def test_fit_is_deterministic_and_starts_at_uniform() -> None:
    one, same, start = fitted(30), fitted(30), fitted(0)
    assert torch.equal(one.alpha, same.alpha)
    assert torch.equal(one.beta, same.beta)
    assert one.curve == same.curve
    alpha, beta = uniform_weights(20)
    assert torch.equal(start.alpha, alpha)
    assert torch.equal(start.beta, beta)
    assert start.validation_srcc == start.validation_srcc_uniform == one.validation_srcc_uniform


def test_fit_keeps_uniform_weights_where_training_misleads() -> None:
    luminance, structure, quality = table(80, 0)
    held_l, held_s, held_quality = table(40, 1)
    held_l[:, 0], held_s[:, 1] = 1 - held_l[:, 0], 1 - held_s[:, 1]
    held_l[:, 5] = held_quality * 10
    settings = MetricFit(iterations=50, learning_rate=0.05)
    found = fit(luminance, structure, quality, held_l, held_s, held_quality, settings)
    assert torch.equal(found.alpha, uniform_weights(20)[0])


def test_fit_srcc_equals_scipy() -> None:
    luminance, structure, quality = table(40, 1)
    expected = spearmanr(torch.cat((luminance, structure), 1).double().sum(1), quality).statistic
    assert fitted(0).validation_srcc_uniform == pytest.approx(expected, abs=1e-12)


def test_unfit_tables_are_refused() -> None:
    luminance, structure, quality = table(10, 0)
    settings = MetricFit(iterations=1, learning_rate=0.1)
    good = (luminance, structure, quality)
    with pytest.raises(ValueError, match="train: found constant quality"):
        fit(luminance, structure, torch.ones(10), *good, settings)
    with pytest.raises(ValueError, match=r"validation: found l, s, quality of shapes .*expected \(N, C\)"):
        fit(*good, luminance, structure[:, :3], quality, settings)
    with pytest.raises(ValueError, match="train: found values that are not finite"):
        fit(luminance / 0, structure, quality, *good, settings)

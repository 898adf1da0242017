"""Fair weights: a calibrated term pulls as hard as the reference says, whatever the scale of its loss."""

import math
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from orchestrator import spec
from orchestrator.spec import Calibrated
from workers.losses.adversarial import AdversarialLoss
from workers.losses.calibration import Terms, effective_weight, gradient_norm
from workers.losses.dists import Dists, uniform_weights, with_l2_pooling
from workers.models.backbones import build
from workers.models.discriminators import Discriminator


def pairs(count: int = 2, side: int = 32) -> list[tuple[Tensor, Tensor]]:
    noise = torch.rand(2 * count, 1, 3, side, side, generator=torch.Generator().manual_seed(0))
    return list(zip(noise[:count], noise[count:], strict=True))


def adversarial(loss: spec.GanLoss = "vanilla", augment: tuple[spec.Augmentation, ...] = ()) -> AdversarialLoss:
    settings = spec.Discriminator(
        head="patch",
        backbone=spec.Backbone(model="small/vgg"),
        loss=loss,
        backbone_factor=1.0,
        r1=0.0,
        augment=augment,
        weights=spec.RandomWeights(purpose="discriminator", seed=0),
    )
    return AdversarialLoss(Discriminator(build("small/vgg", seed=0), "patch", seed=0), settings, 1e-3, seed=0)


class Scaled(Dists):
    """A metric times a constant."""

    def __init__(self, factor: float) -> None:
        backbone = with_l2_pooling(build("small/vgg", seed=0))
        super().__init__(backbone, *uniform_weights(3 + sum(backbone.channels)))
        self.factor = factor

    def forward(self, x: Tensor, y: Tensor) -> Tensor:
        return self.factor * super().forward(x, y)


def test_gradient_norm_of_l1_is_one_over_the_root_of_the_pixels() -> None:
    assert gradient_norm(F.l1_loss, pairs()) == pytest.approx(1 / math.sqrt(3 * 32 * 32), rel=1e-5)


def test_gradient_norm_is_the_mean_over_images_not_the_norm_of_the_mean() -> None:
    (first, second), scales = pairs(), iter((1.0, 3.0))
    norm = gradient_norm(lambda x, y: next(scales) * F.l1_loss(x, y), [first, second])
    assert norm == pytest.approx(2 / math.sqrt(3 * 32 * 32), rel=1e-5)


def test_losses_that_differ_by_a_factor_pull_equally_hard() -> None:
    images, wanted = pairs(), Calibrated(times=0.5)
    reference = gradient_norm(F.l1_loss, images)
    pulls = []
    for factor in (1.0, 1000.0):
        norm = gradient_norm(lambda x, y, factor=factor: factor * F.mse_loss(x, y), images)  # type: ignore[misc]
        pulls.append(norm * effective_weight(wanted, "fidelity", {"fidelity": norm, "reference": reference}))
    assert pulls == pytest.approx([0.5 * reference] * 2, rel=1e-5)


@pytest.mark.parametrize("factor", [2.0**10, 1000.0, 1e-4])
def test_a_constant_factor_changes_nothing_in_training_but_the_record(factor: float) -> None:
    images, gradients, numbers = pairs(), [], []
    for metric in (Scaled(1.0), Scaled(factor)):
        terms = Terms(metric, adversarial())
        norms = {name: gradient_norm(terms.function(name), images) for name in terms.names()}
        norms["reference"] = gradient_norm(lambda x, y: Scaled(1.0)(x, y).mean(), images)
        terms.set({"pixel": 0.01, "fidelity": Calibrated(times=1.0), "adversarial": 0.005}, norms)
        restored = images[0][0].clone().requires_grad_()
        (gradient,) = torch.autograd.grad(terms.total(terms.values(restored, images[0][1])), restored)
        gradients.append(gradient)
        numbers.append(terms.numbers())
    if math.log2(factor).is_integer():  # scaling by a power of two does not round
        assert torch.equal(*gradients)
    torch.testing.assert_close(*gradients, rtol=1e-4, atol=1e-9)
    one, other = numbers
    assert one["weight_fidelity"] == pytest.approx(1.0)
    assert other["weight_fidelity"] == pytest.approx(1 / factor)
    assert other["gradient_norm_fidelity"] == pytest.approx(factor * one["gradient_norm_fidelity"])
    for name in ("gradient_norm_reference", "gradient_norm_pixel", "gradient_norm_adversarial", "weight_adversarial"):
        assert other[name] == one[name] > 0


def test_the_adversarial_term_is_measured_without_augmentation_and_trained_with() -> None:
    (restored, reference), plain = pairs()[0], Terms(None, adversarial())
    augmented = Terms(None, adversarial(augment=("color", "cutout")))
    assert gradient_norm(augmented.function("adversarial"), pairs()) == gradient_norm(
        plain.function("adversarial"), pairs()
    )
    values = []
    for terms in (plain, augmented):
        terms.set({"adversarial": 1.0}, {})
        values.append(terms.values(restored, reference)["adversarial"].item())
    assert values[0] != values[1]


def test_a_relativistic_term_is_measured_against_the_reference() -> None:
    terms = Terms(None, adversarial("relativistic"))
    (restored, reference), (other, _) = pairs()
    norms = [gradient_norm(terms.function("adversarial"), [(restored, real)]) for real in (reference, other)]
    assert norms[0] != norms[1]
    assert min(norms) > 0


def test_a_raw_weight_passes_through() -> None:
    assert effective_weight(0.25, "pixel", {}) == 0.25
    assert effective_weight(0.25, "pixel", {"pixel": 0.0, "reference": 9.0}) == 0.25


@pytest.mark.parametrize("flat", ["fidelity", "reference"])
@pytest.mark.parametrize("norm", [0.0, float("nan")])
def test_a_term_without_gradient_is_refused(flat: str, norm: float) -> None:
    norms = {"fidelity": 1.0, "reference": 1.0, flat: norm}
    with pytest.raises(ValueError, match=rf"the {flat} term has a gradient of norm {norm}: .* give a number"):
        effective_weight(Calibrated(times=1.0), "fidelity", norms)


def test_measuring_leaves_discriminator_and_images_alone() -> None:
    terms, images = Terms(None, adversarial()), pairs()
    assert terms.adversarial is not None
    before = {name: value.clone() for name, value in terms.adversarial.discriminator.state_dict().items()}
    assert gradient_norm(terms.function("adversarial"), images) > 0
    after = terms.adversarial.discriminator.state_dict()
    assert all(torch.equal(value, after[name]) for name, value in before.items())
    assert all(parameter.grad is None for parameter in terms.adversarial.discriminator.parameters())
    assert not any(restored.requires_grad for restored, _ in images)


def test_the_total_is_the_weighted_sum_and_skips_what_weighs_nothing() -> None:
    terms, (restored, reference) = Terms(None, adversarial()), pairs()[0]
    terms.set({"pixel": 2.0, "adversarial": 0.0}, {})
    values = terms.values(restored, reference)
    assert set(values) == {"pixel"}
    assert terms.total(values).item() == pytest.approx(2 * (restored - reference).abs().mean().item())
    terms.set({"pixel": 2.0, "adversarial": 0.5}, {})
    values = terms.values(restored, reference)
    expected = 2 * values["pixel"] + 0.5 * values["adversarial"]
    assert terms.total(values).item() == pytest.approx(expected.item())
    with pytest.raises(KeyError, match="fidelity"):
        terms.function("fidelity")


@pytest.mark.parametrize("name", ["loss", "gan"])
def test_recorded_weights_follow_from_recorded_norms(name: str, micro: Any) -> None:
    numbers, wanted = micro.record(name)["numbers"], micro.trial(name).weights
    calibrated = {term: getattr(wanted, term) for term in ("pixel", "fidelity", "adversarial")}
    calibrated = {
        term: w for term, w in calibrated.items() if isinstance(w, Calibrated) and f"weight_{term}" in numbers
    }
    assert set(calibrated) == {"fidelity"} | ({"adversarial"} if name == "gan" else set())
    for term, weight in calibrated.items():
        expected = weight.times * numbers["gradient_norm_reference"] / numbers[f"gradient_norm_{term}"]
        assert numbers[f"weight_{term}"] == pytest.approx(expected, rel=1e-12)
    assert numbers["weight_pixel"] == wanted.pixel == 0.01

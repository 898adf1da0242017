"""IQA models start as the constant predictor, learn severity in few steps, and use the reference as they should."""

from pathlib import Path

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from orchestrator.spec import Task
from workers import weights
from workers.losses.regression import RegressionLoss, regression_loss
from workers.models.backbones import BACKBONES, build
from workers.models.iqa import Features, Head, IqaModel

FEATURES: tuple[Features, ...] = ("moments", "means", "last")


def images(count: int, size: int = 64, seed: int = 0) -> Tensor:
    return torch.rand(count, 3, size, size, generator=torch.Generator().manual_seed(seed))


def blurred_and_noisy(count: int, seed: int) -> tuple[Tensor, Tensor, Tensor]:
    """Smooth references, copies with noise of a severity from 1 to 5, and minus the severity."""
    generator = torch.Generator().manual_seed(seed)
    coarse = torch.rand(count, 3, 6, 6, generator=generator)
    reference = F.interpolate(coarse, size=(32, 32), mode="bicubic").clamp(0, 1)
    severity = torch.randint(1, 6, (count,), generator=generator)
    noise = torch.randn(reference.shape, generator=generator) * 0.01 * 2.0 ** severity.view(-1, 1, 1, 1)
    return (reference + noise).clamp(0, 1), reference, -severity.float()


@pytest.mark.parametrize("name", BACKBONES)
@pytest.mark.parametrize("task", ["fr", "nr"])
def test_starts_as_the_constant_predictor(name: str, task: Task) -> None:
    model = IqaModel(build(name, seed=0), task, initial_score=-2.5, seed=0)
    scores = model(images(3), images(3, seed=1))
    assert scores.shape == (3,)
    assert torch.equal(scores, torch.full((3,), -2.5))


@pytest.mark.parametrize(
    ("task", "features", "head", "loss"),
    [
        ("fr", "moments", "mlp", "mse"),
        ("nr", "moments", "mlp", "mse"),
        ("fr", "means", "mlp", "huber"),
        ("fr", "means", "linear", "plcc"),
        ("fr", "last", "linear", "plcc"),
    ],
)
def test_sixty_steps_learn_severity(task: Task, features: Features, head: Head, loss: RegressionLoss) -> None:
    distorted, reference, label = blurred_and_noisy(96, seed=0)
    held_out, held_reference, held_label = blurred_and_noisy(48, seed=1)
    model = IqaModel(build("small/vgg", seed=0), task, label.mean().item(), seed=0, features=features, head=head)
    optimizer = torch.optim.Adam(
        [{"params": model.backbone.parameters(), "lr": 3e-4}, {"params": model.head.parameters(), "lr": 1e-3}]
    )
    generator = torch.Generator().manual_seed(2)
    for _ in range(60):
        batch = torch.randint(96, (16,), generator=generator)
        error = regression_loss(loss, model(distorted[batch], reference[batch]), label[batch])
        optimizer.zero_grad()
        error.backward()
        optimizer.step()
    with torch.no_grad():
        error = F.mse_loss(model(held_out, held_reference), held_label)
    assert error < 0.35 * F.mse_loss(label.mean().expand(48), held_label)


@pytest.mark.parametrize("task", ["fr", "nr"])
@pytest.mark.parametrize("features", FEATURES)
def test_gradients_are_finite_even_for_flat_and_equal_images(task: Task, features: Features) -> None:
    model = IqaModel(build("small/vgg", seed=0), task, initial_score=0.0, seed=0, features=features)
    torch.nn.init.ones_(model.head[-1].weight)  # type: ignore[arg-type]
    flat = torch.full((2, 3, 32, 32), 0.5)
    model(flat, flat).sum().backward()
    assert all(p.grad is not None and p.grad.isfinite().all() for p in model.parameters())


def test_only_fr_looks_at_the_reference() -> None:
    for task, differs in (("fr", True), ("nr", False)):
        model = IqaModel(build("small/vgg", seed=0), task, initial_score=0.0, seed=0)  # type: ignore[arg-type]
        torch.nn.init.ones_(model.head[-1].weight)  # type: ignore[arg-type]
        model.eval()
        scores = [model(images(1), images(1, seed=seed)) for seed in (1, 2)]
        assert (not torch.equal(*scores)) is differs


def test_fr_without_a_reference_and_unknown_tasks_are_refused() -> None:
    backbone = build("small/vgg", seed=0)
    with pytest.raises(ValueError, match="reference: found None; an FR model needs the reference"):
        IqaModel(backbone, "fr", initial_score=0.0, seed=0)(images(1))
    with pytest.raises(ValueError, match="task: found 'rr'; allowed: fr, nr"):
        IqaModel(backbone, "rr", initial_score=0.0, seed=0)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="features: found 'first'; allowed: last, means, moments"):
        IqaModel(backbone, "fr", 0.0, seed=0, features="first")  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="head: found 'deep'; allowed: linear, mlp"):
        IqaModel(backbone, "fr", 0.0, seed=0, head="deep")  # type: ignore[arg-type]


def description(model: IqaModel, distorted: Tensor, reference: Tensor) -> Tensor:
    """What the model's head gets."""
    seen: list[Tensor] = []
    hook = model.head.register_forward_pre_hook(lambda _, given: seen.append(given[0]))
    model(distorted, reference)
    hook.remove()
    return seen[0]


@pytest.mark.parametrize("task", ["fr", "nr"])
def test_features_are_what_they_are_called(task: Task) -> None:
    # Without ReLUs: no position has only zeros, which a root mean square cannot scale.
    backbone, distorted, reference = build("small/swin", seed=0), images(2, 32), images(2, 32, seed=1)
    found = {
        features: description(IqaModel(backbone, task, 0.0, seed=0, features=features), distorted, reference)
        for features in FEATURES
    }
    stages = [distorted, *(m / m.square().mean(1, keepdim=True).sqrt() for m in backbone(distorted))]
    if task == "fr":
        theirs = [reference, *(m / m.square().mean(1, keepdim=True).sqrt() for m in backbone(reference))]
        stages = [(a - b).abs() for a, b in zip(stages, theirs, strict=True)]
    means = torch.cat([stage.mean((2, 3)) for stage in stages], 1)
    means = (means + 0.03).log() if task == "fr" else means
    deviations = torch.cat([stage.std((2, 3), correction=0) for stage in stages], 1)
    close = {"rtol": 1e-3, "atol": 1e-3}
    torch.testing.assert_close(found["means"], means, **close)
    torch.testing.assert_close(found["moments"], torch.cat((means, (deviations + 0.03).log()), 1), **close)
    torch.testing.assert_close(found["last"], means[:, -backbone.channels[-1] :], **close)


def test_a_linear_head_is_linear_in_the_standardised_features() -> None:
    model = IqaModel(build("small/vgg", seed=0), "nr", 0.4, seed=0, features="last", head="linear").eval()
    last = model.head[-1]
    assert [type(layer) for layer in model.head] == [torch.nn.BatchNorm1d, torch.nn.Linear]
    assert last.weight.shape == (1, model.backbone.channels[-1])
    torch.nn.init.ones_(last.weight)  # type: ignore[arg-type]
    given = description(model, images(2, 32), images(2, 32))
    torch.testing.assert_close(model(images(2, 32)), given.sum(1) / (1 + 1e-5) ** 0.5 + 0.4)


def test_the_head_is_drawn_from_the_seed() -> None:
    one, same, other = (IqaModel(build("small/vgg", seed=0), "fr", 0.0, seed=seed).head for seed in (3, 3, 4))
    assert torch.equal(one[1].weight, same[1].weight)  # type: ignore[arg-type]
    assert not torch.equal(one[1].weight, other[1].weight)  # type: ignore[arg-type]


@pytest.mark.parametrize("features", FEATURES)
@pytest.mark.parametrize("head", ["mlp", "linear"])
def test_weights_on_disk_know_features_and_head(features: Features, head: Head, tmp_path: Path) -> None:
    model = IqaModel(build("small/vgg", seed=1), "fr", 0.3, seed=0, features=features, head=head).eval()
    torch.nn.init.ones_(model.head[-1].weight)  # type: ignore[arg-type]
    weights.save_iqa_model(tmp_path, model.state_dict(), "small/vgg", "fr", features, head)
    again = weights.load_iqa_model(tmp_path).eval()
    assert torch.equal(again(images(2, 32), images(2, 32, seed=1)), model(images(2, 32), images(2, 32, seed=1)))

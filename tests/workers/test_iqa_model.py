"""IQA models start as the constant predictor, learn severity in few steps, and use the reference as they should."""

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from orchestrator.spec import Task
from workers.models.backbones import BACKBONES, build
from workers.models.iqa import IqaModel


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


@pytest.mark.parametrize("task", ["fr", "nr"])
def test_sixty_steps_learn_severity(task: Task) -> None:
    distorted, reference, label = blurred_and_noisy(96, seed=0)
    held_out, held_reference, held_label = blurred_and_noisy(48, seed=1)
    model = IqaModel(build("small/vgg", seed=0), task, initial_score=label.mean().item(), seed=0)
    optimizer = torch.optim.Adam(
        [{"params": model.backbone.parameters(), "lr": 3e-4}, {"params": model.head.parameters(), "lr": 1e-3}]
    )
    generator = torch.Generator().manual_seed(2)
    for _ in range(60):
        batch = torch.randint(96, (16,), generator=generator)
        loss = F.mse_loss(model(distorted[batch], reference[batch]), label[batch])
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    with torch.no_grad():
        error = F.mse_loss(model(held_out, held_reference), held_label)
    assert error < 0.35 * F.mse_loss(label.mean().expand(48), held_label)


@pytest.mark.parametrize("task", ["fr", "nr"])
def test_gradients_are_finite_even_for_flat_and_equal_images(task: Task) -> None:
    model = IqaModel(build("small/vgg", seed=0), task, initial_score=0.0, seed=0)
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

"""Differentiable augmentation: what each kind does to an image, its range, its gradient, and that draws are seeded."""

import pytest
import torch
from torch import Tensor

from orchestrator.spec import Augmentation
from workers.losses.augmentation import GRAY, augment

KINDS: tuple[Augmentation, ...] = ("color", "translation", "cutout")
MANY = 400


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def images(count: int = 4, height: int = 16, width: int = 24) -> Tensor:
    return torch.rand(count, 3, height, width, generator=generator(9))


@pytest.mark.parametrize("kinds", [(kind,) for kind in KINDS] + [KINDS])
def test_draws_are_a_function_of_the_generator_one_an_image(kinds: tuple[Augmentation, ...]) -> None:
    same = images(1).expand(8, -1, -1, -1)
    first, again, other = (augment(same, kinds, generator(seed)) for seed in (1, 1, 2))
    assert first.shape == same.shape
    assert torch.equal(first, again)
    assert not torch.equal(first, other)
    assert len({tuple(image.flatten().tolist()) for image in first}) > 5


def test_without_kinds_images_and_generator_stay_as_they_are() -> None:
    source, before = images(), generator().get_state()
    draws = generator()
    assert augment(source, (), draws) is source
    assert torch.equal(draws.get_state(), before)


def test_color_shifts_brightness_and_scales_saturation_and_contrast() -> None:
    source = images(1).expand(MANY, -1, -1, -1)
    found = augment(source, ("color",), generator())
    shift = (found - source).mean((1, 2, 3))
    assert -0.25 <= shift.min() < -0.23
    assert 0.23 < shift.max() <= 0.25
    gray, found_gray = source.mean(1, keepdim=True), found.mean(1, keepdim=True)
    contrast = found_gray.std((1, 2, 3)) / gray.std((1, 2, 3))
    assert 0.5 <= contrast.min() + 1e-5 < 0.52
    assert 1.48 < contrast.max() <= 1.5 + 1e-5
    saturation = (found - found_gray).std((1, 2, 3)) / (source - gray).std((1, 2, 3)) / contrast
    assert saturation.min() < 0.02
    assert 1.98 < saturation.max() <= 2 + 1e-4


def test_translation_moves_by_up_to_an_eighth_and_lets_gray_in() -> None:
    source = images(1).expand(MANY, -1, -1, -1)
    shifts = [(down, right) for down in range(-2, 3) for right in range(-3, 4)]
    moved = torch.stack([by_hand(source[0], *shift) for shift in shifts])
    found = augment(source, ("translation",), generator())
    matches = (found[:, None] == moved[None]).flatten(2).all(2)
    assert (matches.sum(1) == 1).all()
    assert matches.any(0).all()


def by_hand(image: Tensor, down: int, right: int) -> Tensor:
    moved = torch.full_like(image, GRAY)
    for row in range(max(down, 0), image.shape[1] + min(down, 0)):
        for column in range(max(right, 0), image.shape[2] + min(right, 0)):
            moved[:, row, column] = image[:, row - down, column - right]
    return moved


def test_cutout_grays_a_rectangle_of_half_of_each_side() -> None:
    source = images(1).expand(MANY, -1, -1, -1)
    found = augment(source, ("cutout",), generator())
    hole = (found != source).any(1)
    assert (found.movedim(1, -1)[hole] == GRAY).all()
    rows, columns = hole.any(2).sum(1), hole.any(1).sum(1)
    assert torch.equal(hole.sum((1, 2)), rows * columns)
    assert (rows.min(), rows.max()) == (4, 8)
    assert (columns.min(), columns.max()) == (6, 12)
    often = hole.double().mean(0)
    assert (often > 0.05).all()
    torch.testing.assert_close(often, often.flip(0, 1), atol=0.12, rtol=0)


@pytest.mark.parametrize("kind", KINDS)
def test_gradient_flows_to_the_images(kind: Augmentation) -> None:
    source = images(2, 4, 8).double().requires_grad_()
    assert torch.autograd.gradcheck(lambda x: augment(x, (kind,), generator(3)), (source,))


def test_an_unknown_kind_is_refused() -> None:
    with pytest.raises(ValueError, match="augment: found 'colour'; allowed: color, cutout, translation; did you mean"):
        augment(images(), ("colour",), generator())  # type: ignore[arg-type]

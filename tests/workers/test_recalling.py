"""What a metric computes of one image alone: equal bits, computed once, and forgotten when there is too much of it."""

import importlib

import numpy as np
import pytest
import torch
from torch import Tensor

from workers import judges, recalling
from workers.recalling import FEWEST, SINGLE_IMAGE, Memory


class Doubling:
    """A function that counts its calls."""

    def __init__(self) -> None:
        self.calls = 0

    def __call__(self, x: Tensor, *, times: int = 2) -> Tensor:
        self.calls += 1
        return x * times


def test_equal_bytes_are_computed_once_and_others_are_not() -> None:
    doubling = Doubling()
    recalled = Memory().recalling(doubling)
    x = torch.arange(6.0).view(2, 3)
    assert all(torch.equal(recalled(image), 2 * x) for image in (x, x.clone(), x.t().contiguous().t()))
    assert doubling.calls == 1
    others = [x + 1, x.view(3, 2), x.double(), x.int()]
    assert all(torch.equal(recalled(other), 2 * other) for other in others)
    assert doubling.calls == 5
    assert torch.equal(recalled(x, times=3), 3 * x)
    assert doubling.calls == 6


def test_what_is_written_into_a_result_is_not_recalled() -> None:
    recalled = Memory().recalling(Doubling())
    for _ in range(3):
        result = recalled(torch.ones(4))
        assert torch.equal(result, torch.full((4,), 2.0))
        result.zero_()


def test_the_oldest_are_forgotten() -> None:
    doubling = Doubling()
    recalled = Memory(FEWEST * 8).recalling(doubling)  # of one double each
    images = [torch.tensor([float(i)], dtype=torch.float64) for i in range(FEWEST + 1)]
    for image in (*images[:FEWEST], images[0], images[FEWEST]):  # the first is used again, the second goes
        recalled(image)
    assert doubling.calls == FEWEST + 1
    recalled(images[0])
    assert doubling.calls == FEWEST + 1
    recalled(images[1])
    assert doubling.calls == FEWEST + 2


def test_large_tensors_and_those_of_other_devices_are_not_kept() -> None:
    doubling = Doubling()
    recalled = Memory(FEWEST * 8).recalling(doubling)
    for image in (torch.ones(2, dtype=torch.float64), torch.empty(1, device="meta")):
        recalled(image)
        recalled(image)
    assert doubling.calls == 4


@pytest.mark.parametrize("name", SINGLE_IMAGE)
def test_scores_keep_every_bit_and_the_library_its_functions(name: str) -> None:
    generator = torch.Generator().manual_seed(0)
    reference, *restored = torch.rand(3, 1, 3, 176, 170, generator=generator)
    judge = judges.judge(name)
    module, function = SINGLE_IMAGE[name]
    original = getattr(importlib.import_module(module), function)
    recalling.memory.clear()
    found = [judge.scores(image, reference)[0] for image in (*restored, *restored)]
    assert getattr(importlib.import_module(module), function) is original
    expected = [float(judge._metric(image, reference)) for image in restored]  # pyiqa's own, nothing recalled
    np.testing.assert_array_equal(found, 2 * expected)


def test_the_saliency_of_a_reference_is_computed_once(monkeypatch: pytest.MonkeyPatch) -> None:
    judge = judges.judge("vsi")
    from pyiqa.archs import vsi_arch

    seen: list[Tensor] = []
    original = vsi_arch.sdsp
    monkeypatch.setattr(vsi_arch, "sdsp", lambda x, **options: (seen.append(x), original(x, **options))[1])
    recalling.memory.clear()
    reference, *restored = torch.rand(4, 1, 3, 32, 32, generator=torch.Generator().manual_seed(0))
    for image in restored:
        judge.scores(image, reference)
    assert len(seen) == len(restored) + 1
    torch.testing.assert_close(seen[1], reference.double() * 255)

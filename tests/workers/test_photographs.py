"""The embedded photographs: every file is the one the table names, and a changed one is refused."""

import dataclasses
import sys
from collections.abc import Callable

import numpy as np
import pytest
import torch

from orchestrator import spec
from workers.data import photographs


@pytest.mark.parametrize("name", spec.PHOTOGRAPHS)
def test_load(name: str) -> None:
    image = photographs.load(spec.photograph(name))
    assert image.dtype == np.uint8
    assert image.ndim == 3
    assert image.shape[2] == 3
    assert min(image.shape[:2]) >= 300
    assert image.std() > 10


def test_greyscale_is_replicated_and_the_cache_is_safe() -> None:
    image = photographs.load(spec.photograph("camera"))
    assert np.ptp(image, axis=-1).max() == 0
    assert photographs.load(spec.photograph("camera")) is image
    with pytest.raises(ValueError, match="read-only"):
        image[0, 0, 0] = 1


def test_changed_file() -> None:
    changed = dataclasses.replace(spec.photograph("chelsea"), sha256="0" * 64)
    with pytest.raises(ValueError, match="chelsea") as error:
        photographs.load(changed)
    for part in (spec.PHOTOGRAPHS["chelsea"].sha256, "0" * 64, "chelsea.png", "requirements.lock"):
        assert part in str(error.value)


@pytest.mark.parametrize("find", [spec.photograph, photographs.content])
def test_unknown_name(find: Callable[[str], object]) -> None:
    with pytest.raises(ValueError, match=r"found 'chelsey'; allowed: astronaut, .*; did you mean 'chelsea'"):
        find("chelsey")


def test_content() -> None:
    contents = {name: photographs.content(name) for name in spec.PHOTOGRAPHS}
    assert contents.pop("motorcycle_left") == contents.pop("motorcycle_right") == "motorcycle"
    assert all(content == name for name, content in contents.items())


def test_missing_package(monkeypatch: pytest.MonkeyPatch) -> None:
    elsewhere = dataclasses.replace(spec.PHOTOGRAPHS["china"], file="no_such_package/china.jpg")
    monkeypatch.setitem(spec.PHOTOGRAPHS, "elsewhere", elsewhere)
    with pytest.raises(FileNotFoundError, match="'no_such_package' that ships it is not installed"):
        photographs.load(spec.Photograph(name="elsewhere", sha256=elsewhere.sha256))


def test_loading_does_not_import_the_package_that_ships_the_file(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delitem(sys.modules, "sklearn", raising=False)
    photographs.load.__wrapped__(spec.photograph("china"))
    assert "sklearn" not in sys.modules


def test_central_crop() -> None:
    image = np.arange(7 * 8 * 3, dtype=np.uint8).reshape(7, 8, 3)
    crop = photographs.central_crop(image, 4)
    np.testing.assert_array_equal(crop, image[1:5, 2:6])
    assert not np.shares_memory(crop, image)


def test_random_crop_reaches_every_position_and_follows_its_generator() -> None:
    image = np.arange(5 * 6 * 3, dtype=np.uint8).reshape(5, 6, 3)
    rng = np.random.default_rng(0)
    corners = {int(photographs.random_crop(image, 4, rng)[0, 0, 0]) for _ in range(100)}
    assert corners == {int(image[top, left, 0]) for top in range(2) for left in range(3)}
    a, b = (photographs.random_crop(image, 4, np.random.default_rng(7)) for _ in range(2))
    np.testing.assert_array_equal(a, b)


@pytest.mark.parametrize("side", [0, 6])
def test_crop_that_does_not_fit(side: int) -> None:
    with pytest.raises(ValueError, match=f"found side {side}; allowed: 1 to 5 in 5 x 8"):
        photographs.central_crop(np.zeros((5, 8, 3), np.uint8), side)


def test_tensors_and_back() -> None:
    image = photographs.load(spec.photograph("chelsea"))
    tensor = photographs.to_tensor(image)
    assert tensor.shape == (3, 300, 451)
    assert tensor.dtype == torch.float32
    assert tensor.is_contiguous()
    assert tensor[2, 5, 9] == torch.tensor(image[5, 9, 2] / 255, dtype=torch.float32)
    np.testing.assert_array_equal(photographs.to_uint8(tensor), image)
    np.testing.assert_array_equal(photographs.to_uint8(torch.full((1, 3, 1, 1), 1.2)), 255)

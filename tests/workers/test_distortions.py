"""The distortions: each changes the image, more at each level, within range, and equally on every call."""

from typing import get_args

import numpy as np
import pytest

from orchestrator import spec
from workers.data import distortions, photographs

PHOTOGRAPHS = ("chelsea", "astronaut", "coffee", "flower", "motorcycle_left")


@pytest.fixture(scope="module")
def crops() -> list[np.ndarray]:
    return [photographs.central_crop(photographs.load(spec.photograph(name)), 64) for name in PHOTOGRAPHS]


def test_names_are_those_of_the_spec() -> None:
    assert set(distortions.DISTORTIONS) == set(get_args(spec.Distortion))


@pytest.mark.parametrize("name", distortions.DISTORTIONS)
def test_error_grows_with_level(name: str, crops: list[np.ndarray]) -> None:
    errors = np.array(
        [[_mse(distortions.apply(name, crop, level, 0), crop) for level in range(1, 6)] for crop in crops]
    )
    assert errors.min() > 0
    mean = errors.mean(0)
    assert (mean[1:] > 1.1 * mean[:-1]).all(), mean
    assert mean[0] < 400, "level 1 is mild: above 22 dB"
    assert mean[4] > 150, "level 5 is strong: below 26 dB"


@pytest.mark.parametrize("name", distortions.DISTORTIONS)
def test_deterministic_and_leaves_its_input(name: str, crops: list[np.ndarray]) -> None:
    image = crops[0][:61, :50]  # neither square nor a multiple of anything
    before = image.copy()
    a, b = (distortions.apply(name, image, 3, (5, 1)) for _ in range(2))
    np.testing.assert_array_equal(a, b)
    np.testing.assert_array_equal(image, before)
    assert a.shape == image.shape
    assert a.dtype == np.uint8


@pytest.mark.parametrize("name", distortions.DISTORTIONS)
@pytest.mark.parametrize("value", [0, 255])
def test_flat_images_stay_images(name: str, value: int) -> None:
    flat = np.full((16, 16, 3), value, np.uint8)
    assert distortions.apply(name, flat, 5, 0).shape == flat.shape


@pytest.mark.parametrize(
    "name",
    ["white_noise", "impulse_noise", "multiplicative_noise", "motion_blur", "color_shift", "chromatic_aberration"],
)
def test_seed_matters(name: str, crops: list[np.ndarray]) -> None:
    assert not np.array_equal(distortions.apply(name, crops[0], 3, 0), distortions.apply(name, crops[0], 3, 1))


@pytest.mark.parametrize("name", ["gaussian_blur", "lens_blur", "motion_blur", "pixelate", "ringing"])
def test_low_pass_filters_keep_the_mean(name: str, crops: list[np.ndarray]) -> None:
    for crop in crops:
        assert distortions.apply(name, crop, 2, 0).mean() == pytest.approx(crop.mean(), abs=1.5)


def test_white_noise_has_its_standard_deviation() -> None:
    grey = np.full((128, 128, 3), 128, np.uint8)
    assert (distortions.apply("white_noise", grey, 3, 0) / 255).std() == pytest.approx(0.10, rel=0.02)


def test_desaturate_ends_in_grey(crops: list[np.ndarray]) -> None:
    assert np.ptp(distortions.apply("desaturate", crops[0], 5, 0), axis=-1).max() == 0


def test_unknown_name(crops: list[np.ndarray]) -> None:
    with pytest.raises(ValueError, match=r"found 'gausian_blur'; allowed: brighten, .*; did you mean 'gaussian_blur'"):
        distortions.apply("gausian_blur", crops[0], 1, 0)


@pytest.mark.parametrize("level", [0, 6])
def test_unknown_level(level: int, crops: list[np.ndarray]) -> None:
    with pytest.raises(ValueError, match=rf"'jpeg': found level {level}; allowed: 1 \(weakest\) to 5"):
        distortions.apply("jpeg", crops[0], level, 0)


def _mse(a: np.ndarray, b: np.ndarray) -> float:
    return float(np.mean((a.astype(float) - b) ** 2))

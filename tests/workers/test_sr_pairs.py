"""Super-resolution pairs: MATLAB's bicubic, patches that show one place, batches that hang on (seed, step) alone."""

import math

import numpy as np
import pytest
import torch

from orchestrator import spec
from workers.data import photographs, sr_pairs

TRAIN = tuple(spec.photograph(name) for name in ("astronaut", "coffee"))


def matlab_weights(size: int, new_size: int) -> np.ndarray:
    """Dense (new_size, size) matrix of MATLAB's imresize, antialiased bicubic: the loop of its `contributions`."""
    scale = new_size / size
    stretch = min(scale, 1.0)
    reach = math.ceil(4 / stretch) + 2
    matrix = np.zeros((new_size, size))
    for row in range(new_size):
        center = (row + 0.5) / scale - 0.5
        left = math.floor(center - 2 / stretch)
        columns = np.arange(left, left + reach)
        x = np.abs(stretch * (center - columns))
        weights = np.where(
            x <= 1, 1.5 * x**3 - 2.5 * x**2 + 1, np.where(x <= 2, -0.5 * x**3 + 2.5 * x**2 - 4 * x + 2, 0)
        )
        mirrored = np.mod(columns, 2 * size)
        np.add.at(matrix[row], np.where(mirrored < size, mirrored, 2 * size - 1 - mirrored), weights / weights.sum())
    return matrix


def matlab_resize(image: np.ndarray, height: int, width: int) -> np.ndarray:
    rows, columns = matlab_weights(image.shape[0], height), matlab_weights(image.shape[1], width)
    return np.clip(np.einsum("yh,xw,hwc->yxc", rows, columns, image.astype(float), optimize=True), 0, 255)


@pytest.mark.parametrize("scale", [2, 3, 4])
def test_downscale_is_matlabs_borders_included(scale: int) -> None:
    image = photographs.load(spec.photograph("astronaut"))[:96, 100:244]
    low = sr_pairs.downscale(image, scale)
    assert low.shape == (96 // scale, 144 // scale, 3)
    assert np.abs(low - matlab_resize(image, 96 // scale, 144 // scale)).max() < 0.51


@pytest.mark.parametrize("scale", [2, 3, 4])
def test_upscale_is_matlabs_borders_included(scale: int) -> None:
    image = photographs.load(spec.photograph("astronaut"))[:24, 100:136]
    high = sr_pairs.upscale_bicubic(image, scale)
    assert np.abs(high - matlab_resize(image, 24 * scale, 36 * scale)).max() < 0.51


def test_downscale_refuses_a_side_that_is_no_multiple() -> None:
    with pytest.raises(ValueError, match="found an image of 10 x 8; allowed: multiples of the scale 4"):
        sr_pairs.downscale(np.zeros((10, 8, 3), np.uint8), 4)


def test_batches_are_a_function_of_seed_and_step() -> None:
    one = sr_pairs.SrBatches(TRAIN, scale=4, patch=16, batch=3, seed=1)
    other = sr_pairs.SrBatches(TRAIN, scale=4, patch=16, batch=3, seed=1)
    for step in (0, 1, 2):
        one.batch(step)
    for a, b in zip(one.batch(5), other.batch(5), strict=True):
        assert torch.equal(a, b)
    assert not torch.equal(one.batch(5)[0], one.batch(6)[0])
    reseeded = sr_pairs.SrBatches(TRAIN, scale=4, patch=16, batch=3, seed=2)
    assert not torch.equal(one.batch(5)[0], reseeded.batch(5)[0])


@pytest.mark.parametrize("scale", [2, 4])
def test_patches_of_a_pair_show_the_same_place(scale: int) -> None:
    low, high = sr_pairs.SrBatches(TRAIN, scale=scale, patch=16, batch=24, seed=0).batch(0)
    assert low.shape == (24, 3, 16, 16)
    assert high.shape == (24, 3, 16 * scale, 16 * scale)
    assert low.dtype == high.dtype == torch.float32
    for low_patch, high_patch in zip(photographs.to_uint8(low), photographs.to_uint8(high), strict=True):
        inside = slice(2, -2)  # beyond the reach of the kernel, the rest of the photograph does not matter
        again = sr_pairs.downscale(high_patch, scale)[inside, inside]
        assert np.abs(again.astype(int) - low_patch[inside, inside]).max() <= 1


def test_every_flip_and_rotation_occurs(monkeypatch: pytest.MonkeyPatch) -> None:
    high = np.arange(16, dtype=np.uint8).repeat(3).reshape(4, 4, 3)
    monkeypatch.setattr(sr_pairs, "_whole", lambda photograph, scale: (high, high))
    low, _ = sr_pairs.SrBatches(TRAIN[:1], scale=1, patch=4, batch=100, seed=0).batch(0)
    assert len({patch.numpy().tobytes() for patch in low}) == 8


def test_patch_larger_than_a_photograph() -> None:
    with pytest.raises(ValueError, match="patch: found 120; allowed: at most 100, the shorter side of 'coffee'"):
        sr_pairs.SrBatches(TRAIN, scale=4, patch=120, batch=1, seed=0)


def test_evaluation_pairs() -> None:
    test_set = spec.SrPhotographs(name="views", photographs=(spec.photograph("motorcycle_left"),), crop=128)
    (pair,) = sr_pairs.evaluation_pairs(test_set, 4)
    assert (pair.image_name, pair.content) == ("motorcycle_left", "motorcycle")
    assert pair.high.shape == (128, 128, 3)
    np.testing.assert_array_equal(pair.high, photographs.load(test_set.photographs[0])[186:314, 306:434])
    np.testing.assert_array_equal(pair.low, sr_pairs.downscale(pair.high, 4))
    assert 15 < sr_pairs.psnr(sr_pairs.upscale_bicubic(pair.low, 4), pair.high) < 40


def test_evaluation_crop_must_be_a_multiple() -> None:
    test_set = spec.SrPhotographs(name="views", photographs=TRAIN, crop=130)
    with pytest.raises(ValueError, match=r"views: found crop 130; allowed: multiples of the scale 4, e\.g\. 128"):
        sr_pairs.evaluation_pairs(test_set, 4)


def test_psnr() -> None:
    a = np.full((4, 4, 3), 100, np.uint8)
    assert sr_pairs.psnr(a, a + np.uint8(10)) == pytest.approx(20 * math.log10(255 / 10))
    assert sr_pairs.psnr(a / 255, (a + 10) / 255) == pytest.approx(20 * math.log10(255 / 10))
    assert sr_pairs.psnr(torch.zeros(1, 3, 4, 4), torch.full((1, 3, 4, 4), 0.1)) == pytest.approx(20)
    assert sr_pairs.psnr(a, a) == math.inf


def test_psnr_refuses_mixed_types() -> None:
    with pytest.raises(ValueError, match=r"found uint8 \(4, 4, 3\) and float64 \(4, 4, 3\)"):
        sr_pairs.psnr(np.zeros((4, 4, 3), np.uint8), np.zeros((4, 4, 3)))

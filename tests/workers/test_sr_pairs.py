"""Super-resolution pairs: MATLAB's bicubic, patches that show one place, batches that hang on (seed, step) alone."""

import dataclasses
import hashlib
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from orchestrator import spec
from workers.data import photographs, sr_pairs
from workers.sources import DataFolders, MissingSource, Sources

NOWHERE = Sources()
PHOTOGRAPHS = tuple(spec.photograph(name) for name in ("astronaut", "coffee"))
TRAIN = spec.SrPhotographs(name="train", photographs=PHOTOGRAPHS, crop=0)


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
    one = sr_pairs.SrBatches(TRAIN, NOWHERE, scale=4, patch=16, batch=3, seed=1)
    other = sr_pairs.SrBatches(TRAIN, NOWHERE, scale=4, patch=16, batch=3, seed=1)
    for step in (0, 1, 2):
        one.batch(step)
    for a, b in zip(one.batch(5), other.batch(5), strict=True):
        assert torch.equal(a, b)
    assert not torch.equal(one.batch(5)[0], one.batch(6)[0])
    reseeded = sr_pairs.SrBatches(TRAIN, NOWHERE, scale=4, patch=16, batch=3, seed=2)
    assert not torch.equal(one.batch(5)[0], reseeded.batch(5)[0])


@pytest.mark.parametrize("scale", [2, 4])
def test_patches_of_a_pair_show_the_same_place(scale: int) -> None:
    low, high = sr_pairs.SrBatches(TRAIN, NOWHERE, scale=scale, patch=16, batch=24, seed=0).batch(0)
    assert low.shape == (24, 3, 16, 16)
    assert high.shape == (24, 3, 16 * scale, 16 * scale)
    assert low.dtype == high.dtype == torch.float32
    for low_patch, high_patch in zip(photographs.to_uint8(low), photographs.to_uint8(high), strict=True):
        inside = slice(2, -2)  # beyond the reach of the kernel, the rest of the photograph does not matter
        again = sr_pairs.downscale(high_patch, scale)[inside, inside]
        assert np.abs(again.astype(int) - low_patch[inside, inside]).max() <= 1


def test_every_flip_and_rotation_occurs(monkeypatch: pytest.MonkeyPatch) -> None:
    high = np.arange(16, dtype=np.uint8).repeat(3).reshape(4, 4, 3)
    monkeypatch.setattr(sr_pairs, "evaluation_pairs", lambda *_: [sr_pairs.Pair("a", "a", high, high)])
    low, _ = sr_pairs.SrBatches(TRAIN, NOWHERE, scale=1, patch=4, batch=100, seed=0).batch(0)
    assert len({patch.numpy().tobytes() for patch in low}) == 8


def test_patch_larger_than_a_photograph() -> None:
    with pytest.raises(ValueError, match="patch: found 120; allowed: at most 100, the shorter side of 'coffee'"):
        sr_pairs.SrBatches(TRAIN, NOWHERE, scale=4, patch=120, batch=1, seed=0)


def test_evaluation_pairs() -> None:
    test_set = spec.SrPhotographs(name="views", photographs=(spec.photograph("motorcycle_left"),), crop=128)
    (pair,) = sr_pairs.evaluation_pairs(test_set, NOWHERE, 4)
    assert (pair.image_name, pair.content) == ("motorcycle_left", "motorcycle")
    assert pair.high.shape == (128, 128, 3)
    np.testing.assert_array_equal(pair.high, photographs.load(test_set.photographs[0])[186:314, 306:434])
    np.testing.assert_array_equal(pair.low, sr_pairs.downscale(pair.high, 4))
    assert 15 < sr_pairs.psnr(sr_pairs.upscale_bicubic(pair.low, 4), pair.high) < 40


def test_evaluation_crop_must_be_a_multiple() -> None:
    test_set = spec.SrPhotographs(name="views", photographs=PHOTOGRAPHS, crop=130)
    with pytest.raises(ValueError, match=r"views: found crop 130; allowed: multiples of the scale 4, e\.g\. 128"):
        sr_pairs.evaluation_pairs(test_set, NOWHERE, 4)


def test_whole_photographs_are_trimmed_to_a_multiple() -> None:
    chelsea = dataclasses.replace(TRAIN, photographs=(spec.photograph("chelsea"),))  # 300 x 451
    (pair,) = sr_pairs.evaluation_pairs(chelsea, NOWHERE, 4)
    assert (pair.low.shape, pair.high.shape) == ((75, 112, 3), (300, 448, 3))
    np.testing.assert_array_equal(pair.high, photographs.load(chelsea.photographs[0])[:, :448])


# ------------------------------------------------------------------------------------ folders of images

CONTENT = "d0d0"
NAMES = ("0001", "0002", "0003", "0004", "zebra")


def image(height: int, width: int, top: int = 100) -> np.ndarray:
    return photographs.load(spec.photograph("astronaut"))[top : top + height, 50 : 50 + width]


@pytest.fixture
def folders(tmp_path: Path) -> DataFolders:
    """Two folders of images of several sizes, not all multiples of 4."""
    folder = DataFolders("images", (tmp_path / "div2k", tmp_path / "flickr2k"))
    for k, name in enumerate(NAMES):
        file = folder.folders[k > 2] / f"{name}.png"
        file.parent.mkdir(exist_ok=True)
        Image.fromarray(image(64 + k, 80, top=10 * k)).save(file)
    (tmp_path / "div2k/readme.txt").write_text("no image")
    return folder


def pairs_of(folders: DataFolders, tmp_path: Path, scale: int = 4, **changes: Any) -> list[sr_pairs.Pair]:
    whole = spec.SrImages(name="df2k", content=CONTENT, part="all", hold_out=2, crop=0)
    sources = Sources(data={CONTENT: folders}, cache=tmp_path / "cache")
    return sr_pairs.evaluation_pairs(dataclasses.replace(whole, **changes), sources, scale)


@pytest.fixture
def official(folders: DataFolders, tmp_path: Path) -> DataFolders:
    """The same with a low-resolution side that no bicubic gives: 0001x4.png as in DIV2K, and zebra.png."""
    low = (tmp_path / "div2k_x4", tmp_path / "flickr2k_x4")
    for k, name in enumerate(NAMES):
        low[k > 2].mkdir(exist_ok=True)
        file = low[k > 2] / (f"{name}x4.png" if name != "zebra" else "zebra.png")
        Image.fromarray(255 - image(16 + k // 4, 20)).save(file)
    return dataclasses.replace(folders, low=low)


def test_images_and_their_bicubic(folders: DataFolders, tmp_path: Path) -> None:
    pairs = pairs_of(folders, tmp_path)
    assert [(pair.image_name, pair.content) for pair in pairs] == [(name, name) for name in NAMES]
    for k, pair in enumerate(pairs):
        np.testing.assert_array_equal(pair.high, image(64 + k, 80, top=10 * k)[: (64 + k) // 4 * 4])
        np.testing.assert_array_equal(pair.low, sr_pairs.downscale(pair.high, 4))
        assert not pair.low.flags.writeable
    assert pairs_of(folders, tmp_path, scale=3)[1].low.shape == (21, 26, 3)


def test_the_low_resolution_side_is_computed_once_a_node(
    folders: DataFolders, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = pairs_of(folders, tmp_path)
    sr_pairs._images.cache_clear()
    monkeypatch.setattr(sr_pairs, "downscale", None)
    for pair, again in zip(first, pairs_of(folders, tmp_path), strict=True):
        np.testing.assert_array_equal(pair.low, again.low)


def test_the_official_low_resolution_side(official: DataFolders, tmp_path: Path) -> None:
    for k, pair in enumerate(pairs_of(official, tmp_path)):
        np.testing.assert_array_equal(pair.low, 255 - image(16 + k // 4, 20))
        assert pair.high.shape == (4 * pair.low.shape[0], 4 * pair.low.shape[1], 3)


def test_parts_by_the_digest_of_the_name(folders: DataFolders, tmp_path: Path) -> None:
    train, validation = (
        [pair.image_name for pair in pairs_of(folders, tmp_path, part=part)] for part in ("train", "validation")
    )
    digests = {name: hashlib.sha256(name.encode()).hexdigest() for name in NAMES}
    assert len(validation) == 2
    assert max(digests[name] for name in validation) < min(digests[name] for name in train)
    assert sorted(train + validation) == list(NAMES)
    assert len(pairs_of(folders, tmp_path, part="train", hold_out=0)) == 5


@pytest.mark.parametrize(("part", "hold_out"), [("validation", 0), ("train", 5), ("test", 2)])
def test_a_part_without_images(part: str, hold_out: int, folders: DataFolders, tmp_path: Path) -> None:
    message = rf"df2k: found no image in part '{part}' \(hold_out {hold_out}\); allowed: .* 1 to 4, of its 5 images"
    with pytest.raises(ValueError, match=message):
        pairs_of(folders, tmp_path, part=part, hold_out=hold_out)


def test_a_crop_shows_one_place_in_both(folders: DataFolders, official: DataFolders, tmp_path: Path) -> None:
    for found in (folders, official):
        for pair, whole in zip(pairs_of(found, tmp_path, crop=40), pairs_of(found, tmp_path), strict=True):
            assert (pair.low.shape, pair.high.shape) == ((10, 10, 3), (40, 40, 3))
            top = (whole.low.shape[0] - 10) // 2
            np.testing.assert_array_equal(pair.low, whole.low[top : top + 10, 5:15])
            np.testing.assert_array_equal(pair.high, whole.high[4 * top : 4 * top + 40, 20:60])


def test_a_crop_that_an_image_does_not_have(folders: DataFolders, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="df2k: found crop 68; allowed: at most 64 for '0001'"):
        pairs_of(folders, tmp_path, crop=68)


def test_batches_of_images(folders: DataFolders, tmp_path: Path) -> None:
    data = spec.SrImages(name="df2k", content=CONTENT, part="train", hold_out=2, crop=0)
    sources = Sources(data={CONTENT: folders}, cache=tmp_path / "cache")
    batches = sr_pairs.SrBatches(data, sources, scale=4, patch=12, batch=6, seed=0)
    low, high = batches.batch(3)
    assert (low.shape, high.shape) == ((6, 3, 12, 12), (6, 3, 48, 48))
    for one, other in zip((low, high), batches.batch(3), strict=True):
        assert torch.equal(one, other)
    enlarged = torch.nn.functional.interpolate(low, scale_factor=4, mode="bicubic")
    assert (enlarged - high).abs().mean() < 0.05
    with pytest.raises(ValueError, match="patch: found 17; allowed: at most 16, the shorter side of '0001' reduced 4"):
        sr_pairs.SrBatches(data, sources, scale=4, patch=17, batch=6, seed=0)


def test_a_missing_partner(official: DataFolders, tmp_path: Path) -> None:
    (official.low[0] / "0002x4.png").unlink()
    message = (
        r"df2k: found no low-resolution side of .*div2k/0002\.png; allowed: 0002x4\.png or 0002\.png in .*div2k_x4"
    )
    with pytest.raises(ValueError, match=message):
        pairs_of(official, tmp_path)


def test_a_partner_of_the_wrong_size(official: DataFolders, tmp_path: Path) -> None:
    Image.fromarray(image(16, 21)).save(official.low[0] / "0002x4.png")
    with pytest.raises(ValueError, match=r"df2k: found 16 x 21 pixels in .*0002x4\.png; allowed: 16 x 20 at scale 4"):
        pairs_of(official, tmp_path)


def test_two_images_of_one_name(folders: DataFolders, tmp_path: Path) -> None:
    Image.fromarray(image(64, 64)).save(folders.folders[1] / "0001.bmp")
    with pytest.raises(
        ValueError, match=r"df2k: found two images named '0001': .*0001\.png and .*0001\.bmp; allowed: one"
    ):
        pairs_of(folders, tmp_path)


def test_folders_without_images(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"df2k: found no image in .*; allowed: \.png, \.jpg"):
        pairs_of(DataFolders("images", (tmp_path,)), tmp_path)
    with pytest.raises(MissingSource, match=r"data set df2k \(d0d0\)"):
        sr_pairs.evaluation_pairs(
            spec.SrImages(name="df2k", content=CONTENT, part="all", hold_out=0, crop=0), NOWHERE, 4
        )


def test_psnr() -> None:
    a = np.full((4, 4, 3), 100, np.uint8)
    assert sr_pairs.psnr(a, a + np.uint8(10)) == pytest.approx(20 * math.log10(255 / 10))
    assert sr_pairs.psnr(a / 255, (a + 10) / 255) == pytest.approx(20 * math.log10(255 / 10))
    assert sr_pairs.psnr(torch.zeros(1, 3, 4, 4), torch.full((1, 3, 4, 4), 0.1)) == pytest.approx(20)
    assert sr_pairs.psnr(a, a) == math.inf


def test_psnr_refuses_mixed_types() -> None:
    with pytest.raises(ValueError, match=r"found uint8 \(4, 4, 3\) and float64 \(4, 4, 3\)"):
        sr_pairs.psnr(np.zeros((4, 4, 3), np.uint8), np.zeros((4, 4, 3)))

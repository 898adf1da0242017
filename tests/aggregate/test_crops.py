import io

import numpy as np
import pandas as pd
import pytest
from matplotlib import pyplot as plt
from PIL import Image

from orchestrator.aggregate import crops
from orchestrator.aggregate.crops import BESIDE, CROP, FLIP, busiest_window, enlarge, flips, strip_images
from orchestrator.aggregate.figures import strips
from tests.aggregate.conftest import picture


def restored(folder, sizes, losses=("vgg",), seeds=(0,)):
    """`restorations` of every set of `sizes`, {set: {image: (height, width)}}, whose images are there."""
    rows = []
    for data_set, images in sizes.items():
        for loss, seed in [("bicubic", None), *((loss, seed) for loss in losses for seed in seeds)]:
            own = folder / data_set / f"{loss}{seed}"
            for image, (height, width) in images.items():
                pixels = picture(image, 8 * (max(height, width) // 8 + 1))[:height, :width]
                parts = {"images": pixels if loss == "bicubic" else 255 - pixels}
                if loss == "bicubic":
                    parts |= {"reference": pixels, "low_resolution": pixels[::4, ::4]}
                for part, shown in parts.items():
                    (own / part).mkdir(parents=True, exist_ok=True)
                    Image.fromarray(shown).save(own / part / f"{image}.png")
            discriminator = "" if loss == "bicubic" else "none"
            row = {"loss": loss, "discriminator": discriminator, "seed": seed, "data_set": data_set}
            rows.append(row | {"baseline": loss == "bicubic", "status": "done", "folder": str(own)})
    columns = ["loss", "discriminator", "seed", "data_set", "baseline", "status", "folder"]
    return pd.DataFrame(rows, columns=columns).astype({"seed": "Int64"})


def test_crops_fit_images_of_any_size(tmp_path):
    sizes = {"tests": {"small": (40, 32), "medium": (96, 128), "large": (1356, 2040)}}
    found = dict(strip_images(restored(tmp_path, sizes)))
    assert {name: cut[BESIDE, "HR"].shape for name, cut in found.items()} == {
        "small": (32, 32, 3),
        "medium": (CROP, CROP, 3),
        "large": (CROP, CROP, 3),
    }
    for name, cut in found.items():
        assert {crop.shape for crop in cut.values()} == {cut[BESIDE, "HR"].shape}, name
        np.testing.assert_array_equal(cut["none", "vgg"], 255 - cut[BESIDE, "HR"])
        np.testing.assert_array_equal(cut[BESIDE, "LR"], enlarge(cut[BESIDE, "LR"][::4, ::4], 4))
        strip = strips.draw(name, cut)
        plt.close(strip)


def test_images_of_one_name_in_two_sets_are_named_with_their_set(tmp_path):
    sizes = {"set14": {"img_001": (64, 64), "baboon": (64, 64)}, "urban100": {"img_001": (64, 72)}}
    names = [name for name, _ in strip_images(restored(tmp_path, sizes))]
    assert names == ["baboon", "set14-img_001", "urban100-img_001"]


@pytest.mark.parametrize(
    ("most", "expected"),
    [
        (400, ["a0", "a1", "a2", "b0", "b1", "b2"]),
        (8, ["a0", "a1", "b0", "b1"]),  # 2 crops an image besides LR and HR: room for 4 images
        (2, ["a0"]),
        (1, ["a0"]),
    ],
)
def test_the_more_crops_an_image_has_the_fewer_images_are_shown(most, expected, tmp_path, monkeypatch):
    monkeypatch.setattr(crops, "MOST_CROPS", most)
    sizes = {name: {f"{name}{i}": (64, 64) for i in range(4)} for name in "ab"}
    assert [name for name, _ in strip_images(restored(tmp_path, sizes, seeds=(0, 1)))] == expected


def test_a_set_without_its_bicubic_images_is_left_out(tmp_path):
    frame = restored(tmp_path, {"a": {"x": (64, 64)}, "b": {"y": (64, 64)}})
    frame.loc[(frame["loss"] == "bicubic") & (frame["data_set"] == "a"), "status"] = "missing"
    assert [name for name, _ in strip_images(frame)] == ["y"]


def test_the_busiest_window_is_that_of_the_largest_variance():
    image = np.random.default_rng(0).integers(0, 256, (64, 80, 3), dtype=np.uint8)
    image[20:52, 36:68] //= 2
    grey = image.mean(axis=2)
    spreads = {(t, left): grey[t : t + 24, left : left + 24].var() for t in range(0, 41, 4) for left in range(0, 57, 4)}
    assert busiest_window(image, 24, 4) == max(spreads, key=spreads.get)


def test_the_first_of_equal_windows_is_taken():
    assert busiest_window(np.full((100, 120, 3), 77, np.uint8), 48, 4) == (0, 0)
    assert busiest_window(np.full((48, 48, 3), 77, np.uint8), 48, 4) == (0, 0)


def test_crops_to_flip_between_are_at_one_to_one(tmp_path):
    frame = restored(tmp_path, {"a": {"x": (240, 200)}}, losses=("vgg", "vit"))
    frame.loc[frame["loss"] == "vit", "status"] = "missing"
    ((name, found),) = flips(frame)
    assert (name, list(found)) == ("x", [(BESIDE, "LR"), (BESIDE, "bicubic"), ("none", "vgg"), (BESIDE, "HR")])
    pixels = {place: np.asarray(Image.open(io.BytesIO(png))) for place, png in found.items()}
    assert {image.shape for image in pixels.values()} == {(FLIP, FLIP, 3)}
    np.testing.assert_array_equal(pixels["none", "vgg"], 255 - pixels[BESIDE, "HR"])
    assert dict(flips(frame)) == {name: found}

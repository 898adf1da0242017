"""IQA sets: what each image is, that labels are true, which part holds what, and batches that depend on (seed, step)
alone."""

import csv
import dataclasses
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from orchestrator import spec
from workers.data import distortions, iqa_sets, layouts, stand_ins
from workers.data.photographs import to_tensor
from workers.sources import DataFolders, MissingSource, Sources

SPEC = spec.SeverityLadder(
    name="ladder",
    photographs=(spec.photograph("chelsea"), spec.photograph("motorcycle_right")),
    distortions=("gaussian_blur", "white_noise", "jpeg"),
    levels=5,
    crop=64,
    crops=2,
    seed=0,
)


def test_every_crop_under_every_distortion_at_every_level() -> None:
    data = iqa_sets.ladder(SPEC)
    assert len(data) == 2 * 2 * 3 * 5 == len(set(data.images))
    assert data.name == "ladder"
    assert data.reference is not None
    for images, different in ((data.reference, 4), (data.distorted, 60)):
        assert np.stack(images).shape == (60, 64, 64, 3)
        assert np.stack(images).dtype == np.uint8
        assert len({image.tobytes() for image in images}) == different
        assert not any(image.flags.writeable for image in images)
    assert data.images[:6] == (*(f"chelsea_0/gaussian_blur/{k}" for k in range(1, 6)), "chelsea_0/white_noise/1")
    assert data.images[-1] == "motorcycle_right_1/jpeg/5"
    assert set(data.contents) == {"chelsea", "motorcycle"}
    for i, name in enumerate(data.images):
        origin, distortion, _ = name.split("/")
        assert distortion in SPEC.distortions
        assert data.contents[i] == origin.split("_")[0]


def test_quality_is_severity_turned_around() -> None:
    data = iqa_sets.ladder(SPEC)
    assert data.quality.dtype == np.float32
    severity = [int(name.split("/")[2]) for name in data.images]
    np.testing.assert_allclose(data.quality, 1 - np.array(severity) / 5, atol=1e-7)
    assert sorted(set(data.quality.round(3).tolist())) == pytest.approx([0, 0.2, 0.4, 0.6, 0.8])


def test_error_grows_with_severity_against_the_own_reference() -> None:
    data = iqa_sets.ladder(SPEC)
    reference, distorted = data.tensors(range(len(data)))
    assert reference is not None
    errors = (reference - distorted).square().mean((1, 2, 3)).reshape(-1, 5)
    assert (errors.diff(dim=1) > 0).all()
    others = reference.roll(15, 0)  # 15 images a crop
    assert (errors.reshape(-1) < (others - distorted).square().mean((1, 2, 3))).all()


def test_deterministic_from_the_seed_and_cached() -> None:
    first = iqa_sets.ladder(SPEC)
    assert iqa_sets.ladder(dataclasses.replace(SPEC)) is first
    iqa_sets.ladder.cache_clear()
    again = iqa_sets.ladder(SPEC)
    reseeded = iqa_sets.ladder(dataclasses.replace(SPEC, seed=1))
    assert first.reference is not None
    assert again.reference is not None
    assert reseeded.reference is not None
    np.testing.assert_array_equal(first.distorted, again.distorted)
    np.testing.assert_array_equal(first.reference, again.reference)
    assert not np.array_equal(first.reference, reseeded.reference)


def test_a_set_keeps_its_images_when_it_grows() -> None:
    small = iqa_sets.ladder(
        dataclasses.replace(SPEC, photographs=SPEC.photographs[1:], distortions=("jpeg",), levels=3)
    )
    whole = iqa_sets.ladder(SPEC)
    for i, name in enumerate(small.images):
        np.testing.assert_array_equal(small.distorted[i], whole.distorted[whole.images.index(name)])


def test_crops_differ_and_have_texture() -> None:
    rocket = dataclasses.replace(SPEC, photographs=(spec.photograph("rocket"),), crops=3)
    reference = iqa_sets.ladder(rocket).reference
    assert reference is not None
    assert len({crop.tobytes() for crop in reference}) == 3
    assert min(crop.std() for crop in reference) > 10


def test_unchanged_images_get_no_severity() -> None:
    grey = dataclasses.replace(SPEC, photographs=(spec.photograph("camera"),), distortions=("desaturate", "jpeg"))
    data = iqa_sets.ladder(grey)
    assert {name.split("/")[1] for name in data.images} == {"jpeg"}
    with pytest.raises(ValueError, match="ladder: its distortions change none of its photographs"):
        iqa_sets.ladder(dataclasses.replace(grey, distortions=("desaturate",)))


@pytest.mark.parametrize("levels", [0, 6])
def test_levels_beyond_the_tables(levels: int) -> None:
    with pytest.raises(ValueError, match=f"ladder: found {levels} levels; allowed: 1 to {distortions.LEVELS}"):
        iqa_sets.ladder(dataclasses.replace(SPEC, levels=levels))


def test_batches_are_a_function_of_seed_and_step() -> None:
    data = iqa_sets.ladder(SPEC)
    one, other = iqa_sets.IqaBatches(data, batch=8, seed=3), iqa_sets.IqaBatches(data, batch=8, seed=3)
    one.batch(0)
    for a, b in zip(one.batch(9), other.batch(9), strict=True):
        np.testing.assert_array_equal(a, b)
    assert not np.array_equal(one.batch(9).indices, one.batch(10).indices)
    assert not np.array_equal(one.batch(9).indices, iqa_sets.IqaBatches(data, batch=8, seed=4).batch(9).indices)


def test_a_batch_flips_reference_and_distorted_alike() -> None:
    data = iqa_sets.ladder(SPEC)
    batch = iqa_sets.IqaBatches(data, batch=64, seed=0).batch(0)
    reference, distorted = data.tensors(batch.indices)
    assert reference is not None
    assert batch.reference is not None
    flipped = [torch.equal(x, y.flip(-1)) for x, y in zip(batch.reference, reference, strict=True)]
    assert 16 < sum(flipped) < 48
    for i, flip in enumerate(flipped):
        assert torch.equal(batch.distorted[i], distorted[i].flip(-1) if flip else distorted[i])
        if not flip:
            assert torch.equal(batch.reference[i], reference[i])
    np.testing.assert_array_equal(batch.quality.numpy(), data.quality[batch.indices])


@pytest.mark.parametrize("crop", [0, 24])
def test_a_ladders_batches_are_pinned(crop: int) -> None:
    """The draws of a batch: images, then flips, then (for crops) a window of each."""
    data = iqa_sets.ladder(SPEC)
    batch = iqa_sets.IqaBatches(data, batch=8, seed=3, crop=crop).batch(2)
    rng = np.random.default_rng([3, 2])
    indices, flipped = rng.integers(60, size=8), rng.random(8) < 0.5
    np.testing.assert_array_equal(batch.indices, indices)
    for k, i in enumerate(indices):
        top, left = (rng.integers(64 - crop + 1) for _ in "yx") if crop else (0, 0)
        side = crop or 64
        for images, found in ((data.distorted, batch.distorted), (data.reference, batch.reference)):
            assert images is not None
            assert found is not None
            expected = images[i][top : top + side, left : left + side]
            assert torch.equal(found[k], to_tensor(expected[:, ::-1] if flipped[k] else expected))


# --------------------------------------------------------------------------------------- official sets


CONTENT = "c0ffee"


def official(layout: spec.IqaLayout, part: spec.Part = "all", **changes: object) -> spec.IqaDataSet:
    whole = spec.IqaDataSet(name=layout, layout=layout, content=CONTENT, part=part, split=None, crop=0)
    return dataclasses.replace(whole, **changes)  # type: ignore[arg-type]


def sources(layout: str, folder: Path) -> Sources:
    return Sources(data={CONTENT: DataFolders(layout, (folder,))}, cache=folder / "cache")


@pytest.fixture(scope="module")
def kadid(tmp_path_factory: pytest.TempPathFactory) -> Sources:
    folder = tmp_path_factory.mktemp("kadid10k")
    stand_ins.write_iqa("kadid10k", folder, contents=10, per_content=2, side=64)
    return sources("kadid10k", folder)


@pytest.fixture(scope="module")
def koniq(tmp_path_factory: pytest.TempPathFactory) -> Sources:
    folder = tmp_path_factory.mktemp("koniq10k")
    stand_ins.write_iqa("koniq10k", folder, contents=6, per_content=2, side=64)
    return sources("koniq10k", folder)


def test_a_full_reference_set(kadid: Sources) -> None:
    data, folder = iqa_sets.open_set(official("kadid10k"), kadid), kadid.data[CONTENT].folders[0]
    rows = list(csv.DictReader((folder / "dmos.csv").read_text().splitlines()))
    assert data.images == tuple(f"images/{row['dist_img']}" for row in rows)
    assert data.contents == tuple(row["ref_img"].lower().removesuffix(".png") for row in rows)
    assert data.quality.dtype == np.float32
    np.testing.assert_allclose(data.quality, [(float(row["dmos"]) - 1) / 4 for row in rows], rtol=1e-6)
    assert data.reference is not None
    for i, row in enumerate(rows):
        for found, name in ((data.distorted[i], row["dist_img"]), (data.reference[i], row["ref_img"])):
            np.testing.assert_array_equal(found, np.asarray(Image.open(folder / "images" / name)))
            assert not found.flags.writeable


def test_a_set_without_references(koniq: Sources) -> None:
    data = iqa_sets.open_set(official("koniq10k"), koniq)
    assert data.reference is None
    reference, distorted = data.tensors([0, 1])
    assert reference is None
    assert distorted.shape == (2, 3, 64, 64)
    batch = iqa_sets.IqaBatches(data, batch=4, seed=0, crop=32).batch(0)
    assert batch.reference is None
    assert batch.distorted.shape == (4, 3, 32, 32)


def test_the_official_split(koniq: Sources) -> None:
    rows = layouts.read("koniq10k", koniq.data[CONTENT].folders[0])
    parts = {part: iqa_sets.open_set(official("koniq10k", part), koniq) for part in ("train", "validation", "test")}
    for part, data in parts.items():
        assert data.images == tuple(row.image for row in rows if row.split == part)
    assert sum(map(len, parts.values())) == len(rows)


def test_parts_by_reference_share_no_photograph(kadid: Sources) -> None:
    split = spec.ReferenceSplit(seed=1, train=0.6, validation=0.2)
    parts = [
        iqa_sets.open_set(official("kadid10k", part, split=split), kadid) for part in ("train", "validation", "test")
    ]
    contents = [set(data.contents) for data in parts]
    assert [len(found) for found in contents] == [6, 2, 2]
    assert len(set.union(*contents)) == 10
    assert [len(data) for data in parts] == [12, 4, 4]
    everything = sorted(set.union(*contents))
    assert contents[0] == {everything[i] for i in np.random.default_rng(1).permutation(10)[:6]}
    other = iqa_sets.split_contents(everything, dataclasses.replace(split, seed=2))
    assert other["train"] != contents[0]


def test_a_part_without_images(kadid: Sources, koniq: Sources) -> None:
    with pytest.raises(
        ValueError, match=r"kadid10k: found no image in part 'test'; allowed: .*it has none, give fract"
    ):
        iqa_sets.open_set(official("kadid10k", "test"), kadid)
    none_left = spec.ReferenceSplit(seed=0, train=0.9, validation=0.1)
    with pytest.raises(
        ValueError, match="in part 'test'; allowed: fractions that leave one of its 10 contents to each"
    ):
        iqa_sets.open_set(official("kadid10k", "test", split=none_left), kadid)


def test_where_nobody_knows_the_folder() -> None:
    with pytest.raises(MissingSource, match=r"data set kadid10k \(c0ffee\): no folder with that content is known"):
        iqa_sets.open_set(official("kadid10k"), Sources())


def test_a_ladder_needs_no_source() -> None:
    assert iqa_sets.open_set(SPEC, Sources()) is iqa_sets.ladder(SPEC)


def resized(tmp_path: Path, name: str, size: tuple[int, int]) -> Sources:
    """A small KADID-10k one of whose images has another (width, height)."""
    stand_ins.write_iqa("kadid10k", tmp_path, contents=2, per_content=2, side=64)
    Image.open(tmp_path / name).resize(size).save(tmp_path / name)
    return sources("kadid10k", tmp_path)


def test_a_reference_of_another_size(tmp_path: Path) -> None:
    found = resized(tmp_path, "images/I02.png", (70, 64))
    message = (
        r"found images/I02_.*\.png of 64 x 64 pixels and its reference images/I02\.png of 64 x 70 pixels; allowed: eq"
    )
    with pytest.raises(ValueError, match=message):
        iqa_sets.open_set(official("kadid10k"), found)


def test_sizes_that_differ_need_crops(tmp_path: Path) -> None:
    stand_ins.write_iqa("koniq10k", tmp_path, contents=3, per_content=1, side=64)
    name = layouts.read("koniq10k", tmp_path)[1].image
    Image.open(tmp_path / name).resize((80, 48)).save(tmp_path / name)
    data = iqa_sets.open_set(official("koniq10k"), sources("koniq10k", tmp_path))
    message = (
        rf"koniq10k: found '.*' of 64 x 64 pixels and '{name}' of 48 x 80 pixels in one batch; allowed: one size, or cr"
    )
    with pytest.raises(ValueError, match=message):
        iqa_sets.IqaBatches(data, batch=2, seed=0)
    with pytest.raises(ValueError, match=message):
        data.tensors([0, 1])
    with pytest.raises(
        ValueError, match=rf"koniq10k: found crop 49; '{name}' has 48 x 80 pixels: choose a smaller crop"
    ):
        iqa_sets.IqaBatches(data, batch=2, seed=0, crop=49)
    batch = iqa_sets.IqaBatches(data, batch=16, seed=0, crop=48).batch(0)
    assert {0, 1} <= set(batch.indices)
    assert batch.distorted.shape == (16, 3, 48, 48)

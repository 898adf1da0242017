"""Severity ladders: what each image is, that labels are true, and batches that depend on (seed, step) alone."""

import dataclasses

import numpy as np
import pytest
import torch

from orchestrator import spec
from workers.data import distortions, iqa_sets

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
    assert data.reference.shape == (4, 64, 64, 3)
    assert data.distorted.shape == (60, 64, 64, 3)
    assert data.reference.dtype == data.distorted.dtype == np.uint8
    assert data.images[:6] == (*(f"chelsea_0/gaussian_blur/{k}" for k in range(1, 6)), "chelsea_0/white_noise/1")
    assert data.images[-1] == "motorcycle_right_1/jpeg/5"
    assert set(data.contents) == {"chelsea", "motorcycle"}
    for i, name in enumerate(data.images):
        origin, distortion, level = name.split("/")
        assert data.distortions[i] == distortion
        assert data.severity[i] == int(level)
        assert data.contents[i] == origin.split("_")[0]


def test_quality_is_severity_turned_around() -> None:
    data = iqa_sets.ladder(SPEC)
    assert data.quality.dtype == np.float32
    np.testing.assert_allclose(data.quality, 1 - data.severity / 5, atol=1e-7)
    assert sorted(set(data.quality.round(3).tolist())) == pytest.approx([0, 0.2, 0.4, 0.6, 0.8])


def test_error_grows_with_severity_against_the_own_reference() -> None:
    data = iqa_sets.ladder(SPEC)
    reference, distorted = data.tensors(range(len(data)))
    errors = (reference - distorted).square().mean((1, 2, 3)).reshape(-1, 5)
    assert (errors.diff(dim=1) > 0).all()
    others = data.reference[(data.reference_index + 1) % 4].transpose(0, 3, 1, 2) / 255
    assert (errors.reshape(-1).numpy() < ((others - distorted.numpy()) ** 2).mean((1, 2, 3))).all()


def test_deterministic_from_the_seed_and_cached() -> None:
    first = iqa_sets.ladder(SPEC)
    assert iqa_sets.ladder(dataclasses.replace(SPEC)) is first
    iqa_sets.ladder.cache_clear()
    again = iqa_sets.ladder(SPEC)
    np.testing.assert_array_equal(first.distorted, again.distorted)
    np.testing.assert_array_equal(first.reference, again.reference)
    assert not np.array_equal(first.reference, iqa_sets.ladder(dataclasses.replace(SPEC, seed=1)).reference)


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
    assert len({crop.tobytes() for crop in reference}) == 3
    assert min(crop.std() for crop in reference) > 10


def test_unchanged_images_get_no_severity() -> None:
    grey = dataclasses.replace(SPEC, photographs=(spec.photograph("camera"),), distortions=("desaturate", "jpeg"))
    data = iqa_sets.ladder(grey)
    assert set(data.distortions) == {"jpeg"}
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
    flipped = [torch.equal(x, y.flip(-1)) for x, y in zip(batch.reference, reference, strict=True)]
    assert 16 < sum(flipped) < 48
    for i, flip in enumerate(flipped):
        assert torch.equal(batch.distorted[i], distorted[i].flip(-1) if flip else distorted[i])
        if not flip:
            assert torch.equal(batch.reference[i], reference[i])
    np.testing.assert_array_equal(batch.quality.numpy(), data.quality[batch.indices])

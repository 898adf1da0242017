"""Judges: pyiqa's scores, one an image whatever the batch, on inputs that stay as they are."""

import logging

import pytest
import torch

from orchestrator import spec
from workers import judges
from workers.data import photographs, sr_pairs

NAMES = ("psnr", "ssim", "vsi", "gmsd", "fsim", "piqe")
LOWER_BETTER = ("gmsd", "piqe")


@pytest.fixture(scope="module")
def images() -> tuple[torch.Tensor, torch.Tensor]:
    """(restored, reference): three crops of 128 pixels, restored with growing noise."""
    crops = [photographs.central_crop(photographs.load(spec.photograph(name)), 128) for name in ("chelsea", "coffee")]
    reference = torch.stack([photographs.to_tensor(crop) for crop in (*crops, crops[0])])
    noise = torch.randn(reference.shape, generator=torch.Generator().manual_seed(0))
    strength = torch.tensor([0.02, 0.05, 0.15])[:, None, None, None]
    return (reference + strength * noise).clamp(0, 1), reference


@pytest.mark.parametrize("name", NAMES)
def test_a_batch_scores_as_its_images_do(name: str, images: tuple[torch.Tensor, torch.Tensor]) -> None:
    judge = judges.judge(name)
    together = judge.scores(*images)
    alone = [judge.scores(x[None], y[None])[0] for x, y in zip(*images, strict=True)]
    assert together == pytest.approx(alone, rel=1e-5)
    assert judges.judge(name, batch=2).scores(*images) == pytest.approx(alone, rel=1e-5)


@pytest.mark.parametrize("name", NAMES)
def test_more_noise_is_worse_in_the_stated_direction(name: str, images: tuple[torch.Tensor, torch.Tensor]) -> None:
    judge = judges.judge(name)
    assert judge.lower_better == (name in LOWER_BETTER)
    mild, _, strong = judge.scores(*images)  # the same crop
    assert (mild < strong) == judge.lower_better


@pytest.mark.parametrize("name", NAMES)
def test_inputs_stay_as_they_are(name: str, images: tuple[torch.Tensor, torch.Tensor]) -> None:
    before = [x.clone() for x in images]
    state = torch.random.get_rng_state()
    judges.judge(name).scores(*images)
    assert all(torch.equal(x, y) for x, y in zip(images, before, strict=True))
    assert torch.equal(state, torch.random.get_rng_state())


def test_metrics_get_clones_and_no_reference_ones_get_no_reference(images: tuple[torch.Tensor, torch.Tensor]) -> None:
    class Spoiler:
        lower_better, metric_mode = True, "NR"

        def __call__(self, restored: torch.Tensor) -> torch.Tensor:
            return restored.mul_(0).sum((1, 2, 3))[:, None]

    before = images[0].clone()
    assert judges.Judge("spoiler", Spoiler(), batch=2).scores(*images) == [0, 0, 0]
    assert torch.equal(images[0], before)


def test_a_fine_gets_one_image_at_a_time(images: tuple[torch.Tensor, torch.Tensor]) -> None:
    class OnlyOne:
        lower_better, metric_mode = True, "FR"

        def __call__(self, restored: torch.Tensor, reference: torch.Tensor) -> torch.Tensor:
            return (restored - reference).abs().mean()

    assert len(judges.Judge("afine_all", OnlyOne(), batch=16).scores(*images)) == 3
    with pytest.raises(ValueError, match="'mean': found 1 scores for 3 images; allowed: one each"):
        judges.Judge("mean", OnlyOne(), batch=16).scores(*images)


def test_psnr_is_that_of_the_pairs(images: tuple[torch.Tensor, torch.Tensor]) -> None:
    expected = [sr_pairs.psnr(x, y) for x, y in zip(*images, strict=True)]
    assert judges.judge("psnr").scores(*images) == pytest.approx(expected, rel=1e-4)  # pyiqa adds an epsilon


def test_no_reference_needs_none(images: tuple[torch.Tensor, torch.Tensor]) -> None:
    piqe = judges.judge("piqe")
    assert not piqe.full_reference
    assert piqe.scores(images[0]) == piqe.scores(*images)


def test_full_reference_needs_one(images: tuple[torch.Tensor, torch.Tensor]) -> None:
    with pytest.raises(ValueError, match=r"'psnr': reference: found none; allowed: the shape of restored, \(3, 3, 128"):
        judges.judge("psnr").scores(images[0])
    with pytest.raises(ValueError, match=r"found \(1, 3, 128, 128\)"):
        judges.judge("psnr").scores(images[0], images[1][:1])


def test_a_score_that_is_not_finite(images: tuple[torch.Tensor, torch.Tensor]) -> None:
    black = torch.stack([images[0][0], torch.zeros(3, 128, 128)])  # PIQE divides by the image's maximum
    with pytest.raises(ValueError, match="'piqe': the score of image 1 is nan"):
        judges.judge("piqe").scores(black)


@pytest.mark.parametrize("value", [float("nan"), -0.1, 1.1])
def test_pixels_out_of_range(value: float, images: tuple[torch.Tensor, torch.Tensor]) -> None:
    spoilt = images[0].clone()
    spoilt[2, 0, 5, 5] = value
    with pytest.raises(ValueError, match=r"'psnr': restored: found values .* in image 2; allowed: 0 to 1"):
        judges.judge("psnr").scores(spoilt, images[1])


def test_wrong_layout() -> None:
    with pytest.raises(ValueError, match=r"restored: found torch.uint8 \(8, 8, 3\); allowed: float \(N, 3, H, W\)"):
        judges.judge("piqe").scores(torch.zeros(8, 8, 3, dtype=torch.uint8))


def test_unknown_name() -> None:
    with pytest.raises(ValueError, match=r"judge: found 'psnrr'; allowed: .* in all\); did you mean 'psnr'"):
        judges.judge("psnrr")


def test_built_once_and_quietly(caplog: pytest.LogCaptureFixture, capfd: pytest.CaptureFixture[str]) -> None:
    with caplog.at_level(logging.WARNING):
        assert judges.judge("nlpd") is judges.judge("nlpd")
    assert not caplog.records
    assert capfd.readouterr().out == ""


def test_version() -> None:
    import pyiqa  # here, since it takes seconds

    assert judges.version() == pyiqa.__version__

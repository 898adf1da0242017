"""The artifacts judge against its definition, and judgings that compare with the warm-up."""

import dataclasses
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest
import torch
from PIL import Image

from orchestrator import spec
from orchestrator.identity import key
from workers import artifacts, judging
from workers.context import Context
from workers.data.photographs import to_tensor

SIDE = 13


def images(seed: int, height: int = 9, width: int = 12, count: int = 2) -> torch.Tensor:
    """Random 8-bit images: equal values are common only where they are made so."""
    generator = np.random.default_rng(seed)
    return to_tensor(generator.integers(256, size=(count, height, width, 3), dtype=np.uint8))


def naive(restored: np.ndarray, reference: np.ndarray, stable: np.ndarray) -> float:
    """The definition in loops over pixels; (3, H, W) of whole numbers 0 to 255, so that ties are exact."""
    residual, other = (np.abs(image - reference).sum(0) for image in (restored, stable))
    padded, total = np.pad(residual / 255, 3, mode="reflect"), 0.0
    for y, x in np.ndindex(*residual.shape):
        kept = 0.5 if residual[y, x] == other[y, x] else float(residual[y, x] > other[y, x])
        total += kept * np.var(padded[y : y + 7, x : x + 7], ddof=1)
    return float(1000 * np.var(residual / 255, ddof=1) ** 0.2 * total / residual.size)


def test_equals_the_definition_in_loops() -> None:
    reference, restored, stable = images(0), images(1), images(2)
    stable[:, :, ::2] = restored[:, :, ::2]  # ties
    whole = [(x.double().numpy() * 255).round() for x in (restored, reference, stable)]
    expected = [naive(*(x[i] for x in whole)) for i in range(2)]
    assert artifacts.scores(restored, reference, stable) == pytest.approx(expected, rel=1e-6)  # of float32 pixels
    assert min(expected) > 0


def test_one_wrong_pixel_by_hand() -> None:
    reference = torch.zeros(1, 3, SIDE, SIDE)
    restored = reference.clone()
    restored[0, :, 6, 6] = torch.tensor([0.1, 0.2, 0.3])  # residual a = 0.6 in the middle
    # The 49 windows that hold the pixel have the variance a^2 / 49, the image has a^2 / 169. Of the 49 pixels one is
    # worse than in the stable image, which is the reference itself, and 48 are equal to it.
    by_hand = 1000 * (0.36 / 169) ** (1 / 5) * (0.36 / 49) * (1 + 48 / 2) / 169
    assert artifacts.scores(restored, reference, reference) == pytest.approx([by_hand], rel=1e-6)
    assert by_hand == pytest.approx(0.3176, abs=1e-4)
    everywhere = artifacts.artifact_map(restored, reference, reference)[0]
    assert everywhere[6, 6] == pytest.approx(2 * float(everywhere[3, 9]))
    assert int((everywhere > 1e-12).sum()) == 49


def test_the_reference_has_none_and_neither_has_what_is_better_everywhere() -> None:
    reference, stable = images(0), images(1)
    assert artifacts.scores(reference, reference, stable) == [0, 0]
    assert artifacts.scores(reference, reference, reference) == [0, 0]
    better = (reference + stable) / 2  # closer to the reference at each pixel; not the same residual everywhere
    kept = artifacts.artifact_map(better, reference, stable)
    assert kept.max() == 0


def test_a_constant_error_has_no_variance() -> None:
    reference = images(0) / 2
    assert artifacts.scores(reference + 0.25, reference, reference) == pytest.approx([0, 0], abs=1e-9)


def test_the_stable_image_itself_counts_half_and_so_does_what_no_8_bit_image_tells_apart() -> None:
    reference, stable = images(0), images(1)
    whole = artifacts.artifact_map(stable, reference, reference).mean()
    assert artifacts.scores(stable, reference, stable)[0] > 0
    half = artifacts.artifact_map(stable, reference, stable).mean()
    assert float(half) == pytest.approx(float(whole) / 2, rel=0.01)  # some pixels of `stable` are the reference's
    nearly = (stable + 1e-6 * torch.randn(stable.shape, generator=torch.Generator().manual_seed(0))).clamp(0, 1)
    assert artifacts.scores(nearly, reference, stable) == pytest.approx(
        artifacts.scores(stable, reference, stable), rel=1e-4
    )


def test_errors_that_swing_are_worse_than_errors_that_do_not() -> None:
    """The same mean absolute error as a smooth ramp and as noise."""
    reference = torch.full((1, 3, 24, 24), 0.5)
    ramp = torch.linspace(0, 0.2, 24 * 24).reshape(24, 24)
    order = torch.randperm(24 * 24, generator=torch.Generator().manual_seed(0))
    noise = ramp.reshape(-1)[order].reshape(24, 24)
    smooth, swinging = (artifacts.scores(reference + error, reference, reference)[0] for error in (ramp, noise))
    assert swinging > 5 * smooth > 0


def test_local_variance_of_a_large_constant_is_not_negative() -> None:
    assert artifacts.local_variance(torch.full((1, 8, 8), 2.9, dtype=torch.float64)).min() >= 0


@pytest.mark.parametrize(("height", "width"), [(6, 9), (9, 6)])
def test_images_smaller_than_a_window_are_refused(height: int, width: int) -> None:
    small = images(0, height, width)
    assert spec.SMALLEST_IMAGE["artifacts"] == artifacts.WINDOW
    with pytest.raises(ValueError, match=rf"found the shapes .*{height}, {width}.*at least 7 pixels a side"):
        artifacts.scores(small, small, small)


def test_shapes_that_differ_are_refused() -> None:
    with pytest.raises(ValueError, match="judge 'artifacts': found the shapes"):
        artifacts.scores(images(0), images(0), images(0)[:1])


# ------------------------------------------------------------------------------------------------- judgings


def read(folder: Path, name: str) -> torch.Tensor:
    return to_tensor(np.asarray(Image.open(folder / f"{name}.png")))[None]


def judgings(micro: Any) -> list[spec.Judging]:
    return [x for x in micro.specs if isinstance(x, spec.Judging) and x.judge.metric == "artifacts"]


def test_every_restoration_is_judged_against_the_warm_up(micro: Any) -> None:
    restorations = [x for x in micro.specs if isinstance(x, spec.Restoration)]
    (warmup,) = [x for x in restorations if x.super_resolution == micro.trial("warm-up")]
    restored = {key(x) for x in restorations}
    found = judgings(micro)
    assert {key(x.restoration) for x in found if isinstance(x.restoration, spec.Restoration)} == restored
    assert {key(x.against) for x in found if isinstance(x.against, spec.Restoration)} == {key(warmup)}
    others = [x for x in micro.specs if isinstance(x, spec.Judging) and x.judge.metric != "artifacts"]
    assert {x.against for x in others} == {None}


def test_scores_are_those_of_the_pngs_bicubic_included(micro: Any) -> None:
    reference, seen = micro.folder("bicubic") / "reference", 0
    for found in judgings(micro):
        folder, inputs = micro.store.folder("judging", key(found)), micro.inputs(found)
        rows = pq.read_table(folder / "scores.parquet").to_pylist()
        for row in rows:
            restored, stable = (read(inputs[role] / "images", row["image"]) for role in ("restoration", "against"))
            expected = artifacts.scores(restored, read(reference, row["image"]), stable)
            assert row["prediction"] == pytest.approx(expected[0], rel=1e-9)
            assert row["measure"] == "artifacts"
        numbers = micro.store.record("judging", key(found))["numbers"]
        assert numbers == {"mean": pytest.approx(np.mean([row["prediction"] for row in rows])), "lower_better": 1.0}
        seen += len(rows)
    assert seen == 2 * len(judgings(micro)) > 2


def test_it_needs_no_pyiqa(micro: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pyiqa", None)  # importing it is an error now
    found = judgings(micro)[-1]
    assert micro.run(found, tmp_path).numbers == micro.store.record("judging", key(found))["numbers"]


@pytest.mark.parametrize(
    ("name", "against", "message"),
    [
        ("artifacts", None, "judge artifacts: against: found None; allowed: the warm-up's restoration"),
        ("psnr", spec.Parent(kind="restoration", key="0" * 16), "judge psnr: against: found .*; allowed: None"),
    ],
)
def test_only_an_own_judge_compares(name: str, against: Any, message: str, micro: Any, tmp_path: Path) -> None:
    wrong = dataclasses.replace(micro.trial(name), against=against)
    with pytest.raises(ValueError, match=message):
        judging.run(wrong, Context({}, tmp_path))


def test_another_version_of_ours_is_refused(micro: Any, tmp_path: Path) -> None:
    found = micro.trial("artifacts")
    old = dataclasses.replace(found, judge=dataclasses.replace(found.judge, version="asymmetry-sweep 0"))
    message = "judge artifacts: the spec wants asymmetry-sweep 0, installed is asymmetry-sweep 1"
    with pytest.raises(ValueError, match=message):
        micro.run(old, tmp_path)

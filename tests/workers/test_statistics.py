"""Tables of l and s: what a metric computes from images follows from them, and equal ones are computed once a node."""

import dataclasses
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from orchestrator import spec
from workers import statistics
from workers.context import Context
from workers.data.iqa_sets import ladder
from workers.losses.dists import Dists, uniform_weights, with_l2_pooling
from workers.models import backbones
from workers.predictions import metric_quality
from workers.sources import Sources

LADDER = spec.SeverityLadder(
    name="ladder",
    photographs=(spec.photograph("chelsea"),),
    distortions=("gaussian_blur", "jpeg"),
    levels=3,
    crop=32,
    crops=1,
    seed=0,
)
METRIC = spec.FrIqa(
    backbone=spec.Backbone(model="small/vgg"),
    weights=spec.RandomWeights(purpose="loss", seed=0),
    train=LADDER,
    validation=LADDER,
    fit=spec.MetricFit(iterations=1, learning_rate=0.1),
    numerics="reference",
)


@pytest.fixture
def backbone() -> backbones.Backbone:
    return with_l2_pooling(backbones.build("small/vgg", seed=0))


@pytest.fixture
def passes(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Grows by one for each pass over images."""
    found: list[str] = []
    original: Callable[..., Any] = statistics._statistics
    monkeypatch.setattr(statistics, "_statistics", lambda *args: (found.append("pass"), original(*args))[1])
    return found


def context(folder: Path) -> Context:
    return Context({}, folder, sources=Sources(cache=folder))


def test_quality_of_the_table_is_that_of_the_metric(tmp_path: Path, backbone: backbones.Backbone) -> None:
    channels = 3 + sum(backbone.channels)
    weights = torch.rand(2 * channels, generator=torch.Generator().manual_seed(1))
    alpha, beta = (weights / weights.sum()).chunk(2)
    found = statistics.table(backbone, METRIC, LADDER, context(tmp_path))
    expected = metric_quality(Dists(backbone, alpha, beta), ladder(LADDER))
    np.testing.assert_allclose(statistics.quality_of(found, alpha, beta), expected, atol=1e-6)
    assert found.luminance.shape == found.structure.shape == (6, channels)


def test_another_fit_and_a_second_trial_read_the_table(
    tmp_path: Path, backbone: backbones.Backbone, passes: list[str]
) -> None:
    first = statistics.table(backbone, METRIC, LADDER, context(tmp_path))
    refit = dataclasses.replace(METRIC, fit=spec.MetricFit(iterations=9, learning_rate=0.5))
    second = statistics.table(backbone, refit, LADDER, context(tmp_path))
    assert passes == ["pass"]
    assert torch.equal(first.luminance, second.luminance)
    assert torch.equal(first.structure, second.structure)


@pytest.mark.parametrize(
    "change",
    [
        {"weights": spec.RandomWeights(purpose="loss", seed=1)},
        {"weights": spec.ReleasedWeights(content="0" * 64)},
        {"weights": spec.Parent(kind="pretext", key="0" * 16)},
        {"numerics": "fast"},
    ],
)
def test_other_weights_have_another_table(
    tmp_path: Path, backbone: backbones.Backbone, passes: list[str], change: dict[str, Any]
) -> None:
    statistics.table(backbone, METRIC, LADDER, context(tmp_path))
    statistics.table(backbone, dataclasses.replace(METRIC, **change), LADDER, context(tmp_path))
    assert len(passes) == 2


def test_another_set_has_another_table(tmp_path: Path, backbone: backbones.Backbone, passes: list[str]) -> None:
    statistics.table(backbone, METRIC, LADDER, context(tmp_path))
    larger = statistics.table(backbone, METRIC, dataclasses.replace(LADDER, levels=4), context(tmp_path))
    assert len(passes) == 2
    assert len(larger.quality) == 8


def test_uniform_weights_rank_the_levels(tmp_path: Path, backbone: backbones.Backbone) -> None:
    found = statistics.table(backbone, METRIC, LADDER, context(tmp_path))
    quality = statistics.quality_of(found, *uniform_weights(found.luminance.shape[1]))
    assert all(np.diff(quality.reshape(2, 3), axis=1).ravel() < 0), "a stronger distortion is worse"

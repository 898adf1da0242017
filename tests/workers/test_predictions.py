"""Predictions on a whole set: the same in any batch, oriented, and without a trace in the model."""

from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest
import torch

from workers import predictions, weights
from workers.data.iqa_sets import IqaSet, ladder


@pytest.fixture
def data(micro: Any) -> IqaSet:
    return ladder(micro.trial("benchmark").data)


@pytest.mark.parametrize("batch", [1, 5])
@pytest.mark.parametrize("name", ["fr_iqa", "fr", "nr"])
def test_a_batch_predicts_as_its_images_do(
    name: str, batch: int, data: IqaSet, micro: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    def predict() -> np.ndarray:
        if name == "fr_iqa":
            return predictions.metric_quality(weights.load_metric(micro.folder(name)), data)
        return predictions.iqa_quality(weights.load_iqa_model(micro.folder(name)), data).numpy()

    together = predict()
    monkeypatch.setattr(predictions, "BATCH", batch)
    assert together.shape == (len(data),)
    np.testing.assert_allclose(predict(), together, rtol=1e-4, atol=1e-6)


def test_batches_hold_all_images_in_order(data: IqaSet, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(predictions, "BATCH", 5)
    reference, distorted = (torch.cat(images) for images in zip(*predictions.batches(data, "cpu"), strict=True))
    expected_reference, expected_distorted = data.tensors(range(len(data)))
    assert torch.equal(reference, expected_reference)
    assert torch.equal(distorted, expected_distorted)


@pytest.mark.parametrize("training", [True, False])
def test_the_model_keeps_its_mode_and_its_statistics(training: bool, data: IqaSet, micro: Any) -> None:
    metric = weights.load_metric(micro.folder("fr_iqa")).train(training)
    predictions.metric_quality(metric, data)
    assert metric.training == training
    model = weights.load_iqa_model(micro.folder("nr")).train(training)
    before = {name: value.clone() for name, value in model.state_dict().items()}
    scores = predictions.iqa_quality(model, data)
    assert model.training == training
    assert not scores.requires_grad
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())


def test_heavier_distortions_of_an_image_score_lower(data: IqaSet, micro: Any) -> None:
    quality = predictions.metric_quality(weights.load_metric(micro.folder("fr_iqa")), data)
    means = [quality[data.severity == level].mean() for level in (1, 2, 3)]
    assert means == sorted(means, reverse=True)
    assert quality.max() < 0  # -D, and D is 0 only for equal images


@pytest.mark.parametrize("name", ["fr_iqa", "benchmark"])
def test_written_labels_and_predictions_are_higher_for_better_images(name: str, micro: Any) -> None:
    table = pq.read_table(micro.folder(name) / "scores.parquet").to_pandas()
    level = table.image.str.rsplit("/", n=1).str[1].astype(int)
    assert table.label.to_list() == pytest.approx((1 - level / 3).to_list())
    means = table.groupby(level).prediction.mean()
    assert means[1] > means[2] > means[3]

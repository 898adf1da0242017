"""Predictions on a whole set: the same in any batch, oriented, and without a trace in the model."""

import dataclasses
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest
import torch

from workers import predictions, weights
from workers.data.iqa_sets import IqaSet, ladder
from workers.data.photographs import to_tensor


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


def sized(*sizes: tuple[int, int], references: bool = True) -> IqaSet:
    """Noise of these heights and widths."""
    rng = np.random.default_rng(0)
    distorted, reference = (
        tuple(rng.integers(0, 256, (*size, 3), dtype=np.uint8) for size in sizes) for _ in ("distorted", "reference")
    )
    names = tuple(str(i) for i in range(len(sizes)))
    quality = np.linspace(0, 1, len(sizes), dtype=np.float32)
    return IqaSet("sized", names, names, distorted, reference if references else None, quality)


def test_images_of_one_reference_come_together(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(predictions, "BATCH", 3)
    data = sized(*[(32, 40)] * 8)
    assert data.reference is not None
    one, other = data.reference[0], data.reference[1]
    views = (one, other, one[:], one, other, one.copy(), one, one)  # a copy is another reference, a view is not
    data = dataclasses.replace(data, reference=views)
    found = list(predictions.by_reference(data, "cpu"))
    assert [indices for indices, _, _ in found] == [[0, 2, 3], [6, 7], [1, 4], [5]]
    for indices, reference, distorted in found:
        assert reference.shape == (1, 3, 32, 40)
        expected_reference, expected_distorted = data.tensors(indices)
        assert torch.equal(reference.expand(len(indices), -1, -1, -1), expected_reference)
        assert torch.equal(distorted, expected_distorted)


def test_large_images_of_one_reference_come_one_by_one(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(predictions, "PIXELS", 32 * 40)
    data = sized((32, 40), (32, 40))
    data = dataclasses.replace(data, reference=data.reference[:1] * 2)
    assert [indices for indices, _, _ in predictions.by_reference(data, "cpu")] == [[0], [1]]


def test_images_of_one_size_that_follow_each_other_share_a_batch(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(predictions, "BATCH", 3)
    monkeypatch.setattr(predictions, "PIXELS", 2 * 64 * 48)
    data = sized(
        (32, 32), (32, 32), (32, 40), (32, 32), (32, 32), (32, 32), (32, 32), (64, 48), (64, 48), (64, 48), (99, 99)
    )
    found = list(predictions.batches(data, "cpu"))
    assert [tuple(distorted.shape) for _, distorted in found] == [
        (2, 3, 32, 32), (1, 3, 32, 40), (3, 3, 32, 32), (1, 3, 32, 32), (2, 3, 64, 48), (1, 3, 64, 48), (1, 3, 99, 99)
    ]  # fmt: skip
    assert data.reference is not None
    images = ((r, d) for references, distorted in found for r, d in zip(references, distorted, strict=True))
    for i, (reference, distorted) in enumerate(images):
        assert torch.equal(reference, to_tensor(data.reference[i]))
        assert torch.equal(distorted, to_tensor(data.distorted[i]))


@pytest.mark.parametrize(
    ("height", "width", "expected"), [(64, 64, 32), (384, 512, 10), (768, 1024, 2), (1536, 2048, 1)]
)
def test_a_batch_of_larger_images_has_fewer(height: int, width: int, expected: int) -> None:
    image = np.zeros((height, width, 3), np.uint8)
    names = tuple(map(str, range(33)))
    data = IqaSet("large", names, names, (image,) * 33, None, np.zeros(33, np.float32))
    assert [len(run) for run in predictions._runs(data)][:-1] == [expected] * (32 // expected)


@pytest.mark.parametrize("name", ["fr_iqa", "fr", "nr"])
def test_images_of_many_sizes_are_predicted_as_each_alone(name: str, micro: Any) -> None:
    data = sized((64, 64), (64, 64), (48, 80), (64, 64))

    def predict(data: IqaSet) -> np.ndarray:
        if name == "fr_iqa":
            return predictions.metric_quality(weights.load_metric(micro.folder(name)), data)
        return predictions.iqa_quality(weights.load_iqa_model(micro.folder(name)), data).numpy()

    assert data.reference is not None
    alone = [
        predict(IqaSet("one", (n,), (n,), (d,), (r,), data.quality[i : i + 1]))
        for i, (n, d, r) in enumerate(zip(data.images, data.distorted, data.reference, strict=True))
    ]
    np.testing.assert_allclose(predict(data), np.concatenate(alone), rtol=1e-4, atol=1e-6)


def test_a_set_without_references(micro: Any) -> None:
    data, whole = sized((64, 64), (48, 80), references=False), sized((64, 64), (48, 80))
    model = weights.load_iqa_model(micro.folder("nr"))
    assert torch.equal(predictions.iqa_quality(model, data), predictions.iqa_quality(model, whole))
    with pytest.raises(ValueError, match="reference: found None; an FR model needs the reference"):
        predictions.iqa_quality(weights.load_iqa_model(micro.folder("fr")), data)
    with pytest.raises(
        ValueError, match="sized: found no reference images; allowed for a metric: a full-reference set"
    ):
        predictions.metric_quality(weights.load_metric(micro.folder("fr_iqa")), data)


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
    severity = np.array([int(name.split("/")[2]) for name in data.images])
    means = [quality[severity == level].mean() for level in (1, 2, 3)]
    assert means == sorted(means, reverse=True)
    assert quality.max() < 0  # -D, and D is 0 only for equal images


@pytest.mark.parametrize("name", ["fr_iqa", "benchmark"])
def test_written_labels_and_predictions_are_higher_for_better_images(name: str, micro: Any) -> None:
    table = pq.read_table(micro.folder(name) / "scores.parquet").to_pandas()
    level = table.image.str.rsplit("/", n=1).str[1].astype(int)
    assert table.label.to_list() == pytest.approx((1 - level / 3).to_list())
    means = table.groupby(level).prediction.mean()
    assert means[1] > means[2] > means[3]

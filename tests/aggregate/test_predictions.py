import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from orchestrator.aggregate import predictions
from orchestrator.aggregate.ranking import iqa_panel
from tests.aggregate.conftest import cell, predicted


def write(folder, values, labels, images=("a", "b")):
    folder.mkdir()
    columns = {"image": list(images), "content": ["x", "y"], "prediction": values, "label": labels, "seed": [0, 0]}
    schema = pa.schema(
        [(n, pa.string()) for n in ("image", "content")] + [(n, pa.float64()) for n in columns if n[0] in "pl"]
    )
    pq.write_table(pa.table(columns).select(schema.names).cast(schema), folder / "scores.parquet")
    return folder


def test_trials_on_one_set_share_its_images(tmp_path):
    files = {
        "one": write(tmp_path / "one", [1.0, 2.0], [0.5, 0.25]),
        "two": write(tmp_path / "two", [3.0, 4.0], [0.5, 0.25]),
        "other": write(tmp_path / "other", [5.0, 6.0], [0.5, 0.75]),
    }
    found = predictions.read(files)
    assert {key: one.values.tolist() for key, one in found.items()} == {"one": [1, 2], "two": [3, 4], "other": [5, 6]}
    assert found["one"].images is found["two"].images is not found["other"].images
    assert found["one"].images.names.tolist() == ["a", "b"]
    assert found["one"].images.contents.tolist() == ["x", "y"]
    assert found["other"].images.labels.tolist() == [0.5, 0.75]
    assert len(predictions.distinct(found.values())) == 2


def test_absent_labels_are_nan_and_shared_too(tmp_path):
    files = {name: write(tmp_path / name, [1.0, 2.0], [None, None]) for name in ("one", "two")}
    found = predictions.read(files)
    assert np.isnan(found["one"].images.labels).all()
    assert found["one"].images is found["two"].images


def test_nothing_to_read_is_no_error():
    assert predictions.read({}) == {}


def test_trials_are_aligned_by_image():
    """Loss a has the images in another order than b, and one that b lacks."""
    rows = [cell("metric_benchmark", key, loss=key, data_set="ladder") for key in "ab"]
    scores = {
        "a": predicted([3, 1, 2], [0.3, 0.1, 0.2], names=["image2", "image0", "image1"], contents=["z", "x", "y"]),
        "b": predicted([10, 20], [0.1, 0.2], names=["image0", "image1"], contents=["x", "y"]),
    }
    (ladder,) = iqa_panel(pd.DataFrame(rows).astype({"seed": "Int64"}), scores, ["a", "b"], [0]).sets
    np.testing.assert_array_equal(ladder.values[0, 0], [[1, 2, 3], [10, 20, np.nan]])
    assert ladder.labels.tolist() == [0.1, 0.2, 0.3]
    assert ladder.content.tolist() == [0, 1, 2]

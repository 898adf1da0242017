import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from orchestrator.aggregate import predictions
from orchestrator.aggregate.faults import AT_ONCE
from orchestrator.aggregate.panel import iqa_panel
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
    found, faults = predictions.read(files, labelled=True)
    assert faults == {}
    assert {key: one.values.tolist() for key, one in found.items()} == {"one": [1, 2], "two": [3, 4], "other": [5, 6]}
    assert found["one"].images is found["two"].images is not found["other"].images
    assert found["one"].images.names.tolist() == ["a", "b"]
    assert found["one"].images.contents.tolist() == ["x", "y"]
    assert found["other"].images.labels.tolist() == [0.5, 0.75]
    assert len(predictions.distinct(found.values())) == 2


def test_absent_labels_are_nan_and_shared_too(tmp_path):
    files = {name: write(tmp_path / name, [1.0, 2.0], [None, None]) for name in ("one", "two")}
    found, faults = predictions.read(files, labelled=False)
    assert faults == {}
    assert np.isnan(found["one"].images.labels).all()
    assert found["one"].images is found["two"].images


def test_nothing_to_read_is_no_error():
    assert predictions.read({}, labelled=True) == ({}, {})


def test_more_files_than_are_in_memory_at_once_are_read(tmp_path):
    folder, count = write(tmp_path / "one", [1.0, 2.0], [None, None]), 3 * AT_ONCE + 1
    found, _ = predictions.read(dict.fromkeys(map(str, range(count)), folder), labelled=False)
    assert list(found) == [str(i) for i in range(count)]
    assert len(predictions.distinct(found.values())) == 1


def test_the_order_of_images_makes_no_stranger():
    """Two of five trials have other images; one has the same in another order."""
    usual, other = {"names": ["a", "b"], "contents": ["x", "y"]}, {"names": ["a", "c"], "contents": ["x", "y"]}
    turned = {"names": ["b", "a"], "contents": ["y", "x"]}
    found = {
        key: predicted([1.0, 2.0], **images)
        for key, images in zip("pqrst", (other, usual, turned, other, usual), strict=True)
    }
    faults = predictions.strangers({"test set s": "pqrst", "test set t": "ps"}, found)
    why = "scores.parquet is of another version of test set s: 2 images, of which 1 are among the 2 of the others"
    assert faults == dict.fromkeys("ps", why)


def test_of_two_halves_the_first_stands():
    found = {"a": predicted([1.0], [0.5]), "b": predicted([1.0], [0.25])}
    why = "scores.parquet is of another version of nr benchmark s: 1 of 1 labels are not those of the others"
    assert predictions.strangers({"nr benchmark s": "ab"}, found) == {"b": why}
    assert predictions.strangers({"nr benchmark s": "ba"}, found) == {"a": why}


def test_trials_are_aligned_by_image():
    """Loss a has the images in another order than b, and one that b lacks."""
    rows = [cell("metric_benchmark", key, loss=key, data_set="ladder") for key in "ab"]
    scores = {
        "a": predicted([3, 1, 2], [0.3, 0.1, 0.2], names=["image2", "image0", "image1"], contents=["z", "x", "y"]),
        "b": predicted([10, 20], [0.1, 0.2], names=["image0", "image1"], contents=["x", "y"]),
    }
    (ladder,) = iqa_panel(pd.DataFrame(rows).astype({"seed": "Int64"}), scores, ["a", "b"], [0]).sets
    np.testing.assert_array_equal(ladder.values[0, 0, 0], [[1, 2, 3], [10, 20, np.nan]])
    assert ladder.labels.tolist() == [0.1, 0.2, 0.3]
    assert ladder.content.tolist() == [0, 1, 2]

"""Per-image scores of trials, read from their `scores.parquet`: trials on one set share its names, contents and labels.

A large study has millions of them, so they are arrays by trial and never one long table.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from orchestrator.aggregate.correlation import Array

OF_SET = ["image", "content", "label"]
"""The columns that do not depend on the trial."""


@dataclass(frozen=True, eq=False)
class Images:
    """The N images of a set, in the order of its files."""

    names: np.ndarray
    """(N,) str"""
    contents: np.ndarray
    """(N,) str: what each image shows; resampling goes by content."""
    labels: Array
    """(N,); NaN in a set without labels."""


@dataclass(frozen=True, eq=False)
class Predictions:
    """What one trial, a benchmark or a judging, gave to each image of its set."""

    images: Images
    values: Array
    """(N,)"""


def read(folders: Mapping[str, Path]) -> dict[str, Predictions]:
    """The predictions in each trial's folder, by the trial's key."""
    known: dict[int, list[tuple[pa.Table, Images]]] = {}
    found = {}
    for key, folder in folders.items():
        table = pq.ParquetFile(folder / "scores.parquet").read(columns=[*OF_SET, "prediction"])
        images = _images(table.select(OF_SET), known.setdefault(len(table), []))
        found[key] = Predictions(images, _numbers(table["prediction"]))
    return found


def _images(table: pa.Table, known: list[tuple[pa.Table, Images]]) -> Images:
    """The images of a file; those of an equal file that was read before are shared."""
    for other, images in known:
        if table.equals(other):
            return images
    names, contents = (np.array(table[name].to_pylist(), dtype=str) for name in ("image", "content"))
    known.append((table, Images(names, contents, _numbers(table["label"]))))
    return known[-1][1]


def _numbers(column: pa.ChunkedArray) -> Array:
    """float64 with NaN for what is absent."""
    values: Array = column.cast(pa.float64()).to_numpy()
    return values


def distinct(predictions: Iterable[Predictions]) -> list[Images]:
    """The sets of images of some trials, each once."""
    return list({id(one.images): one.images for one in predictions}.values())

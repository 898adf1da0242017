"""Per-image scores of trials, read from their `scores.parquet`: trials on one set share its names, contents and labels.

A large study has millions of them, so they are arrays by trial and never one long table. A trial with a score that is
not finite is unusable as a whole: without that image its mean or correlation would be over another set than others'.
"""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from orchestrator.aggregate.correlation import Array, srcc
from orchestrator.aggregate.faults import Unusable, opened, sift

OF_SET = ["image", "content", "label"]
"""The columns that do not depend on the trial."""
FILE = "scores.parquet"


@dataclass(frozen=True, eq=False)
class Images:
    """The N images of a set, in the order of its files."""

    names: np.ndarray
    """(N,) str, each once"""
    contents: np.ndarray
    """(N,) str: what each image shows; resampling goes by content."""
    labels: Array
    """(N,); NaN in a set without labels."""


@dataclass(frozen=True, eq=False)
class Predictions:
    """What one trial, a benchmark or a judging, gave to each image of its set."""

    images: Images
    values: Array
    """(N,), finite"""

    @cached_property
    def srcc(self) -> float:
        """SRCC with the set's labels: asked for by several tables and in every view, ranked once."""
        return srcc(self.values, self.images.labels)


def read(
    folders: Mapping[str, Path], labelled: bool, digests: Mapping[str, str] | None = None
) -> tuple[dict[str, Predictions], dict[str, str]]:
    """(the predictions in each trial's folder, what is wrong with those that cannot be used), by the trial's key.
    `digests`: SHA-256 of the files as they were written, where it is known.

    A file cannot be used when it is not there, is truncated, lacks a column or rows, names an image twice, or holds a
    prediction, or where its set is `labelled` a label, that is not finite.
    """
    known: dict[int, list[tuple[pa.Table, Images]]] = {}

    def one(_: Path, content: bytes) -> Predictions:
        table = _table(content)
        images = _images(table.select(OF_SET), known.setdefault(len(table), []), labelled)
        return Predictions(images, _finite(table["prediction"], "prediction", images.names))

    return sift(folders, FILE, one, digests=digests)


def _table(content: bytes) -> pa.Table:
    wanted = [*OF_SET, "prediction"]
    with opened(FILE), pq.ParquetFile(pa.BufferReader(content), pre_buffer=False) as file:
        table = file.read(columns=wanted, use_threads=False)  # a thread for each column of a small file costs more
    if lacking := [name for name in wanted if name not in table.column_names]:
        raise Unusable(f"{FILE} lacks the column {', '.join(lacking)}")
    if not len(table):
        raise Unusable(f"{FILE} has no rows")
    return table


def _images(table: pa.Table, known: list[tuple[pa.Table, Images]], labelled: bool) -> Images:
    """The images of a file; those of an equal file that was read before are shared."""
    for other, images in known:
        if table.equals(other):
            return images
    for name in ("image", "content"):
        if table[name].null_count:
            raise Unusable(f"{FILE} has {table[name].null_count} rows without {name}")
    names, contents = (np.array(table[name].to_pylist(), dtype=str) for name in ("image", "content"))
    twice = [name for name, count in Counter(names.tolist()).items() if count > 1]
    if twice:
        raise Unusable(f"{FILE} has {len(twice)} of its images more than once, the first is {twice[0]}")
    labels = _finite(table["label"], "label", names) if labelled else np.full(len(names), np.nan)
    known.append((table, Images(names, contents, labels)))
    return known[-1][1]


def _finite(column: pa.ChunkedArray, name: str, images: np.ndarray) -> Array:
    """float64 (N,). Raises Unusable where a value is absent, NaN or infinite."""
    with opened(f"{FILE}, column {name},"):
        values: Array = column.cast(pa.float64()).to_numpy()
    bad = np.flatnonzero(~np.isfinite(values))
    if bad.size:
        first = f"{images[bad[0]]}: {values[bad[0]]:g}"
        raise Unusable(f"{FILE} has {bad.size} of {len(values)} {name}s that are not finite, the first is {first}")
    return values


def strangers(comparable: Mapping[str, Iterable[str]], found: Mapping[str, Predictions]) -> dict[str, str]:
    """What is wrong with trials whose images, contents or labels are not those of the others that they are compared
    with, by key. `comparable` names the keys of trials on one set in words; of two halves the first one stands."""
    faults: dict[str, str] = {}
    for words, keys in comparable.items():
        present = [key for key in dict.fromkeys(keys) if key in found]
        versions = _versions([found[key].images for key in present])
        if len(set(versions.values())) < 2:
            continue
        of_trial = {key: versions[id(found[key].images)] for key in present}
        usual = Counter(of_trial.values()).most_common(1)[0][0]
        faults |= {
            key: f"{FILE} is of another version of {words}: {_difference(found[key].images, usual)}"
            for key, version in of_trial.items()
            if version is not usual
        }
    return faults


def _versions(parts: Sequence[Images]) -> dict[int, Images]:
    """id of each of `parts` -> the first that holds the same images, contents and labels, in whatever order."""
    versions: list[Images] = []
    found: dict[int, Images] = {}
    for part in parts:
        if id(part) not in found:
            found[id(part)] = next((one for one in versions if not _difference(part, one)), part)
            versions.append(found[id(part)])
    return found


def _difference(part: Images, other: Images) -> str:
    """How two sets of images differ, in words; empty if in their order at most."""
    mine, others = np.argsort(part.names), np.argsort(other.names)
    if not np.array_equal(part.names[mine], other.names[others]):
        shared = np.intersect1d(part.names, other.names).size
        return f"{len(mine)} images, of which {shared} are among the {len(others)} of the others"
    if not np.array_equal(part.contents[mine], other.contents[others]):
        return "its images show other contents than those of the others"
    same = np.isclose(part.labels[mine], other.labels[others], rtol=0, atol=0, equal_nan=True)
    return "" if same.all() else f"{np.sum(~same)} of {len(same)} labels are not those of the others"


def distinct(predictions: Iterable[Predictions]) -> list[Images]:
    """The sets of images of some trials, each once."""
    return list({id(one.images): one.images for one in predictions}.values())

"""pyiqa's meta CSVs: columns by position below a line of names. FR: reference, image, label, ...; NR: image, label, ...

The file says neither range nor direction of its labels (pyiqa keeps both in its options: `mos_range`, `lower_better`),
and its column names mislead: KADID's `dmos` is better when higher, LIVE's `mos` when lower. So the set is known by the
file's name, or `mos.json` beside it says both; labels become 0 (worst) to 1 (best), as with pyiqa's `mos_normalize`.
"""

import math
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

from workers.data.layouts import tables
from workers.data.layouts.no_reference import without_practice
from workers.data.layouts.rows import DataSetError, Listing, OfficialPart, Row, content_of, read_json

# NAME in pyiqa's meta_info_NAMEDataset.csv -> the layout whose official labels it repeats.
SETS = {
    "KADID10k": "kadid10k",
    "TID2013": "tid2013",
    "LIVEIQA": "live",
    "CSIQ": "csiq",
    "KonIQ10k": "koniq10k",
    "SPAQ": "spaq",
    "LIVEChallenge": "live_challenge",
}
SPLIT_COLUMNS = ("official_split", "split")
PARTS: dict[str, OfficialPart] = {
    **dict.fromkeys(("train", "training", "0"), "train"),
    **dict.fromkeys(("val", "validation", "1"), "validation"),
    **dict.fromkeys(("test", "2"), "test"),
}


class Scale(NamedTuple):
    """Range and direction of labels."""

    lower_better: bool
    low: float
    high: float

    def quality(self, label: float) -> float:
        """0 (worst in the range) to 1 (best), affine; a label outside the range goes outside too."""
        position = (label - self.low) / (self.high - self.low)
        return 1 - position if self.lower_better else position


def read(folder: Path, has_references: bool, scales: Mapping[str, Scale]) -> list[Row]:
    """Rows of the one `meta_info*.csv` in `folder`; `scales` by layout. Image names may leave out leading folders."""
    path = _meta_file(folder)
    scale = _scale(path, scales)
    header, lines = tables.csv_table(path)
    label, files = 2 if has_references else 1, Listing(folder)
    if len(header) <= label or _is_number(header[label]):
        expected = "reference, image, label" if has_references else "image, label"
        raise DataSetError([f"{path}:1: found {', '.join(header)}; expected the column names of {expected}, ..."])
    split = next((header.index(name) for name in SPLIT_COLUMNS if name in header), None)

    def row(line: tables.Line) -> Row:
        image = _find(files, line, line.fields[label - 1])
        reference = _find(files, line, line.fields[0]) if has_references else None
        part = None if split is None else _part(line, split)
        return Row(image, reference, scale.quality(line.number(label)), content_of(line.fields[0]), part)

    return tables.rows(without_practice(lines) if _name(path) == "LIVEChallenge" else lines, row)


def _meta_file(folder: Path) -> Path:
    found = sorted(folder.glob("meta_info*.csv"))
    if len(found) != 1:
        names = ", ".join(path.name for path in found) or "none"
        raise DataSetError([f"{folder}: found the files meta_info*.csv: {names}; expected exactly one"])
    return found[0]


def _name(path: Path) -> str:
    return path.stem.removeprefix("meta_info_").removesuffix("Dataset")


def _scale(path: Path, scales: Mapping[str, Scale]) -> Scale:
    options = path.parent / "mos.json"
    if not os.path.exists(options):
        if _name(path) in SETS:
            return scales[SETS[_name(path)]]
        raise DataSetError(
            [
                f"{path}: range and direction of its labels are unknown; expected a meta_info_NAMEDataset.csv of "
                f'{", ".join(SETS)}, or mos.json beside it, e.g. {{"mos_range": [1, 5], "lower_better": false}}'
            ]
        )
    return read_json(options, _own_scale, '{"mos_range": [LOW, HIGH], "lower_better": true or false}')


def _own_scale(found: Any) -> Scale:
    low, high = map(float, found["mos_range"])
    if not low < high or not math.isfinite(high - low) or not isinstance(found["lower_better"], bool):
        raise ValueError("no range or no direction")
    return Scale(found["lower_better"], low, high)


def _find(files: Listing, line: tables.Line, name: str) -> str:
    found = files.ending(name)
    if len(found) > 1:
        raise line.fault(f"found {name} as {' and as '.join(found[:3])}; expected one file whose path ends so")
    return found[0] if found else name


def _part(line: tables.Line, column: int) -> OfficialPart:
    if line.fields[column] not in PARTS:
        raise line.fault(f"found the part {line.fields[column]!r}; expected one of {', '.join(PARTS)}")
    return PARTS[line.fields[column]]


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True

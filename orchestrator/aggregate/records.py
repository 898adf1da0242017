"""What finished trials recorded, of which only what tables and links need is kept.

A record of an older version may lack numbers that today's recipes write: these are holes. Without `numbers`, or without
the direction of a judge, it cannot be used.
"""

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from orchestrator.aggregate.faults import Unusable, opened, sift

NUMBERS = ("lower_better", "validation_psnr", "validation_psnr_bicubic", "validation_psnr_spread")
"""Of judgings the first (1 or 0), of SR trials the others (dB)."""


@dataclass(frozen=True)
class Record:
    """Of one trial. What its record does not say is empty, or NaN."""

    numbers: Mapping[str, float]
    """`NUMBERS`, each."""
    seconds: float
    device: str
    git_commit: str
    git_dirty: bool | None
    digests: Mapping[str, str]
    """SHA-256 of the files that tables and report are made of, by their names."""


def read(folders: Mapping[str, Path], seals: Mapping[str, str]) -> tuple[dict[str, Record], dict[str, str]]:
    """(the record in each trial's folder, what is wrong with those that are not there, are not JSON, are of another
    trial, or whose numbers are none), by the trial's key. `seals`: SHA-256 of the records as they were written."""
    return sift(folders, "record.json", _record, digests=seals)


def _record(folder: Path, content: bytes) -> Record:
    with opened("record.json"):
        found = json.loads(content)
    if not isinstance(found, dict) or not isinstance(found.get("numbers"), dict):
        raise Unusable("record.json has no mapping `numbers`, which every finished trial records")
    if found.get("key", folder.name) != folder.name:
        raise Unusable(f"record.json is of trial {found['key']}: a copied folder")
    source = found.get("provenance")
    source = source if isinstance(source, dict) else {}
    return Record(
        numbers=_numbers(found["numbers"], folder.parent.name),
        seconds=_number(found, "seconds"),
        device=str(found.get("device") or ""),
        git_commit=str(source.get("git_commit") or ""),
        git_dirty=source.get("git_dirty"),
        digests={name: str(digest) for name, digest in _files(found).items() if name.endswith((".parquet", ".png"))},
    )


def _files(found: Mapping[str, Any]) -> dict[str, Any]:
    files = found.get("files")
    return files if isinstance(files, dict) else {}


def _numbers(found: Mapping[str, Any], kind: str) -> dict[str, float]:
    values = {name: _number(found, name) for name in NUMBERS}
    if kind == "judging" and values["lower_better"] not in (0, 1):
        raise Unusable("record.json has no lower_better (1 or 0), without which nobody knows which scores are good")
    return values


def _number(found: Mapping[str, Any], name: str) -> float:
    value = found.get(name, math.nan)
    if not isinstance(value, int | float):
        raise Unusable(f"record.json has {name}: {value!r}, which is no number")
    return float(value)

"""What preflight learns of a data set on disk: everything that is wrong with it, and its content as one digest.

    python -m workers.data.scan < REQUESTS.json

REQUESTS.json is a list of the arguments of `scan`; each manifest is a line of the output, as soon as it is there. Every
image is decoded and hashed once, by threads.
"""

import hashlib
import json
import math
import os
import sys
from collections.abc import Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import redirect_stdout
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from workers.data import layouts
from workers.data.fingerprint import fingerprint
from workers.data.images import MINIMUM_SIDE, Look, look
from workers.data.layouts.rows import Row, relative_files
from workers.data.manifest import Faults, Manifest

__all__ = ["IMAGES", "Manifest", "image_names", "partners", "scan"]

IMAGES = "images"
"""The layout of super-resolution sets: folders of images."""
SUFFIXES = (".png", ".jpg", ".jpeg", ".bmp")


@dataclass(frozen=True)
class _Findings:
    """What the files of a set amount to, before it is said in a manifest."""

    entries: tuple[str, ...] = ()
    """A line of the content digest for each image."""
    images: int = 0
    references: int = 0
    labels: tuple[float, ...] = ()
    bytes: int = 0
    pixels: int = 0
    shortest_side: int = 0


def scan(
    layout: str,
    folders: Sequence[Path],
    low: Sequence[Path] = (),
    scale: int | None = None,
) -> Manifest:
    """Reads a data set: `layout` is one of `layouts.LAYOUTS` with one folder, or IMAGES with any number of folders and
    the official low-resolution side (1 / `scale`) of each in `low`.

    Never raises for what is wrong with the files: that is in `faults`. Raises ValueError for an unknown layout or
    folders that do not match it.
    """
    _check_call(layout, folders, low, scale)
    scale = scale if low else None
    absent = [folder for folder in (*folders, *low) if not os.path.isdir(folder)]
    state = fingerprint(layout, folders, low, scale)  # before it is read: what changes meanwhile is read again
    faults, found = Faults(), _Findings()
    for folder in absent:
        expected = "a folder of images" if layout == IMAGES else f"the {layout} data set"
        faults.add("absent folders", f"{folder}: no such folder; expected {expected}")
    try:
        if layout == IMAGES:
            found = _images(folders, low, scale, faults)
        elif not absent:
            found = _iqa_set(layout, folders[0], faults)
    except Exception as error:  # what nobody thought of must not keep the faults of the other sets from being told
        what = f"not readable as {layout} ({type(error).__name__}: {error})"
        faults.add("unreadable sets", f"{', '.join(map(str, folders))}: {what}; expected its official archive")
    sentences = faults.sentences()
    return Manifest(
        layout=layout,
        folders=tuple(map(str, folders)),
        low=tuple(map(str, low)),
        scale=scale,
        content="" if sentences else hashlib.sha256("\n".join(sorted(found.entries)).encode()).hexdigest(),
        images=found.images,
        references=found.references,
        label_low=min(found.labels, default=None),
        label_high=max(found.labels, default=None),
        bytes=found.bytes,
        pixels=found.pixels,
        shortest_side=found.shortest_side,
        fingerprint=state,
        stand_in=any(os.path.exists(folder / layouts.STAND_IN) for folder in folders),
        faults=sentences,
    )


# -------------------------------------------------------------------------------- sets with labels


def _iqa_set(layout: str, folder: Path, faults: Faults) -> _Findings:
    try:
        rows, made = layouts.read(layout, folder), layouts.stand_in_counts(folder)
    except layouts.DataSetError as error:
        for sentence in error.faults:
            faults.add("faults in label files", sentence)
        # Without labels nobody knows which images belong to the set: all are looked at, so that nothing comes up later.
        _look_at(folder, [name for name in relative_files(folder) if Path(name).suffix.lower() in SUFFIXES], faults)
        return _Findings()
    references = {row.reference for row in rows if row.reference is not None}
    _check_counts(layout, folder, made, len(references), len(rows), faults)
    _check_labels(layout, folder, rows, faults)
    looks = _look_at(folder, {row.image for row in rows} | references, faults)
    for row in rows:
        _check_sizes(folder / row.image, looks.get(row.image), looks.get(row.reference or ""), 1, faults)
    return _Findings(
        entries=tuple(_entry(row, looks) for row in rows),
        images=len(rows),
        references=len(references),
        labels=tuple(row.label for row in rows if math.isfinite(row.label)),
        bytes=sum(seen.bytes for seen in looks.values()),
        pixels=_pixels((looks[row.image] for row in rows if row.image in looks), layouts.LAYOUTS[layout].short_side),
        shortest_side=_shortest(looks[row.image] for row in rows if row.image in looks),
    )


def _pixels(looks: Iterable[Look], short_side: int | None = None) -> int:
    """Of all images together, as trials see them: reduced to `short_side` where the layout says so."""
    sizes = [seen.size for seen in looks if seen.size]
    factors = [min(1.0, short_side / min(size)) if short_side else 1.0 for size in sizes]
    return sum(round(math.prod(size) * factor**2) for size, factor in zip(sizes, factors, strict=True))


def _shortest(looks: Iterable[Look]) -> int:
    return min((min(seen.size) for seen in looks if seen.size), default=0)


def _entry(row: Row, looks: Mapping[str, Look]) -> str:
    digests = [looks[name].sha256 if name in looks else "" for name in (row.image, row.reference or "")]
    return repr((row.image, row.reference, *digests, row.label, row.split))


def _check_counts(
    layout: str, folder: Path, made: Mapping[str, Any], references: int, images: int, faults: Faults
) -> None:
    official = layouts.LAYOUTS[layout]
    source = "its STAND_IN.json says" if made else f"{layout} officially has"
    expected = (made["references"], made["images"]) if made else (official.references, official.images)
    for what, found, count in zip(("references", "labelled images"), (references, images), expected, strict=True):
        if count is not None and found != count:
            faults.add("wrong counts", f"{folder}: found {found:,} {what}; {source} {count:,}")
    if not images:
        faults.add("wrong counts", f"{folder}: found no labelled images")


def _check_labels(layout: str, folder: Path, rows: Sequence[Row], faults: Faults) -> None:
    official = layouts.LAYOUTS[layout]
    for row in rows:
        if not official.low <= row.label <= official.high:
            allowed = f"a finite number from {official.low:g} to {official.high:g}"
            faults.add("wrong labels", f"{folder / row.image}: found the label {row.label:g}; expected {allowed}")


# ------------------------------------------------------------------------------- folders of images


def _images(folders: Sequence[Path], low: Sequence[Path], scale: int | None, faults: Faults) -> _Findings:
    parts = []
    pixels, shortest = 0, []
    stems: dict[str, Path] = {}
    for index, folder in enumerate(folders):
        if folder.is_dir():
            names = image_names(folder)
            _check_names(folder, names, stems, faults)
            looks = _look_at(folder, names, faults)
            pixels += _pixels(looks.values())
            shortest.append(_shortest(looks.values()))
            lows = low[index] if low and low[index].is_dir() else None
            parts.append(_paired(folder, looks, lows, scale or 1, faults))
    entries, sizes = zip(*parts, strict=True) if parts else ((), ())
    lines = tuple(line for lines in entries for line in lines)
    return _Findings(lines, images=len(stems), bytes=sum(sizes), pixels=pixels, shortest_side=min(shortest, default=0))


def _paired(
    folder: Path, looks: Mapping[str, Look], low: Path | None, scale: int, faults: Faults
) -> tuple[list[str], int]:
    """(a line of the content digest for each image, bytes) of one folder and its low-resolution side."""
    pairs = _partners(folder, low, looks, scale, faults) if low else dict.fromkeys(looks, "")
    low_looks = _look_at(low, pairs.values(), faults, minimum_side=1) if low else {}
    for name, partner in pairs.items():
        if low:
            _check_sizes(low / partner, low_looks[partner], looks[name], scale, faults)
    lines = [
        repr((name, looks[name].sha256, partner, low_looks[partner].sha256 if low else ""))
        for name, partner in pairs.items()
    ]
    return lines, sum(seen.bytes for seen in (*looks.values(), *low_looks.values()))


def image_names(folder: Path) -> list[str]:
    """Names of the PNG, JPEG and BMP files directly in `folder`, sorted."""
    return sorted(path.name for path in folder.iterdir() if path.suffix.lower() in SUFFIXES)


def partners(names: Iterable[str], low: Path, scale: int) -> dict[str, str | None]:
    """The low-resolution side of each image: DIV2K's 0001x4.png for 0001.png, or a file of the same name; else None."""
    by_stem = {Path(other).stem: other for other in image_names(low)}
    return {name: by_stem.get(f"{Path(name).stem}x{scale}") or by_stem.get(Path(name).stem) for name in names}


def _partners(folder: Path, low: Path, names: Iterable[str], scale: int, faults: Faults) -> dict[str, str]:
    found = partners(names, low, scale)
    for name, other in found.items():
        if other is None:
            sentence = f"found no low-resolution side in {low}; expected {Path(name).stem}x{scale}.png or {name}"
            faults.add("missing partners", f"{folder / name}: {sentence}")
    return {name: other for name, other in found.items() if other is not None}


def _check_names(folder: Path, names: Sequence[str], stems: dict[str, Path], faults: Faults) -> None:
    made = _counts(folder, faults)
    if not names:
        faults.add("wrong counts", f"{folder}: found no images; expected {', '.join(SUFFIXES)}")
    elif made and made["images"] != len(names):
        faults.add("wrong counts", f"{folder}: found {len(names)} images; its STAND_IN.json says {made['images']}")
    for name in names:
        first = stems.setdefault(Path(name).stem, folder / name)
        if first != folder / name:
            sentence = f"found the name again (first: {first}); expected names that differ before the dot"
            faults.add("equal names", f"{folder / name}: {sentence}")


def _counts(folder: Path, faults: Faults) -> Mapping[str, Any]:
    try:
        return layouts.stand_in_counts(folder)
    except layouts.DataSetError as error:
        for sentence in error.faults:
            faults.add("faults in label files", sentence)
        return {}


# ------------------------------------------------------------------------------------------ files


def _look_at(folder: Path, names: Iterable[str], faults: Faults, minimum_side: int = MINIMUM_SIDE) -> dict[str, Look]:
    """Looks by name; what is wrong with a file becomes a fault. Decoding and hashing release Python's lock."""
    ordered = sorted(set(names))
    with ThreadPoolExecutor(min(32, os.cpu_count() or 1)) as pool:
        looks = dict(zip(ordered, pool.map(lambda name: look(folder / name, minimum_side), ordered), strict=True))
    for name, seen in looks.items():
        if seen.fault:
            faults.add(seen.kind, f"{folder / name}: {seen.fault}")
    return looks


def _check_sizes(path: Path, seen: Look | None, larger: Look | None, scale: int, faults: Faults) -> None:
    """The reference or original must have `scale` times the size, to within the rows that trimming removes."""
    if not (seen and larger and seen.size and larger.size):
        return
    expected = tuple(side // scale for side in larger.size)
    if seen.size != expected:
        found, wanted = (f"{width} x {height}" for width, height in (seen.size, expected))
        of = "its reference" if scale == 1 else f"1/{scale} of its original"
        faults.add("wrong sizes", f"{path}: found {found} pixels; expected {wanted}, the size of {of}")


def _check_call(layout: str, folders: Sequence[Path], low: Sequence[Path], scale: int | None) -> None:
    if layout == IMAGES:
        repeated = len({*folders, *low}) < len(folders) + len(low)
        unmatched = len(low) not in (0, len(folders)) or (low and not (scale and scale > 1))
        if not folders or repeated or unmatched:
            raise ValueError(
                f"scan: found {len(folders)} folders, {len(low)} low-resolution folders and scale {scale}; expected "
                "one folder or more, all different, and a low-resolution folder for each with their scale, or none"
            )
        return
    layouts.check(layout)
    if len(folders) != 1 or low:
        raise ValueError(f"scan: found {len(folders)} folders, {len(low)} low-resolution; expected one for {layout}")


def main() -> None:
    """The command line: a process of its own, so that a file that ends it ends nothing else."""
    out = sys.stdout
    with redirect_stdout(sys.stderr):  # whatever a library prints is no manifest
        for asked in json.load(sys.stdin):
            folders, low = (list(map(Path, asked.pop(name))) for name in ("folders", "low"))
            print(json.dumps(scan(folders=folders, low=low, **asked).to_json()), file=out, flush=True)


if __name__ == "__main__":
    main()

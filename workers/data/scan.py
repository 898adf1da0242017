"""What preflight learns of a data set on disk: everything that is wrong with it, and its content as one digest.

Every image is decoded and hashed once, by threads; a scan that knows an earlier manifest of unchanged files reads none.
Changes that keep name, size and modification time of a file are not seen by that comparison.
"""

import hashlib
import math
import os
from collections.abc import Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from workers.data import layouts
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
    known: Manifest | None = None,
) -> Manifest:
    """Reads a data set: `layout` is one of `layouts.LAYOUTS` with one folder, or IMAGES with any number of folders and
    the official low-resolution side (1 / `scale`) of each in `low`.

    Never raises for what is wrong with the files: that is in `faults`. A `known` manifest without faults is returned as
    it is when the same files have not changed. Raises ValueError for an unknown layout or folders that do not match it.
    """
    _check_call(layout, folders, low, scale)
    scale = scale if low else None
    absent = [folder for folder in (*folders, *low) if not folder.is_dir()]
    fingerprint = "" if absent else _fingerprint(layout, folders, low, scale)
    if known and not known.faults and known.fingerprint == fingerprint:
        return known
    faults, found = Faults(), _Findings()
    for folder in absent:
        expected = "a folder of images" if layout == IMAGES else f"the {layout} data set"
        faults.add("absent folders", f"{folder}: no such folder; expected {expected}")
    if layout == IMAGES:
        found = _images(folders, low, scale, faults)
    elif not absent:
        found = _iqa_set(layout, folders[0], faults)
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
        fingerprint=fingerprint,
        stand_in=any((folder / layouts.STAND_IN).exists() for folder in folders),
        faults=sentences,
    )


# -------------------------------------------------------------------------------- sets with labels


def _iqa_set(layout: str, folder: Path, faults: Faults) -> _Findings:
    try:
        rows = layouts.read(layout, folder)
    except layouts.DataSetError as error:
        for sentence in error.faults:
            faults.add("faults in label files", sentence)
        # Without labels nobody knows which images belong to the set: all are looked at, so that nothing comes up later.
        _look_at(folder, [name for name in relative_files(folder) if Path(name).suffix.lower() in SUFFIXES], faults)
        return _Findings()
    references = {row.reference for row in rows if row.reference is not None}
    _check_counts(layout, folder, len(references), len(rows), faults)
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


def _check_counts(layout: str, folder: Path, references: int, images: int, faults: Faults) -> None:
    official = layouts.LAYOUTS[layout]
    made = layouts.stand_in_counts(folder)
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
    made = layouts.stand_in_counts(folder)
    if not names:
        faults.add("wrong counts", f"{folder}: found no images; expected {', '.join(SUFFIXES)}")
    elif made and made["images"] != len(names):
        faults.add("wrong counts", f"{folder}: found {len(names)} images; its STAND_IN.json says {made['images']}")
    for name in names:
        first = stems.setdefault(Path(name).stem, folder / name)
        if first != folder / name:
            sentence = f"found the name again (first: {first}); expected names that differ before the dot"
            faults.add("equal names", f"{folder / name}: {sentence}")


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


def _fingerprint(layout: str, folders: Sequence[Path], low: Sequence[Path], scale: int | None) -> str:
    digest = hashlib.sha256(repr((layout, list(map(str, folders)), list(map(str, low)), scale)).encode())
    for folder in (*folders, *low):
        for name in sorted(relative_files(folder)):
            path = folder / name
            status = path.stat() if path.exists() else path.lstat()  # a broken link has a state too
            digest.update(repr((name, status.st_size, status.st_mtime_ns)).encode())
    return digest.hexdigest()


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

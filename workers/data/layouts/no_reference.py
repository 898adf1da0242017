"""Sets of photographs as they came out of a camera, without references: each photograph is a content of its own."""

import re
from collections.abc import Sequence
from pathlib import Path

from workers.data.layouts import tables
from workers.data.layouts.rows import DataSetError, Listing, OfficialPart, Row, content_of

KONIQ_COLUMNS = ("image_name", "c1", "c2", "c3", "c4", "c5", "c_total", "MOS", "SD", "set")
KONIQ_PARTS: dict[str, OfficialPart] = {"training": "train", "validation": "validation", "test": "test"}
# LIVE Challenge, readme: the raters practised on t1 to t7, which are the first entries.
PRACTICE = 7


def koniq10k(folder: Path) -> list[Row]:
    """KonIQ-10k (Hosu et al. 2020): `koniq10k_distributions_sets.csv` with the official split. Of `1024x768/`, which
    the raters saw, and `512x384/` the first that is there is taken."""
    files = Listing(folder)
    size = next((size for size in ("1024x768", "512x384") if (folder / size).is_dir()), None)
    if size is None:
        raise DataSetError([f"{folder}: found neither 1024x768/ nor 512x384/; expected one of them with the images"])

    def row(line: tables.Line) -> Row:
        name, part = line.fields[0], line.fields[9]
        if part not in KONIQ_PARTS:
            raise line.fault(f"found the set {part!r}; expected {', '.join(KONIQ_PARTS)}")
        return Row(files.find(f"{size}/{name}"), None, line.number(7), content_of(name), KONIQ_PARTS[part])

    return tables.rows(tables.csv_columns(folder / "koniq10k_distributions_sets.csv", KONIQ_COLUMNS), row)


def spaq(folder: Path) -> list[Row]:
    """SPAQ (Fang et al. 2020): a workbook in `Annotations/`, photographs of phones in `TestImage/`."""
    files = Listing(folder)

    def row(line: tables.Line) -> Row:
        name = line.fields[0]
        return Row(files.find(f"TestImage/{name}"), None, line.number(1), content_of(name), None)

    labels = folder / "Annotations" / "MOS and Image attribute scores.xlsx"
    return tables.rows(tables.sheet(labels, ("Image name", "MOS")), row)


def live_challenge(folder: Path) -> list[Row]:
    """LIVE in the Wild Image Quality Challenge (Ghadiyaram, Bovik 2016): MATLAB vectors in `Data/`. The practice
    images, which come first, are left out."""
    files, labels = Listing(folder), folder / "Data" / "AllMOS_release.mat"
    names = tables.matlab(folder / "Data" / "AllImages_release.mat", "AllImages_release")
    scores = tables.matlab(labels, "AllMOS_release")
    if len(names) != len(scores):
        raise DataSetError([f"{labels}: found {len(scores)} scores; expected {len(names)}, one for each image name"])
    lines = [tables.Line(f"{labels}: entry {k}", entry) for k, entry in enumerate(zip(names, scores, strict=True), 1)]

    def row(line: tables.Line) -> Row:
        name = line.fields[0]
        return Row(files.find(f"Images/{name}"), None, line.number(1), content_of(name), None)

    return tables.rows(without_practice(lines), row)


def without_practice(lines: Sequence[tables.Line]) -> Sequence[tables.Line]:
    """The lines after LIVE Challenge's practice images. Raises DataSetError unless these come first, and only there."""
    practice = [k for k, line in enumerate(lines) if re.fullmatch(r"t[1-7]", content_of(line.fields[0]))]
    if practice != list(range(PRACTICE)):
        found = ", ".join(line.fields[0] for line in lines[:PRACTICE])
        raise DataSetError([f"{lines[0].where if lines else 'labels'}: found {found} first; expected t1 to t7"])
    return lines[PRACTICE:]

"""Sets whose distorted images have a reference: their official archives, unpacked and not rearranged."""

from collections.abc import Sequence
from pathlib import Path

from workers.data.layouts import tables
from workers.data.layouts.rows import DataSetError, Listing, Row, content_of, each, stand_in_counts

# LIVE release 2, readme: the order of the entries of dmos.mat, and how many images of each distortion there are.
LIVE_PARTS = {"jp2k": 227, "jpeg": 233, "wn": 174, "gblur": 174, "fastfading": 174}


def kadid10k(folder: Path) -> list[Row]:
    """KADID-10k (Lin, Hosu, Saupe 2019): `dmos.csv`; `images/` holds references and distorted images alike."""
    files = Listing(folder)

    def row(line: tables.Line) -> Row:
        image, reference = line.fields[:2]
        found = files.find(f"images/{reference}")
        return Row(files.find(f"images/{image}"), found, line.number(2), content_of(reference), None)

    return tables.rows(tables.csv_columns(folder / "dmos.csv", ("dist_img", "ref_img", "dmos", "var")), row)


def tid2013(folder: Path) -> list[Row]:
    """TID2013 (Ponomarenko et al. 2015): `mos_with_names.txt`, lines of `mos i01_01_1.bmp`; I01 is the reference."""
    files = Listing(folder)

    def row(line: tables.Line) -> Row:
        name = line.fields[1]
        reference = name.split("_")[0]
        found = files.find(f"reference_images/{reference}.BMP")
        return Row(files.find(f"distorted_images/{name}"), found, line.number(0), reference.casefold(), None)

    return tables.rows(tables.text(folder / "mos_with_names.txt", ("mos", "name")), row)


def live(folder: Path) -> list[Row]:
    """LIVE release 2 (Sheikh et al. 2006): entry k of `dmos.mat` and `refnames_all.mat` is an image of the folders of
    LIVE_PARTS in their order. Entries with `orgs` 1 are copies of references, shown for comparison: left out."""
    files, labels = Listing(folder), folder / "dmos.mat"
    images = [f"{part}/img{k}.bmp" for part, count in _live_parts(folder).items() for k in range(1, count + 1)]
    vectors = {
        "dmos": tables.matlab(labels, "dmos"),
        "orgs": tables.matlab(labels, "orgs"),
        "refnames_all": tables.matlab(folder / "refnames_all.mat", "refnames_all"),
    }
    if wrong := [f"{name} has {len(vector)}" for name, vector in vectors.items() if len(vector) != len(images)]:
        raise DataSetError([f"{labels}: found that {' and '.join(wrong)} entries; expected {len(images)}"])
    entries = zip(images, *vectors.values(), strict=True)
    lines = [tables.Line(f"{labels}: entry {k}", entry) for k, entry in enumerate(entries, 1)]

    def row(line: tables.Line) -> Row:
        image, _, _, reference = line.fields
        found = files.find(f"refimgs/{reference}")
        return Row(files.find(image), found, line.number(1), content_of(reference), None)

    return tables.rows([line for line in lines if not _is_original(line)], row)


def csiq(folder: Path) -> list[Row]:
    """CSIQ (Larson, Chandler 2010) with the usual `csiq_label.txt`, lines of `1600.AWGN.1.png dmos`."""
    files = Listing(folder)

    def row(line: tables.Line) -> Row:
        name = line.fields[0]
        reference, distortion, *rest = name.split(".")
        if len(rest) != 2:
            raise line.fault(f"found the name {name!r}; expected REFERENCE.DISTORTION.LEVEL.png")
        image = files.find(f"dst_imgs/{distortion}/{name}", f"dst_imgs/{name}")
        found = files.find(f"src_imgs/{reference}.png")
        return Row(image, found, line.number(1), reference.casefold(), None)

    return tables.rows(tables.text(folder / "csiq_label.txt", ("name", "dmos")), row)


def pipal(folder: Path) -> list[Row]:
    """The training part of PIPAL (Gu et al. 2020): `Train_Label/*.txt`, lines of `A0001_00_00.bmp,elo`."""
    files, labels = Listing(folder), sorted((folder / "Train_Label").glob("*.txt"))
    if not labels:
        raise DataSetError([f"{folder / 'Train_Label'}: found no label files; expected one .txt for each reference"])

    def row(line: tables.Line) -> Row:
        name = line.fields[0]
        reference = name.split("_")[0]
        image = files.find(*(f"Distortion_{part}/{name}" for part in (1, 2, 3, 4)))
        found = files.find(f"Train_Ref/{reference}.bmp")
        return Row(image, found, line.number(1), reference.casefold(), None)

    return tables.rows(_all_lines(labels), row)


def _all_lines(labels: Sequence[Path]) -> list[tables.Line]:
    found = each(labels, lambda path: tables.text(path, ("name", "elo"), ","))
    return [line for lines in found for line in lines]


def _live_parts(folder: Path) -> dict[str, int]:
    return dict(stand_in_counts(folder).get("parts", LIVE_PARTS))


def _is_original(line: tables.Line) -> bool:
    flag = line.number(2)
    if flag not in (0, 1):
        raise line.fault(f"found orgs = {flag:g}; expected 1 for a copy of a reference, 0 for a distorted image")
    return flag == 1

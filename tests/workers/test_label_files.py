"""What is said of label files that are not in their official form, and pyiqa's meta CSVs."""

import csv
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from scipy.io import savemat

from workers.data import layouts, scan

# ---------------------------------------------------------------------------------- wrong label files


def test_a_column_too_many_a_bad_number_and_an_image_twice_are_told_at_once(
    copy: Callable[[str], Path], faults: Any
) -> None:
    folder = copy("kadid10k")
    path = folder / "dmos.csv"
    lines = path.read_text().splitlines()
    wrong = [*lines[:2], lines[2].replace(",0.5", ",0.5,1"), lines[3], *lines[4:]]
    path.write_text("\n".join(wrong))
    assert faults("kadid10k", folder) == (f"{path}:3: found 5 fields; expected 4: dist_img, ref_img, dmos, var",)
    label = lines[3].split(",")[2]
    path.write_text("\n".join([*lines[:3], lines[3].replace(label, "good"), lines[1].lower(), *lines[4:]]))
    assert faults("kadid10k", folder) == (
        f"{path}:4: found 'good'; expected a number",
        f"{path}:5: found the image images/I01_01_01.png again (first: {path}:2); expected each image once",
    )
    path.write_text("\n".join(["image,mos", *lines[1:2]]))
    assert faults("kadid10k", folder) == (f"{path}:2: found 4 fields; expected 2: image, mos",)
    path.write_text("image,reference,mos,std\n")
    expected = "found the columns image, reference, mos, std; expected dist_img, ref_img, dmos, var"
    assert faults("kadid10k", folder) == (f"{path}:1: {expected}",)
    path.write_text("")
    assert faults("kadid10k", folder) == (f"{path}:1: found an empty file; expected a line of column names",)
    path.write_bytes(b"\xff\xfe\x00")
    assert "found bytes that are not text" in faults("kadid10k", folder)[0]
    path.unlink()
    expected = "no such label file; expected the data set as its official archive unpacks"
    assert faults("kadid10k", folder) == (f"{path}: {expected}",)
    assert faults("kadid10k", folder / "absent")[0].startswith(
        f"{folder}/absent: no such folder; expected the kadid10k"
    )


@pytest.mark.parametrize(
    ("layout", "file", "old", "new", "sentence"),
    [
        ("tid2013", "mos_with_names.txt", " I01_01_1.bmp", "", ":1: found 1 fields; expected 2: mos, name"),
        ("csiq", "csiq_label.txt", "0.1667", "-", ":1: found '-'; expected a number"),
        ("pipal", "Train_Label/A0002.txt", ",", ";", ":1: found 1 fields; expected 2: name, elo"),
        (
            "koniq10k",
            "koniq10k_distributions_sets.csv",
            "training",
            "trainning",
            ":2: found the set 'trainning'; expected training, validation, test",
        ),
        ("pyiqa_nr", "meta_info_KonIQ10kDataset.csv", ",train", ",9", ":2: found the part '9'; expected one of train"),
    ],
)
def test_a_wrong_line_is_named(
    layout: str, file: str, old: str, new: str, sentence: str, copy: Callable[[str], Path], faults: Any, edit: Any
) -> None:
    folder = copy(layout)
    edit(folder / file, old, new)
    (fault,) = faults(layout, folder)
    assert fault.startswith(f"{folder / file}{sentence}")


def test_wrong_workbooks_and_matlab_files_are_named(copy: Callable[[str], Path], faults: Any) -> None:
    import openpyxl

    folder = copy("spaq")
    path = folder / "Annotations" / "MOS and Image attribute scores.xlsx"
    book = openpyxl.load_workbook(path)
    book.active["B3"] = "fair"
    book.active["A5"] = book.active["A4"].value
    book.save(path)
    assert faults("spaq", folder) == (
        f"{path}:3: found 'fair'; expected a number",
        f"{path}:5: found the image TestImage/00003.jpg again (first: {path}:4); expected each image once",
    )
    book.active["B1"] = "Score"
    book.save(path)
    assert faults("spaq", folder)[0].startswith(f"{path}:1: found the columns Image name, Score, Brightness")
    path.write_bytes(b"no zip")
    assert faults("spaq", folder)[0].startswith(f"{path}: not readable as an Excel workbook")

    folder = copy("live")
    savemat(folder / "refnames_all.mat", {"names": np.zeros(3)})
    expected = "found the variables names; expected refnames_all"
    assert faults("live", folder) == (f"{folder}/refnames_all.mat: {expected}",)
    (folder / "dmos.mat").write_bytes(b"MATLAB 7.3 MAT-file" + bytes(600))
    assert faults("live", folder)[0].startswith(f"{folder}/dmos.mat: not readable as a MATLAB file before version 7.3")


def _deep(path: Path) -> None:
    path.write_text("[" * 100_000)


def _folder(path: Path) -> None:
    path.unlink(missing_ok=True)
    path.mkdir()


def _pipe(path: Path) -> None:
    path.unlink(missing_ok=True)
    os.mkfifo(path)


def _text(text: str) -> Callable[[Path], object]:
    return lambda path: path.write_text(text)


FILE = "found a folder, a pipe or a device; expected a regular file"
SCALE = '; expected {"mos_range": [LOW, HIGH], "lower_better": true or false}'
COUNTS = '; expected {"references": COUNT, "images": COUNT}'
META = "meta_info_KADID10kDataset.csv"


@pytest.mark.parametrize(
    ("layout", "file", "damage", "said"),
    [
        (
            "kadid10k",
            "dmos.csv",
            _text("a,b\n" + "x" * 140_000),
            ":2: field larger than field limit (131072); ",
        ),
        ("kadid10k", "dmos.csv", _folder, f": {FILE}"),
        ("tid2013", "mos_with_names.txt", _pipe, f": {FILE}"),
        ("spaq", "Annotations/MOS and Image attribute scores.xlsx", _pipe, f": {FILE}"),
        ("live", "dmos.mat", _folder, f": {FILE}"),
        ("pyiqa_fr", "mos.json", lambda path: path.write_bytes(b"\xff\xfe{}"), ": found bytes that are not text ("),
        ("pyiqa_fr", "mos.json", _text('{"mos_range": [0, 1' + "0" * 400 + '], "lower_better": true}'), SCALE),
        ("pyiqa_fr", "mos.json", _text('{"mos_range": [0, Infinity], "lower_better": true}'), SCALE),
        ("pyiqa_fr", "mos.json", _deep, SCALE),
        ("pyiqa_fr", "mos.json", _folder, f": {FILE}"),
        ("live", layouts.STAND_IN, _text('{"references": 4, "ima'), COUNTS),
        ("live", layouts.STAND_IN, _text('{"references": 4, "images": "24"}'), COUNTS),
        ("live", layouts.STAND_IN, _text('{"references": 4, "images": 24, "parts": {"jpeg": 1e12}}'), COUNTS),
        ("live", layouts.STAND_IN, _pipe, f": {FILE}"),
        ("hr", layouts.STAND_IN, _deep, COUNTS),
        ("kadid10k", layouts.STAND_IN, lambda path: path.write_bytes(b"\xff"), ": found bytes that are not text ("),
    ],
)
def test_a_damaged_file_is_one_line_that_names_it(
    layout: str, file: str, damage: Callable[[Path], object], said: str, copy: Callable[[str], Path]
) -> None:
    folder = copy(layout)
    damage(folder / file)
    (fault,) = scan.scan("images" if layout == "hr" else layout, [folder]).faults
    assert fault.startswith(f"{folder / file}:")
    assert said in fault
    assert fault.isprintable()
    assert len(fault) < 1100


@pytest.mark.parametrize("reference", [True, False])
@pytest.mark.parametrize("name", ["../../../../etc/passwd", "/etc/passwd", "images/../../I01.png", "I01_01_01.png\0"])
def test_names_that_lead_out_of_the_set_are_refused(
    name: str, reference: bool, copy: Callable[[str], Path], edit: Any
) -> None:
    folder = copy("pyiqa_fr")
    edit(folder / META, "I01.png,I01_01_01.png", f"{name},I01_01_01.png" if reference else f"I01.png,{name}")
    shown = name.replace("\0", "\\x00")
    expected = "expected the path of a file in the data set, without .."
    assert scan.scan("pyiqa_fr", [folder]).faults == (f"{folder / META}:2: found the name '{shown}'; {expected}",)


# ----------------------------------------------------------------------------------- pyiqa's meta CSVs


def test_a_meta_csv_is_turned_and_scaled_by_its_name_or_by_mos_json(copy: Callable[[str], Path], faults: Any) -> None:
    folder = copy("pyiqa_fr")
    path = folder / "meta_info_KADID10kDataset.csv"
    rows = layouts.read("pyiqa_fr", folder)
    with path.open() as file:
        first = next(csv.DictReader(file))
    assert rows[0].label == pytest.approx((float(first["dmos"]) - 1) / 4) == pytest.approx(5 / 6, abs=1e-4)
    assert (rows[0].image, rows[0].reference) == ("images/I01_01_01.png", "images/I01.png")

    path.rename(folder / "meta_info_MineDataset.csv")
    (fault,) = faults("pyiqa_fr", folder)
    assert "range and direction of its labels are unknown" in fault
    assert 'or mos.json beside it, e.g. {"mos_range": [1, 5], "lower_better": false}' in fault
    (folder / "mos.json").write_text('{"mos_range": [0, 10], "lower_better": true}')
    assert layouts.read("pyiqa_fr", folder)[0].label == pytest.approx(1 - float(first["dmos"]) / 10)
    for wrong in ('{"mos_range": [5, 1], "lower_better": true}', '{"mos_range": [1, 5]}', "mos"):
        (folder / "mos.json").write_text(wrong)
        assert f"mos.json: found {wrong}; expected {{" in faults("pyiqa_fr", folder)[0]


def test_a_meta_csv_is_one_file_with_a_header(copy: Callable[[str], Path], faults: Any) -> None:
    folder = copy("pyiqa_fr")
    path = folder / "meta_info_KADID10kDataset.csv"
    shutil.copy(path, folder / "meta_info_other.csv")
    assert "expected exactly one" in faults("pyiqa_fr", folder)[0]
    (folder / "meta_info_other.csv").unlink()
    shutil.copytree(folder / "images", folder / "again")
    assert "found I01_01_01.png as again/I01_01_01.png and as images/I01_01_01.png" in faults("pyiqa_fr", folder)[0]
    shutil.rmtree(folder / "again")
    path.write_text("\n".join(path.read_text().splitlines()[1:]))
    assert f"{path}:1: found I01.png, I01_01_01.png" in faults("pyiqa_fr", folder)[0]


def test_a_meta_csv_of_live_challenge_drops_the_practice_images(copy: Callable[[str], Path]) -> None:
    folder = copy("pyiqa_nr")
    path = folder / "meta_info_KonIQ10kDataset.csv"
    header, *lines = path.read_text().splitlines()
    practice = [f"t{k}.bmp,50,1,train" for k in range(1, 8)]
    (folder / "meta_info_LIVEChallengeDataset.csv").write_text("\n".join([header, *practice, *lines]))
    path.unlink()
    assert len(layouts.read("pyiqa_nr", folder)) == 24

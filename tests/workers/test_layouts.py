"""Official layouts, read from generated copies: what is dropped, which way labels go, and what a wrong file is told."""

import json
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, get_args

import numpy as np
import pytest
from scipy.io import loadmat, savemat

from orchestrator import spec
from workers.data import layouts, stand_ins
from workers.data.layouts import full_reference
from workers.data.layouts.rows import Listing, relative_files

WITH_REFERENCES = ("kadid10k", "tid2013", "live", "csiq", "pipal", "pyiqa_fr")


def test_every_layout_of_the_specs_is_there() -> None:
    assert tuple(layouts.LAYOUTS) == get_args(spec.IqaLayout)
    assert [name for name, layout in layouts.LAYOUTS.items() if layout.has_references] == list(WITH_REFERENCES)
    assert {name for name, layout in layouts.LAYOUTS.items() if layout.lower_better} == {"live", "csiq"}
    assert {name: layout.short_side for name, layout in layouts.LAYOUTS.items() if layout.short_side} == {"spaq": 512}
    assert sum(full_reference.LIVE_PARTS.values()) == 982 == layouts.LAYOUTS["live"].images + 203


@pytest.mark.parametrize("layout", layouts.LAYOUTS)
def test_all_images_and_references_of_a_layout_are_found(layout: str, root: Path) -> None:
    rows = layouts.read(layout, root / layout)
    assert len(rows) == 24 == len({row.image for row in rows})
    assert all((root / layout / row.image).is_file() for row in rows)
    if layout in WITH_REFERENCES:
        assert len({row.reference for row in rows}) == 4 == len({row.content for row in rows})
        assert all(row.reference and (root / layout / row.reference).is_file() for row in rows)
        assert len({(row.reference, row.content) for row in rows}) == 4
    else:
        assert {row.reference for row in rows} == {None}
        assert len({row.content for row in rows}) == 24


@pytest.mark.parametrize("layout", layouts.LAYOUTS)
def test_a_stronger_distortion_has_lower_quality(layout: str, root: Path) -> None:
    rows = layouts.read(layout, root / layout)
    quality = {row.image: layouts.quality(layout, row.label) for row in rows}
    assert all(0 < value < 1 for value in quality.values())
    chain = rows[:5]  # levels 1 to 5 of one distortion, where rows go by photograph
    if layout == "live":  # rows go by folder
        chain = [row for row in rows if row.image.startswith("gblur") and row.content == "photograph0"]
    values = [quality[row.image] for row in chain]
    assert values == pytest.approx([5 / 6, 4 / 6, 3 / 6, 2 / 6, 1 / 6], abs=1e-3)


def test_quality_turns_and_scales_by_the_layout() -> None:
    assert layouts.quality("kadid10k", 5) == 1
    assert layouts.quality("kadid10k", 1) == 0
    assert layouts.quality("kadid10k", 2) == pytest.approx(0.25)
    assert layouts.quality("csiq", 0) == 1
    assert layouts.quality("csiq", 0.3) == pytest.approx(0.7)
    assert layouts.quality("live", 115) == 0
    assert layouts.quality("tid2013", 4.5) == pytest.approx(0.5)
    assert layouts.quality("pyiqa_fr", 0.3) == pytest.approx(0.3)
    with pytest.raises(ValueError, match="did you mean 'kadid10k'"):
        layouts.quality("kadid", 1)
    with pytest.raises(ValueError, match="layout: found 'tid'"):
        layouts.read("tid", Path())


def test_names_are_found_in_any_case(root: Path) -> None:
    folder = root / "tid2013"
    assert "I01_01_1.bmp" in (folder / "mos_with_names.txt").read_text()
    rows = layouts.read("tid2013", folder)
    assert rows[0].image == "distorted_images/i01_01_1.bmp"
    assert rows[0].reference == "reference_images/I01.BMP"
    assert rows[-1].reference == "reference_images/i04.bmp"
    assert {row.content for row in rows} == {"i01", "i02", "i03", "i04"}


def test_the_listing_prefers_the_exact_name_and_keeps_an_absent_one(tmp_path: Path) -> None:
    for name in ("a/X.png", "a/x.png", "b/c/Y.png"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    files = Listing(tmp_path)
    assert files.find("a/X.png") == "a/X.png"
    assert files.find("a/x.png") == "a/x.png"
    assert files.find("b/y.png", "B/C/y.PNG") == "b/c/Y.png"
    assert files.find("b/z.png", "c/z.png") == "b/z.png"
    assert list(files.ending("c/y.png")) == ["b/c/Y.png"]
    assert list(files.ending("x.png")) == ["a/X.png", "a/x.png"]
    assert list(files.ending("z.png")) == []


def test_live_drops_the_originals_in_each_folder(root: Path) -> None:
    found = loadmat(root / "live" / "dmos.mat")
    assert found["orgs"].sum() == 5
    assert found["dmos"].shape == (1, 29)
    rows = layouts.read("live", root / "live")
    assert not [row for row in rows if row.image.endswith("/img1.bmp")]
    parts = json.loads((root / "live" / layouts.STAND_IN).read_text())["parts"]
    counts = {part: sum(row.image.startswith(f"{part}/") for row in rows) + 1 for part in full_reference.LIVE_PARTS}
    assert counts == parts
    assert list(parts) == ["jp2k", "jpeg", "wn", "gblur", "fastfading"]


def test_live_counts_entries_as_release_2_has_them(copy: Callable[[str], Path], faults: Any) -> None:
    folder = copy("live")
    (folder / layouts.STAND_IN).unlink()
    expected = "found that dmos has 29 and orgs has 29 and refnames_all has 29 entries; expected 982"
    assert faults("live", folder) == (f"{folder}/dmos.mat: {expected}",)


def test_the_whole_of_live_by_its_official_order(tmp_path: Path) -> None:
    originals = np.zeros((1, 982), dtype=np.uint8)
    originals[0, [0, 300, *range(781, 982)]] = 1
    names = np.empty((1, 982), dtype=object)
    names[0, :] = [f"ref{k % 29}.bmp" for k in range(982)]
    savemat(tmp_path / "dmos.mat", {"dmos": np.arange(982.0)[None] / 10, "orgs": originals})
    savemat(tmp_path / "refnames_all.mat", {"refnames_all": names})
    rows = layouts.read("live", tmp_path)
    assert len(rows) == 779
    by_image = {row.image: row for row in rows}
    assert by_image["jp2k/img2.bmp"].label == 0.1
    assert by_image["jpeg/img1.bmp"].label == 22.7
    assert by_image["jpeg/img233.bmp"].label == 45.9
    assert by_image["wn/img1.bmp"].label == 46.0
    assert by_image["gblur/img1.bmp"].label == 63.4
    assert by_image["gblur/img1.bmp"].content == "ref25"
    assert "jp2k/img1.bmp" not in by_image
    assert not [image for image in by_image if image.startswith("fastfading")]


def test_live_refuses_marks_that_are_neither_yes_nor_no(copy: Callable[[str], Path], faults: Any) -> None:
    folder = copy("live")
    found = loadmat(folder / "dmos.mat")
    originals = found["orgs"].copy()
    originals[0, 3] = 2
    savemat(folder / "dmos.mat", {"dmos": found["dmos"], "orgs": originals})
    expected = "found orgs = 2; expected 1 for a copy of a reference, 0 for a distorted image"
    assert faults("live", folder) == (f"{folder}/dmos.mat: entry 4: {expected}",)


def test_csiq_lies_in_a_folder_a_distortion_or_in_one(copy: Callable[[str], Path], faults: Any, edit: Any) -> None:
    folder = copy("csiq")
    rows = layouts.read("csiq", folder)
    assert rows[0].image == "dst_imgs/BLUR/photo0.BLUR.1.png"
    assert rows[0].reference == "src_imgs/photo0.png"
    (folder / "dst_imgs" / "BLUR").rename(folder / "dst_imgs" / "blur")
    assert layouts.read("csiq", folder)[0].image == "dst_imgs/blur/photo0.BLUR.1.png"
    (folder / "dst_imgs/blur/photo0.BLUR.1.png").rename(folder / "dst_imgs/photo0.BLUR.1.png")
    assert layouts.read("csiq", folder)[0].image == "dst_imgs/photo0.BLUR.1.png"
    edit(folder / "csiq_label.txt", "photo0.BLUR.1.png", "photo0.png")
    expected = "found the name 'photo0.png'; expected REFERENCE.DISTORTION.LEVEL.png"
    assert faults("csiq", folder) == (f"{folder}/csiq_label.txt:1: {expected}",)


def test_pipal_is_spread_over_four_folders(root: Path, tmp_path: Path, faults: Any) -> None:
    rows = layouts.read("pipal", root / "pipal")
    assert {row.image.split("/")[0] for row in rows} == {f"Distortion_{k}" for k in (1, 2, 3, 4)}
    assert {row.reference for row in rows} == {f"Train_Ref/A000{k}.bmp" for k in (1, 2, 3, 4)}
    (tmp_path / "Train_Label").mkdir()
    assert "found no label files; expected one .txt for each reference" in faults("pipal", tmp_path)[0]


def test_official_splits(root: Path) -> None:
    for layout in ("koniq10k", "pyiqa_nr"):
        rows = layouts.read(layout, root / layout)
        assert [row.split for row in rows] == ["train"] * 12 + ["validation"] * 6 + ["test"] * 6
    for layout in ("kadid10k", "spaq", "live_challenge", "pyiqa_fr"):  # pyiqa's random splits are not official
        assert {row.split for row in layouts.read(layout, root / layout)} == {None}


def test_koniq_takes_the_larger_images_that_are_there(copy: Callable[[str], Path], faults: Any) -> None:
    folder = copy("koniq10k")
    assert layouts.read("koniq10k", folder)[0].image == "512x384/00001.jpg"
    shutil.copytree(folder / "512x384", folder / "1024x768")
    assert layouts.read("koniq10k", folder)[0].image == "1024x768/00001.jpg"
    shutil.rmtree(folder / "1024x768")
    shutil.rmtree(folder / "512x384")
    assert "found neither 1024x768/ nor 512x384/" in faults("koniq10k", folder)[0]


def test_live_challenge_drops_its_practice_images(copy: Callable[[str], Path], faults: Any) -> None:
    folder = copy("live_challenge")
    names = loadmat(folder / "Data" / "AllImages_release.mat")["AllImages_release"]
    assert [str(name[0][0]) for name in names[:8]] == [f"t{k}.bmp" for k in range(1, 8)] + ["00001.JPG"]
    rows = layouts.read("live_challenge", folder)
    assert [row.image for row in rows[:2]] == ["Images/00001.JPG", "Images/00002.bmp"]
    savemat(folder / "Data" / "AllImages_release.mat", {"AllImages_release": names[::-1]})
    assert "first; expected t1 to t7" in faults("live_challenge", folder)[0]
    savemat(folder / "Data" / "AllImages_release.mat", {"AllImages_release": names[7:]})
    assert "found 31 scores; expected 24, one for each image name" in faults("live_challenge", folder)[0]


# -------------------------------------------------------------------------------------------- the rest


def test_the_planner_can_use_it_without_torch() -> None:
    program = (
        "import sys, workers.data.layouts, workers.data.scan, workers.data.stand_ins; print('torch' in sys.modules)"
    )
    ended = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert ended.stdout == "False\n"


def test_stand_ins_refuse_what_they_cannot_make(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="found 4 contents x 26; allowed: 1 or more x 1 to 25"):
        stand_ins.write_iqa("csiq", tmp_path, per_content=26)
    with pytest.raises(ValueError, match="found side 5000; allowed: up to 1411 pixels"):
        stand_ins.write_iqa("csiq", tmp_path, side=5000)
    with pytest.raises(ValueError, match="layout: found 'ava'"):
        stand_ins.write_iqa("ava", tmp_path)


def test_stand_ins_depend_on_the_seed_alone(root: Path, tmp_path: Path) -> None:
    stand_ins.write_iqa("kadid10k", tmp_path / "again", side=64)
    stand_ins.write_iqa("kadid10k", tmp_path / "other", side=64, seed=1)
    name = "images/I02_02_03.png"
    assert (tmp_path / "again" / name).read_bytes() == (root / "kadid10k" / name).read_bytes()
    assert (tmp_path / "other" / name).read_bytes() != (root / "kadid10k" / name).read_bytes()


# -------------------------------------------------------------------------------------------- folders


def test_links_are_followed_once_and_never_back(tmp_path: Path) -> None:
    folder, elsewhere = tmp_path / "set", tmp_path / "elsewhere"
    (folder / "a" / "b").mkdir(parents=True)
    elsewhere.mkdir()
    for file in (folder / "1.png", folder / "a" / "2.png", folder / "a" / "b" / "3.png", elsewhere / "4.png"):
        file.touch()
    (folder / "link").symlink_to(elsewhere)
    (folder / "same").symlink_to(folder / "a")  # in the set: the labels may call it so
    (folder / "z").symlink_to(elsewhere)  # a second time
    (folder / "a" / "out").symlink_to(tmp_path)  # where the set is met again
    (folder / "broken").symlink_to("nowhere")
    (folder / "itself").symlink_to("itself")
    inside = ["1.png", "a/2.png", "a/b/3.png", "broken", "itself", "same/2.png", "same/b/3.png"]
    expected = sorted([*inside, "a/out/elsewhere/4.png", "link/4.png"])
    assert sorted(relative_files(folder)) == expected
    for k in range(40):  # followed wherever they are met, 40 links back make more paths than can be counted
        (folder / "a" / "b" / f"up{k}").symlink_to(folder)
        (elsewhere / f"up{k}").symlink_to(elsewhere)
        (folder / f"aside{k}").symlink_to(folder / "a" / "b")
    found = sorted(relative_files(folder))
    assert [name for name in found if not name.startswith("aside")] == expected
    assert [name for name in found if name.startswith("aside")] == ["aside0/3.png"]

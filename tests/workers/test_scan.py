"""Scans: every fault has its sentence, contents follow what files say and not where they lie."""

import dataclasses
import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from workers.data import layouts, scan
from workers.data.fingerprint import fingerprint
from workers.data.manifest import Manifest

Copy = Callable[[str], Path]
ROOT = Path(__file__).parents[2]


def scan_one(layout: str, folder: Path) -> Manifest:
    return scan.scan(layout, [folder])


@pytest.mark.parametrize("layout", layouts.LAYOUTS)
def test_a_stand_in_is_sound_and_says_what_it_is(layout: str, root: Path) -> None:
    found = scan_one(layout, root / layout)
    official = layouts.LAYOUTS[layout]
    assert found.faults == ()
    assert found.stand_in
    assert (found.images, found.references) == (24, 4 if official.has_references else 0)
    assert found.label_low is not None
    assert found.label_high is not None
    assert official.low < found.label_low < found.label_high < official.high
    assert len(found.content) == 64 == len(found.fingerprint)
    rows = layouts.read(layout, root / layout)
    files = {row.image for row in rows} | {row.reference for row in rows if row.reference}
    assert found.bytes == sum((root / layout / name).stat().st_size for name in files)
    assert Manifest.from_json(json.loads(json.dumps(found.to_json()))) == found


def test_a_manifest_of_other_fields_is_refused(root: Path) -> None:
    found = scan_one("csiq", root / "csiq").to_json()
    del found["bytes"]
    with pytest.raises(ValueError, match=r"manifest: found the fields .* expected \['bytes', .*: scan the set again"):
        Manifest.from_json(found)


# --------------------------------------------------------------------------------------------- content


@pytest.mark.parametrize("layout", ["kadid10k", "live", "koniq10k"])
def test_content_is_the_same_wherever_the_folder_lies(layout: str, root: Path, copy: Copy) -> None:
    here, there = scan_one(layout, root / layout), scan_one(layout, copy(layout))
    assert here.content == there.content
    assert here.fingerprint != there.fingerprint
    assert dataclasses.replace(here, folders=there.folders, fingerprint=there.fingerprint) == there


def test_content_follows_pixels_labels_names_and_parts(copy: Copy, edit: Any) -> None:
    folder = copy("koniq10k")
    contents = [scan_one("koniq10k", folder).content]
    image, labels = folder / "512x384" / "00004.jpg", folder / "koniq10k_distributions_sets.csv"
    pixels = Image.open(image).convert("RGB")
    pixels.putpixel((3, 4), (255, 0, 255))
    pixels.save(image, quality=95)
    contents.append(scan_one("koniq10k", folder).content)
    edit(labels, "83.3333", "83.3334")
    contents.append(scan_one("koniq10k", folder).content)
    edit(labels, ",training", ",test")
    contents.append(scan_one("koniq10k", folder).content)
    image.rename(folder / "512x384" / "4.jpg")
    edit(labels, "00004.jpg", "4.jpg")
    contents.append(scan_one("koniq10k", folder).content)
    assert len(set(contents)) == 5
    edit(labels, "c1,", "c1,")  # written again: another time, the same content
    assert scan_one("koniq10k", folder).content == contents[-1]


def test_content_of_images_follows_both_sides_and_no_order_of_folders(root: Path, copy: Copy) -> None:
    folders = [root / "hr", root / "more"]
    lows = [root / f"{folder.name}_LR_bicubic" / "X4" for folder in folders]
    both = scan.scan("images", folders, lows, 4)
    assert both.faults == ()
    assert (both.images, both.references, both.label_low, both.stand_in) == (4, 0, None, True)
    assert scan.scan("images", folders[::-1], lows[::-1], 4).content == both.content
    alone = scan.scan("images", folders)
    assert alone.content != both.content
    assert alone.content == scan.scan("images", folders, scale=2).content
    folder = copy("hr")
    (folder / layouts.STAND_IN).unlink()
    assert not scan_one("images", folder).stand_in
    assert scan_one("images", folder).content == scan_one("images", root / "hr").content


def test_the_state_of_files_follows_names_sizes_and_times(copy: Copy) -> None:
    folder = copy("kadid10k")
    image = folder / "images" / "I01_01_01.png"

    def state() -> str:
        return fingerprint("kadid10k", [folder])

    first, before = state(), image.stat()
    assert scan_one("kadid10k", folder).fingerprint == first
    image.write_bytes(bytes(before.st_size))
    os.utime(image, ns=(before.st_atime_ns, before.st_mtime_ns))
    assert state() == first  # nothing is read
    assert "not decodable" in scan_one("kadid10k", folder).faults[0]
    os.utime(image, ns=(0, 0))
    touched = state()
    image.unlink()
    gone = state()
    image.symlink_to("nowhere")  # a broken link has a state too
    assert len({first, touched, gone, state(), fingerprint("csiq", [folder])}) == 5
    assert fingerprint("kadid10k", [folder / "absent"]) == ""


# ---------------------------------------------------------------------------------------- as a process


def test_as_a_process_a_line_a_set(root: Path) -> None:
    sets = [
        {"layout": "csiq", "folders": [str(root / "csiq")], "low": [], "scale": None},
        {"layout": "images", "folders": [str(root / "hr")], "low": [str(root / "hr_LR_bicubic/X4")], "scale": 4},
    ]
    command = [sys.executable, "-m", "workers.data.scan"]
    ended = subprocess.run(command, input=json.dumps(sets), text=True, capture_output=True, cwd=ROOT, check=True)
    low = [root / "hr_LR_bicubic" / "X4"]
    assert [Manifest.from_json(json.loads(line)) for line in ended.stdout.splitlines()] == [
        scan_one("csiq", root / "csiq"),
        scan.scan("images", [root / "hr"], low, 4),
    ]

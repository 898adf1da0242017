"""Everything that a scan finds wrong with a data set on disk, each with its sentence."""

import io
import math
import os
import struct
import threading
import zlib
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from PIL import Image, PngImagePlugin

from workers.data import images, layouts, pixels, scan
from workers.data.manifest import Faults, Manifest

Copy = Callable[[str], Path]


@pytest.fixture
def pairs(copy: Copy) -> tuple[Path, Path]:
    """(folder of originals, folder of their low-resolution side)."""
    return copy("hr"), copy("hr_LR_bicubic") / "X4"


def scan_one(layout: str, folder: Path) -> Manifest:
    return scan.scan(layout, [folder])


def test_everything_wrong_with_a_set_is_told_at_once(copy: Copy) -> None:
    folder = copy("kadid10k")
    pictures, labels = folder / "images", folder / "dmos.csv"
    lines = labels.read_text().splitlines()
    lines[1] = "I01_01_01.png,I01.png,5.5,0.5"
    lines[2] = "I01_01_02.png,I01.png,nan,0.5"
    labels.write_text("\n".join(lines[:-1]))
    (pictures / "I01_01_03.png").unlink()
    data = (pictures / "I02_02_01.png").read_bytes()
    (pictures / "I02_02_01.png").write_bytes(data[: len(data) // 2])
    Image.new("RGB", (48, 31)).save(pictures / "I02_02_02.png")
    Image.new("RGB", (48, 40)).save(pictures / "I02_02_03.png")
    Image.new("RGBA", (48, 48)).save(pictures / "I03_03_01.png")
    (pictures / "I03.png").unlink()
    found = scan_one("kadid10k", folder)
    decoding = next(fault for fault in found.faults if "not decodable" in fault)
    eight_bits = "expected 8 bits a channel, RGB or grey, without transparency"
    assert set(found.faults) == {
        f"{folder}: found 23 labelled images; its STAND_IN.json says 24",
        f"{pictures}/I01_01_01.png: found the label 5.5; expected a finite number from 1 to 5",
        f"{pictures}/I01_01_02.png: found the label nan; expected a finite number from 1 to 5",
        f"{pictures}/I01_01_03.png: missing; expected the image that the labels name",
        f"{pictures}/I03.png: missing; expected the image that the labels name",
        decoding,
        f"{pictures}/I02_02_02.png: found 48 x 31 pixels; expected at least 32 on each side",
        f"{pictures}/I02_02_02.png: found 48 x 31 pixels; expected 64 x 64, the size of its reference",
        f"{pictures}/I02_02_03.png: found 48 x 40 pixels; expected 64 x 64, the size of its reference",
        f"{pictures}/I03_03_01.png: found mode RGBA; {eight_bits}",
    }
    assert decoding.startswith(f"{pictures}/I02_02_01.png: not decodable (")
    assert decoding.endswith("expected a whole image: copy it again")
    assert found.content == ""
    assert found.label_high == 5.5
    assert not math.isnan(found.label_low or math.nan)


def test_official_counts_hold_where_nothing_says_stand_in(copy: Copy) -> None:
    folder = copy("tid2013")
    (folder / layouts.STAND_IN).unlink()
    assert scan_one("tid2013", folder).faults == (
        f"{folder}: found 4 references; tid2013 officially has 25",
        f"{folder}: found 24 labelled images; tid2013 officially has 3,000",
    )
    assert not scan_one("tid2013", folder).stand_in
    folder = copy("pyiqa_nr")
    (folder / layouts.STAND_IN).unlink()
    assert scan_one("pyiqa_nr", folder).faults == ()  # how many there should be nobody knows
    labels = folder / "meta_info_KonIQ10kDataset.csv"
    labels.write_text(labels.read_text().splitlines()[0])
    assert scan_one("pyiqa_nr", folder).faults == (f"{folder}: found no labelled images",)


def test_wrong_labels_do_not_hide_damaged_images(copy: Copy, tmp_path: Path, edit: Any) -> None:
    folder = copy("csiq")
    edit(folder / "csiq_label.txt", "\t", " x ")
    (folder / "src_imgs" / "photo1.png").write_bytes(b"")
    label, image = scan_one("csiq", folder).faults
    assert label == f"{folder}/csiq_label.txt:1: found 3 fields; expected 2: name, dmos"
    assert image.startswith(f"{folder}/src_imgs/photo1.png: not decodable (")
    absent = scan_one("csiq", tmp_path / "absent")
    assert absent.faults == (f"{tmp_path}/absent: no such folder; expected the csiq data set",)
    assert (absent.content, absent.fingerprint) == ("", "")


def _transparent(path: Path) -> None:
    Image.new("P", (40, 40)).save(path, transparency=0)


def _deep(path: Path) -> None:
    """A PNG of 16-bit RGB, which Pillow cannot write: one row at a time by hand."""
    rows = zlib.compress(b"".join(b"\0" + bytes(6 * 40) for _ in range(40)))
    with path.open("wb") as file:
        file.write(b"\x89PNG\r\n\x1a\n")
        header = struct.pack(">IIBBBBB", 40, 40, 16, 2, 0, 0, 0)
        for kind, data in ((b"IHDR", header), (b"IDAT", rows), (b"IEND", b"")):
            PngImagePlugin.putchunk(file, kind, data)


@pytest.mark.parametrize(
    ("name", "write", "found"),
    [
        ("deep.png", lambda path: Image.new("I;16", (40, 40)).save(path), "16 bits a channel"),
        ("rgb16.png", _deep, "16 bits a channel"),
        ("cmyk.jpg", lambda path: Image.new("CMYK", (40, 40)).save(path), "mode CMYK"),
        ("la.png", lambda path: Image.new("LA", (40, 40)).save(path), "mode LA"),
        ("palette.png", _transparent, "mode P with transparency"),
    ],
)
def test_images_that_rgb_would_lose_something_of_are_refused(
    name: str, write: Callable[[Path], None], found: str, tmp_path: Path
) -> None:
    write(tmp_path / name)
    expected = "expected 8 bits a channel, RGB or grey, without transparency"
    assert scan_one("images", tmp_path).faults == (f"{tmp_path}/{name}: found {found}; {expected}",)


def _bomb(path: Path, side: int) -> None:
    """A small file that says it is `side` pixels wide and high."""
    with path.open("wb") as file:
        file.write(b"\x89PNG\r\n\x1a\n")
        header = struct.pack(">IIBBBBB", side, side, 1, 0, 0, 0, 0)
        for kind, data in ((b"IHDR", header), (b"IDAT", zlib.compress(bytes(1000))), (b"IEND", b"")):
            PngImagePlugin.putchunk(file, kind, data)


def _animated(path: Path) -> None:
    frames = [Image.new("RGB", (40, 40), (shade, 0, 0)) for shade in (0, 128, 255)]
    frames[0].save(path, save_all=True, append_images=frames[1:])


@pytest.mark.parametrize(
    ("write", "found"),
    [
        (lambda path: _bomb(path, 10_000), "found more pixels than an image may have; expected at most 89,478,485"),
        (lambda path: _bomb(path, 50_000), "found more pixels than an image may have; expected at most 89,478,485"),
        (_animated, "found 3 frames; expected one"),
    ],
)
def test_bombs_and_animations_are_refused(write: Callable[[Path], None], found: str, tmp_path: Path) -> None:
    write(tmp_path / "bad.png")
    assert scan_one("images", tmp_path).faults == (f"{tmp_path}/bad.png: {found}",)


def _gif(path: Path) -> None:
    Image.new("P", (40, 40)).save(path, "GIF")


def _tiff(path: Path) -> None:
    """Whose second directory lies where nothing is."""
    file = io.BytesIO()
    Image.new("RGB", (40, 40)).save(file, "TIFF")
    path.write_bytes(file.getvalue() + b"II*")


def _postscript(path: Path) -> None:
    Image.new("RGB", (40, 40)).save(path, "EPS")


@pytest.mark.parametrize("write", [_gif, _tiff, _postscript, lambda path: Image.new("L", (40, 40)).save(path, "ICO")])
def test_what_is_only_called_an_image_of_a_set_is_refused(write: Callable[[Path], None], tmp_path: Path) -> None:
    write(tmp_path / "a.png")
    what = "not decodable (neither PNG, JPEG nor BMP)"
    assert scan_one("images", tmp_path).faults == (f"{tmp_path}/a.png: {what}; expected a whole image: copy it again",)
    with pytest.raises(ValueError, match=r"a\.png: found no image, or a damaged or truncated one"):
        pixels.decode(tmp_path / "a.png")


def test_the_name_does_not_say_which_of_the_formats_it_is(tmp_path: Path) -> None:
    for file, kind in (("a.png", "JPEG"), ("b.jpg", "BMP"), ("c.bmp", "PNG")):
        Image.new("RGB", (40, 40)).save(tmp_path / file, kind)
        assert pixels.decode(tmp_path / file).shape == (40, 40, 3)
    assert scan_one("images", tmp_path).faults == ()
    frames = [Image.new("RGB", (40, 40), (shade, 0, 0)) for shade in (0, 128)]
    frames[0].save(tmp_path / "d.jpg", "MPO", save_all=True, append_images=frames[1:])  # what some cameras write
    assert scan_one("images", tmp_path).faults == (f"{tmp_path}/d.jpg: found 2 frames; expected one",)


def test_what_an_image_says_of_itself_may_be_damaged_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def damaged(*_: Any) -> Any:
        raise TypeError("no number of frames")

    Image.new("RGB", (40, 40)).save(tmp_path / "a.png")
    monkeypatch.setattr(images, "_fault", damaged)
    assert scan_one("images", tmp_path).faults == (
        f"{tmp_path}/a.png: not decodable (no number of frames); expected a whole image: copy it again",
    )


def test_a_file_too_large_for_an_image_is_not_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    Image.new("RGB", (40, 40)).save(tmp_path / "large.png")
    monkeypatch.setattr(images, "MOST_BYTES", 10)
    size = (tmp_path / "large.png").stat().st_size
    assert scan_one("images", tmp_path).faults == (f"{tmp_path}/large.png: found {size} bytes; expected at most 10",)


@pytest.mark.parametrize("make", [os.mkfifo, os.mkdir, lambda path: path.symlink_to("/dev/zero")])
def test_only_regular_files_are_opened(make: Callable[[Path], None], tmp_path: Path) -> None:
    make(tmp_path / "a.png")
    sentence = "found a folder, a pipe or a device; expected an image file"
    assert scan_one("images", tmp_path).faults == (f"{tmp_path}/a.png: {sentence}",)


@pytest.mark.parametrize("name", ["a\0.png", "a\ud800.png", "a" * 300 + ".png"])
def test_a_name_that_no_file_can_have_is_a_fault(name: str, tmp_path: Path) -> None:
    assert images.look(tmp_path / name).fault.startswith("unreadable (")


def test_a_name_of_two_lines_is_told_in_one(tmp_path: Path) -> None:
    (tmp_path / "a\nb.png").touch()
    what = "not decodable (neither PNG, JPEG nor BMP); expected a whole image: copy it again"
    assert scan_one("images", tmp_path).faults == (f"{tmp_path}/a\\nb.png: {what}",)


@pytest.mark.parametrize(("memory", "most"), [(1, 1), (2 * 4 * 40 * 40 + 1000, 2), (1 << 30, 4)])
def test_threads_decode_at_once_what_fits_the_memory(
    memory: int, most: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    names = [f"{k}.png" for k in range(12)]
    for name in names:
        Image.new("RGB", (40, 40)).save(tmp_path / name)
    together, counts, lock = threading.Barrier(most), [0], threading.Lock()

    def decoded(*_: Any) -> images.Look:
        with lock:
            counts.append(counts[-1] + 1)
        together.wait(timeout=60)  # so many are there at the same time
        with lock:
            counts.append(counts[-1] - 1)
        return images.Look()

    monkeypatch.setattr(images, "MEMORY", images.Budget(memory))
    monkeypatch.setattr(images, "_decoded", decoded)
    with ThreadPoolExecutor(4) as pool:
        assert list(pool.map(lambda name: images.look(tmp_path / name), names)) == [images.Look()] * 12
    assert max(counts) == most


def test_grey_and_palette_images_are_fine(tmp_path: Path) -> None:
    for mode in images.LOSSLESS:
        Image.new(mode, (40, 40)).save(tmp_path / f"{mode}.png")
    Image.new("RGB", (40, 40)).save(tmp_path / "a.BMP")
    (tmp_path / "notes.txt").write_text("not an image")
    found = scan_one("images", tmp_path)
    assert (found.faults, found.images) == ((), 5)


def test_pairs_must_match_the_scale_and_be_there(pairs: tuple[Path, Path]) -> None:
    high, low = pairs
    assert scan.scan("images", [high], [low], 4).faults == ()
    assert scan.scan("images", [high], [low], 2).faults == tuple(
        f"{high}/000{k}.png: found no low-resolution side in {low}; expected 000{k}x2.png or 000{k}.png" for k in (1, 2)
    )
    (low / "0001x4.png").rename(low / "0001.png")
    assert scan.scan("images", [high], [low], 4).faults == ()
    Image.new("RGB", (16, 15)).save(low / "0002x4.png")
    assert scan.scan("images", [high], [low], 4).faults == (
        f"{low}/0002x4.png: found 16 x 15 pixels; expected 16 x 16, the size of 1/4 of its original",
    )


def test_an_original_may_have_rows_that_trimming_removes(pairs: tuple[Path, Path]) -> None:
    high, low = pairs
    image = Image.open(high / "0001.png")
    for side, sound in ((67, True), (68, False)):
        image.resize((64, side)).save(high / "0001.png")
        assert (scan.scan("images", [high], [low], 4).faults == ()) == sound


def test_names_differ_over_all_folders_and_folders_have_images(copy: Copy, tmp_path: Path) -> None:
    first, second = copy("hr"), copy("more")
    (second / "0003.png").rename(second / "0002.png")
    (second / "0004.png").unlink()
    (tmp_path / "empty").mkdir()
    found = scan.scan("images", [first, second, tmp_path / "empty", tmp_path / "absent"])
    again = f"found the name again (first: {first}/0002.png); expected names that differ before the dot"
    assert set(found.faults) == {
        f"{tmp_path}/absent: no such folder; expected a folder of images",
        f"{second}: found 1 images; its STAND_IN.json says 2",
        f"{second}/0002.png: {again}",
        f"{tmp_path}/empty: found no images; expected .png, .jpg, .jpeg, .bmp",
    }


def test_a_call_that_makes_no_sense_is_refused(tmp_path: Path) -> None:
    for folders, low, scale in (([], [], None), ([tmp_path], [tmp_path], 4), ([tmp_path], [tmp_path / "low"], None)):
        with pytest.raises(ValueError, match=f"scan: found {len(folders)} folders, {len(low)} low-resolution folders"):
            scan.scan("images", folders, low, scale)
    with pytest.raises(ValueError, match="scan: found 2 folders, 0 low-resolution; expected one for csiq"):
        scan.scan("csiq", [tmp_path, tmp_path])
    with pytest.raises(ValueError, match="layout: found 'image'"):
        scan.scan("image", [tmp_path])


def test_faults_of_a_kind_are_counted_after_the_first_five() -> None:
    faults = Faults()
    for k in range(7):
        faults.add("missing images", f"{k}.png: missing")
    faults.add("wrong labels", "label")
    assert faults.sentences() == (*(f"{k}.png: missing" for k in range(5)), "and 2 more missing images", "label")


def test_what_nobody_thought_of_is_a_fault_of_its_set(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*_: Any) -> Any:
        raise ArithmeticError("seven\nlines")

    monkeypatch.setattr(layouts, "read", broken)
    what = "not readable as csiq (ArithmeticError: seven\\nlines); expected its official archive"
    assert scan_one("csiq", root / "csiq").faults == (f"{root}/csiq: {what}",)

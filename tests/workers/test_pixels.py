"""The store of decoded pixels: equal to what Pillow decodes, made once, made anew when damaged, strict about files."""

import builtins
import errno
import io
import struct
import zlib
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from workers.data import pixels

Images = list[tuple[str, Path]]


def noise(height: int, width: int, *channels: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (height, width, *channels), dtype=np.uint8)


@pytest.fixture
def images(tmp_path: Path) -> Images:
    """Images of three sizes, one of them greyscale."""
    arrays = {"a": noise(40, 50, 3), "b": noise(33, 32), "sub/c": noise(64, 48, 3, seed=1)}
    (tmp_path / "set/sub").mkdir(parents=True)
    for name, array in arrays.items():
        Image.fromarray(array).save(tmp_path / f"set/{name}.png")
    return [(name, tmp_path / f"set/{name}.png") for name in arrays]


@pytest.fixture
def decoded(monkeypatch: pytest.MonkeyPatch) -> list[Path]:
    """Files in the order in which they are decoded."""
    paths: list[Path] = []
    decode = pixels.decode

    def counted(path: Path, *args: Any) -> np.ndarray:
        paths.append(path)
        return decode(path, *args)

    monkeypatch.setattr(pixels, "decode", counted)
    return paths


def test_views_of_one_read_only_file(images: Images, tmp_path: Path) -> None:
    store = pixels.open_pixels("content", images, tmp_path)
    assert list(store) == [name for name, _ in images]
    for name, path in images:
        np.testing.assert_array_equal(store[name], np.asarray(Image.open(path).convert("RGB")))
        assert store[name].dtype == np.uint8
        assert type(store[name]) is np.ndarray
        assert np.shares_memory(store[name], store[name])
        with pytest.raises(ValueError, match="read-only"):
            store[name][0, 0, 0] = 1
    assert np.ptp(store["b"], axis=-1).max() == 0
    with pytest.raises(KeyError):
        store["d"]


def test_made_once_for_all_who_ask_at_the_same_time(images: Images, tmp_path: Path, decoded: list[Path]) -> None:
    with ThreadPoolExecutor(4) as pool:
        stores = list(pool.map(lambda _: pixels.open_pixels("content", images, tmp_path), range(4)))
    assert sorted(decoded) == sorted(path for _, path in images)
    for store in stores:
        np.testing.assert_array_equal(store["sub/c"], stores[0]["sub/c"])
    pixels.open_pixels("other content", images, tmp_path)
    assert len(decoded) == 2 * len(images)


def test_keeps_order_over_many_chunks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pixels, "THREADS", 2)
    makes = [(str(i), lambda i=i: np.full((32 + i, 32, 3), i, np.uint8)) for i in range(11)]
    store = pixels.open_made("made", makes, tmp_path)
    assert [store[str(i)].shape[0] for i in range(11)] == list(range(32, 43))
    assert all((store[str(i)] == i).all() for i in range(11))


def _cut(file: Path) -> None:
    file.write_bytes(file.read_bytes()[:-1])


def _forget_index(file: Path) -> None:
    file.with_suffix(".json").unlink()


def _cut_index(file: Path) -> None:
    _cut(file.with_suffix(".json"))


def _lose_pixels(file: Path) -> None:
    file.unlink()


@pytest.mark.parametrize("damage", [_cut, _forget_index, _cut_index, _lose_pixels])
def test_a_damaged_store_is_made_anew(
    damage: Callable[[Path], None], images: Images, tmp_path: Path, decoded: list[Path]
) -> None:
    pixels.open_pixels("content", images, tmp_path)
    (file,) = (tmp_path / "pixels").glob("*.uint8")
    whole = file.read_bytes()
    damage(file)
    store = pixels.open_pixels("content", images, tmp_path)
    assert len(decoded) == 2 * len(images)
    assert file.read_bytes() == whole
    np.testing.assert_array_equal(store["a"], noise(40, 50, 3))


def test_a_store_that_lacks_an_image_is_made_anew(images: Images, tmp_path: Path) -> None:
    pixels.open_pixels("content", images[:2], tmp_path)
    assert list(pixels.open_pixels("content", images, tmp_path)) == [name for name, _ in images]


def test_what_a_killed_maker_leaves_does_no_harm(images: Images, tmp_path: Path) -> None:
    pixels.open_pixels("content", images, tmp_path)
    (file,) = (tmp_path / "pixels").glob("*.uint8")
    _forget_index(file)
    file.with_suffix(".part").write_bytes(b"half an image")
    pixels.open_pixels("content", images, tmp_path)
    assert sorted(path.suffix for path in file.parent.iterdir()) == [".json", ".lock", ".uint8"]


def test_a_full_disk_says_so_and_leaves_no_part(
    images: Images, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Full(io.FileIO):
        def write(self, data: Any) -> int:
            if self.tell() > 0:
                raise OSError(errno.ENOSPC, "No space left on device")
            return super().write(data)

    monkeypatch.setattr(pixels, "open", lambda file, mode: (Full if mode == "wb" else builtins.open)(file, mode), False)
    message = r"the disk is full after 1 of 3 images \(0.0 GB\); free space, or set another cache folder.*pixels"
    with pytest.raises(OSError, match=message) as caught:
        pixels.open_pixels("content", images, tmp_path)
    assert caught.value.errno == errno.ENOSPC
    assert [path.suffix for path in (tmp_path / "pixels").iterdir()] == [".lock"]


def test_no_images(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="content: found no image; allowed: at least one"):
        pixels.open_pixels("content", [], tmp_path)


# ---------------------------------------------------------------------------------------------- decoding


@pytest.mark.parametrize(
    ("height", "width", "short_side", "expected"),
    [(80, 120, 40, (40, 60)), (121, 80, 40, (60, 40)), (80, 120, 80, (80, 120)), (80, 120, 100, (80, 120))],
)
def test_short_side_reduces_only(
    height: int, width: int, short_side: int, expected: tuple[int, int], tmp_path: Path
) -> None:
    image = Image.fromarray(noise(height, width, 3))
    image.save(tmp_path / "a.png")
    found = pixels.decode(tmp_path / "a.png", short_side)
    np.testing.assert_array_equal(found, np.asarray(image.resize(expected[::-1], Image.Resampling.BICUBIC)))


def test_each_short_side_has_its_store(images: Images, tmp_path: Path) -> None:
    whole = pixels.open_pixels("content", images, tmp_path)
    reduced = pixels.open_pixels("content", images, tmp_path, short_side=32)
    assert whole["a"].shape == (40, 50, 3)
    assert reduced["a"].shape == (32, 40, 3)


def test_palettes_are_looked_up(tmp_path: Path) -> None:
    image = Image.fromarray(noise(32, 32, 3)).quantize(16)
    image.save(tmp_path / "a.png")
    np.testing.assert_array_equal(pixels.decode(tmp_path / "a.png"), np.asarray(image.convert("RGB")))


def _png16(path: Path) -> None:
    """16-bit RGB, which Pillow reads but does not write."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    header = struct.pack(">IIBBBBB", 40, 40, 16, 2, 0, 0, 0)
    rows = (b"\0" + bytes(6 * 40)) * 40
    image = chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b"")
    path.write_bytes(b"\x89PNG\r\n\x1a\n" + image)


REFUSED: dict[str, tuple[Callable[[Path], object], str]] = {
    "deep.png": (_png16, "found mode RGB of 16 bits; allowed: 8-bit RGB, greyscale or palette, without alpha"),
    "grey16.png": (lambda path: Image.fromarray(noise(40, 40).astype(np.uint16)).save(path), "found mode I;16 of 16"),
    "alpha.png": (lambda path: Image.fromarray(noise(40, 40, 4)).save(path), "found mode RGBA; allowed"),
    "key.png": (
        lambda path: Image.fromarray(noise(40, 40, 3)).save(path, transparency=(1, 2, 3)),
        "found mode RGB with transparency",
    ),
    "cmyk.jpg": (lambda path: Image.fromarray(noise(40, 40, 4), "CMYK").save(path), "found mode CMYK; allowed"),
    "small.png": (
        lambda path: Image.fromarray(noise(31, 40, 3)).save(path),
        "found 31 x 40 pixels; allowed: at least 32 on each side",
    ),
    "text.png": (lambda path: path.write_text("no image"), r"found no image, or a damaged or truncated one \(cannot"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_refused_images_are_named(name: str, tmp_path: Path) -> None:
    write, message = REFUSED[name]
    write(tmp_path / name)
    with pytest.raises(ValueError, match=rf"{name}: {message}"):
        pixels.decode(tmp_path / name)


@pytest.mark.parametrize("suffix", ["png", "bmp", "jpg"])
def test_truncated_images_are_named(suffix: str, tmp_path: Path) -> None:
    path = tmp_path / f"a.{suffix}"
    Image.fromarray(noise(64, 64, 3)).save(path)
    data = path.read_bytes()
    for length in (10, len(data) // 2):
        path.write_bytes(data[:length])
        with pytest.raises(ValueError, match=rf"a\.{suffix}: found no image, or a damaged or truncated one \(.*copy"):
            pixels.decode(path)


def test_a_store_names_the_file_that_it_cannot_take(images: Images, tmp_path: Path) -> None:
    (tmp_path / "set/b.png").write_bytes(b"")
    with pytest.raises(ValueError, match=r"b\.png: found no image, or a damaged"):
        pixels.open_pixels("content", images, tmp_path)
    (tmp_path / "set/b.png").unlink()
    with pytest.raises(FileNotFoundError, match=r"set/b\.png"):
        pixels.open_pixels("content", images, tmp_path)
    assert [path.suffix for path in (tmp_path / "pixels").iterdir()] == [".lock"]

"""How a generated data set is laid out like each official one: names, folders, label files, practice images and all."""

import csv
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from workers.data.layouts.full_reference import LIVE_PARTS
from workers.data.layouts.no_reference import KONIQ_COLUMNS, PRACTICE

# No distortion here is a fading radio channel; the one that is left over stands in for it.
_LIVE = {
    "jpeg2000": "jp2k",
    "jpeg": "jpeg",
    "white_noise": "wn",
    "gaussian_blur": "gblur",
    "contrast_decrease": "fastfading",
}
_CSIQ = {
    "gaussian_blur": "BLUR",
    "white_noise": "AWGN",
    "jpeg": "JPEG",
    "jpeg2000": "jpeg2000",
    "contrast_decrease": "contrast",
}
Pixels = NDArray[np.uint8]


@dataclass(frozen=True)
class Made:
    """A distorted image and what is true of it."""

    content: int
    """Number of its photograph, from 0."""
    distortion: str
    kind: int
    """Number of its distortion, from 1."""
    level: int
    pixels: Pixels
    label: float
    """In the layout's range and direction."""


@dataclass(frozen=True)
class Set:
    """What a writer lays out."""

    folder: Path
    references: Sequence[Pixels]
    images: Sequence[Made]

    def save(self, name: str, pixels: Pixels) -> None:
        """Writes an image at a path relative to the folder; the suffix is the format."""
        save(self.folder / name, pixels)

    def table(self, name: str, rows: Iterable[Sequence[Any]], separator: str = ",") -> None:
        """Writes a text file of fields."""
        path = self.folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        with path.open("w", newline="") as file:
            csv.writer(file, delimiter=separator, lineterminator="\n").writerows(rows)


def _kadid10k(made: Set) -> None:
    _save_all(made, "images/I{:02}.png", "images/{}", _kadid_name)
    rows = [(_kadid_name(image), f"I{image.content + 1:02}.png", image.label, 0.5) for image in made.images]
    made.table("dmos.csv", [("dist_img", "ref_img", "dmos", "var"), *rows])


def _kadid_name(image: Made) -> str:
    return f"I{image.content + 1:02}_{image.kind:02}_{image.level:02}.png"


def _tid2013(made: Set) -> None:
    """The case of names differs between files and labels, and the last reference is lower case, as in the archive."""
    for k, pixels in enumerate(made.references, 1):
        made.save(f"reference_images/{f'i{k:02}.bmp' if k == len(made.references) else f'I{k:02}.BMP'}", pixels)
    names = [f"{image.content + 1:02}_{image.kind:02}_{image.level}.bmp" for image in made.images]
    for name, image in zip(names, made.images, strict=True):
        made.save(f"distorted_images/i{name}", image.pixels)
    rows = [(image.label, f"I{name}") for name, image in zip(names, made.images, strict=True)]
    made.table("mos_with_names.txt", rows, " ")


def _live(made: Set) -> dict[str, Any]:
    """Each folder begins with a copy of a reference, whose entry has `orgs` 1."""
    from scipy.io import savemat

    parts: dict[str, list[tuple[int, float, int, Pixels]]] = {part: [] for part in LIVE_PARTS}
    for k, found in enumerate(parts.values()):
        shown = k % len(made.references)
        found.append((shown, 0.0, 1, made.references[shown]))
    for image in made.images:
        parts[_LIVE[image.distortion]].append((image.content, image.label, 0, image.pixels))
    for part, found in parts.items():
        for k, (*_, pixels) in enumerate(found, 1):
            made.save(f"{part}/img{k}.bmp", pixels)
    for k, pixels in enumerate(made.references):
        made.save(f"refimgs/photograph{k}.bmp", pixels)
    entries = [entry for found in parts.values() for entry in found]
    labels, originals = ([[entry[k] for entry in entries]] for k in (1, 2))
    savemat(made.folder / "dmos.mat", {"dmos": np.array(labels), "orgs": np.array(originals, dtype=np.uint8)})
    names = _cells([f"photograph{entry[0]}.bmp" for entry in entries])
    savemat(made.folder / "refnames_all.mat", {"refnames_all": names[None]})
    return {"parts": {part: len(found) for part, found in parts.items()}}


def _csiq(made: Set) -> None:
    names = [f"photo{i.content}.{_CSIQ[i.distortion]}.{i.level}.png" for i in made.images]
    for name, image in zip(names, made.images, strict=True):
        made.save(f"dst_imgs/{_CSIQ[image.distortion]}/{name}", image.pixels)
    for k, pixels in enumerate(made.references):
        made.save(f"src_imgs/photo{k}.png", pixels)
    rows = [(name, image.label) for name, image in zip(names, made.images, strict=True)]
    made.table("csiq_label.txt", rows, "\t")


def _pipal(made: Set) -> None:
    for k, pixels in enumerate(made.references, 1):
        made.save(f"Train_Ref/A{k:04}.bmp", pixels)
    rows: dict[int, list[tuple[str, float]]] = {}
    for index, image in enumerate(made.images):
        name = f"A{image.content + 1:04}_{image.kind:02}_{image.level:02}.bmp"
        made.save(f"Distortion_{index % 4 + 1}/{name}", image.pixels)
        rows.setdefault(image.content, []).append((name, image.label))
    for content, found in rows.items():
        made.table(f"Train_Label/A{content + 1:04}.txt", found)


def _koniq10k(made: Set) -> None:
    names = _numbered(made, "512x384/{}", "jpg")
    parts = ("training", "validation", "test")
    rows = [
        (name, *[0.2] * 5, 100, image.label, 0.5, parts[_part(image, made)])
        for name, image in zip(names, made.images, strict=True)
    ]
    made.table("koniq10k_distributions_sets.csv", [KONIQ_COLUMNS, *rows])


def _spaq(made: Set) -> None:
    import openpyxl

    names = _numbered(made, "TestImage/{}", "jpg")
    book = openpyxl.Workbook()
    attributes = ("Brightness", "Colorfulness", "Contrast", "Noisiness", "Sharpness")
    book.active.append(("Image name", "MOS", *attributes))
    for name, image in zip(names, made.images, strict=True):
        book.active.append((name, image.label, *[50.0] * len(attributes)))
    path = made.folder / "Annotations" / "MOS and Image attribute scores.xlsx"
    path.parent.mkdir(exist_ok=True)
    book.save(path)


def _live_challenge(made: Set) -> None:
    """The first images are those that the raters practised on; formats differ, as in the archive."""
    from scipy.io import savemat

    practice = [f"t{k}.bmp" for k in range(1, PRACTICE + 1)]
    for name in practice:
        made.save(f"Images/trainingImages/{name}", made.references[0])
    names = [*practice, *_numbered(made, "Images/{}", "bmp", "JPG")]
    labels = [50.0] * PRACTICE + [image.label for image in made.images]
    (made.folder / "Data").mkdir(exist_ok=True)
    for name, values in (
        ("AllImages", _cells(names)[:, None]),
        ("AllMOS", np.array([labels])),
        ("AllStdDev", np.full((1, len(labels)), 20.0)),
    ):
        savemat(made.folder / "Data" / f"{name}_release.mat", {f"{name}_release": values})


def _pyiqa_fr(made: Set) -> None:
    _save_all(made, "images/I{:02}.png", "images/{}", _kadid_name)
    header = ("ref_name", "dist_name", "dmos", "std", "ratio802_seed123_split_01")
    parts = ("train", "val", "test")
    rows = [
        (f"I{image.content + 1:02}.png", _kadid_name(image), 1 + 4 * image.label, 0.5, parts[_part(image, made)])
        for image in made.images
    ]
    made.table("meta_info_KADID10kDataset.csv", [header, *rows])


def _pyiqa_nr(made: Set) -> None:
    names = _numbered(made, "512x384/{}", "jpg")
    parts = ("train", "val", "test")
    rows = [
        (name, 100 * image.label, 0.5, parts[_part(image, made)])
        for name, image in zip(names, made.images, strict=True)
    ]
    made.table("meta_info_KonIQ10kDataset.csv", [("img_name", "mos", "std", "official_split"), *rows])


def _save_all(made: Set, reference: str, image: str, name: Callable[[Made], str]) -> None:
    for k, pixels in enumerate(made.references, 1):
        made.save(reference.format(k), pixels)
    for found in made.images:
        made.save(image.format(name(found)), found.pixels)


def _numbered(made: Set, path: str, *suffixes: str) -> list[str]:
    """Saves the images under numbers, with the suffixes in turn; returns their names."""
    names = [f"{k:05}.{suffixes[k % len(suffixes)]}" for k in range(1, len(made.images) + 1)]
    for name, image in zip(names, made.images, strict=True):
        made.save(path.format(name), image.pixels)
    return names


def _part(image: Made, made: Set) -> int:
    """0, 1, 2 for train, validation, test: the last photograph tests, the one before validates."""
    return max(0, image.content - len(made.references) + 3) if len(made.references) > 2 else 0


def _cells(values: Sequence[str]) -> NDArray[np.object_]:
    """A MATLAB cell array, as scipy.io writes it."""
    cells = np.empty(len(values), dtype=object)
    cells[:] = values
    return cells


def save(path: Path, pixels: Pixels) -> None:
    """Writes uint8 (H, W, 3) as PNG, BMP or JPEG by the suffix, making folders as needed."""
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(pixels).save(path, quality=95)  # the other formats take no notice of it


WRITERS: dict[str, Callable[[Set], dict[str, Any] | None]] = {
    "kadid10k": _kadid10k,
    "tid2013": _tid2013,
    "live": _live,
    "csiq": _csiq,
    "pipal": _pipal,
    "koniq10k": _koniq10k,
    "spaq": _spaq,
    "live_challenge": _live_challenge,
    "pyiqa_fr": _pyiqa_fr,
    "pyiqa_nr": _pyiqa_nr,
}

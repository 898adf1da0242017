"""Official layouts of image quality data sets: what lies where, and what a label means. docs/study.md, section 6.

`read` gives the labelled images of a folder, `quality` what their labels say. Neither opens an image, and nothing here
loads torch: the scan of a planning process uses it, and so do workers.
"""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from orchestrator import spec
from workers.data.layouts import full_reference, meta_csv, no_reference
from workers.data.layouts.rows import STAND_IN, DataSetError, Row, stand_in_counts

__all__ = ["LAYOUTS", "STAND_IN", "DataSetError", "Layout", "Row", "check", "quality", "read", "stand_in_counts"]


@dataclass(frozen=True, kw_only=True)
class Layout:
    """What is official about a data set."""

    name: str
    lower_better: bool
    """Whether a lower label is a better image (a difference score)."""
    low: float
    """Labels lie between `low` ..."""
    high: float
    """... and `high`."""
    short_side: int | None = None
    """Images are shrunk until their shorter side is this, pixels; None: as they are."""
    references: int | None
    """How many references there are: 0 for a set without them, None where the layout does not say."""
    images: int | None
    """How many labelled images there are, without originals and practice images; None where it does not say."""

    @property
    def has_references(self) -> bool:
        """Whether every image has an undistorted reference."""
        return self.references != 0


_ALL = (
    Layout(name="kadid10k", lower_better=False, low=1, high=5, references=81, images=10_125),
    Layout(name="tid2013", lower_better=False, low=0, high=9, references=25, images=3_000),
    # Difference scores of z-scores: -2.6 to 111.8 in the published realigned form, nominally 0 to 100 in dmos.mat.
    Layout(name="live", lower_better=True, low=-5, high=115, references=29, images=779),
    Layout(name="csiq", lower_better=True, low=0, high=1, references=30, images=866),
    # Elo ratings have no bounds by themselves; those of the training part are 916.7 to 1836.0.
    Layout(name="pipal", lower_better=False, low=900, high=1850, references=200, images=23_200),
    Layout(name="koniq10k", lower_better=False, low=0, high=100, references=0, images=10_073),
    # The authors' own code shrinks to 512, the photographs having up to 20 million pixels.
    Layout(name="spaq", lower_better=False, low=0, high=100, short_side=512, references=0, images=11_125),
    Layout(name="live_challenge", lower_better=False, low=0, high=100, references=0, images=1_162),
    # Rows of both come with labels that are quality already; see meta_csv.py.
    Layout(name="pyiqa_fr", lower_better=False, low=0, high=1, references=None, images=None),
    Layout(name="pyiqa_nr", lower_better=False, low=0, high=1, references=0, images=None),
)
LAYOUTS: dict[str, Layout] = {layout.name: layout for layout in _ALL}
_SCALES = {layout.name: meta_csv.Scale(layout.lower_better, layout.low, layout.high) for layout in _ALL}
_READERS: dict[str, Callable[[Path], list[Row]]] = {
    "kadid10k": full_reference.kadid10k,
    "tid2013": full_reference.tid2013,
    "live": full_reference.live,
    "csiq": full_reference.csiq,
    "pipal": full_reference.pipal,
    "koniq10k": no_reference.koniq10k,
    "spaq": no_reference.spaq,
    "live_challenge": no_reference.live_challenge,
    "pyiqa_fr": lambda folder: meta_csv.read(folder, has_references=True, scales=_SCALES),
    "pyiqa_nr": lambda folder: meta_csv.read(folder, has_references=False, scales=_SCALES),
}


def read(layout: str, folder: Path) -> list[Row]:
    """The labelled images of a data set, in the order of its label file; no image is opened.

    Raises DataSetError with everything that is wrong with the label files, ValueError for an unknown layout.
    """
    check(layout)
    if not folder.is_dir():
        raise DataSetError([f"{folder}: no such folder; expected the {layout} data set as its archive unpacks"])
    return _READERS[layout](folder)


def quality(layout: str, label: float) -> float:
    """What a label says: 0 (worst in the layout's range) to 1 (best), higher is better; affine."""
    check(layout)
    return _SCALES[layout].quality(label)


def check(layout: str) -> None:
    """Raises ValueError, with the nearest name, for an unknown layout."""
    if layout not in LAYOUTS:
        raise spec.unknown("layout", layout, LAYOUTS)

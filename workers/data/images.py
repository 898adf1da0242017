"""Whether an image file is what data sets may hold: eight bits a channel, grey or colour, nothing lost in RGB."""

import hashlib
import io
import math
import stat
import threading
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from PIL import Image, UnidentifiedImageError

MINIMUM_SIDE = 32
"""Shorter images have no deepest feature map in most backbones, pixels."""
FORMATS = ("PNG", "JPEG", "BMP")
"""What official sets hold, in Pillow's words; JPEG includes the MPO of some cameras. Whatever a name says, Pillow would
take any of its fifty formats, and have Ghostscript run PostScript."""
LOSSLESS = ("1", "L", "P", "RGB")
"""Pillow's modes that `convert("RGB")` keeps whole, if nothing in them is transparent."""
MOST_BYTES = 1 << 30
BYTES_A_PIXEL = 4
"""Of Pillow's RGB."""
_PNG, _PNG_DEPTH = b"\x89PNG\r\n\x1a\n", 24

# Pillow warns where an image has more than 89 million pixels: a small file may fill the memory. Here none has so many.
warnings.filterwarnings("error", category=Image.DecompressionBombWarning)


class Budget:
    """Lets threads hold so much at once and no more; one that wants more than there is waits until it is alone."""

    def __init__(self, most: int) -> None:
        self._most, self._free, self._changed = most, most, threading.Condition()

    @contextmanager
    def held(self, amount: int) -> Iterator[None]:
        """Waits until `amount` is free, and holds it meanwhile."""
        amount = min(amount, self._most)
        with self._changed:
            self._changed.wait_for(lambda: self._free >= amount)
            self._free -= amount
        try:
            yield
        finally:
            with self._changed:
                self._free += amount
                self._changed.notify_all()


MEMORY = Budget(1 << 30)
"""Bytes of files and pixels that all threads may hold together: 32 of the largest images would be 11 GB."""


@dataclass(frozen=True)
class Look:
    """One file, decoded once."""

    bytes: int = 0
    sha256: str = ""
    size: tuple[int, int] | None = None
    """Width, height, pixels; None for what cannot be decoded."""
    kind: str = ""
    """How faults of this kind are counted: unreadable images."""
    fault: str = ""
    """What is wrong and what is expected; empty for a usable image."""


def look(path: Path, minimum_side: int = MINIMUM_SIDE) -> Look:
    """Reads and decodes an image. Never raises for what is wrong with the file: that is its `fault`."""
    try:
        status = path.stat()
        if not stat.S_ISREG(status.st_mode):  # a pipe would be waited for
            return Look(kind="unreadable images", fault="found a folder, a pipe or a device; expected an image file")
        if status.st_size > MOST_BYTES:
            fault = f"found {status.st_size:,} bytes; expected at most {MOST_BYTES:,}"
            return Look(status.st_size, kind="images that are too large", fault=fault)
        with MEMORY.held(status.st_size + BYTES_A_PIXEL * _pixels(path)):
            return _decoded(path.read_bytes(), minimum_side)
    except FileNotFoundError:
        return Look(kind="missing images", fault="missing; expected the image that the labels name")
    except (OSError, ValueError) as error:  # ValueError: a name that no file can have
        why = error.strerror if isinstance(error, OSError) else error
        return Look(kind="unreadable images", fault=f"unreadable ({why}); expected a readable file")


def _pixels(path: Path) -> int:
    """As the header says; 0 where it says nothing that can be used, which decoding will tell."""
    try:
        with Image.open(path, formats=FORMATS) as image:
            return math.prod(image.size)
    except Exception:
        return 0


def _decoded(data: bytes, minimum_side: int) -> Look:
    sha256 = hashlib.sha256(data).hexdigest()
    try:
        image = Image.open(io.BytesIO(data), formats=FORMATS)
        image.load()
        return Look(len(data), sha256, image.size, *_fault(image, data, minimum_side))
    except (Image.DecompressionBombError, Image.DecompressionBombWarning):
        fault = f"found more pixels than an image may have; expected at most {Image.MAX_IMAGE_PIXELS:,}"
        return Look(len(data), sha256, kind="images that are too large", fault=fault)
    except Exception as error:  # Pillow's decoders raise OSError, SyntaxError, ValueError, struct.error and their own
        why = "neither PNG, JPEG nor BMP" if isinstance(error, UnidentifiedImageError) else error
        fault = f"not decodable ({why or type(error).__name__}); expected a whole image: copy it again"
        return Look(len(data), sha256, kind="unreadable images", fault=fault)


def _fault(image: Image.Image, data: bytes, minimum_side: int) -> tuple[str, str]:
    allowed = "expected 8 bits a channel, RGB or grey, without transparency"
    # Pillow reads 16-bit RGB as 8-bit without a word; the depth stands in the header.
    if data.startswith(_PNG) and data[_PNG_DEPTH] == 16:
        return "images that are not 8-bit RGB", f"found 16 bits a channel; {allowed}"
    if image.mode not in LOSSLESS or "transparency" in image.info:
        found = f"mode {image.mode}" + (" with transparency" if "transparency" in image.info else "")
        return "images that are not 8-bit RGB", f"found {found}; {allowed}"
    if (frames := getattr(image, "n_frames", 1)) > 1:
        return "animated images", f"found {frames} frames; expected one"
    if min(image.size) < minimum_side:
        width, height = image.size
        return "small images", f"found {width} x {height} pixels; expected at least {minimum_side} on each side"
    return "", ""

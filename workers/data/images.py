"""Whether an image file is what data sets may hold: eight bits a channel, grey or colour, nothing lost in RGB."""

import hashlib
import io
import warnings
from dataclasses import dataclass
from pathlib import Path

from PIL import Image

MINIMUM_SIDE = 32
"""Shorter images have no deepest feature map in most backbones, pixels."""
LOSSLESS = ("1", "L", "P", "RGB")
"""Pillow's modes that `convert("RGB")` keeps whole, if nothing in them is transparent."""
MOST_BYTES = 1 << 30
_PNG, _PNG_DEPTH = b"\x89PNG\r\n\x1a\n", 24

# Pillow warns where an image has more than 89 million pixels: a small file may fill the memory. Here none has so many.
warnings.filterwarnings("error", category=Image.DecompressionBombWarning)


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
        if (size := path.stat().st_size) > MOST_BYTES:
            fault = f"found {size:,} bytes; expected at most {MOST_BYTES:,}"
            return Look(size, kind="images that are too large", fault=fault)
        data = path.read_bytes()
    except FileNotFoundError:
        return Look(kind="missing images", fault="missing; expected the image that the labels name")
    except OSError as error:
        return Look(kind="unreadable images", fault=f"unreadable ({error.strerror}); expected a readable file")
    sha256 = hashlib.sha256(data).hexdigest()
    try:
        image = _decode(data)
    except (Image.DecompressionBombError, Image.DecompressionBombWarning):
        fault = f"found more pixels than an image may have; expected at most {Image.MAX_IMAGE_PIXELS:,}"
        return Look(len(data), sha256, kind="images that are too large", fault=fault)
    except Exception as error:  # Pillow's decoders raise OSError, SyntaxError, ValueError, struct.error and their own
        why = f"not decodable ({error or type(error).__name__}); expected a whole image: copy it again"
        return Look(len(data), sha256, kind="unreadable images", fault=why)
    kind, fault = _fault(image, data, minimum_side)
    return Look(len(data), sha256, image.size, kind, fault)


def _decode(data: bytes) -> Image.Image:
    image = Image.open(io.BytesIO(data))
    image.load()
    return image


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

"""Restoration: the images that a generator, or bicubic interpolation, makes of one test set, as 8-bit PNG.

Bicubic (no generator) besides keeps `reference/` and `low_resolution/`, once for all methods.
"""

from pathlib import Path

import numpy as np
import torch
from PIL import Image

from orchestrator.spec import Restoration
from workers.context import Context, Result
from workers.data.photographs import to_tensor, to_uint8
from workers.data.sr_pairs import Pair, evaluation_pairs, upscale_bicubic
from workers.weights import load_generator


def run(spec: Restoration, context: Context) -> Result:
    """Writes `images/<name>.png` for each image of the test set."""
    pairs = evaluation_pairs(spec.test, context.sources, spec.scale)
    if spec.super_resolution is None:
        for pair in pairs:
            _write(context.out / "reference", pair, pair.high)
            _write(context.out / "low_resolution", pair, pair.low)
            _write(context.out / "images", pair, upscale_bicubic(pair.low, spec.scale))
        return Result()
    generator = load_generator(context.parent("super_resolution")).to(context.device).eval()
    with torch.inference_mode():
        for done, pair in enumerate(pairs):
            context.report(done, len(pairs), {})
            restored = generator(to_tensor(pair.low)[None].to(context.device))[0]
            _write(context.out / "images", pair, to_uint8(restored))
    return Result()


def _write(folder: Path, pair: Pair, image: np.ndarray) -> None:
    folder.mkdir(exist_ok=True)
    Image.fromarray(image).save(folder / f"{pair.image_name}.png")

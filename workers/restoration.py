"""Restoration: the images that a generator, or bicubic interpolation, makes of one test set, as 8-bit PNG.

Bicubic (no generator) besides keeps `reference/` and `low_resolution/`, once for all methods.
"""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from PIL import Image

from orchestrator.spec import Restoration
from workers.context import Context, Result
from workers.data.photographs import to_tensor, to_uint8
from workers.data.sr_pairs import Pair, evaluation_pairs, upscale_bicubic
from workers.resuming import Images, Steps
from workers.weights import load_generator


def run(spec: Restoration, context: Context) -> Result:
    """Writes `images/<name>.png` for each image of the test set."""
    pairs = evaluation_pairs(spec.test, context.sources, spec.scale)
    restored = _generated(context) if spec.super_resolution is not None else _bicubic(spec.scale)
    for step in Steps(context, len(pairs), {"images": Images(context.out)}):
        pair = pairs[step]
        _write(context.out / "images", pair, restored(pair.low))
        if spec.super_resolution is None:
            _write(context.out / "reference", pair, pair.high)
            _write(context.out / "low_resolution", pair, pair.low)
    return Result()


def _bicubic(scale: int) -> Callable[[np.ndarray], np.ndarray]:
    return lambda low: upscale_bicubic(low, scale)


def _generated(context: Context) -> Callable[[np.ndarray], np.ndarray]:
    generator = load_generator(context.parent("super_resolution")).to(context.device).eval()

    @torch.inference_mode()
    def restored(low: np.ndarray) -> np.ndarray:
        return to_uint8(generator(to_tensor(low)[None].to(context.device))[0])

    return restored


def _write(folder: Path, pair: Pair, image: np.ndarray) -> None:
    folder.mkdir(exist_ok=True)
    Image.fromarray(image).save(folder / f"{pair.image_name}.png")

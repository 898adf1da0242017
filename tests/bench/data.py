"""Data: how long training waits for its batches, and random crops from the store against decoding the PNG each time.

There is no loader process. On a GPU a thread makes the batch of the next step while one trains; on a CPU, whose cores
all train, trainings make their batches between two steps. What they wait for is measured inside the product's recipes,
on the demo's cheapest trainings (those that need no other trial), and on 48-pixel patches of a memory-mapped store of
2K images with the demo's small generator, so that a step is cheap.
"""

import dataclasses
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
from PIL import Image

from orchestrator import grid as grids
from orchestrator import matrix, spec
from orchestrator.manifests import Manifests
from tests.bench.paired import HEADER, alternate
from workers import training, trial
from workers.context import Context
from workers.data import photographs
from workers.data.pixels import open_pixels
from workers.offline import replaced
from workers.sources import DataFolders, Sources

DEMO = Path("grids/demo.yaml")
STEPS, SKIPPED = 40, 5
STEPS_2K, PATCH, BATCH = 8, 48, 4
WIDE, HIGH, IMAGES = 2040, 1356, 4
"""A typical image of DIV2K, pixels, and how many are made."""
CROP, CROPS, DECODED, ROUNDS = 48, 4096, 4, 5
"""Crops a round from the store, and by decoding."""


def report(device: str) -> str:
    """Both tables."""
    training.settle("reference")
    with TemporaryDirectory() as folder:
        files = _write_2k(Path(folder) / "images")
        waits = [*_demo(device), _of_2k(Path(folder), device)]
        crops = _crops(files, Path(folder))
    return (
        "| training | batch ready after | step | waits (least to most) | target |\n|---|---:|---:|---:|---|\n"
        + "\n".join(waits)
        + f"\n\nRandom crops of {CROP} x {CROP} pixels as float tensors from {IMAGES} images of {WIDE} x {HIGH} pixels "
        f"(photographs of scikit-image, enlarged), the pages of the store in memory; time of one:\n\n{HEADER}\n{crops}"
    )


# --------------------------------------------------------------------------------------------------- waiting


def _demo(device: str) -> Iterator[str]:
    """A row for each training of the demo that needs no other trial, by kind, backbone and task."""
    labels = matrix.expand(grids.load(DEMO), Manifests()).labels
    found: dict[str, Any] = {}
    for one in _trials(label.spec for label in labels):
        if hasattr(one, "training") and not spec.parents(one):
            model = one.backbone.model if hasattr(one, "backbone") else "SwinIR"
            found.setdefault(f"demo: {one.KIND} {getattr(one, 'task', '')} {model}".replace("  ", " "), one)
    for name, one in found.items():
        settings = {"steps": STEPS} | ({"evaluate_every": STEPS} if hasattr(one.training, "evaluate_every") else {})
        with TemporaryDirectory() as folder:
            yield _row(name, _retrained(one, **settings), Context({}, Path(folder), device=device))


def _trials(specs: Any) -> Iterator[Any]:
    """All trials of a study, parents first."""
    seen: set[Any] = set()
    stack = list(specs)[::-1]
    while stack:
        one = stack.pop()
        if one not in seen:
            seen.add(one)
            stack += [parent for _, parent in spec.parents(one)]
            yield one


def _retrained(one: Any, **settings: Any) -> Any:
    return dataclasses.replace(one, training=dataclasses.replace(one.training, **settings))


def _of_2k(folder: Path, device: str) -> str:
    """The demo's warm-up on patches of the 2K images, which it validates on small crops of."""
    labels = matrix.expand(grids.load(DEMO), Manifests()).labels
    warm_up = next(
        one
        for one in _trials(label.spec for label in labels)
        if isinstance(one, spec.SuperResolution) and one.start is None
    )
    images = spec.SrImages(name="2k", content="0" * 64, part="all", hold_out=0, crop=0)
    one = dataclasses.replace(warm_up, train=images)
    one = _retrained(one, steps=STEPS_2K, patch=PATCH, batch=BATCH)
    sources = Sources(data={images.content: DataFolders("images", (folder / "images",))}, cache=folder / "cache")
    context = Context({}, folder, device=device, sources=sources)
    return _row(f"2K store: {BATCH} patches of {PATCH} px, the demo's SwinIR", one, context)


def _row(name: str, one: Any, context: Context) -> str:
    """Runs a training and says what share of its steps was waiting."""
    waited: list[float] = []
    steps: list[float] = []
    with _timed(waited, steps):
        trial.run(one, context)
    pairs = list(zip(waited, steps, strict=False))[min(SKIPPED, len(steps) // 4) : -1]  # the last step evaluates
    shares = [100 * wait / step for wait, step in pairs]
    wait, step = (1e3 * median(values) for values in zip(*pairs, strict=True))
    spread = f"{min(shares):.1f} to {max(shares):.1f}"
    return f"| {name} | {wait:.2f} ms | {step:.1f} ms | {median(shares):.1f} % ({spread}) | 3 % |"


@contextmanager
def _timed(waited: list[float], steps: list[float]) -> Iterator[None]:
    """Notes the seconds of each batch and of each step meanwhile."""
    note, wait = training.Loop._note_seconds, training.Loop._waited

    def noted(loop: training.Loop, started: float) -> None:
        steps.append(time.perf_counter() - started)
        note(loop, started)

    def noted_wait(loop: training.Loop, batch: Callable[[], Any]) -> Any:
        found = wait(loop, batch)
        waited.append(loop.waits[-1])
        return found

    with replaced(training.Loop, "_note_seconds", noted), replaced(training.Loop, "_waited", noted_wait):
        yield


# ----------------------------------------------------------------------------------------------------- crops


def _write_2k(folder: Path) -> list[Path]:
    folder.mkdir()
    names = ("china", "coffee", "chelsea", "rocket")[:IMAGES]
    for name in names:
        image = Image.fromarray(photographs.load(spec.photograph(name)))
        image.resize((WIDE, HIGH), Image.Resampling.BICUBIC).save(folder / f"{name}.png")
    return [folder / f"{name}.png" for name in names]


def _crops(files: list[Path], folder: Path) -> str:
    store = open_pixels("1" * 64, [(file.stem, file) for file in files], folder / "cache")
    rng = np.random.default_rng(0)

    def ours() -> None:
        for k in range(CROPS):
            photographs.to_tensor(photographs.random_crop(store[files[k % IMAGES].stem], CROP, rng))

    def other() -> None:
        for k in range(DECODED):
            image = np.asarray(Image.open(files[k % IMAGES]).convert("RGB"))
            photographs.to_tensor(photographs.random_crop(image, CROP, rng))

    found = alternate(ours, other, ROUNDS)
    found = dataclasses.replace(found, ours=[s / CROPS for s in found.ours], other=[s / DECODED for s in found.other])
    times = [1 / ratio for ratio in found.ratios]
    row = found.row("store against PNG", "0.02 (50x)", "us")
    return f"{row}\n\n{median(times):,.0f} times as many crops ({min(times):,.0f} to {max(times):,.0f})."

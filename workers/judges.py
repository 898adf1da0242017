"""Judges: pyiqa's image quality metrics behind one call that gives a score for each image.

pyiqa is imported when the first judge is built, since that takes seconds; a built judge is kept for the whole process.
Weights come from the caches alone: a judge whose files are not there is an error at once, never a download.
"""

import importlib.metadata
import math
import sys
import warnings
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stdout
from functools import cache
from typing import Any

import torch
import torch.nn.functional as F

from orchestrator.spec import SMALLEST_IMAGE, unknown
from workers import offline
from workers.models.released import weights_alone
from workers.recalling import recalled

# Metrics that take one image at a time, by the beginning of their name. A-FINE's forward assumes a batch of one; MANIQA
# makes 20 crops of 224 pixels of an image, and LIQE one each 32 pixels (1.2 GB for a DIV2K photograph).
ONE_AT_A_TIME = ("afine", "maniqa", "liqe")

# Metrics that are faster one image at a time on a CPU (1.1 to 2.7 times at 128 pixels): each of their float64 maps then
# stays in the cache, and references can be recalled (recalling.py).
ALONE_ON_CPU = ("mad", "ms_ssim", "ssim", "ssimc", "vsi")

# Others score together what fits in this many pixels: 16 images of 512 x 512, one photograph of DIV2K.
PIXELS_AT_ONCE = 2**22

# A-FINE's ViT-B/32 has patches of 32 pixels and takes nothing else than multiples of it.
MULTIPLE = {"afine": 32}

# What building a judge of the study says, by the beginning of the message (regular expressions).
KNOWN_WARNINGS = (
    "pkg_resources is deprecated",  # openai-clip imports it
    r"`torch\.jit\.load` is deprecated",  # CLIP's weights are TorchScript archives
    "unclosed file",  # pyiqa computes a digest of CLIP's
    ".* exists, but the SHA256 checksum does not match",  # offline.py says so
)

# pyiqa refuses values further than this outside [0, 1] (InferenceModel.eps).
_TOLERANCE = 1e-6


class Judge:
    """A metric of pyiqa on one device; build it with `judge`."""

    name: str
    variant: str
    """Which of a metric's networks and training sets this is, in pyiqa's words, e.g. `LPIPS net=alex version=0.1`."""
    lower_better: bool
    """Whether a lower score means a better image; scores are reported as pyiqa gives them."""
    full_reference: bool
    """Whether the score depends on the reference; others are never given it."""

    def __init__(self, name: str, metric: Any, batch: int, variant: str = "") -> None:
        self.name, self.variant, self._metric = name, variant, metric
        self._batch = 1 if name.startswith(ONE_AT_A_TIME) else batch
        self._minimum = SMALLEST_IMAGE.get(name, 1)
        self._multiple = next((n for start, n in MULTIPLE.items() if name.startswith(start)), 1)
        self.lower_better = bool(metric.lower_better)
        self.full_reference = metric.metric_mode == "FR"

    def scores(self, restored: torch.Tensor, reference: torch.Tensor | None = None) -> list[float]:
        """One score for each image of `restored`, float (N, 3, H, W) in [0, 1].

        `reference` is alike, and may be None for a no-reference judge, which is never given it. Inputs stay as they
        are: some metrics write into theirs, and get clones.

        Raises ValueError for inputs that are not such images or are too small, and for a score that is not finite.
        """
        self._check(restored, "restored")
        inputs = [restored]
        if self.full_reference:
            if reference is None or reference.shape != restored.shape:
                found = "none" if reference is None else tuple(reference.shape)
                allowed = f"the shape of restored, {tuple(restored.shape)}"
                raise ValueError(f"judge {self.name!r}: reference: found {found}; allowed: {allowed}")
            self._check(reference, "reference")
            inputs.append(reference)
        chunks = zip(*(torch.split(x.detach(), self._together(restored)) for x in inputs), strict=True)
        scores = [score for chunk in chunks for score in self._score(*chunk)]
        for i, score in enumerate(scores):
            if not math.isfinite(score):
                raise ValueError(f"judge {self.name!r}: the score of image {i} is {score}; allowed: finite scores")
        return scores

    def _together(self, images: torch.Tensor) -> int:
        """How many images are scored at once."""
        if images.device.type == "cpu" and self.name in ALONE_ON_CPU:
            return 1
        return max(1, min(self._batch, PIXELS_AT_ONCE // (images.shape[2] * images.shape[3])))

    def _score(self, *images: torch.Tensor) -> list[float]:
        """Scores of one batch; metrics give (n,), (n, 1) or, for one image, a scalar."""
        with recalled(self.name):
            values = self._metric(*(self._padded(x.float().clone()) for x in images)).reshape(-1)
        if len(values) != len(images[0]):
            found = f"{len(values)} scores for {len(images[0])} images"
            raise ValueError(f"judge {self.name!r}: found {found}; allowed: one each: add it to ONE_AT_A_TIME")
        return [float(value) for value in values]

    def _padded(self, images: torch.Tensor) -> torch.Tensor:
        """Right and bottom edges replicated up to a multiple. Resizing would resample the very artifacts that are
        judged, and cropping would leave some out; an edge that goes on adds no structure, to both images alike."""
        bottom, right = (-side % self._multiple for side in images.shape[2:])
        return F.pad(images, (0, right, 0, bottom), mode="replicate") if bottom or right else images

    def _check(self, images: torch.Tensor, role: str) -> None:
        where = f"judge {self.name!r}: {role}"
        if images.ndim != 4 or images.shape[1] != 3 or not images.is_floating_point():
            raise ValueError(f"{where}: found {images.dtype} {tuple(images.shape)}; allowed: float (N, 3, H, W)")
        if min(images.shape[2:]) < self._minimum:
            height, width = images.shape[2:]
            raise ValueError(f"{where}: found {height} x {width} pixels; allowed: at least {self._minimum} a side")
        if not _in_range(images):
            i, image = next((i, image) for i, image in enumerate(images) if not _in_range(image))
            low, high = map(float, image.aminmax())
            raise ValueError(f"{where}: found values {low} to {high} in image {i}; allowed: 0 to 1, clamp them")


def _in_range(images: torch.Tensor) -> bool:
    low, high = map(float, images.aminmax())
    return low >= -_TOLERANCE and high <= 1 + _TOLERANCE  # false for NaN


def judge(name: str, device: str | torch.device = "cpu", batch: int = 16) -> Judge:
    """The judge `name` on `device`, scoring up to `batch` images at once; built once a process.

    Raises ValueError for a name that pyiqa does not know, and workers.offline.MissingWeights when a file that it loads
    is in no cache.
    """
    return _judge(
        name, str(torch.device(device)), batch
    )  # the cache tells "cpu" from no device and torch.device("cpu")


@cache
def _judge(name: str, device: str, batch: int) -> Judge:
    with prepared(name), offline.closed(f"judge {name!r}"):
        return build(name, device, batch)


@contextmanager
def prepared(name: str) -> Iterator[None]:
    """For building: `name` is checked, pyiqa imported, its prints sent to stderr, its known warnings and its draws of
    random numbers kept inside. Raises ValueError for a name that pyiqa does not know."""
    with warnings.catch_warnings(), torch.random.fork_rng(devices=[]), redirect_stdout(sys.stderr):
        for message in KNOWN_WARNINGS:
            warnings.filterwarnings("ignore", message=message)
        import pyiqa

        if name not in (names := pyiqa.list_models()):
            raise unknown("judge", name, names)
        yield


def build(name: str, device: str | torch.device = "cpu", batch: int = 16) -> Judge:
    """As `judge`, but anew and with whatever network there is; to be called in `prepared`. Raises UnusableWeights
    for a file that holds more than weights."""
    import pyiqa
    from pyiqa.default_model_configs import DEFAULT_CONFIGS

    options = dict(DEFAULT_CONFIGS[name]["metric_opts"])
    variant = " ".join([options.pop("type"), *(f"{option}={value}" for option, value in options.items())])
    with weights_alone():
        return Judge(name, pyiqa.create_metric(name, device=torch.device(device)), batch, variant)


def version() -> str:
    """The installed version of pyiqa: part of a judging trial's identity, since scores change with it."""
    return importlib.metadata.version("pyiqa")

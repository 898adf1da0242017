"""Judges: pyiqa's image quality metrics behind one call that gives a score for each image.

pyiqa is imported when the first judge is built, since that takes seconds; a built judge is kept for the whole process.
"""

import importlib.metadata
import math
import warnings
from functools import cache
from typing import Any

import torch

from orchestrator.spec import unknown

# Metrics that take one image at a time, by the beginning of their name: A-FINE's forward assumes a batch of one.
ONE_AT_A_TIME = ("afine",)

# pyiqa refuses values further than this outside [0, 1] (InferenceModel.eps).
_TOLERANCE = 1e-6


class Judge:
    """A metric of pyiqa on one device; build it with `judge`."""

    name: str
    lower_better: bool
    """Whether a lower score means a better image; scores are reported as pyiqa gives them."""
    full_reference: bool
    """Whether the score depends on the reference; others are never given it."""

    def __init__(self, name: str, metric: Any, batch: int) -> None:
        self.name, self._metric = name, metric
        self._batch = 1 if name.startswith(ONE_AT_A_TIME) else batch
        self.lower_better = bool(metric.lower_better)
        self.full_reference = metric.metric_mode == "FR"

    def scores(self, restored: torch.Tensor, reference: torch.Tensor | None = None) -> list[float]:
        """One score for each image of `restored`, float (N, 3, H, W) in [0, 1].

        `reference` is alike, and may be None for a no-reference judge, which is never given it. Inputs stay as they
        are: some metrics write into theirs, and get clones.

        Raises ValueError for inputs that are not such images, and for a score that is not finite.
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
        chunks = zip(*(torch.split(x.detach(), self._batch) for x in inputs), strict=True)
        scores = [score for chunk in chunks for score in self._score(*chunk)]
        for i, score in enumerate(scores):
            if not math.isfinite(score):
                raise ValueError(f"judge {self.name!r}: the score of image {i} is {score}; allowed: finite scores")
        return scores

    def _score(self, *images: torch.Tensor) -> list[float]:
        """Scores of one batch; metrics give (n,), (n, 1) or, for one image, a scalar."""
        values = self._metric(*(x.float().clone() for x in images)).reshape(-1)
        if len(values) != len(images[0]):
            found = f"{len(values)} scores for {len(images[0])} images"
            raise ValueError(f"judge {self.name!r}: found {found}; allowed: one each: add it to ONE_AT_A_TIME")
        return [float(value) for value in values]

    def _check(self, images: torch.Tensor, role: str) -> None:
        where = f"judge {self.name!r}: {role}"
        if images.ndim != 4 or images.shape[1] != 3 or not images.is_floating_point():
            raise ValueError(f"{where}: found {images.dtype} {tuple(images.shape)}; allowed: float (N, 3, H, W)")
        for i, image in enumerate(images):
            low, high = float(image.min()), float(image.max())
            if not (low >= -_TOLERANCE and high <= 1 + _TOLERANCE):  # written so that NaN is refused too
                raise ValueError(f"{where}: found values {low} to {high} in image {i}; allowed: 0 to 1, clamp them")


@cache
def judge(name: str, device: str | torch.device = "cpu", batch: int = 16) -> Judge:
    """The judge `name` on `device`, scoring `batch` images at once; built once a process.

    Weights, where a metric has any, are read from pyiqa's cache. Raises ValueError for a name that pyiqa does not know.
    """
    with warnings.catch_warnings(), torch.random.fork_rng(devices=[]):
        # Of openai-clip, which some metrics import.
        warnings.filterwarnings("ignore", message="pkg_resources is deprecated", category=UserWarning)
        import pyiqa

        if name not in (names := pyiqa.list_models()):
            raise unknown("judge", name, names)
        return Judge(name, pyiqa.create_metric(name, device=torch.device(device)), batch)


def version() -> str:
    """The installed version of pyiqa: part of a judging trial's identity, since scores change with it."""
    return importlib.metadata.version("pyiqa")

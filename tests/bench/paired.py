"""Paired timing: two ways to do the same, alternating in one process, so that what else the machine does meets both."""

import gc
import statistics
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch

Work = Callable[[], object]
HEADER = "| what | ours | the other | ratio (least to most) | target |\n|---|---:|---:|---:|---|"


@dataclass(frozen=True)
class Paired:
    """Seconds (or bytes) of both sides, round by round."""

    ours: Sequence[float]
    other: Sequence[float]

    @property
    def ratios(self) -> list[float]:
        """Ours / the other's, of each round."""
        return [a / b for a, b in zip(self.ours, self.other, strict=True)]

    @property
    def ratio(self) -> float:
        """Median over the rounds."""
        return statistics.median(self.ratios)

    def row(self, what: str, target: str, unit: str = "ms") -> str:
        """A row below `HEADER`: medians, the median ratio, and its spread."""
        ours, other = (_amount(statistics.median(side), unit) for side in (self.ours, self.other))
        spread = f"{min(self.ratios):.2f} to {max(self.ratios):.2f}"
        return f"| {what} | {ours} | {other} | {self.ratio:.2f} ({spread}) | {target} |"


def alternate(ours: Work, other: Work, rounds: int = 9, device: str = "cpu") -> Paired:
    """Times both in turn, who goes first changing from round to round, after one round to warm up that does not count.
    Work on a GPU is waited for."""
    seconds: tuple[list[float], list[float]] = [], []
    for turn in range(rounds + 1):
        sides = list(zip((ours, other), seconds, strict=True))
        for work, found in sides if turn % 2 else reversed(sides):
            gc.collect()
            started = time.perf_counter()
            work()
            if device.startswith("cuda"):
                torch.cuda.synchronize()
            if turn:
                found.append(time.perf_counter() - started)
    return Paired(*seconds)


def _amount(value: float, unit: str) -> str:
    scale = {"s": 1.0, "ms": 1e3, "us": 1e6, "MB": 1e-6}[unit]
    return f"{value * scale:,.3g} {unit}"

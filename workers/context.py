"""What a trial is given, and what it gives back."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from workers.sources import Sources


class Interrupted(Exception):
    """The trial stopped on request. Run again, it goes on from its checkpoint."""


def _unheard(step: int, steps: int, values: Mapping[str, float]) -> None:
    """Nobody listens to the progress of a trial that is run by hand."""


def _never() -> bool:
    return False


@dataclass(frozen=True)
class Context:
    """The surroundings of one trial; nothing in it may change a result."""

    inputs: Mapping[str, Path]
    """Folder of the finished parent for each role, e.g. `discriminator.weights`."""
    out: Path
    """The folder for the results."""
    checkpoints: Path | None = None
    """Where checkpoints are kept for the next attempt; `out`/checkpoint unless given."""
    key: str = ""
    """The trial's key, for the rows of its tables."""
    device: str = "cpu"
    sources: Sources = field(default_factory=Sources)
    """Where the data sets and released weights lie that the spec names by content."""
    checkpoint_seconds: float = 300.0
    count_flops: bool = False
    """Whether to count floating-point operations into `measured`: it slows a trial, so only rehearsals ask for it."""
    measured: dict[str, float] = field(default_factory=dict)
    """What the trial cost, for its record: seconds_per_step, flops_per_step, seconds_saving (checkpoints); first_step:
    after how many steps it went on from a checkpoint."""
    report: Callable[[int, int, Mapping[str, float]], None] = _unheard
    """Takes (step, of how many, values) now and then."""
    should_stop: Callable[[], bool] = _never
    """Whether to save a checkpoint and raise Interrupted."""

    keep: Callable[[Path], None] = lambda path: None
    """Takes each checkpoint that was written, to keep it where other nodes find it."""

    @property
    def checkpoint_folder(self) -> Path:
        """Where checkpoints are."""
        return self.checkpoints or self.out / "checkpoint"

    def parent(self, role: str) -> Path:
        """Folder of the parent in `role`. Raises FileNotFoundError saying how to give it."""
        if role not in self.inputs:
            raise FileNotFoundError(f"input {role} is missing; give --input {role}=FOLDER (given: {list(self.inputs)})")
        return self.inputs[role]


@dataclass(frozen=True)
class Result:
    """Outcome of a recipe that ran to its end; its files lie in the trial's folder."""

    status: Literal["done", "diverged"] = "done"
    numbers: Mapping[str, float] = field(default_factory=dict)
    """Named figures, not rounded. Their meaning stands in the recipe's docstring."""
    note: str = ""
    """Why a run diverged."""

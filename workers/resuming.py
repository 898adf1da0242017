"""Work in steps that may be interrupted after any of them, and goes on later with the same bits."""

import pickle
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, Protocol

import torch

from workers.checkpoints import Checkpoints, packed, unpacked
from workers.context import Context, Interrupted

UNUSABLE = (OSError, AttributeError, LookupError, RuntimeError, TypeError, ValueError, pickle.UnpicklingError)
"""What reading and taking a checkpoint raises that is damaged, on a bad disk, or of an older layout."""


class Stateful(Protocol):
    """Whatever takes part in a checkpoint."""

    def state_dict(self) -> dict[str, Any]: ...

    def load_state_dict(self, state: dict[str, Any], /) -> Any: ...


Work = Callable[[int, Mapping[str, Stateful]], Iterable[int]]
"""Takes how many steps there are and all that changes meanwhile; gives those to do, e.g. partial(Steps, context)."""
Which = Callable[[int], Iterable[int]]
"""The same, of work that says elsewhere what changes: `range` is all steps."""


def at_once(steps: int, parts: Mapping[str, Stateful]) -> Iterable[int]:
    """All steps, of work that is not interrupted."""
    return range(steps)


class Collected:
    """What was computed so far, in order: numbers, tensors, or tuples of them."""

    def __init__(self) -> None:
        self.items: list[Any] = []

    def state_dict(self) -> dict[str, Any]:
        """For a checkpoint."""
        return {"items": self.items}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """From a checkpoint."""
        self.items = list(state["items"])


class Images:
    """PNG files below a folder that were written so far."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def state_dict(self) -> dict[str, Any]:
        """For a checkpoint: the bytes of each."""
        files = {str(path.relative_to(self.folder)): path.read_bytes() for path in self.folder.rglob("*.png")}
        return {name: torch.frombuffer(bytearray(files[name]), dtype=torch.uint8) for name in sorted(files)}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """From a checkpoint."""
        for name, content in state.items():
            (self.folder / name).parent.mkdir(parents=True, exist_ok=True)
            (self.folder / name).write_bytes(content.numpy().tobytes())


class Steps:
    """Iterates over the steps of a trial's work, resumes where the last checkpoint was, and writes the next ones.

    `parts` are all that changes meanwhile. Iterating yields the step to do; after the recipe has done it a checkpoint
    is saved when one is due, and when the trial is asked to stop one is saved and Interrupted raised. `of` tells this
    work from others of the same trial, whose checkpoints are none of its own.
    """

    REPORT_SECONDS = 2.0
    SPACING = 100.0
    """Between two timed checkpoints are so many times the seconds of the last: they cost below 1 % of a trial."""

    def __init__(self, context: Context, steps: int, parts: Mapping[str, Stateful], of: str = "") -> None:
        self.context, self.steps, self.parts, self.of = context, steps, parts, of
        self.checkpoints = Checkpoints(context.checkpoint_folder, context.out)
        self.told = False
        """Whether it was said that a checkpoint could not be written."""

    def __iter__(self) -> Iterator[int]:
        first = self._resume()
        self.context.measured["first_step"] = float(first)
        saved = reported = time.monotonic()
        pause = self.context.checkpoint_seconds
        for step in range(first, self.steps):
            yield step
            now = time.monotonic()
            if now - reported > self.REPORT_SECONDS:
                self.context.report(step + 1, self.steps, self.latest())
                reported = now
            if self.context.should_stop():
                self._save(step + 1)
                raise Interrupted(f"stopped on request after step {step + 1} of {self.steps}")
            if now - saved > pause:
                seconds = self._save_in_time(step + 1)
                saved, pause = time.monotonic(), max(self.context.checkpoint_seconds, self.SPACING * seconds)

    def latest(self) -> Mapping[str, float]:
        """The newest values, for those who watch."""
        return {}

    def _resume(self) -> int:
        """Takes the newest checkpoint that can be used; returns the first step to do. What one that cannot be used has
        changed before that was seen is put back."""
        found = self.checkpoints.newest_first()
        start = packed(self._state(0)) if found else b""
        for path in found:
            try:
                state = self.checkpoints.read(path)
                if state.get("of", "") == self.of:
                    step = self._take(state)
                    self.checkpoints.good = path
                    return step
            except torch.OutOfMemoryError:  # a RuntimeError that says nothing about the checkpoint
                raise
            except UNUSABLE as error:
                why = " ".join(f"{type(error).__name__}: {error}".split())[:300]
                print(f"checkpoint {path.name} cannot be used, the one before it or none is: {why}")
                self._take(unpacked(start))
        return 0

    def _state(self, step: int) -> dict[str, Any]:
        return {"step": step, "of": self.of, **{name: part.state_dict() for name, part in self.parts.items()}}

    def _take(self, state: dict[str, Any]) -> int:
        for name, part in self.parts.items():
            part.load_state_dict(state[name])
        return int(state["step"])

    def _save(self, step: int) -> None:
        self.context.keep(self.checkpoints.save(step, self._state(step)))

    def _save_in_time(self, step: int) -> float:
        """Saves a checkpoint that the trial can do without; returns the seconds that this took."""
        began = time.monotonic()
        try:
            self._save(step)
        except FileNotFoundError:  # another process has taken the trial over
            raise
        except OSError as error:
            if not self.told:
                print(f"no checkpoint after step {step}, nor later ones while this lasts; the trial goes on: {error}")
            self.told = True
        seconds = time.monotonic() - began
        measured = self.context.measured
        measured["seconds_saving"] = measured.get("seconds_saving", 0.0) + seconds
        return seconds

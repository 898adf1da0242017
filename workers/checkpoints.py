"""What a training needs to go on: files `<step>-<digest>.pt`, the name of each saying what its bytes must be.

A checkpoint is written beside the results, where a holder that lost its lease has no place any more, and moved in when
it has reached the disk: a kill or a full disk leaves the last good one untouched. One that is damaged later is told by
its digest and passed over for the one before; where none is whole the training starts again.
"""

import hashlib
import io
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch

KEPT = 2


class Checkpoints:
    """The checkpoints of one training, in `folder`; `scratch` is a folder on the same file system."""

    def __init__(self, folder: Path, scratch: Path) -> None:
        self.folder, self.scratch = folder, scratch

    def load(self) -> dict[str, Any] | None:
        """The newest state that is whole, its tensors on the CPU; None where there is none."""
        for path in self.newest_first():
            content = path.read_bytes()
            if path.name == _name(step_of(path), content):
                return dict(torch.load(io.BytesIO(content), weights_only=True, map_location="cpu"))
            path.unlink()  # or it would count as one of those that are kept
        return None

    def save(self, step: int, state: Mapping[str, Any]) -> Path:
        """Adds the state after `step` steps, removes all but the last two, and returns its file. OSError when the disk
        is full; FileNotFoundError when another process has taken the lease over."""
        buffer = io.BytesIO()
        torch.save({"step": step, **state}, buffer)
        content = buffer.getbuffer()
        temporary, path = self.scratch / ".checkpoint", self.folder / _name(step, content)
        try:
            with open(temporary, "wb") as file:
                file.write(content)
                file.flush()
                os.fsync(file.fileno())
            os.stat(self.scratch)  # a holder that hung meanwhile would leave a folder in a trial that is finished
            self.folder.mkdir(parents=True, exist_ok=True)
            os.replace(temporary, path)
        except OSError:
            temporary.unlink(missing_ok=True)
            raise
        for old in self.newest_first()[KEPT:]:
            old.unlink(missing_ok=True)
        return path

    def newest_first(self) -> list[Path]:
        """Files of checkpoints, by their step."""
        return sorted(self.folder.glob("*-*.pt"), key=step_of, reverse=True)


def step_of(path: Path) -> int:
    """How many steps were done when a checkpoint was written, from its name; -1 for another file."""
    step = path.name.partition("-")[0]
    return int(step) if step.isdecimal() else -1


def _name(step: int, content: bytes | memoryview) -> str:
    return f"{step:09}-{hashlib.sha256(content).hexdigest()[:16]}.pt"

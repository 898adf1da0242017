"""What a trial needs to go on: files `<step>-<digest>.pt`, the name of each saying what its bytes must be.

A checkpoint is written beside the results, where a holder that lost its lease has no place any more, and moved in when
it has reached the disk: a kill or a full disk leaves the last good one untouched. One that is damaged later is told by
its digest; resuming.py passes it over for the one before.
"""

import hashlib
import io
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch


class Checkpoints:
    """The checkpoints of one trial, in `folder`; `scratch` is a folder on the same file system."""

    def __init__(self, folder: Path, scratch: Path) -> None:
        self.folder, self.scratch = folder, scratch
        self.known = set(self.newest_first())
        """Those of this process, and of those before it: others are never removed."""
        self.good: Path | None = None
        """The last one that was saved here, or that the trial went on from: it stays beside the next."""

    def read(self, path: Path) -> dict[str, Any]:
        """The state in a file, its tensors on the CPU. ValueError where that is not what was written."""
        content = path.read_bytes()
        if path.name != _name(step_of(path), content):
            raise ValueError("it is not what was written: another digest")
        return unpacked(content)

    def save(self, step: int, state: Mapping[str, Any]) -> Path:
        """Adds the state after `step` steps, removes all but it and the last good one, and returns its file. OSError
        when the disk is full; FileNotFoundError when another process has taken the lease over."""
        content = packed(state)
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
        kept = {path, self.good or path}
        for old in self.known - kept:
            old.unlink(missing_ok=True)
        self.known, self.good = kept, path
        return path

    def newest_first(self) -> list[Path]:
        """Files of checkpoints, by their step."""
        return sorted(self.folder.glob("*-*.pt"), key=step_of, reverse=True)


def packed(state: Mapping[str, Any]) -> memoryview:
    """The bytes of a state."""
    buffer = io.BytesIO()
    torch.save(dict(state), buffer)
    return buffer.getbuffer()


def unpacked(content: bytes | memoryview) -> dict[str, Any]:
    """The state of these bytes, its tensors on the CPU."""
    return dict(torch.load(io.BytesIO(content), weights_only=True, map_location="cpu"))


def step_of(path: Path) -> int:
    """How many steps were done when a checkpoint was written, from its name; -1 for another file."""
    step = path.name.partition("-")[0]
    return int(step) if step.isdecimal() else -1


def _name(step: int, content: bytes | memoryview) -> str:
    return f"{step:09}-{hashlib.sha256(content).hexdigest()[:16]}.pt"

"""What is told of a trial in its folder: its attempts, how far it is, and what it prints. Readers count as not there
what is damaged or was cut by a dying process."""

import contextlib
import io
import json
import os
import time
from pathlib import Path
from typing import Any

from orchestrator.disk import token

LOG = "log.txt"


def attempts(folder: Path) -> list[dict[str, Any]]:
    """The history of attempts, oldest first, without lines that a dying process left unfinished or that are damaged."""
    with contextlib.suppress(FileNotFoundError):
        lines = (folder / "attempts.jsonl").read_text(errors="replace").splitlines()
        return [found for line in lines if (found := sound_attempt(line))]
    return []


def note_attempt(folder: Path, **what: Any) -> None:
    """Appends one line to the trial's history of attempts."""
    path = folder / "attempts.jsonl"
    cut = path.exists() and not path.read_bytes().endswith(b"\n")  # whoever wrote last died while writing
    with open(path, "a") as file:
        file.write("\n" * cut + json.dumps({"time": round(time.time(), 3), **what}) + "\n")


def note_progress(folder: Path, step: int, steps: int, **more: Any) -> None:
    """Says how far a running trial is, for whoever watches. Not synced to disk: it is worth nothing after a crash.
    `more`: what progress.Running knows, e.g. per_second."""
    temporary = folder / f".progress.{token()}"
    try:
        temporary.write_text(json.dumps({"time": time.time(), "step": step, "steps": steps, **more}))
        os.replace(temporary, folder / "progress.json")
    except OSError:
        with contextlib.suppress(OSError):
            temporary.unlink(missing_ok=True)


class Printed(io.TextIOBase):
    """What a trial prints, at the end of its log. A trial that prints nothing has none."""

    def __init__(self, folder: Path) -> None:
        self.path = folder / LOG

    def writable(self) -> bool:
        return True

    def write(self, text: str) -> int:
        with contextlib.suppress(OSError), open(self.path, "a") as file:  # a full disk ends no training for a word
            file.write(text)
        return len(text)


LAST_SECOND = 253402300799
"""Of the year 9999: no attempt is later."""


def sound_attempt(line: str) -> dict[str, Any] | None:
    """A line of a history: what note_attempt has written, with a `time` and an `outcome`; None for another."""
    found = parsed(line)
    if not isinstance(found, dict) or not isinstance(found.get("outcome"), str):
        return None
    time = found.get("time")
    return found if isinstance(time, int | float) and 0 <= time <= LAST_SECOND else None


def sound_progress(said: Any) -> dict[str, Any] | None:
    """What note_progress has said: numbers by name, and `values` of a training, which may be none; None for another."""
    if not isinstance(said, dict) or not isinstance(values := said.get("values", {}), dict):
        return None
    numbers = all(_is_number(value) for name, value in said.items() if name != "values")
    return said if numbers and all(isinstance(value, float) or _is_number(value) for value in values.values()) else None


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and abs(value) < 1e300


def parsed(content: str | bytes) -> Any:
    """JSON, or None."""
    with contextlib.suppress(ValueError, RecursionError):
        return json.loads(content)
    return None

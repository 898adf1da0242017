"""How the holder of a trial's lease changes its folder: so that it changes nothing once another has taken the lease.

Its work folder, `work.*` in the trial's, is the fence of lease.py: results leave it by a move, and what is to be
removed is moved into it first. Without that folder no such move succeeds.
"""

import contextlib
import os
import shutil
from pathlib import Path

from orchestrator.disk import remove, sync_folder, token
from orchestrator.history import LOG

WORK = "work."
HELD = "held"
"""In a work folder with results: whoever has lost it and makes it again, to write a file, does not make this."""
OWN = {"spec.json", "record.json", "DONE", "FAILED", "lock", "attempts.jsonl", LOG, "progress.json", "checkpoint"}
"""The store's bookkeeping and the checkpoint: what is no result."""


def is_work(name: str) -> bool:
    """Whether a file of a trial's folder is the work folder of one who holds or held its lease, or is being removed."""
    return name.removeprefix(".").startswith(WORK)


def put_away(path: Path, own: Path) -> None:
    """Takes a file or folder of a trial away by moving it to the work folder of who holds the lease, out of which
    `empty` removes it; that folder itself stays. BlockingIOError when another process has taken the lease."""
    if path != own:
        try:
            os.rename(path, own / f".{token()}")
        except FileNotFoundError:  # else another was faster to remove it
            if not own.is_dir():
                raise lost(own) from None


def empty(own: Path) -> None:
    """Removes what was put away in a work folder."""
    for path in own.glob(".*"):
        remove(path)


def place(own: Path, name: str = "") -> Path:
    """A new folder in the work folder of who holds the lease. BlockingIOError when another process has taken it."""
    made = own / (name or token())
    try:
        made.mkdir()
    except FileNotFoundError:
        raise lost(own) from None
    return made


def lost(own: Path) -> BlockingIOError:
    """What is raised where another process has taken the lease."""
    return BlockingIOError(f"{own.parent}: this process stood still, and another works on this trial now")


def discard(folder: Path, own: Path) -> None:
    """Makes a finished trial an unfinished one without results and checkpoints. `own` is the work folder of this
    process, which holds the lease."""
    put_away(folder / "DONE", own)  # from here on the trial is unfinished
    sync_folder(folder)
    kept = OWN - {"record.json", "checkpoint", "FAILED"}
    for name in os.listdir(folder):
        if name not in kept and not name.startswith((".", WORK)):
            put_away(folder / name, own)
    empty(own)


def clear(folder: Path, own: Path) -> None:
    """Removes a trial's folder. The lock goes last: from then on another process may hold the trial, and this one
    removes nothing but its own folder, and the trial's if that is empty."""
    discard(folder, own)  # from here on it is unfinished, whatever happens next
    for name in sorted(os.listdir(folder), key=lambda name: name == "lock"):
        put_away(folder / name, own)
    shutil.rmtree(own, ignore_errors=True)
    with contextlib.suppress(OSError):  # another makes the trial anew
        folder.rmdir()


def leftovers(folder: Path) -> list[Path]:
    """What of a finished trial's folder nobody needs: checkpoint, work folders, files that a kill has cut."""
    gone, cut = ("checkpoint", "progress.json", "FAILED"), (".progress.", ".spec.json.", ".FAILED.")
    return [folder / name for name in os.listdir(folder) if name in gone or is_work(name) or name.startswith(cut)]

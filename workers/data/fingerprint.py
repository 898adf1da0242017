"""Whether files of data sets have changed since they were looked at: by name, size and time, none is read.

Changes that keep name, size and modification time of a file are not seen.
"""

import hashlib
import os
from collections.abc import Sequence
from pathlib import Path

from workers.data.layouts.rows import relative_files


def fingerprint(layout: str, folders: Sequence[Path], low: Sequence[Path] = (), scale: int | None = None) -> str:
    """SHA-256 over what is asked for, as `scan.scan` is, and over the states of all files in the folders; empty where a
    folder is absent. Never raises for what lies there."""
    if not all(map(os.path.isdir, (*folders, *low))):
        return ""
    asked = (layout, list(map(str, folders)), list(map(str, low)), scale if low else None)
    digest = hashlib.sha256(repr(asked).encode())
    for folder in (*folders, *low):
        for name in sorted(relative_files(folder)):
            digest.update(repr((name, *_state(folder / name))).encode())
    return digest.hexdigest()


def _state(path: Path) -> tuple[int, ...]:
    """Size and time; those of a broken link itself, nothing where there is no right to look."""
    for look in (os.stat, os.lstat):
        try:
            status = look(path)
        except OSError:
            continue
        return status.st_size, status.st_mtime_ns
    return ()

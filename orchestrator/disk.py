"""Files as a trial's folder needs them: written whole or not at all, on the disk when it is said, and their digests."""

import contextlib
import errno
import hashlib
import os
import shutil
import uuid
from pathlib import Path

NO_ROOM = (errno.ENOSPC, errno.EDQUOT, errno.EROFS)
"""Errors of a disk on which nothing can be written any more."""


def token() -> str:
    """Part of a name that no other process gives: ids of processes are the same in many containers."""
    return uuid.uuid4().hex[:12]


def sha256(path: Path, sync: bool = False) -> str:
    """Hex digest of a file's bytes; with `sync`, once they have reached the disk."""
    with open(path, "rb") as file:
        if sync:
            os.fsync(file.fileno())
        return hashlib.file_digest(file, "sha256").hexdigest()


def write_atomic(path: Path, text: str, sync: bool = True) -> None:
    """Writes a text file so that a reader and, with `sync`, a machine that loses power finds either all of it or none.
    OSError, with the path, when the disk is full or the folder cannot be written."""
    temporary = path.with_name(f".{path.name}.{token()}")
    try:
        write(temporary, text, sync)
        os.replace(temporary, path)
        if sync:
            sync_folder(path.parent)
    except OSError as error:
        with contextlib.suppress(OSError):
            temporary.unlink(missing_ok=True)
        raise OSError(error.errno, error.strerror, str(path)) from None


def write(path: Path, text: str, sync: bool = True) -> None:
    with open(path, "w") as file:
        file.write(text)
        if sync:
            file.flush()
            os.fsync(file.fileno())


def sync_folder(path: Path) -> None:
    folder = os.open(path, os.O_RDONLY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)


def remove(path: Path) -> None:
    """Removes a file or folder, if it is there."""
    if path.is_dir():
        shutil.rmtree(path, ignore_errors=True)
    else:
        path.unlink(missing_ok=True)

"""Finished trials whose files cannot be used: each costs itself alone, and is told."""

import hashlib
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeVar

import pyarrow as pa

Content = TypeVar("Content")
READERS = 16
AT_ONCE = 128
"""Files in memory at a time."""


class Unusable(Exception):
    """What is wrong with a trial, in words that follow the path of its folder."""


def sift(
    folders: Mapping[str, Path],
    name: str,
    parse: Callable[[Path, Any], Content],
    fetch: Callable[[Path], Any] | None = None,
    digests: Mapping[str, str] | None = None,
) -> tuple[dict[str, Content], dict[str, str]]:
    """(what `parse` makes of the file `name` in each trial's folder, what is wrong where it raises Unusable or the file
    cannot be read), by the trial's key. `parse` takes the folder and the file's bytes, or what `fetch` gives instead.
    `digests`: SHA-256 of the bytes as they were written, by the trial's key; empty where that is not known.

    Several threads fetch: a large study has tens of thousands of small files, and where they are not in memory the time
    is all waiting for a disk or for shared storage.
    """
    found, faults, keys = {}, {}, list(folders)
    fetch = fetch or (lambda folder: (folder / name).read_bytes())
    with ThreadPoolExecutor(READERS) as pool:
        for start in range(0, len(keys), AT_ONCE):
            some = keys[start : start + AT_ONCE]
            fetched = [pool.submit(fetch, folders[key]) for key in some]
            for key, future in zip(some, fetched, strict=True):
                try:
                    with opened(name):
                        content = future.result()
                    if digests and digests.get(key, "") not in ("", hashlib.sha256(content).hexdigest()):
                        raise Unusable(f"{name} is not what was written: another digest")
                    found[key] = parse(folders[key], content)
                except Unusable as fault:
                    faults[key] = f"{folders[key]}: {fault}"
    return found, faults


@contextmanager
def opened(name: str) -> Iterator[None]:
    """Turns what reading the file `name` raises, when it is absent, truncated or not of its format, into Unusable."""
    try:
        yield
    except FileNotFoundError:
        raise Unusable(f"{name} is not there") from None
    except (OSError, ValueError, pa.ArrowException) as error:  # text and JSON that cannot be decoded are ValueErrors
        raise Unusable(f"{name} cannot be read ({(str(error).splitlines() or [type(error).__name__])[0]})") from None

"""Objects below one address of an object store, through pyarrow's file systems.

Counted on: an object is there whole or not at all, and whoever reads, lists or looks after a write has ended sees it.
S3 (since 2020), Google Cloud Storage, Azure and the usual S3-compatible servers promise both. Nothing else is: there is
no rename, and no write on a condition.
"""

import errno
import functools
import hashlib
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

from orchestrator.disk import NO_ROOM

T = TypeVar("T")

PAUSES = (0.5, 2.0)
"""Seconds before what failed is tried again; pyarrow's S3 client has tried for some seconds itself."""
PART = 8 * 1024**2
"""Bytes that are in memory at a time."""
PATIENCE = "retry_limit_seconds=20"
QUERIES = {"s3": "allow_delayed_open=true", "gs": PATIENCE, "gcs": PATIENCE}
"""What an address is opened with besides. S3: small objects are one request each instead of the three of a multipart
upload. Google's client would try again for a quarter of an hour."""
CREDENTIALS = (
    "ACCESS_DENIED",
    "INVALID_ACCESS_KEY",
    "INVALID_CLIENT_TOKEN",
    "SIGNATURE",
    "MISSING_AUTHENTICATION",
    "EXPIRED_TOKEN",
    "HTTP status 403",
)
NETWORK = (
    "NETWORK_CONNECTION",
    "REQUEST_TIMEOUT",
    "UNAVAILABLE",
    "SLOW_DOWN",
    "INTERNAL_FAILURE",
    "curlCode",
    "UNAVAILABLE",
)
"""What is in the messages of such errors."""


class Objects:
    """Reads and writes objects by their names below `address`, e.g. s3://bucket/prefix. OSError, in one line that says
    what to do, where the store does not answer or refuses."""

    def __init__(self, address: str) -> None:
        self.address = address

    def read(self, name: str) -> bytes | None:
        """What an object holds; None where there is none."""

        def get() -> bytes | None:
            files, base = self._opened()
            try:
                with files.open_input_stream(f"{base}/{name}") as stream:
                    return bytes(stream.read())
            except FileNotFoundError:
                return None

        return self._tried(get)

    def write(self, name: str, content: bytes) -> None:
        """Puts an object in the place of what was there."""

        def put() -> None:
            files, base = self._opened()
            with files.open_output_stream(f"{base}/{name}") as stream:
                stream.write(content)

        self._tried(put)

    def upload(self, name: str, path: Path) -> str:
        """Writes a file as an object; returns the digest of the bytes that were sent."""

        def put() -> str:
            files, base = self._opened()
            digest = hashlib.sha256()
            with open(path, "rb") as file, files.open_output_stream(f"{base}/{name}") as stream:
                while part := file.read(PART):
                    stream.write(part)
                    digest.update(part)
            return digest.hexdigest()

        return self._tried(put)

    def download(self, name: str, path: Path) -> str:
        """Writes an object to a file; returns the digest of its bytes, empty where there is no such object."""

        def get() -> str:
            files, base = self._opened()
            digest = hashlib.sha256()
            file.seek(0)
            file.truncate()
            try:
                with files.open_input_stream(f"{base}/{name}") as stream:
                    while part := stream.read(PART):
                        file.write(part)
                        digest.update(part)
            except FileNotFoundError:
                return ""
            return digest.hexdigest()

        with open(path, "wb") as file:
            found = self._tried(get)
        if not found:
            path.unlink()
        return found

    def names(self, folder: str) -> dict[str, int]:
        """Names of all objects below a folder, each with the time of its last write by the store's clock, ns."""

        return {name: info.mtime_ns or 0 for name, info in self._below(folder).items()}

    def sizes(self, folder: str) -> dict[str, int]:
        """Names of all objects below a folder, each with its bytes."""
        return {name: info.size or 0 for name, info in self._below(folder).items()}

    def _below(self, folder: str) -> dict[str, Any]:
        def look() -> dict[str, Any]:
            from pyarrow.fs import FileSelector, FileType

            files, base = self._opened()
            found = files.get_file_info(FileSelector(f"{base}/{folder}", recursive=True, allow_not_found=True))
            return {one.path[len(base) + 1 :]: one for one in found if one.type == FileType.File}

        return self._tried(look)

    def delete(self, *names: str) -> None:
        """Removes objects, where they are there."""

        def remove(name: str) -> None:
            files, base = self._opened()
            try:
                files.delete_file(f"{base}/{name}")
            except FileNotFoundError:
                return

        for name in names:
            self._tried(functools.partial(remove, name))

    def delete_folder(self, folder: str) -> None:
        """Removes all objects below a folder."""

        def remove() -> None:
            files, base = self._opened()
            try:
                files.delete_dir(f"{base}/{folder}")
            except FileNotFoundError:
                return

        self._tried(remove)

    def _opened(self) -> tuple[Any, str]:
        return opened(self.address)

    def _tried(self, action: Callable[[], T]) -> T:
        for pause in (*PAUSES, None):
            try:
                return action()
            except (OSError, ValueError) as error:
                if isinstance(error, OSError) and error.errno in NO_ROOM:  # on this node's own disk
                    raise
                told, lasting = _told(self.address, error)
                if lasting or pause is None:
                    raise told from None
                time.sleep(pause)
        raise AssertionError("the last pause is None")


@functools.cache
def opened(address: str) -> tuple[Any, str]:
    """pyarrow's file system of an address, and the path of its top in it. OSError where there is no such bucket."""
    from pyarrow import fs  # a tenth of a second, which a store in a folder does not need

    scheme, mark = address.partition("://")[0], "&" if "?" in address else "?"
    files, base = fs.FileSystem.from_uri(address + mark * (scheme in QUERIES) + QUERIES.get(scheme, ""))
    if scheme == "s3":
        # An address alone makes a client that asks a silent server for five minutes; made of its settings again, three
        # times for some seconds.
        make, settings = files.__reduce__()
        files = make(*settings)
    base = base.rstrip("/")
    bucket = base.partition("/")[0]
    if files.get_file_info(bucket).type == fs.FileType.NotFound:
        raise OSError(f"NO_SUCH_BUCKET: {bucket}")
    return files, base


def _told(address: str, error: Exception) -> tuple[OSError, bool]:
    """The error in words for people, and whether it is of no use to try again."""
    said, lasting = " ".join(str(error).split()), True
    if "NO_SUCH_BUCKET" in said or "ContainerNotFound" in said:
        what = "the bucket is not there; allowed: one that is; next: make it, or change runtime.storage"
    elif any(word in said for word in CREDENTIALS):
        what = f"no credentials for this; allowed: variables, a profile or a role, on every node; it said: {said}"
    elif any(word in said for word in NETWORK):
        what, lasting = f"does not answer; next: look at the network and endpoint_override; it said: {said}", False
    elif isinstance(error, ValueError):
        what = f"{said}; allowed: what pyarrow.fs.FileSystem.from_uri takes; next: correct runtime.storage"
    else:
        what, lasting = said, False
    return OSError(errno.EIO, what, address.partition("?")[0]), lasting

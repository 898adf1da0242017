"""A local S3-compatible server, in a process of its own, for tests."""

import contextlib
import os
import re
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

from pyarrow import fs

KEYS = {"AWS_ACCESS_KEY_ID": "test", "AWS_SECRET_ACCESS_KEY": "test", "AWS_EC2_METADATA_DISABLED": "true"}
BUCKET = "bucket"


@contextlib.contextmanager
def server() -> Iterator[str]:
    """Runs one that listens on loopback; what a storage address needs to reach it, behind the `?`."""
    command = [sys.executable, "-m", "moto.server", "-H", "127.0.0.1", "-p", "0"]
    with (
        tempfile.NamedTemporaryFile("r", suffix=".log") as log,
        subprocess.Popen(command, env=os.environ | KEYS, stdout=log.fileno(), stderr=subprocess.STDOUT) as process,
    ):
        try:
            while not (said := re.search(r"http://(127\.0\.0\.1:\d+)", Path(log.name).read_text())):
                assert process.poll() is None, Path(log.name).read_text()
                time.sleep(0.05)
            query = f"endpoint_override={said[1]}&scheme=http&region=us-east-1"
            keys = {"access_key": "test", "secret_key": "test", "region": "us-east-1"}
            fs.S3FileSystem(endpoint_override=said[1], scheme="http", allow_bucket_creation=True, **keys).create_dir(
                BUCKET
            )
            yield query
        finally:
            process.terminate()

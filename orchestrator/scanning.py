"""Data sets, read in a child process: the C code that reads their files may end its process at a damaged one."""

import json
import os
import signal
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

from orchestrator.fetching import surroundings
from orchestrator.manifests import Request
from workers.data.fingerprint import fingerprint
from workers.data.manifest import Manifest


def still_as_scanned(request: Request, manifest: dict[str, Any] | None) -> bool:
    """Whether the files of a data set have the names, sizes and times that they had when its manifest was made."""
    try:
        known = Manifest.from_json(manifest) if manifest else None
    except ValueError:  # written by another version of this project: the set is read again
        return False
    return known is not None and known.fingerprint == fingerprint(**_asked(request))


def scan(wanted: Sequence[Request], say: Callable[[str], None]) -> Iterator[dict[str, Any]]:
    """The manifest of each data set as plain values, in the order of the requests. A set that ends the child that reads
    it has this as its fault, and another child goes on behind it. RuntimeError when a child fails by itself."""
    left = list(wanted)
    while left:
        for manifest in _answers(left, say):
            left.pop(0)
            yield manifest


def _answers(wanted: Sequence[Request], say: Callable[[str], None]) -> Iterator[dict[str, Any]]:
    """Of one child: a manifest for each request, up to the one at which it ends."""
    with tempfile.TemporaryFile("w+") as request, tempfile.TemporaryFile("w+") as errors:
        json.dump([_asked(one) for one in wanted], request, default=os.fspath)
        request.seek(0)
        command = [sys.executable, "-m", "workers.data.scan"]
        with subprocess.Popen(
            command, stdin=request, stdout=subprocess.PIPE, stderr=errors, text=True, env=surroundings()
        ) as child:
            assert child.stdout is not None, "it is a pipe"
            for one in list(wanted):
                say(f"reading {one.words}")
                line = child.stdout.readline()
                if not line.endswith("\n"):
                    errors.seek(0)
                    yield {"faults": [_end(one, child.wait(), errors.read())]}
                    return
                yield json.loads(line)


def _end(request: Request, code: int, errors: str) -> str:
    """The fault of a set at which the child ended. RuntimeError where it was not a signal that ended it."""
    if code >= 0:
        raise RuntimeError(f"workers.data.scan ended with {code}:\n{errors[-4000:]}")
    return (
        f"{', '.join((*request.folders, *request.low))}: reading it ended the process ({signal.Signals(-code).name}); "
        "expected whole files: copy its label files and images again from the official archive, and see that there is "
        "memory left"
    )


def _asked(request: Request) -> dict[str, Any]:
    """How `workers.data.scan` and `fingerprint` are called for a request."""
    return {
        "layout": request.layout,
        "folders": list(map(Path, request.folders)),
        "low": list(map(Path, request.low)),
        "scale": request.scale if request.low else None,
    }

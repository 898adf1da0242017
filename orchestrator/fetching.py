"""Files of weights and judges, asked for in a child process: their libraries take seconds to import, and torch stays
out of the planning process."""

import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from orchestrator.manifests import Manifests, Request


def ask(wanted: Iterable[Request], offline: bool) -> list[dict[str, Any]]:
    """Answers (files and digests, content, fault) of `python -m workers.prefetch` in the order of the requests."""
    with tempfile.TemporaryDirectory(prefix="prefetch-") as folder:
        request, answer = Path(folder, "request.json"), Path(folder, "answer.json")
        asked = [
            {
                "kind": one.kind,
                "name": one.name,
                "tag": one.tag,
                "path": one.tag if one.kind == "file" else "",
                "settings": one.settings,
            }
            for one in wanted
        ]
        request.write_text(json.dumps(asked))
        command = [sys.executable, "-m", "workers.prefetch", str(request), str(answer)]
        ended = subprocess.run(
            [*command, *(["--offline"] if offline else [])], env=surroundings(), capture_output=True, text=True
        )
        if ended.returncode or not answer.exists():
            raise RuntimeError(f"workers.prefetch ended with {ended.returncode}:\n{ended.stderr[-4000:]}")
        answers: list[dict[str, Any]] = json.loads(answer.read_text())
        return answers


def surroundings() -> dict[str, str]:
    """Environment of a child process that imports this project, wherever it is started."""
    root = Path(__file__).parent.parent
    return {**os.environ, "PYTHONPATH": os.pathsep.join([str(root), os.environ.get("PYTHONPATH", "")])}


def record(manifests: Manifests, request: Request, answer: dict[str, Any], **more: Any) -> None:
    """Keeps an answer without fault as the manifest of its request, with the marks of its files."""
    marks = [_mark(Path(path)) for path, _ in answer["files"]]
    manifests.found[request.key] = {**answer, "marks": marks, **more}


def still_there(manifest: dict[str, Any] | None) -> bool:
    """Whether the files of a manifest have the sizes and times that they had when they were digested."""
    if manifest is None:
        return False
    return bool([_mark(Path(path)) for path, _ in manifest["files"]] == manifest["marks"])


def _mark(path: Path) -> list[int] | None:
    """Size and time of a file: while they stay, its digest is taken as it is. None where there is none."""
    try:
        found = path.stat()
    except OSError:
        return None
    return [found.st_size, found.st_mtime_ns]

"""The verb `prefetch`: fetches every weights file that a grid names, and says where each lies or why it is missing."""

from pathlib import Path

from rich.console import Console

from orchestrator.grid import load
from orchestrator.manifests import requests
from orchestrator.preflight import ask
from orchestrator.sweep import EXIT_DONE, EXIT_USAGE


def run(file: Path, out: Console) -> int:
    """Prints a line for each; exit code 2 when any is missing. Raises GridError for a wrong grid."""
    wanted = [one for one in requests(load(file)) if one.kind != "data"]
    missing = 0
    for request, answer in zip(wanted, ask(wanted, offline=False), strict=True):
        missing += bool(answer["fault"])
        if answer["fault"]:
            out.print(f"[red]missing[/] {request.words}: {answer['fault']}")
        else:
            revision = f", revision {answer['revision'][:12]}" if answer["revision"] else ""
            files = ", ".join(path for path, _ in answer["files"]) or "needs no file"
            digest = f", sha256 {answer['content'][:12]}" if answer["content"] else ""
            out.print(f"[green]there[/] {request.words}: {files}{revision}{digest}", markup=True)
    out.print(f"{len(wanted) - missing} of {len(wanted)} are there" + (f"; {missing} are missing" if missing else ""))
    return EXIT_USAGE if missing else EXIT_DONE

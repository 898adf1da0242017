"""The verb `prefetch`: fetches every weights file that a grid names, and says where each lies or why it is missing."""

from pathlib import Path

from rich.console import Console

from orchestrator import fetching
from orchestrator.grid import load
from orchestrator.manifests import Manifests, requests
from orchestrator.remote import open_store
from orchestrator.sweep import EXIT_DONE, EXIT_USAGE


def run(file: Path, out: Console) -> int:
    """Prints a line for each and keeps digests and revisions in the store's manifests; exit code 2 when any is missing.
    Raises GridError for a wrong grid."""
    grid = load(file)
    store = open_store(grid.runtime.storage, grid.runtime.cache)
    manifests = Manifests.of(store)
    wanted = [one for one in requests(grid) if one.kind != "data"]
    missing = 0
    for request, answer in zip(wanted, fetching.ask(wanted, offline=False), strict=True):
        if answer["fault"]:
            missing += 1
            fault = answer["fault"].removeprefix(f"judge {request.name!r}: ")
            out.print(f"[red]missing[/] {request.words}: {fault}")
            continue
        fetching.record(manifests, request, answer)
        revision = f", revision {answer['revision'][:12]}" if answer["revision"] else ""
        files = ", ".join(path for path, _ in answer["files"]) or "needs no file"
        digest = f", sha256 {answer['content'][:12]}" if answer["content"] else ""
        out.print(f"[green]there[/] {request.words}: {files}{digest}{revision}")
    manifests.keep(store)
    lacking = f"; {missing} are missing, and could not be fetched from here" if missing else ""
    out.print(f"{len(wanted) - missing} of {len(wanted)} are there{lacking}")
    if missing:
        out.print(
            "  next: run this where there is a network and copy HF_HOME, TORCH_HOME and ~/.cache/clip, or name files"
        )
        out.print("  in the grid, weights: {file: PATH}")
    return EXIT_USAGE if missing else EXIT_DONE

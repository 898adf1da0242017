"""The verb `completion`: what a shell needs to call `python -m orchestrator` by one word, and to complete the others.

Scripts and answers are Typer's. A shell waits for this module at each Tab: what is heavy is imported inside functions.
"""

import re
import shlex
import sys
from enum import StrEnum
from pathlib import Path

import typer
from typer._completion_classes import completion_init
from typer._completion_shared import get_completion_script

NAME = "orchestrator"
VARIABLE = "_ORCHESTRATOR_COMPLETE"
"""By which a shell asks for completions instead of running a verb."""


class Shell(StrEnum):
    """Those that have a script."""

    bash = "bash"
    zsh = "zsh"


def answer(app: typer.Typer) -> None:
    """Runs the app, or answers the shell that asks it for completions."""
    completion_init()
    app(complete_var=VARIABLE)


def script(shell: Shell) -> str:
    """A function that runs the orchestrator with this Python, and how its words are completed."""
    command = f"{shlex.quote(sys.executable)} -m orchestrator"
    typers = get_completion_script(prog_name=NAME, complete_var=VARIABLE, shell=shell)
    # Typer's script asks the program by its name, which is a function here, and `env` runs none. In a folder without an
    # orchestrator there is nobody to ask, and nothing to say.
    before, asks, after = typers.partition(f"{VARIABLE}=complete_{shell} ")
    ours = before + asks + re.sub(r"^[\w$]+", lambda _: f"{command} 2>/dev/null", after)
    return f'{NAME}() {{ {command} "$@"; }}\n{ours}\n'


def grids() -> list[str]:
    """Grid files here and in grids/; elsewhere the shell completes files itself."""
    return sorted(str(file) for folder in (".", "grids") for file in Path(folder).glob("*.yaml"))


def keys(ctx: typer.Context) -> list[tuple[str, str]]:
    """(key, kind) of each trial that has a folder in the store of the grid of --grid, or of the last sweep; none where
    that grid cannot be used, or where its store is no folder."""
    from orchestrator.grid import GridError, last_sweep, load
    from orchestrator.spec import KINDS

    try:
        storage = load(ctx.params.get("grid") or last_sweep()).runtime.storage
    except (GridError, OSError):
        return []
    return [(folder.name, kind) for kind in KINDS for folder in sorted(Path(storage, kind).glob("[!.]*"))]

"""What every command line ends with: errors are printed in lines, without a traceback, with exit code 2."""

import os
import sys
import traceback
from collections.abc import Callable

from orchestrator import interrupts

EXIT_USAGE = 2
SHOWN = "ORCHESTRATOR_TRACEBACK"
"""A variable: where it is set, the traceback of an error that nobody foresaw goes to standard error."""


def run(command: Callable[[], object]) -> None:
    """Runs a command line, which Ctrl-C ends at once. Raises SystemExit for an error."""
    interrupts.at_once()
    try:
        command()
    except OSError as error:
        where = f"{error.filename}: " if error.filename else ""
        _end(f"{where}{error.strerror or error}; finished trials are kept, run the same command again")
    except Exception as error:
        from orchestrator.grid import GridError  # a shell that asks for completions need not wait for it

        if isinstance(error, GridError):
            _end(str(error))
        if os.environ.get(SHOWN):
            raise
        _end(_kept(error))


def _end(message: str) -> None:
    print(message, file=sys.stderr)
    sys.exit(EXIT_USAGE)


def _kept(error: Exception) -> str:
    """A line about an error that nobody foresaw. Its traceback goes to a file, or below the line where there can be
    none."""
    from orchestrator.grid import RESULTS

    file = RESULTS / "traceback.txt"
    told, whole = f"{type(error).__name__}: {(str(error).splitlines() or ['no message'])[0]}", traceback.format_exc()
    try:
        RESULTS.mkdir(exist_ok=True)
        file.write_text(f"{' '.join(sys.argv)}\n{whole}", encoding="utf-8", errors="backslashreplace")
    except OSError:
        return f"{told}\n{whole}"
    return f"{told}; finished trials are kept; the whole traceback is in {file}"

"""The verbs: `python -m orchestrator VERB`, e.g. plan, sweep, status; --help lists them.

Exit codes: 0 all that was planned is done; 1 something failed or is blocked; 2 the grid, a file or the store cannot be
used; 130 interrupted.
"""

import dataclasses
import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from orchestrator import completion, last_resort

if TYPE_CHECKING:
    from rich.console import Console

app = typer.Typer(add_completion=False, no_args_is_help=True, pretty_exceptions_enable=False)
GridFile = Annotated[Path, typer.Argument(help="a grid file, e.g. grids/demo.yaml", autocompletion=completion.grids)]
SweptGrid = Annotated[
    Path | None,
    typer.Argument(help="a grid file; without it, the one that was swept last", autocompletion=completion.grids),
]
GridOption = Annotated[
    Path | None,
    typer.Option(help="a grid file; without it, the one that was swept last", autocompletion=completion.grids),
]
Settings = Annotated[
    list[str] | None,
    typer.Option("-o", help="a setting in the place of the grid's, e.g. super_resolution.training.steps=2000"),
]
Key = Annotated[
    str, typer.Argument(help="a trial's key, the beginning of it, or its name", autocompletion=completion.keys)
]
Keys = Annotated[
    list[str], typer.Argument(help="trials' keys, beginnings of them, or names", autocompletion=completion.keys)
]


@app.callback()
def verbs() -> None:
    """Does a better image quality metric make a better training loss? Plans and runs sweeps over a grid."""


@app.command()
def plan(
    grid: GridFile,
    as_json: Annotated[
        bool, typer.Option("--json", help="for machines: counts, longest path, every new trial")
    ] = False,
    settings: Settings = None,
    diff: Annotated[Path | None, typer.Option(help="another grid: which trials and settings differ from its")] = None,
) -> None:
    """Shows what a sweep would run, and why. Example: python -m orchestrator plan grids/demo.yaml"""
    from orchestrator import plan_diff, show
    from orchestrator.plan import as_json as to_json
    from orchestrator.sweep import Sweep

    asked, grid = " ".join([str(grid), *(f"-o {one}" for one in settings or ())]), _altered(grid, settings)
    if diff and as_json:
        raise typer.BadParameter("--diff tells two grids apart in lines; allowed: one of --diff and --json")
    if diff:
        raise typer.Exit(plan_diff.run(diff, grid, _out(), asked))
    sweep = Sweep(grid)
    if as_json:
        found = {"forecast": dataclasses.asdict(told)} if (told := sweep.forecast()) else {}
        print(json.dumps(to_json(sweep.plan, sweep.study.cells) | found, indent=1))
        return
    out = _out()
    show.plan(out, sweep.grid.name, sweep.study.cells, sweep.plan, sweep.names, why=True, basis=sweep.basis())
    show.circular(out, sweep.grid)
    if told := sweep.forecast():
        show.forecast(out, told)
    elif sweep.plan.to_do() and sweep.reserves_gpus():
        out.print(f"what it costs on GPUs: make rehearse GRID={grid}", markup=False)
    if unresolved := sweep.unresolved():
        words = ", ".join(f"{count} {what}" for what, count in unresolved.items())
        out.print(f"not looked at yet, so keys are not final: {words}; next: make preflight GRID={grid}", markup=False)


@app.command()
def sweep(grid: GridFile, settings: Settings = None) -> None:
    """Runs what is to do and builds the tables. Example: python -m orchestrator sweep grids/demo.yaml"""
    from orchestrator.sweep import run

    raise typer.Exit(run(_altered(grid, settings, runs=True), _out()))


@app.command("preflight")
def preflight_(grid: GridFile, settings: Settings = None) -> None:
    """Checks data sets, weights, judges, storage and GPUs, and lists all that is wrong; `sweep` does it first, too.
    Example: python -m orchestrator preflight grids/full.yaml"""
    from orchestrator import show
    from orchestrator.sweep import looked_over

    grid, out = _altered(grid, settings), _out()
    checked = looked_over(grid, out)
    show.manifests(out, checked.manifests, checked.grid)
    out.print(f"all in order; next: make sweep GRID={grid}", markup=False)


@app.command()
def prefetch(grid: GridFile) -> None:
    """Fetches every weights file that the grid names, once; afterwards nothing needs a network. Example:
    python -m orchestrator prefetch grids/full.yaml"""
    from orchestrator.prefetch import run

    raise typer.Exit(run(grid, _out()))


@app.command()
def rehearse(
    grid: GridFile,
    keep: Annotated[bool, typer.Option(help="keep what was run in results/rehearsal/")] = False,
    settings: Settings = None,
) -> None:
    """Runs each shape of trial for a few steps on stand-ins of the data, and measures what the grid will cost.
    Example: python -m orchestrator rehearse grids/full.yaml"""
    from orchestrator.rehearse import run

    raise typer.Exit(run(_altered(grid, settings), _out(), keep))


@app.command()
def status(
    grid: SweptGrid = None,
    as_json: Annotated[bool, typer.Option("--json", help="for machines: all unfinished trials and why")] = False,
    watch: Annotated[bool, typer.Option("--watch", help="again and again, until all is done or Ctrl-C")] = False,
    seconds: Annotated[float, typer.Option(min=0.1, help="between two looks of --watch")] = 5.0,
) -> None:
    """Says how far a sweep is, from any terminal that sees the store. Example: python -m orchestrator status"""
    from orchestrator import interrupts
    from orchestrator import status as verb

    file, out = _swept(grid), _out()
    if watch:
        interrupts.at_once("no longer watched; a sweep goes on")
    raise typer.Exit(verb.watch(file, seconds, out) if watch else verb.run(file, as_json, out))


@app.command("show")
def show_(
    key: Key,
    grid: GridOption = None,
    as_json: Annotated[bool, typer.Option("--json", help="for machines")] = False,
) -> None:
    """Shows a trial: spec, parents, children, record, files. Example: python -m orchestrator show 3f2a"""
    from orchestrator import trials

    raise typer.Exit(trials.show_(_swept(grid), key, as_json, _out()))


@app.command()
def logs(
    key: Key,
    grid: GridOption = None,
    lines: Annotated[int, typer.Option(min=1, help="of what it printed, and of its traceback")] = 40,
) -> None:
    """Shows a trial's attempts, progress, curves, and why it failed. Example: python -m orchestrator logs 3f2a"""
    from orchestrator import trials

    raise typer.Exit(trials.logs(_swept(grid), key, lines, _out()))


@app.command()
def why(key: Key, grid: GridOption = None) -> None:
    """Says which settings of a trial its nearest finished relative has not. Example: python -m orchestrator why 3f2a"""
    from orchestrator import trials

    raise typer.Exit(trials.why(_swept(grid), key, _out()))


@app.command()
def retry(
    keys: Keys,
    grid: GridOption = None,
    again: Annotated[bool, typer.Option("--again", help="finished ones, too")] = False,
) -> None:
    """Runs failed trials again: a running sweep does it at once. Example: python -m orchestrator retry 3f2a"""
    from orchestrator import trials

    raise typer.Exit(trials.retry(_swept(grid), keys, again, _out()))


@app.command()
def cancel(keys: Keys, grid: GridOption = None) -> None:
    """Ends trials of the running sweep, with a checkpoint. Example: python -m orchestrator cancel 3f2a"""
    from orchestrator import trials

    raise typer.Exit(trials.cancel(_swept(grid), keys, _out()))


@app.command()
def schema() -> None:
    """Prints the JSON Schema of grids, for editors. Example: python -m orchestrator schema > grids/schema.json"""
    from orchestrator.schema import text

    print(text(), end="")


@app.command("completion")
def completion_(shell: completion.Shell) -> None:
    """Prints what gives a shell `orchestrator` as a short name of this, with completion of verbs, options, grids, keys.
    Example: python -m orchestrator completion bash >> ~/.bashrc"""
    print(completion.script(shell), end="")


@app.command()
def gc(
    grid: SweptGrid = None,
    keep: Annotated[list[Path] | None, typer.Option(help="a grid elsewhere whose trials are needed, too")] = None,
    delete: Annotated[bool, typer.Option("--delete", help="remove them")] = False,
) -> None:
    """Lists trials in the store that no grid in the grid's folder needs. Example: python -m orchestrator gc"""
    from orchestrator.gc import run

    raise typer.Exit(run(_swept(grid), keep or [], delete, _out()))


@app.command()
def fsck(
    grid: GridFile,
    repair: Annotated[
        bool, typer.Option("--repair", help="make them unfinished: the next sweep runs them again")
    ] = False,
) -> None:
    """Looks at every byte of the finished trials in the store, and lists damaged and stale ones. Example:
    python -m orchestrator fsck grids/demo.yaml --repair"""
    from orchestrator.fsck import run

    raise typer.Exit(run(grid, repair, _out()))


@app.command()
def mirror(
    grid: SweptGrid = None,
    tracking: Annotated[str | None, typer.Option(help="MLflow's database or server; the grid's unless given")] = None,
) -> None:
    """Fills MLflow from the store, a new server too. Example: python -m orchestrator mirror"""
    from orchestrator.mirror import run

    raise typer.Exit(run(_swept(grid), tracking, _out()))


@app.command()
def restore(
    grid: GridFile,
    storage: Annotated[Path, typer.Option(help="the store to fill, e.g. results/restored")],
    tracking: Annotated[str | None, typer.Option(help="MLflow's database or server; the grid's unless given")] = None,
    weights: Annotated[bool, typer.Option("--weights", help="weights too, which tables do not need")] = False,
) -> None:
    """Fills a store from MLflow alone, for tables of a sweep whose store is lost or elsewhere. Images it has none.
    Example: python -m orchestrator restore grids/demo.yaml --storage results/restored"""
    from orchestrator.restore import run

    raise typer.Exit(run(grid, storage, tracking, weights, _out()))


def main() -> None:
    """Runs a verb."""
    last_resort.run(lambda: completion.answer(app))


# What loads the grid's sections is imported when a verb runs: a shell that asks for completions need not wait for them.


def _out() -> "Console":
    from orchestrator import show

    return show.console()


def _altered(grid: Path, settings: list[str] | None, runs: bool = False) -> Path:
    from orchestrator.grid import override

    return override(grid, settings or [], runs)


def _swept(grid: Path | None) -> Path:
    from orchestrator.grid import last_sweep

    return grid or last_sweep()


if __name__ == "__main__":
    main()

"""What a person sees in the terminal: the plan of a sweep, and how it ended. progress.py shows what is between."""

import os
import sys
from collections import Counter
from collections.abc import Mapping

from rich.console import Console
from rich.table import Table

from orchestrator import circularity
from orchestrator.checks import Check
from orchestrator.cost import SUSTAINED_FLOPS
from orchestrator.forecast import Forecast
from orchestrator.manifests import Manifests, requests
from orchestrator.plan import Node, Plan
from orchestrator.ready import ReadyQueue
from orchestrator.sections import Grid
from orchestrator.spec import KINDS

MOST_REASONS = 12
MOST_BLOCKED = 10


class Output(Console):
    """Standard output. Whoever read it may be gone, as Ctrl-C ends `tee`, too: the work goes on and says no more."""

    def on_broken_pipe(self) -> None:
        """Called by rich, which would end the process."""
        self.quiet = True
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, sys.stdout.fileno())
        os.close(nowhere)


def console() -> Console:
    """Standard output; 120 columns where it is not a terminal."""
    return Output(highlight=False, soft_wrap=True, width=None if sys.stdout.isatty() else 120)


def duration(seconds: float) -> str:
    """42 s, 3 min 10 s, 2 h 05 min, 4.1 days."""
    seconds = round(seconds)
    if seconds < 60:
        return f"{seconds} s"
    if seconds < 3600:
        return f"{seconds // 60} min {seconds % 60:02} s"
    if seconds < 2 * 86400:
        return f"{seconds // 3600} h {seconds % 3600 // 60:02} min"
    return f"{seconds / 86400:.1f} days"


def plan(out: Console, name: str, cells: int, planned: Plan, names: dict[str, str], why: bool, basis: str) -> None:
    """Cells, trials by kind and status, why trials are new, and the longest path in seconds of `basis`."""
    to_do = planned.to_do()
    out.print(f"[bold]{name}[/]: {cells} cells of the matrix share {len(planned.nodes)} trials; {len(to_do)} to do")
    table = Table(box=None, pad_edge=False, header_style="dim")
    for column in ("kind", "trials", "done", "to do", "diverged", "not applicable", "failed before"):
        table.add_column(column, justify="left" if column == "kind" else "right")
    for kind, counts in planned.counts().items():
        states = [counts[state] for state in ("done", "to do", "diverged", "not applicable", "failed")]
        table.add_row(kind, str(counts.total()), *(str(count) if count else "-" for count in states))
    out.print(table)
    if why:
        reasons = Counter((node.kind, node.why) for node in to_do)
        for (kind, reason), count in reasons.most_common(MOST_REASONS):
            out.print(f"  {count:>5} {kind}: {reason}", markup=False)
        if len(reasons) > MOST_REASONS:
            rest = sum(count for _, count in reasons.most_common()[MOST_REASONS:])
            out.print(f"  {rest:>5} trials for {len(reasons) - MOST_REASONS} more reasons (all with --json)")
    if path := planned.longest_path():
        work = sum(own_seconds(node, planned.nodes) for node in to_do)
        out.print(f"longest path: about {duration(path[0].remaining)} of about {duration(work)} of work ({basis})")
        out.print("  " + " -> ".join(names[node.key] for node in path), markup=False)


def circular(out: Console, grid: Grid) -> None:
    """Judges of the score that share a network with a loss, by degree; and judges of which nobody has declared it."""
    found: dict[str, list[str]] = {}
    for judge in (name for name, family in grid.judges.families().items() if family):
        if judge not in circularity.KINSHIP:
            out.print(f"judge {judge}: nobody has declared which networks it shares (orchestrator/circularity.py)")
            continue
        for loss in (*grid.matrix.loss, *grid.matrix.twins):
            level = grid.backbones[loss]
            tag = level.weights if isinstance(level.weights, str) else "released"
            if why := circularity.shared(judge, level.model, tag):
                found.setdefault(f"{judge} ({why.partition(':')[0]})", []).append(loss)
    for judge, losses in found.items():
        out.print(f"judge shares a network with losses: {judge} with {', '.join(losses)}", markup=False)


def forecast(out: Console, found: Forecast) -> None:
    """What the plan costs on GPUs; a range where no GPU was rehearsed on."""
    low, high = SUSTAINED_FLOPS
    basis = f"operations at {low / 1e12:g} to {high / 1e12:g} TFLOP/s sustained"
    basis = f"seconds of training steps measured, all else from {basis}" if found.on_gpu else basis
    out.print(f"rehearsed on {found.device}: {basis}; {found.trials} trials")
    least, most = (sum(hours[side] for hours in found.gpu_hours.values()) for side in (0, 1))
    kinds = ", ".join(f"{kind} {_hours(*hours)}" for kind, hours in found.gpu_hours.items())
    out.print(f"  GPU-hours: {_hours(least, most)} ({kinds})", markup=False)
    spans = ", ".join(f"{gpus} GPUs {_spell(hours)}" for gpus, hours in found.makespan.items())
    out.print(f"  longest path {_spell(found.longest_path)}; makespan on {spans}")
    out.print(f"  disk about {found.disk_bytes / 1e9:,.0f} GB in the store")
    for kind, fraction in found.fractions.items():
        out.print(f"  {kind}: needs {fraction:.2g} of a GPU's memory at the rehearsal's image sizes")
    if found.unknown:
        missing = ", ".join(f"{count} {kind}" for kind, count in found.unknown.items())
        out.print(f"  not counted, because their shapes could not be rehearsed: {missing}")


def _hours(least: float, most: float) -> str:
    low, high = (f"{hours:,.0f}" if hours >= 10 else f"{hours:.2g}" for hours in (least, most))
    return high if low == high else f"{low} to {high}"


def _spell(hours: tuple[float, float]) -> str:
    least, most = (duration(value * 3600) for value in hours)
    return least if least == most else f"{least} to {most}"


def own_seconds(node: Node, nodes: Mapping[str, Node]) -> float:
    """Expected seconds of one trial alone: its remaining path less that of its slowest child."""
    return node.remaining - max((nodes[child].remaining for child in node.children), default=0.0)


def outcome(out: Console, planned: Plan, queue: ReadyQueue, tracebacks: dict[str, str], names: dict[str, str]) -> None:
    """Failed trials with the end of their tracebacks, and what they block, by name."""
    for name, text in tracebacks.items():
        node = planned.nodes[name]
        out.print(f"[red]failed[/]: {node.kind} {name}: {names[name]}")
        out.print(f"    {(text.strip().splitlines() or ['without a traceback'])[-1]}", markup=False)
        blocked = [child for child, cause in queue.blocked_by.items() if cause == name]
        if blocked:
            kinds = Counter(planned.nodes[child].kind for child in blocked)
            listed = ", ".join(f"{kinds[kind]} {kind}" for kind in KINDS if kinds[kind])
            out.print(f"    blocks {len(blocked)} trials: {listed}")
            for child in blocked[:MOST_BLOCKED]:
                out.print(f"      {planned.nodes[child].kind} {child}: {names[child]}", markup=False)
            if len(blocked) > MOST_BLOCKED:
                out.print(f"      and {len(blocked) - MOST_BLOCKED} more, all in tables/missing.md")
    for name, node in planned.nodes.items():
        if queue.state[name] == "diverged":
            out.print(f"[yellow]diverged[/] (an outcome, not a failure): {node.kind} {name}: {names[name]}")


def manifests(out: Console, found: Manifests, grid: Grid) -> None:
    """A line for each data set, weights file and judge that a preflight found in order."""
    for request in requests(grid):
        manifest = found.found[request.key]
        amount = f"{manifest['images']} images" if request.kind == "data" else f"{len(manifest['files'])} files"
        stand_in = ", a generated stand-in" if manifest.get("stand_in") else ""
        digest = f"sha256 {manifest['content'][:12]}" if manifest["content"] else "needs no file"
        out.print(f"in order: {request.words}: {amount}{stand_in}, {digest}", markup=False)


def checks(out: Console, results: list[Check]) -> None:
    """One line a machinery check. A failed one asks for a better recipe; the trials are done all the same."""
    for check in results:
        out.print(f"{'[green]holds[/]' if check.passed else '[red]FAILS[/]'}: {check.name}: {check.detail}")

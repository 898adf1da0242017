"""A rehearsal's measurements as a Markdown table, a row for each shape of trial. Pure."""

from collections import defaultdict

from orchestrator.cost import Costs, Rate, shape
from orchestrator.plan import Node, Plan


def markdown(name: str, plan: Plan, costs: Costs) -> str:
    """Of every rehearsed shape: trials that the plan has of it, seconds (of a step of the rehearsal, or of its whole
    trial), peak memory there, and operations that one trial of the grid takes."""
    groups: dict[str, list[Node]] = defaultdict(list)
    for node in plan.nodes.values():
        groups[shape(node.spec)].append(node)
    rehearsed = costs.rehearsed
    lines = [
        f"# {name}, rehearsed on {rehearsed.device}",
        "",
        "Seconds and peak memory are of the rehearsal (small crops on a CPU); operations are those of one trial at the",
        "grid's own sizes: of matrix products and convolutions, which a GPU's time follows.",
        "",
        "| shape | trials | s | of | peak, GB | TFLOP a trial |",
        "|---|---:|---:|---|---:|---:|",
    ]
    lines += [_row(name, groups[name], rate, costs) for name, rate in rehearsed.rates.items() if name in groups]
    unknown = {name: nodes for name, nodes in groups.items() if name not in rehearsed.rates}
    if unknown:
        count = sum(map(len, unknown.values()))
        lines += ["", f"Not rehearsed: {count} trials of {len(unknown)} shapes: {', '.join(sorted(unknown))}."]
    return "\n".join(lines) + "\n"


def _row(name: str, nodes: list[Node], rate: Rate, costs: Costs) -> str:
    seconds, of = (rate.step, "a step") if rate.step else (rate.overhead, "a trial")
    work = max(costs.work.of(node.spec) for node in nodes)
    peak = max(rate.peak_bytes.values(), default=0) / 1e9
    return f"| {name} | {len(nodes)} | {seconds:.2f} | {of} | {peak:.1f} | {rate.flops * work / 1e12:,.3g} |"

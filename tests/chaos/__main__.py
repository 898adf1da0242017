"""`make chaos`: disturbs small sweeps at seeded random moments; the table of rounds goes to docs/reliability.md.

A round is a fault, a moment, and a folder of its own; what it checks stands in arena.py. Exit code 1 where a promise
was broken, whose folder is kept.
"""

import argparse
import random
import shutil
import subprocess
import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path

from tests.bench.__main__ import replace
from tests.chaos.arena import Arena, Lie
from tests.chaos.clusters import cluster
from tests.chaos.faults import ON_MANY, ON_ONE_NODE, Fault

DOCUMENT = Path("docs/reliability.md")
FAULTS = {fault.__name__: fault for fault in (*ON_ONE_NODE, *ON_MANY)}


@dataclass
class Round:
    """One disturbed sweep."""

    fault: str
    seed: int
    struck: bool
    seconds: float
    lie: str = ""


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("faults", nargs="*", choices=[*FAULTS, []], help="all unless given")
    parser.add_argument("--rounds", type=int, default=20, help="of each fault")
    parser.add_argument("--seed", type=int, default=0, help="of the first round")
    parser.add_argument("--jobs", type=int, default=1, help="rounds at a time")
    parser.add_argument("--print", action="store_true", help="print only: leave the document as it is")
    given = parser.parse_args()
    folder = Path(tempfile.mkdtemp(prefix="chaos-"))
    undisturbed = calm(folder / "undisturbed")
    wanted = [
        (FAULTS[name], seed) for seed in range(given.seed, given.seed + given.rounds) for name in given.faults or FAULTS
    ]
    rounds = []
    with ThreadPoolExecutor(given.jobs) as pool:
        for one in pool.map(lambda fault: run(fault[0], fault[1], folder, undisturbed), wanted):
            rounds.append(one)
            told = one.lie or ("struck" if one.struck else "too late")
            print(f"{one.fault} {one.seed}: {one.seconds:.0f} s, {told}", flush=True)
    print(table(rounds))
    if not given.print:
        command = " ".join(["make chaos", *given.faults])
        head = f"`{command}`, {given.rounds} rounds of each fault, first seed {given.seed}."
        replace("rounds", f"{head}\n\n{table(rounds)}", DOCUMENT)
    broken = [one for one in rounds if one.lie]
    if not broken:
        shutil.rmtree(folder)
    return 1 if broken else 0


def calm(path: Path) -> Arena:
    """A sweep that nobody disturbs, timed."""
    arena, started = Arena(path, None), time.monotonic()
    code, output = arena.run()
    if code:
        raise SystemExit(output)
    arena.seconds = time.monotonic() - started
    return arena


def run(fault: Fault, seed: int, folder: Path, undisturbed: Arena) -> Round:
    """One round; its folder is removed unless a promise was broken."""
    place, started = folder / f"{fault.__name__}-{seed}", time.monotonic()
    chance = random.Random(f"{fault.__name__} {seed}")
    arena = Arena(place, undisturbed)
    lie, struck = "", False
    try:
        with cluster(3) if fault in ON_MANY else nullcontext() as nodes:
            arena.cluster = nodes.address if nodes else ""
            struck = fault(arena, chance)
    except (Lie, AssertionError, subprocess.SubprocessError) as error:
        lie = f"{type(error).__name__}: {error}"
    finally:
        arena.process.kill()
        arena.process.wait()
    if not lie:
        shutil.rmtree(place)
    return Round(fault.__name__, seed, struck, time.monotonic() - started, lie)


def table(rounds: list[Round]) -> str:
    """A row a fault."""
    lines = ["| fault | rounds | struck | promises broken | seconds a round |", "|---|---|---|---|---|"]
    for name, fault in FAULTS.items():
        if own := [one for one in rounds if one.fault == name]:
            what = (fault.__doc__ or name).strip().partition(".")[0].partition(":")[0]
            seconds = sum(one.seconds for one in own) / len(own)
            broken, struck = sum(bool(one.lie) for one in own), sum(one.struck for one in own)
            lines.append(f"| {what} (`{name}`) | {len(own)} | {struck} | {broken} | {seconds:.0f} |")
    return "\n".join(lines)


if __name__ == "__main__":
    sys.exit(main())

"""`make chaos`: disturbs small sweeps at seeded random moments; the table of rounds goes to docs/reliability.md.

A round is a fault, a moment, and a folder of its own; what it checks stands in arena.py. Rounds are logged as they end,
and the same command goes on after them. Exit code 1 where a promise was broken: the folder of that round is kept.
"""

import argparse
import json
import random
import shutil
import subprocess
import sys
import tempfile
import time
from contextlib import nullcontext
from dataclasses import asdict, dataclass
from pathlib import Path

from orchestrator.sweep import provenance
from tests.bench.__main__ import replace
from tests.chaos.arena import Arena, Lie
from tests.chaos.clusters import cluster
from tests.chaos.faults import ON_MANY, ON_ONE_NODE, Fault

DOCUMENT = Path("docs/reliability.md")
LOG = Path("results/chaos.jsonl")
FAULTS = {fault.__name__: fault for fault in (*ON_ONE_NODE, *ON_MANY)}


@dataclass
class Round:
    """One disturbed sweep."""

    fault: str
    seed: int
    struck: bool
    seconds: float
    commit: str
    lie: str = ""


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("faults", nargs="*", choices=[*FAULTS, []], help="all unless given")
    parser.add_argument("--rounds", type=int, default=20, help="of each fault")
    parser.add_argument("--log", type=Path, default=LOG, help="rounds that stand there are not run again")
    parser.add_argument("--print", action="store_true", help="print only: leave the document as it is")
    given = parser.parse_args()
    done = read(given.log)
    known = {(one.fault, one.seed) for one in done}
    wanted = [(name, seed) for seed in range(given.rounds) for name in given.faults or FAULTS]
    folder = Path(tempfile.mkdtemp(prefix="chaos-"))
    undisturbed = None
    for name, seed in (one for one in wanted if one not in known):
        undisturbed = undisturbed or calm(folder / "undisturbed")
        one = run(FAULTS[name], seed, folder, undisturbed)
        done.append(one)
        given.log.parent.mkdir(parents=True, exist_ok=True)
        with open(given.log, "a") as log:
            log.write(json.dumps(asdict(one)) + "\n")
        told = one.lie or ("struck" if one.struck else "too late")
        print(f"{one.fault} {one.seed}: {one.seconds:.0f} s, {told}", flush=True)
        if not given.print:
            replace("rounds", table(done), DOCUMENT)
    print(table(done))
    broken = [one for one in done if one.lie]
    if not broken:
        shutil.rmtree(folder, ignore_errors=True)
    return 1 if broken else 0


def read(log: Path) -> list[Round]:
    """The rounds that were run before."""
    return [Round(**json.loads(line)) for line in log.read_text().splitlines()] if log.exists() else []


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
    return Round(fault.__name__, seed, struck, time.monotonic() - started, provenance()["git_commit"] or "", lie)


def table(rounds: list[Round]) -> str:
    """A row a fault, and which code was tested."""
    lines = ["| fault | rounds | struck | promises broken | seconds a round |", "|---|---|---|---|---|"]
    for name, fault in FAULTS.items():
        if own := [one for one in rounds if one.fault == name]:
            what = (fault.__doc__ or name).strip().removesuffix(".").partition(":")[0]
            seconds = sum(one.seconds for one in own) / len(own)
            broken, struck = sum(bool(one.lie) for one in own), sum(one.struck for one in own)
            lines.append(f"| {what} (`{name}`) | {len(own)} | {struck} | {broken} | {seconds:.0f} |")
    commits = ", ".join(dict.fromkeys(one.commit[:12] for one in rounds))
    return "\n".join([*lines, "", f"`make chaos`, commits {commits}."])


if __name__ == "__main__":
    sys.exit(main())

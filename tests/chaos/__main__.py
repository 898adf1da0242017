"""`make chaos`: disturbs small sweeps at seeded random moments; the table of rounds goes to docs/reliability.md.

A round is some faults, their moments, and a folder of its own (faults.py); what must hold then stands in arena.py.
Rounds are logged as they end, and the same command goes on after them. Exit code 1 where a promise was broken: the
folder of that round is kept.
"""

import argparse
import json
import random
import shutil
import signal
import sys
import tempfile
import time
from contextlib import nullcontext
from dataclasses import asdict, dataclass
from pathlib import Path

from orchestrator.sweep import provenance
from tests.bench.__main__ import replace
from tests.chaos.arena import Arena
from tests.chaos.clusters import cluster
from tests.chaos.faults import FAULTS, NODES, ROUNDS

DOCUMENT = Path("docs/reliability.md")
LOG = Path("docs/reliability-rounds.jsonl")


@dataclass
class Round:
    """One disturbed sweep, and which of its faults struck."""

    kind: str
    seed: int
    struck: dict[str, bool]
    seconds: float
    commit: str
    lie: str = ""
    dirty: bool | None = None
    """Whether the code was changed since the commit; None where nobody knows."""


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("kinds", nargs="*", choices=[*ROUNDS, []], help="of rounds; all unless given")
    parser.add_argument("--rounds", type=int, default=20, help="of each kind")
    parser.add_argument("--log", type=Path, default=LOG, help="rounds that stand there are not run again")
    parser.add_argument("--print", action="store_true", help="print only: leave the document as it is")
    given = parser.parse_args()
    signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell's background job ignores it, and so would sweeps
    done = read(given.log)
    known = {(one.kind, one.seed) for one in done}
    wanted = [(name, seed) for seed in range(given.rounds) for name in given.kinds or ROUNDS]
    folder = Path(tempfile.mkdtemp(prefix="chaos-"))
    undisturbed = None
    for kind, seed in (one for one in wanted if one not in known):
        undisturbed = undisturbed or calm(folder / "undisturbed")
        one = run(kind, seed, folder, undisturbed)
        done.append(one)
        given.log.parent.mkdir(parents=True, exist_ok=True)
        with open(given.log, "a") as log:
            log.write(json.dumps(asdict(one)) + "\n")
        late = [name for name, struck in one.struck.items() if not struck]
        told = one.lie or (f"too late: {', '.join(late)}" if late else "holds")
        print(f"{one.kind} {one.seed}: {one.seconds:.0f} s, {told}", flush=True)
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


def run(kind: str, seed: int, folder: Path, undisturbed: Arena) -> Round:
    """One round; its folder is removed unless a promise was broken."""
    place, started = folder / f"{kind}-{seed}", time.monotonic()
    chance = random.Random(f"{kind} {seed}")
    arena, lie = Arena(place, undisturbed), ""
    try:
        with cluster(NODES[kind]) if kind in NODES else nullcontext() as nodes:
            arena.cluster = nodes.address if nodes else ""
            ROUNDS[kind](arena, chance)
    except Exception as error:  # also one of the round's own: it is shown, and the next rounds run
        lie = f"{type(error).__name__}: {error}"
    finally:
        arena.process.kill()
        arena.process.wait()
    if not lie:
        shutil.rmtree(place)
    made, seconds = provenance(), time.monotonic() - started
    return Round(kind, seed, arena.struck, seconds, made["git_commit"] or "", lie, made["git_dirty"])


def table(rounds: list[Round]) -> str:
    """A row a fault, one below them a kind of round, and which code was tested."""
    lines = ["| fault | rounds | struck |", "|---|---|---|"]
    for name, what in FAULTS.items():
        if own := [one.struck[name] for one in rounds if name in one.struck]:
            lines.append(f"| {what} (`{name}`) | {len(own)} | {sum(own)} |")
    lines += ["", "| a round | rounds | promises broken | seconds |", "|---|---|---|---|"]
    for kind, what in ROUNDS.items():
        if of_kind := [one for one in rounds if one.kind == kind]:
            seconds = sum(one.seconds for one in of_kind) / len(of_kind)
            broken = sum(bool(one.lie) for one in of_kind)
            lines.append(
                f"| {(what.__doc__ or '').rstrip('.')} (`{kind}`) | {len(of_kind)} | {broken} | {seconds:.0f} |"
            )
    commits = ", ".join(dict.fromkeys(one.commit[:12] + " with changes" * bool(one.dirty) for one in rounds))
    return "\n".join([*lines, "", f"`make chaos`, commits {commits}."])


if __name__ == "__main__":
    sys.exit(main())

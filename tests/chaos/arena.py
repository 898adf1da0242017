"""A sweep that is disturbed, and what must hold when the same command has run again."""

import contextlib
import random
import re
import shutil
import signal
import subprocess
import time
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

import psutil

from orchestrator.history import attempts
from orchestrator.interrupts import EXIT_INTERRUPTED
from orchestrator.lease import holder
from tests.integration.sweeping import PATIENCE, Folder

GRID = (Path(__file__).parent / "grid.yaml").read_text()
ORPHAN_SECONDS = 10.0
GONE = (psutil.STATUS_STOPPED, psutil.STATUS_ZOMBIE, psutil.STATUS_DEAD)
AT_ONCE_SECONDS = 10.0
"""In which a driver that was interrupted twice must be gone, on a busy machine."""
LEFT = ("checkpoint", "*work.*", "FAILED", "stop/*", ".*")
KEPT = ".lock"
"""Whose turn it is to replace a stale lock (lease.py)."""
MOST_RUNS = 3
"""Runs of the command after which a disturbed sweep must have ended as it should."""


class Lie(AssertionError):
    """A promise that a round has seen broken."""


class Arena(Folder):
    """A working folder like that of the undisturbed sweep, whose trials are all still to do."""

    def __init__(self, path: Path, undisturbed: "Arena | None", cluster: str = "", grid: str = GRID) -> None:
        path.mkdir(parents=True)
        super().__init__(path, grid, cluster)
        self.undisturbed = undisturbed
        self.seconds = undisturbed.seconds if undisturbed else 0.0
        """How long the undisturbed sweep took."""
        self.family: set[psutil.Process] = set()
        self.struck: dict[str, bool] = {}
        """Whether each fault came before the sweep had ended: one that came too late has tested nothing."""
        if undisturbed:  # what its preflight found: the same for every round
            self.store.root.mkdir(parents=True)
            for name in ("manifests.json", "sources.json"):
                shutil.copy(undisturbed.store.root / name, self.store.root)

    def start(self, *arguments: str) -> subprocess.Popen[bytes]:
        self.noted = self._noted()
        return super().start(*arguments)

    def moment(self, chance: random.Random, process: subprocess.Popen[bytes], part: float = 1.0) -> bool:
        """Waits until a random moment in the first `part` of the sweep, two of three within trials, others anywhere;
        whether the sweep still runs."""
        if chance.random() < 2 / 3:
            return self.moment_of_trials(chance, process, part)
        return self._look(process, chance.uniform(0, part * self.seconds))

    def moment_of_trials(self, chance: random.Random, process: subprocess.Popen[bytes], part: float = 1.0) -> bool:
        """Waits until a random moment after this sweep's first trial has started, in a `part` of all trials' time."""
        assert self.undisturbed
        while process.poll() is None and self._noted() == self.noted:
            self._look(process, 0.1)
        return self._look(process, chance.uniform(0, part * self.undisturbed.span()))

    def _noted(self) -> int:
        """How much is written of attempts at trials: it grows when one starts."""
        return sum(file.stat().st_size for file in self.store.root.glob("*/*/attempts.jsonl"))

    def span(self) -> float:
        """Seconds from the first trial's start to the last one's end."""
        times = [attempt["time"] for address in self.store.index() for attempt in attempts(self.store.folder(*address))]
        return float(max(times) - min(times))

    def _look(self, process: subprocess.Popen[bytes], seconds: float) -> bool:
        with contextlib.suppress(subprocess.TimeoutExpired, psutil.Error):
            process.wait(timeout=seconds)
        with contextlib.suppress(psutil.Error):
            self.family |= set(psutil.Process(process.pid).children(recursive=True))
        return process.poll() is None

    def workers(self) -> Iterator[tuple[psutil.Process, str]]:
        """Processes that work on trials now and were not stopped, each with Ray's id of its node."""
        for lock in self.store.root.glob("*/*/lock"):
            with contextlib.suppress(psutil.Error):
                if (found := holder(lock)) and (process := psutil.Process(found.process)).status() not in GONE:
                    yield process, found.node

    def a_worker(
        self, chance: random.Random, process: subprocess.Popen[bytes], part: float
    ) -> tuple[psutil.Process, str] | None:
        """One that works at a random moment of a `part` of the sweep's trials; None where the sweep ended before there
        was one."""
        self.moment_of_trials(chance, process, part)
        while process.poll() is None:
            if found := sorted(self.workers(), key=lambda worker: worker[0].pid):
                return chance.choice(found)
            time.sleep(0.02)
        return None

    def strike_driver(self, signals: Sequence[signal.Signals], chance: random.Random, part: float = 1.0) -> bool:
        """Starts the sweep and sends its driver signals at a random moment, one within a second of the other; whether
        it still ran. Its exit code must say so."""
        process = self.start()
        struck = self.moment(chance, process, part)
        begun, struck_at = bool(self.output()), time.time()
        for number in signals[:-1]:
            process.send_signal(number)
            self._look(process, chance.uniform(0, 1))
        process.send_signal(signals[-1])
        last = time.monotonic()
        self.end(process, self._codes(signals[-1], begun, struck_at))
        if len(signals) > 1 and (seconds := time.monotonic() - last) > AT_ONCE_SECONDS:
            raise Lie(f"interrupted twice, the driver took {seconds:.0f} s to end")
        self.check_no_orphans()
        return struck

    def _codes(self, number: signal.Signals, begun: bool, struck_at: float) -> Iterator[int]:
        """Exit codes that a driver may end with, asked when it has ended. It hears of signals before it says anything,
        until Python leaves it, with all done."""
        yield -number if number == signal.SIGKILL else EXIT_INTERRUPTED
        if not begun:
            yield -number
        stamp = self.path / "results/micro/sweep.json"
        if stamp.exists() and stamp.stat().st_mtime <= struck_at:
            yield from (0, -number)

    def check_no_orphans(self) -> None:
        """Nothing that the driver started, or that this started, lives on."""
        _, left = psutil.wait_procs(list(self.family), timeout=ORPHAN_SECONDS)
        if left:
            raise Lie(f"{len(left)} processes outlive the driver: {[process.name() for process in left]}")

    def end(self, process: subprocess.Popen[bytes], allowed: Iterable[int] = (0,)) -> int:
        """Waits for the end of a sweep, whose exit code must be one of these."""
        code, codes = process.wait(timeout=PATIENCE), set(allowed)
        if code not in codes:
            raise Lie(f"exit code {code} instead of {codes}: {self.output()[-800:]}")
        return code

    def settle(self) -> int:
        """Runs the same command until it says that all is done; returns how often."""
        for run in range(1, MOST_RUNS + 1):
            code, output = self.run()
            if "Traceback" in output:
                raise Lie(f"a traceback: {output[-800:]}")
            if code == 0:
                return run
        raise Lie(f"not done after {MOST_RUNS} runs, exit code {code}: {output[-800:]}")

    def check(self, strikes: int, damaged: bool = False) -> None:
        """That all is as in the undisturbed sweep: tables, results, each trial done once, nothing left behind."""
        assert self.undisturbed
        for what, mine, its in (
            ("tables", self.tables(), self.undisturbed.tables()),
            ("results", self.results(), self.undisturbed.results()),
        ):
            if mine != its:
                differ = sorted(name for name in mine.keys() | its.keys() if mine.get(name) != its.get(name))
                raise Lie(f"other {what}: {differ[:5]}")
        for kind, key in self.undisturbed.store.index():
            # The record's: a kill right after DONE may keep the end out of the file.
            record = self.store.record(kind, key)
            outcomes = [attempt["outcome"] for attempt in record["attempts"]]
            if not damaged and outcomes.count("done") != 1:
                raise Lie(f"{kind}/{key} was finished {outcomes.count('done')} times: {outcomes}")
            if not damaged and outcomes.count("started") > 1 + strikes:
                raise Lie(f"{kind}/{key} was started {outcomes.count('started')} times: {outcomes}")
            first, stopped = record["measured"].get("first_step", 0), stopped_after(record["attempts"])
            if not damaged and first < stopped and kind != "fr_iqa":  # whose steps are those of several works
                raise Lie(f"{kind}/{key} went on after step {first:g}, and was interrupted after step {stopped}")
        if left := leftovers(self.store.root):
            raise Lie(f"left behind: {left[:5]}")
        if held := list(self.workers()):
            raise Lie(f"trials are claimed: {held}")


def stopped_after(attempts: list[dict[str, Any]]) -> int:
    """The last step of a training that was interrupted, whose checkpoint the next attempt must have gone on from; 0
    where none was."""
    notes = (str(attempt.get("note")) for attempt in attempts if attempt["outcome"] == "interrupted")
    return max((int(found[1]) for note in notes if (found := re.search(r"after step (\d+) of", note))), default=0)


def leftovers(folder: Path) -> list[Path]:
    """What nobody needs below a folder of a store in which all is finished."""
    return [path for name in LEFT for path in folder.rglob(name) if path.name != KEPT]

"""Of all who ask for a trial of an object store one holds it, whoever hangs, dies or comes back."""

import json
import os
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from orchestrator import lease, objects, remote_lease
from orchestrator.objects import Objects
from orchestrator.remote_lease import Claim, hold, holders

ROOT = Path(__file__).parents[2]
TRIAL = "pretext.0123456789abcdef"
ASKER = """
import os, sys, time
from orchestrator import lease, remote_lease
from orchestrator.objects import Objects
lease.BEAT_SECONDS, remote_lease.LOOK_SECONDS = 0.2, 0.2
for _ in range(int(sys.argv[3])):
    with remote_lease.hold(Objects(sys.argv[1]), "pretext.0123456789abcdef", lambda: False):
        os.close(os.open(sys.argv[2], os.O_CREAT | os.O_EXCL))  # fails where another is inside
        time.sleep(0.02)
        os.unlink(sys.argv[2])
"""


class Memory(Objects):
    """An object store whose every operation takes a moment, in which others may come in between."""

    def __init__(self) -> None:
        super().__init__("memory://")
        self.content: dict[str, bytes] = {}
        self.turn = threading.Lock()
        self.before: Callable[[str], None] = lambda operation: None

    def read(self, name: str) -> bytes | None:
        self.before("read")
        return self.content.get(name)

    def write(self, name: str, content: bytes) -> None:
        self.before("write")
        with self.turn:
            self.content[name] = content

    def names(self, folder: str) -> dict[str, int]:
        self.before("names")
        with self.turn:
            return {name: time.time_ns() for name in self.content if name.startswith(f"{folder}/")}

    def delete(self, *names: str) -> None:
        self.before("delete")
        with self.turn:
            for name in names:
                self.content.pop(name, None)


@pytest.fixture(autouse=True)
def _impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lease, "STALE_SECONDS", 1.0)
    monkeypatch.setattr(lease, "BEAT_SECONDS", 0.1)
    monkeypatch.setattr(remote_lease, "LOOK_SECONDS", 0.05)
    monkeypatch.setattr(objects, "PAUSES", ())


@pytest.fixture
def memory() -> Memory:
    return Memory()


def never() -> bool:
    return False


def claimed(beat: int = 0, **other: object) -> bytes:
    """What a claim of a process on another machine says."""
    who = {"host": "elsewhere", "process": 1, "born": 2, "machine": "other", "node": "", "sweep": ""}
    return json.dumps({**who, "beat": beat, "progress": None, **other}).encode()


def test_of_many_threads_that_ask_at_once_one_holds_at_a_time_and_each_gets_its_turn(memory: Memory) -> None:
    inside, most, entered = 0, 0, 0
    counting = threading.Lock()
    memory.before = lambda operation: time.sleep(0.002)

    def ask() -> None:
        nonlocal inside, most, entered
        with hold(memory, TRIAL, never):
            with counting:
                inside, entered = inside + 1, entered + 1
                most = max(most, inside)
            time.sleep(0.01)
            with counting:
                inside -= 1

    asking = [threading.Thread(target=ask) for _ in range(12)]
    for thread in asking:
        thread.start()
    for thread in asking:
        thread.join(timeout=60)
    assert (most, entered) == (1, 12)
    assert not memory.content


def test_of_many_processes_on_a_real_server_one_holds_at_a_time(storage: str, tmp_path: Path) -> None:
    command = [sys.executable, "-c", ASKER, storage, str(tmp_path / "inside"), "3"]
    asking = [subprocess.Popen(command, cwd=ROOT, stderr=subprocess.PIPE, text=True) for _ in range(3)]
    for process in asking:
        _, errors = process.communicate(timeout=120)
        assert process.returncode == 0, errors
    assert not Objects(storage).names(remote_lease.FOLDER)


def test_two_that_see_each_other_both_withdraw_and_neither_holds(memory: Memory) -> None:
    both = threading.Barrier(2)
    granted: list[bool] = []

    def meet(operation: str) -> None:
        if operation == "write":
            both.wait(timeout=10)  # neither has seen a claim, and both write before either lists

    memory.before = meet

    def ask() -> None:
        claim = Claim(memory, TRIAL, {}, lambda: None)
        granted.append(remote_lease._granted(claim))

    asking = [threading.Thread(target=ask) for _ in range(2)]
    for thread in asking:
        thread.start()
    for thread in asking:
        thread.join()
    assert sum(granted) <= 1
    assert len(granted) == 2


@pytest.mark.parametrize("order", ["aabb", "abab", "abba", "baab"])
def test_whatever_the_order_of_writes_and_lists_two_never_both_hold(order: str, memory: Memory) -> None:
    """a and b each write, then list: the letters say who is next."""
    claims = {name: Claim(memory, TRIAL, {}, lambda: None) for name in "ab"}
    wrote: set[str] = set()
    sees: dict[str, bool] = {}
    for name in order:
        if name in wrote:
            sees[name] = claims[name].all() == {claims[name].name}
        else:
            claims[name].write()
            wrote.add(name)
    assert sum(sees.values()) <= 1


def test_a_claim_that_shows_no_beat_is_removed_and_one_that_does_is_not(memory: Memory) -> None:
    name, started, beat = f"lock/{TRIAL}.other", time.monotonic(), 0
    memory.content[name] = claimed()

    def patience() -> bool:
        nonlocal beat
        beat += 1
        memory.content[name] = claimed(beat)
        return time.monotonic() - started > 2.5 * lease.STALE_SECONDS

    with (
        pytest.raises(BlockingIOError, match="another live process works on this trial"),
        hold(memory, TRIAL, patience),
    ):
        pass
    started = time.monotonic()
    with hold(memory, TRIAL, never) as claim:
        assert time.monotonic() - started > lease.STALE_SECONDS
        assert claim.all() == {claim.name}


def test_a_claim_of_a_process_of_this_machine_that_died_is_removed_at_once(memory: Memory) -> None:
    ended = subprocess.Popen(["true"])
    ended.wait()
    name = f"lock/{TRIAL}.dead"
    memory.content[name] = claimed(machine=remote_lease.machine(), process=ended.pid, born=lease.born())
    with hold(memory, TRIAL, lambda: True):
        assert name not in memory.content
    memory.content[name] = claimed(machine=remote_lease.machine(), process=os.getpid(), born=lease.born())
    with pytest.raises(BlockingIOError), hold(memory, TRIAL, lambda: True):
        pass


def test_a_holder_whose_claim_was_removed_has_lost_it_for_good(memory: Memory) -> None:
    with hold(memory, TRIAL, never) as claim:
        claim.check()
        memory.delete(claim.name)
        with pytest.raises(OSError, match="the lease is lost"):
            claim.check()
        claim.renew()
        assert not memory.content, "it is not written again"
        with pytest.raises(OSError, match="the lease is lost"):
            claim.check()


def test_a_holder_that_hung_between_looking_and_writing_takes_its_claim_back(memory: Memory) -> None:
    with hold(memory, TRIAL, never) as claim:
        looked = False

        def hangs(operation: str) -> None:
            nonlocal looked
            if operation == "write" and not looked:
                looked = True
                memory.content.pop(claim.name, None)  # by one who waited
                time.sleep(lease.STALE_SECONDS)

        memory.before = hangs
        claim.renew()
        memory.before = lambda operation: None
        assert claim.lost
        assert claim.name not in memory.content


def test_a_holder_that_could_not_beat_is_not_sure_any_more(memory: Memory) -> None:
    with hold(memory, TRIAL, never) as claim:

        def away(operation: str) -> None:
            raise OSError("no network")

        memory.before = away
        time.sleep(1.2 * lease.STALE_SECONDS)
        memory.before = lambda operation: None
        with pytest.raises(OSError, match="the lease is lost"):
            claim.check()


def test_a_claim_that_cannot_be_granted_for_an_error_is_withdrawn(memory: Memory) -> None:
    looks = 0

    def fails(operation: str) -> None:
        nonlocal looks
        looks += operation == "names"
        if looks == 2:
            looks = 3
            raise OSError("no network")

    memory.before = fails
    with pytest.raises(OSError, match="no network"), hold(memory, TRIAL, never):
        pass
    assert not memory.content


def test_everybody_sees_who_holds_what_and_how_far_it_is(memory: Memory) -> None:
    memory.content["lock/judging.00.other"] = b"no JSON"
    with hold(memory, TRIAL, never, "n1", "s1", lambda: {"step": 3, "steps": 9}):
        ((address, (by, progress)),) = holders(memory).items()
        assert address == tuple(TRIAL.split("."))
        assert (by.process, by.node, by.sweep, progress) == (os.getpid(), "n1", "s1", {"step": 3, "steps": 9})
        before = by.beat
        time.sleep(5 * lease.BEAT_SECONDS)
        assert holders(memory)[address][0].beat > before
    assert not holders(memory)

"""What a killed driver started does not outlive it; nothing else is touched."""

import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path

import psutil

from orchestrator import reaper

ROOT = Path(__file__).parents[2]
SLEEPER = [sys.executable, "-c", "import time; time.sleep(600)"]
DRIVER = """
import subprocess, sys
from orchestrator import reaper
with reaper.guard(sys.argv[1]):
    middle = "import subprocess, sys; print(subprocess.Popen(sys.argv[1:], start_new_session=True).pid, flush=True)"
    sleeper = [sys.executable, "-c", "import time; time.sleep(600)"]
    subprocess.run([sys.executable, "-c", middle + "; sys.stdin.read(1)", *sleeper], start_new_session=True)
"""


def test_a_killed_driver_takes_its_descendants_and_scratch_with_it_and_nothing_else(tmp_path: Path) -> None:
    (tmp_path / "scratch").mkdir()
    (tmp_path / "kept").touch()
    stranger = subprocess.Popen(SLEEPER)
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE}
    with subprocess.Popen(
        [sys.executable, "-c", DRIVER, str(tmp_path / "scratch")], cwd=ROOT, text=True, **pipes
    ) as driver:
        assert driver.stdout is not None
        grandchild = psutil.Process(int(driver.stdout.readline()))
        family = psutil.Process(driver.pid).children(recursive=True)
        assert grandchild in family
        (watcher,) = (p for p in psutil.Process(driver.pid).children() if reaper.__file__ in p.cmdline())
        looked = watcher.num_ctx_switches().voluntary
        while watcher.num_ctx_switches().voluntary < looked + 2:  # until it has looked since the grandchild was born
            time.sleep(0.01)
        driver.kill()
        assert not psutil.wait_procs(family, timeout=10)[1]
    assert [path.name for path in tmp_path.iterdir()] == ["kept"]
    assert stranger.poll() is None
    stranger.kill()
    stranger.wait()


LATE = """
import subprocess, sys
from orchestrator import reaper
with reaper.guard(sys.argv[1]):
    middle = "import subprocess, sys, time; print(flush=True); sys.stdin.read(); "
    middle += "open(sys.argv[1], 'w').write(str(subprocess.Popen(sys.argv[2:]).pid)); time.sleep(1)"
    sleeper = [sys.executable, "-c", "import time; time.sleep(600)"]
    subprocess.Popen([sys.executable, "-c", middle, sys.argv[2], *sleeper], stdin=subprocess.PIPE)
    sys.stdin.read()
"""


def test_what_the_descendants_of_a_killed_driver_start_after_its_end_is_ended_too(tmp_path: Path) -> None:
    """As Ray's raylet does with its agents, when the driver dies while Ray starts."""
    late = tmp_path / "late"
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE}
    with subprocess.Popen([sys.executable, "-c", LATE, str(tmp_path / "x"), str(late)], cwd=ROOT, **pipes) as driver:
        assert driver.stdout is not None
        driver.stdout.readline()  # the one in the middle runs
        (watcher,) = (p for p in psutil.Process(driver.pid).children() if reaper.__file__ in p.cmdline())
        looked = watcher.num_ctx_switches().voluntary
        while watcher.num_ctx_switches().voluntary < looked + 2:
            time.sleep(0.01)
        driver.kill()
    deadline = time.monotonic() + 10
    while not (late.exists() and late.read_text()):
        assert time.monotonic() < deadline
        time.sleep(0.01)
    with suppress(psutil.NoSuchProcess):  # already
        assert not psutil.wait_procs([psutil.Process(int(late.read_text()))], timeout=10)[1]


def test_a_driver_that_ends_leaves_no_watcher(tmp_path: Path) -> None:
    me = psutil.Process()
    before = set(me.children(recursive=True))
    with reaper.guard(str(tmp_path)):
        (watcher,) = set(me.children(recursive=True)) - before
    assert not watcher.is_running()


def test_descendants_are_followed_when_their_parent_is_gone() -> None:
    child = subprocess.Popen(SLEEPER)
    me = psutil.Process().pid
    (started,) = [process for process in reaper.alive() if process[0] == child.pid]
    assert started in reaper.descendants(me, set())
    stranger = next(p for p in reaper.alive() if p[0] == 1)
    assert stranger not in reaper.descendants(me, set())
    assert started in reaper.descendants(10**9, {started})
    assert (child.pid, "0") not in reaper.descendants(me, {(child.pid, "0")})  # the id was used again
    child.kill()
    child.wait()
    assert started not in reaper.descendants(me, {started})

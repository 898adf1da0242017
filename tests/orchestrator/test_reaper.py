"""What a killed driver started does not outlive it; nothing else is touched."""

import subprocess
import sys
import time
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

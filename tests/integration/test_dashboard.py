"""Ray's dashboard of a running sweep, in a real browser, where one is installed."""

import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.browser import CHROMIUM, Browser
from tests.integration.sweeping import ROOT, Folder, kill, wait_until

pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="needs chromium on the PATH")

GRID = (ROOT / "tests/micro.yaml").read_text().replace("warmup: {steps: 20,", "warmup: {steps: 100000,")
PAGES = {
    "overview": "-m orchestrator sweep grid.yaml",
    "jobs": "-m orchestrator sweep grid.yaml",
    "cluster": "ray::super_resolution: optimize warm-up",
    "actors": "TrialActor",
    "logs": "Node ID: ",
    "metrics": "Prometheus",
}
"""By the page's address, what stands on it while a sweep runs."""
A_MINUTE = 60.0
DIALOG = "document.querySelector('[role=dialog]')"


@pytest.fixture(scope="module")
def sweep(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Folder]:
    """One whose first training goes on for as long as somebody looks."""
    folder = Folder(tmp_path_factory.mktemp("watched"), GRID)
    process = folder.start()
    try:
        wait_until(lambda: bool(list(folder.store.root.glob("super_resolution/*/lock"))), process)
        yield folder
    finally:
        kill(process)


@pytest.fixture(scope="module")
def browser(sweep: Folder, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Browser]:
    """On the dashboard whose address the sweep printed, with the token that the printed command tells."""
    address, command = re.findall(r"^Ray dashboard: (\S+)  \(if it asks for a token: (.+)\)$", sweep.output(), re.M)[0]
    started = Browser(tmp_path_factory.mktemp("profile"))
    try:
        started.open(address)
        tells = command.replace(".venv/bin", str(Path(sys.executable).parent)).split()
        token = subprocess.run(tells, capture_output=True, text=True, check=True).stdout.split()[-1]
        wait_until(lambda: started.value(f"{DIALOG} !== null"), sweep.process, A_MINUTE)
        started.value(f"{DIALOG}.querySelector('input').focus()")
        started("Input.insertText", text=token)
        started.events.clear()
        started.value(f"[...{DIALOG}.querySelectorAll('button')].find(one => one.innerText === 'SUBMIT').click()")
        started.wait_for_load()
        yield started
    finally:
        started.close()


@pytest.mark.parametrize("page", PAGES)
def test_a_page_names_what_runs_and_has_no_error(page: str, browser: Browser, sweep: Folder) -> None:
    browser.events.clear()
    browser.value(f"location.hash = '#/{page}'")
    wait_until(lambda: PAGES[page] in browser.value("document.body.innerText"), sweep.process, A_MINUTE)
    assert browser.told("Runtime.exceptionThrown") == []
    asked = {told["request"]["url"].split("/")[2] for told in browser.told("Network.requestWillBeSent")}
    assert asked <= {browser.value("location.host")}, "it asks nobody else"


def test_the_page_of_an_actor_is_that_of_a_trial(browser: Browser, sweep: Folder) -> None:
    browser.value("location.hash = '#/actors'")
    link = "document.querySelector('a[href*=\"actors/\"]')"
    wait_until(lambda: browser.value(f"{link} !== null"), sweep.process, A_MINUTE)
    browser.events.clear()
    browser.value(f"{link}.click()")
    wait_until(lambda: "Class Name\n\nTrialActor" in browser.value("document.body.innerText"), sweep.process, A_MINUTE)
    assert browser.told("Runtime.exceptionThrown") == []

"""What a driver that is gone has left behind."""

import os
import subprocess
import sys
from pathlib import Path

from orchestrator.driving import Stop, forget_dead, stop_name
from orchestrator.store import Store


def test_requests_of_drivers_that_are_gone_are_taken_back(tmp_path: Path) -> None:
    store, driver = Store(tmp_path), subprocess.Popen([sys.executable, "-c", ""])
    driver.wait()
    own, others = stop_name(os.getpid()), {"another-machine-1", "0123456789abcdef", "12"}
    for name in (own, stop_name(driver.pid), *others):
        store.request_stop(name)
    forget_dead(store)
    assert store.stops_requested() == {own, *others}
    stop = Stop(store, own)
    stop.request()
    stop.withdraw()
    assert store.stops_requested() == others

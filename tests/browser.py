"""A headless Chromium that tests drive through its debugging pipe, by the standard library alone.

Messages are JSON that ends in a zero byte; Chromium reads them from descriptor 3 and answers on 4.
"""

import base64
import contextlib
import json
import os
import shutil
import subprocess
import time
from pathlib import Path

CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
FLAGS = ("--headless", "--no-sandbox", "--disable-gpu", "--disable-background-networking", "--hide-scrollbars",
         "--no-first-run", "--disable-dev-shm-usage", "--remote-debugging-pipe")  # fmt: skip


class Browser:
    """One page. `events` are all that Chromium told, e.g. `Runtime.exceptionThrown`, `Network.requestWillBeSent`."""

    def __init__(self, profile: Path) -> None:
        read, chromium_writes = os.pipe()
        chromium_reads, write = os.pipe()
        # 3 and 4 are where the shell puts them: Popen cannot number what it passes on
        words = f'exec "$0" "$@" 3<&{chromium_reads} 4>&{chromium_writes}'
        command = ["bash", "-c", words, CHROMIUM, *FLAGS, f"--user-data-dir={profile}", "about:blank"]
        self.process = subprocess.Popen(
            command, pass_fds=(chromium_reads, chromium_writes), stderr=subprocess.DEVNULL, stdout=subprocess.DEVNULL
        )
        os.close(chromium_reads)
        os.close(chromium_writes)
        self.input, self.output = write, read
        self.waiting, self.number, self.session, self.events = b"", 0, None, []
        target = next(t for t in self("Target.getTargets")["targetInfos"] if t["type"] == "page")
        self.session = self("Target.attachToTarget", targetId=target["targetId"], flatten=True)["sessionId"]
        for domain in ("Page", "Runtime", "Network", "Log"):
            self(f"{domain}.enable")

    def __call__(self, method, **parameters):
        """Chromium's answer to one command."""
        self.number += 1
        message = {"id": self.number, "method": method, "params": parameters}
        if self.session:
            message["sessionId"] = self.session
        left = json.dumps(message).encode() + b"\0"
        while left:
            left = left[os.write(self.input, left) :]
        while True:
            told = self._next()
            if told.get("id") == self.number:
                assert "error" not in told, (method, told["error"])
                return told["result"]
            self.events.append(told)

    def _next(self):
        while b"\0" not in self.waiting:
            more = os.read(self.output, 1 << 20)
            assert more, f"Chromium ended: {self.process.poll()}"
            self.waiting += more
        first, _, self.waiting = self.waiting.partition(b"\0")
        return json.loads(first)

    def open(self, page, width=1280, height=800, dark=False, script=True):
        """Loads a file's page, or that of an address, in a window of `width` x `height` CSS pixels."""
        self("Emulation.setDeviceMetricsOverride", width=width, height=height, deviceScaleFactor=1, mobile=width < 600)
        scheme = {"name": "prefers-color-scheme", "value": "dark" if dark else "light"}
        self("Emulation.setEmulatedMedia", features=[scheme])
        self("Emulation.setScriptExecutionDisabled", value=not script)
        self.events.clear()
        self("Page.navigate", url=page if "://" in str(page) else Path(page).resolve().as_uri())
        self.wait_for_load()

    def wait_for_load(self, seconds=60):
        """Returns once a page has loaded since `events` were cleared, also one that a page goes to by itself."""
        deadline = time.monotonic() + seconds
        while not self.told("Page.loadEventFired"):
            assert time.monotonic() < deadline, "no page has loaded"
            self.events.append(self._next())

    def value(self, expression):
        """What a JavaScript expression gives, as JSON."""
        told = self("Runtime.evaluate", expression=expression, returnByValue=True, awaitPromise=True)
        assert "exceptionDetails" not in told, told["exceptionDetails"]
        return told["result"].get("value")

    def press(self, key, code, number):
        """A key, down and up."""
        for kind in ("keyDown", "keyUp"):
            text = {"text": key} if kind == "keyDown" and len(key) == 1 else {}
            self("Input.dispatchKeyEvent", type=kind, key=key, code=code, windowsVirtualKeyCode=number, **text)

    def told(self, method):
        """The events of one name since the page was opened."""
        return [event["params"] for event in self.events if event.get("method") == method]

    def screenshot(self, file, whole=False):
        """A PNG of the window, or of the whole page."""
        shot = self("Page.captureScreenshot", format="png", captureBeyondViewport=whole)
        Path(file).write_bytes(base64.b64decode(shot["data"]))

    def close(self):
        """Ends Chromium."""
        with contextlib.suppress(OSError, AssertionError):
            self.session = None
            self("Browser.close")
        self.process.wait(timeout=20)
        os.close(self.input)
        os.close(self.output)

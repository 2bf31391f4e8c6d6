# SPDX-License-Identifier: Apache-2.0
"""Headless Chromium, driven through the pipes of its DevTools protocol; no package is needed for it."""

import base64
import itertools
import json
import os
import select
import shutil
import subprocess
import time
from pathlib import Path
from types import TracebackType
from typing import Any

PROGRAM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
FLAGS = ("--headless=new", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--no-first-run",
         "--disable-extensions", "--disable-background-networking", "--remote-debugging-pipe", "--hide-scrollbars",
         "--disable-features=DialMediaRouteProvider")  # fmt: skip


class Browser:
    """One page of a browser with a profile of its own."""

    def __init__(self, profile: Path, width: int = 1200, height: int = 900) -> None:
        assert PROGRAM
        (child_in, self._out), (self._in, child_out) = os.pipe(), os.pipe()

        def pipes() -> None:  # the protocol's are 3 (to the browser) and 4; first out of their own way
            a, b = os.dup(child_in), os.dup(child_out)
            os.dup2(a, 3)
            os.dup2(b, 4)

        self.process = subprocess.Popen(
            [PROGRAM, *FLAGS, f"--user-data-dir={profile}", f"--window-size={width},{height}", "about:blank"],
            preexec_fn=pipes, close_fds=False, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
        )  # fmt: skip
        os.close(child_in)
        os.close(child_out)
        self._ids, self._rest, self.events = itertools.count(1), b"", list[dict[str, Any]]()
        self.session = ""
        pages = [one for one in self.call("Target.getTargets")["targetInfos"] if one["type"] == "page"]
        attached = self.call("Target.attachToTarget", targetId=pages[0]["targetId"], flatten=True)
        self.session = attached["sessionId"]
        for domain in ("Page", "Runtime", "Log", "Network"):
            self.call(f"{domain}.enable")

    def call(self, method: str, **params: Any) -> dict[str, Any]:
        """Result of a method of the protocol; events that come meanwhile are collected in ``events``."""
        number = next(self._ids)
        message: dict[str, Any] = {"id": number, "method": method, "params": params}
        if self.session:
            message["sessionId"] = self.session
        os.write(self._out, json.dumps(message).encode() + b"\0")
        while True:
            answer = self._read(30)
            if answer.get("id") == number:
                assert "error" not in answer, answer["error"]
                return answer["result"]
            self.events.append(answer)

    def _read(self, seconds: float) -> dict[str, Any]:
        end = time.monotonic() + seconds
        while b"\0" not in self._rest:
            assert select.select([self._in], [], [], max(0, end - time.monotonic()))[0], "no answer from the browser"
            block = os.read(self._in, 1 << 20)
            assert block, "the browser ended"
            self._rest += block
        answer, self._rest = self._rest.split(b"\0", 1)
        return json.loads(answer)

    def open(self, path: Path) -> float:
        """Open a file and wait until it is loaded; returns seconds."""
        start = time.monotonic()
        self.events.clear()
        self.call("Page.navigate", url=path.resolve().as_uri())
        while not any(event.get("method") == "Page.loadEventFired" for event in self.events):
            self.events.append(self._read(30))
        return time.monotonic() - start

    def evaluate(self, expression: str) -> Any:
        """Value of a JavaScript expression, awaited."""
        result = self.call("Runtime.evaluate", expression=expression, awaitPromise=True, returnByValue=True)
        assert "exceptionDetails" not in result, result["exceptionDetails"]
        return result["result"].get("value")

    def wait_for(self, condition: str, seconds: float = 20) -> None:
        """Wait until a JavaScript condition holds."""
        end = time.monotonic() + seconds
        while not self.evaluate(condition):
            assert time.monotonic() < end, condition
            time.sleep(0.02)

    def key(self, key: str) -> None:
        """Press a key on what has the focus."""
        for kind in ("rawKeyDown", "keyUp"):
            self.call("Input.dispatchKeyEvent", type=kind, key=key)

    def emulate(self, width: int, height: int, *, phone: bool = False, dark: bool = False) -> None:
        """Set the size of the window and the reader's colours."""
        self.call("Emulation.setDeviceMetricsOverride", width=width, height=height, mobile=phone,
                  deviceScaleFactor=2 if phone else 1)  # fmt: skip
        features = [{"name": "prefers-color-scheme", "value": "dark" if dark else "light"}]
        self.call("Emulation.setEmulatedMedia", features=features)

    def picture(self, path: Path, whole: bool = True) -> None:
        """Write a screenshot as PNG."""
        png = self.call("Page.captureScreenshot", captureBeyondViewport=whole)["data"]
        path.write_bytes(base64.b64decode(png))

    def pdf(self, path: Path) -> None:
        """Print to PDF as the page's own style asks."""
        pages = self.call("Page.printToPDF", preferCSSPageSize=True, printBackground=True)["data"]
        path.write_bytes(base64.b64decode(pages))

    def problems(self) -> list[str]:
        """Texts of errors that the page has logged, and addresses that it asked the network for."""
        logged = [event["params"] for event in self.events
                  if event.get("method") in ("Runtime.exceptionThrown", "Log.entryAdded")]  # fmt: skip
        texts = [str(params) for params in logged if params.get("entry", {}).get("level", "error") == "error"]
        urls = [event["params"]["request"]["url"] for event in self.events
                if event.get("method") == "Network.requestWillBeSent"]  # fmt: skip
        return texts + [url for url in urls if not url.startswith(("file:", "data:"))]

    def close(self) -> None:
        self.call("Browser.close")
        self.process.wait(10)
        os.close(self._out)
        os.close(self._in)

    def __enter__(self) -> "Browser":
        return self

    def __exit__(self, kind: type | None, error: BaseException | None, trace: TracebackType | None) -> None:
        try:
            self.close()
        finally:
            if self.process.poll() is None:
                self.process.kill()

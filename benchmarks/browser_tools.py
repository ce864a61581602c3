"""A Chromium that nothing watches, for timing pages.

Playwright records every request and script of a page; on two cores that alone takes half a second of the one hundred
and thirty requests that a first visit makes. What is timed here is spoken to over the same protocol, but asked only to
go somewhere, to evaluate an expression and to press a button of the mouse.
"""

from __future__ import annotations

import json
import shutil
import subprocess
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from websockets.sync.client import ClientConnection, connect

_ARGUMENTS = ["--headless=new", "--no-sandbox", "--no-first-run", "--window-size=1440,1000"]
_ARGUMENTS += ["--disable-background-networking", "--disable-component-update", "--disable-sync"]
_ARGUMENTS += ["--use-gl=swiftshader", "--enable-webgl", "--ignore-gpu-blocklist", "--enable-unsafe-swiftshader"]


class Tab:
    """One page in a browser context of its own: no cache, no cookies."""

    def __init__(self, connection: ClientConnection) -> None:
        self._connection = connection
        self._number = 0
        self._session: str | None = None
        self._held = False
        self._context = self._call("Target.createBrowserContext")["browserContextId"]
        target = self._call("Target.createTarget", url="about:blank", browserContextId=self._context)["targetId"]
        self._session = self._call("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]

    def go(self, address: str) -> None:
        """Begin to load ``address``; returns once the browser has it."""
        self._call("Page.navigate", url=address)

    def evaluate(self, expression: str) -> Any:
        """The value of a JavaScript expression, awaited if it is a promise.

        Raises:
            RuntimeError: it threw.
        """
        result = self._call("Runtime.evaluate", expression=expression, awaitPromise=True, returnByValue=True)
        if "exceptionDetails" in result:
            raise RuntimeError(f"{result['exceptionDetails']} in {expression}")
        return result["result"].get("value")

    def wait(self, expression: str, timeout_s: float = 30.0) -> Any:
        """The value of ``expression`` once it is true.

        Raises:
            RuntimeError: it did not become true in time.
        """
        deadline = time.monotonic() + timeout_s
        while time.monotonic() < deadline:
            if value := self.evaluate(expression):
                return value
            time.sleep(0.02)
        raise RuntimeError(f"Never true: {expression}")

    def press(self, element: str) -> None:
        """Click in the middle of what the expression ``element`` gives, once it is there."""
        self.wait(f"!!({element})")
        self.evaluate(f"({element}).scrollIntoView({{block: 'nearest'}})")
        time.sleep(0.2)  # a press while it scrolls is no click
        box = f"({element}).getBoundingClientRect()"
        x, y = self.evaluate(f"(b => [b.x + b.width / 2, b.y + b.height / 2])({box})")
        for kind in ("mouseMoved", "mousePressed", "mouseReleased"):
            pressed = {"button": "left", "clickCount": 1} if kind != "mouseMoved" else {}
            self._call("Input.dispatchMouseEvent", type=kind, x=x, y=y, **pressed)

    def move(self, at: Sequence[float], kind: str = "mouseMoved") -> None:
        """Move the mouse to a point of the window, or press or release its button there."""
        pressed = {"button": "left", "clickCount": 1} if kind != "mouseMoved" else {}
        self._held = kind == "mousePressed" or (self._held and kind != "mouseReleased")
        x, y = at
        self._call("Input.dispatchMouseEvent", type=kind, x=x, y=y, buttons=int(self._held), **pressed)

    def insert(self, text: str) -> None:
        """Type ``text`` into what has the focus."""
        self._call("Input.insertText", text=text)

    def escape(self) -> None:
        """Press the escape key."""
        self.key("Escape", 27)

    def key(self, name: str, code: int, **more: str) -> None:
        """Press the key of this name and Windows' code."""
        for kind in ("keyDown", "keyUp"):
            extra = more if kind == "keyDown" else {}
            self._call(
                "Input.dispatchKeyEvent", type=kind, key=name, code=name, windowsVirtualKeyCode=code, **extra
            )  # fmt: skip

    def close(self) -> None:
        """Close the page and forget all that it stored."""
        self._session = None
        self._call("Target.disposeBrowserContext", browserContextId=self._context)

    def _call(self, method: str, **parameters: Any) -> dict[str, Any]:
        self._number += 1
        message: dict[str, Any] = {"id": self._number, "method": method, "params": parameters}
        if self._session:
            message["sessionId"] = self._session
        self._connection.send(json.dumps(message))
        while True:
            answer = json.loads(self._connection.recv(timeout=120))
            if answer.get("id") == self._number:
                if "error" in answer:
                    raise RuntimeError(f"{method}: {answer['error']}")
                return dict(answer["result"])


class Chromium:
    """A running browser."""

    def __init__(self, address: str) -> None:
        self._address = address

    @contextmanager
    def tab(self) -> Iterator[Tab]:
        """A page of its own, closed at the end."""
        with connect(self._address, max_size=None) as connection:
            tab = Tab(connection)
            try:
                yield tab
            finally:
                tab.close()


@contextmanager
def chromium() -> Iterator[Chromium]:
    """Start Chromium with a new profile, and end it.

    Raises:
        RuntimeError: there is none, or it does not start.
    """
    program = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
    if program is None:
        raise RuntimeError("There is no Chromium here. Install one (Debian: apt install chromium) and try again.")
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as profile:
        command = [program, *_ARGUMENTS, "--remote-debugging-port=0", f"--user-data-dir={profile}", "about:blank"]
        process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        try:
            yield Chromium(_address(Path(profile), process))
        finally:
            process.terminate()
            process.wait(20)


def _address(profile: Path, process: subprocess.Popen[bytes]) -> str:
    deadline = time.monotonic() + 30
    while time.monotonic() < deadline and process.poll() is None:
        try:
            port = (profile / "DevToolsActivePort").read_text().split()[0]
            with urllib.request.urlopen(f"http://127.0.0.1:{port}/json/version", timeout=2) as answer:
                return str(json.load(answer)["webSocketDebuggerUrl"])
        except (OSError, IndexError, urllib.error.URLError):
            time.sleep(0.1)
    raise RuntimeError("Chromium did not start.")

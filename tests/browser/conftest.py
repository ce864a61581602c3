"""A real server and a real Chromium."""

from __future__ import annotations

import contextlib
import os
import shutil
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import urlsplit

import pytest
from playwright.sync_api import (
    Browser,
    BrowserContext,
    ConsoleMessage,
    Locator,
    Page,
    Playwright,
    Route,
    expect,
    sync_playwright,
)
from playwright.sync_api import TimeoutError as PlaywrightTimeout

from tests.waiting import free_port

ROOT = Path(__file__).parents[2]
OWN_HOSTS = {"127.0.0.1"}
CHROMIUM_ARGS = ["--no-sandbox", "--use-gl=swiftshader", "--enable-webgl", "--ignore-gpu-blocklist"]
# On a deep link Streamlit's own front end looks for its server below the page's path before it looks at the root.
EXPECTED_404 = ("/_stcore/health", "/_stcore/host-config")


def find_chromium(playwright: Playwright) -> str | None:
    """``TRILEMMA_CHROMIUM``, else the system's Chromium or Chrome, else the one that Playwright brought."""
    names = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
    candidates = [os.environ.get("TRILEMMA_CHROMIUM"), *map(shutil.which, names), playwright.chromium.executable_path]
    return next((path for path in candidates if path and Path(path).is_file()), None)


@dataclass
class Server:
    """A dashboard of its own, on a free port, with a data folder of its own."""

    home: Path
    port: int
    process: subprocess.Popen[bytes]
    log: Path

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def stop(self) -> None:
        self.process.terminate()
        try:
            self.process.wait(10)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()


def start_server(home: Path, program: Sequence[str] = ("-m", "streamlit"), arguments: Sequence[str] = ()) -> Server:
    """Start ``streamlit run app.py`` and wait until it answers; nobody has asked it for a page yet."""
    home.mkdir(parents=True, exist_ok=True)
    port, log = free_port(), home / "server.log"
    command = [sys.executable, *program, "run", "app.py", "--server.port", str(port), *arguments]
    environment = {**os.environ, "TRILEMMA_HOME": str(home), "PYTHONPATH": str(ROOT)}
    with log.open("wb") as output:
        process = subprocess.Popen(command, cwd=ROOT, env=environment, stdout=output, stderr=subprocess.STDOUT)
    server = Server(home, port, process, log)
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline and process.poll() is None:
        try:
            with urllib.request.urlopen(f"{server.url}/_stcore/health", timeout=1):
                return server
        except (urllib.error.URLError, OSError):
            time.sleep(0.1)
    server.stop()
    raise RuntimeError(f"The server did not start:\n{log.read_text()}")


@dataclass
class Watch:
    """What a page must not do: complain in the console, ask another machine for something."""

    complaints: list[str] = field(default_factory=list)
    foreign: list[str] = field(default_factory=list)

    def check(self) -> None:
        assert self.foreign == []
        assert self.complaints == []


@pytest.fixture(scope="session")
def browser() -> Iterator[Browser]:
    with sync_playwright() as playwright:
        path = find_chromium(playwright)
        if path is None:
            reason = "No Chromium: set TRILEMMA_CHROMIUM to one, or install Debian's chromium package."
            if os.environ.get("CI"):
                pytest.fail(reason)
            pytest.skip(reason)
        browser = playwright.chromium.launch(executable_path=path, args=CHROMIUM_ARGS)
        yield browser
        browser.close()


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Server]:
    started = start_server(tmp_path / "home")
    yield started
    started.stop()


def watched(context: BrowserContext) -> tuple[Page, Watch]:
    """A page that may speak to this machine only, and the record of what it tried."""
    watch = Watch()

    def route(route: Route) -> None:
        url = urlsplit(route.request.url)
        if url.scheme in ("http", "https") and url.hostname not in OWN_HOSTS:
            watch.foreign.append(route.request.url)
            route.abort()
        else:
            route.continue_()

    def complain(message: ConsoleMessage) -> None:
        url = message.location.get("url", "")
        if message.type == "error" and not ("404" in message.text and url.endswith(EXPECTED_404)):
            watch.complaints.append(f"{message.text} ({url})")

    context.route("**/*", route)
    page = context.new_page()
    page.on("console", complain)
    page.on("pageerror", lambda error: watch.complaints.append(str(error)))
    return page, watch


@pytest.fixture
def open_page(browser: Browser) -> Iterator[Callable[..., tuple[Page, Watch]]]:
    """Makes a watched page of a given width and colour scheme; at the end nothing may have gone wrong in any."""
    contexts: list[BrowserContext] = []
    watches: list[Watch] = []

    def make(width: int = 1440, height: int = 900, scheme: str = "light") -> tuple[Page, Watch]:
        context = browser.new_context(viewport={"width": width, "height": height}, color_scheme=scheme)
        contexts.append(context)
        page, watch = watched(context)
        watches.append(watch)
        return page, watch

    yield make
    for context in contexts:
        context.close()
    for watch in watches:
        watch.check()


def wait_settled(page: Page) -> None:
    """Wait until the script has run and nothing is drawn any more."""
    page.wait_for_selector('[data-testid="stApp"][data-test-script-state="notRunning"]', timeout=60_000)
    page.wait_for_function("!document.querySelector('[data-stale=\"true\"]')", timeout=30_000)


def click_into(page: Page, mark: Locator, answer: Locator, across: float = 0.5, down: float = 0.5) -> None:
    """Click at a place of a chart's mark, as shares of its width and height, until ``answer`` is to be seen.

    As a user would: a chart that is drawn anew just then misses a click, and moves.
    """
    for _ in range(4):
        box = mark.bounding_box()
        if box is not None:
            page.mouse.click(box["x"] + box["width"] * across, box["y"] + box["height"] * down)
        with contextlib.suppress(PlaywrightTimeout):
            answer.wait_for(timeout=15_000)
            break
    expect(answer).to_be_visible()


@pytest.fixture(scope="session")
def settled() -> Callable[[Page], None]:
    """Waits until a page has settled."""
    return wait_settled

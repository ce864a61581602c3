"""Explore with 10,000 runs in a real browser: how long until the first chart, and until a filter has answered.

    python -m benchmarks.explore

A store is filled through its own interface with 10,000 finished runs of about 40 figures each (5,000 configurations),
a Streamlit server is started on it, and Chromium opens Explore. Times are the browser's own: from the start of the
navigation, or from the press on a filter's option, to the frame after the chart is drawn with the points that belong
there.
"""

from __future__ import annotations

import os
import shutil
import socket
import statistics
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from playwright.sync_api import Browser, Page, sync_playwright

from benchmarks.common import ROOT, Figures, Limit, main, say, wait_until_quiet
from tests.factory import BITS, fill_many
from trilemma.store import open_store

RUNS = 10_000
CONFIGURATIONS = RUNS // 2
VISITS = 5
LIMITS = {"first_chart_cold_s": Limit(at_most=2.0), "first_chart_s": Limit(at_most=2.0), "filter_s": Limit(at_most=0.5)}
CHROMIUM_ARGUMENTS = ["--no-sandbox", "--use-gl=swiftshader", "--enable-webgl", "--ignore-gpu-blocklist"]
CHROMIUM_ARGUMENTS += ["--enable-unsafe-swiftshader"]

# Resolves to the browser's clock (ms since navigation) one frame after the chart shows ``wanted`` points.
DRAWN = """
wanted => new Promise(resolve => {
  const look = () => {
    const chart = document.querySelector('.st-key-explore_2d .js-plotly-plot');
    const traces = chart && chart._fullLayout && chart.querySelector('.xtick') ? (chart.data || []) : [];
    const points = traces.reduce((sum, t) => sum + (t.customdata ? t.customdata.length : 0), 0);
    const at = performance.now();
    if (points && points === wanted && chart.calcdata) requestAnimationFrame(() => resolve(performance.now()));
    else if (at > 60000 + (window.asked || 0)) resolve(-1);
    else requestAnimationFrame(look);
  };
  look();
})
"""
PRESSED = "document.addEventListener('pointerdown', () => { window.asked = performance.now(); }, true)"


def free_port() -> int:
    """A TCP port that nobody listens on at the moment."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@contextmanager
def server(home: Path) -> Iterator[str]:
    """A dashboard on the data in ``home``; yields its address."""
    port = free_port()
    command = [sys.executable, "-m", "streamlit", "run", str(ROOT / "app.py"), "--server.port", str(port)]
    log = (home / "server.log").open("w")
    environment = os.environ | {"TRILEMMA_HOME": str(home)}
    environment.pop("TRILEMMA_DATABASE", None)
    process = subprocess.Popen(command, cwd=ROOT, env=environment, stdout=log, stderr=subprocess.STDOUT)
    address = f"http://127.0.0.1:{port}"
    try:
        deadline = time.monotonic() + 60
        while True:
            try:
                urllib.request.urlopen(f"{address}/_stcore/health", timeout=2).close()
                break
            except (urllib.error.URLError, OSError):
                if process.poll() is not None or time.monotonic() > deadline:
                    raise RuntimeError(f"The server did not start:\n{(home / 'server.log').read_text()}") from None
                time.sleep(0.2)
        yield address
    finally:
        process.terminate()
        process.wait(20)
        log.close()


def first_chart(browser: Browser, address: str) -> tuple[Page, float]:
    """Open Explore in a fresh browser context (no cache of any kind); the page, and seconds to its chart."""
    page = browser.new_context(viewport={"width": 1440, "height": 1000}).new_page()
    page.add_init_script(PRESSED)
    page.goto(f"{address}/explore", wait_until="commit")
    return page, _seconds(page.evaluate(DRAWN, CONFIGURATIONS))


def _seconds(milliseconds: float) -> float:
    if milliseconds < 0:
        raise RuntimeError("The chart was not drawn within a minute.")
    return milliseconds / 1000


def filtered(page: Page, quantization: str, wanted: int) -> float:
    """Press one option of the quantization filter, and take it back; seconds from the press to the new chart.

    ``wanted`` is how many configurations then remain.
    """
    box = page.locator(".st-key-explore-quantization")
    box.locator("input").click()
    option = page.get_by_role("option", name=quantization, exact=True)
    option.wait_for()
    option.click()
    seconds = _seconds(page.evaluate(DRAWN, wanted) - page.evaluate("window.asked"))
    page.keyboard.press("Escape")
    box.get_by_label("Clear all").or_(box.locator("[title='Clear all']")).first.click()
    _seconds(page.evaluate(DRAWN, CONFIGURATIONS))
    return seconds


def measure() -> Figures:
    """Fill a store, open Explore on it cold and warm, and filter."""
    chromium = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
    if chromium is None:
        raise RuntimeError("There is no Chromium here. Install one (Debian: apt install chromium) and try again.")
    with tempfile.TemporaryDirectory() as folder:
        home = Path(folder)
        say(f"Filling a store with {RUNS:,} runs; this takes a few minutes ...")
        start = time.monotonic()
        with open_store(f"sqlite:///{home / 'trilemma.db'}") as store:
            fill_many(store, RUNS)
            remaining = store.run_frame().groupby("quantization")["configuration_id"].nunique().to_dict()
        say(f"Filled in {time.monotonic() - start:.0f} s, {(home / 'trilemma.db').stat().st_size / 2**20:.0f} MiB.")
        wait_until_quiet()
        with server(home) as address, sync_playwright() as playwright:
            browser = playwright.chromium.launch(executable_path=chromium, args=CHROMIUM_ARGUMENTS)
            # The server is up and has served a page before, but none that reads figures: its data caches are cold.
            page = browser.new_page()
            page.goto(f"{address}/models")
            page.get_by_role("heading", level=1).first.wait_for()
            page.close()
            page, cold = first_chart(browser, address)
            say(f"First chart, data caches cold: {cold:.2f} s")
            warm = []
            for _ in range(VISITS):
                page.context.close()
                page, seconds = first_chart(browser, address)
                warm.append(seconds)
                say(f"First chart, data caches warm: {seconds:.2f} s")
            filters = []
            for quantization in BITS:
                filters.append(filtered(page, quantization, remaining[quantization]))
                say(f"Filter {quantization}: {filters[-1]:.2f} s")
            browser.close()
    return {
        "runs": RUNS,
        "configurations": CONFIGURATIONS,
        "first_chart_cold_s": round(cold, 3),
        "first_chart_s": round(statistics.median(warm), 3),
        "first_chart_worst_s": round(max(warm), 3),
        "filter_s": round(statistics.median(filters), 3),
        "filter_worst_s": round(max(filters), 3),
    }


if __name__ == "__main__":
    main("explore", LIMITS, measure)

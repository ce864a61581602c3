"""Explore with 10,000 runs in a real browser: how long until the first chart, and until a filter has answered.

    python -m benchmarks.explore

A store is filled through its own interface with 10,000 finished runs of about 40 figures each (5,000 configurations),
a Streamlit server is started on it, and Chromium opens Explore. Times are the browser's own: from the start of the
navigation, or from the press on a filter's option, to the frame after the chart is drawn and accounts for all the
points that belong there. Every visit is a first one, with nothing cached in the browser.
"""

from __future__ import annotations

import os
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

from benchmarks.browser_tools import Tab, chromium
from benchmarks.common import ROOT, Figures, Limit, main, say, wait_until_quiet
from tests.factory import BITS, fill_many
from trilemma.store import open_store

RUNS = 10_000
CONFIGURATIONS = RUNS // 2
VISITS = 5
FILTERS = 5
"""Options pressed in each filter: those that are seen without scrolling its list."""
LIMITS = {name: Limit(at_most=2.0) for name in ("first_chart_cold_s", "first_chart_s", "first_chart_by_name_s")}
LIMITS["filter_s"] = Limit(at_most=0.5)

# Resolves to the browser's clock (ms since navigation) one frame after the chart accounts for ``wanted`` points:
# as marks, or counted in a heat map's cells.
DRAWN = """
(wanted => new Promise(resolve => {
  const cells = z => z.reduce((sum, row) => sum + row.reduce((s, n) => s + (n || 0), 0), 0);
  const look = () => {
    const chart = document.querySelector('.st-key-explore_2d .js-plotly-plot');
    const traces = chart && chart._fullLayout && chart.querySelector('.xtick') && chart.calcdata ? chart.calcdata : [];
    const points = traces.reduce((sum, [first, ...more]) => {
      const trace = first && first.trace;
      if (!trace || trace.visible !== true) return sum;
      return sum + (trace.type === 'heatmap' ? cells(first.z) : trace.customdata ? 1 + more.length : 0);
    }, 0);
    if (points && points === wanted) requestAnimationFrame(() => resolve(performance.now()));
    else if (performance.now() > 60000 + (window.asked || 0)) resolve(-1);
    else requestAnimationFrame(look);
  };
  look();
}))(%d)
"""
PRESSED = "document.addEventListener('pointerdown', () => { window.asked = performance.now(); }, true)"
BOX = "document.querySelector('.st-key-explore-%s')"


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


def first_chart(tab: Tab, address: str) -> float:
    """Open Explore; seconds from the start of the navigation to its chart."""
    tab.go(address)
    tab.wait(f"location.href.startsWith({address!r})")
    return _seconds(tab.evaluate(DRAWN % CONFIGURATIONS))


def _seconds(milliseconds: float) -> float:
    if milliseconds < 0:
        raise RuntimeError("The chart was not drawn within a minute.")
    return milliseconds / 1000


def filtered(tab: Tab, name: str, choice: str, wanted: int) -> float:
    """Press one option of the filter called ``name``, and take it back; seconds from the press to the new chart.

    ``wanted`` is how many configurations then remain.
    """
    box = BOX % name
    tab.press(f"{box}.querySelector('input')")
    option = f"[...document.querySelectorAll('[role=option]')].find(e => e.textContent.trim() === {choice!r})"
    tab.wait(f"!!({option})")
    time.sleep(0.5)  # the list has opened
    tab.press(option)
    seconds = _seconds(tab.evaluate(DRAWN % wanted) - tab.evaluate("window.asked"))
    tab.escape()
    tab.press(f'{box}.querySelector(\'[aria-label="Clear all"], [title="Clear all"]\')')
    _seconds(tab.evaluate(DRAWN % CONFIGURATIONS))
    time.sleep(0.5)
    return seconds


def measure() -> Figures:
    """Fill a store, open Explore on it cold and warm, and filter."""
    with tempfile.TemporaryDirectory() as folder:
        home = Path(folder)
        say(f"Filling a store with {RUNS:,} runs; this takes a few minutes ...")
        start = time.monotonic()
        with open_store(f"sqlite:///{home / 'trilemma.db'}") as store:
            fill_many(store, RUNS)
            frame = store.run_frame()
        counts = {
            name: {str(choice): int(n) for choice, n in frame.groupby(name)["configuration_id"].nunique().items()}
            for name in ("quantization", "model")
        }
        first = {"quantization": list(BITS)[:FILTERS], "model": sorted(counts["model"])[:FILTERS]}
        say(f"Filled in {time.monotonic() - start:.0f} s, {(home / 'trilemma.db').stat().st_size / 2**20:.0f} MiB.")
        wait_until_quiet()
        with server(home) as address, chromium() as browser:
            # The server is up and has served a page before, but none that reads figures: its data caches are cold.
            with browser.tab() as tab:
                tab.go(f"{address}/models")
                tab.wait("!!document.querySelector('h1')")
            with browser.tab() as tab:
                cold = first_chart(tab, f"{address}/")
            say(f"First chart, data caches cold: {cold:.2f} s")
            warm: dict[str, list[float]] = {"/": [], "/explore": []}
            for _ in range(VISITS):
                for path, times in warm.items():
                    with browser.tab() as tab:
                        times.append(first_chart(tab, address + path))
                    say(f"First chart at {path}, data caches warm: {times[-1]:.2f} s")
            filters = []
            with browser.tab() as tab:
                first_chart(tab, f"{address}/")
                tab.evaluate(PRESSED)
                for name, choices in first.items():
                    for choice in choices:
                        wanted = counts[name][choice]
                        filters.append(filtered(tab, name, choice, wanted))
                        say(f"Filter to {wanted} configurations ({name} {choice}): {filters[-1]:.2f} s")
    return {
        "runs": RUNS,
        "configurations": CONFIGURATIONS,
        "first_chart_cold_s": round(cold, 3),
        "first_chart_s": round(statistics.median(warm["/"]), 3),
        "first_chart_by_name_s": round(statistics.median(warm["/explore"]), 3),
        "first_chart_worst_s": round(max(map(max, warm.values())), 3),
        "filter_s": round(statistics.median(filters), 3),
        "filter_worst_s": round(max(filters), 3),
    }


if __name__ == "__main__":
    main("explore", LIMITS, measure)

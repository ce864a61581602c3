"""Explore with very many runs: how long until the first chart, and until whatever one does there has been answered.

    python -m benchmarks.explore

A store is filled through its own interface with 10,000 finished runs of about 40 figures each (5,000 configurations),
a Streamlit server is started on it, and Chromium opens Explore. Times are the browser's own: from the start of the
navigation to the frame after the chart is drawn and accounts for all the points that belong there; from the press on a
filter's option, or from the release of the button or key that asks for something, to the frame after the new chart is
drawn and the page is done. Every visit is a first one, with nothing cached in the browser, and what is chosen is mostly
chosen for the first time. At the server an answer takes from the arrival of the browser's message to the end of the
script. Reported is the median of each kind of interaction, and of those the largest.

Then the same functions without a store: the front of 100,000 points, how sure it is, and its chart, drawn by plotly in
Chromium; and the decision map of 200 configurations. At the end the server's scripts run once more under a profiler.
"""

from __future__ import annotations

import hashlib
import os
import pstats
import shutil
import socket
import statistics
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

from benchmarks.browser_tools import Chromium, Tab, chromium
from benchmarks.common import BENCH, ROOT, Figures, Limit, main, say, wait_until_quiet
from benchmarks.explore_page_tools import Answers, User, round_of
from benchmarks.explore_tools import crowd, decision, one_point_3d, table
from tests.factory import BITS, fill_many
from trilemma.store import open_store

RUNS = 10_000
CONFIGURATIONS = RUNS // 2
VISITS = 3
FILTERS = 5
"""Options pressed in each filter: those that are seen without scrolling its list."""
ROUNDS = 2
"""How often everything is done that can be done, each time with another figure on the horizontal axis."""
LIMITS = {name: Limit(at_most=2.0) for name in ("first_chart_cold_s", "first_chart_s", "first_chart_by_name_s")}
LIMITS["filter_s"] = Limit(at_most=0.5)
LIMITS["interaction_server_s"] = Limit(at_most=0.3)
LIMITS["interaction_browser_s"] = Limit(at_most=0.7)
# Apart, since it says what draws WebGL: without a graphics card the browser does so in software, and a chart of one
# point alone takes ``one_point_3d_browser_s``.
LIMITS["interaction_3d_browser_s"] = Limit(at_most=0.7)
LIMITS["points_100000_first_chart_s"] = Limit(at_most=1.0)
LIMITS["decision_map_200_s"] = Limit(at_most=0.3)

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
def server(home: Path, *, profile: Path | None = None) -> Iterator[str]:
    """A dashboard on the data in ``home``; it writes how long answers take to ``home/answers``. Yields its address."""
    port = free_port()
    command = [sys.executable, "-m", "benchmarks.explore_server_tools", str(home / "answers")]
    command += [str(profile)] if profile else []
    command += ["--", "run", str(ROOT / "app.py"), "--server.port", str(port)]
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


def filled(home: Path) -> None:
    """A store of 10,000 runs in ``home``: filled once for a state of what fills it, and copied from then on."""
    sources = [ROOT / "tests" / "factory.py", *sorted((ROOT / "trilemma" / "store").rglob("*.py"))]
    digest = hashlib.sha256(b"".join(one.read_bytes() for one in sources) + str(RUNS).encode()).hexdigest()[:16]
    kept = BENCH / "explore" / digest / "trilemma.db"
    if not kept.exists():
        say(f"Filling a store with {RUNS:,} runs ...")
        start, making = time.monotonic(), kept.with_name("making.db")
        shutil.rmtree(kept.parent.parent, ignore_errors=True)
        kept.parent.mkdir(parents=True)
        with open_store(f"sqlite:///{making}") as store:
            fill_many(store, RUNS)
        making.rename(kept)
        say(f"Filled in {time.monotonic() - start:.0f} s, {kept.stat().st_size / 2**20:.0f} MiB.")
    shutil.copy(kept, home / "trilemma.db")


def visits(browser: Chromium, address: str) -> tuple[float, dict[str, list[float]]]:
    """The first chart with the server's data caches cold, and warm at each address of the page."""
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
    return cold, warm


def filters(browser: Chromium, address: str, counts: Mapping[str, Mapping[str, int]]) -> list[float]:
    """How long until each of a few options of two filters has been answered."""
    first = {"quantization": list(BITS)[:FILTERS], "model": sorted(counts["model"])[:FILTERS]}
    found = []
    with browser.tab() as tab:
        first_chart(tab, f"{address}/")
        tab.evaluate(PRESSED)
        for name, choices in first.items():
            for choice in choices:
                found.append(filtered(tab, name, choice, counts[name][choice]))
                say(f"Filter to {counts[name][choice]} configurations ({name} {choice}): {found[-1]:.2f} s")
    return found


def interactions(browser: Chromium, address: str, log: Path, rounds: Sequence[int]) -> Answers:
    """Do everything that can be done on Explore, a few times."""
    found = Answers()
    with browser.tab() as tab:
        first_chart(tab, f"{address}/")
        tab.wait(
            "document.querySelector('[data-testid=stApp]').getAttribute('data-test-script-state') === 'notRunning'"
        )
        time.sleep(1)
        user = User(tab, log, found)
        for number in rounds:
            round_of(user, number)
    return found


def measure() -> Figures:
    """Fill a store, open Explore on it cold and warm, do what can be done there, and look into what takes time."""
    with tempfile.TemporaryDirectory() as folder:
        home = Path(folder)
        filled(home)
        with open_store(f"sqlite:///{home / 'trilemma.db'}") as store:
            frame = store.run_frame()
        counts = {
            name: {str(choice): int(n) for choice, n in frame.groupby(name)["configuration_id"].nunique().items()}
            for name in ("quantization", "model")
        }
        wait_until_quiet()
        with chromium() as browser:
            with server(home) as address:
                cold, warm = visits(browser, address)
                filtering = filters(browser, address, counts)
                answers = interactions(browser, address, home / "answers", range(ROUNDS))
            hundred_thousand = crowd(browser, home)
            least_3d = one_point_3d(browser, home)
            deciding = decision()
            profile = home / "profile"
            with server(home, profile=profile) as address:
                say("\nThe same once more under the profiler, which makes the server slower:")
                interactions(browser, address, home / "answers", [0])
            say("\nWhere the server's time goes, of all of these interactions:")
            for line in table(pstats.Stats(str(profile)), 30, ours=True):
                say(line)
    say("\nMedians by kind of interaction, ms: at the server, then until drawn; the rest is transfer and the browser")
    for what, times in sorted(answers.browser.items(), key=lambda item: -statistics.median(item[1])):
        at_server = statistics.median(answers.server[what])
        say(f"{what:<34} {1000 * at_server:6.0f} {1000 * statistics.median(times):6.0f}")
    return {
        "runs": RUNS,
        "configurations": CONFIGURATIONS,
        "first_chart_cold_s": round(cold, 3),
        "first_chart_s": round(statistics.median(warm["/"]), 3),
        "first_chart_by_name_s": round(statistics.median(warm["/explore"]), 3),
        "first_chart_worst_s": round(max(map(max, warm.values())), 3),
        "filter_s": round(statistics.median(filtering), 3),
        "filter_worst_s": round(max(filtering), 3),
        "interaction_server_s": round(max(answers.worst(answers.server), answers.worst(answers.server, webgl=True)), 3),
        "interaction_server_worst_s": round(max(map(max, answers.server.values())), 3),
        "interaction_browser_s": round(answers.worst(answers.browser), 3),
        "interaction_3d_browser_s": round(answers.worst(answers.browser, webgl=True), 3),
        "one_point_3d_browser_s": round(least_3d, 3),
        "interaction_browser_worst_s": round(max(map(max, answers.browser.values())), 3),
        "points_100000_first_chart_s": round(hundred_thousand, 3),
        "decision_map_200_s": round(deciding, 3),
    }


if __name__ == "__main__":
    main("explore", LIMITS, measure)

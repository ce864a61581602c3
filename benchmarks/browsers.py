"""Fifty people on Explore at once: how long answers take, what a session costs, and what a run measured meanwhile says.

    python -m benchmarks.browsers

A dashboard serves a store with the sample study and some dozen runs. Fifty people come one after the other, and stay.
Each does what can be done on Explore - filters, axes, views, boxes, points, rows - and thinks between an answer and the
next deed: two seconds and then exponentially long, fifteen on average.

Of the fifty, 48 are *web socket sessions* and two are *real Chromium browsers*. Fifty Chromiums on a machine of two
cores would measure Chromium: drawing one chart takes it more CPU than the server takes to make it, and in use everybody
has a computer of their own for that. A web socket session (``browsers_session_tools.py``) is to the server what a
browser is: it loads the files that a browser loaded at its first visit, speaks Streamlit's protocol, has its session
and its script thread, sends the state of all widgets with each deed and remembers what it was sent. It draws nothing:
its times end when the last of the answer has come. The two browsers' times end when the new chart has been drawn.
They and the sessions run on the machine that they load, which is harder on the dashboard than users elsewhere are.
``--browsers 50`` has everybody in a browser, for a machine that is large enough.

Meanwhile a configuration is measured by llama.cpp with real weights, as a worker would: quietly, with the fifty on,
with five, whose effect is small enough to be overlooked, and quietly again. A figure has moved if it differs by more
than 2 % from what the quiet runs found and its interval does not touch theirs; if any has, the run must be flagged as
disturbed, and the reason must name the dashboard.

Errors are: exceptions and error messages on a page, an answer that does not come within a minute, a connection that the
server closes, and a traceback in its log. Memory of a session is resident memory of the server with all of them on,
less what it had after one person who came, did everything and left, divided by their number.
"""

from __future__ import annotations

import argparse
import asyncio
import functools
import random
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import psutil

from benchmarks.browser_tools import Chromium, chromium
from benchmarks.browsers_run_tools import CHAT, largest, measured, named, shifts
from benchmarks.browsers_session_tools import Session
from benchmarks.browsers_tools import BrowserPerson, Interaction, Log, browser_person, next_deed, socket_person
from benchmarks.common import Figures, Limit, TooNoisyError, main, report, say, wait_until_quiet
from benchmarks.explore import server
from tests.factory import fill_many
from trilemma.meters.dashboards import present
from trilemma.sample.loading import add_sample
from trilemma.store import open_store

SESSIONS, BROWSERS, FEW = 50, 2, 5
RUNS = 48
ARRIVE_S = 0.6
"""Between two arrivals."""
HOPELESS = 20
"""Errors after which nobody waits for more."""
LIMITS = {
    "sessions_at_once": Limit(at_least=SESSIONS),
    "interaction_p95_s": Limit(at_most=1.5),
    "interaction_while_measuring_p95_s": Limit(at_most=1.5),
    "errors": Limit(at_most=0),
    "flagged_if_moved": Limit(at_least=1),
    "dashboard_named_if_moved": Limit(at_least=1),
}


@dataclass(frozen=True)
class Plan:
    """How large a benchmark is."""

    sessions: int
    browsers: int
    seconds: float
    requests: int
    rehearsal: bool = False


def filled(home: Path) -> None:
    """The sample study, and runs of one's own."""
    with open_store(f"sqlite:///{home / 'trilemma.db'}") as store:
        add_sample(store)
        fill_many(store, RUNS)


@contextmanager
def people(address: str, plan: Plan, files: Sequence[str], browser: Chromium, log: Log) -> Iterator[None]:
    """Have them all come; inside all are there, at the end they leave."""
    stop = threading.Event()
    # Browsers among the others, not before or after them.
    places = {int((number + 0.5) * plan.sessions / plan.browsers) for number in range(plan.browsers)}

    async def sockets() -> None:
        await asyncio.gather(
            *(
                socket_person(address, number, number * ARRIVE_S, files, log, stop)
                for number in range(plan.sessions)
                if number not in places
            )
        )

    with ThreadPoolExecutor(plan.browsers + 1) as pool:
        futures = [pool.submit(asyncio.run, sockets())]
        futures += [
            pool.submit(browser_person, browser, address, number, number * ARRIVE_S, log, stop) for number in places
        ]
        try:
            deadline = time.monotonic() + plan.sessions * ARRIVE_S + 120
            while len(log.ready) < plan.sessions and len(log.errors) < HOPELESS and time.monotonic() < deadline:
                time.sleep(0.2)
            say(f"{len(log.ready)} of {plan.sessions} people are there.")
            yield
        finally:
            stop.set()
            for future in futures:
                future.result()


async def everything_once(address: str, deeds: int) -> None:
    """One person who comes, does a good deal of what can be done, and leaves: what is cached then is there for all."""
    rng = random.Random(-1)
    async with Session(address) as session:
        await session.show()
        for _ in range(deeds):
            if deed := next_deed(session, rng):
                await session.choose(*deed[1:])


def p95(found: Sequence[Interaction]) -> float:
    """The 95th percentile of how long answers took, s; not a number where there are too few."""
    return float(np.quantile([one.seconds for one in found], 0.95)) if len(found) >= 20 else float("nan")


def told(title: str, found: Sequence[Interaction]) -> None:
    """Say how long each kind of interaction took."""
    say(f"\n{title}: {len(found)} interactions; median, p95 and largest by kind, ms")
    kinds = Counter((one.what, one.browser) for one in found)
    for (what, browser), count in kinds.most_common():
        times = np.array([one.seconds for one in found if (one.what, one.browser) == (what, browser)]) * 1000
        where = "browser" if browser else "session"
        say(f"  {what:<9} {where} {count:5} {np.median(times):7.0f} {np.quantile(times, 0.95):7.0f} {times.max():7.0f}")


def steady(process: psutil.Process, seconds: float, log: Log) -> tuple[float, int]:
    """Let them go on for a while; cores that the dashboard used, and its resident bytes at the end."""
    before, begun = sum(process.cpu_times()[:2]), time.monotonic()
    while time.monotonic() - begun < seconds and len(log.errors) < HOPELESS:
        time.sleep(0.5)
    used = sum(process.cpu_times()[:2]) - before
    return used / (time.monotonic() - begun), int(process.memory_info().rss)


def _quiet(plan: Plan) -> None:
    """Wait until nobody else uses the machine; a rehearsal goes on anyway."""
    if not plan.rehearsal:
        wait_until_quiet()


def measure(plan: Plan) -> Figures:
    """Measure quietly, let people come, measure again among them, and once more when they have left.

    Raises:
        TooNoisyError: something else disturbed a quiet run.
    """
    log = Log()
    with tempfile.TemporaryDirectory() as folder, chromium() as browser:
        home = Path(folder)
        filled(home)
        with server(home) as address:
            with browser.tab() as tab:
                first = BrowserPerson(tab, random.Random(0), Log())
                first.open(address)
                files = first.files()
            asyncio.run(everything_once(address, 100))
            (pid,) = present(home / "dashboards")
            process = psutil.Process(pid)
            _quiet(plan)
            quiet = [measured(home, plan.requests, "Quiet", 0)]
            memory_before = int(process.memory_info().rss)
            with people(address, plan, files, browser, log):
                settled = time.monotonic()
                cores, memory = steady(process, plan.seconds, log)
                at_once = len(log.connected)
                begun = time.monotonic()
                loaded = measured(home, plan.requests, f"With {plan.sessions} sessions", 1)
                ended = time.monotonic()
                at_once = min(at_once, len(log.connected))
            with people(address, replace(plan, sessions=FEW, browsers=0), files, browser, few := Log()):
                also = measured(home, plan.requests, f"With {FEW} sessions", 2)
            _quiet(plan)
            quiet.append(measured(home, plan.requests, "Quiet again", 3))
            memory_after = int(process.memory_info().rss)
        server_log = (home / "server.log").read_text(errors="replace")
    log.errors += few.errors
    log.errors += [line for line in server_log.splitlines() if "Traceback" in line or "Uncaught" in line]
    for line in log.errors[:20]:
        say(f"ERROR {line}")
    if any(one.run.disturbed for one in quiet) and not plan.rehearsal:
        raise TooNoisyError("Something disturbed a quiet run: stop what else is running and try again.")
    before_run, meanwhile = log.between(settled, begun), log.between(begun, ended)
    told("First page", log.opened())
    told("No run is measured", before_run)
    told("While a run is measured", meanwhile)
    for title, run in ((f"{plan.sessions} sessions", loaded), (f"{FEW} sessions", also)):
        flag = "flagged" if run.run.disturbed else "NOT FLAGGED"
        say(f"\nWhat the run with {title} says, against the quiet ones; it is {flag}:")
        for one in shifts(quiet, run):
            say(f"  {one.key:<40} {one.share:+7.1%} {'moved' if one.moved else ''}")
    in_browsers = [one.seconds for one in before_run if one.browser]
    moved = [run for run in (loaded, also) if any(one.moved for one in shifts(quiet, run))]
    return {
        "sessions": plan.sessions,
        "of_them_browsers": plan.browsers,
        "sessions_at_once": at_once,
        "interactions": len(before_run) + len(meanwhile),
        "interaction_p50_s": round(float(np.median([one.seconds for one in before_run])), 3),
        "interaction_p95_s": round(p95(before_run), 3),
        "interaction_while_measuring_p95_s": round(p95(meanwhile), 3),
        "browser_interaction_p50_s": round(float(np.median(in_browsers)), 3) if in_browsers else None,
        "browser_interaction_worst_s": round(max(in_browsers), 3) if in_browsers else None,
        "first_page_p95_s": round(p95(log.opened()), 3),
        "errors": len(log.errors),
        "dashboard_cores": round(cores, 3),
        "dashboard_cores_while_measuring": round(loaded.dashboard_cores, 3),
        "server_bytes_before": memory_before,
        "server_bytes_with_sessions": memory,
        "server_bytes_when_they_have_left": memory_after,
        "bytes_per_session": round((memory - memory_before) / plan.sessions),
        "largest_shift": round(largest(shifts(quiet, loaded)), 3),
        "flagged": loaded.run.disturbed,
        "few_sessions": FEW,
        "few_dashboard_cores": round(also.dashboard_cores, 3),
        "few_largest_shift": round(largest(shifts(quiet, also)), 3),
        "few_flagged": also.run.disturbed,
        "flagged_if_moved": int(all(run.run.disturbed for run in moved)),
        "dashboard_named_if_moved": int(all(named(run) for run in moved)),
    }


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sessions", type=int, default=SESSIONS, help="people on the dashboard")
    parser.add_argument("--browsers", type=int, default=BROWSERS, help="how many of them in a real browser")
    parser.add_argument("--seconds", type=float, default=150.0, help="how long they are watched without a run")
    parser.add_argument("--requests", type=int, default=CHAT.requests, help="requests of the run")
    parser.add_argument("--rehearse", action="store_true", help="go through it on a noisy machine; nothing holds then")
    chosen = parser.parse_args()
    browsers = min(chosen.browsers, chosen.sessions)
    size = Plan(chosen.sessions, browsers, chosen.seconds, chosen.requests, chosen.rehearse)
    if chosen.rehearse:
        sys.exit(report("browsers", measure(size), LIMITS, reason="A rehearsal: the machine need not have been quiet."))
    main("browsers", LIMITS, functools.partial(measure, size))

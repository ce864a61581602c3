"""People on Explore, for the benchmark of many sessions: over web sockets, and in a real browser."""

from __future__ import annotations

import asyncio
import base64
import json
import random
import threading
import time
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

from benchmarks.browser_tools import Chromium, Tab
from benchmarks.browsers_session_tools import Session, SessionError, fetch, options_of
from benchmarks.explore_page_tools import ANSWERED, MARK, MARK_AT, WATCH, button

THINK_LEAST_S, THINK_MEAN_S = 2.0, 15.0
"""Between an answer and what the same person does next: never less than the former, and exponential beyond it."""
VIEWS = ("2D", "3D", "Pairs", "Parallel", "Load")


def think_s(rng: random.Random) -> float:
    """How long somebody looks at an answer before doing the next thing, s."""
    return THINK_LEAST_S + rng.expovariate(1 / (THINK_MEAN_S - THINK_LEAST_S))


@dataclass(frozen=True)
class Interaction:
    """Something that somebody did, when it was answered (``time.monotonic``), and how long that took, s."""

    what: str
    at: float
    seconds: float
    browser: bool = False


@dataclass
class Log:
    """What all people did, and what went wrong. Appended to from several threads."""

    done: list[Interaction] = field(default_factory=list)
    errors: list[str] = field(default_factory=list)
    connected: set[int] = field(default_factory=set)
    ready: set[int] = field(default_factory=set)
    """Whose page has come."""

    def opened(self) -> list[Interaction]:
        """The first pages."""
        return [one for one in self.done if one.what == "open"]

    def between(self, start: float, end: float) -> list[Interaction]:
        """What was answered meanwhile, other than first pages."""
        return [one for one in self.done if one.what != "open" and start <= one.at <= end]


Deed = tuple[str, str, Any]
"""A kind of interaction, the key of a widget and what is done with it."""


def next_deed(session: Session, rng: random.Random) -> Deed | None:
    """What somebody might do next on the page as it is; None if what came to mind is not on it."""
    kind = rng.choices(
        ["filter", "study", "axis", "size", "log", "view", "figures", "point", "box", "row", "picture", "clear"],
        [5, 1, 5, 1, 1, 3, 2, 4, 2, 1, 1, 1],
    )[0]
    make: dict[str, Callable[[], tuple[str, Any] | None]] = {
        "filter": lambda: _some(session, rng, rng.choice(["explore:model", "explore:quantization"]), (0, 1, 2)),
        "study": lambda: _other(session, rng, "explore:study"),
        "axis": lambda: _other(session, rng, rng.choice(["explore:x", "explore:y"])),
        "size": lambda: _other(session, rng, "explore:size"),
        "log": lambda: _some(session, rng, "explore:log", (0, 1)),
        "view": lambda: _view(session, rng),
        "figures": lambda: _some(session, rng, "explore:figures", (2, 3, 4, 5)),
        "point": lambda: _point(session, rng),
        "box": lambda: _box(session, rng),
        "row": lambda: _row(session, rng),
        "picture": lambda: _some(session, rng, "explore_picture", (1,)),
        "clear": lambda: _button(session, "Clear selection"),
    }
    found = make[kind]()
    return None if found is None else (kind, *found)


def _other(session: Session, rng: random.Random, key: str) -> tuple[str, str] | None:
    if key not in session.widgets:
        return None
    others = [one for one in options_of(session.widgets[key]) if [one] != session.selected(key)]
    return (key, rng.choice(others)) if others else None


def _some(session: Session, rng: random.Random, key: str, counts: Sequence[int]) -> tuple[str, list[str]] | None:
    if key not in session.widgets:
        return None
    options = options_of(session.widgets[key])
    chosen = rng.sample(options, min(rng.choice(counts), len(options)))
    return None if set(chosen) == set(session.selected(key)) else (key, chosen)


def _view(session: Session, rng: random.Random) -> tuple[str, list[str]] | None:
    now = session.selected("explore:view")
    # Half of the time back to the first one, as people do.
    views = [view for view in VIEWS if [view] != now]
    return "explore:view", ["2D" if "2D" in views and rng.random() < 0.5 else rng.choice(views)]


def _chart(session: Session, kinds: Collection[str]) -> tuple[str, list[dict[str, Any]]] | None:
    """The key of the chart and its traces of marks."""
    key = next((f"explore_{kind}" for kind in kinds if f"explore_{kind}" in session.widgets), None)
    if key is None:
        return None
    traces = json.loads(session.widgets[key].spec)["data"]
    return key, [one for one in traces if one.get("customdata") and one.get("x") is not None]


def _point(session: Session, rng: random.Random) -> tuple[str, dict[str, Any]] | None:
    found = _chart(session, ["2d", "pairs"])
    if found is None or not found[1]:
        return None
    key, traces = found
    data = rng.choice([row for trace in traces for row in trace["customdata"]])
    return key, _selection(points=[{"customdata": data if isinstance(data, list) else [data]}])


def _box(session: Session, rng: random.Random) -> tuple[str, dict[str, Any]] | None:
    found = _chart(session, ["2d"])
    if found is None or not found[1]:
        return None
    key, traces = found
    x, y = (np.concatenate([_numbers(trace[name]) for trace in traces]) for name in "xy")
    if not len(x) or len(x) != len(y):
        return None
    sides = [np.quantile(one, [low, low + 0.5]).tolist() for one, low in ((x, rng.random() / 2), (y, 0.25))]
    return key, _selection(box=[{"xref": "x", "yref": "y", "x": sides[0], "y": sides[1]}])


def _numbers(values: Any) -> npt.NDArray[np.float64]:
    """A column of a plotly trace, which may be packed."""
    if isinstance(values, dict):
        return np.frombuffer(base64.b64decode(values["bdata"]), np.dtype(values["dtype"])).astype(np.float64)
    return np.array([np.nan if one is None else one for one in values], dtype=np.float64)


def _selection(**found: list[dict[str, Any]]) -> dict[str, Any]:
    empty: dict[str, list[Any]] = {"points": [], "point_indices": [], "box": [], "lasso": []}
    return {"selection": empty | found}


def _row(session: Session, rng: random.Random) -> tuple[str, dict[str, Any]] | None:
    if "explore_table" not in session.widgets:
        return None
    return "explore_table", {"selection": {"rows": [rng.randrange(3)], "columns": [], "cells": []}}


def _button(session: Session, label: str) -> tuple[str, bool] | None:
    key = next((key for key, one in session.widgets.items() if getattr(one, "label", "") == label), None)
    return None if key is None else (key, True)


async def socket_person(
    address: str, number: int, arrives_s: float, files: Sequence[str], log: Log, stop: threading.Event
) -> None:
    """Come, load what a browser loads, open Explore and use it until ``stop`` is set."""
    rng = random.Random(number)
    await _idle(arrives_s, stop)
    try:
        begun = time.monotonic()
        await asyncio.to_thread(fetch, files)
        async with Session(address) as session:
            await session.show()
            log.done.append(Interaction("open", time.monotonic(), time.monotonic() - begun))
            _note(session, log, number, "open")
            log.connected.add(number)
            log.ready.add(number)
            while not stop.is_set():
                await _idle(think_s(rng), stop)
                if stop.is_set():
                    break
                deed = next((one for _ in range(50) if (one := next_deed(session, rng))), None)
                if deed is None:
                    raise SessionError("Nothing can be done on the page.")
                what, key, choice = deed
                seconds = await session.choose(key, choice)
                log.done.append(Interaction(what, time.monotonic(), seconds))
                _note(session, log, number, what)
    except Exception as error:  # whatever it is, it is an error that a user would have had
        log.errors.append(f"session {number}: {type(error).__name__}: {error}")
    finally:
        log.connected.discard(number)


def _note(session: Session, log: Log, number: int, what: str) -> None:
    log.errors += [f"session {number}, {what}: {text}" for text in session.problems]
    session.problems.clear()


async def _idle(seconds: float, stop: threading.Event) -> None:
    end = time.monotonic() + seconds
    while not stop.is_set() and (left := end - time.monotonic()) > 0:
        await asyncio.sleep(min(left, 0.5))


PROBLEMS = """
[...document.querySelectorAll('[data-testid="stException"], [data-testid="stAlertContentError"]')].map(e => e.innerText)
"""
FILES = "performance.getEntriesByType('resource').map(e => e.name).filter(name => name.startsWith(location.origin))"
READY = (
    "document.querySelector('[data-testid=stApp]')?.getAttribute('data-test-script-state') === 'notRunning' && "
    "!!document.querySelector('.st-key-explore_2d .js-plotly-plot .xtick')"
)
AXES = ("Peak memory", "Decode speed, short chat", "Time to load", "Size on disk", "Prefill speed, short chat")


class BrowserPerson:
    """Somebody on Explore in a real browser: an axis, a point, another view and back, round and round.

    Timed in the page: from the release of the button or key to the frame after the one in which the new chart is there.
    The three-dimensional view is left out: without a graphics card the browser would draw it for seconds on the CPU.
    """

    def __init__(self, tab: Tab, rng: random.Random, log: Log) -> None:
        self._tab, self._rng, self._log = tab, rng, log
        self._last = {"axis": "", "view": "2D"}

    def open(self, address: str) -> None:
        """Go there, and wait for the chart."""
        start = time.monotonic()
        self._tab.go(f"{address}/")
        self._tab.wait(f"location.href.startsWith({address!r})")
        self._tab.wait(READY, timeout_s=60.0)
        self._log.done.append(Interaction("open", time.monotonic(), time.monotonic() - start, browser=True))
        self._tab.evaluate(WATCH)

    def files(self) -> list[str]:
        """What the browser loaded from the dashboard."""
        return [str(one) for one in self._tab.evaluate(FILES)]

    def once(self, turn: int) -> None:
        """Do one thing, and note how long the answer took."""
        deeds = [("axis", self._axis), ("point", self._point), ("view", self._view), ("view", self._view)]
        what, act = deeds[turn % len(deeds)]
        self._tab.evaluate(MARK)
        act()
        milliseconds = self._tab.evaluate(ANSWERED % "true")
        if milliseconds < 0:
            raise RuntimeError(f"No answer to: {what}.")
        self._log.done.append(Interaction(what, time.monotonic(), milliseconds / 1000, browser=True))
        self._log.errors += [f"browser, {what}: {text}" for text in self._tab.evaluate(PROBLEMS)]

    def _axis(self) -> None:
        axis = self._rng.choice([one for one in AXES if one != self._last["axis"]])
        self._last["axis"] = axis
        self._tab.press("document.querySelector('.st-key-explore-x input')")
        self._tab.insert(axis)
        found = (
            f"[...document.querySelectorAll('[role=option]')].find(e => e.textContent.trim() === {json.dumps(axis)})"
        )
        self._tab.wait(f"!!({found})")
        time.sleep(0.4)  # the list has opened
        self._tab.press(found)

    def _point(self) -> None:
        at = self._tab.evaluate(MARK_AT % self._rng.randrange(100))
        self._tab.move(at)
        time.sleep(0.3)  # a chart knows what is under the pointer a moment after it came
        self._tab.move(at, "mousePressed")
        self._tab.move(at, "mouseReleased")

    def _view(self) -> None:
        self._last["view"] = self._rng.choice(["Pairs", "Parallel"]) if self._last["view"] == "2D" else "2D"
        self._tab.press(button("explore-view", self._last["view"]))


def browser_person(
    browser: Chromium, address: str, number: int, arrives_s: float, log: Log, stop: threading.Event
) -> None:
    """Come, open Explore and use it until ``stop`` is set; in a thread of its own."""
    rng = random.Random(number)
    if stop.wait(arrives_s):
        return
    try:
        with browser.tab() as tab:
            person = BrowserPerson(tab, rng, log)
            person.open(address)
            log.errors += [f"browser {number}, open: {text}" for text in tab.evaluate(PROBLEMS)]
            log.connected.add(number)
            log.ready.add(number)
            turn = 0
            while not stop.wait(think_s(rng)):
                person.once(turn)
                turn += 1
    except Exception as error:  # whatever it is, it is an error that a user would have had
        log.errors.append(f"browser {number}: {type(error).__name__}: {error}")
    finally:
        log.connected.discard(number)

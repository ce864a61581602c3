"""What a user can do on Explore, done in a real browser, and how long answers take there and at the server."""

from __future__ import annotations

import itertools
import json
import statistics
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from benchmarks.browser_tools import Tab
from benchmarks.common import say

# How often the page has been asked and has answered, and when the pointer or the key came up last.
WATCH = """
(() => {
  if (window.answers !== undefined) return;
  window.answers = 0;
  const app = document.querySelector('[data-testid=stApp]');
  let state = app.getAttribute('data-test-script-state');
  new MutationObserver(() => {
    const now = app.getAttribute('data-test-script-state');
    if (now !== state && now === 'notRunning') window.answers += 1;
    state = now;
  }).observe(app, {attributes: true, attributeFilter: ['data-test-script-state']});
  for (const kind of ['pointerup', 'keydown'])
    document.addEventListener(kind, () => { window.released = performance.now(); }, true);
})()
"""
# What is on the page before; what is drawn anew is another element.
MARK = """
(() => {
  window.before = window.answers;
  document.querySelectorAll('.js-plotly-plot').forEach(one => { one.old = true; });
})()
"""
# Resolves to how long after the release the page is done: its script has ended, and the frame after the one in which
# the new chart is there, if one is expected, has come.
ANSWERED = """
(fresh => new Promise(resolve => {
  const drawn = chart => !chart.old && chart._fullLayout && chart.calcdata &&
    chart.querySelector('.xtick, .gl-container canvas, .scatterlayer .trace');
  const look = () => {
    const app = document.querySelector('[data-testid=stApp]');
    const done = app.getAttribute('data-test-script-state') === 'notRunning' && window.answers > window.before;
    const chart = document.querySelector('[class*="st-key-explore_"] .js-plotly-plot');
    if (done && (!fresh || (chart && drawn(chart))))
      requestAnimationFrame(() => requestAnimationFrame(() => resolve(performance.now() - window.released)));
    else if (performance.now() - window.released > 30000) resolve(-1);
    else requestAnimationFrame(look);
  };
  look();
}))(%s)
"""


@dataclass
class Answers:
    """How long the answers to each kind of interaction took: seconds at the server, and in the browser until drawn."""

    server: dict[str, list[float]] = field(default_factory=dict)
    browser: dict[str, list[float]] = field(default_factory=dict)

    def worst(self, times: dict[str, list[float]], *, webgl: bool = False) -> float:
        """The largest median of a kind; of those that draw by WebGL, or of the others."""
        return max(statistics.median(one) for what, one in times.items() if ("3D" in what) == webgl)


class User:
    """Somebody on Explore, with a stop-watch.

    Args:
        tab: The browser's page, with Explore open.
        log: Where the server writes how long its answers took.
        found: Where times go.
    """

    def __init__(self, tab: Tab, log: Path, found: Answers) -> None:
        self.tab, self._log, self._found = tab, log, found
        tab.evaluate(WATCH)

    def does(self, what: str, act: Callable[[], None], *, fresh: bool = True) -> None:
        """Do something and wait for the answer.

        Args:
            what: The kind of interaction.
            act: Does it; what must come before the release that asks for an answer is not counted.
            fresh: Whether the chart changes.

        Raises:
            RuntimeError: no answer within half a minute.
        """
        before = self._lines()
        self.tab.evaluate(MARK)
        act()
        milliseconds = self.tab.evaluate(ANSWERED % json.dumps(fresh))
        if milliseconds < 0:
            raise RuntimeError(f"No answer to: {what}.")
        time.sleep(0.5)  # what the browser does when all is drawn is nobody's wait
        answers = self._lines()[len(before) :]
        if not answers:
            raise RuntimeError(f"The server was not asked: {what}.")
        server = sum(float(json.loads(line)["s"]) for line in answers)
        self._found.server.setdefault(what, []).append(server)
        self._found.browser.setdefault(what, []).append(milliseconds / 1000)
        say(f"{what:<34} {1000 * server:6.0f} ms at the server, {milliseconds:6.0f} ms in the browser")

    def _lines(self) -> list[str]:
        return self._log.read_text().splitlines() if self._log.exists() else []

    def press(self, element: str) -> None:
        """Press what the JavaScript expression ``element`` gives."""
        self.tab.press(element)

    def view(self, name: str) -> None:
        """Choose a view."""
        self.press(f"{button('explore-view', name)}")

    def option(self, box: str, text: str) -> None:
        """Choose an option of a list, by what it says."""
        self.press(f"document.querySelector('.st-key-{box} input')")
        self.tab.insert(text)  # a long list has only those options that are seen
        found = (
            f"[...document.querySelectorAll('[role=option]')].find(e => e.textContent.trim() === {json.dumps(text)})"
        )
        self.tab.wait(f"!!({found})")
        time.sleep(0.4)  # the list has opened
        self.press(found)

    def drag(self, x: Sequence[float], y: Sequence[float]) -> None:
        """Drag over the chart's first panel, from ``x[0]``, ``y[0]`` to the others; shares of its width and height."""
        plot = (
            "document.querySelector('[class*=\"st-key-explore_\"] .js-plotly-plot .nsewdrag').getBoundingClientRect()"
        )
        left, top, width, height = self.tab.evaluate(f"(b => [b.x, b.y, b.width, b.height])({plot})")
        path = [(left + a * width, top + b * height) for a, b in zip(x, y, strict=True)]
        self.tab.move(path[0], "mouseMoved")
        self.tab.move(path[0], "mousePressed")
        for one, other in itertools.pairwise(path):
            for step in (0.25, 0.5, 0.75, 1.0):
                self.tab.move(tuple(a + step * (b - a) for a, b in zip(one, other, strict=True)), "mouseMoved")
                time.sleep(0.02)
        self.tab.move(path[-1], "mouseReleased")

    def centre(self, element: str) -> None:
        """Scroll to what the JavaScript expression gives: at the upper edge the page's bar lies over it."""
        self.tab.evaluate(f"({element}).scrollIntoView({{block: 'center'}})")
        time.sleep(0.3)

    def click(self, place: str) -> None:
        """Click where the JavaScript expression ``place`` says."""
        at = self.tab.evaluate(place)
        self.tab.move(at)
        time.sleep(0.2)  # a chart knows what is under the pointer a moment after it came
        self.tab.move(at, "mousePressed")
        self.tab.move(at, "mouseReleased")

    def write(self, box: str, text: str) -> None:
        """Write something new into a field of choices, and choose it."""
        self.centre(f"document.querySelector('.st-key-{box} input')")
        self.press(f"document.querySelector('.st-key-{box} input')")
        self.tab.insert(text)
        time.sleep(0.4)  # the list has opened
        self.press("document.querySelector('[role=option]')")


def button(key: str, text: str) -> str:
    """The button with this text below the element of a key, as a JavaScript expression."""
    return (
        f"[...document.querySelectorAll('.st-key-{key} button')].find(e => e.textContent.trim() === {json.dumps(text)})"
    )


AXES = ("Peak memory", "Decode speed, short chat", "Time to load")
"""What is put on the horizontal axis, one a round; so are figures, limits and boxes others in each."""
FIGURES = ("Size on disk", "Prefill speed, short chat", "Accuracy, piqa")
LIMITS = ("peak_memory_bytes <= 900 MiB", "peak_memory_bytes <= 700 MiB", "peak_memory_bytes <= 500 MiB")
# The middle of a mark that can be clicked, of the first ones on the front.
MARK_AT = """
(() => {
  const chart = document.querySelector('.st-key-explore_2d .js-plotly-plot');
  const {xaxis, yaxis} = chart._fullLayout;
  const box = chart.querySelector('.nsewdrag').getBoundingClientRect();
  const own = chart.calcdata.filter(([first]) => first.trace.customdata && first.trace.type === 'scatter');
  const point = own[%d %% own.length][0];
  return [box.x + xaxis.d2p(point.x), box.y + yaxis.d2p(point.y)];
})()
"""
TABLE = "document.querySelector('[data-testid=stDataFrame]')"
ROW_AT = f"(b => [b.x + 18, b.y + 35 + 35 * %d + 17])({TABLE}.getBoundingClientRect())"
LASSO = ((0.6, 0.95, 0.97, 0.8, 0.55, 0.6), (0.05, 0.02, 0.6, 0.9, 0.6, 0.05))


def round_of(user: User, number: int) -> None:
    """Everything once; filters have a measure of their own."""
    shift = 0.05 * number
    user.does("figure of an axis", lambda: user.option("explore-x", AXES[number]))
    user.does("size of marks", lambda: user.option("explore-size", SIZES[number]))
    user.does("logarithmic axis", lambda: user.press(button("explore-log", "x")))
    user.does("linear axis", lambda: user.press(button("explore-log", "x")))
    user.does("click on a point", lambda: user.click(MARK_AT % number))
    user.press(TOOL % "Box Select")
    user.does("box in 2D", lambda: user.drag((0.2 + shift, 0.8), (0.2, 0.7 + shift)))
    user.does("only what is selected", lambda: user.press(ONLY), fresh=False)
    user.does("all again", lambda: user.press(ONLY), fresh=False)
    user.press(TOOL % "Lasso Select")
    user.does("lasso in 2D", lambda: user.drag(*LASSO))
    user.does("view Parallel", lambda: user.view("Parallel"))
    user.does("brush", lambda: user.drag((0.02, 0.3), (0.35 + shift, 0.6)))
    user.does("second brush", lambda: user.drag((0.6, 0.75), (0.35 + shift, 0.7)))
    user.does("one figure more", lambda: user.option("explore-figures", FIGURES[number]))
    user.press("document.querySelector('.st-key-explore-figures input')")
    user.does("one figure less", lambda: user.tab.key("Backspace", 8))
    user.tab.escape()
    user.does("view Pairs", lambda: user.view("Pairs"))
    user.does("clear the selection", lambda: user.press(UNSELECT))
    user.does("box in Pairs", lambda: user.drag((0.2 + shift, 0.7), (0.2, 0.7)))
    user.does("view 3D", lambda: user.view("3D"))
    user.does("clear the selection in 3D", lambda: user.press(UNSELECT))
    user.does("view Load", lambda: user.view("Load"), fresh=False)
    user.does("view 2D", lambda: user.view("2D"))
    user.centre(TABLE)
    user.does("row of the table", lambda: user.click(ROW_AT % number))
    user.does("limit", lambda: user.write("explore-limit", LIMITS[number]))
    user.does("limit taken back", lambda: user.press(CLEAR % "explore-limit"))
    user.does("clear the selection", lambda: user.press(UNSELECT))


SIZES = ("All the same", "Decode speed, short chat", "Peak memory")
TOOL = "document.querySelector('.st-key-explore_2d .modebar-btn[data-title=\"%s\"]')"
ONLY = "document.querySelector('.st-key-explore-only label')"
UNSELECT = "[...document.querySelectorAll('.st-key-explore_selection button')].at(-1)"
CLEAR = "document.querySelector('.st-key-%s').querySelector('[aria-label=\"Clear all\"], [title=\"Clear all\"]')"

"""For ``benchmarks.explore``: points by the hundred thousand, the decision map, and the table of where time goes."""

from __future__ import annotations

import cProfile
import json
import pstats
import statistics
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TypeVar

import numpy as np
import pandas as pd
import plotly

from benchmarks.browser_tools import Chromium
from benchmarks.common import ROOT, say
from tests.factory import BITS
from trilemma.analysis.decision_map import decision_map
from trilemma.analysis.draws import draw
from trilemma.analysis.odds import FrontOdds, contenders, enough_draws, odds_of
from trilemma.analysis.points import Points, better
from trilemma.charts.pareto import pareto_figure
from trilemma.charts.pareto3d import pareto3d_figure
from trilemma.charts.ternary import decision_map_figure
from trilemma.schema import Axis, Method

CROWD = 100_000
KEYS = ("peak_memory_bytes", "decode_tps@short_chat", "accuracy_norm@hellaswag")
"""One figure an axis."""
STEPS = 40
"""Of the decision map's edge, as on the page Decide."""
# Resolves to the milliseconds until the figure is drawn and the frame after that has come.
DRAW = """
(text => new Promise(resolve => {
  const start = performance.now();
  const {data, layout} = JSON.parse(text);
  Plotly.newPlot('chart', data, layout).then(() => requestAnimationFrame(() => resolve(performance.now() - start)));
}))(%s)
"""
_MODELS = 25
_ERROR = 0.01
"""Relative standard error of every figure."""
T = TypeVar("T")


def many_points(count: int, keys: Sequence[str], seed: int = 5) -> Points:
    """``count`` configurations in which what is better in one figure costs another, with the noise of real ones.

    Args:
        count: How many.
        keys: Measurement keys; all get values above zero.
        seed: Of the generator.
    """
    rng = np.random.default_rng(seed)
    index = pd.Index([f"configuration-{number}" for number in range(count)])
    model, step = rng.integers(_MODELS, size=count), rng.integers(len(BITS), size=count)
    names = np.array([f"model-{number:02d}-instruct" for number in range(_MODELS)], dtype=object)
    bits = np.array(list(BITS.values()))[step]
    columns: dict[str, np.ndarray] = {
        "model": names[model],
        "quantization": np.array(list(BITS), dtype=object)[step],
        "engine": np.full(count, "llama.cpp", dtype=object),
        "settings": np.array([f'{{"threads": {number}}}' for number in rng.integers(1, 65, size=count)], dtype=object),
        "profile": np.full(count, None, dtype=object),
        "adapter": np.full(count, None, dtype=object),
        "machine": np.full(count, None, dtype=object),
        "artifact_id": index.to_numpy(dtype=object),
        "run_id": index.to_numpy(dtype=object),
        "runs": np.full(count, 2),
        "bits": bits,
        "requantized": np.full(count, False),
    }
    # More bits cost more and answer better: what is better in one figure is worse in another.
    size = np.log(bits) + 0.05 * model
    values = {}
    for position, key in enumerate(keys):
        pays = 1.0 if position % 2 == 0 else -1.0
        trend = (-1.0 if better(key) == "lower" else 1.0) * pays * 0.4 * size
        values[key] = np.exp(trend + 0.35 * rng.standard_normal(count))
    value = pd.DataFrame(values, index)

    def filled(what: object) -> pd.DataFrame:
        return pd.DataFrame({key: np.full(count, what) for key in keys}, index)

    return Points(
        pd.DataFrame(columns, index),
        value=value, low=value * (1 - 2 * _ERROR), high=value * (1 + 2 * _ERROR), error=value * _ERROR,
        df=filled(9.0), n=filled(24), runs=filled(2), method=filled(Method.MEASURED.value), source=filled("clock"),
        disturbed=filled(False), left_out=filled(0), invalid={},
    )  # fmt: skip


def profiled(work: Callable[[], T], title: str, lines: int = 18) -> T:
    """Run ``work`` under the profiler and print the functions that took most time, with all that they called."""
    profile = cProfile.Profile()
    result = profile.runcall(work)
    say(f"\n{title}: the largest by cumulated time")
    for line in table(pstats.Stats(profile), lines):
        say(line)
    return result


def crowd(browser: Chromium, folder: Path) -> float:
    """Seconds from 100,000 points to their chart on the screen: front, how sure, figure, JSON, and plotly's drawing."""
    page = _plotly(folder)
    say(f"\n{CROWD:,} points: front and first chart")
    times = []
    for seed in range(5):
        points = many_points(CROWD, KEYS, seed)
        start = time.perf_counter()
        odds, near = _odds(points, KEYS[:2])
        sure = time.perf_counter()
        text = pareto_figure(points, *KEYS[:2], size=KEYS[2], odds=odds).to_json()
        drawn = time.perf_counter()
        with browser.tab() as tab:
            tab.go(page.as_uri())
            tab.wait("!!window.Plotly")
            seconds = float(tab.evaluate(DRAW % json.dumps(text))) / 1000
        times.append(drawn - start + seconds)
        say(
            f"{sure - start:.2f} s until {near:,} that may be on the front have their probability, "
            f"{drawn - sure:.2f} s for the figure ({len(text) / 2**10:.0f} KiB), {seconds:.2f} s in the browser"
        )
    points = many_points(CROWD, KEYS, 9)
    profiled(lambda: pareto_figure(points, *KEYS[:2], odds=_odds(points, KEYS[:2])[0]).to_json(), "100,000 points")
    return statistics.median(times)


def one_point_3d(browser: Chromium, folder: Path) -> float:
    """Seconds in which the browser draws a 3D chart of a single point by plotly alone: no view in 3D can be faster."""
    page, (x, y, z) = _plotly(folder), KEYS
    text = pareto3d_figure(many_points(1, KEYS), x, y, z).to_json()
    times = []
    for _ in range(3):
        with browser.tab() as tab:
            tab.go(page.as_uri())
            tab.wait("!!window.Plotly")
            times.append(float(tab.evaluate(DRAW % json.dumps(text))) / 1000)
    say(f"\nA single point in 3D: {statistics.median(times):.2f} s in the browser")
    return statistics.median(times)


def _plotly(folder: Path) -> Path:
    """A page with nothing but plotly and room for a chart."""
    page = folder / "plotly.html"
    script = Path(plotly.__file__).parent / "package_data" / "plotly.min.js"
    page.write_text(f'<script src="{script.as_uri()}"></script><div id="chart" style="width: 1000px"></div>')
    return page


def _odds(points: Points, keys: Sequence[str]) -> tuple[FrontOdds, int]:
    near = contenders(points, keys)
    count = int(near.sum())
    drawn = draw(points.select(near), keys, count=enough_draws(count))
    return odds_of(points, keys, near, drawn.each(keys)), count


def decision() -> float:
    """Seconds for the decision map of 200 configurations: draws, who wins where, and the chart's JSON."""
    say("\nDecision map of 200 configurations")
    by_axis = dict(zip(Axis, KEYS, strict=True))
    times = []
    for seed in range(5):
        points = many_points(200, KEYS, seed)
        start = time.perf_counter()
        draws = draw(points, KEYS)
        drawn = time.perf_counter()
        found = decision_map(draws, by_axis, steps=STEPS)
        mapped = time.perf_counter()
        decision_map_figure(found, points).to_json()
        times.append(time.perf_counter() - start)
        say(f"{drawn - start:.2f} s draws, {mapped - drawn:.2f} s map, {times[-1] - (mapped - start):.2f} s chart")
    points = many_points(200, KEYS, 9)
    profiled(lambda: decision_map(draw(points, KEYS), by_axis, steps=STEPS), "Decision map", 8)
    return statistics.median(times)


def table(stats: pstats.Stats, lines: int, *, ours: bool = False) -> list[str]:
    """``calls  own s  cumulated s  function``, the largest cumulated times first.

    Args:
        stats: What the profiler found.
        lines: How many functions.
        ours: Only this project's functions.
    """
    rows = sorted(stats.stats.items(), key=lambda item: -item[1][3])  # type: ignore[attr-defined]
    if ours:
        rows = [item for item in rows if Path(item[0][0]).is_relative_to(ROOT) and "site-packages" not in item[0][0]]
    found = [f"{'calls':>9} {'own s':>8} {'cum. s':>8}  function"]
    for (path, line, name), (_, calls, own, cumulated, _) in rows[:lines]:
        where = name if path == "~" else f"{_short(path)}:{line} {name}"
        found.append(f"{calls:>9,} {own:>8.3f} {cumulated:>8.3f}  {where}")
    return found


def _short(path: str) -> str:
    """Below the project, the path in it; below an environment, from the package on."""
    parts = Path(path)
    if parts.is_relative_to(ROOT):
        return str(parts.relative_to(ROOT))
    return path.rpartition("site-packages/")[2].rpartition("lib/")[2]

"""The pictures of Compare."""

from __future__ import annotations

import dataclasses
import random

import numpy as np
import plotly.graph_objects as go
import pytest

from tests.factory import DEMO, SMOL, artifact, fill_store, points_of, records
from trilemma.analysis.alignment import AlignedRun, Start, aligned
from trilemma.analysis.points import Points
from trilemma.charts.compare import DASHES, Look, bars_figure, bars_text, positions, radar_figure, ratios
from trilemma.charts.compare_lines import Waits, aligned_figure, aligned_text, waits_figure, waits_text
from trilemma.charts.palette import LIGHT, MODEL_COLOURS
from trilemma.store import Store

MEMORY, ENERGY, SPEED, SCORE = (
    "peak_memory_bytes", "energy_per_token_j@short_chat", "decode_tps@short_chat", "accuracy_norm@hellaswag"
)  # fmt: skip
HOSTILE = '<b onmouseover="x()">%{x}</b>'


@pytest.fixture
def points(store: Store) -> Points:
    fill_store(store, DEMO[:3], 2, detail=False)
    return points_of(store, MEMORY, ENERGY, SPEED, SCORE)


def names_of(points: Points) -> dict[str, str]:
    return {str(one): name for one, name in zip(points.meta.index, (HOSTILE, "Q8_0", "Q6_K"), strict=True)}


def looks_of(names: list[str]) -> dict[str, Look]:
    return {one: Look(MODEL_COLOURS[False][row], "circle", DASHES[row]) for row, one in enumerate(names)}


def texts(figure: go.Figure) -> list[str]:
    found = [annotation.text for annotation in figure.layout.annotations]
    for trace in figure.data:
        found += [trace.name, trace.hovertemplate, *(trace.hovertext or [])]
    return [text for text in found if text]


def bars(figure: go.Figure) -> list[go.Bar]:
    return [trace for trace in figure.data if trace.type == "bar"]


def test_a_full_bar_is_the_best_and_half_as_good_is_half(points: Points) -> None:
    values = points.value[MEMORY]
    found = [one.value for one in ratios(points, MEMORY) if one]
    assert found == pytest.approx((values.min() / values).tolist())
    speeds = points.value[SPEED]
    assert [one.value for one in ratios(points, SPEED) if one] == pytest.approx((speeds / speeds.max()).tolist())
    for key in (MEMORY, SPEED):
        assert all(one.low <= one.value <= one.high for one in ratios(points, key) if one and one.low and one.high)


def test_nothing_is_a_share_of_the_best_but_not_so_many_times_it(points: Points) -> None:
    for key in (MEMORY, SPEED):
        points.value.loc[points.meta.index[0], key] = 0.0
    found = [one.value for one in ratios(points, SPEED) if one]
    assert found[0] == 0
    assert max(found) == 1
    names = names_of(points)
    assert len(bars(bars_figure(points, [SPEED], names, looks_of([*names])))) == 3
    assert ratios(points, MEMORY) == [None] * 3, "nothing is so many times as large as none"
    points.value[SPEED] = 0.0
    assert ratios(points, SPEED) == [None] * 3


def test_bars_are_drawn_with_units_hollow_where_modelled_and_escaped(points: Points) -> None:
    names = names_of(points)
    figure = bars_figure(points, [MEMORY, ENERGY], names, looks_of([*names]))
    assert len(bars(figure)) == 6
    assert [bar.marker.color == LIGHT.ground for bar in bars(figure)] == [False] * 3 + [True] * 3
    shown = texts(figure)
    assert any("MiB" in text for text in shown)
    assert any("mJ/tok" in text and "modelled" in text for text in shown)
    assert not any("<b onmouseover" in text for text in shown)
    assert not any("%{x}" in (trace.hovertemplate or "") for trace in figure.data)
    assert HOSTILE in bars_text(points, [MEMORY], names)
    assert "less is better" in bars_text(points, [MEMORY], names)


def test_a_configuration_without_the_figure_keeps_its_place(points: Points) -> None:
    names = names_of(points)
    points.value.loc[points.meta.index[1], SPEED] = float("nan")
    points.disturbed.loc[points.meta.index[2], SPEED] = True
    figure = bars_figure(points, [SPEED], names, looks_of([*names]))
    assert len(bars(figure)) == 2
    assert any("disturbed" in text for text in texts(figure))
    assert sum("Q8_0" in text for text in texts(figure)) == 1


def test_the_radar_runs_from_the_worst_to_the_best_and_says_both(points: Points) -> None:
    names, keys = names_of(points), [MEMORY, SPEED, SCORE]
    figure = radar_figure(points, keys, names, looks_of([*names]))
    assert len(figure.data) == 3
    assert positions(points, MEMORY)[0] == 0  # F16 holds most
    assert max(one for one in positions(points, SPEED) if one is not None) == 1
    for row, trace in enumerate(figure.data):
        assert list(trace.r[:3]) == [positions(points, key)[row] for key in keys]
        assert trace.r[-1] == trace.r[0]
    spokes = figure.layout.polar.angularaxis.ticktext
    assert "MiB" in spokes[0]
    assert spokes[0].count("<b>") == 1
    points.value[SCORE] = 0.4
    assert positions(points, SCORE) == [1.0] * 3
    points.value.loc[points.meta.index[0], SCORE] = float("nan")
    assert positions(points, SCORE)[0] is None


def test_each_configuration_s_waits_are_a_line_and_disturbed_ones_another() -> None:
    shown = {HOSTILE: Waits(np.linspace(0.1, 0.2, 30)), "b": Waits(np.linspace(0.3, 0.4, 8), np.array([0.5, 0.6]))}
    figure = waits_figure("ttft_s", shown, looks_of([*shown]))
    lines = [trace for trace in figure.data if trace.mode == "lines"]
    assert [trace.line.dash for trace in lines] == ["solid", "dash", "dot"]
    assert [("disturbed" in trace.name, trace.line.width) for trace in lines] == [(False, 2), (False, 2), (True, 1.2)]
    assert not any("<b" in trace.name or "%{x}<" in trace.hovertemplate for trace in figure.data)
    marks = [trace for trace in figure.data if trace.mode == "markers"]
    assert [list(trace.y) for trace in marks] == [[0.5, 0.95], [0.5]], "eight requests are too few for p95"
    assert list(marks[0].x) == pytest.approx([150, 195])
    assert "left is faster" in figure.layout.xaxis.title.text
    assert "too few for p95" in waits_text("ttft_s", shown)
    assert "in disturbed runs" in waits_text("ttft_s", shown)
    assert waits_text("ttft_s", {}).endswith("No request was answered.")
    assert len(waits_figure("ttft_s", {}, {}).data) == 0


@pytest.fixture
def runs() -> dict[str, AlignedRun]:
    found = {}
    for quantization in ("F16", "Q4_K_M"):
        kept = records(artifact(SMOL, quantization), random.Random(1), quality=True)
        run = aligned(kept["samples"], kept["phases"], Start.LOAD)
        assert run is not None
        found[quantization] = run
    return found


def test_traces_share_one_axis_and_the_phases_lie_above_them(runs: dict[str, AlignedRun]) -> None:
    looks = looks_of([*runs])
    figure = aligned_figure(runs, looks, Start.LOAD)
    lines = [trace for trace in figure.data if trace.type != "bar"]
    assert [(trace.name, trace.line.dash) for trace in lines] == [("F16", "solid"), ("Q4_K_M", "dash")] * 2
    assert [trace.showlegend for trace in lines] == [True, True, False, False]
    assert [len(bar.x) for bar in bars(figure)] == [len(run.spans) for run in runs.values()]
    titles = [axis.title.text for axis in figure.select_yaxes()]
    assert any(title and title.startswith("Memory, ") and title.endswith("B") for title in titles)
    assert "Power, modelled, W" in titles
    # The picture ends where the slower one has served; what follows is there, beyond its edge.
    last = max(run.served_s for run in runs.values())
    assert last < figure.layout.xaxis.range[1] < max(span.end_s for run in runs.values() for span in run.spans)
    assert "modelled" in lines[2].meta[0]
    text = aligned_text(runs, Start.LOAD)
    assert text.startswith("Seconds since loading. F16: memory up to ")
    mixed = dict(runs)
    mixed["F16"] = dataclasses.replace(
        runs["F16"], traces=tuple(dataclasses.replace(trace, modelled=False) for trace in runs["F16"].traces)
    )
    assert "Power, some modelled, W" in [
        axis.title.text for axis in aligned_figure(mixed, looks, Start.LOAD).select_yaxes()
    ]

from __future__ import annotations

import dataclasses
import json
import re

import numpy as np
import pandas as pd
import plotly.graph_objects as go
import plotly.io as pio
import pytest

from tests.factory import DEMO, SMOL, artifact, fill_store, points_of, records
from trilemma.analysis.distributions import percentile_table
from trilemma.analysis.format import scale_for
from trilemma.analysis.limits import Limit
from trilemma.analysis.odds import front_odds
from trilemma.analysis.points import Points
from trilemma.charts.labels import place
from trilemma.charts.latency import ecdf_figure
from trilemma.charts.pairs import pairs_figure
from trilemma.charts.palette import (
    AXIS_COLOURS,
    DARK,
    LIGHT,
    MODEL_COLOURS,
    escape,
    model_colours,
    quantization_bits,
    quantization_glyph,
    quantization_symbol,
)
from trilemma.charts.parallel import parallel_figure
from trilemma.charts.pareto import blank_figure, pareto_figure
from trilemma.charts.pareto3d import pareto3d_figure
from trilemma.charts.profile import profile_figure
from trilemma.charts.traces import traces_figure
from trilemma.charts.unchecked import unchecked
from trilemma.records import Sample
from trilemma.schema import Method, Phase
from trilemma.store import Store

ENERGY, QUALITY, MEMORY = "energy_per_token_j@short_chat", "accuracy_norm@hellaswag", "peak_memory_bytes"
SPEED = "decode_tps@short_chat"
HOSTILE = '<b onmouseover="x()">%{x}</b><a href="javascript:alert(1)">$\\x$'


@pytest.fixture
def points(store: Store) -> Points:
    fill_store(store, detail=False)
    return points_of(store, ENERGY, QUALITY, MEMORY, SPEED)


def drawn(figure: go.Figure) -> dict[str, go.Scatter]:
    """Configuration id to the trace that draws it."""
    return {row[0]: trace for trace in figure.data if trace.customdata is not None for row in trace.customdata}


def texts(value: object) -> list[str]:
    """All strings in a figure."""
    if isinstance(value, dict):
        return [text for item in value.values() for text in texts(item)]
    if isinstance(value, list | tuple):
        return [text for item in value for text in texts(item)]
    return [value] if isinstance(value, str) else []


def test_every_configuration_is_drawn_once_and_only_the_front_in_full(points: Points) -> None:
    figure = pareto_figure(points, ENERGY, QUALITY, size=MEMORY)
    found = drawn(figure)
    assert set(found) == set(points.meta.index)
    front = dict(zip(points.meta.index, points.front([ENERGY, QUALITY]), strict=True))
    assert {key: trace.marker.opacity == 1 for key, trace in found.items()} == front
    # Selecting one must not dim or undim the others.
    assert all(trace.unselected.marker.opacity == trace.marker.opacity for trace in found.values())


def test_better_is_right_and_up_and_the_titles_say_so(points: Points) -> None:
    figure = pareto_figure(points, ENERGY, QUALITY)
    assert figure.layout.xaxis.range[0] > figure.layout.xaxis.range[1]
    assert figure.layout.yaxis.range[0] < figure.layout.yaxis.range[1]
    assert "mJ/tok" in figure.layout.xaxis.title.text
    assert "axis reversed" in figure.layout.xaxis.title.text
    assert "more is better" in figure.layout.yaxis.title.text


def test_modelled_is_hollow_measured_is_filled(points: Points) -> None:
    energy = drawn(pareto_figure(points, ENERGY, QUALITY))
    speed = drawn(pareto_figure(points, SPEED, QUALITY))
    assert all(symbol.endswith("-open") for trace in energy.values() for symbol in trace.marker.symbol)
    assert not any(symbol.endswith("-open") for trace in speed.values() for symbol in trace.marker.symbol)
    legend = {trace.name for trace in pareto_figure(points, ENERGY, QUALITY).data}
    assert "hollow: modelled, not measured" in legend
    assert "hollow: modelled, not measured" not in {t.name for t in pareto_figure(points, SPEED, QUALITY).data}


def test_imported_and_disturbed_points_are_marked_and_the_legend_says_how(points: Points) -> None:
    points.method.loc[points.meta.index[0], SPEED] = Method.IMPORTED.value
    points.disturbed.loc[points.meta.index[1], SPEED] = True
    figure = pareto_figure(points, SPEED, QUALITY)
    assert {"in a diamond: imported", "disturbed"} <= {trace.name for trace in figure.data}
    warning = [t for t in figure.data if t.marker.color == LIGHT.warning and t.x[0] is not None]
    assert [list(trace.x) for trace in warning] == [[points.value[SPEED].iloc[1]]]


def test_a_ladder_is_one_thin_line_from_most_to_fewest_bits(points: Points) -> None:
    figure = pareto_figure(points, SPEED, QUALITY)
    lines = [t for t in figure.data if t.mode == "lines" and t.legendgroup == SMOL]
    assert len(lines) == 1
    smol = points.meta["model"] == SMOL
    by_bits = points.meta["bits"][smol].sort_values(ascending=False).index
    assert [x for x in lines[0].x if np.isfinite(x)] == points.value[SPEED].loc[by_bits].tolist()


def test_the_front_and_its_shade_reach_the_edges(points: Points) -> None:
    figure = pareto_figure(points, SPEED, QUALITY)
    edge = next(t for t in figure.data if t.name and t.name.startswith("front"))
    assert edge.x[0] == figure.layout.xaxis.range[0]
    assert edge.y[-1] == figure.layout.yaxis.range[0]


def test_intervals_are_drawn_and_log_axes_are_exponents(points: Points) -> None:
    figure = pareto_figure(points, SPEED, ENERGY, log_x=True, log_y=True)
    assert figure.layout.xaxis.type == "log"
    assert 10 ** figure.layout.xaxis.range[0] < points.value[SPEED].min()
    crosses = [trace for trace in figure.data if trace.name == "intervals"]
    assert sum(len(trace.x) for trace in crosses) == 9 * 2 * 3
    points.value.loc[points.meta.index[0], SPEED] = 0.0
    assert pareto_figure(points, SPEED, ENERGY, log_x=True).layout.xaxis.type == "linear", "zero has no logarithm"


def test_points_without_a_figure_are_not_drawn(points: Points) -> None:
    points.value.loc[points.meta.index[0], SPEED] = np.nan
    assert points.meta.index[0] not in drawn(pareto_figure(points, SPEED, QUALITY))
    nothing = points.select(np.zeros(len(points), dtype=bool))
    assert not pareto_figure(nothing, SPEED, QUALITY).data
    assert len(pareto3d_figure(nothing, SPEED, QUALITY, MEMORY).data) == 0


def crowd(points: Points, worse: str = ENERGY) -> Points:
    """The nine configurations many times over, each time with more of ``worse``."""
    many = points.select(np.tile(np.arange(9), 130))
    for field in dataclasses.fields(many):
        if isinstance(table := getattr(many, field.name), pd.DataFrame):
            table.index = pd.Index([f"configuration {i}" for i in range(len(table))])
    many.value[worse] *= np.linspace(1, 2, len(many))
    return many


@pytest.mark.parametrize("many", [False, True])
def test_charts_that_plotly_does_not_check_would_pass(points: Points, many: bool) -> None:
    points.method.loc[points.meta.index[0], SPEED] = Method.IMPORTED.value
    points.disturbed.loc[points.meta.index[1], SPEED] = True
    shown = crowd(points) if many else points
    keys = (ENERGY, QUALITY, SPEED, MEMORY)
    picked = shown.meta.index[::3].tolist()
    odds = front_odds(shown, keys)
    span = Limit(SPEED, ">=", float(shown.value[SPEED].median()))
    for figure in (
        pareto_figure(shown, *keys[:2], size=MEMORY, picked=picked, odds=odds, log_x=True),
        pareto3d_figure(shown, *keys[:3], size=MEMORY, picked=picked, odds=odds),
        pairs_figure(shown, keys, size=MEMORY, picked=picked, odds=odds, log=True),
        parallel_figure(shown, keys, spans=[span], picked=picked, odds=odds),
        blank_figure(dark=True),
    ):
        checked, sent = (json.loads(pio.to_json(one, validate=False)) for one in (go.Figure(figure), figure))
        del checked["layout"]["template"], sent["layout"]["template"]
        assert sent == checked
    with pytest.raises(ValueError, match="colour"):
        go.Figure(unchecked([], {"colour": "red"}))


def test_an_empty_chart_is_as_dark_as_the_page() -> None:
    assert blank_figure(dark=True).layout.paper_bgcolor == DARK.ground
    assert blank_figure(dark=False).layout.paper_bgcolor == LIGHT.ground


def test_what_is_only_counted_has_no_outline_and_no_legend_entry_for_one(points: Points) -> None:
    keys = (SPEED, QUALITY, MEMORY)
    front = points.front(keys)
    points.method.loc[points.meta.index[~front], SPEED] = Method.IMPORTED.value
    points.disturbed.loc[points.meta.index[~front], SPEED] = True
    several = crowd(points, MEMORY)
    for figures in (
        (pareto3d_figure(points, *keys), pareto3d_figure(several, *keys)),
        (pairs_figure(points, keys), pairs_figure(several, keys)),
        (parallel_figure(points, keys), parallel_figure(several, keys)),
    ):
        few, many = ({trace.name for trace in figure.data} for figure in figures)
        assert {"in a diamond: imported", "disturbed"} <= few
        assert not {"in a diamond: imported", "disturbed"} & many
    outlines = [t for t in pareto3d_figure(several, *keys).data if t.marker.symbol == "diamond-open" and t.x[0]]
    assert not outlines


@pytest.mark.parametrize("log", [False, True])
def test_of_very_many_points_the_front_is_drawn_and_the_rest_counted_where_it_lies(points: Points, log: bool) -> None:
    many = crowd(points)
    figure = pareto_figure(many, ENERGY, QUALITY, size=MEMORY, log_x=log)
    front = many.front([ENERGY, QUALITY])
    assert set(drawn(figure)) == set(many.meta.index[front])
    (cells,) = (trace for trace in figure.data if trace.type == "heatmap")
    counts = np.nan_to_num(np.asarray(cells.z, dtype=float))
    assert counts.sum() == len(many) - front.sum() == 9 * 130 - front.sum()
    # Each dominated point is counted in the cell that it lies in, in the units of the axes.
    across, up = (
        np.searchsorted(edges, (many.value[key] / scale_for(many.value[key], unit).factor)[~front], side="right") - 1
        for key, unit, edges in ((ENERGY, "J/tok", cells.x), (QUALITY, "", cells.y))
    )
    assert np.array_equal(np.histogram2d(up, across, bins=[range(55), range(97)])[0], counts)


def test_hostile_names_are_shown_letter_for_letter(store: Store) -> None:
    fill_store(store, [(HOSTILE, "Q8_0"), (HOSTILE, "<i>Q4</i>"), ("plain", "F16")], 1, detail=False)
    points = points_of(store, ENERGY, QUALITY, MEMORY)
    figures = [
        pareto_figure(points, ENERGY, QUALITY),
        pareto3d_figure(points, ENERGY, QUALITY, MEMORY),
        pairs_figure(points, (ENERGY, QUALITY, MEMORY)),
        parallel_figure(points, (ENERGY, QUALITY, MEMORY)),
        profile_figure(points, points.meta.index[0], [ENERGY, QUALITY]),
    ]
    for figure in figures:
        for text in texts(figure.to_plotly_json()):
            assert not re.search(r"<(?!/?b>|br>|extra>|/extra>|span style='color:#\w+'>|/span>)", text), text
            assert "onmouseover" not in text or "&lt;b onmouseover" in text
            assert "$" not in text
        templates = [t.hovertemplate for t in figure.data if t.hovertemplate]
        assert all("%{hovertext}" in template and "javascript" not in template for template in templates)


def test_three_figures_are_reversed_where_less_is_better(points: Points) -> None:
    figure = pareto3d_figure(points, ENERGY, QUALITY, SPEED, size=MEMORY, picked=[points.meta.index[0]])
    assert figure.layout.scene.xaxis.autorange == "reversed"
    assert figure.layout.scene.yaxis.autorange is True
    assert set(drawn(figure)) == set(points.meta.index)


def test_labels_touch_neither_marks_nor_each_other() -> None:
    at = np.array([[0.5, 0.5], [0.53, 0.5], [0.5, 0.53], [0.02, 0.5], [0.5, 0.99]])
    sizes = np.full(5, 13.0)
    placed = place(at, sizes, {0: "Q4_K_M", 3: "F16", 4: "Q8_0"})
    assert "left" not in placed[3].split(), "it would leave the chart"
    assert not placed[4].startswith("top")
    crowd = np.random.default_rng(0).random((400, 2))
    assert len(place(crowd, np.full(400, 13.0), dict.fromkeys(range(400), "IQ4_XS long"))) < 100


def test_a_name_can_hide_nothing() -> None:
    assert escape("a\x00b\n c") == "a b c"
    assert escape("x" * 99, 10) == "x" * 9 + "…"
    assert escape("<br>&amp;") == "&lt;br&gt;&amp;amp;"


def _contrast(one: str, other: str) -> float:
    def luminance(colour: str) -> float:
        parts = [int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5)]
        linear = [c / 12.92 if c <= 0.03928 else ((c + 0.055) / 1.055) ** 2.4 for c in parts]
        return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]

    light, dark = sorted((luminance(one), luminance(other)), reverse=True)
    return (light + 0.05) / (dark + 0.05)


def test_colours_can_be_seen_and_told_from_the_axes() -> None:
    for look in (LIGHT, DARK):
        assert _contrast(look.text, look.ground) > 10
        assert _contrast(look.muted, look.ground) > 4.5
        assert not set(MODEL_COLOURS[look.dark]) & set(AXIS_COLOURS[look.dark].values())
    assert all(_contrast(colour, DARK.ground) > 3 for colour in MODEL_COLOURS[True])
    assert all(_contrast(colour, DARK.ground) > 3 for colour in AXIS_COLOURS[True].values())


def test_a_model_keeps_its_colour_when_others_come() -> None:
    before = model_colours(["a", "b"])
    assert {k: v for k, v in model_colours(["a", "b", "c"]).items() if k in before} == before
    assert len(set(model_colours(list("abcdefgh")).values())) == 8


@pytest.mark.parametrize(
    ("name", "bits", "symbol"),
    [
        ("F16", 16, "circle"), ("BF16", 16, "circle"), ("F32", 32, "circle"), ("Q8_0", 8, "cross"), ("FP8", 8, "cross"),
        ("Q6_K", 6, "hexagon"), ("Q5_K_M", 5, "star"), ("Q4_K_M", 4, "square"), ("IQ4_XS", 4, "square"),
        ("Q3_K_M", 3, "triangle-up"), ("Q2_K", 2, "bowtie"), ("AWQ", 4, "star-square"), ("MXFP4", 4, "star-square"),
        ("mystery", None, "hexagram"), ("", None, "hexagram"),
    ],
)  # fmt: skip
def test_a_quantization_has_as_many_corners_as_bits(name: str, bits: int | None, symbol: str) -> None:
    assert quantization_bits(name) == bits
    assert quantization_symbol(name) == symbol
    assert quantization_glyph(name) != quantization_glyph(name, hollow=True) or symbol == "hexagram"


def test_a_full_bar_is_the_best_in_view(points: Points) -> None:
    best = points.value[MEMORY].idxmin()
    bars = [s for s in profile_figure(points, best, [MEMORY, ENERGY]).layout.shapes if s.fillcolor != LIGHT.grid]
    assert bars[0].x1 == 1.0
    assert bars[0].fillcolor == AXIS_COLOURS[False][next(iter(AXIS_COLOURS[False]))]
    assert bars[1].fillcolor == "rgba(0,0,0,0)", "modelled is hollow"
    worst = points.value[MEMORY].idxmax()
    bars = [s for s in profile_figure(points, worst, [MEMORY]).layout.shapes if s.fillcolor != LIGHT.grid]
    assert bars[0].x1 == pytest.approx(points.value[MEMORY].min() / points.value[MEMORY].max())


@pytest.mark.parametrize("dark", [False, True])
def test_traces_shade_and_name_the_phases(dark: bool) -> None:
    import random

    kept = records(artifact(*DEMO[0]), random.Random(0), quality=True)
    figure = traces_figure(kept["samples"], kept["phases"], dark=dark)  # type: ignore[arg-type]
    assert len(figure.layout.shapes) == len(kept["phases"])
    assert {"short chat", "hellaswag"} <= {a.text for a in figure.layout.annotations}
    assert {t.name for t in figure.data} >= {
        "memory (PSS)",
        "power, modelled",
        "CPU of the run",
        "CPU of everybody else",
    }
    power = next(t for t in figure.data if t.name == "power, modelled")
    assert power.line.dash == "dot"
    assert np.nanmax(power.y) == pytest.approx(19.6, rel=0.1)
    speed = next(w for w in kept["phases"] if w.phase is Phase.SPEED)  # type: ignore[attr-defined]
    start = min(w.start_ns for w in kept["phases"])  # type: ignore[attr-defined]
    assert any(s.x0 == pytest.approx((speed.start_ns - start) / 1e9) for s in figure.layout.shapes)  # type: ignore[attr-defined]


def test_gpus_have_rows_of_their_own_and_throttling_is_shaded() -> None:
    samples = []
    for tick in range(60):
        values = {"rss_bytes": 1e8, "cpu_s": tick * 0.1}
        for gpu, bits in (("0", 0x4 if tick < 20 else 0), ("1", 0x20 if tick > 40 else 0), ("2", 0x20)):
            held = 0.0 if gpu == "2" else 4e10
            values |= {f"gpu_memory_bytes.{gpu}": held, f"gpu_utilization.{gpu}": 0.9, f"gpu_clock_hz.{gpu}": 1.41e9}
            values |= {f"energy_j.nvml.{gpu}": 30.0 * tick, f"power_w.nvml.{gpu}": 300.0}
            values[f"gpu_throttle_bits.{gpu}"] = float(bits)
        samples.append(Sample(time_ns=tick * 10**8, phase=Phase.SPEED, values=values))
    figure = traces_figure(samples, [])
    lines = [trace for trace in figure.data if trace.fill is None and trace.name.startswith("GPU")]
    assert {trace.name for trace in lines} == {"GPU 0", "GPU 1"}, "GPU 2 was not the run's"
    assert len(lines) == 8, "memory, power, use and clock of each"
    assert sum(trace.showlegend for trace in lines) == 2
    assert len({(t.line.color, t.line.dash) for t in lines}) == 2
    assert {"GPU clock, GHz", "GPU in use, %"} <= {axis.title.text for axis in figure.select_yaxes()}
    shaded = {trace.name: trace for trace in figure.data if trace.fill}
    assert set(shaded) == {"GPU 0 at its limit: power cap", "GPU 1 throttled: heat"}
    heat = shaded["GPU 1 throttled: heat"]
    assert min(x for x, y in zip(heat.x, heat.y, strict=True) if y) == pytest.approx(4.1)


def test_traces_of_a_run_that_died_early_are_still_a_figure() -> None:
    assert traces_figure([], []).layout.height > 0


def test_percentiles_are_marked_only_where_there_are_enough() -> None:
    few = ecdf_figure("ttft_s", {"w": np.linspace(0.1, 0.2, 19)})
    enough = ecdf_figure("ttft_s", {"w": np.linspace(0.1, 0.2, 100)})
    assert [text.split()[0] for text in few.data[1].text] == ["p50", "p90"]
    assert [text.split()[0] for text in enough.data[1].text] == ["p50", "p90", "p95", "p99"]
    assert "ms" in enough.layout.xaxis.title.text
    assert enough.data[0].y[-1] == 1.0
    assert not ecdf_figure("ttft_s", {}).data


def test_percentiles_of_several_workloads_are_told_in_a_table_and_not_over_each_other() -> None:
    values = {"short_chat": np.linspace(0.1, 0.2, 20), "long_answer": np.array([0.3, 0.4, np.nan])}
    marked = [trace for trace in ecdf_figure("ttft_s", values).data if "markers" in trace.mode]
    assert {trace.mode for trace in marked} == {"markers"}
    table = percentile_table("ttft_s", values)
    assert list(table.columns) == ["workload", "n", "median", "p90", "p95"]
    assert table["n"].tolist() == [20, 2]
    assert table["median"].tolist() == ["150 ms", "350 ms"]
    assert table["p95"].isna().tolist() == [False, True]

"""Charts of several figures at once: all pairs, and parallel axes."""

from __future__ import annotations

import dataclasses

import numpy as np
import pandas as pd
import plotly.graph_objects as go
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.factory import SMOL, fill_store, points_of
from trilemma.analysis.limits import Limit
from trilemma.analysis.odds import FrontOdds, front_odds
from trilemma.analysis.points import Points
from trilemma.charts.pairs import pairs_figure, panel_keys
from trilemma.charts.palette import model_colours
from trilemma.charts.parallel import parallel_figure
from trilemma.charts.rulers import Ruler, brush, rulers
from trilemma.schema import Method
from trilemma.store import Store

ENERGY, QUALITY, MEMORY = "energy_per_token_j@short_chat", "accuracy_norm@hellaswag", "peak_memory_bytes"
SPEED = "decode_tps@short_chat"
KEYS = (MEMORY, ENERGY, SPEED, QUALITY)


@pytest.fixture
def points(store: Store) -> Points:
    fill_store(store, detail=False)
    return points_of(store, *KEYS)


def many_of(points: Points) -> Points:
    many = points.select(np.tile(np.arange(9), 130))
    for field in dataclasses.fields(many):
        if isinstance(table := getattr(many, field.name), pd.DataFrame):
            table.index = pd.Index([f"configuration {i}" for i in range(len(table))])
    many.value[MEMORY] *= np.linspace(1, 2, len(many))
    return many


def panels(figure: go.Figure) -> dict[tuple[str, str], list[go.Scatter]]:
    found: dict[tuple[str, str], list[go.Scatter]] = {}
    for trace in figure.data:
        if trace.customdata is not None:
            found.setdefault((trace.xaxis, trace.yaxis), []).append(trace)
    return found


def test_each_pair_is_one_panel_with_every_configuration(points: Points) -> None:
    figure = pairs_figure(points, KEYS)
    found = panels(figure)
    pairs = {panel_keys(KEYS, *axes) for axes in found}
    assert pairs == {(KEYS[i], KEYS[j]) for j in range(4) for i in range(j)}
    for axes, traces in found.items():
        x, y = panel_keys(KEYS, *axes) or ("", "")
        drawn = {
            row[0]: (a, b) for trace in traces for row, a, b in zip(trace.customdata, trace.x, trace.y, strict=True)
        }
        assert set(drawn) == set(points.meta.index)
        one = points.meta.index[3]
        factor = points.value.loc[one, x] / drawn[one][0]
        assert points.value[x].to_numpy() == pytest.approx([factor * drawn[key][0] for key in points.meta.index]), (
            "in one unit"
        )
        assert drawn[one][1] == pytest.approx(points.value.loc[one, y], rel=1e-9) or y != QUALITY


def test_no_panel_is_no_pair() -> None:
    assert panel_keys(KEYS, "x2", "y") is None, "above the diagonal"
    assert panel_keys(KEYS, "x", "paper") is None
    assert panel_keys(KEYS, "x4", "y3") is None
    assert panel_keys(KEYS, "x", "y3") == (MEMORY, QUALITY)


def test_better_is_right_and_up_in_all_pairs_and_titles_have_units(points: Points) -> None:
    layout = pairs_figure(points, KEYS).layout
    assert layout.xaxis.range[0] > layout.xaxis.range[1], "memory: less is better"
    assert layout.xaxis3.range[0] < layout.xaxis3.range[1], "speed: more is better"
    assert "MiB" in layout.xaxis.title.text
    assert "reversed" in layout.xaxis.title.text.replace("<br>", " ")
    assert "reversed" not in layout.yaxis3.title.text


def test_the_front_is_of_all_figures_and_the_same_in_every_panel(points: Points) -> None:
    odds = front_odds(points, KEYS)
    front = points.front(KEYS) | (odds.probability > 0.05)
    for traces in panels(pairs_figure(points, KEYS, odds=odds)).values():
        bright = {row[0] for trace in traces if trace.marker.opacity == 1 for row in trace.customdata}
        assert bright == set(points.meta.index[front])


def test_what_is_selected_is_ringed_in_every_panel_and_broad_on_parallel_axes(points: Points) -> None:
    one, other = points.meta.index[[1, 5]]
    plain, figure = (pairs_figure(points, KEYS, picked=picked) for picked in ((), (one, other, "gone")))
    assert len(figure.data) - len(plain.data) == 6
    parallel = parallel_figure(points, KEYS, picked=(one, other))
    (broad,) = (t for t in parallel.data if t.line.width == 7 and t.name is None)
    assert np.isnan(np.array(broad.x, dtype=float)).sum() == 2


def test_of_very_many_the_beaten_are_counted_and_the_selected_among_them(points: Points) -> None:
    many = many_of(points)
    front = many.front(KEYS)
    picked = many.meta.index[~front][:40].tolist()
    for figure in (pairs_figure(many, KEYS[:2], picked=picked), pairs_figure(many, KEYS[:2])):
        cells = [np.nansum(np.array(t.z, dtype=float)) for t in figure.data if t.type == "heatmap"]
        two = many.front(KEYS[:2])
        assert cells[0] == (~two).sum()
        assert len(cells) == 1 or cells[1] == (~two & many.meta.index.isin(picked)).sum()
    lines = parallel_figure(many, KEYS, picked=picked)
    counted = [t for t in lines.data if t.type == "heatmap"]
    assert len(counted) == 2
    assert np.nansum(np.array(counted[0].z, dtype=float), axis=0) == pytest.approx((~front).sum())
    assert np.nansum(np.array(counted[1].z, dtype=float), axis=0) == pytest.approx(len(picked))


def test_of_a_crowd_as_many_have_marks_as_fit_and_the_rest_is_said_to_be_no_worse_than_it_is(points: Points) -> None:
    many = many_of(points)
    odds = FrontOdds(np.linspace(0, 1, len(many)))
    for traces in panels(pairs_figure(many, KEYS, odds=odds)).values():
        drawn = {row[0] for trace in traces for row in trace.customdata}
        assert drawn == set(many.meta.index[-40:]), "240 marks in six panels"
    figure = pairs_figure(many, KEYS, odds=odds)
    assert "how many beaten or less likely on the front lie here: darker for more" in {t.name for t in figure.data}
    (cells, *_) = (t for t in figure.data if t.type == "heatmap")
    assert np.nansum(np.array(cells.z, dtype=float)) == len(many) - 40
    assert "beaten or less likely on the front here" in cells.hovertemplate
    few = FrontOdds(np.where(np.arange(len(many)) < 35, 0.5, 0.0))
    assert "how many beaten lie here: darker for more" in {t.name for t in pairs_figure(many, KEYS, odds=few).data}


def test_parallel_axes_say_how_the_selected_are_shown(points: Points) -> None:
    many = many_of(points)
    front = many.front(KEYS)
    broad, counted = "broad: selected", "how many selected ones pass here"
    for picked, wanted in (
        ([], set()),
        (many.meta.index[front].tolist(), {broad}),
        (many.meta.index[~front].tolist(), {counted}),
    ):
        names = {trace.name for trace in parallel_figure(many, KEYS, picked=picked).data}
        assert names & {broad, counted} == wanted


def test_without_points_there_is_no_mark(points: Points) -> None:
    nothing = points.select(np.zeros(len(points), dtype=bool))
    assert not pairs_figure(nothing, KEYS).data
    assert not parallel_figure(nothing, KEYS).data


def test_a_line_is_in_its_models_colour_from_axis_to_axis(points: Points) -> None:
    colours = model_colours(points.meta["model"].unique())
    figure = parallel_figure(points, KEYS, colours=colours)
    mine = [t for t in figure.data if t.mode == "lines+markers" and t.line.color == colours[SMOL]]
    count = int((points.meta["model"] == SMOL).sum())
    assert sum(len(trace.x) for trace in mine) == count * (len(KEYS) + 1)
    up = np.concatenate([np.array(trace.y, dtype=float) for trace in mine])
    assert np.nanmin(up) >= 0
    assert np.nanmax(up) <= 1
    # Energy is modelled, so its marks are hollow; the others are not.
    for trace in mine:
        table = np.array(trace.marker.symbol).reshape(-1, len(KEYS) + 1)[:, : len(KEYS)]
        hollow = np.char.endswith(table.astype(str), "-open")
        modelled = [(points.method[key] == Method.MODELLED.value).all() for key in KEYS]
        assert (hollow == modelled).all()


def test_better_is_up_on_every_axis_and_the_numbers_have_units(points: Points) -> None:
    for axis, key in zip(rulers(points.value, KEYS), KEYS, strict=True):
        best = points.value[key].min() if key in (MEMORY, ENERGY) else points.value[key].max()
        assert axis.best == best
        assert axis.place(np.array([axis.worst, axis.best])) == pytest.approx([0, 1])
    titles = [one.text for one in parallel_figure(points, KEYS).layout.annotations]
    assert ["reversed" in title for title in titles] == [True, True, False, False]
    assert "MiB" in titles[0]
    assert "tok/s" in titles[2]


positive = st.floats(1e-3, 1e9)


@given(positive, positive, st.floats(0, 1), st.booleans())
def test_a_place_on_an_axis_is_a_value_and_back(one: float, other: float, place: float, log: bool) -> None:
    axis = Ruler(SPEED, one, other, log)
    if abs(one - other) > 1e-6 * max(one, other):
        assert axis.place(np.array([axis.value(place)]))[0] == pytest.approx(place, abs=1e-6)
    assert axis.place(np.array([one, one])).shape == (2,)


AXES = [Ruler(MEMORY, 300.0, 100.0), Ruler(SPEED, 10.0, 90.0), Ruler(QUALITY, 0.5, 0.5)]


def test_a_box_is_a_range_of_each_axis_that_it_covers() -> None:
    assert brush(AXES, [-0.1, 0.2], [0.25, 0.5]) == {MEMORY: [Limit(MEMORY, "<=", 250.0), Limit(MEMORY, ">=", 200.0)]}
    assert set(brush(AXES, [1.2, -0.1], [0.9, 0.1])) == {MEMORY, SPEED}
    # Between two axes it is about the nearer one; to the top is no limit there; along all of it, none at all.
    assert brush(AXES, [0.6, 0.8], [0.5, 1.2]) == {SPEED: [Limit(SPEED, ">=", 50.0)]}
    assert brush(AXES, [-0.1, 0.1], [-0.1, 1.1]) == {MEMORY: []}
    assert brush(AXES, [1.9, 2.2], [0.2, 0.4]) == {}, "where all are the same there is nothing to choose"


@given(st.lists(positive, min_size=2, max_size=20), st.floats(-0.2, 1.2), st.floats(-0.2, 1.2), st.booleans())
def test_what_a_box_held_is_what_its_range_keeps(values: list[float], one: float, other: float, log: bool) -> None:
    table = pd.DataFrame({MEMORY: values})
    (axis,) = rulers(table, [MEMORY], log)
    if axis.best == axis.worst:
        return
    places = axis.place(np.array(values))
    low, high = min(one, other), max(one, other)
    clear = (np.abs(places - low) > 1e-9) & (np.abs(places - high) > 1e-9)
    inside = (places >= low) & (places <= high)
    spans = brush([axis], [-0.1, 0.1], [one, other])[MEMORY]
    kept = np.ones(len(values), dtype=bool)
    for span in spans:
        kept &= np.array(values) <= span.value if span.op == "<=" else np.array(values) >= span.value
    assert kept[clear].tolist() == inside[clear].tolist()


def test_selected_ranges_are_bars_along_their_axes(points: Points) -> None:
    middle = float(points.value[SPEED].median())
    figure = parallel_figure(points, KEYS, spans=[Limit(SPEED, ">=", middle), Limit("load_s", "<=", 3)])
    (bar,) = (t for t in figure.data if t.line.width == 14)
    axis = rulers(points.value, KEYS)[2]
    assert list(bar.x) == [2, 2]
    assert list(bar.y) == pytest.approx([axis.place(np.array([middle]))[0], 1])

from __future__ import annotations

import pytest

from trilemma.charts.palette import axis_colour
from trilemma.charts.performance import Bar, Group, ladder_colours, scores_figure, scores_text
from trilemma.schema import Axis

HOSTILE = '<b onmouseover="x()">%{x}</b><a href="javascript:alert(1)">$\\x$'
GROUPS = [
    Group("hellaswag", [Bar("Q8_0", 0.425, 0.33, 0.52, 100), Bar("Q2_K", 0.3, 0.22, 0.4, 100)], 0.25),
    Group("gsm8k", [Bar("Q8_0", 0.0, 0.0, 0.3, 6)], 0.0),
]


def test_better_is_right_and_each_bar_has_interval_and_three_digits() -> None:
    figure = scores_figure(GROUPS, looks={"Q8_0": "#332288", "Q2_K": "#CC6677"})
    bars = {trace.name: trace for trace in figure.data if trace.type == "bar"}
    assert list(bars["Q8_0"].x) == [0.425, 0.0]
    intervals = next(trace for trace in figure.select_traces(selector={"mode": "markers"}) if len(trace.x) == 2)
    assert list(intervals.error_x.array) == pytest.approx([0.095, 0.3])
    assert list(intervals.error_x.arrayminus) == pytest.approx([0.095, 0.0])
    written = {text.strip() for trace in figure.select_traces(selector={"mode": "text"}) for text in trace.text}
    assert written == {"0.425", "0.300", "0"}
    assert "more is better" in figure.layout.xaxis.title.text
    low, high = figure.layout.xaxis.range
    assert low <= 0.0
    assert high > 0.52
    # The first group is at the top, and no bar lies on another.
    top, bottom = figure.layout.yaxis.range[1], figure.layout.yaxis.range[0]
    assert top < bottom
    rows = [y for trace in bars.values() for y in trace.y]
    assert len(set(rows)) == 3
    assert bars["Q8_0"].y[0] < bars["Q2_K"].y[0] < bars["Q8_0"].y[1]


@pytest.mark.parametrize("dark", [False, True])
def test_one_run_is_in_the_blue_of_its_axis_without_a_legend(dark: bool) -> None:
    figure = scores_figure([Group("piqa", [Bar("piqa", 0.6)])], dark=dark)
    (bar,) = (trace for trace in figure.data if trace.type == "bar")
    assert bar.marker.color == axis_colour(Axis.PERFORMANCE, dark)
    assert not bar.showlegend


def test_what_guessing_scores_is_drawn_where_it_is_known() -> None:
    lines = [*scores_figure(GROUPS).select_traces(selector={"mode": "lines", "showlegend": False})]
    assert [list(line.x) for line in lines] == [[0.25, 0.25]]


def test_scores_below_guessing_stay_in_the_picture() -> None:
    figure = scores_figure([Group("", [Bar("a", -0.2, -0.4, 0.0)])])
    assert figure.layout.xaxis.range[0] < -0.4


def test_a_ladder_pales_within_a_model_and_keeps_its_colour() -> None:
    colours = ladder_colours({"a8": "A", "b8": "B", "a2": "A"}, {"A": "#332288", "B": "#CC6677"})
    assert list(colours) == ["a8", "b8", "a2"]
    assert colours["a8"] == "rgba(51,34,136,1)"
    assert colours["b8"] == "rgba(204,102,119,1)"
    assert colours["a2"] == "rgba(51,34,136,0.4)"


def test_hostile_names_are_shown_letter_for_letter_and_told_in_words() -> None:
    groups = [Group(HOSTILE, [Bar(HOSTILE + "x", 0.5, 0.4, 0.6, 9)])]
    written = str(scores_figure(groups, title=HOSTILE, looks={}).to_plotly_json())
    assert "<a " not in written
    assert "onmouseover" not in written.replace("&lt;b onmouseover", "")
    assert scores_text(GROUPS) == "hellaswag: Q8_0 0.425, Q2_K 0.300; gsm8k: Q8_0 0."

"""The decision map as a picture: colours, names, text, and what a click gets."""

from __future__ import annotations

import numpy as np
import pytest

from tests.analysis.constructed import AXES, points
from trilemma.analysis.decision_map import DecisionMap, decision_map
from trilemma.analysis.draws import draw
from trilemma.analysis.points import Points
from trilemma.charts.palette import model_colours
from trilemma.charts.ternary import decision_map_figure, decision_map_text, mixed, region_colours

ROWS = {"F16": (300e6, 50.0, 0.9), "Q8_0": (160e6, 98.0, 0.6), "Q2_K": (60e6, 130.0, 0.1)}


def made(relative: float = 0.001, model: str = "M") -> tuple[DecisionMap, Points]:
    of = points(ROWS, relative=relative)
    of.meta["model"] = model
    return decision_map(draw(of, list(AXES.values())), AXES, steps=10), of


def test_a_point_is_in_the_colour_of_who_wins_there_surely() -> None:
    found, of = made()
    figure = decision_map_figure(found, of)
    colours = region_colours(of, [int(row) for row in found.rows], model_colours(["M"]), False, found.won())
    assert len(set(colours.values())) == len(colours) == 3
    sure = found.probability == 1
    assert sure.any()
    drawn = np.array(figure.data[0].marker.color)
    assert drawn[sure].tolist() == [colours[int(row)] for row in found.winner[sure]]


def test_in_doubt_the_colours_run_into_one_another() -> None:
    assert mixed(["#000000", "#FFFFFF"], [0.5, 0.5]) == "#808080"
    found, of = made(relative=0.3)
    figure = decision_map_figure(found, of, dark=True)
    assert len(set(figure.data[0].marker.color)) > len(found.rows)


def test_a_border_runs_between_any_two_neighbours_with_different_winners_and_nowhere_else() -> None:
    found, of = made(relative=0.1)
    lines = next(trace for trace in decision_map_figure(found, of).data if trace.mode == "lines")
    ends = [None if one[0] is None else np.array(one) for one in zip(lines.a, lines.b, lines.c, strict=True)]
    drawn = {frozenset(beside(found, first, second)) for first, second in zip(ends[::3], ends[1::3], strict=True)}
    assert ends[2::3] == [None] * (len(ends) // 3)
    apart = np.abs(found.weights[:, None] - found.weights[None]).max(axis=2)
    expected = {
        frozenset((int(i), int(j)))
        for i, j in np.argwhere(np.isclose(apart, 0.1))
        if found.winner[i] != found.winner[j]
    }
    assert len(expected) > 5
    assert drawn == expected and len(drawn) == len(ends) // 3


def beside(found: DecisionMap, first: np.ndarray, second: np.ndarray) -> list[int]:
    """The two points of the map that a piece of border is as near to as to each other, and nearest to."""
    middle = (first + second) / 2
    near = np.argsort(((found.weights - middle) ** 2).sum(axis=1))[:2]
    for end in (first, second):
        away = ((found.weights[near] - end) ** 2).sum(axis=1)
        assert away[0] == pytest.approx(away[1])
    return [int(one) for one in near]


def test_where_one_wins_everywhere_there_is_no_border() -> None:
    of = points({"F16": (60e6, 130.0, 0.9), "Q8_0": (160e6, 98.0, 0.6)}, relative=0.001)
    figure = decision_map_figure(decision_map(draw(of, list(AXES.values())), AXES, steps=1), of)
    assert [len(trace.a) for trace in figure.data if trace.mode == "lines"] == [0]


def test_a_click_gets_the_weights_and_the_ring_is_where_they_are() -> None:
    found, of = made()
    figure = decision_map_figure(found, of, weights=(0.2, 0.5, 0.3))
    assert np.array(figure.data[0].customdata) == pytest.approx(found.weights)
    rings = [trace for trace in figure.data if len(trace.a) == 1 and trace.a[0] == 0.2]
    assert len(rings) == 2


def test_hover_counts_draws_and_names_from_outside_are_escaped() -> None:
    found, of = made(model="<img src=x>")
    figure = decision_map_figure(found, of)
    assert "of 100 draws" in figure.data[0].hovertext[0]
    spoken = [*figure.data[0].hovertext, *(trace.name or "" for trace in figure.data)]
    assert not any("<img" in text for text in spoken)


def test_the_text_says_who_wins_where() -> None:
    found, of = made()
    text = decision_map_text(found, of)
    assert "M F16 if only performance counts" in text
    assert "M Q2_K if only efficiency counts" in text
    assert "of all mixes of priorities" in text

"""The decision map as a picture: colours, names, text, and what a click gets."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from tests.analysis.constructed import AXES, points
from trilemma.analysis.decision_map import DecisionMap, decision_map
from trilemma.analysis.draws import draw
from trilemma.analysis.points import Points
from trilemma.analysis.uncertainty import FloatArray
from trilemma.charts.palette import model_colours, theme
from trilemma.charts.ternary import decision_map_figure, decision_map_text, marks_text, mixed, region_colours
from trilemma.charts.ternary_places import apart, numbered, on_paper, place_of_name

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
    rings = [trace for trace in figure.data if trace.mode == "markers" and tuple(trace.a) == (0.2,)]
    assert len(rings) == 2


def test_hover_counts_draws_and_names_from_outside_are_escaped() -> None:
    found, of = made(model="<img src=x>")
    figure = decision_map_figure(found, of)
    assert "wins in all draws" in figure.data[0].hovertext[0]
    spoken = [*figure.data[0].hovertext, *(trace.name or "" for trace in figure.data)]
    assert not any("<img" in text for text in spoken)


def test_the_text_says_who_wins_where() -> None:
    found, of = made()
    text = decision_map_text(found, of)
    assert "M F16 if only performance counts" in text
    assert "M Q2_K if only efficiency counts" in text
    assert "of all mixes of priorities" in text


def regions(winner_of: Callable[[FloatArray], NDArray[np.intp]], steps: int = 40) -> DecisionMap:
    """A map whose winner is told by the weights, grid points x 3."""
    parts = [(i, j, steps - i - j) for i in range(steps + 1) for j in range(steps + 1 - i)]
    weights = np.array(parts, dtype=float) / steps
    winner = winner_of(weights)
    rows = np.unique(winner)
    share = (winner[:, None] == rows[None]).astype(float)
    return DecisionMap(weights, rows, share, winner, np.ones(len(weights)))


def test_a_name_is_where_its_region_has_most_room_and_not_in_another_one() -> None:
    whole = regions(lambda w: np.zeros(len(w), dtype=np.intp))
    middle = place_of_name(whole, 0, 4, 13)
    assert middle is not None
    assert middle[0] < 1 / 3 and middle[1] == pytest.approx(middle[2], abs=0.03), "a wide name sits where it is wide"
    # A region bent around another one: the mean of its points lies in the other.
    bent = regions(lambda w: (np.linalg.norm(on_paper(w) - [0.5, 0.25], axis=1) < 0.18).astype(np.intp))
    for row in (0, 1):
        at = place_of_name(bent, row, 4, 13)
        assert at is not None
        nearest = int(np.argmin(((bent.weights - at) ** 2).sum(axis=1)))
        assert bent.winner[nearest] == row
        others = on_paper(bent.weights[bent.winner != row])
        away = np.abs(others - on_paper(at[None]))
        # Half a name and half its height on a phone: nothing of another region is behind it.
        assert not ((away[:, 0] < 0.5 * 0.5 * 4 * 13 / 240) & (away[:, 1] < 0.5 * 13 / 240)).any()


def test_a_region_too_small_for_its_name_has_none_and_is_in_the_legend() -> None:
    sliver = regions(lambda w: (w[:, 0] > 0.93).astype(np.intp))
    assert place_of_name(sliver, 1, 6, 13) is None
    of = points({"F16": (300e6, 50.0, 0.9), "Q4_K_M": (160e6, 98.0, 0.6)})
    figure = decision_map_figure(sliver, of)
    assert [trace.text[0] for trace in figure.data if trace.mode == "text"] == ["<b>F16</b>"]
    assert [trace.name for trace in figure.data if trace.showlegend is not False] == ["M F16", "M Q4_K_M"]


def test_a_name_keeps_away_from_the_ring_and_from_marks() -> None:
    whole = regions(lambda w: np.zeros(len(w), dtype=np.intp))
    at = place_of_name(whole, 0, 4, 13, [[1 / 3, 1 / 3, 1 / 3]])
    assert at is not None
    assert np.abs(at - 1 / 3).max() > 0.1


def test_use_cases_are_numbered_marks_that_can_be_picked() -> None:
    found, of = made()
    marks = {"<i>Phone": [0.5, 0.25, 0.25], "Chat": [0.2, 0.45, 0.35], "Twin": [0.2, 0.45, 0.35]}
    assert [[number for number, _ in names] for _, names in numbered(marks)] == [[1], [2, 3]]
    for dark in (False, True):
        figure = decision_map_figure(found, of, marks=marks, dark=dark)
        trace = next(one for one in figure.data if one.name == "use cases")
        assert list(trace.text) == ["1", "2,3"]
        assert np.array(trace.customdata) == pytest.approx(np.array([[0.5, 0.25, 0.25], [0.2, 0.45, 0.35]]))
        assert pytest.approx(np.array(trace.customdata)) == np.array([trace.a, trace.b, trace.c]).T, "far enough apart"
        assert "<i>Phone" not in trace.hovertext[0] and "Phone" in trace.hovertext[0]
        assert trace.marker.color == theme(dark).ground and trace.textfont.color == theme(dark).text
    assert marks_text(marks) == "1 <i>Phone, 2 Chat, 3 Twin"
    assert not [one for one in decision_map_figure(found, of).data if one.name == "use cases"]


@given(st.lists(st.tuples(*[st.integers(1, 20)] * 3), min_size=2, max_size=7))
@settings(max_examples=30)
def test_marks_stay_in_the_triangle_and_near_their_place(parts: list[tuple[int, int, int]]) -> None:
    weights = np.array(parts, dtype=float)
    weights /= weights.sum(axis=1, keepdims=True)
    drawn = apart(weights)
    assert (drawn >= 0).all() and drawn.sum(axis=1) == pytest.approx(1)
    alone = apart(weights[:1])
    assert alone == pytest.approx(weights[:1])


def test_no_mark_covers_another_on_a_phone() -> None:
    weights = np.array([[0.5, 0.2, 0.3], [0.5, 0.25, 0.25], [0.2, 0.4, 0.4]])
    drawn = on_paper(apart(weights)) * 240
    assert (
        np.linalg.norm(drawn[0] - drawn[1]) >= 14.9 > np.linalg.norm(on_paper(weights)[0] - on_paper(weights)[1]) * 240
    )
    assert np.abs(drawn - on_paper(weights) * 240).max() < 3, "no more than a reader would see"


def test_numbers_are_over_the_ring() -> None:
    found, of = made()
    order = [
        trace.name
        for trace in decision_map_figure(found, of, weights=(0.2, 0.5, 0.3), marks={"Chat": [0.2, 0.5, 0.3]}).data
    ]
    assert order[-1] == "use cases"

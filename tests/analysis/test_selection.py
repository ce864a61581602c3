from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from trilemma.analysis.limits import Limit
from trilemma.analysis.selection import Selection, between, described, inside_outline, read_spans, span_text

MEMORY, SPEED = "peak_memory_bytes", "decode_tps@short_chat"
KEYS = [MEMORY, SPEED]
VALUES = pd.DataFrame(
    {MEMORY: [1e8, 2e8, 3e8, np.nan, np.inf], SPEED: [90.0, 50.0, 70.0, 60.0, 60.0]}, index=list("abcde")
)


def test_ids_select_what_is_there() -> None:
    assert Selection(("c", "a", "gone")).among(VALUES).tolist() == [True, False, True, False, False]
    assert not Selection().among(VALUES).any()
    assert not Selection()


def test_ranges_select_what_lies_in_all_of_them_and_is_known() -> None:
    spans = (*between(MEMORY, 3e8, 1.5e8), Limit(SPEED, ">=", 60))
    assert Selection(spans=spans).among(VALUES).tolist() == [False, False, True, False, False]
    # What is infinite is no figure.
    assert Selection(spans=(Limit(MEMORY, ">=", 0),)).among(VALUES).tolist() == [True, True, True, False, False]


@given(st.floats(allow_nan=False, allow_infinity=False), st.sampled_from(KEYS), st.sampled_from(["<=", ">="]))
def test_a_range_survives_the_address(value: float, key: str, op: str) -> None:
    (found,) = read_spans([span_text(Limit(key, op, value))], KEYS)
    assert (found.key, found.op) == (key, op)
    assert found.value == pytest.approx(value, rel=1e-5)


@pytest.mark.parametrize(
    "text", ["", "beauty >= 3", f"{MEMORY} >= 1e999", f"{MEMORY} >= nan", f"{MEMORY} >= 3 J", "<script>"]
)
def test_what_is_no_range_is_left_out(text: str) -> None:
    assert read_spans([text, f"{SPEED} >= 50"], KEYS) == (Limit(SPEED, ">=", 50.0),)


def test_ranges_in_words() -> None:
    spans = [*between(MEMORY, 100 * 2**20, 300 * 2**20), Limit(SPEED, ">=", 91.25)]
    assert described(spans) == ["Peak memory 100 to 300 MiB", "Decode speed, short chat from 91.2 tok/s"]
    assert described([Limit(SPEED, "<=", 91)]) == ["Decode speed, short chat up to 91.0 tok/s"]
    assert described([Limit(SPEED, "<=", 91), Limit(SPEED, "<=", 80)]) == ["Decode speed, short chat up to 80.0 tok/s"]


@given(st.lists(st.tuples(st.floats(-2, 2), st.floats(-2, 2)), min_size=1, max_size=20))
def test_the_inside_of_a_convex_outline_is_left_of_all_its_edges(points: list[tuple[float, float]]) -> None:
    corners = np.array([[-1, -1], [1.2, -0.8], [1.4, 0.9], [0, 1.5], [-1.1, 0.7]])
    at = np.array(points)
    edges = np.roll(corners, -1, axis=0) - corners
    side = edges[:, 0] * (at[:, None, 1] - corners[:, 1]) - edges[:, 1] * (at[:, None, 0] - corners[:, 0])
    assume((np.abs(side) > 1e-9).all())
    assert inside_outline(at, corners).tolist() == (side > 0).all(axis=1).tolist()
    assert inside_outline(at, corners[::-1]).tolist() == (side > 0).all(axis=1).tolist()


def test_an_outline_may_be_hollow_and_nothing_unknown_is_inside() -> None:
    horseshoe = [[0, 0], [4, 0], [4, 4], [3, 4], [3, 1], [1, 1], [1, 4], [0, 4]]
    assert inside_outline([[0.5, 3], [2, 3], [3.5, 3], [2, 0.5]], horseshoe).tolist() == [True, False, True, True]
    assert not inside_outline([[np.nan, 1], [0.5, np.nan]], horseshoe).any()
    assert not inside_outline([[1, 1]], []).any()

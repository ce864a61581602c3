from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from trilemma.analysis.front import dominated_by, on_front, staircase


def test_a_tie_in_one_figure_does_not_save_a_dominated_option() -> None:
    # Same energy, worse accuracy: other tools have kept the second one.
    assert on_front([[1.0, 0.5], [1.0, 0.4]], ["lower", "higher"]).tolist() == [True, False]


def test_equal_options_stand_or_fall_together() -> None:
    assert on_front([[1, 2], [1, 2], [2, 1], [2, 2], [2, 2]], ["lower", "lower"]).tolist() == [1, 1, 1, 0, 0]


def test_one_figure_has_its_best_as_front() -> None:
    assert on_front([[3.0], [5.0], [5.0]], ["higher"]).tolist() == [False, True, True]


def test_an_option_that_lacks_a_figure_neither_joins_nor_dominates() -> None:
    values = [[0.0, np.nan], [1.0, 1.0], [np.inf, 0.0]]
    assert on_front(values, ["lower", "lower"]).tolist() == [False, True, False]
    assert dominated_by(values, ["lower", "lower"], 1).tolist() == []
    assert dominated_by(values, ["lower", "lower"], 0).tolist() == []


def test_no_options_have_no_front() -> None:
    assert on_front(np.empty((0, 2)), ["lower", "lower"]).tolist() == []


def test_directions_must_fit() -> None:
    with pytest.raises(ValueError, match="options x 1 figures"):
        on_front([[1.0, 2.0]], ["lower"])
    with pytest.raises(ValueError, match="at least one"):
        on_front(np.empty((3, 0)), [])


@given(
    st.lists(st.tuples(*[st.integers(0, 5)] * 3), min_size=1, max_size=30),
    st.tuples(*[st.sampled_from(["lower", "higher"])] * 3),
)
def test_the_front_is_what_nothing_dominates(rows: list[tuple[int, ...]], better: tuple[str, ...]) -> None:
    values = np.array(rows, dtype=float)
    by_definition = [not dominated_by(values, better, index).size for index in range(len(values))]  # type: ignore[arg-type]
    assert on_front(values, better).tolist() == by_definition  # type: ignore[arg-type]
    for index in range(len(values)):
        for other in dominated_by(values, better, index):  # type: ignore[arg-type]
            signs = np.array([1 if way == "lower" else -1 for way in better])
            assert (signs * values[other] <= signs * values[index]).all()
            assert (values[other] != values[index]).any()


@settings(max_examples=10)
@given(st.integers(0, 2**32 - 1), st.integers(4, 6), st.sampled_from([3, 10, 10_000]), st.floats(0, 1))
def test_the_front_of_very_many_in_many_figures_is_what_nothing_dominates(
    seed: int, figures: int, steps: int, alike: float
) -> None:
    """With ties, equals, unknowns, and figures that go together (few on the front) or not (many)."""
    rng = np.random.default_rng(seed)
    table = alike * rng.random((400, 1)) + (1 - alike) * rng.random((400, figures))
    table = np.round(table * steps)
    table[rng.random(table.shape) < 0.002] = rng.choice([np.nan, np.inf, -np.inf])
    better = rng.choice(["lower", "higher"], figures).tolist()
    by_definition = np.isfinite(table).all(axis=1) & [not dominated_by(table, better, i).size for i in range(400)]
    assert on_front(table, better).tolist() == by_definition.tolist()


def test_figures_beyond_all_measure_have_a_front() -> None:
    table = np.tile([[1e308, -1e308, 1.0, 2.0]], (300, 1))
    table[7] = [1e308, -1e308, 0.5, 2.0]
    assert np.flatnonzero(on_front(table, ["lower"] * 4)).tolist() == [7]


def test_the_staircase_goes_down_before_it_goes_right() -> None:
    corners = staircase([[10.0, 0.3], [30.0, 0.5]], ["lower", "higher"])
    # From the worse energy to the better one; the corner is what neither reaches.
    assert corners.tolist() == [[30.0, 0.5], [30.0, 0.3], [10.0, 0.3]]
    assert staircase(np.empty((0, 2)), ["lower", "lower"]).shape == (0, 2)

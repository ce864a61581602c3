"""Front, contenders and hypervolume against definitions spelled out here, with ties, duplicates and gaps."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.analysis.constructed import MEMORY, QUALITY, SPEED, points
from trilemma.analysis.draws import Draws
from trilemma.analysis.front import dominated_by, on_front
from trilemma.analysis.odds import (
    Standing,
    box,
    contenders,
    dominated_share,
    dominators,
    front_odds,
    front_share,
    hypervolume,
)
from trilemma.figures import Better

KEYS = [MEMORY, SPEED, QUALITY]
BETTER: list[Better] = ["lower", "higher", "higher"]
NAMES = ("F16", "Q8_0", "Q6_K", "Q4_K_M", "Q2_K")
CELL = st.one_of(st.integers(0, 3).map(float), st.sampled_from([math.nan, math.inf, -math.inf]))
WHOLE = st.integers(0, 4).map(float)
Row = tuple[float, ...]


def dominates(one: Row, other: Row, better: list[Better]) -> bool:
    if not all(map(math.isfinite, (*one, *other))):
        return False
    gains = [y - x if way == "lower" else x - y for x, y, way in zip(one, other, better, strict=True)]
    return min(gains) >= 0 and max(gains) > 0


@given(
    st.integers(1, 4).flatmap(
        lambda figures: st.tuples(
            st.lists(st.tuples(*[CELL] * figures), max_size=12),
            st.tuples(*[st.sampled_from(["lower", "higher"])] * figures),
        )
    )
)
def test_the_front_is_what_no_other_dominates(case: tuple[list[Row], tuple[Better, ...]]) -> None:
    rows, better = case[0], list(case[1])
    table = np.array(rows, dtype=float).reshape(len(rows), len(better))
    by_definition = [
        all(map(math.isfinite, one)) and not any(dominates(other, one, better) for other in rows) for one in rows
    ]
    assert on_front(table, better).tolist() == by_definition
    for index, one in enumerate(rows):
        assert dominated_by(table, better, index).tolist() == [
            other for other, rival in enumerate(rows) if dominates(rival, one, better)
        ]


@given(st.lists(st.tuples(CELL, CELL, CELL), min_size=1, max_size=5), st.sampled_from([0.0, 0.02, 0.3]))
def test_whoever_is_left_out_is_dominated_however_the_noise_falls(rows: list[Row], relative: float) -> None:
    of = points(dict(zip(NAMES, rows, strict=False)), relative=relative)
    near = contenders(of, KEYS)
    for index, one in enumerate(rows):
        if near[index] or not all(map(math.isfinite, one)):
            continue
        # The best that it may well be is beaten by the worst that some other may well be.
        lucky = shifted(one, 5 * relative)
        assert any(
            all(map(math.isfinite, rival)) and dominates(shifted(rival, -5 * relative), lucky, BETTER) for rival in rows
        )
    front = of.front(KEYS)
    assert (near | ~front).all()


def shifted(row: Row, share: float) -> Row:
    """Each figure better by ``share`` of itself."""
    return tuple(x - share * x if way == "lower" else x + share * x for x, way in zip(row, BETTER, strict=True))


@settings(max_examples=50)
@given(st.lists(st.tuples(CELL, CELL, CELL), min_size=1, max_size=5))
def test_without_noise_odds_are_0_or_1_and_unknown_without_a_figure(rows: list[Row]) -> None:
    odds = front_odds(points(dict(zip(NAMES, rows, strict=False)), relative=0.0), KEYS, count=3)
    expected = [
        (0.0 if any(dominates(rival, one, BETTER) for rival in rows) else 1.0)
        if all(map(math.isfinite, one))
        else math.nan
        for one in rows
    ]
    assert odds.probability == pytest.approx(expected, nan_ok=True)
    names = {0.0: Standing.DOMINATED, 1.0: Standing.CERTAIN}
    assert odds.standing == [names.get(one, Standing.UNKNOWN) for one in expected]


@given(st.lists(st.lists(st.tuples(CELL, CELL, CELL), min_size=4, max_size=4), min_size=1, max_size=4))
def test_shares_count_the_fronts_of_the_draws(draws: list[list[Row]]) -> None:
    expected = [
        sum(
            all(map(math.isfinite, one[i])) and not any(dominates(other, one[i], BETTER) for other in one)
            for one in draws
        )
        / len(draws)
        for i in range(4)
    ]
    assert front_share([*np.moveaxis(np.array(draws, dtype=float), 2, 0)], BETTER) == pytest.approx(expected)


@given(st.lists(st.lists(st.tuples(CELL, CELL, CELL), min_size=3, max_size=3), min_size=1, max_size=4))
def test_who_dominates_is_counted_draw_by_draw(draws: list[list[Row]]) -> None:
    of = points(dict.fromkeys(NAMES[:3], (1.0, 1.0, 1.0)))  # what was measured says by how much, not how often
    values = np.array(draws, dtype=float)
    drawn = Draws(of, tuple(KEYS), values, np.zeros(values.shape[1:], dtype=bool), frozenset())
    for index in range(3):
        found = {one.index: one.probability for one in dominators(drawn, KEYS, index)}
        expected = [sum(dominates(one[rival], one[index], BETTER) for one in draws) / len(draws) for rival in range(3)]
        assert found == pytest.approx({rival: share for rival, share in enumerate(expected) if share})


@given(st.integers(1, 3), st.data())
def test_the_dominated_share_is_what_cells_count(figures: int, data: st.DataObject) -> None:
    steps = 4
    cell = st.integers(-1, steps + 1).map(lambda x: x / steps)  # beyond the box, too
    costs = np.array(data.draw(st.lists(st.tuples(*[cell] * figures), min_size=1, max_size=6)))
    corners = itertools.product(range(steps), repeat=figures)
    # Each cell of the grid lies wholly inside or outside: its lower corner says which.
    inside = [any((cost * steps <= np.array(corner)).all() for cost in costs) for corner in corners]
    assert dominated_share(costs) == pytest.approx(np.mean(inside))


@settings(max_examples=60)
@given(st.lists(st.tuples(CELL, CELL, CELL), min_size=1, max_size=5))
def test_the_hypervolume_of_exact_figures_is_their_share_of_the_box(rows: list[Row]) -> None:
    table = np.array(rows, dtype=float)
    of = points(dict(zip(NAMES, rows, strict=False)))
    drawn = Draws(of, tuple(KEYS), np.repeat(table[None], 2, axis=0), np.zeros(table.shape, dtype=bool), frozenset())
    found = hypervolume(drawn, KEYS)
    whole = [one for one in rows if all(map(math.isfinite, one))]
    if len(whole) < 2:
        assert found is None
        return
    costs = np.array(whole) * [1, -1, -1]
    low, high = costs.min(axis=0), costs.max(axis=0)
    ends = box(drawn, KEYS)
    assert ends[0] == pytest.approx(low) and ends[1] == pytest.approx(high)
    assert found is not None
    assert (found.low, found.high) == pytest.approx((found.value, found.value))
    # A figure in which all are equal is a box of width one, of which everybody is at the best edge.
    sizes = [int(width) or 1 for width in high - low]
    cells = itertools.product(*[range(size) for size in sizes])
    inside = [any((cost - low <= np.array(cell)).all() for cost in costs) for cell in cells]
    assert found.value == pytest.approx(np.mean(inside))

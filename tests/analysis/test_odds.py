from __future__ import annotations

import itertools

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from trilemma.analysis.draws import DRAWS, Draws, draw
from trilemma.analysis.odds import (
    SURE,
    FrontOdds,
    Standing,
    contenders,
    dominators,
    enough_draws,
    front_odds,
    front_share,
    hypervolume,
)
from trilemma.analysis.points import META, Points

COST, SCORE = "energy_per_token_j@short_chat", "accuracy_norm@hellaswag"


def points(values: list[tuple[float, float]], errors: list[tuple[float, float]] | None = None) -> Points:
    """Configurations with an energy and an accuracy, each of a model of its own."""
    index = [f"c{i}" for i in range(len(values))]
    meta = pd.DataFrame({name: [None] * len(values) for name in META}, index=index)
    meta["model"], meta["bits"] = index, np.nan
    value = pd.DataFrame(values, index=index, columns=[COST, SCORE], dtype=float)
    error = pd.DataFrame(errors or [(0.0, 0.0)] * len(values), index=index, columns=value.columns, dtype=float)
    known = value.notna()
    table = {"value": value, "low": value - 2 * error, "high": value + 2 * error, "error": error.where(known)}
    table |= {"df": error * 0 + np.inf, "n": error * 0 + 10, "runs": error * 0 + 2, "left_out": error * 0}
    table |= {"method": value.astype(object), "source": value.astype(object), "disturbed": error.isna()}
    return Points(meta, **table, invalid={})


def test_what_is_clear_is_certain_and_what_is_not_is_contested() -> None:
    found = points([(1, 0.4), (2, 0.6), (3, 0.5), (2.001, 0.6)], [(0.01, 0.001)] * 4)
    odds = front_odds(found, [COST, SCORE])
    assert odds.standing == [Standing.CERTAIN, Standing.CONTESTED, Standing.DOMINATED, Standing.CONTESTED]
    assert odds.probability[1] > 0.4
    assert odds.probability[2] == 0.0


def test_without_the_figure_nothing_is_said() -> None:
    odds = front_odds(points([(1, 0.4), (np.nan, 0.9)]), [COST, SCORE])
    assert odds.standing == [Standing.CERTAIN, Standing.UNKNOWN]
    assert np.isnan(odds.probability[1])


def test_nothing_to_compare_has_no_odds() -> None:
    assert front_odds(points([(np.nan, 0.4)]), [COST, SCORE]).standing == [Standing.UNKNOWN]
    assert FrontOdds(np.empty(0)).standing == []


def test_who_dominates_by_how_much_and_how_surely() -> None:
    drawn = draw(points([(1, 0.4), (2, 0.6), (3, 0.5)], [(0.01, 0.01)] * 3), [COST, SCORE])
    assert dominators(drawn, [COST, SCORE], 0) == []
    (only,) = dominators(drawn, [COST, SCORE], 2)
    assert only.index == 1
    assert only.probability > 0.99
    assert only.gains == pytest.approx({COST: 1.0, SCORE: 0.1})


def test_the_hypervolume_is_the_share_of_the_box() -> None:
    drawn = draw(points([(1, 0.4), (2, 0.6), (3, 0.4)]), [COST, SCORE])
    found = hypervolume(drawn, [COST, SCORE])
    assert found is not None
    # From the corner (3 J, 0.4): (2 J, 0.6) covers half of the box, and (1 J, 0.4) an edge without area.
    assert (found.value, found.low, found.high) == pytest.approx((0.5, 0.5, 0.5))
    assert hypervolume(draw(points([(1, 0.4)]), [COST, SCORE]), [COST, SCORE]) is None


figures = st.one_of(st.integers(0, 4).map(float), st.sampled_from([np.nan, np.inf, -np.inf]))


@given(st.lists(st.tuples(figures, figures), min_size=1, max_size=8))
def test_whoever_is_no_contender_is_on_no_front(values: list[tuple[float, float]]) -> None:
    found = points(values)
    near = contenders(found, [COST, SCORE])
    front = found.front([COST, SCORE])
    assert (near | ~front).all()
    assert near.tolist() == front.tolist(), "without errors only the front is left"


@given(
    st.lists(st.tuples(st.floats(1, 2), st.floats(0.2, 0.9)), min_size=2, max_size=25),
    st.floats(0.0005, 0.05),
)
@settings(max_examples=50)
def test_leaving_out_what_is_no_contender_changes_no_probability(
    values: list[tuple[float, float]], noise: float
) -> None:
    """Against the plain count over all options, in the same draws."""
    found = points(values, [(noise * cost, noise * score) for cost, score in values])
    near = contenders(found, [COST, SCORE])
    drawn = draw(found, [COST, SCORE])
    figures = drawn.each([COST, SCORE])
    plain = front_share(figures, ["lower", "higher"])
    assert plain[~near] == pytest.approx(0.0, abs=0.005)
    assert front_share([one[:, near] for one in figures], ["lower", "higher"]) == pytest.approx(plain[near], abs=0.005)


@settings(max_examples=50)
@given(st.integers(0, 2**32 - 1), st.sampled_from([0.0, 0.01, 0.1, 1.0]), st.integers(2, 120))
def test_contenders_are_those_that_no_other_beats_however_both_are_measured(
    seed: int, noise: float, count: int
) -> None:
    rng = np.random.default_rng(seed)
    values = np.round(rng.random((count, 2)), 1)
    errors = np.round(noise * rng.random((count, 2)) / 5, 3)
    found = points([tuple(row) for row in values.tolist()], [tuple(row) for row in errors.tolist()])
    costs, doubt = values * [1, -1], 5 * errors
    best, worst = costs - doubt, costs + doubt
    beaten = [
        any((worst[j] <= best[i]).all() and (worst[j] < best[i]).any() for j in range(count)) for i in range(count)
    ]
    assert contenders(found, [COST, SCORE]).tolist() == [not one for one in beaten]


@pytest.mark.parametrize(("options", "draws"), [(1, DRAWS), (50, DRAWS), (250, 200), (5_000, 64), (0, DRAWS)])
def test_of_very_many_fewer_draws_are_counted(options: int, draws: int) -> None:
    assert enough_draws(options) == draws


@given(st.lists(st.sampled_from([0.0, 0.04, 0.05, 0.051, 0.5, 0.9499, 0.95, 1.0, np.nan]), max_size=9))
def test_each_probability_has_its_word(probabilities: list[float]) -> None:
    def word(probability: float) -> Standing:
        if np.isnan(probability):
            return Standing.UNKNOWN
        if probability >= SURE:
            return Standing.CERTAIN
        return Standing.CONTESTED if probability > 1 - SURE else Standing.DOMINATED

    assert FrontOdds(np.array(probabilities)).standing == [word(one) for one in probabilities]


@given(st.lists(st.tuples(st.integers(0, 6), st.integers(0, 6)), min_size=2, max_size=10))
@settings(max_examples=200)
def test_the_hypervolume_is_the_area_counted_cell_by_cell(values: list[tuple[int, int]]) -> None:
    table = np.array(values, dtype=float)
    found = hypervolume(exact(table), [COST, SCORE])
    low, high = table.min(axis=0), table.max(axis=0)
    width = np.where(high > low, high - low, 1)
    cells = itertools.product(range(int(width[0])), range(int(width[1])))
    # A cell is dominated if an option costs no more than its left edge and scores no less than its upper one.
    inside = [
        ((table[:, 0] <= low[0] + x) & (table[:, 1] >= high[1] - y)).any()
        for x, y in cells
        if high[0] > low[0] and high[1] > low[1]
    ]
    shifted = [
        ((table[:, 0] <= low[0] + x) & (table[:, 1] >= low[1] + y + 1)).any()
        for x, y in itertools.product(range(int(width[0])), range(int(width[1])))
    ]
    assert found is not None
    assert len(inside) in (0, len(shifted))
    degenerate = high[0] == low[0] or high[1] == low[1]
    if not degenerate:
        assert found.value == pytest.approx(np.mean(shifted))


def exact(table: np.ndarray) -> Draws:
    found = points([(float(a), float(b)) for a, b in table])
    return Draws(
        found, (COST, SCORE), np.repeat(table[None], 3, axis=0), np.zeros(table.shape, dtype=bool), frozenset()
    )


@given(
    st.lists(st.lists(st.tuples(st.integers(0, 3), st.integers(0, 3)), min_size=4, max_size=4), min_size=1, max_size=6)
)
def test_the_share_counts_fronts_found_by_definition(draws: list[list[tuple[int, int]]]) -> None:
    values = np.array(draws, dtype=float)
    by_hand = np.zeros(4)
    for one in values:
        for i, own in enumerate(one):
            beaten = any(
                other[0] <= own[0] and other[1] >= own[1] and (other[0] < own[0] or other[1] > own[1]) for other in one
            )
            by_hand[i] += not beaten
    assert front_share([*np.moveaxis(values, 2, 0)], ["lower", "higher"]) == pytest.approx(by_hand / len(values))

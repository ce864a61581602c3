"""Losses and scores: no unit decides, nobody beaten wins, and the map says what each mix says by itself."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pymcdm.methods import TOPSIS, WSM
from pymcdm.normalizations import minmax_normalization

from tests.analysis.constructed import AXES, ENERGY, MEMORY, QUALITY, SPEED, points
from trilemma.analysis.decision_map import best, decision_map, weight_grid
from trilemma.analysis.draws import draw
from trilemma.analysis.front import on_front
from trilemma.analysis.odds import directions
from trilemma.analysis.scoring import Normalisation, ScoringMethod, axis_losses, scores
from trilemma.schema import Axis

KEYS = [MEMORY, SPEED, QUALITY]
ALL = list(Axis)
NAMES = ("F16", "Q8_0", "Q6_K", "Q4_K_M", "Q2_K")
TABLES = st.lists(st.tuples(*[st.integers(1, 6).map(float)] * 3), min_size=1, max_size=5).map(np.array)
WEIGHTS = st.tuples(*[st.integers(0, 10)] * 3).filter(any).map(lambda w: np.array(w, dtype=float) / sum(w))
GAPPY = st.lists(
    st.tuples(*[st.one_of(st.integers(1, 5).map(float), st.sampled_from([np.nan, np.inf, -np.inf]))] * 3),
    min_size=1,
    max_size=8,
).map(np.array)
"""Ties, duplicates, and figures that are missing or infinite."""
BROKEN = st.lists(
    st.tuples(st.integers(0, 4), st.integers(0, 2), st.sampled_from([np.nan, np.inf, -np.inf])), max_size=3
)
"""Copies of rows that lack a figure."""
METHODS, SCALES = st.sampled_from(ScoringMethod), st.sampled_from(Normalisation)


def by_hand(table: np.ndarray, scale: Normalisation) -> np.ndarray:
    """The figures as costs on their scale, cell by cell; NaN where unknown."""
    costs = np.full(table.shape, np.nan)
    for column, sign in enumerate((1, -1, -1)):
        known = [float(x) for x in table[:, column] if np.isfinite(x)]
        for row, x in enumerate(table[:, column]):
            if np.isfinite(x) and scale is Normalisation.RANK:
                better = sum(sign * y < sign * x for y in known)
                costs[row, column] = better + sum(y == x for y in known) / 2
            elif np.isfinite(x):
                costs[row, column] = sign * (np.log(x) if scale is Normalisation.LOG_RANGE else x)
    return costs


@given(table=TABLES, scale=SCALES)
def test_losses_go_from_0_to_1_and_better_is_less(table: np.ndarray, scale: Normalisation) -> None:
    losses = axis_losses(table, KEYS, ALL, scale)
    assert losses.min() >= 0 and losses.max() <= 1
    costs = table * [1, -1, -1]
    for column in range(3):
        order = np.sign(costs[:, None, column] - costs[None, :, column])
        assert (np.sign(losses[:, None, column] - losses[None, :, column]) == order).all()


@given(table=TABLES, scale=SCALES, factor=st.sampled_from([1e-9, 1e6]))
def test_no_unit_decides(table: np.ndarray, scale: Normalisation, factor: float) -> None:
    assert axis_losses(table * factor, KEYS, ALL, scale) == pytest.approx(axis_losses(table, KEYS, ALL, scale))


@given(table=TABLES, weights=WEIGHTS, method=METHODS, scale=SCALES)
def test_nobody_wins_who_is_beaten_in_everything(
    table: np.ndarray, weights: np.ndarray, method: ScoringMethod, scale: Normalisation
) -> None:
    scored = scores(axis_losses(table, KEYS, ALL, scale), weights, method)
    least = scored <= scored.min() + 1e-12
    assert (least & on_front(table, directions(KEYS))).any()


@given(table=TABLES, broken=BROKEN, weights=WEIGHTS, scale=SCALES)
def test_scores_are_those_of_an_independent_library(
    table: np.ndarray, broken: list[tuple[int, int, float]], weights: np.ndarray, scale: Normalisation
) -> None:
    count = len(table)
    for row, column, gap in broken:
        lacking = table[row % count].copy()
        lacking[column] = gap
        table = np.vstack([table, lacking])
    losses = axis_losses(table, KEYS, ALL, scale)
    summed = scores(losses, weights, ScoringMethod.WEIGHTED_SUM)
    distances = scores(losses, weights, ScoringMethod.TOPSIS)
    assert np.isnan(summed[count:]).all() and np.isnan(distances[count:]).all()
    # The library scales by range itself; it is handed costs that are ranks or logarithms already.
    costs = by_hand(table, scale)[:count]
    theirs = (costs, weights, -np.ones(3))
    assert summed[:count] == pytest.approx(1 - np.atleast_1d(WSM(minmax_normalization)(*theirs, validation=False)))
    if (np.ptp(costs, axis=0) * weights > 0).any():
        assert distances[:count] == pytest.approx(1 - np.atleast_1d(TOPSIS()(*theirs, validation=False)))
    else:
        assert distances[:count] == pytest.approx(0), "where all are equal nobody is far from the best"


@given(table=GAPPY, weights=WEIGHTS, scale=SCALES)
def test_chebyshev_is_the_worst_weighted_loss_and_a_little_of_all(
    table: np.ndarray, weights: np.ndarray, scale: Normalisation
) -> None:
    losses, costs = axis_losses(table, KEYS, ALL, scale), by_hand(table, scale)
    found = scores(losses, weights, ScoringMethod.CHEBYSHEV)
    for row in range(len(table)):
        weighted = []
        for column in range(3):
            known = [cost for cost in costs[:, column] if np.isfinite(cost)]
            width = max(known, default=0) - min(known, default=0)
            loss = (costs[row, column] - min(known, default=0)) / width if width else 0.0
            weighted.append(weights[column] * loss if np.isfinite(costs[row, column]) else np.nan)
        expected = max(weighted) + 0.05 * sum(weighted) if np.isfinite(weighted).all() else np.nan
        assert found[row] == pytest.approx(expected, nan_ok=True)


@given(table=GAPPY, scale=SCALES)
def test_what_is_missing_or_infinite_moves_nobody_else(table: np.ndarray, scale: Normalisation) -> None:
    known = np.isfinite(table[:, 0])
    losses = axis_losses(table, KEYS, ALL, scale)[:, 0]
    assert (np.isfinite(losses) == known).all()
    alone = table[known].copy()
    alone[:, 1:] = 1.0
    assert losses[known] == pytest.approx(axis_losses(alone, KEYS, ALL, scale)[:, 0])


def test_several_figures_of_an_axis_count_by_their_mean() -> None:
    table = np.array([[1.0, 10.0, 0.5, 0.2], [3.0, 30.0, 0.5, 0.6], [2.0, 10.0, 0.5, np.nan]])
    keys = [MEMORY, ENERGY, SPEED, QUALITY]
    found = axis_losses(
        table, keys, [Axis.EFFICIENCY, Axis.EFFICIENCY, Axis.SPEED, Axis.PERFORMANCE], Normalisation.RANGE
    )
    assert found == pytest.approx(np.array([[0, 0, 1], [1, 0, 0], [0.25, 0, np.nan]]), nan_ok=True)


def test_an_axis_on_which_all_are_equal_decides_nothing_under_topsis() -> None:
    table = np.array([[1.0, 5.0, 0.5], [2.0, 9.0, 0.5], [3.0, 10.0, 0.5]])
    equal = scores(axis_losses(table, KEYS, ALL, Normalisation.RANGE), [0.2, 0.2, 0.6], ScoringMethod.TOPSIS)
    without = scores(axis_losses(table, KEYS, ALL, Normalisation.RANGE), [0.5, 0.5, 0.0], ScoringMethod.TOPSIS)
    assert equal == pytest.approx(without)


@settings(max_examples=20)
@given(table=TABLES, method=METHODS, scale=SCALES)
def test_the_map_says_what_each_mix_says_by_itself(
    table: np.ndarray, method: ScoringMethod, scale: Normalisation
) -> None:
    of = points({NAMES[row]: one.tolist() for row, one in enumerate(table)}, relative=0.05)
    drawn = draw(of, KEYS, count=100)
    found = decision_map(drawn, AXES, steps=4, method=method, normalisation=scale)
    assert found.share.sum(axis=1) == pytest.approx(1.0)
    for weights, rows_share, winner, probability in zip(
        found.weights, found.share, found.winner, found.probability, strict=True
    ):
        ranked = best(drawn, AXES, weights.tolist(), method=method, normalisation=scale)
        assert ranked.probability.sum() == pytest.approx(1.0)
        assert ranked.probability[found.rows] == pytest.approx(rows_share)
        assert ranked.probability[winner] == pytest.approx(probability)
        assert ranked.probability[ranked.pick] == pytest.approx(probability)
    assert sum(found.won().values()) == pytest.approx(1.0)


def test_only_the_eligible_win_and_are_the_measure() -> None:
    of = points({"F16": (1.0, 9.0, 0.9), "Q8_0": (2.0, 5.0, 0.5), "Q2_K": (3.0, 4.0, 0.6)}, relative=0.001)
    drawn = draw(of, KEYS)
    ranked = best(drawn, AXES, [1, 1, 1], eligible=np.array([False, True, True]))
    assert ranked.probability[0] == 0
    assert (ranked.pick, ranked.runner_up) == (1, 2)
    with pytest.raises(ValueError, match="no configuration may win"):
        best(drawn, AXES, [1, 1, 1], eligible=np.zeros(3, dtype=bool))
    with pytest.raises(ValueError, match="no configuration may win"):
        decision_map(drawn, AXES, eligible=np.zeros(3, dtype=bool))


def test_the_grid_has_every_mix_once() -> None:
    grid = weight_grid(10)
    assert len(grid) == 66 == len(np.unique(grid, axis=0))
    assert grid.sum(axis=1) == pytest.approx(1.0)

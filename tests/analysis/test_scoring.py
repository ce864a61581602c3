"""Losses and scores: no unit decides, nobody beaten wins, and the map says what each mix says by itself."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.analysis.constructed import AXES, MEMORY, QUALITY, SPEED, points
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
METHODS, SCALES = st.sampled_from(ScoringMethod), st.sampled_from(Normalisation)


@settings(deadline=None)
@given(table=TABLES, scale=SCALES)
def test_losses_go_from_0_to_1_and_better_is_less(table: np.ndarray, scale: Normalisation) -> None:
    losses = axis_losses(table, KEYS, ALL, scale)
    assert losses.min() >= 0 and losses.max() <= 1
    costs = table * [1, -1, -1]
    for column in range(3):
        order = np.sign(costs[:, None, column] - costs[None, :, column])
        assert (np.sign(losses[:, None, column] - losses[None, :, column]) == order).all()


@settings(deadline=None)
@given(table=TABLES, scale=SCALES, factor=st.sampled_from([1e-9, 1e6]))
def test_no_unit_decides(table: np.ndarray, scale: Normalisation, factor: float) -> None:
    assert axis_losses(table * factor, KEYS, ALL, scale) == pytest.approx(axis_losses(table, KEYS, ALL, scale))


@settings(deadline=None)
@given(table=TABLES, weights=WEIGHTS, method=METHODS, scale=SCALES)
def test_nobody_wins_who_is_beaten_in_everything(
    table: np.ndarray, weights: np.ndarray, method: ScoringMethod, scale: Normalisation
) -> None:
    scored = scores(axis_losses(table, KEYS, ALL, scale), weights, method)
    least = scored <= scored.min() + 1e-12
    assert (least & on_front(table, directions(KEYS))).any()


@settings(deadline=None)
@given(table=TABLES, weights=WEIGHTS, scale=SCALES)
def test_scores_are_those_of_their_definitions(table: np.ndarray, weights: np.ndarray, scale: Normalisation) -> None:
    losses = axis_losses(table, KEYS, ALL, scale)
    for row, one in enumerate(losses):
        weighted = [float(w * x) for w, x in zip(weights, one, strict=True)]
        assert scores(losses, weights, ScoringMethod.WEIGHTED_SUM)[row] == pytest.approx(sum(weighted))
        assert scores(losses, weights, ScoringMethod.CHEBYSHEV)[row] == pytest.approx(
            max(weighted) + 0.05 * sum(weighted)
        )
        far = sum((w * (1 - x)) ** 2 for w, x in zip(weights, one, strict=True)) ** 0.5
        near = sum(x**2 for x in weighted) ** 0.5
        assert scores(losses, weights, ScoringMethod.TOPSIS)[row] == pytest.approx(near / (near + far))


@settings(max_examples=20, deadline=None)
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

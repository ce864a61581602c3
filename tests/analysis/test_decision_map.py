"""Who wins under which priorities, against counting one draw, one mix and one option at a time."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.analysis.constructed import AXES, MEMORY, QUALITY, SPEED, points
from trilemma.analysis.decision_map import best, decision_map, weight_grid, wins
from trilemma.analysis.draws import draw
from trilemma.analysis.limits import Limit, keeps_in_draws
from trilemma.analysis.recommendation import Priorities, recommend
from trilemma.analysis.scoring import Normalisation, ScoringMethod
from trilemma.schema import Axis

KEYS = [MEMORY, SPEED, QUALITY]
EQUAL = [1 / 3, 1 / 3, 1 / 3]
LOSS = st.one_of(st.integers(0, 4).map(lambda x: x / 4), st.just(np.nan))
DRAWN = st.integers(1, 6).flatmap(
    lambda options: st.lists(
        st.lists(st.tuples(LOSS, LOSS, LOSS), min_size=options, max_size=options), min_size=1, max_size=3
    )
)


def score(loss: list[float], weights: list[float], method: ScoringMethod, rivals: list[list[float]]) -> float:
    weighted = [w * x for w, x in zip(weights, loss, strict=True)]
    if method is ScoringMethod.WEIGHTED_SUM:
        return sum(weighted)
    if method is ScoringMethod.CHEBYSHEV:
        return max(weighted) + 0.05 * sum(weighted)
    ideal, worst = ([end(column) for column in zip(*rivals, strict=True)] for end in (min, max))
    near, far = (
        sum((w * (x - y)) ** 2 for w, x, y in zip(weights, loss, to, strict=True)) ** 0.5 for to in (ideal, worst)
    )
    return near / (near + far) if near + far else 0.0


def beaten(one: list[float], rivals: list[list[float]]) -> bool:
    return any(all(x <= y for x, y in zip(rival, one, strict=True)) and rival != one for rival in rivals)


@settings(max_examples=200)
@given(losses=DRAWN, method=st.sampled_from(ScoringMethod))
def test_shares_are_those_counted_one_by_one(
    losses: list[list[tuple[float, float, float]]], method: ScoringMethod
) -> None:
    grid = weight_grid(4)
    expected = np.zeros((len(grid), len(losses[0])))
    for one in losses:
        known = {i: list(loss) for i, loss in enumerate(one) if np.isfinite(loss).all()}
        for mix, weights in enumerate(grid.tolist()):
            scored = {i: score(loss, weights, method, list(known.values())) for i, loss in known.items()}
            least = {
                i for i, x in scored.items()
                if x <= min(scored.values()) + 1e-12 and not beaten(known[i], list(known.values()))
            }  # fmt: skip
            for i in least:
                expected[mix, i] += 1 / len(least) / len(losses)
    assert wins(np.array(losses, dtype=float), grid, method) == pytest.approx(expected)


@pytest.mark.parametrize("method", ScoringMethod)
def test_many_options_are_scored_in_pieces_and_none_is_lost(method: ScoringMethod) -> None:
    rng = np.random.default_rng(1)
    direction = np.abs(rng.normal(size=(5000, 3)))
    losses = 1 - direction / np.linalg.norm(direction, axis=1, keepdims=True)
    grid = weight_grid(6)
    found = wins(losses[None], grid, method)
    rivals = losses.tolist()
    for mix, weights in enumerate(grid.tolist()):
        if method is ScoringMethod.TOPSIS:
            away = [np.sqrt((((losses - end) * weights) ** 2).sum(axis=1)) for end in (losses.min(0), losses.max(0))]
            scored = (away[0] / (away[0] + away[1])).tolist()
        else:
            scored = [score(loss, weights, method, rivals) for loss in rivals]
        assert found[mix, int(np.argmin(scored))] > 0
    assert found.sum(axis=1) == pytest.approx(1.0)


@pytest.mark.parametrize("method", ScoringMethod)
def test_the_map_says_at_each_place_what_the_ranking_says_there(method: ScoringMethod) -> None:
    rows = {name: (100.0 + one, 50.0 - one, 0.4 + one / 50) for one, name in enumerate(["F16", "Q8_0", "Q6_K", "Q2_K"])}
    drawn = draw(points(rows, relative=0.1), KEYS)
    whole = decision_map(drawn, AXES, steps=6, method=method)
    for mix, weights in enumerate(whole.weights):
        ranked = best(drawn, AXES, weights.tolist(), method=method)
        assert whole.share[mix] == pytest.approx(ranked.probability[whole.rows])
        assert whole.probability[mix] == pytest.approx(ranked.probability.max())


def test_options_that_are_all_equal_share_every_draw() -> None:
    losses = np.full((3, 50, 3), 0.5)
    assert wins(losses, weight_grid(4), ScoringMethod.CHEBYSHEV) == pytest.approx(np.full((15, 50), 1 / 50))


def test_an_infinite_figure_is_none_and_spoils_nobody_elses() -> None:
    rows = {"F16": (1.0, 9.0, 0.9), "Q8_0": (2.0, 5.0, 0.5), "Q2_K": (3.0, 10.0, 0.6)}
    usual = best(draw(points(rows), KEYS), AXES, EQUAL)
    of = points({**rows, "Q6_K": (np.inf, 99.0, 0.99)})
    drawn = draw(of, KEYS)
    assert best(drawn, AXES, EQUAL).pick == usual.pick
    assert decision_map(drawn, AXES, steps=4).share.shape[1] <= 3
    told = recommend(drawn, Priorities(AXES, dict.fromkeys(Axis, 1.0)))
    assert told.pick == f"id-{list(rows)[usual.pick]}"
    assert not of.complete(KEYS)[3]


@pytest.mark.parametrize("normalisation", Normalisation)
def test_a_draw_that_breaks_a_limit_is_lost(normalisation: Normalisation) -> None:
    of = points({"F16": (100.0, 50.0, 0.8), "Q8_0": (200.0, 40.0, 0.7)}, relative=0.05)
    drawn = draw(of, KEYS)
    eligible = keeps_in_draws(drawn, [Limit(MEMORY, "<=", 100.0)])
    assert not eligible[:, 1].any()
    ranked = best(drawn, AXES, EQUAL, normalisation=normalisation, eligible=eligible)
    assert ranked.probability == pytest.approx([eligible[:, 0].mean(), 0])
    assert 0.3 < ranked.probability[0] < 0.7, "the draws in which nothing keeps the limit are won by nobody"
    whole = decision_map(drawn, AXES, steps=3, normalisation=normalisation, eligible=eligible)
    assert whole.probability == pytest.approx(eligible[:, 0].mean())
    assert set(whole.winner) == {0}
    by_configuration = best(drawn, AXES, EQUAL, normalisation=normalisation, eligible=np.array([True, False]))
    assert by_configuration.probability == pytest.approx([1, 0])


def test_the_other_wins_the_draws_that_the_better_one_loses_by_a_limit() -> None:
    of = points({"F16": (100.0, 50.0, 0.8), "Q8_0": (60.0, 40.0, 0.7)}, relative=0.05)
    drawn = draw(of, KEYS)
    eligible = keeps_in_draws(drawn, [Limit(MEMORY, "<=", 100.0)])
    quality = [0.0, 0.0, 1.0]
    ranked = best(drawn, AXES, quality, eligible=eligible)
    better = drawn.values[:, 0, 2] > drawn.values[:, 1, 2]
    assert ranked.probability[0] == pytest.approx((eligible[:, 0] & (better | ~eligible[:, 1])).mean())
    assert ranked.probability.sum() == pytest.approx(1.0)

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from tests.analysis import constructed
from tests.factory import fill_store, points_of
from trilemma.analysis.draws import draw, scores_by_item, together
from trilemma.analysis.points import Points
from trilemma.store import Store

SPEED, QUALITY, MEMORY = "decode_tps@short_chat", "accuracy_norm@hellaswag", "peak_memory_bytes"


@pytest.fixture
def points(store: Store) -> Points:
    fill_store(store)
    return points_of(store, SPEED, QUALITY, MEMORY)


def items(store: Store, points: Points) -> dict[str, dict[str, dict[str, float]]]:
    runs = store.run_frame()["run_id"].tolist()
    return {QUALITY: scores_by_item(store.score_frame("hellaswag", "accuracy_norm", runs))}


def test_draws_scatter_around_what_was_measured(points: Points) -> None:
    found = draw(points, [SPEED, MEMORY])
    assert found.values.shape == (1000, 9, 2)
    assert found.values.mean(axis=0) == pytest.approx(found.value, rel=0.02)
    inside = (found.values >= points.low[[SPEED, MEMORY]].to_numpy()) & (
        found.values <= points.high[[SPEED, MEMORY]].to_numpy()
    )
    assert 0.92 < inside.mean() < 0.98
    assert (found.values > 0).all()


def test_the_same_draws_every_time_whatever_else_is_drawn(points: Points) -> None:
    one, other = draw(points, [SPEED, QUALITY]), draw(points, [MEMORY, SPEED])
    assert np.array_equal(one.of([SPEED]), other.of([SPEED]))


def test_scores_are_drawn_by_common_items(store: Store, points: Points) -> None:
    assert draw(points, [QUALITY], items(store, points)).paired == {QUALITY}
    two = points.select(np.array([0, 1]))
    same = {str(i): float(i % 2) for i in range(200)}
    scores = dict(zip(two.meta.index, (same, same | {"0": 1.0, "1": 0.0}), strict=True))
    paired, alone = draw(two, [QUALITY], {QUALITY: scores}), draw(two, [QUALITY])
    spread = [np.std(found.values[:, 0, 0] - found.values[:, 1, 0]) for found in (paired, alone)]
    assert spread[0] < 0.3 * spread[1], "what the questions have in common cancels"


def test_a_figure_is_not_paired_unless_all_answered_the_same_items(store: Store, points: Points) -> None:
    scores = items(store, points)
    first = next(iter(scores[QUALITY]))
    scores[QUALITY][first] = dict(list(scores[QUALITY][first].items())[1:])
    assert draw(points, [QUALITY], scores).paired == frozenset()


def test_shares_have_jeffreys_posterior(points: Points) -> None:
    """Twelve wrong answers of twelve do not prove that none is ever right."""
    one = points.select(np.array([0]))
    scores = {QUALITY: {str(one.meta.index[0]): {str(i): 0.0 for i in range(12)}}}
    drawn = draw(one, [QUALITY], scores, count=4000).values[:, 0, 0]
    assert np.quantile(drawn, 0.975) == pytest.approx(stats.beta(0.5, 12.5).ppf(0.975), rel=0.1)


def test_answers_alike_do_not_prove_that_two_never_differ(points: Points) -> None:
    scores = {name: {str(i): 1.0 for i in range(12)} for name in points.meta.index}
    values = draw(points, [QUALITY], {QUALITY: scores}).values[:, :, 0]
    best = np.bincount(values.argmax(axis=1), minlength=len(points)) / len(values)
    assert best.max() < 0.3, "nine of one model family that solved everything: none of them is surely the best"
    two = points.select(np.array([0, 1]))
    gap = np.diff(draw(two, [QUALITY], {QUALITY: {name: scores[name] for name in two.meta.index}}).values[:, :, 0])
    # A quarter of a wrong answer for each alone, in 13 in all.
    assert np.std(gap) == pytest.approx(np.sqrt(2 * 0.25 / 13 / 14), rel=0.15)


def test_a_missing_figure_stays_missing(store: Store) -> None:
    fill_store(store)
    found = points_of(store, SPEED, "perplexity@nowhere")
    assert np.isnan(draw(found, ["perplexity@nowhere"]).values).all()


def test_an_unknown_error_is_said(store: Store) -> None:
    fill_store(store, repeats=1)
    found = points_of(store, MEMORY)
    drawn = draw(found, [MEMORY])
    blank = ~np.isfinite(found.error[MEMORY].to_numpy())
    assert drawn.unknown[:, 0].tolist() == blank.tolist()
    assert (drawn.values[:, blank, 0] == drawn.value[blank, 0]).all()


def test_scores_come_from_the_run_that_answered_most() -> None:
    rows = [("r1", "c", "a", 0.0), ("r1", "c", "b", 1.0), ("r2", "c", "a", 1.0), ("r3", "d", "a#0", 1.0)]
    rows.append(("r3", "d", "a#1", 0.0))
    frame = pd.DataFrame(rows, columns=["run_id", "configuration_id", "item_id", "score"])
    assert scores_by_item(frame) == {"c": {"a": 0.0, "b": 1.0}, "d": {"a": 0.5}}


def test_figures_drawn_one_by_one_are_drawn_as_if_at_once() -> None:
    rows = {
        "F16": (400.0, 30.0, 0.5),
        "Q8_0": (200.0, 50.0, 0.4),
        "Q6_K": (160.0, 60.0, 0.45),
        "Q2_K": (80.0, 90.0, 0.3),
    }
    found = constructed.points(rows, unknown=["decode_tps@short_chat"])
    whole = draw(found, found.keys, count=50)
    parts = together(found, [draw(found, [key], count=50) for key in found.keys])
    assert parts.keys == whole.keys
    assert np.array_equal(parts.values, whole.values)
    assert np.array_equal(parts.unknown, whole.unknown)

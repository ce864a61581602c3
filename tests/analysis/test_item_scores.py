"""Scores by item, read once for every page and the report."""

from __future__ import annotations

import numpy as np

from tests.factory import DEMO, fill_store, points_of
from trilemma.analysis.draws import scores_by_item
from trilemma.analysis.item_scores import is_mean, read_item_scores
from trilemma.analysis.points import Points
from trilemma.store import Store

QUALITY = "accuracy_norm@hellaswag"


def agreeing(store: Store, study_id: str) -> Points:
    """All configurations, with what their answers average to for a figure."""
    points = points_of(store, QUALITY, "decode_tps@short_chat")
    runs = store.answer_frame(study_id)
    tables = scores_by_item(store.score_frame("hellaswag", "accuracy_norm", runs["run_id"].tolist()))
    for one, table in tables.items():
        points.value.loc[one, QUALITY] = float(np.mean(list(table.values())))
    return points


def test_the_scores_behind_a_figure_are_read_for_whom_they_average_to_it(store: Store) -> None:
    study = fill_store(store, DEMO[:3], 2)
    points = agreeing(store, study.id)
    items, too_many = read_item_scores(store, study.id, points, points.keys)
    assert set(items) == {QUALITY} and not too_many
    assert set(items[QUALITY]) == set(points.meta.index)
    assert read_item_scores(store, "", points, points.keys).items == items
    one = points.select(np.array([True, False, False]))
    assert set(read_item_scores(store, study.id, one, [QUALITY]).items[QUALITY]) == set(one.meta.index)
    first, *others = points.meta.index
    points.value.loc[first, QUALITY] += 0.01
    assert set(read_item_scores(store, study.id, points, [QUALITY]).items[QUALITY]) == set(others)
    points.value.loc[first, QUALITY] = np.nan
    assert set(read_item_scores(store, study.id, points, [QUALITY]).items[QUALITY]) == {first, *others}


def test_very_many_answers_are_not_read(store: Store) -> None:
    study = fill_store(store, DEMO[:2], 1)
    points = points_of(store, QUALITY)
    assert read_item_scores(store, study.id, points, [QUALITY], most=199) == ({}, (QUALITY,))
    assert read_item_scores(store, study.id, points, [QUALITY], most=200).too_many == ()


def test_what_is_a_mean() -> None:
    assert is_mean(0.5, {"a": 1.0, "b": 0.0})
    assert is_mean(float("nan"), {"a": 1.0})
    assert not is_mean(0.6, {"a": 1.0, "b": 0.0})
    assert not is_mean(0.0, {})

from __future__ import annotations

import dataclasses

import numpy as np
import pandas as pd
import pytest

from tests.factory import DEMO, fill_store
from trilemma.analysis.joined import joined
from trilemma.analysis.points import Points, configuration_meta, configuration_points
from trilemma.schema import RunState
from trilemma.store import Store

KEYS = ["peak_memory_bytes", "decode_tps@short_chat", "accuracy_norm@hellaswag", "kl_divergence@divergence.mean"]


def read(store: Store, keys: list[str], meta: pd.DataFrame | None = None) -> Points:
    artifacts = {one.id: one for one in store.artifacts(forgotten=True)}
    return configuration_points(store.figure_frame(keys), store.run_frame(), artifacts, keys, meta)


def everything(store: Store) -> pd.DataFrame:
    runs = store.run_frame()
    artifacts = {one.id: one for one in store.artifacts(forgotten=True)}
    return configuration_meta(runs[runs["state"] == RunState.DONE], runs, artifacts)


@pytest.mark.parametrize("split", [[KEYS], [KEYS[:1], KEYS[1:]], [[key] for key in KEYS]])
def test_figures_read_apart_are_those_read_together(store: Store, split: list[list[str]]) -> None:
    fill_store(store)
    meta = everything(store)
    parts = {key: part for keys in split for part in [read(store, keys, meta)] for key in keys}
    found, whole = joined(parts, meta), read(store, KEYS)
    for field in dataclasses.fields(Points):
        one, other = getattr(found, field.name), getattr(whole, field.name)
        if isinstance(one, pd.DataFrame):
            pd.testing.assert_frame_equal(
                one, other, check_dtype=False, check_column_type=False, check_names=False, check_index_type=False
            )
    assert found.invalid == whole.invalid


def test_who_lacks_a_figure_is_blank_and_who_lacks_all_is_left_out(store: Store) -> None:
    fill_store(store, DEMO[:3], 1, detail=False)
    meta = everything(store)
    memory, speed = (read(store, [key], meta) for key in KEYS[:2])
    some = speed.select(np.array([True, False, False]))
    found = joined({KEYS[0]: memory.select(np.array([True, True, False])), KEYS[1]: some}, meta)
    assert found.meta.index.tolist() == meta.index[:2].tolist()
    assert np.isnan(found.value[KEYS[1]].iloc[1])
    assert found.runs[KEYS[1]].tolist() == [1, 0]
    assert found.disturbed[KEYS[1]].tolist() == [bool(some.disturbed[KEYS[1]].iloc[0]), False]
    assert len(joined({KEYS[0]: memory.select(np.zeros(3, dtype=bool))}, meta)) == 0

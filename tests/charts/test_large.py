"""A chart for the back of the room says the same in larger type."""

from __future__ import annotations

import numpy as np

from tests.factory import fill_store, points_of
from trilemma.charts.large import enlarged
from trilemma.charts.pareto import pareto_figure
from trilemma.store import Store

X, Y = "energy_per_token_j@short_chat", "accuracy_norm@hellaswag"


def test_type_and_marks_grow_and_the_data_stay(store: Store) -> None:
    fill_store(store, detail=False)
    small = pareto_figure(points_of(store, X, Y), X, Y)
    before = small.to_json()
    large = enlarged(small, 640)
    assert small.to_json() == before
    assert large.layout.height == 640
    assert large.layout.xaxis.title.font.size > small.layout.xaxis.title.font.size
    assert large.layout.xaxis.tickfont.size > small.layout.xaxis.tickfont.size
    for one, other in zip(small.data, large.data, strict=True):
        np.testing.assert_array_equal(one.x, other.x)
        if one.mode == "markers" and one.marker.size is not None:
            assert (np.asarray(other.marker.size) > np.asarray(one.marker.size)).all()

"""How surely limits are kept, and which to loosen."""

from __future__ import annotations

import numpy as np
import pytest

from tests.analysis.constructed import MEMORY, QUALITY, SPEED, points
from trilemma.analysis.draws import draw
from trilemma.analysis.limits import Limit, keeps, keeps_all, parse_limit, relaxation, within
from trilemma.analysis.preferences import limit_text

KEYS = [MEMORY, SPEED, QUALITY]
ROWS = {"F16": (300e6, 50.0, 0.5), "Q8_0": (160e6, 100.0, 0.4), "Q2_K": (90e6, np.nan, 0.3)}


def test_how_surely_is_the_share_of_draws() -> None:
    drawn = draw(points(ROWS, relative=0.01), KEYS)
    limits = [Limit(MEMORY, "<=", 160e6), Limit(SPEED, ">=", 49.0)]
    found = keeps(drawn, limits)
    assert found.shape == (3, 2)
    assert found[:, 0] == pytest.approx([0, 0.5, 1], abs=0.06)
    assert found[:, 1] == pytest.approx([0.98, 1, 0], abs=0.02), "what lacks the figure is not known to keep it"
    assert (keeps_all(drawn, limits) <= found.min(axis=1)).all()
    assert keeps_all(drawn, []) == pytest.approx([1, 1, 1])


def test_the_limit_that_must_be_loosened_least_is_loosened_until_it_lets_one_in() -> None:
    of = points(ROWS)
    limits = [Limit(MEMORY, "<=", 155e6), Limit(SPEED, ">=", 60.0), Limit(QUALITY, ">=", 0.35)]
    assert not within(of, limits).any()
    found = relaxation(draw(of, KEYS), limits)
    assert found is not None
    assert (found.limit, found.admits) == (limits[0], 1)
    assert 160e6 <= found.value < 161.1e6
    assert within(of, [found.loosened, *limits[1:]]).tolist() == [False, True, False]
    shown = parse_limit(limit_text(found.loosened), KEYS)
    assert within(of, [shown, *limits[1:]]).tolist() == [False, True, False], "as it is written it lets it in, too"


def test_where_no_limit_alone_is_to_blame_nothing_is_suggested() -> None:
    of = points({"F16": (300e6, 50.0, 0.5)})
    assert relaxation(draw(of, KEYS), [Limit(MEMORY, "<=", 1e6), Limit(SPEED, ">=", 99.0)]) is None
    only = relaxation(draw(of, KEYS), [Limit(SPEED, ">=", 99.0)], np.array([False]))
    assert only is None

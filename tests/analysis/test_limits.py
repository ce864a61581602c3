"""How surely limits are kept, and which to loosen."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.analysis.constructed import MEMORY, QUALITY, SPEED, points
from trilemma.analysis.draws import draw
from trilemma.analysis.limits import (
    Limit,
    exclusion,
    keeps,
    keeps_all,
    keeps_in_draws,
    kept,
    parse_limit,
    relaxation,
    within,
)
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


def test_all_limits_are_kept_in_the_same_draw_or_not() -> None:
    drawn = draw(points(ROWS, relative=0.01), KEYS)
    limits = [Limit(MEMORY, "<=", 160e6), Limit(SPEED, ">=", 100.0)]
    expected = (drawn.values[:, :, 0] <= 160e6) & (drawn.values[:, :, 1] >= 100.0)
    assert (keeps_in_draws(drawn, limits) == expected).all()
    assert keeps_all(drawn, limits) == pytest.approx(expected.mean(axis=0))


def test_the_limit_that_alone_shuts_out_most_is_named_and_lets_the_next_in() -> None:
    of = points({
        "F16": (300e6, 90.0, 0.5), "Q8_0": (160e6, 100.0, 0.4), "Q6_K": (130e6, 110.0, 0.4),
        "Q4_K_M": (90e6, 120.0, 0.3), "Q2_K": (80e6, np.nan, 0.4),
    })  # fmt: skip
    limits = [Limit(MEMORY, "<=", 120e6), Limit(QUALITY, ">=", 0.2), Limit(SPEED, ">=", 50.0)]
    found = exclusion(of, limits)
    assert found is not None
    assert (found.count, found.next.limit, found.next.admits) == (3, limits[0], 2)
    assert 130e6 <= found.next.value < 131.1e6
    shown = parse_limit(limit_text(found.next.loosened), KEYS)
    assert within(of, [shown, *limits[1:]]).tolist() == [False, False, True, True, False]
    assert exclusion(of, limits, np.array([True, True, False, True, True])) != found
    assert exclusion(of, limits[1:2]) is None, "everybody keeps it"
    assert exclusion(of, []) is None
    assert exclusion(of, [Limit(SPEED, ">=", 1.0)]) is None, "no loosening lets in what lacks the figure"


NUMBERS = st.one_of(st.integers(0, 6).map(float), st.just(np.nan))


@given(
    st.lists(st.tuples(NUMBERS, NUMBERS, NUMBERS), min_size=1, max_size=5),
    st.tuples(st.integers(0, 6), st.integers(0, 6), st.integers(0, 6)),
)
def test_exclusion_is_what_trying_every_limit_finds(rows: list[tuple[float, ...]], ends: tuple[int, int, int]) -> None:
    of = points(dict(zip(("F16", "Q8_0", "Q6_K", "Q4_K_M", "Q2_K"), rows, strict=False)))
    limits = [Limit(key, op, float(end)) for key, op, end in zip(KEYS, ("<=", ">=", ">="), ends, strict=True)]
    alone = []
    for limit in limits:
        others = within(of, [one for one in limits if one is not limit])
        alone.append(int((others & of.value[limit.key].notna().to_numpy() & ~within(of, [limit])).sum()))
    found = exclusion(of, limits)
    assert (0 if found is None else found.count) == max(alone)
    if found is not None:
        before, position = within(of, limits), limits.index(found.next.limit)
        assert alone[position] == max(alone)
        after = within(of, [*limits[:position], found.next.loosened, *limits[position + 1 :]])
        assert after[found.next.admits] and not before[found.next.admits]
        assert (after | ~before).all()
        assert after.sum() > before.sum()


@settings(max_examples=300)
@given(
    st.floats(1e-6, 1e13),
    st.sampled_from([(MEMORY, "<="), (MEMORY, ">="), (SPEED, ">="), (QUALITY, ">="), (QUALITY, "<=")]),
)
def test_a_limit_is_loosened_to_the_safe_side(value: float, what: tuple[str, str]) -> None:
    key, op = what
    of = points({"F16": tuple(value if one == key else 1.0 for one in KEYS)})
    limit = Limit(key, op, value / 2 if op == "<=" else value * 2)
    found = relaxation(draw(of, KEYS), [limit])
    assert found is not None
    assert kept(np.array([value]), found.loosened).all()
    assert kept(np.array([value]), parse_limit(limit_text(found.loosened), KEYS)).all(), "as it is written, too"
    # Three digits, so at most one in a hundred off.
    assert found.value == pytest.approx(value, rel=0.0101)

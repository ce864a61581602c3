from __future__ import annotations

from collections import Counter
from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from trilemma.jobs.queue import interleave


@given(st.integers(1, 12), st.integers(1, 8), st.integers(0, 2**32))
def test_each_repeat_goes_once_through_all_configurations(configurations: int, repeats: int, seed: int) -> None:
    pairs = interleave(configurations, repeats, seed)
    assert [repeat for _, repeat in pairs] == [r for r in range(repeats) for _ in range(configurations)]
    assert set(Counter(pairs).values()) == {1}
    assert {configuration for configuration, _ in pairs} == set(range(configurations))


@given(st.integers(2, 6), st.integers(2, 8), st.integers(0, 2**32))
def test_no_configuration_is_measured_twice_in_a_row(configurations: int, repeats: int, seed: int) -> None:
    pairs = interleave(configurations, repeats, seed)
    assert all(a[0] != b[0] for a, b in pairwise(pairs))


def test_the_seed_decides_the_order_and_repeats_differ() -> None:
    assert interleave(8, 3, 1) == interleave(8, 3, 1)
    assert interleave(8, 3, 1) != interleave(8, 3, 2)
    first, second, third = (interleave(8, 3, 1)[start : start + 8] for start in (0, 8, 16))
    assert [c for c, _ in first] != [c for c, _ in second] != [c for c, _ in third]


def test_nothing_to_repeat() -> None:
    assert interleave(0, 3, 0) == []
    assert interleave(1, 2, 0) == [(0, 0), (0, 1)]

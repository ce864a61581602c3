"""What a configuration's runs come to, against the same in plain Python, run by run."""

from __future__ import annotations

import statistics
from typing import NamedTuple

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from trilemma.analysis.repeats import ABSENT, Columns, Values, asked_once, repeated
from trilemma.schema import Method

COUNT = 5


class Run(NamedTuple):
    at: int
    value: float
    low: float
    high: float
    n: int
    disturbed: bool
    method: str
    source: str


def run(at: int, value: float, half: float, n: int, disturbed: bool, method: str, source: str) -> Run:
    return Run(at, value, value - half, value + half, n, disturbed, method, source)


RUN = st.builds(
    run, st.integers(0, COUNT - 1), st.floats(0.1, 100), st.sampled_from([np.nan, 0.5]), st.integers(1, 50),
    st.booleans(), st.sampled_from([method.value for method in Method]), st.sampled_from(["clock", "counter", "model"]),
)  # fmt: skip


def values(runs: list[Run]) -> Values:
    frame = pd.DataFrame(runs)
    return Values.of(frame, frame["at"].to_numpy())


def without(columns: Columns, place: int) -> None:
    """No figure, and said as such."""
    for name, column in columns.items():
        if name in ABSENT:
            assert column[place] == ABSENT[name]
        else:
            assert pd.isna(column[place])


@given(st.lists(RUN, min_size=1, max_size=25))
def test_means_count_what_was_not_disturbed_unless_all_was(runs: list[Run]) -> None:
    found = repeated(values(runs), COUNT)
    for place in range(COUNT):
        mine = [one for one in runs if one.at == place]
        steady = [one for one in mine if not one.disturbed]
        kept = steady or mine
        if not kept:
            without(found, place)
            continue
        assert found["value"][place] == pytest.approx(statistics.fmean(one.value for one in kept))
        assert found["runs"][place] == len(kept)
        assert found["n"][place] == sum(one.n for one in kept)
        assert found["left_out"][place] == len(mine) - len(kept)
        assert found["disturbed"][place] == (not steady)
        methods = {one.method for one in kept}
        assert found["method"][place] == next(m for m in ("modelled", "imported", "measured") if m in methods)
        assert found["source"][place] == ", ".join(sorted({one.source for one in kept}))
        assert np.isnan(found["low"][place]) or found["low"][place] <= found["value"][place] <= found["high"][place]


@given(st.lists(RUN, min_size=1, max_size=25), st.randoms())
def test_of_several_that_asked_questions_the_one_that_asked_most_counts_then_the_newest(
    runs: list[Run], random: object
) -> None:
    ended = list(range(len(runs)))
    random.shuffle(ended)  # type: ignore[attr-defined]
    found = asked_once(values(runs), np.array(ended), COUNT)
    for place in range(COUNT):
        mine = [(one.n, end, one) for one, end in zip(runs, ended, strict=True) if one.at == place]
        if not mine:
            without(found, place)
            continue
        _, _, best = max(mine)
        for name in ("value", "low", "high", "n", "method", "source"):
            assert found[name][place] == pytest.approx(getattr(best, name), nan_ok=True)
        assert found["error"][place] == pytest.approx((best.high - best.low) / (2 * 1.959964), nan_ok=True)
        assert (found["runs"][place], found["left_out"][place], found["disturbed"][place]) == (1, 0, False)


def test_a_single_run_is_shown_as_it_is_while_none_was_repeated() -> None:
    found = repeated(values([run(0, 10.0, 2.0, 5, False, "measured", "clock")]), 1)
    assert (found["low"][0], found["high"][0], found["df"][0]) == (8.0, 12.0, np.inf)
    # Another one's repeats tell how much a run varies.
    twice = [run(1, value, 0.1, 5, False, "measured", "clock") for value in (9.0, 11.0)]
    found = repeated(values([run(0, 10.0, 2.0, 5, False, "measured", "clock"), *twice]), 2)
    assert np.isfinite(found["df"]).all()
    assert found["low"][0] < 8.0

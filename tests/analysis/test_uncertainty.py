from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

from trilemma.analysis.uncertainty import combine, repeat_intervals


def test_two_repeats_span_the_interval() -> None:
    low, high = repeat_intervals([[1.0, 3.0], [5.0, 5.0]])
    assert low.tolist() == [1.0, 5.0]
    assert high.tolist() == [3.0, 5.0]


def test_one_repeat_says_nothing_of_the_spread() -> None:
    low, high = repeat_intervals([[1.0]])
    assert np.isnan(low).all()
    assert np.isnan(high).all()


@pytest.mark.parametrize("count", [4, 6, 12])
def test_equals_scipys_bootstrap(count: int) -> None:
    values = np.random.default_rng(count).normal(100, 5, count)
    low, high = repeat_intervals(values)
    scipys = stats.bootstrap((values,), np.mean, n_resamples=40_000, method="percentile", rng=1).confidence_interval
    width = scipys.high - scipys.low
    assert low[0] == pytest.approx(scipys.low, abs=0.05 * width)
    assert high[0] == pytest.approx(scipys.high, abs=0.05 * width)


def test_is_the_same_every_time() -> None:
    values = np.random.default_rng(0).normal(size=(3, 9))
    assert np.array_equal(repeat_intervals(values), repeat_intervals(values))


def test_doubts_add_in_quadrature_and_nothing_known_stays_unknown() -> None:
    assert combine([3.0, 3.0, np.nan], [4.0, np.nan, np.nan])[:2].tolist() == [5.0, 3.0]
    assert np.isnan(combine([np.nan], [np.nan])[0])

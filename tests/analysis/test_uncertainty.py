from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from trilemma.analysis.uncertainty import MeanErrors, interval, mean_errors, moderated


def test_few_variances_are_drawn_towards_the_pooled_one() -> None:
    variance, df = moderated([1.0, 3.0], [2, 6])
    assert variance == pytest.approx([(8 * 2.5 + 2 * 1) / 10, (8 * 2.5 + 6 * 3) / 14])
    assert df.tolist() == [8.0, 8.0], "no more than there are"


def test_a_group_without_repeats_borrows_the_common_variance() -> None:
    variance, df = moderated([4.0, 0.0], [3, 0])
    assert variance == pytest.approx([4.0, 4.0])
    assert df.tolist() == [3.0, 3.0]


def test_nothing_repeated_says_nothing() -> None:
    variance, df = moderated([0.0, 0.0], [0, 0])
    assert np.isnan(variance).all()
    assert df.tolist() == [0.0, 0.0]


@given(st.lists(st.floats(1e-6, 1e6), min_size=1, max_size=30), st.integers(1, 8))
def test_drawn_variances_lie_between_their_own_and_the_pooled(variances: list[float], df: int) -> None:
    found, freedom = moderated(variances, np.full(len(variances), df))
    pooled = np.mean(variances)
    assert (found >= np.minimum(variances, pooled) * (1 - 1e-9)).all()
    assert (found <= np.maximum(variances, pooled) * (1 + 1e-9)).all()
    assert (freedom >= df).all()


@pytest.mark.parametrize("alike", [4.0, 8.0, np.inf])
@pytest.mark.parametrize(("configurations", "repeats"), [(9, 2), (9, 3), (30, 2)])
def test_intervals_cover_what_they_say(configurations: int, repeats: int, alike: float) -> None:
    """A bootstrap over two repeats would cover about half."""
    rng = np.random.default_rng(2)
    hits = []
    for _ in range(300):
        sigma = 0.03 * (np.sqrt(alike / rng.chisquare(alike, configurations)) if np.isfinite(alike) else 1.0)
        values = np.log(100) + rng.normal(0, np.reshape(sigma, (-1, 1)), (configurations, repeats))
        errors = mean_errors(values, np.full(values.shape, np.nan))
        low, high = interval(np.exp(values).mean(axis=1), errors, positive=True)
        hits += ((low <= 100) & (high >= 100)).tolist()
    assert 0.925 < np.mean(hits) < 0.975


def test_a_runs_own_doubt_is_a_lower_bound() -> None:
    errors = mean_errors([[1.0, 1.0], [2.0, 2.0]], [[0.3, 0.4], [0.0, 0.0]])
    assert errors.error == pytest.approx([0.25, 0.0])


def test_a_single_run_has_its_own_doubt_alone() -> None:
    errors = mean_errors([[90.0, np.nan]], [[3.0, np.nan]])
    assert errors.error.tolist() == [3.0]
    assert np.isinf(errors.df).all()
    low, high = interval([90.0], errors, positive=False)
    assert (low[0], high[0]) == pytest.approx((90 - 3 * stats.norm.ppf(0.975), 90 + 3 * stats.norm.ppf(0.975)))


def test_nothing_known_stays_unknown() -> None:
    errors = mean_errors([[1.0], [2.0]], [[np.nan], [np.nan]])
    assert np.isnan(errors.error).all()
    low, _ = interval([1.0, 2.0], errors, positive=True)
    assert np.isnan(low).all()


def test_an_interval_of_a_positive_figure_is_positive() -> None:
    low, high = interval([1.0], MeanErrors(np.array([2.0]), np.array([3.0])), positive=True)
    assert 0 < low[0] < 1 < high[0]

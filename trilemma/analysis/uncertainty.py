"""Intervals by the bootstrap over the repeats of a configuration (over requests: ``workloads.latency``).

Percentile intervals (Efron and Tibshirani, *An Introduction to the Bootstrap*, 1993, chapter 13), 95 % unless said.
"""

from __future__ import annotations

import functools
import itertools
import math

import numpy as np
from numpy.typing import ArrayLike, NDArray

FloatArray = NDArray[np.float64]

CONFIDENCE = 0.95
RESAMPLES = 2000
SEED = 20260101
_EXACT_UP_TO = 6


@functools.lru_cache(maxsize=64)
def _resamples(count: int) -> tuple[FloatArray, FloatArray]:
    """Ways to draw ``count`` of ``count`` with replacement: share of each value (ways x count), and probabilities.

    Up to six values every way is listed (462 at six), so the bootstrap distribution is exact and takes no luck; above
    that ways are drawn, with a fixed seed.
    """
    if count > _EXACT_UP_TO:
        drawn = np.random.default_rng(SEED).multinomial(count, np.full(count, 1 / count), size=RESAMPLES)
        return drawn / count, np.full(RESAMPLES, 1 / RESAMPLES)
    ways = np.array(
        [np.bincount(way, minlength=count) for way in itertools.combinations_with_replacement(range(count), count)]
    )
    permutations = [math.factorial(count) / math.prod(math.factorial(int(k)) for k in way) for way in ways]
    return ways / count, np.array(permutations) / count**count


def repeat_intervals(values: ArrayLike, confidence: float = CONFIDENCE) -> tuple[FloatArray, FloatArray]:
    """Percentile bootstrap intervals of the mean over repeats, for many groups at once.

    Args:
        values: groups x repeats, without NaN; one repeat gives NaN intervals, for it says nothing of the spread.
        confidence: the share of the bootstrap distribution inside.

    Returns:
        Low and high ends, one a group.
    """
    table = np.atleast_2d(np.asarray(values, dtype=np.float64))
    groups, count = table.shape
    if count < 2:
        return np.full(groups, np.nan), np.full(groups, np.nan)
    shares, weights = _resamples(count)
    means = table @ shares.T
    order = np.argsort(means, axis=1)
    cumulative = np.cumsum(weights[order], axis=1)
    tail = (1 - confidence) / 2
    rows = np.arange(groups)
    last = means.shape[1] - 1
    low = np.minimum((cumulative < tail - 1e-12).sum(axis=1), last)
    high = np.minimum((cumulative < 1 - tail - 1e-12).sum(axis=1), last)
    return means[rows, order[rows, low]], means[rows, order[rows, high]]


def combine(spread: ArrayLike, own: ArrayLike) -> FloatArray:
    """Half-widths of two sources of doubt about one mean, added in quadrature; NaN counts as none, both NaN as NaN."""
    first, second = np.asarray(spread, dtype=np.float64), np.asarray(own, dtype=np.float64)
    both = np.isnan(first) & np.isnan(second)
    return np.where(both, np.nan, np.hypot(np.nan_to_num(first), np.nan_to_num(second)))

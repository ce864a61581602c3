"""How well the mean over a configuration's repeats is known (over requests: ``workloads.latency``).

Two or three repeats say little of how much a figure varies from run to run: a bootstrap over two covers the truth every
other time. But the configurations of one study vary alike, so that each one's variance is drawn towards what all have in
common, and an interval that is made with it covers what it says: the moderated t statistic of Smyth, "Linear models and
empirical Bayes methods for assessing differential expression in microarray experiments", *Statistical Applications in
Genetics and Molecular Biology* 3(1), 2004, sections 4 and 6.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import optimize, special, stats

FloatArray = NDArray[np.float64]

CONFIDENCE = 0.95
RESAMPLES = 2000
SEED = 20260101
NORMAL = float(stats.norm.ppf((1 + CONFIDENCE) / 2))
"""Half a 95 % interval in standard errors, where these are known."""


class MeanErrors(NamedTuple):
    """Standard errors of means, and the degrees of freedom of each: infinite where the error counts as known."""

    error: FloatArray
    df: FloatArray


def moderated(variances: ArrayLike, df: ArrayLike) -> tuple[FloatArray, FloatArray]:
    """Sample variances drawn towards what they have in common, and the degrees of freedom that they then have.

    With fewer than three variances, or where some are zero (a figure that is counted in steps), all are taken to be
    estimates of one variance.

    Args:
        variances: One a group.
        df: Of each; 0 where a group has a single value, whose variance is then the common one.

    Returns:
        Variances and degrees of freedom, one a group; NaN and 0 if no group has any degree of freedom.
    """
    s2, d = np.asarray(variances, dtype=np.float64), np.asarray(df, dtype=np.float64)
    known = d > 0
    total = float(d[known].sum())
    if not total:
        return np.full(s2.shape, np.nan), np.zeros(s2.shape)
    pooled = float((s2[known] * d[known]).sum() / total)
    if known.sum() < 3 or (s2[known] <= 0).any():
        return np.full(s2.shape, pooled), np.full(s2.shape, total)
    half = d[known] / 2
    logs = np.log(s2[known]) - special.digamma(half) + np.log(half)
    beyond_chance = float(np.var(logs, ddof=1) - special.polygamma(1, half).mean())
    if beyond_chance <= 0:
        return np.full(s2.shape, pooled), np.full(s2.shape, total)
    prior_df = 2 * _trigamma_inverse(beyond_chance)
    prior = float(np.exp(logs.mean() + special.digamma(prior_df / 2) - np.log(prior_df / 2)))
    drawn = (prior_df * prior + d * np.where(known, s2, 0.0)) / (prior_df + d)
    return drawn, np.minimum(prior_df + d, total)


def _trigamma_inverse(value: float) -> float:
    """The x > 0 whose trigamma is ``value``: 1/x < trigamma(x) < 1/x + 1/x^2 brackets it."""
    high = max(2.0 / value, 2.0 / np.sqrt(value))
    return float(optimize.brentq(lambda x: float(special.polygamma(1, x)) - value, 1e-8, 1.0 + high))


def mean_errors(values: ArrayLike, own: ArrayLike) -> MeanErrors:
    """Standard errors of the means over repeats, of one figure of many configurations.

    What a run knows of its own doubt (over its requests) is part of how runs differ, so that it is a lower bound; where
    nothing was repeated it is all there is.

    Args:
        values: configurations x repeats; NaN where a configuration has fewer.
        own: likewise, each run's own standard error; NaN where it has none.

    Returns:
        One a configuration; the error is NaN where nothing is known of it.
    """
    table, doubt = np.asarray(values, dtype=np.float64), np.asarray(own, dtype=np.float64)
    count = np.isfinite(table).sum(axis=1).astype(np.float64)
    safe = np.maximum(count, 1)
    means = np.nansum(table, axis=1) / safe
    squares = np.nansum((table - means[:, None]) ** 2, axis=1)
    between, df = moderated(squares / np.maximum(count - 1, 1), count - 1)
    from_repeats = between / safe
    complete = np.isfinite(doubt).sum(axis=1) == count
    from_requests = np.where(complete, np.nansum(doubt**2, axis=1) / safe**2, np.nan)
    larger = np.isnan(from_repeats) | (from_requests > from_repeats)
    return MeanErrors(
        np.sqrt(np.where(larger, from_requests, from_repeats)),
        np.where(np.isnan(from_repeats), np.inf, df),
    )


def interval(mean: ArrayLike, errors: MeanErrors, positive: bool) -> tuple[FloatArray, FloatArray]:
    """The 95 % interval of each mean by Student's t; on the logarithm's scale for a figure that is always positive.

    Args:
        mean: One a configuration.
        errors: Of each mean; relative to it if ``positive``.
        positive: Whether all values are above zero.

    Returns:
        Low and high ends, NaN where the error is.
    """
    middle = np.asarray(mean, dtype=np.float64)
    half = stats.t.ppf((1 + CONFIDENCE) / 2, errors.df) * errors.error
    if positive:
        return middle * np.exp(-half), middle * np.exp(half)
    return middle - half, middle + half

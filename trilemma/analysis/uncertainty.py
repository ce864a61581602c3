"""How well the mean over a configuration's repeats is known (over requests: ``workloads.latency``).

Two or three repeats say little of how much a figure varies from run to run: a bootstrap over two covers the truth every
other time. But the configurations of one study vary alike. So each one's variance is drawn towards what all have in
common, and an interval that is made with it covers what it says: the moderated t statistic of Smyth, "Linear models
and empirical Bayes methods for assessing differential expression in microarray experiments", *Statistical Applications
in Genetics and Molecular Biology* 3(1), 2004, section 4, with a fixed number of degrees of freedom for the prior.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import stats

FloatArray = NDArray[np.float64]

CONFIDENCE = 0.95
RESAMPLES = 2000
SEED = 20260101
NORMAL = float(stats.norm.ppf((1 + CONFIDENCE) / 2))
"""Half a 95 % interval in standard errors, where these are known."""
ALIKE = 8.0
"""Degrees of freedom that the variance which all configurations have in common counts for."""


class MeanErrors(NamedTuple):
    """Standard errors of means, and the degrees of freedom of each: infinite where the error counts as known."""

    error: FloatArray
    df: FloatArray


def moderated(variances: ArrayLike, df: ArrayLike) -> tuple[FloatArray, FloatArray]:
    """Sample variances drawn towards the pooled one, and the degrees of freedom that they then have.

    How alike they are cannot be told from the few that a study has: the pooled variance counts for as much as
    :data:`ALIKE` degrees of freedom, with which intervals hold whether configurations vary alike or by a factor of two
    (``make bench NAME=calibration``).

    Args:
        variances: One a group.
        df: Of each; 0 where a group has a single value, whose variance is then the pooled one.

    Returns:
        Variances and degrees of freedom, one a group; NaN and 0 if no group has any degree of freedom.
    """
    s2, d = np.asarray(variances, dtype=np.float64), np.asarray(df, dtype=np.float64)
    total = float(d.sum())
    if not total:
        return np.full(s2.shape, np.nan), np.zeros(s2.shape)
    pooled = float((s2 * d).sum() / total)
    return (ALIKE * pooled + d * s2) / (ALIKE + d), np.minimum(ALIKE + d, total)


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

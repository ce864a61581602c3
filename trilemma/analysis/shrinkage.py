"""Draws that allow for luck: what is best of many has mostly been lucky, too.

The best of nine measured scores is better than that configuration's true score is likely to be, and draws around what
was measured would make its rivals' luck count twice. So draws regress towards what a model and its bits a weight lead
to expect, as far as noise explains how the figures scatter around that: the empirical Bayes estimate of Efron and
Morris, "Stein's estimation rule and its competitors", *JASA* 68, 1973, around a regression, with the share of noise
drawn from its posterior under a uniform prior (Daniels, "A prior for the variance in hierarchical models", *Canadian
Journal of Statistics* 27, 1999). Where noise is small against the differences, as it mostly is for speed and energy,
nothing changes.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import ArrayLike
from scipy import special

from trilemma.analysis.uncertainty import FloatArray

_LEAST = 3
"""Degrees of freedom among configurations from which their true scatter is estimated."""


def expected(models: Sequence[object], bits: ArrayLike) -> FloatArray:
    """The projection that gives what models and bits lead to expect: configurations x configurations.

    A mean for each model, and one slope for all on the error of rounding, which halves with every bit; no slope where
    bits are unknown.
    """
    names = list(dict.fromkeys(models))
    columns = [np.array([model == name for model in models], dtype=np.float64) for name in names]
    rounding = 2.0 ** -np.asarray(bits, dtype=np.float64)
    if np.isfinite(rounding).all():
        columns.append(rounding)
    design = np.column_stack(columns)
    return design @ np.linalg.pinv(design)


def shrunk(draws: FloatArray, value: FloatArray, projection: FloatArray, rng: np.random.Generator) -> FloatArray:
    """``draws`` regressed towards what ``projection`` makes of ``value``.

    Args:
        draws: draws x configurations, around ``value``, on a scale on which noise is about normal.
        value: What was measured, one a configuration.
        projection: See :func:`expected`.
        rng: Draws the share of noise.

    Returns:
        As ``draws``; unchanged where too few configurations are left to tell how they scatter, or without noise.
    """
    df = len(value) - round(float(np.trace(projection)))
    noise = draws - value
    common = noise @ projection
    own = noise - common
    variance = own.var(axis=0)
    if df < _LEAST or variance.sum() <= 0:
        return draws
    centre = projection @ value
    mean_variance = float(variance.sum() / df)
    rate = max(float(((value - centre) ** 2).sum() / (2 * mean_variance)), 1e-12)
    # The share of noise in the scatter: a gamma distribution cut off at 1, by its inverse.
    shape = df / 2 + 1
    share = special.gammaincinv(shape, rng.uniform(size=len(draws)) * special.gammainc(shape, rate)) / rate
    true_variance = mean_variance * (1 / np.clip(share, 1e-12, 1.0) - 1)[:, None]
    alone = variance / np.maximum(1 - np.diag(projection), 1e-9)
    kept = true_variance / np.maximum(true_variance + alone, 1e-300)
    return np.asarray(centre + common + kept * (value - centre) + np.sqrt(kept) * own)

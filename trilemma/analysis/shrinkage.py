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
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike
from scipy import special

from trilemma.analysis.uncertainty import FloatArray

_LEAST = 3
"""Degrees of freedom among configurations from which their true scatter is estimated."""


@dataclass(frozen=True)
class Projection:
    """What models and bits lead to expect, as a linear map of figures, one a configuration.

    ``basis`` is configurations x dimensions, orthonormal: with thousands of configurations the square matrix would
    take a second to multiply with.
    """

    basis: FloatArray

    @property
    def rank(self) -> int:
        """Dimensions."""
        return int(self.basis.shape[1])

    @property
    def leverage(self) -> FloatArray:
        """How much of each configuration's own figure is in what is expected of it, 0 to 1."""
        return np.asarray((self.basis**2).sum(axis=1))

    def of(self, figures: FloatArray) -> FloatArray:
        """What is expected, given ``figures``: any number of rows x configurations."""
        return np.asarray((figures @ self.basis) @ self.basis.T)


def expected(models: Sequence[object], bits: ArrayLike) -> Projection:
    """What models and bits lead to expect: a mean for each model, and one slope for all on the error of rounding, which
    halves with every bit; no slope where bits are unknown."""
    names = {model: code for code, model in enumerate(dict.fromkeys(models))}
    codes = np.array([names[model] for model in models], dtype=np.intp)
    means = np.zeros((len(codes), len(names)))
    means[np.arange(len(codes)), codes] = 1 / np.sqrt(np.bincount(codes, minlength=len(names)))[codes]
    rounding = 2.0 ** -np.asarray(bits, dtype=np.float64)
    if not np.isfinite(rounding).all():
        return Projection(means)
    # What of the rounding the models' means do not say already.
    slope = rounding - means @ (means.T @ rounding)
    size = float(np.linalg.norm(slope))
    if size <= 1e-12 * float(np.linalg.norm(rounding)):
        return Projection(means)
    return Projection(np.column_stack([means, slope / size]))


def shrunk(draws: FloatArray, value: FloatArray, projection: Projection, rng: np.random.Generator) -> FloatArray:
    """``draws`` regressed towards what ``projection`` makes of ``value``.

    Args:
        draws: draws x configurations, around ``value``, on a scale on which noise is about normal.
        value: What was measured, one a configuration.
        projection: See :func:`expected`.
        rng: Draws the share of noise.

    Returns:
        As ``draws``; unchanged where too few configurations are left to tell how they scatter, or without noise.
    """
    df = len(value) - projection.rank
    noise = draws - value
    common = projection.of(noise)
    own = noise - common
    variance = own.var(axis=0)
    if df < _LEAST or variance.sum() <= 0:
        return draws
    centre = projection.of(value)
    mean_variance = float(variance.sum() / df)
    rate = max(float(((value - centre) ** 2).sum() / (2 * mean_variance)), 1e-12)
    # The share of noise in the scatter: a gamma distribution cut off at 1, by its inverse.
    shape = df / 2 + 1
    share = special.gammaincinv(shape, rng.uniform(size=len(draws)) * special.gammainc(shape, rate)) / rate
    true_variance = mean_variance * (1 / np.clip(share, 1e-12, 1.0) - 1)[:, None]
    alone = variance / np.maximum(1 - projection.leverage, 1e-9)
    kept = true_variance / np.maximum(true_variance + alone, 1e-300)
    return np.asarray(centre + common + kept * (value - centre) + np.sqrt(kept) * own)

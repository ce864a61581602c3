"""From three axes in different units to one score: what each option loses on each axis, and what that adds up to.

Losses have no unit: 0 is the best and 1 the worst of the options that are compared, so that no unit decides.
"""

from __future__ import annotations

from collections.abc import Sequence
from enum import StrEnum

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import stats

from trilemma.analysis.odds import directions
from trilemma.analysis.uncertainty import FloatArray
from trilemma.schema import Axis

AUGMENTATION = 0.05
"""How much the sum of losses counts beside the largest one: it tells options apart that share their worst loss."""
_TINY = 1e-300


class ScoringMethod(StrEnum):
    """How weighted losses become one score."""

    CHEBYSHEV = "chebyshev"
    """The largest weighted loss, and a little of their sum (Steuer and Choo, *Mathematical Programming* 26, 1983)."""
    WEIGHTED_SUM = "weighted_sum"
    """Their sum: a strength makes up for a weakness, and what is good on all axes but best on none may never win."""
    TOPSIS = "topsis"
    """The distance to the ideal over that to the ideal and to its opposite (Hwang and Yoon, *Multiple Attribute
    Decision Making*, 1981)."""


class Normalisation(StrEnum):
    """What a loss is measured in."""

    RANGE = "range"
    """The distance from the best to the worst option."""
    LOG_RANGE = "log_range"
    """The same of logarithms, where all values are above zero: twice as fast counts the same anywhere."""
    RANK = "rank"
    """The place among the options, whatever the distance; equals share theirs."""


def axis_losses(
    values: FloatArray, keys: Sequence[str], axes: Sequence[Axis], normalisation: Normalisation
) -> FloatArray:
    """What each option loses on each axis.

    Args:
        values: ... x options x figures, in base units. Each leading entry (a draw) is scaled by itself.
        keys: the measurement keys of the figures.
        axes: the axis of each figure; of several figures of one axis the mean loss counts.
        normalisation: what a loss is measured in.

    Returns:
        ... x options x 3, in the order of :class:`trilemma.schema.Axis`; 0 is best, 1 worst, and 0 all over where the
        options are equal or no figure stands for the axis. NaN for an option on an axis of which it lacks a figure;
        one that is infinite is no figure. Neither moves the losses of the others.
    """
    table = np.asarray(values, dtype=np.float64)
    known = np.isfinite(table)
    if normalisation is Normalisation.LOG_RANGE:
        positive = ((table > 0) | ~known).reshape(-1, table.shape[-1]).all(axis=0)
        logged = positive & known
        table = np.where(logged, np.log(np.where(logged, table, 1.0)), table)
    costs = table * np.array([1.0 if way == "lower" else -1.0 for way in directions(keys)])
    if normalisation is Normalisation.RANK:
        # What is unknown comes last, where it takes nobody's place.
        costs = stats.rankdata(np.where(known, costs, np.inf), axis=-2)
    low = costs.min(axis=-2, keepdims=True, where=known, initial=np.inf)
    width = costs.max(axis=-2, keepdims=True, where=known, initial=-np.inf) - low
    low = np.where(np.isfinite(low), low, 0.0)
    unit = (np.where(known, costs, low) - low) / np.where(width > 0, width, 1.0)
    unit[~known] = np.nan
    losses: FloatArray = np.zeros((*table.shape[:-1], len(Axis)))
    for position, axis in enumerate(Axis):
        mine = [column for column, one in enumerate(axes) if one is axis]
        if mine:
            losses[..., position] = unit[..., mine].mean(axis=-1)
    return losses


def ends(losses: FloatArray) -> tuple[FloatArray, FloatArray]:
    """The least and the largest loss on each axis, of the options that have all three: TOPSIS's two ideals.

    Args:
        losses: ... x options x 3.

    Returns:
        Both ... x 1 x 3; zero where no option has all three.
    """
    whole = np.isfinite(losses).all(axis=-1, keepdims=True)
    low = losses.min(axis=-2, keepdims=True, where=whole, initial=np.inf)
    high = losses.max(axis=-2, keepdims=True, where=whole, initial=-np.inf)
    return np.where(np.isfinite(low), low, 0.0), np.where(np.isfinite(high), high, 0.0)


def scores(
    losses: FloatArray, weights: ArrayLike, method: ScoringMethod, between: tuple[FloatArray, FloatArray] | None = None
) -> FloatArray:
    """One score an option; less is better, NaN where a loss is unknown.

    Args:
        losses: ... x options x 3.
        weights: of the three axes; broadcast against ``losses``.
        method: how they become one.
        between: the :func:`ends` of all that are compared, where ``losses`` holds only some of them.
    """
    shares: FloatArray = np.asarray(weights, dtype=np.float64)
    # Axis by axis: numpy is slow at reducing a last dimension of three.
    one, two, three = (losses[..., axis] * shares[..., axis] for axis in range(len(Axis)))
    total: FloatArray = one + two + three
    if method is ScoringMethod.WEIGHTED_SUM:
        return total
    if method is ScoringMethod.TOPSIS:
        to_best, to_worst = (_distance(losses, end, shares) for end in between or ends(losses))
        ratio: FloatArray = to_best / np.maximum(to_best + to_worst, _TINY)
        return ratio
    largest: FloatArray = np.maximum(np.maximum(one, two), three)
    return largest + AUGMENTATION * total


def rough_scores(
    losses: FloatArray, weights: FloatArray, method: ScoringMethod, between: tuple[FloatArray, FloatArray]
) -> NDArray[np.float32]:
    """The :func:`scores` of one option a draw under many mixes, quickly and to about six digits: draws x mixes.

    Args:
        losses: draws x 3, all known.
        weights: mixes x 3, each with a sum of about 1.
        method: how losses become one score.
        between: the :func:`ends` of all that are compared in each draw, draws x 3 both.
    """
    own, shares = losses.astype(np.float32), np.ascontiguousarray(weights.T, dtype=np.float32)
    if method is ScoringMethod.TOPSIS:
        to_best, to_worst = (np.sqrt((own - end.astype(np.float32)) ** 2 @ shares**2) for end in between)
        to_worst += to_best
        rough: NDArray[np.float32] = to_best / np.maximum(to_worst, np.finfo(np.float32).tiny)
        return rough
    total: NDArray[np.float32] = own @ shares
    if method is ScoringMethod.WEIGHTED_SUM:
        return total
    total *= np.float32(AUGMENTATION)
    largest, one = own[:, :1] * shares[0], np.empty_like(total)
    for axis in range(1, len(Axis)):
        np.maximum(largest, np.multiply(own[:, axis : axis + 1], shares[axis], out=one), out=largest)
    total += largest
    return total


def _distance(losses: FloatArray, end: FloatArray, shares: FloatArray) -> FloatArray:
    parts = [((losses[..., axis] - end[..., axis]) * shares[..., axis]) ** 2 for axis in range(len(Axis))]
    found: FloatArray = np.sqrt(parts[0] + parts[1] + parts[2])
    return found

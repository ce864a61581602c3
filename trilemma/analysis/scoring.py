"""From three axes in different units to one score: what each option loses on each axis, and what that adds up to.

Losses have no unit: 0 is the best and 1 the worst of the options that are compared, so that no unit decides.
"""

from __future__ import annotations

from collections.abc import Sequence
from enum import StrEnum

import numpy as np
from numpy.typing import ArrayLike
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
        values: ... x options x figures, all known, in base units. Each leading entry (a draw) is scaled by itself.
        keys: the measurement keys of the figures.
        axes: the axis of each figure; of several figures of one axis the mean loss counts.
        normalisation: what a loss is measured in.

    Returns:
        ... x options x 3, in the order of :class:`trilemma.schema.Axis`; 0 is best, 1 worst, and 0 all over where the
        options are equal or no figure stands for the axis.
    """
    table = np.asarray(values, dtype=np.float64)
    if normalisation is Normalisation.LOG_RANGE:
        positive = (table > 0).reshape(-1, table.shape[-1]).all(axis=0)
        table = np.where(positive, np.log(np.where(positive, table, 1.0)), table)
    costs = table * np.array([1.0 if way == "lower" else -1.0 for way in directions(keys)])
    if normalisation is Normalisation.RANK:
        costs = stats.rankdata(costs, axis=-2)
    low = costs.min(axis=-2, keepdims=True)
    width = costs.max(axis=-2, keepdims=True) - low
    unit = (costs - low) / np.where(width > 0, width, 1.0)
    losses: FloatArray = np.zeros((*table.shape[:-1], len(Axis)))
    for position, axis in enumerate(Axis):
        mine = [column for column, one in enumerate(axes) if one is axis]
        if mine:
            losses[..., position] = unit[..., mine].mean(axis=-1)
    return losses


def scores(losses: FloatArray, weights: ArrayLike, method: ScoringMethod) -> FloatArray:
    """One score an option; less is better.

    Args:
        losses: ... x options x 3.
        weights: of the three axes; broadcast against ``losses``.
        method: how they become one.
    """
    shares: FloatArray = np.asarray(weights, dtype=np.float64)
    # Axis by axis: numpy is slow at reducing a last dimension of three.
    one, two, three = (losses[..., axis] * shares[..., axis] for axis in range(len(Axis)))
    total: FloatArray = one + two + three
    if method is ScoringMethod.WEIGHTED_SUM:
        return total
    if method is ScoringMethod.TOPSIS:
        ideal = np.sqrt(one**2 + two**2 + three**2)
        away = [((1.0 - losses[..., axis]) * shares[..., axis]) ** 2 for axis in range(len(Axis))]
        ratio: FloatArray = ideal / np.maximum(ideal + np.sqrt(sum(away)), _TINY)
        return ratio
    largest: FloatArray = np.maximum(np.maximum(one, two), three)
    return largest + AUGMENTATION * total

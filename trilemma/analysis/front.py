"""The Pareto front: which options no other option beats in everything at once."""

from __future__ import annotations

from collections.abc import Sequence

import moocore
import numpy as np
from numpy.typing import ArrayLike, NDArray

from trilemma.figures import Better

BoolArray = NDArray[np.bool_]
FloatArray = NDArray[np.float64]


def as_costs(values: ArrayLike, better: Sequence[Better]) -> FloatArray:
    """``values`` (options x figures) with every figure turned so that less is better.

    Raises:
        ValueError: there is no figure, or not one direction a figure.
    """
    table = np.asarray(values, dtype=np.float64)
    if table.ndim != 2 or table.shape[1] == 0 or table.shape[1] != len(better):
        raise ValueError(f"expected options x {len(better)} figures (at least one), got {table.shape}")
    signs: FloatArray = np.array([1.0 if way == "lower" else -1.0 for way in better])
    costs: FloatArray = table * signs
    return costs


def on_front(values: ArrayLike, better: Sequence[Better]) -> BoolArray:
    """Which options are on the Pareto front of all given figures.

    An option is dominated when another is at least as good in every figure and better in one: a tie in one figure
    does not save it. Options that are equal in every figure stand or fall together. An option that lacks a figure
    (NaN) cannot be compared and is not on the front; nor does it dominate.

    Args:
        values: options x figures, in any unit.
        better: which way each figure is better.

    Returns:
        One boolean an option.
    """
    costs = as_costs(values, better)
    front = np.zeros(len(costs), dtype=np.bool_)
    whole = np.flatnonzero(np.isfinite(costs).all(axis=1))
    if whole.size:
        front[whole] = moocore.is_nondominated(costs[whole], keep_weakly=True)
    return front


def beaten_by_one(costs: FloatArray, one: FloatArray) -> BoolArray:
    """Which options ``one`` dominates; ``costs`` are figures x options, which is several times as fast to compare."""
    at_least = np.ones(costs.shape[1], dtype=np.bool_)
    worse = np.zeros(costs.shape[1], dtype=np.bool_)
    for column, own in zip(costs, one, strict=True):
        at_least &= column >= own
        worse |= column > own
    return at_least & worse


def dominated_by(values: ArrayLike, better: Sequence[Better], index: int) -> NDArray[np.intp]:
    """The options (their indices) that dominate option ``index``; empty when it is on the front or lacks a figure."""
    costs = as_costs(values, better)
    own = costs[index]
    with np.errstate(invalid="ignore"):
        beaten = (costs <= own).all(axis=1) & (costs < own).any(axis=1)
    return np.flatnonzero(beaten & np.isfinite(costs).all(axis=1) & np.isfinite(own).all())


def staircase(points: ArrayLike, better: Sequence[Better]) -> FloatArray:
    """The edge of what a two-figure front dominates, as corners to be joined by straight lines.

    Args:
        points: the options on the front x 2 figures.
        better: which way each figure is better.

    Returns:
        corners x 2, from the worst to the best first figure; empty for an empty front.
    """
    table = np.asarray(points, dtype=np.float64)
    if table.size == 0:
        return np.empty((0, 2))
    costs = as_costs(table, better)
    order = np.lexsort((costs[:, 1], -costs[:, 0]))
    corners = [table[order[0]]]
    for position in order[1:]:
        corners += [np.array([corners[-1][0], table[position][1]]), table[position]]
    return np.array(corners)

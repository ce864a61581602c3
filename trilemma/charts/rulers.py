"""The axes of parallel coordinates: where a value lies on one, and what a box drawn over them stands for."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from trilemma.analysis.front import FloatArray
from trilemma.analysis.limits import Limit
from trilemma.analysis.points import better


@dataclass(frozen=True)
class Ruler:
    """An axis from ``worst`` at its foot to ``best`` at its head, in the figure's base unit; logarithmic if ``log``."""

    key: str
    worst: float
    best: float
    log: bool = False

    def place(self, values: FloatArray) -> FloatArray:
        """Where ``values`` (base unit) lie: 0 at the foot, 1 at the head, half-way up where all are the same."""
        one, other = (np.log(end) if self.log else end for end in (self.worst, self.best))
        table: FloatArray = np.log(values) if self.log else np.asarray(values, dtype=np.float64)
        return np.full(table.shape, 0.5) if one == other else (table - one) / (other - one)

    def value(self, place: float) -> float:
        """What lies at ``place``, in the base unit."""
        if self.log:
            return float(self.worst * (self.best / self.worst) ** place)
        return float(self.worst + place * (self.best - self.worst))


def rulers(values: pd.DataFrame, keys: Sequence[str], log: bool = False) -> list[Ruler]:
    """The axes for ``keys`` of ``values`` (:attr:`trilemma.analysis.points.Points.value`), from the worst to the best;
    logarithmic where all values are positive."""
    found = []
    for key in keys:
        column = values[key].to_numpy(dtype=np.float64)
        column = column[np.isfinite(column)]
        low, high = (float(column.min()), float(column.max())) if column.size else (0.0, 1.0)
        worst, best = (high, low) if better(key) == "lower" else (low, high)
        found.append(Ruler(key, worst, best, log and low > 0))
    return found


def brush(axes: Sequence[Ruler], x: Sequence[float], y: Sequence[float]) -> dict[str, list[Limit]]:
    """The ranges that a box drawn over the chart stands for, as limits by key; none where it is as long as its axis.

    The box is about each axis that it covers, or about the nearest one if it covers none. An end beyond the axis is no
    limit.

    Args:
        axes: of the chart, in order.
        x: the box's ends across, in axes: 0 is the first.
        y: its ends up, as :meth:`Ruler.place` has them.
    """
    left, right = sorted(x)
    low, high = sorted(y)
    covered = [place for place in range(len(axes)) if left <= place <= right]
    found: dict[str, list[Limit]] = {}
    for place in covered or [min(max(round((left + right) / 2), 0), len(axes) - 1)]:
        axis = axes[place]
        if axis.worst == axis.best:
            continue
        least, most = (">=", "<=") if axis.best > axis.worst else ("<=", ">=")
        stated = [Limit(axis.key, least, axis.value(low))] if low > 0 else []
        found[axis.key] = stated + ([Limit(axis.key, most, axis.value(high))] if high < 1 else [])
    return found

"""From how many requests a day on another deployment costs less."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cache

import numpy as np

from trilemma.errors import PlanError
from trilemma.planning.arrays import FloatArray
from trilemma.planning.capacity import Estimated
from trilemma.planning.cost import Kind
from trilemma.planning.plan import MEMORY, Plan, costs_at

AROUND = 300.0
"""How many times fewer and more requests than planned are looked at."""
_POINTS = 61
_HALVINGS = 30


@dataclass(frozen=True)
class BreakEven:
    """At ``volume`` requests a day the cheaper of two deployments changes from ``below`` to ``above``.

    Replicas are whole, so costs have steps: the two costs are equal there, or one of them jumps over the other.
    """

    volume: float
    below: Kind
    above: Kind


@dataclass(frozen=True)
class Volumes:
    """Costs a month by requests a day, with the first month's daily curve, and where the cheapest changes.

    ``costs`` has an array for each deployment whose cost is known, shape (volumes,), NaN where it cannot bear so many.
    ``compared`` are those that are held against one another: devices that users bring are not, whose bill is
    electricity alone, nor those that the model does not fit into.
    """

    volumes: FloatArray
    costs: Mapping[Kind, FloatArray]
    compared: tuple[Kind, ...]
    crossings: tuple[BreakEven, ...]


def volumes(plan: Plan) -> Volumes:
    """What each deployment of ``plan`` costs at other volumes, and the break-even volumes between each two.

    Sizes of fleets that the plan has not simulated are estimated (:class:`trilemma.planning.capacity.Estimated`).
    """
    capacity = Estimated(plan.capacity)
    demand = plan.assumptions.demand
    shape = demand.rates() / demand.volume()

    @cache
    def costs(volume: float) -> Mapping[Kind, float]:
        """Of those deployments that can bear it."""
        try:
            found = costs_at(plan.setup, plan.assumptions, capacity, shape * volume)
        except PlanError:  # so many that the availability wanted cannot be had
            return {}
        return {kind: cost for kind, cost in found.items() if cost is not None}

    grid = np.geomspace(demand.volume() / AROUND, demand.volume() * AROUND, _POINTS)
    table = {
        kind: np.array([costs(float(volume)).get(kind, np.nan) for volume in grid])
        for kind, bill in plan.bills.items() if bill.cost is not None
    }  # fmt: skip
    able = not plan.users_bring and MEMORY not in plan.device_misses
    compared = tuple(kind for kind in table if kind != "edge" or able)
    crossings: list[BreakEven] = []
    for one, other in itertools.combinations(compared, 2):

        def dearer(volume: float, one: Kind = one, other: Kind = other) -> float:
            return costs(volume).get(one, np.nan) - costs(volume).get(other, np.nan)

        for low, high in itertools.pairwise(float(volume) for volume in grid):
            before, after = dearer(low), dearer(high)
            if before * after < 0:
                kinds = (other, one) if before > 0 else (one, other)
                crossings.append(BreakEven(_crossing(dearer, low, high), *kinds))
    return Volumes(grid, table, compared, tuple(sorted(crossings, key=lambda one: one.volume)))


def _crossing(difference: Callable[[float], float], low: float, high: float) -> float:
    """Where ``difference`` changes its sign between ``low`` and ``high``, by halving their logarithms."""
    before = difference(low)
    for _ in range(_HALVINGS):
        middle = math.sqrt(low * high)
        low, high = (middle, high) if difference(middle) * before > 0 else (low, middle)
    return math.sqrt(low * high)

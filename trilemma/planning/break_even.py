"""From how many requests a day on another deployment costs less."""

from __future__ import annotations

import itertools
import math
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache

import numpy as np

from trilemma.planning.arrays import FloatArray
from trilemma.planning.capacity import Estimated
from trilemma.planning.cost import Kind
from trilemma.planning.plan import Plan, costs_at

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

    ``costs`` has an array for each deployment whose cost is known, shape (volumes,).
    """

    volumes: FloatArray
    costs: Mapping[Kind, FloatArray]
    crossings: tuple[BreakEven, ...]


def volumes(plan: Plan) -> Volumes:
    """What each deployment of ``plan`` costs at other volumes, and the break-even volumes between each two.

    Sizes of fleets that the plan has not simulated are estimated (:class:`trilemma.planning.capacity.Estimated`).
    """
    capacity = Estimated(plan.capacity)
    demand = plan.assumptions.demand
    shape = demand.rates() / demand.volume()

    @cache
    def costs(volume: float) -> dict[Kind, float | None]:
        return costs_at(plan.setup, plan.assumptions, capacity, shape * volume)

    grid = np.geomspace(demand.volume() / AROUND, demand.volume() * AROUND, _POINTS)
    found = [costs(float(volume)) for volume in grid]
    known = [kind for kind, cost in found[0].items() if cost is not None]
    crossings: list[BreakEven] = []
    for one, other in itertools.combinations(known, 2):

        def dearer(volume: float, one: Kind = one, other: Kind = other) -> float:
            a, b = costs(volume)[one], costs(volume)[other]
            return 0.0 if a is None or b is None else a - b

        for low, high in itertools.pairwise(float(volume) for volume in grid):
            before, after = dearer(low), dearer(high)
            if before * after < 0:
                kinds = (other, one) if before > 0 else (one, other)
                crossings.append(BreakEven(_crossing(dearer, low, high), *kinds))
    table = {kind: np.array([cost[kind] for cost in found], dtype=np.float64) for kind in known}
    return Volumes(grid, table, tuple(sorted(crossings, key=lambda one: one.volume)))


def _crossing(difference: object, low: float, high: float) -> float:
    assert callable(difference)
    before = difference(low)
    for _ in range(_HALVINGS):
        middle = math.sqrt(low * high)
        low, high = (middle, high) if difference(middle) * before > 0 else (low, middle)
    return math.sqrt(low * high)

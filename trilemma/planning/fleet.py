"""A fleet through the day: how many replicas run in each hour, and what they draw."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from trilemma.planning.arrays import FloatArray, IntArray
from trilemma.planning.capacity import SIZES, Capacity
from trilemma.planning.demand import DAYS_PER_MONTH
from trilemma.planning.limits import Availability
from trilemma.planning.queueing import occupancy
from trilemma.planning.service import PowerCurve, ServiceCurve

MONTH_HOURS = 24 * DAYS_PER_MONTH


@dataclass(frozen=True)
class Fleet:
    """One month's average day, by hour; shape (24,).

    ``rates`` is requests a second, ``needed`` the replicas that keep the limits, ``running`` those with spares that are
    switched on, ``dynamic_w`` what all of them draw above waiting (None where no power is known).
    """

    rates: FloatArray
    needed: IntArray
    running: IntArray
    dynamic_w: FloatArray | None
    idle_w: float | None

    @property
    def machines(self) -> int:
        """The most that run in any hour: what has to be owned."""
        return int(self.running.max())

    @property
    def power_w(self) -> FloatArray | None:
        """What all replicas draw in each hour, W; replicas that wait draw their idle power."""
        if self.dynamic_w is None or self.idle_w is None:
            return None
        drawn: FloatArray = self.dynamic_w + self.running * self.idle_w
        return drawn


def with_spares(needed: IntArray, availability: Availability, *, follows: bool) -> IntArray:
    """What runs in each hour; shape (24,) or (24, draws), as ``needed``.

    The spares of the day's largest hour stand by all day. Without ``follows`` as many run in every hour as in that one.
    """
    peak = needed.max(axis=0)
    spares = np.vectorize(availability.spares_for, otypes=[np.int64])(peak)
    running: IntArray = (needed if follows else np.broadcast_to(peak, needed.shape)) + spares
    return running


def fleet(
    capacity: Capacity,
    rates: FloatArray,
    availability: Availability,
    power: PowerCurve | None,
    *,
    follows: bool,
    extra: int = 0,
) -> Fleet:
    """The fleet for a day.

    Args:
        capacity: What fleets bear.
        rates: Arrivals in each hour, requests a second.
        availability: How many spares.
        power: What a replica draws, if known.
        follows: Whether replicas are switched off in hours that need fewer.
        extra: Replicas that a longer simulation asked for in the largest hour.

    Raises:
        PlanError: no number of replicas keeps the limits.
    """
    needed = capacity.needed_each(rates)
    needed = needed + extra * (needed == needed.max())
    running = with_spares(needed, availability, follows=follows)
    dynamic = None
    if power is not None:
        pairs = [(int(count), float(rate)) for count, rate in zip(running, rates, strict=True)]
        by_pair = {pair: dynamic_power(capacity.curve, power, *pair) for pair in set(pairs)}
        dynamic = np.array([by_pair[pair] for pair in pairs])
    return Fleet(rates, needed, running, dynamic, None if power is None else power.idle_w)


def dynamic_power(curve: ServiceCurve, power: PowerCurve, replicas: int, rate: float) -> float:
    """What ``replicas`` draw above their idle power at ``rate``, W: the mean over how many slots are busy."""
    if not replicas or not rate:
        return 0.0
    # A fleet larger than those that are simulated is as busy, replica for replica, as the largest of them.
    size = min(replicas, SIZES[-1])
    busy = occupancy(curve, size, rate * size / replicas).busy * replicas / size
    above = power.at(np.arange(curve.slots + 1, dtype=np.float64)) - power.idle_w
    return float(busy @ above)

"""What a fleet costs, draws and emits a month: in the cloud, on one's own premises, or on the users' devices.

Intervals say what the measurement leaves open: 95 % of draws of speed, energy per request and idle power, each
log-normal around what was measured. Demand and prices are assumptions; what they would change is in
:mod:`trilemma.planning.sensitivity`. Where one of the doubts is not known there is no interval.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from pydantic import Field

from trilemma.base import Frozen
from trilemma.planning.arrays import FloatArray, Interval
from trilemma.planning.capacity import Capacity
from trilemma.planning.demand import DAYS_PER_MONTH
from trilemma.planning.fleet import MONTH_HOURS, Fleet, with_spares
from trilemma.planning.limits import Availability
from trilemma.planning.measured import Doubt

Kind = Literal["cloud", "on-premise", "edge"]
KINDS: tuple[Kind, ...] = ("cloud", "on-premise", "edge")
DRAWS = 200
CERTAIN = Doubt(0.0, 0.0, 0.0)
_SEED = 20260303
_JOULES_PER_KWH = 3.6e6


class Cloud(Frozen):
    """Machines by the hour. Power is in the price; it is counted for CO2e alone."""

    per_hour: float = Field(ge=0, le=1e6, description="Price of one machine that does as the measured one did.")
    pue: float = Field(default=1.58, ge=1, le=5)
    follows: bool = Field(default=True, description="Machines are given back in hours that need fewer.")


class OnPremise(Frozen):
    """Machines of one's own, bought for the largest hour and written off in equal parts."""

    price: float = Field(ge=0, le=1e9, description="Purchase of one machine that does as the measured one did.")
    years: float = Field(default=4.0, gt=0, le=30, description="Over which it is written off.")
    other_per_month: float = Field(default=0.0, ge=0, le=1e9, description="Rack, network, staff: a machine and month.")
    per_kwh: float = Field(ge=0, le=1e3)
    pue: float = Field(default=1.58, ge=1, le=5)
    follows: bool = Field(default=False, description="Machines are switched off in hours that need fewer.")


class Edge(Frozen):
    """The users' devices, or many small machines: each answers its own user, one request at a time."""

    devices: int = Field(default=1000, ge=1, le=10**10)
    price: float = Field(default=0.0, ge=0, le=1e9, description="Bought for this purpose; 0 where users bring theirs.")
    years: float = Field(default=4.0, gt=0, le=30)
    per_kwh: float = Field(ge=0, le=1e3)
    battery_wh: float | None = Field(default=18.0, gt=0, le=1e5, description="None: on mains.")
    memory_bytes: float | None = Field(default=8 * 2.0**30, gt=0, le=1e15)
    energy_factor: float = Field(
        default=1.0, gt=0, le=1000, description="The device's energy for a request over the measured machine's."
    )


@dataclass(frozen=True)
class Bill:
    """A deployment, a month; None is not known. ``parts`` make up ``cost``; money is in the tables' currency."""

    kind: Kind
    cost: Interval | None
    energy_kwh: Interval | None
    power_w: Interval | None
    co2e_kg: Interval | None
    parts: Mapping[str, float]


@dataclass(frozen=True)
class Month:
    """What one month's fleet takes, each an array: the value first, then its draws. ``kwh`` is without PUE."""

    replica_hours: FloatArray
    machines: FloatArray
    kwh: FloatArray | None


@dataclass(frozen=True)
class Draws:
    """Factors on time, dynamic energy and idle power; the first of each is 1. None: its doubt is not known."""

    speed: FloatArray
    energy: FloatArray
    idle: FloatArray
    speed_known: bool
    energy_known: bool

    @classmethod
    def of(cls, doubt: Doubt, count: int = DRAWS) -> Draws:
        """``count`` draws of each; the same for the same doubts."""
        rng = np.random.default_rng(_SEED)
        normal = rng.standard_normal((3, count))

        def factors(row: int, error: float | None) -> FloatArray:
            return np.concatenate([[1.0], np.exp(normal[row] * (error or 0.0))])

        known = doubt.energy is not None and doubt.idle is not None
        speed = factors(0, doubt.speed)
        return cls(speed, factors(1, doubt.energy), factors(2, doubt.idle), doubt.speed is not None, known)


def month(fleet: Fleet, capacity: Capacity, availability: Availability, draws: Draws, *, follows: bool) -> Month:
    """What a fleet takes in a month. A replica that is slower by a factor bears less by that factor."""
    running = np.repeat(fleet.running[:, None], len(draws.speed), axis=1)
    if draws.speed_known and (draws.speed != 1).any():
        needed = capacity.needed_each(fleet.rates[:, None] * draws.speed[None, 1:])
        needed = needed + (fleet.needed - capacity.needed_each(fleet.rates))[:, None]  # what the check asked for
        running[:, 1:] = with_spares(needed, availability, follows=follows)
    kwh = None
    if fleet.dynamic_w is not None and fleet.idle_w is not None:
        watts = fleet.dynamic_w[:, None] * draws.energy + running * fleet.idle_w * draws.idle
        kwh = watts.sum(axis=0) * DAYS_PER_MONTH / 1000
    return Month(running.sum(axis=0) * DAYS_PER_MONTH, running.max(axis=0).astype(np.float64), kwh)


def mean_month(months: Sequence[Month]) -> Month:
    """The mean over a horizon."""
    kwh = [one.kwh for one in months if one.kwh is not None]
    return Month(
        np.mean([one.replica_hours for one in months], axis=0),
        np.mean([one.machines for one in months], axis=0),
        np.mean(kwh, axis=0) if kwh else None,
    )


def cloud_bill(of: Month, terms: Cloud, draws: Draws, g_per_kwh: float) -> Bill:
    """The bill of rented machines: replica-hours times price."""
    cost = of.replica_hours * terms.per_hour
    power = _energy(of, terms.pue, draws, g_per_kwh)
    return Bill("cloud", _interval(cost, draws.speed_known), *power, {"rent": float(cost[0])})


def on_premise_bill(of: Month, terms: OnPremise, draws: Draws, g_per_kwh: float) -> Bill:
    """The bill of one's own machines: the month's part of the purchase, other costs, and electricity times PUE."""
    owned = of.machines * terms.price / (12 * terms.years)
    other = of.machines * terms.other_per_month
    power = _energy(of, terms.pue, draws, g_per_kwh)
    if of.kwh is None:
        return Bill("on-premise", None, *power, {"purchase": float(owned[0]), "other": float(other[0])})
    electricity = of.kwh * terms.pue * terms.per_kwh
    cost = _interval(owned + other + electricity, draws.speed_known and draws.energy_known)
    parts = {"purchase": float(owned[0]), "other": float(other[0]), "electricity": float(electricity[0])}
    return Bill("on-premise", cost, *power, parts)


def edge_bill(per_day: float, request_j: float | None, terms: Edge, draws: Draws, g_per_kwh: float) -> Bill:
    """The bill of devices: their purchase, if any, and the energy of their requests above waiting.

    Args:
        per_day: Requests a day of all devices together.
        request_j: Energy of one request with one at a time, above waiting, J.
        terms: What the devices are.
        draws: Of the measurement's doubt.
        g_per_kwh: Of their electricity.
    """
    owned = terms.devices * terms.price / (12 * terms.years)
    if request_j is None:
        return Bill("edge", None, None, None, None, {"purchase": owned})
    kwh = per_day * DAYS_PER_MONTH * request_j * terms.energy_factor * draws.energy / _JOULES_PER_KWH
    electricity = kwh * terms.per_kwh
    known = draws.energy_known
    return Bill(
        "edge", _interval(owned + electricity, known), _interval(kwh, known),
        _interval(kwh * 1000 / MONTH_HOURS, known), _interval(kwh * g_per_kwh / 1000, known),
        {"purchase": owned, "electricity": float(electricity[0])},
    )  # fmt: skip


@dataclass(frozen=True)
class DeviceFit:
    """One device: its requests a day, the share of its battery a day that they take, and memory left; None unknown."""

    requests_per_day: float
    battery_share: Interval | None
    memory_left: Interval | None


def device_fit(
    per_day: float, request_j: float | None, memory: Interval | None, terms: Edge, draws: Draws
) -> DeviceFit:
    """What a device has to give for its share of ``per_day`` requests."""
    each = per_day / terms.devices
    battery = None
    if request_j is not None and terms.battery_wh is not None:
        share = each * request_j * terms.energy_factor * draws.energy / (terms.battery_wh * 3600)
        battery = _interval(share, draws.energy_known)
    left = None
    if memory is not None and terms.memory_bytes is not None:
        room = terms.memory_bytes
        ends = [None if end is None else room - end for end in (memory.high, memory.low)]
        left = Interval(room - memory.value, *ends)
    return DeviceFit(each, battery, left)


def _energy(
    of: Month, pue: float, draws: Draws, g_per_kwh: float
) -> tuple[Interval | None, Interval | None, Interval | None]:
    """Energy, mean power and CO2e a month, PUE included."""
    if of.kwh is None:
        return None, None, None
    known = draws.speed_known and draws.energy_known
    kwh = of.kwh * pue
    return _interval(kwh, known), _interval(kwh * 1000 / MONTH_HOURS, known), _interval(kwh * g_per_kwh / 1000, known)


def _interval(values: FloatArray, known: bool) -> Interval:
    value = float(values[0])
    if not known or len(values) < 2:
        return Interval(value)
    low, high = np.percentile(values[1:], [2.5, 97.5])
    return Interval(value, min(value, float(low)), max(value, float(high)))

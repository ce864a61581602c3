"""The whole plan: from a measured configuration and assumptions to replicas, bills, break-even and sensitivity."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace

import numpy as np
from pydantic import Field

from trilemma.base import Frozen
from trilemma.planning.arrays import FloatArray
from trilemma.planning.capacity import Capacity, Checked, Kept, checked
from trilemma.planning.cost import (
    CERTAIN,
    Bill,
    Cloud,
    DeviceFit,
    Draws,
    Edge,
    Kind,
    Month,
    OnPremise,
    cloud_bill,
    device_fit,
    edge_bill,
    mean_month,
    month,
    on_premise_bill,
)
from trilemma.planning.demand import SECONDS_PER_HOUR, Demand
from trilemma.planning.fleet import Fleet, fleet
from trilemma.planning.limits import Availability, Latency, default_latency
from trilemma.planning.measured import Measured
from trilemma.planning.queueing import FULLEST, best_slots, missed
from trilemma.planning.service import PowerCurve, ServiceCurve
from trilemma.planning.stated import PRICE_WORDS, PriceKind, Stated, stated
from trilemma.planning.tables import Tables, first, first_name

LOAD, MEMORY = "load", "memory"
"""What a device may miss besides limits on latency: it does not keep up, or the model does not fit."""


class Assumptions(Frozen):
    """Everything that a plan takes for granted beside what was measured."""

    demand: Demand = Demand()
    latency: Latency | None = Field(default=None, description="None: a default out of what was measured.")
    availability: Availability = Availability()
    slots: int | None = Field(default=None, ge=1, description="None: as many as let a replica bear most.")
    idle_w: float | None = Field(default=None, ge=0, le=1e6, description="Of a machine that waits; None: as measured.")
    cloud: Cloud | None = None
    on_premise: OnPremise | None = None
    edge: Edge | None = None
    g_per_kwh: float = Field(default=481.0, ge=0, le=5000)
    currency: str = Field(default="USD", max_length=8)
    stated: tuple[Stated, ...] = Field(default=(), description="Where the prices above come from.")


@dataclass(frozen=True)
class Setup:
    """What a plan is computed with: the replica, its power, and limits, all as assumed."""

    curve: ServiceCurve
    power: PowerCurve | None
    latency: Latency
    draws: Draws

    @property
    def request_j(self) -> float | None:
        """Energy of a request that is alone, above waiting, J."""
        if self.power is None:
            return None
        above = float(self.power.at(np.ones(1))[0]) - self.power.idle_w
        return above * float(self.curve.service[0])


@dataclass(frozen=True)
class Plan:
    """What it will take.

    ``first`` and ``largest`` are the fleets that the day of the first and of the largest month takes, ``checked`` the
    simulation of the largest month's peak hour, ``bills`` are means over the horizon by kind. ``device`` is what one
    device of an edge deployment gives in the largest month, ``device_misses`` what it cannot do of that: names of
    limits, :data:`LOAD`, :data:`MEMORY`.
    """

    measured: Measured
    assumptions: Assumptions
    setup: Setup
    capacity: Capacity
    first: Fleet
    largest: Fleet
    checked: Checked
    bills: Mapping[Kind, Bill]
    by_month: Mapping[Kind, tuple[float | None, ...]]
    device: DeviceFit | None
    device_misses: tuple[str, ...]

    @property
    def users_bring(self) -> bool:
        """Whether the devices of the edge deployment are paid by nobody here."""
        return self.assumptions.edge is not None and self.assumptions.edge.price == 0

    @property
    def cheapest(self) -> Bill | None:
        """The bill with the lowest known cost of those that keep the limits.

        Devices that users bring are compared with nothing: their bill is electricity alone.
        """
        known = [bill for bill in self.bills.values() if bill.cost is not None]
        known = [bill for bill in known if bill.kind != "edge" or not (self.device_misses or self.users_bring)]
        return min(known, key=lambda bill: bill.cost.value if bill.cost else 0.0, default=None)


def default_assumptions(tables: Tables, demand: Demand | None = None) -> Assumptions:
    """What a plan begins with: the first entry of every table, the team's own before the examples."""
    cloud, machine, electricity = first(tables.cloud), first(tables.machine), first(tables.electricity)
    overhead, grid = first(tables.pue), first(tables.grid)
    pue = overhead.factor if overhead else 1.0
    per_kwh = electricity.per_kwh if electricity else None
    assumed = Assumptions(
        demand=demand or Demand(),
        cloud=Cloud(per_hour=cloud.per_hour, pue=pue) if cloud else None,
        on_premise=OnPremise(price=machine.price, per_kwh=per_kwh, pue=pue)
        if machine and per_kwh is not None
        else None,
        edge=Edge(per_kwh=per_kwh) if per_kwh is not None else None,
        g_per_kwh=grid.g_per_kwh if grid else 0.0,
        currency=tables.currency,
    )
    return with_sources(assumed, tables, {kind: first_name(tables.entries(kind)) for kind in PRICE_WORDS})


def with_sources(assumed: Assumptions, tables: Tables, picks: Mapping[PriceKind, str]) -> Assumptions:
    """``assumed`` with where each of its prices comes from.

    Args:
        assumed: With prices.
        tables: What they may come from.
        picks: By kind, the name of the entry that was chosen; a price that is another was entered.
    """
    power, housed = assumed.on_premise or assumed.edge, assumed.on_premise or assumed.cloud
    prices: dict[PriceKind, float | None] = {
        "cloud": assumed.cloud.per_hour if assumed.cloud else None,
        "machine": assumed.on_premise.price if assumed.on_premise else None,
        "electricity": power.per_kwh if power else None,
        "pue": housed.pue if housed else None,
        "grid": assumed.g_per_kwh,
    }
    found = tuple(
        stated(kind, value, tables.entries(kind).get(picks.get(kind, "")), assumed.currency)
        for kind, value in prices.items() if value is not None
    )  # fmt: skip
    return assumed.model_copy(update={"stated": found})


def set_up(found: Measured, assumed: Assumptions) -> Setup:
    """The replica for the lengths assumed, with limits, and with no more slots than were measured."""
    curve = found.curve.for_tokens(assumed.demand.tokens_in, assumed.demand.tokens_out)
    latency = assumed.latency or default_latency(curve)
    most = max(1, int(curve.levels[-1]))
    slots = min(assumed.slots, most) if assumed.slots else best_slots(curve, latency)
    power, doubt = found.power, found.doubt
    if power is not None and assumed.idle_w is not None:
        # The work comes on top of whatever the machine draws while it waits.
        watts = power.watts - power.idle_w + assumed.idle_w
        power, doubt = replace(power, idle_w=assumed.idle_w, watts=watts), replace(doubt, idle=0.0)
    return Setup(curve.with_slots(slots), power, latency, Draws.of(doubt))


def make_plan(
    found: Measured,
    assumed: Assumptions,
    *,
    kept: Kept | None = None,
    progress: Callable[[str], None] = lambda _: None,
) -> Plan:
    """Plan a fleet.

    Args:
        found: What was measured.
        assumed: Everything else.
        kept: What was simulated before for the same :func:`set_up`; added to.
        progress: Told what is done.

    Raises:
        PlanError: no number of replicas keeps the limits, or an assumption does not fit what was measured.
    """
    setup = set_up(found, assumed)

    def simulating(size: int) -> None:
        progress(f"Simulating {size} {'replica' if size == 1 else 'replicas'}")

    capacity = Capacity(setup.curve, setup.latency, kept=kept, progress=simulating)
    demand = assumed.demand
    test = checked_peak(capacity, demand, progress)
    apart = demand.months if demand.growth else 1  # without growth all months are one
    fleets = {
        follows: [_fleet(capacity, setup, assumed, one, follows, test) for one in range(apart)]
        for follows in {True, *_followings(assumed)}
    }
    progress("Counting power and cost")
    bills, by_month = _bills(assumed, setup, capacity, fleets, [demand.volume(one) for one in range(apart)])
    device: DeviceFit | None = None
    misses: tuple[str, ...] = ()
    if assumed.edge is not None:
        volume, peak = demand.volume(demand.largest_month), demand.peak_rate(demand.largest_month)
        device = device_fit(volume, setup.request_j, found.memory, assumed.edge, setup.draws)
        misses = device_misses(setup, peak / assumed.edge.devices)
        if device.memory_left is not None and device.memory_left.value < 0:
            misses = (*misses, MEMORY)
    shown = fleets[True]
    return Plan(
        found, assumed, setup, capacity, shown[0], shown[demand.largest_month], test, bills,
        {kind: costs * (demand.months // apart) for kind, costs in by_month.items()}, device, misses,
    )  # fmt: skip


def checked_peak(capacity: Capacity, demand: Demand, progress: Callable[[str], None]) -> Checked:
    """The replicas of the largest month's peak hour, checked by a longer simulation."""
    rate = demand.peak_rate(demand.largest_month)
    capacity.needed(rate)
    if rate not in capacity.kept.checks:
        progress("Checking the busiest hour with a longer simulation")
    return checked(capacity, rate)


def device_misses(setup: Setup, rate: float) -> tuple[str, ...]:
    """What a device that answers one request at a time cannot do of ``rate`` requests a second, by the arithmetic.

    Returns:
        Names of limits, or :data:`LOAD` alone where it does not keep up.
    """
    one = setup.curve.with_slots(1)
    return (LOAD,) if rate > FULLEST * one.top_rate else missed(one, 1, rate, setup.latency)


def costs_at(
    setup: Setup, assumed: Assumptions, capacity: Capacity, rates: FloatArray, *, extra: int = 0
) -> dict[Kind, float | None]:
    """What each deployment costs a month at given arrivals by hour, without intervals; None where that is not known, or
    where devices cannot bear it.

    Args:
        setup: What to compute with.
        assumed: Prices, reserve and devices.
        capacity: What fleets bear.
        rates: Requests a second; shape (24,).
        extra: Replicas that a longer simulation asked for in the largest hour.

    Raises:
        PlanError: no number of replicas keeps the limits.
    """
    fleets = {
        follows: [fleet(capacity, rates, assumed.availability, setup.power, follows=follows, extra=extra)]
        for follows in _followings(assumed)
    }
    certain = replace(setup, draws=Draws.of(CERTAIN, 0))
    bills, _ = _bills(assumed, certain, capacity, fleets, [float(rates.sum() * SECONDS_PER_HOUR)])
    costs = {kind: bill.cost.value if bill.cost else None for kind, bill in bills.items()}
    if assumed.edge is not None and device_misses(setup, float(rates.max()) / assumed.edge.devices):
        costs["edge"] = None
    return costs


def _followings(assumed: Assumptions) -> set[bool]:
    return {terms.follows for terms in (assumed.cloud, assumed.on_premise) if terms is not None}


def _fleet(capacity: Capacity, setup: Setup, assumed: Assumptions, number: int, follows: bool, test: Checked) -> Fleet:
    rates = assumed.demand.rates(number)
    extra = test.added if rates.max() >= test.rate * (1 - 1e-9) else 0
    return fleet(capacity, rates, assumed.availability, setup.power, follows=follows, extra=extra)


def _bills(
    assumed: Assumptions, setup: Setup, capacity: Capacity, fleets: Mapping[bool, list[Fleet]], volumes: list[float]
) -> tuple[dict[Kind, Bill], dict[Kind, tuple[float | None, ...]]]:
    """Bills, means over the months of ``fleets`` and of ``volumes`` (requests a day), and the costs of each month."""
    draws, grid = setup.draws, assumed.g_per_kwh
    months: dict[bool, list[Month]] = {
        follows: [month(day, capacity, assumed.availability, draws, follows=follows) for day in days]
        for follows, days in fleets.items()
    }
    bills: dict[Kind, Bill] = {}
    series: dict[Kind, list[Bill]] = {}
    if (cloud := assumed.cloud) is not None:
        bills["cloud"] = cloud_bill(mean_month(months[cloud.follows]), cloud, draws, grid)
        series["cloud"] = [cloud_bill(one, cloud, draws, grid) for one in months[cloud.follows]]
    if (own := assumed.on_premise) is not None:
        bills["on-premise"] = on_premise_bill(mean_month(months[own.follows]), own, draws, grid)
        series["on-premise"] = [on_premise_bill(one, own, draws, grid) for one in months[own.follows]]
    if (edge := assumed.edge) is not None:
        bills["edge"] = edge_bill(sum(volumes) / len(volumes), setup.request_j, edge, draws, grid)
        series["edge"] = [edge_bill(one, setup.request_j, edge, draws, grid) for one in volumes]
    by_month = {kind: tuple(one.cost.value if one.cost else None for one in rows) for kind, rows in series.items()}
    return bills, by_month

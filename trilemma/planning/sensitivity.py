"""Which assumption moves the answer most: each alone from a low to a high value, all others as they are (a tornado).

The ranges are this project's choice, wide enough to show what matters; where a 95 % interval was measured, it is the
range. Capacity under changed assumptions is estimated, not simulated (:class:`trilemma.planning.capacity.Estimated`).
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import NamedTuple

import numpy as np

from trilemma.analysis.uncertainty import NORMAL
from trilemma.errors import PlanError
from trilemma.planning.capacity import Estimated
from trilemma.planning.cost import Kind
from trilemma.planning.plan import Assumptions, Plan, Setup, costs_at
from trilemma.planning.service import PowerCurve

_PRICES: dict[Kind, list[tuple[str, str, float, float]]] = {
    "cloud": [("Price per hour", "per_hour", 0.8, 1.2)],
    "on-premise": [
        ("Purchase", "price", 0.8, 1.2),
        ("Years of use", "years", 1.5, 0.75),
        ("Electricity price", "per_kwh", 0.7, 1.3),
        ("Data centre overhead (PUE)", "pue", 0.8, 1.2),
    ],
    "edge": [
        ("Device price", "price", 0.8, 1.2),
        ("Electricity price", "per_kwh", 0.7, 1.3),
        ("Energy of the device", "energy_factor", 0.5, 2.0),
    ],
}
"""What a deployment's terms are multiplied by, at the low and at the high end of the cost."""


class Effect(NamedTuple):
    """What comes of one value of one assumption: its words, cost a month, replicas in the largest hour.

    None where the limits can then not be kept.
    """

    words: str
    cost: float | None
    replicas: int | None


@dataclass(frozen=True)
class Swing:
    """One assumption at its low and its high value."""

    name: str
    low: Effect
    high: Effect

    def width(self, of: str) -> float:
        """How far it moves ``cost`` or ``replicas``; infinite where the limits cannot be kept on one side."""
        ends = [getattr(effect, of) for effect in (self.low, self.high)]
        return math.inf if None in ends else abs(float(ends[1]) - float(ends[0]))


class _Case(NamedTuple):
    words: str
    assumed: Assumptions
    setup: Setup


def tornado(plan: Plan, kind: Kind) -> list[Swing]:
    """The swings of a deployment's cost in the largest month and of its replicas, the widest in cost first.

    Those that move neither are left out; none where the cost is not known. Devices at the edge are no replicas.
    """
    if base_effect(plan, kind).cost is None:
        return []
    cases = _Cases(plan, kind)
    swings = [Swing(name, _effect(plan, low, kind), _effect(plan, high, kind)) for name, low, high in cases]
    moved = [one for one in swings if one.width("cost") or (kind != "edge" and one.width("replicas"))]
    return sorted(moved, key=lambda one: (-one.width("cost"), -one.width("replicas")))


def base_effect(plan: Plan, kind: Kind) -> Effect:
    """The plan's own cost in the largest month and replicas: what the swings swing around."""
    return _effect(plan, _Case("as planned", plan.assumptions, plan.setup), kind)


def _effect(plan: Plan, case: _Case, kind: Kind) -> Effect:
    same = case.setup.curve is plan.setup.curve and case.setup.latency == plan.setup.latency
    capacity = Estimated(plan.capacity, *(() if same else (case.setup.curve, case.setup.latency)))
    demand, availability = case.assumed.demand, case.assumed.availability
    rates = demand.rates(demand.largest_month)
    try:
        needed = int(capacity.needed_each(rates).max()) + plan.checked.added
        replicas = needed + availability.spares_for(needed)
        cost = costs_at(case.setup, case.assumed, capacity, rates, extra=plan.checked.added)[kind]
    except PlanError:
        return Effect(case.words, None, None)
    return Effect(case.words, cost, replicas)


class _Cases:
    """The low and the high case of each assumption of a plan that bears on a deployment."""

    def __init__(self, plan: Plan, kind: Kind) -> None:
        self._plan, self._kind = plan, kind
        self._assumed, self._setup = plan.assumptions, plan.setup

    def __iter__(self) -> Iterator[tuple[str, _Case, _Case]]:
        yield from self._demand()
        if self._kind != "edge":
            yield from self._capacity()
        yield from self._energy()
        yield from self._prices()

    def _case(self, words: str, setup: Setup | None = None, **changes: object) -> _Case:
        return _Case(words, self._assumed.model_copy(update=changes), setup or self._setup)

    def _asked(self, words: str, **changes: object) -> _Case:
        return self._case(words, demand=self._assumed.demand.model_copy(update=changes))

    def _demand(self) -> Iterator[tuple[str, _Case, _Case]]:
        demand, tokens = self._assumed.demand, self._setup.curve.output_tokens
        halved, doubled = (demand.requests_per_day * factor for factor in (0.5, 2.0))
        yield (
            "Requests per day", self._asked(f"{halved:,.0f}", requests_per_day=halved),
            self._asked(f"{doubled:,.0f}", requests_per_day=doubled),
        )  # fmt: skip
        if demand.growth:
            twice = max(-0.5, min(1.0, 2 * demand.growth))
            doubled_growth = self._asked(f"{100 * twice:+.3g} %", growth=twice)
            yield "Growth per month", self._asked("none", growth=0.0), doubled_growth
        shorter, longer = (_longer(self._setup, factor) for factor in (0.75, 1.25))
        yield ("Output tokens", self._case(f"{tokens * 0.75:.0f}", shorter), self._case(f"{tokens * 1.25:.0f}", longer))

    def _capacity(self) -> Iterator[tuple[str, _Case, _Case]]:
        """What decides how many replicas a shared fleet has."""
        setup, availability = self._setup, self._assumed.availability
        shares = np.asarray(self._assumed.demand.shares)
        peaked = tuple(float(one) for one in shares**2)
        yield "Shape of the day", self._asked("flat", shares=(1.0,) * len(shares)), self._asked("peaked", shares=peaked)
        off, percent, basis = _range(self._plan.measured.doubt.speed)
        faster, slower = (replace(setup, curve=setup.curve.slower(factor)) for factor in (1 / off, off))
        name = f"Speed of a replica ({basis})"
        yield name, self._case(f"{percent} faster", faster), self._case(f"{percent} slower", slower)
        if list(setup.latency.aims()):
            loose, tight = (replace(setup, latency=setup.latency.looser(factor)) for factor in (1.5, 0.75))
            yield "Latency limits", self._case("half as long again", loose), self._case("a quarter shorter", tight)
        if availability.target is None:
            counts = (max(0, availability.spares - 1), availability.spares + 1)
            changed = [availability.model_copy(update={"spares": count}) for count in counts]
            fewer, more = (self._case(f"{one.spares}", availability=one) for one in changed)
            yield "Spare replicas", fewer, more
        else:
            shares_up = (1 - (1 - availability.replica) / 2, max(0.01, 1 - 2 * (1 - availability.replica)))
            changed = [availability.model_copy(update={"replica": share}) for share in shares_up]
            better, worse = (self._case(f"{100 * one.replica:.6g} %", availability=one) for one in changed)
            yield "Availability of a replica", better, worse

    def _energy(self) -> Iterator[tuple[str, _Case, _Case]]:
        setup, power = self._setup, self._setup.power
        if power is None:
            return
        off, percent, basis = _range(self._plan.measured.doubt.energy)
        less, more = (replace(setup, power=_scaled(power, factor)) for factor in (1 / off, off))
        name = f"Energy per request ({basis})"
        yield name, self._case(f"{percent} less", less), self._case(f"{percent} more", more)
        if power.idle_w and self._kind != "edge":
            watts = (power.idle_w / 2, power.idle_w * 2)
            low, high = (self._case(f"{one:.3g} W", replace(setup, power=_idling(power, one))) for one in watts)
            yield "Idle power", low, high

    def _prices(self) -> Iterator[tuple[str, _Case, _Case]]:
        field = self._kind.replace("-", "_")
        terms = getattr(self._assumed, field)
        for name, attribute, *factors in _PRICES[self._kind]:
            value = getattr(terms, attribute)
            least = 1.0 if attribute == "pue" else 0.0
            ends = [max(least, value * factor) for factor in factors]
            changed = [terms.model_copy(update={attribute: end}) for end in ends]
            low, high = (self._case(f"{end:.4g}", **{field: one}) for end, one in zip(ends, changed, strict=True))
            yield name, low, high


def _range(doubt: float | None) -> tuple[float, str, str]:
    """The factor to either side, in per cent, and what it rests on; a fifth where no interval is known."""
    off, basis = (1.2, "assumed") if doubt is None else (math.exp(NORMAL * doubt), "its 95 %")
    return off, f"{100 * (off - 1):.2g} %", basis


def _longer(setup: Setup, factor: float) -> Setup:
    """Answers longer by ``factor``: decoding takes as much longer. Watts stay, so joules follow the time."""
    return replace(setup, curve=setup.curve.for_tokens(None, max(2.0, setup.curve.output_tokens * factor)))


def _scaled(power: PowerCurve, factor: float) -> PowerCurve:
    return replace(power, watts=power.idle_w + (power.watts - power.idle_w) * factor)


def _idling(power: PowerCurve, watts: float) -> PowerCurve:
    return replace(power, idle_w=watts, watts=power.watts - power.idle_w + watts)

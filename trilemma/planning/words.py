"""A plan in words."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from trilemma.analysis.differences import joined
from trilemma.analysis.format import BLANK, Scale, digits, format_figure, format_scaled
from trilemma.planning.arrays import Interval
from trilemma.planning.break_even import BreakEven, Volumes
from trilemma.planning.cost import Bill, Kind
from trilemma.planning.limits import LATENCY_WORDS, SHARE
from trilemma.planning.plan import LOAD, MEMORY, Plan
from trilemma.planning.queueing import FULLEST
from trilemma.planning.sensitivity import Effect, Swing
from trilemma.planning.stated import PriceKind, Standing
from trilemma.records import HostInfo

KIND_WORDS: dict[Kind, str] = {"cloud": "Cloud", "on-premise": "On-premise", "edge": "Edge"}
_PRICES: dict[Kind, frozenset[PriceKind]] = {
    "cloud": frozenset({"cloud"}), "on-premise": frozenset({"machine", "electricity"}),
    "edge": frozenset({"electricity"}),
}  # fmt: skip


def hour_words(hour: int) -> str:
    """``14:00 to 15:00``."""
    return f"{hour}:00 to {(hour + 1) % 24}:00"


def money(value: float | None, currency: str) -> str:
    """``1,230 USD``; cents below 100, and never nothing for something."""
    if value is None:
        return BLANK
    if 0 < value < 0.005:
        return f"< 0.01 {currency}"
    return f"{value:,.2f} {currency}" if abs(value) < 100 else f"{round(value):,} {currency}"


def money_between(value: Interval | None, currency: str) -> str:
    """The value with its interval, as ``1,230 USD (1,180 to 1,300)``."""
    return "not known" if value is None else f"{money(value.value, currency)}{_ends(value, currency)}"


def _ends(value: Interval | None, currency: str) -> str:
    """`` (1,180 to 1,300)``; empty where the ends are not known, or read the same."""
    if value is None or value.low is None or value.high is None:
        return ""
    low, high = (money(end, currency).removesuffix(f" {currency}") for end in (value.low, value.high))
    return "" if low == high else f" ({low} to {high})"


def seconds(value: Interval) -> str:
    """``0.61 s ±0.02``."""
    return format_figure(value.value, "s", value.low, value.high)


def headline(plan: Plan) -> str:
    """The plan in the few words that a meeting reads: ``3 replicas; cloud costs least, 295 USD a month.``"""
    count = plan.largest.machines
    text = f"{count:,} {'replica' if count == 1 else 'replicas'} in the busiest hour, reserve included"
    cheapest = plan.cheapest
    if cheapest is None or cheapest.cost is None:
        edge = plan.bills.get("edge")
        if edge is None or edge.cost is None:
            return f"{text}; no cost is known."
        cost = money(edge.cost.value, plan.assumptions.currency)
        what = " of electricity" if plan.users_bring else ""
        unable = ", but devices cannot do this" if plan.device_misses else ""
        return f"{text}; at the edge {cost}{what} a month{unable}."
    cost = money(cheapest.cost.value, plan.assumptions.currency)
    others = [
        kind for kind, bill in plan.bills.items()
        if bill is not cheapest and bill.cost is not None and not (kind == "edge" and plan.users_bring)
    ]  # fmt: skip
    if not others:
        return f"{text}; {cost} a month."
    least = "costs least" if len(others) > 1 else f"costs less than {KIND_WORDS[others[0]].lower()}"
    return f"{text}; {KIND_WORDS[cheapest.kind].lower()} {least}, {cost} a month."


def replicas_sentence(plan: Plan) -> str:
    """How many replicas in the busiest hour, and what they bear."""
    demand, setup, test = plan.assumptions.demand, plan.setup, plan.checked
    spares = plan.largest.machines - int(plan.largest.needed.max())
    count = f"{test.replicas:,} {'replica' if test.replicas == 1 else 'replicas'}"
    slots = "one request at a time" if setup.curve.slots == 1 else f"up to {setup.curve.slots} requests at a time"
    when = f"in the busiest hour ({hour_words(demand.peak_hour)}, {digits(test.rate)} requests a second"
    when += f" in month {demand.months})" if demand.growth > 0 else ")"
    extra = f", and {spares:,} in reserve" if spares else ""
    return f"{count}, each answering {slots}, {when}{extra}."


def limits_sentence(plan: Plan) -> str:
    """What the simulation of the busiest hour found against the limits."""
    run = plan.checked.run
    parts = [
        f"{LATENCY_WORDS[aim.name]} {seconds(run.percentile(aim.name))} of {format_figure(aim.limit_s, 's')} allowed"
        for aim in plan.setup.latency.aims()
    ]
    if not parts:
        return f"No latency is limited; no replica is planned for more than {100 * FULLEST:.0f} % of what it completes."
    return f"Simulated for that hour, {100 * SHARE:.0f} of 100 requests take at most: {'; '.join(parts)}."


def bill_caption(plan: Plan, kind: Kind) -> str:
    """What a deployment's cost is for, in a line: ``a month in the cloud: rent at 0.202 USD an hour``."""
    assumed, bill = plan.assumptions, plan.bills[kind]
    between = _ends(bill.cost, assumed.currency)
    examples = {one.kind for one in assumed.stated if one.standing is Standing.EXAMPLE}
    note = " (example prices)" if examples & _PRICES[kind] else ""
    if kind == "cloud" and assumed.cloud:
        rent = f"rent at {digits(assumed.cloud.per_hour)} {assumed.currency} an hour"
        return f"a month in the cloud{between}: {rent}{note}"
    if kind == "on-premise" and assumed.on_premise:
        own = assumed.on_premise
        parts = f"purchase over {own.years:g} years, {'other costs, ' if own.other_per_month else ''}and electricity"
        return f"a month on-premise{between}: {parts}{note}"
    assert assumed.edge is not None
    edge = assumed.edge
    devices = f"{edge.devices:,} {'device' if edge.devices == 1 else 'devices'}"
    bought = f"purchase of {devices} over {edge.years:g} years, and electricity"
    brought = f"electricity of {devices} that users bring"
    unable = "; but devices cannot do this" if plan.device_misses else ""
    return f"a month at the edge{between}: {bought if edge.price else brought}{note}{unable}"


def parts_words(bill: Bill, currency: str) -> str:
    """``purchase 25.00 USD, electricity 0.18 USD``: what a cost is made up of, without what is nothing."""
    return ", ".join(f"{part} {money(value, currency)}" for part, value in bill.parts.items() if value) or BLANK


def cost_sentences(plan: Plan) -> list[str]:
    """The cheapest deployment that can do it, and the others against it."""
    currency, cheapest = plan.assumptions.currency, plan.cheapest
    told = []
    if cheapest is not None:
        told.append(
            f"{KIND_WORDS[cheapest.kind]} costs least of what is compared: "
            f"{money_between(cheapest.cost, currency)} a month."
        )
    for bill in plan.bills.values():
        if bill is not cheapest and bill.cost is not None:
            edge = bill.kind == "edge"
            notes = ["electricity alone, for users bring the devices"] if edge and plan.users_bring else []
            notes += ["but devices cannot do this"] if edge and plan.device_misses else []
            text = ", ".join([money_between(bill.cost, currency), *notes])
            told.append(f"{KIND_WORDS[bill.kind]}: {text}.")
    return told or ["No cost is known: enter a price."]


def costs_note(plan: Plan) -> str:
    """What a picture of the costs rests on."""
    note = "Modelled. Lines are 95 % intervals of what was measured (speed, energy); prices and demand are assumptions."
    return f"{note} At the edge it is electricity alone, for users bring the devices." if plan.users_bring else note


def summary(plan: Plan) -> list[str]:
    """The plan in a few sentences."""
    return [replicas_sentence(plan), limits_sentence(plan), *cost_sentences(plan)]


def break_even_sentences(found: Volumes) -> list[str]:
    """Where the cheaper of two changes; of many changes between the same two, the first and the last."""
    told = []
    by_pair: dict[frozenset[Kind], list[BreakEven]] = {}
    for one in found.crossings:
        by_pair.setdefault(frozenset((one.below, one.above)), []).append(one)
    for crossings in by_pair.values():
        first, last = crossings[0], crossings[-1]
        text = (
            f"{KIND_WORDS[last.above]} costs less than {KIND_WORDS[last.below].lower()} from "
            f"{digits(last.volume)} requests a day on"
        )
        if len(crossings) > 1:
            text += (
                f"; between {digits(first.volume)} and that it changes {len(crossings)} times, for replicas are whole"
            )
        told.append(f"{text}.")
    return told


def order_sentence(found: Volumes) -> str:
    """Which deployment costs least at every volume looked at, where none overtakes another."""
    if len(found.compared) < 2:
        return "Fewer than two deployments can be compared by what they cost, so there is no break-even."
    costs = np.array([found.costs[kind] for kind in found.compared])
    known = np.flatnonzero(np.isfinite(costs).all(axis=0))
    if not known.size:
        return "At no volume can all of these deployments bear what is asked, so there is no break-even."
    order = np.argsort(costs[:, known[0]], kind="stable")
    names = [KIND_WORDS[found.compared[row]].lower() for row in order]
    ends = (digits(found.volumes[known[end]]) for end in (0, -1))
    return f"From {' to '.join(ends)} requests a day the order stays the same, the cheapest first: {', '.join(names)}."


def caveats(plan: Plan) -> list[str]:
    """What a reader must know before trusting the plan."""
    told = list(plan.measured.notes)
    if plan.assumptions.demand.tokens_in and not plan.measured.curve.prompt_tokens:
        told.append("How long the measured prompts were is not known: the prompt tokens entered change nothing.")
    if (added := plan.checked.added) > 0:
        more = f"{added:,} more {'replica' if added == 1 else 'replicas'} than first found"
        told.append(f"{more}: a longer simulation asked for {'it' if added == 1 else 'them'}.")
    if not plan.checked.run.keeps(plan.setup.latency):
        told.append("The longer simulation does not keep the limits even so: the plan promises nothing.")
    if any(bill.cost is not None and bill.cost.low is None for bill in plan.bills.values()):
        told.append("Where no interval is shown, the measurement has none: repeat it to get one.")
    return [*told, *device_caveats(plan)]


def device_caveats(plan: Plan) -> list[str]:
    """What one device of an edge deployment cannot do; nothing without one."""
    missed = plan.device_misses
    told = []
    if LOAD in missed:
        told.append("A device cannot answer its share of the busiest hour, one request after the other.")
    if names := [LATENCY_WORDS[name] for name in missed if name in LATENCY_WORDS]:
        told.append(f"A device with its share of the busiest hour does not keep the limit on {joined(names)}.")
    if MEMORY in missed:
        told.append("The model does not fit into the memory of a device.")
    return told


def notes(plan: Plan, machine: str = "") -> list[str]:
    """:func:`caveats`, and what any plan rests on; ``machine`` is what was measured on, in words."""
    told = caveats(plan)
    where = f" ({machine})" if machine else ""
    told.append(f"Every machine and device is taken to be as fast as the one measured{where}, whatever its price.")
    examples = [one.words for one in plan.assumptions.stated if one.standing is Standing.EXAMPLE]
    if examples:
        told.append(
            f"Examples, not prices of yours, and not checked since the date that each states: {'; '.join(examples)}. "
            "Put yours in their place."
        )
    return told


def machine_words(host: HostInfo | None) -> str:
    """``AMD EPYC, 2 cores``, in a cluster with its name before; empty where it is not known."""
    if host is None:
        return ""
    what = f"{host.cpu}, {host.cores} {'core' if host.cores == 1 else 'cores'}"
    return f"{host.name}: {what}" if host.name else what


def tornado_text(swings: Sequence[Swing], currency: str, *, of: str = "cost") -> str:
    """The text alternative of a tornado: what moves the monthly cost, or the replicas, most."""
    if not swings:
        return "No assumption moves it."
    told = [
        f"{one.name} ({one.low.words} or {one.high.words}): {effect_words(one.low, currency, of=of)} or "
        f"{effect_words(one.high, currency, of=of)}"
        for one in swings[:3]
    ]
    return f"What moves {'the monthly cost' if of == 'cost' else 'the replicas'} most: {'; '.join(told)}."


def effect_words(effect: Effect, currency: str, *, of: str = "cost") -> str:
    """``1,230 USD`` or ``4 replicas``; ``cannot be kept`` where limits or availability cannot."""
    value = effect.cost if of == "cost" else effect.replicas
    if value is None:
        return "cannot be kept"
    return money(value, currency) if of == "cost" else f"{value:,.0f} {'replica' if value == 1 else 'replicas'}"


def quantity(value: Interval | None, unit: str) -> str:
    """Energy or power with its interval; a dash where it is not known."""
    return BLANK if value is None else format_figure(value.value, unit, value.low, value.high)


def mass(kg: Interval | None) -> str:
    """A mass in g, kg or t with its interval; a dash where it is not known."""
    if kg is None:
        return BLANK
    scale = Scale(1e-3, "g") if kg.value < 1 else Scale(1.0, "kg") if kg.value < 1000 else Scale(1000.0, "t")
    return format_scaled(kg.value, scale, kg.low, kg.high)

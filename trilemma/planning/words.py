"""A plan in words, and as a document for scripts."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from trilemma.analysis.format import BLANK, Scale, digits, format_figure, interval_text, scale_for
from trilemma.planning.arrays import Interval
from trilemma.planning.break_even import Volumes
from trilemma.planning.cost import Kind
from trilemma.planning.limits import SHARE
from trilemma.planning.plan import Plan
from trilemma.planning.sensitivity import Swing
from trilemma.planning.stated import PriceKind, Standing
from trilemma.records import HostInfo

KIND_WORDS: dict[Kind, str] = {"cloud": "Cloud", "on-premise": "On-premise", "edge": "Edge"}
_PRICES: dict[Kind, frozenset[PriceKind]] = {
    "cloud": frozenset({"cloud"}), "on-premise": frozenset({"machine", "electricity"}),
    "edge": frozenset({"electricity"}),
}  # fmt: skip
LATENCY_WORDS = {
    "ttft": "time to first token", "e2e": "time to last token", "tpot": "time per output token",
    "wait": "wait for a slot",
}  # fmt: skip


def hour_words(hour: int) -> str:
    """``14:00 to 15:00``."""
    return f"{hour}:00 to {(hour + 1) % 24}:00"


def money(value: float | None, currency: str) -> str:
    """``1,230 USD``; cents below 100."""
    if value is None:
        return BLANK
    return f"{value:,.2f} {currency}" if abs(value) < 100 else f"{round(value):,} {currency}"


def money_between(value: Interval | None, currency: str) -> str:
    """The value with its interval, as ``1,230 USD (1,180 to 1,300)``."""
    if value is None:
        return "not known"
    text = money(value.value, currency)
    if value.low is None or value.high is None or value.low == value.high:
        return text
    low, high = (money(end, currency).removesuffix(f" {currency}") for end in (value.low, value.high))
    return text if low == high else f"{text} ({low} to {high})"


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
        return f"{text}; at the edge {cost} of electricity a month."
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
    slots = "one request at a time" if setup.curve.slots == 1 else f"{setup.curve.slots} requests at a time"
    when = f"in the busiest hour ({hour_words(demand.peak_hour)}, {digits(test.rate)} requests a second"
    when += f" after {demand.months} months of growth)" if demand.growth > 0 else ")"
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
        return f"No latency is limited; replicas are kept below {run.busy:.0%} busy."
    return f"Simulated for that hour, {SHARE:.0%} of requests keep: {'; '.join(parts)}."


def bill_caption(plan: Plan, kind: Kind) -> str:
    """What a deployment's cost is for, in a line: ``a month in the cloud: rent at 0.202 USD an hour``."""
    assumed, bill = plan.assumptions, plan.bills[kind]
    between = ""
    if bill.cost is not None and bill.cost.low is not None and bill.cost.high is not None:
        ends = [money(end, assumed.currency).removesuffix(f" {assumed.currency}") for end in bill.cost[1:]]
        between = "" if ends[0] == ends[1] else f" ({ends[0]} to {ends[1]})"
    examples = {one.kind for one in assumed.stated if one.standing is Standing.EXAMPLE}
    note = " (example prices)" if examples & _PRICES[kind] else ""
    if kind == "cloud" and assumed.cloud:
        rent = f"rent at {digits(assumed.cloud.per_hour)} {assumed.currency} an hour"
        return f"a month in the cloud{between}: {rent}{note}"
    if kind == "on-premise" and assumed.on_premise:
        return f"a month on-premise{between}: purchase over {assumed.on_premise.years:g} years, and electricity{note}"
    assert assumed.edge is not None
    bought = "bought for this" if assumed.edge.price else "that users bring"
    return f"a month at the edge{between}: electricity of {assumed.edge.devices:,} devices {bought}{note}"


def cost_sentences(plan: Plan) -> list[str]:
    """The cheapest deployment that keeps the limits, and the others against it."""
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
            notes += ["does not keep the limits"] if edge and plan.device_misses else []
            text = ", ".join([money_between(bill.cost, currency), *notes])
            told.append(f"{KIND_WORDS[bill.kind]}: {text}.")
    return told or ["No cost is known: enter a price."]


def summary(plan: Plan) -> list[str]:
    """The plan in a few sentences."""
    return [replicas_sentence(plan), limits_sentence(plan), *cost_sentences(plan)]


def break_even_sentences(found: Volumes, kinds: Iterable[Kind] = ()) -> list[str]:
    """Where the cheaper of two changes; of many changes between the same two, the first and the last."""
    told, wanted = [], set(kinds)
    by_pair: dict[frozenset[Kind], list[Any]] = {}
    for one in found.crossings:
        by_pair.setdefault(frozenset((one.below, one.above)), []).append(one)
    for pair, crossings in by_pair.items():
        if wanted and not pair <= wanted:
            continue
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
    order = sorted(found.costs, key=lambda kind: float(found.costs[kind][0]))
    names = [KIND_WORDS[kind].lower() for kind in order]
    return (
        f"From {digits(found.volumes[0])} to {digits(found.volumes[-1])} requests a day the order stays the same, "
        + (f"the cheapest first: {', '.join(names)}.")
    )


def caveats(plan: Plan) -> list[str]:
    """What a reader must know before trusting the plan."""
    told = list(plan.measured.notes)
    if plan.checked.added:
        told.append(f"{plan.checked.added} more replicas than first found: a longer simulation asked for them.")
    if not plan.checked.run.keeps(plan.setup.latency):
        told.append("The longer simulation does not keep the limits even so: the plan promises nothing.")
    bills = list(plan.bills.values())
    if any(bill.cost is not None and bill.cost.low is None for bill in bills):
        told.append("Where no interval is shown, the measurement has none: repeat it to get one.")
    if plan.device_misses:
        names = ", ".join(LATENCY_WORDS[name] for name in plan.device_misses)
        told.append(f"A single device of this speed does not keep the limit on {names}.")
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
    """``AMD EPYC, 2 cores``; empty where it is not known."""
    return "" if host is None else f"{host.cpu}, {host.cores} {'core' if host.cores == 1 else 'cores'}"


def tornado_text(swings: Sequence[Swing], currency: str) -> str:
    """The text alternative of a tornado: what moves the cost most."""
    if not swings:
        return "No assumption moves the cost."
    told = [
        f"{one.name} ({one.low.words} or {one.high.words}): {money(one.low.cost, currency)} or "
        f"{money(one.high.cost, currency)}"
        for one in swings[:3]
    ]
    return f"What moves the monthly cost most: {'; '.join(told)}."


def quantity(value: Interval | None, unit: str) -> str:
    """Energy or power with its interval; a dash where it is not known."""
    return BLANK if value is None else _with_interval(value, scale_for([value.value], unit))


def mass(kg: Interval | None) -> str:
    """A mass in g, kg or t with its interval; a dash where it is not known."""
    if kg is None:
        return BLANK
    scale = Scale(1e-3, "g") if kg.value < 1 else Scale(1.0, "kg") if kg.value < 1000 else Scale(1000.0, "t")
    return _with_interval(kg, scale)


def _with_interval(value: Interval, scale: Scale) -> str:
    between = interval_text(*value, scale)
    if between and not between.startswith("±"):
        between = f"({between})"
    return f"{digits(scale.show(value.value))} {scale.unit} {between}".strip()


def document(plan: Plan, found: Volumes, swings: dict[Kind, list[Swing]]) -> dict[str, Any]:
    """Everything that the page shows, for scripts: base units, intervals as value, low and high."""
    run = plan.checked.run
    names = ["wait", "ttft", "e2e", *(["tpot"] if plan.setup.curve.output_tokens > 1 else [])]
    return {
        "configuration": {"id": plan.measured.configuration_id, "label": plan.measured.label},
        "workload": plan.measured.workload,
        "assumptions": plan.assumptions.model_dump(mode="json"),
        "limits": plan.setup.latency.model_dump(exclude_none=True),
        "slots": plan.setup.curve.slots,
        "replicas": {
            "busiest_hour": plan.checked.replicas,
            "with_spares": plan.largest.machines,
            "by_hour": plan.largest.running.tolist(),
            "by_hour_first_month": plan.first.running.tolist(),
            "rates_per_s": plan.largest.rates.tolist(),
        },
        "simulation": {
            "requests": len(run.e2e),
            "rate_per_s": plan.checked.rate,
            "busy": run.busy,
            **{f"{name}_p95_s": run.percentile(name)._asdict() for name in names},
        },
        "per_month": {
            kind: {
                "cost": _dict(bill.cost),
                "parts": dict(bill.parts),
                "energy_kwh": _dict(bill.energy_kwh),
                "power_w": _dict(bill.power_w),
                "co2e_kg": _dict(bill.co2e_kg),
                "cost_by_month": list(plan.by_month[kind]),
            }
            for kind, bill in plan.bills.items()
        },
        "device": None
        if plan.device is None
        else {
            "requests_per_day": plan.device.requests_per_day,
            "battery_share_per_day": _dict(plan.device.battery_share),
            "memory_left_bytes": _dict(plan.device.memory_left),
            "limits_missed": list(plan.device_misses),
        },
        "break_even": [one.__dict__ for one in found.crossings],
        "sensitivity": {
            kind: [{"name": one.name, "low": one.low._asdict(), "high": one.high._asdict()} for one in rows]
            for kind, rows in swings.items()
        },
        "summary": [*summary(plan), *break_even_sentences(found)],
        "caveats": caveats(plan),
    }


def _dict(value: Interval | None) -> dict[str, float | None] | None:
    return None if value is None else value._asdict()

"""What a plan assumes and what it gives each device, in words."""

from __future__ import annotations

from trilemma.analysis.format import digits, format_figure
from trilemma.planning.demand import DAY_CURVES, Demand
from trilemma.planning.limits import LATENCY_WORDS
from trilemma.planning.plan import MEMORY, Plan
from trilemma.planning.words import money


def assumption_rows(plan: Plan) -> list[tuple[str, str]]:
    """Everything that a plan assumes beside prices: a name and what is assumed."""
    assumed, demand, setup = plan.assumptions, plan.assumptions.demand, plan.setup
    growth = f"{100 * demand.growth:+g} % a month" if demand.growth else "none"
    slots = f"{setup.curve.slots}" + ("" if assumed.slots else ", as many as pay")
    rows = [
        ("Configuration", plan.measured.label),
        ("Workload", plan.measured.workload.replace("_", " ")),
        ("Requests a day", f"{demand.requests_per_day:,.10g}"),
        ("When in the day", _day(demand)),
        ("Growth", f"{growth}, {demand.months} months ahead"),
        ("Prompt tokens", _tokens(demand.tokens_in, plan.measured.curve.prompt_tokens)),
        ("Output tokens", _tokens(demand.tokens_out, plan.measured.curve.output_tokens)),
        ("Limits, for 95 of 100 requests", _limits(plan)),
        ("Requests that a replica answers at a time", slots),
        ("Reserve", _reserve(plan)),
        ("Idle power of a machine", "as measured" if assumed.idle_w is None else f"{assumed.idle_w:g} W"),
    ]
    if (cloud := assumed.cloud) is not None:
        rows.append(("Cloud", "machines are given back in hours that need fewer" if cloud.follows else "all run on"))
    if (own := assumed.on_premise) is not None:
        off = "machines are switched off in hours that need fewer" if own.follows else "all stay on"
        costs = money(own.other_per_month, assumed.currency)
        other = f", other costs {costs} a machine and month" if own.other_per_month else ", no other costs"
        rows.append(("On-premise", f"written off over {own.years:g} years{other}, {off}"))
    if (edge := assumed.edge) is not None:
        bought = f"{money(edge.price, assumed.currency)} each" if edge.price else "that users bring"
        battery = "on mains" if edge.battery_wh is None else f"battery {edge.battery_wh:g} Wh"
        memory = "" if edge.memory_bytes is None else f", memory {format_figure(edge.memory_bytes, 'B')}"
        factor = "" if edge.energy_factor == 1 else f"{edge.energy_factor:g} times "
        energy = f", {factor}the measured energy a request"
        rows.append(("Edge", f"{edge.devices:,} devices {bought}, {battery}{memory}{energy}"))
    return rows


def _day(demand: Demand) -> str:
    named = next((name for name, shares in DAY_CURVES.items() if tuple(shares) == demand.shares), "")
    return named or f"in these proportions from midnight on: {', '.join(f'{one:g}' for one in demand.shares)}"


def _tokens(assumed: float | None, measured: float) -> str:
    if assumed is not None:
        return f"{assumed:,.10g}"
    return f"{measured:,.0f}, as measured" if measured else "as measured"


def _limits(plan: Plan) -> str:
    aims = [f"{LATENCY_WORDS[aim.name]} {format_figure(aim.limit_s, 's')}" for aim in plan.setup.latency.aims()]
    return "; ".join(aims) or "none"


def _reserve(plan: Plan) -> str:
    availability = plan.assumptions.availability
    if availability.target is None:
        count = availability.spares
        return f"{count:,} {'replica' if count == 1 else 'replicas'}"
    wanted, up = 100 * availability.target, 100 * availability.replica
    return f"for an availability of {wanted:.8g} %, one replica being up {up:.6g} % of the time"


def device_sentence(plan: Plan) -> str:
    """What one device of an edge deployment has to give; empty without one."""
    device, edge = plan.device, plan.assumptions.edge
    if device is None or edge is None:
        return ""
    told = [f"Each device gets {digits(device.requests_per_day)} requests a day"]
    if (share := device.battery_share) is not None:
        known = share.low is not None and share.high is not None
        between = f" ({_percent(share.low)} to {_percent(share.high)})" if known else ""
        told.append(f"they take {_percent(share.value)} of its battery a day{between}")
    if (left := device.memory_left) is not None:
        free = f"{format_figure(left.value, 'B', left.low, left.high)} of its memory stay free"
        told.append("the model does not fit into its memory" if MEMORY in plan.device_misses else free)
    factor = edge.energy_factor
    energy = "that of the measured machine" if factor == 1 else f"{factor:g} times that of the measured machine"
    return f"{'; '.join(told)}. Its speed is taken to be that of the measured machine, its energy a request {energy}."


def _percent(share: float | None) -> str:
    return f"{digits(None if share is None else 100 * share)} %"

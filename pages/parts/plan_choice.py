"""What is assumed on Plan: configuration, demand, limits, prices; all of it in the URL."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

import streamlit as st
from pydantic import ValidationError

from pages import shared
from pages.parts import decide_choice, explore_data, plan_data
from pages.parts.plan_data import Version
from pages.parts.url_state import UrlState
from trilemma.errors import PlanError
from trilemma.planning.cost import Cloud, Edge, OnPremise
from trilemma.planning.demand import DAY_CURVES, HOURS, Demand
from trilemma.planning.limits import Availability, Latency, default_latency
from trilemma.planning.measured import Measured
from trilemma.planning.plan import Assumptions, with_sources
from trilemma.planning.stated import PriceKind, stated
from trilemma.planning.tables import Tables, first_name

OWN_CURVE = "hours of your own"
VIEWS = ("Replicas through the day", "Cost by deployment", "Break-even", "What moves it most")
_GIB = 2.0**30


class Number(NamedTuple):
    """A number that can be set: its label with the unit, ends, step, help, and what it means to leave it empty, if it
    may be. ``{currency}`` in a label is that of the tables; a ``whole`` one has no fraction."""

    label: str
    low: float
    high: float
    step: float
    help: str = ""
    empty: str = ""
    whole: bool = False


NUMBERS: dict[str, Number] = {
    "day": Number("Requests a day", 1, 1e12, 1000, "In the first month, of all users together."),
    "growth": Number("Growth, % a month", -50, 100, 1),
    "months": Number("Months ahead", 1, 120, 1, whole=True),
    "tin": Number("Prompt tokens", 1, 1e8, 64, "Prefill is taken to grow in proportion.", "as measured"),
    "tout": Number("Output tokens", 2, 1e8, 64, "Decoding is taken to grow in proportion.", "as measured"),
    "ttft": Number("First token, p95, s", 0.001, 1e6, 0.5, "Waiting for a slot included.", "no limit"),
    "e2e": Number("Whole answer, p95, s", 0.001, 1e6, 1, "Waiting for a slot included.", "no limit"),
    "tpot": Number("Each further token, p95, ms", 0.01, 1e6, 10, "", "no limit"),
    "slots": Number("Requests at a time", 1, 1e6, 1, "A replica's slots, of those measured.", "as many as pay", True),
    "spares": Number("Replicas in reserve", 0, 1000, 1, "N + k: beside those that the busiest hour takes.", whole=True),
    "target": Number("Availability wanted, %", 50, 99.9999, 0.1, "Sets the reserve instead.", "fixed reserve"),
    "up": Number("A replica is up, %", 1, 99.9999, 0.1, "Replicas are taken to fail independently."),
    "hourly": Number("Price an hour, {currency}", 0, 1e6, 0.1),
    "price": Number("Price of a machine, {currency}", 0, 1e9, 100),
    "years": Number("Written off over, years", 0.1, 30, 1),
    "other": Number("Other costs a month, {currency}", 0, 1e9, 10, "For each machine: rack, network, staff."),
    "kwh": Number("Electricity, {currency} a kWh", 0, 1e3, 0.01),
    "pue": Number("PUE", 1, 5, 0.1, "All of a data centre's energy over that of its machines."),
    "grid": Number("Grid, g CO2e a kWh", 0, 5000, 10),
    "idle": Number("Idle power of a machine, W", 0, 1e6, 5, "What a replica draws while it waits.", "as measured"),
    "devices": Number("Devices", 1, 1e10, 1000, whole=True),
    "device": Number("Price of a device, {currency}", 0, 1e9, 10, "0 where users bring theirs."),
    "battery": Number("Battery, Wh", 0.1, 1e5, 1, "A phone has about 18.", "on mains"),
    "memory": Number("Memory of a device, GiB", 0.01, 900_000, 1, "", "not checked"),
    "factor": Number("Device's energy / measured", 0.001, 1000, 0.1, "For one request; 1 where that is not known."),
}
FLAGS = {"returned": "Cloud machines are given back in hours that need fewer",
         "off": "One's own machines are switched off in hours that need fewer"}  # fmt: skip
PICKS: dict[str, tuple[PriceKind, str]] = {
    "cloud": ("cloud", "hourly"), "machine": ("machine", "price"), "electricity": ("electricity", "kwh"),
    "overhead": ("pue", "pue"), "mix": ("grid", "grid"),
}  # fmt: skip
"""Which entry of which table was chosen, and the number that it fills."""
DEFAULTS: dict[str, str | list[str] | bool | None] = {
    "study": None, "c": None, "workload": None, "curve": "office hours", "hours": "", "view": VIEWS[0], "of": "cloud",
    **dict.fromkeys([*NUMBERS, *PICKS]), "returned": True, "off": False,
}  # fmt: skip
_PLAIN_DEFAULTS = {
    "day": "10000", "growth": "0", "months": "12", "tin": "", "tout": "", "e2e": "", "tpot": "", "slots": "",
    "spares": "1", "target": "", "up": "99.5", "years": "4", "other": "0", "idle": "", "devices": "1000",
    "device": "0", "battery": "18", "memory": "8", "factor": "1",
}  # fmt: skip


def choose_subject(of: Version, start: str, url: UrlState) -> tuple[str, str, str]:
    """Study, workload and configuration, from the URL and the session alone."""
    studies = [one for one in explore_data.catalog(of).studies if plan_data.choices(of, one)]
    url.defaults(study=start)
    url.keep_to("study", studies)
    study = url.text("study")
    options = plan_data.choices(of, study)
    wanted = url.text("c")
    url.defaults(workload=next((w for w, ids in options.items() if wanted in ids), next(iter(options))))
    url.keep_to("workload", [*options])
    workload = url.text("workload")
    told = [one for one in decide_choice.recommended(study)[:1] if one in options[workload]]
    url.defaults(c=told[0] if told else plan_data.first_configuration(of, study, workload))
    url.keep_to("c", [*options[workload]])
    return study, workload, url.text("c")


def choose(url: UrlState, found: Measured, tables: Tables) -> Assumptions:
    """What is assumed, from the URL and the session alone.

    Raises:
        PlanError: the hours of the day cannot be read.
    """
    url.keep_to("curve", [*DAY_CURVES, OWN_CURVE])
    url.keep_to("view", VIEWS)
    defaults = _PLAIN_DEFAULTS | {"ttft": f"{default_latency(found.curve).ttft_p95_s:g}"}
    url.defaults(**defaults)
    for pick, (kind, number_name) in PICKS.items():
        entries = tables.entries(kind)
        url.defaults(**{pick: first_name(entries)})
        url.keep_to(pick, [*entries])
        chosen = entries.get(url.text(pick))
        url.defaults(**{number_name: "" if chosen is None else f"{chosen.amount:.10g}"})
    for name, about in NUMBERS.items():
        url.put(name, _clean(about, url.text(name), defaults.get(name, "")))
    value = {name: _number(url.text(name)) for name in NUMBERS}
    demand = Demand(
        requests_per_day=value["day"] or 1.0, shares=_shares(url), tokens_in=value["tin"], tokens_out=value["tout"],
        growth=(value["growth"] or 0.0) / 100, months=int(value["months"] or 1),
    )  # fmt: skip
    per_token = value["tpot"]
    latency = Latency(
        ttft_p95_s=value["ttft"], e2e_p95_s=value["e2e"], tpot_p95_s=None if per_token is None else per_token / 1000
    )
    target = value["target"]
    availability = Availability(
        spares=int(value["spares"] or 0), target=None if target is None else target / 100,
        replica=(value["up"] or 99.5) / 100,
    )  # fmt: skip
    pue, kwh, years = value["pue"] or 1.0, value["kwh"], value["years"] or 4.0
    hourly, price, memory = value["hourly"], value["price"], value["memory"]
    assumed = Assumptions(
        demand=demand, latency=latency, availability=availability,
        slots=None if value["slots"] is None else int(value["slots"]), idle_w=value["idle"],
        cloud=None if hourly is None else Cloud(per_hour=hourly, pue=pue, follows=bool(url.get("returned"))),
        on_premise=None if price is None or kwh is None else OnPremise(
            price=price, years=years, other_per_month=value["other"] or 0.0, per_kwh=kwh, pue=pue,
            follows=bool(url.get("off")),
        ),
        edge=None if kwh is None else Edge(
            devices=int(value["devices"] or 1), price=value["device"] or 0.0, years=years, per_kwh=kwh,
            battery_wh=value["battery"], memory_bytes=None if memory is None else memory * _GIB,
            energy_factor=value["factor"] or 1.0,
        ),
        g_per_kwh=value["grid"] or 0.0, currency=tables.currency,
    )  # fmt: skip
    return with_sources(assumed, tables, {kind: url.text(pick) for pick, (kind, _) in PICKS.items()})


def _number(text: str) -> float | None:
    try:
        value = float(text)
    except ValueError:
        return None
    return value if math.isfinite(value) else None


def _clean(about: Number, text: str, default: str) -> str:
    """A link's number within its ends; what is none becomes the default, but for nothing where that is a choice."""
    value = _number(text)
    if value is None:
        return "" if about.empty and not text else default
    value = round(value) if about.whole else value
    return f"{min(about.high, max(about.low, value)):.10g}"


def _shares(url: UrlState) -> tuple[float, ...]:
    if url.text("curve") != OWN_CURVE:
        return DAY_CURVES[url.text("curve")]
    parts = [_number(part) for part in url.text("hours").replace(";", ",").strip(" ,").split(",")]
    try:
        return Demand.model_validate({"shares": tuple(parts)}).shares
    except ValidationError as error:
        raise PlanError(
            "The hours of the day cannot be read.",
            f"Give {HOURS} numbers with commas between them, from midnight on; only their proportions count.",
        ) from error


def subject_controls(of: Version, url: UrlState) -> None:
    """What is planned, and how much is asked of it."""
    studies = explore_data.catalog(of).studies
    planned = [one for one in studies if plan_data.choices(of, one)]
    options = plan_data.choices(of, url.text("study"))
    names = options[url.text("workload")]
    with st.container(key="plan_subject"):
        columns = st.columns([1.1, 1.6, 1.1, 1, 1.1], vertical_alignment="bottom")
        columns[0].selectbox("Study", planned, format_func=lambda key: studies.get(key, key), key=url.key("study"))
        columns[1].selectbox("Configuration", [*names], format_func=lambda key: names.get(key, key), key=url.key("c"))
        columns[2].selectbox(
            "Workload", [*options], format_func=lambda key: key.replace("_", " "), key=url.key("workload")
        )
        with columns[3]:
            number(url, "day")
        columns[4].selectbox("Day", [*DAY_CURVES, OWN_CURVE], key=url.key("curve"), help="When in the day they come.")


def assumption_controls(url: UrlState, found: Measured, tables: Tables) -> None:
    """Everything else that is assumed, folded away."""
    with st.expander("Assumptions: demand, limits, prices", icon=":material/tune:"):
        demand, limits, cloud, own, edge, energy = st.tabs(
            ["Demand", "Limits and reserve", "Cloud", "On-premise", "Edge", "Energy"]
        )
        with demand:
            if url.text("curve") == OWN_CURVE:
                st.text_input(
                    "Requests in each hour, 24 numbers from midnight on; only their proportions count",
                    key=url.key("hours"), placeholder="1, 1, 1, 1, 1, 1, 2, 5, 9, 11, 11, 10, 7, 9, ...",
                )  # fmt: skip
            _row(url, ("growth", "months", "tin", "tout"), tables.currency)
            measured = f"Measured with {found.curve.output_tokens:.0f} output tokens"
            prompt = f" and {found.curve.prompt_tokens:.0f} of prompt" if found.curve.prompt_tokens else ""
            st.caption(f"{measured}{prompt} a request.")
        with limits:
            _row(url, ("ttft", "e2e", "tpot", "slots"), tables.currency)
            _row(url, ("spares", "target", "up"), tables.currency)
        with cloud:
            _pick(url, tables, "cloud", "A machine like the measured one")
            _row(url, ("hourly",), tables.currency)
            st.checkbox(FLAGS["returned"], key=url.key("returned"))
        with own:
            _pick(url, tables, "machine", "A machine like the measured one")
            _row(url, ("price", "years", "other"), tables.currency)
            st.checkbox(FLAGS["off"], key=url.key("off"))
        with edge:
            _row(url, ("devices", "device", "battery"), tables.currency)
            _row(url, ("memory", "factor"), tables.currency)
            st.caption("Each device answers its own user, one request at a time, as fast as the measured machine.")
        with energy:
            _pick(url, tables, "electricity", "Electricity")
            _pick(url, tables, "overhead", "Overhead of the data centre")
            _pick(url, tables, "mix", "Grid")
            _row(url, ("kwh", "pue", "grid", "idle"), tables.currency)


def _pick(url: UrlState, tables: Tables, name: str, label: str) -> None:
    """A table's entry with its source and date; it fills the number below it, which may be changed."""
    kind, number_name = PICKS[name]
    entries, value = tables.entries(kind), _number(url.text(number_name))
    if not entries:
        return
    st.selectbox(label, [*entries], format_func=lambda key: entries[key].title if key in entries else key,
                 key=url.key(name))  # fmt: skip
    if value is not None:
        st.caption(shared.plain(stated(kind, value, entries[url.text(name)], tables.currency).origin))


def _row(url: UrlState, names: Sequence[str], currency: str) -> None:
    for column, name in zip(st.columns(4 if len(names) == 4 else 3), names, strict=False):
        with column:
            number(url, name, currency)


def number(url: UrlState, name: str, currency: str = "") -> None:
    """The input of one of :data:`NUMBERS`, in step with the URL."""
    about, key = NUMBERS[name], f"plan:number:{name}"

    def keep() -> None:
        value = st.session_state[key]
        url.put(name, "" if value is None else f"{value:.10g}")

    # Said before the widget is made: the URL leads.
    st.session_state[key] = _number(url.text(name))
    st.number_input(
        about.label.format(currency=shared.plain(currency)), min_value=float(about.low), max_value=float(about.high),
        step=float(about.step), key=key, format="%.10g", on_change=keep, help=about.help or None,
        placeholder=about.empty or None,
    )  # fmt: skip

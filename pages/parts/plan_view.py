"""The parts of Plan below its assumptions: what it comes to in words, one picture at a time, and the table."""

from __future__ import annotations

import pandas as pd
import streamlit as st

from pages import shared
from pages.parts import chart, plan_data
from pages.parts.explore_view import is_dark
from pages.parts.plan_choice import VIEWS
from pages.parts.plan_data import Version
from pages.parts.url_state import UrlState
from trilemma.analysis.preferences import upper_first
from trilemma.charts.plan import (
    bills_table,
    break_even_figure,
    cost_figure,
    day_figure,
    day_table,
    tornado_figure,
    tornado_table,
    volumes_table,
)
from trilemma.planning import words
from trilemma.planning.cost import Kind
from trilemma.planning.details import device_sentence
from trilemma.planning.plan import Assumptions, Plan
from trilemma.planning.stated import PRICE_WORDS, unit_of
from trilemma.planning.tables import Tables

_SWINGS = 8


def planned(of: Version, study: str, workload: str, configuration: str, assumptions: Assumptions) -> Plan:
    """The plan, with what is done told while it takes a moment.

    Raises:
        PlanError: no number of replicas keeps the limits.
    """
    place = st.empty()

    def told(text: str) -> None:
        place.markdown(f":material/progress_activity: {shared.plain(text)} ...")

    try:
        return plan_data.plan(of, study, workload, configuration, assumptions.model_dump_json(), told)
    finally:
        place.empty()


def summary(plan: Plan) -> None:
    """How many replicas, and each deployment's cost beside them; below, what is promised."""
    replicas = plan.largest.machines
    columns = st.columns([1.15, *[1.0] * len(plan.bills)], gap="medium")
    with columns[0]:
        st.markdown(f"### {replicas:,} {'replica' if replicas == 1 else 'replicas'}")
        st.caption("in the busiest hour, reserve included")
    for column, (kind, bill) in zip(columns[1:], plan.bills.items(), strict=True):
        with column:
            st.markdown(f"### {shared.plain(words.money(bill.cost and bill.cost.value, plan.assumptions.currency))}")
            st.caption(shared.plain(words.bill_caption(plan, kind)))
    st.markdown(shared.plain(words.replicas_sentence(plan)))
    kept = plan.checked.run.keeps(plan.setup.latency)
    icon = ":material/check_circle:" if kept else ":material/cancel:"
    st.markdown(f"{icon} {shared.plain(words.limits_sentence(plan))}")


def picture(of: Version, study: str, plan: Plan, url: UrlState) -> None:
    """The picture that is chosen."""
    st.segmented_control("Picture", VIEWS, key=url.key("view"), required=True, label_visibility="collapsed")
    view, key = url.text("view"), plan_data.plan_key(plan, study)
    if view == VIEWS[1]:
        _costs(plan)
    elif view == VIEWS[2]:
        _break_even(of, key, plan)
    elif view == VIEWS[3]:
        _tornado(of, key, plan, url)
    else:
        _day(plan)


def _day(plan: Plan) -> None:
    alt = f"Replicas by hour. {words.replicas_sentence(plan)}"
    st.plotly_chart(
        day_figure(plan.largest, dark=is_dark()), theme=None, key="plan_day", alt=alt,
        config=chart.config("replicas through the day", bars=True),
    )  # fmt: skip
    chart.saves("plan_day", "replicas through the day", lambda: day_table(plan.largest))
    run = plan.checked.run
    st.caption(
        "Modelled: the measured speed of one replica, Poisson arrivals within each hour, checked by simulating the "
        f"busiest hour ({len(run.e2e):,} requests, {100 * run.busy:.0f} % of the slots busy without reserve, wait for "
        f"a slot p95 {words.seconds(run.percentile('wait'))})."
    )
    if plan.assumptions.demand.growth:
        st.caption("The month with most requests is shown.")
    own, kept_on = plan.assumptions.on_premise, plan.largest.machines
    if own is not None and not own.follows and kept_on > 1:
        st.caption(f"On-premise, {kept_on:,} machines stay on all day.")


def _costs(plan: Plan) -> None:
    currency = plan.assumptions.currency
    if all(bill.cost is None for bill in plan.bills.values()):
        st.info("No cost is known: enter a price.", icon=":material/info:")
        return
    told = "; ".join(
        f"{words.KIND_WORDS[kind]}: {words.money_between(bill.cost, currency)}" for kind, bill in plan.bills.items()
    )
    st.plotly_chart(
        cost_figure(plan.bills, currency, dark=is_dark()), theme=None, key="plan_costs", alt=f"Cost a month. {told}.",
        config=chart.config("cost by deployment", bars=True),
    )  # fmt: skip
    chart.saves("plan_costs", "cost by deployment", lambda: bills_table(plan.bills))
    st.caption(f"{words.costs_note(plan)} *What moves it most* tries those.")


def _break_even(of: Version, key: str, plan: Plan) -> None:
    found, currency = plan_data.by_volume(of, key, plan), plan.assumptions.currency
    told = " ".join(words.break_even_sentences(found)) or words.order_sentence(found)
    st.markdown(shared.plain(told))
    if not found.costs:
        return
    st.plotly_chart(
        break_even_figure(found, plan.assumptions.demand.requests_per_day, currency, dark=is_dark()), theme=None,
        key="plan_volumes", alt=f"Cost a month by requests a day. {told}", config=chart.config("break-even"),
    )  # fmt: skip
    chart.saves("plan_volumes", "break-even", lambda: volumes_table(found))
    st.caption(
        "Modelled. Replicas are whole, so costs have steps. Fleets that the plan itself did not simulate are estimated."
    )
    if "edge" in found.costs:
        brought = "" if "edge" in found.compared else " They are not compared: users bring them, or they are too small."
        st.caption(f"Devices stay as many as they are; a line ends where they cannot bear their share.{brought}")


def _tornado(of: Version, key: str, plan: Plan, url: UrlState) -> None:
    currency = plan.assumptions.currency
    able = (kind for kind in plan.bills if kind != "edge" or not plan.device_misses)
    kinds = [kind for kind in able if plan.bills[kind].cost is not None]
    if not kinds:
        st.info("No cost is known, so that nothing moves it: enter a price.", icon=":material/info:")
        return
    if url.text("of") not in kinds:
        url.put("of", kinds[0])
    left, right = st.columns([1, 1])
    left.segmented_control(
        "Deployment", kinds, format_func=lambda kind: words.KIND_WORDS[kind], key=url.key("of"), required=True
    )
    kind: Kind = next(one for one in kinds if one == url.text("of"))
    by = "cost"
    if kind != "edge":  # devices are as many as there are
        by = right.segmented_control(
            "What moves", ["cost", "replicas"], default="cost", key="plan_tornado_of", required=True,
            format_func=lambda name: "Monthly cost" if name == "cost" else "Replicas",
        ) or by  # fmt: skip
    found = plan_data.sensitivity(of, key, kind, plan)
    swings = sorted((one for one in found.swings if one.width(by)), key=lambda one: -one.width(by))[:_SWINGS]
    if not swings:
        st.info("None of the assumptions moves this.", icon=":material/info:")
        return
    st.plotly_chart(
        tornado_figure(swings, found.base, currency, of=by, dark=is_dark()), theme=None, key="plan_tornado",
        alt=words.tornado_text(swings, currency, of=by), config=chart.config("what moves the cost most", bars=True),
    )  # fmt: skip
    chart.saves("plan_tornado", "what moves the cost most", lambda: tornado_table(found.swings))
    st.caption(
        "Modelled. One assumption at a time, in the month with most requests; the line is the plan. Capacity under "
        "changed assumptions is estimated, not simulated."
    )


def table(plan: Plan) -> None:
    """Cost, energy and CO2e of every deployment side by side, with intervals."""
    currency = plan.assumptions.currency
    rows = [
        {
            "Deployment": words.KIND_WORDS[kind],
            "Cost a month": words.money_between(bill.cost, currency),
            "Made up of": words.parts_words(bill, currency),
            "Energy a month": words.quantity(bill.energy_kwh, "kWh"),
            "Mean power": words.quantity(bill.power_w, "W"),
            "CO2e a month": words.mass(bill.co2e_kg),
        }
        for kind, bill in plan.bills.items()
    ]
    st.dataframe(pd.DataFrame(rows), hide_index=True, height="content", alt="Deployments with cost, energy and CO2e")
    months = plan.assumptions.demand.months
    if plan.assumptions.demand.growth:
        st.caption(f"Means over {months} months, while demand grows.")
    if told := device_sentence(plan):
        st.caption(shared.plain(told))


def notes(plan: Plan, tables: Tables, machine: str) -> None:
    """What to know before relying on it, and where prices come from."""
    told = words.notes(plan, machine)
    st.markdown("##### Before you rely on it")
    st.markdown("\n".join(f"- {shared.plain(one)}" for one in told))
    with st.expander("Where prices and grid intensities come from", icon=":material/receipt_long:"):
        st.dataframe(_sources(tables), hide_index=True, height="content", alt="Prices with source and date")
        st.caption(
            "Your own go into the files planning/prices.toml and planning/grid.toml of the data folder; the user guide "
            "shows one."
        )


def _sources(tables: Tables) -> pd.DataFrame:
    return pd.DataFrame(
        {
            "What": f"{upper_first(PRICE_WORDS[kind])}: {entry.title}",
            "Value": f"{entry.amount:g} {unit_of(kind, tables.currency)}".strip(), "Source": entry.source,
            "As of": entry.date, "": "your own" if entry.own else "example, not checked since",
        }
        for kind in PRICE_WORDS for entry in tables.entries(kind).values()
    )  # fmt: skip

"""The plan of a report: what it takes to serve the demand, what that costs, and what it rests on."""

from __future__ import annotations

from trilemma.analysis.format import BLANK
from trilemma.analysis.preferences import upper_first
from trilemma.charts.plan import bills_table, cost_figure, day_figure, day_table
from trilemma.errors import PlanError
from trilemma.planning import words
from trilemma.planning.details import assumption_rows, device_sentence
from trilemma.planning.plan import Plan, make_plan
from trilemma.planning.stated import PRICE_WORDS
from trilemma.report.gather import Material
from trilemma.report.parts import Chart, Column, Listing, Section, Table, Value, drawn, rows_of

_ID, _TITLE = "plan", "The plan"


def planned(material: Material) -> Section | None:
    """What it takes at scale; a sentence where that cannot be told, and None where it was not asked."""
    asked = material.to_plan
    if asked is None:
        return None
    if asked.found is None:
        return Section(_ID, _TITLE, paragraphs=(asked.missing,))
    try:
        # Nothing that was simulated before is taken along: what estimates rest on would depend on it.
        plan = make_plan(asked.found, asked.assumed)
    except PlanError as error:
        return Section(_ID, _TITLE, paragraphs=(f"{error.message} {error.hint}",))
    paragraphs = (*words.summary(plan), device_sentence(plan))
    priced = any(bill.cost is not None for bill in plan.bills.values())
    return Section(
        _ID, _TITLE, lead=(f"{plan.measured.label}: {words.headline(plan)}",),
        paragraphs=tuple(text for text in paragraphs if text),
        charts=(*([_costs(plan)] if priced else []), _day(plan)),
        tables=(_bills(plan), _assumptions(plan), _prices(plan)),
        lists=(Listing("Before you rely on it", tuple(words.notes(plan, asked.machine))),),
    )  # fmt: skip


def _costs(plan: Plan) -> Chart:
    currency = plan.assumptions.currency
    told = "; ".join(
        f"{words.KIND_WORDS[kind]}: {words.money_between(bill.cost, currency)}" for kind, bill in plan.bills.items()
    )
    light, dark = drawn(lambda dark: cost_figure(plan.bills, currency, dark=dark))
    columns, rows = rows_of(bills_table(plan.bills))
    return Chart(
        "cost", "Cost a month by deployment", f"Cost a month. {told}.", light, dark, columns, rows,
        words.costs_note(plan),
    )  # fmt: skip


def _day(plan: Plan) -> Chart:
    light, dark = drawn(lambda dark: day_figure(plan.largest, dark=dark))
    columns, rows = rows_of(day_table(plan.largest))
    return Chart(
        "replicas", "Replicas through the day", f"Replicas by hour. {words.replicas_sentence(plan)}", light, dark,
        columns, rows, f"Modelled: the measured speed of one replica, Poisson arrivals within each hour, checked by "
        f"simulating {len(plan.checked.run.e2e):,} requests of the busiest hour.",
    )  # fmt: skip


def _bills(plan: Plan) -> Table:
    currency = plan.assumptions.currency
    rows = tuple(
        (
            Value(words.KIND_WORDS[kind]),
            Value(words.money_between(bill.cost, currency)),
            Value(words.parts_words(bill, currency)),
            Value(words.quantity(bill.energy_kwh, "kWh")),
            Value(words.quantity(bill.power_w, "W")),
            Value(words.mass(bill.co2e_kg)),
        )
        for kind, bill in plan.bills.items()
    )
    columns = (
        Column("Deployment"), Column("Cost a month"), Column("Made up of"), Column("Energy a month"),
        Column("Mean power"), Column("CO2e a month"),
    )  # fmt: skip
    months = plan.assumptions.demand.months
    note = f"Means over {months} months, while demand grows. " if plan.assumptions.demand.growth else ""
    return Table("What each deployment takes", columns, rows, f"{note}In brackets or after ± the 95 % interval.")


def _assumptions(plan: Plan) -> Table:
    rows = tuple((Value(name), Value(text)) for name, text in assumption_rows(plan))
    return Table("What is assumed", (Column("Assumption"), Column("")), rows, facts=True)


def _prices(plan: Plan) -> Table:
    rows = tuple(
        (
            Value(upper_first(PRICE_WORDS[one.kind]), one.title), Value(one.amount), Value(one.standing.value),
            Value(one.source or BLANK), Value(one.date or BLANK),
        )
        for one in plan.assumptions.stated
    )  # fmt: skip
    columns = (
        Column("Price"), Column("Value"), Column("Whose"), Column("Source"),
        Column("As of", "examples: not checked since"),
    )  # fmt: skip
    return Table("Prices and intensities, with source and date", columns, rows)

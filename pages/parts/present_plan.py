"""The last screen of Present: what the recommended configuration takes at scale, as Plan has it for the same link."""

from __future__ import annotations

from dataclasses import dataclass

import streamlit as st

from pages import shared
from pages.parts import plan_choice, plan_data, plan_view, present_data
from pages.parts.explore_view import is_dark
from pages.parts.present_data import Chosen, Version
from pages.parts.url_state import Snapshot, UrlState
from trilemma.analysis.differences import joined
from trilemma.charts.large import enlarged
from trilemma.charts.plan import day_figure
from trilemma.errors import PlanError
from trilemma.planning import words
from trilemma.planning.plan import Assumptions, Plan
from trilemma.planning.stated import PRICE_WORDS, Standing
from trilemma.planning.subject import Subject, subject
from trilemma.report import PlanView

DEFAULTS = {name: value for name, value in plan_choice.DEFAULTS.items() if name != "study"}
_HEIGHT = 480


@dataclass(frozen=True)
class Asked:
    """What is planned; ``assumed`` is None where nothing is, and why is in ``subject`` or ``problem``."""

    subject: Subject
    assumed: Assumptions | None = None
    problem: PlanError | None = None

    @property
    def view(self) -> PlanView | None:
        """The same, as a report asks for it; None where an assumption cannot be read."""
        if self.problem is not None:
            return None
        return PlanView(
            configuration=self.subject.configuration, workload=self.subject.workload, assumptions=self.assumed
        )


def choose(of: Version, chosen: Chosen, url: UrlState) -> Asked:
    """What is planned, from the URL alone: the configuration that it names, else the one that is recommended."""
    decision = present_data.material(of, chosen.study, chosen.key).decision
    about = subject(
        plan_data.choices(of, chosen.study), decision.told.pick if decision else None, configuration=url.text("c"),
        workload=url.text("workload"),
    )  # fmt: skip
    if about.missing:
        return Asked(about)
    try:
        found = plan_data.known(of, chosen.study, about.workload, about.configuration)
        return Asked(about, plan_choice.choose(Snapshot(url, DEFAULTS), found, plan_data.tables()))
    except PlanError as error:
        return Asked(about, problem=error)


def screen(of: Version, chosen: Chosen, asked: Asked) -> None:
    """Replicas, and cost, energy and CO2e of every deployment, beside the day; a sentence where there is no plan."""
    if asked.subject.missing:
        st.title(shared.plain(asked.subject.missing), anchor=False)
        return
    plan, problem, about = None, asked.problem, asked.subject
    if asked.assumed is not None:
        try:
            plan = plan_view.planned(of, chosen.study, about.workload, about.configuration, asked.assumed)
        except PlanError as error:
            problem = error
    if plan is None:
        st.title("What will it take?", anchor=False)
        if problem is not None:
            shared.show_error(problem)
        return
    _told(plan)


def _told(plan: Plan) -> None:
    st.title(shared.unbroken(shared.plain(words.headline(plan))), anchor=False)
    st.markdown(shared.plain(f"{plan.measured.label}: {words.replicas_sentence(plan)}"))
    bills, picture = st.columns([1, 1.25], gap="large")
    with bills, st.container(key="present_bills"):
        for kind, bill in plan.bills.items():
            cost = words.money_between(bill.cost, plan.assumptions.currency)
            power = f"{words.quantity(bill.energy_kwh, 'kWh')} · {words.mass(bill.co2e_kg)} CO2e"
            what = ", electricity alone" if kind == "edge" and plan.users_bring else ""
            st.markdown(f"{words.KIND_WORDS[kind]}, a month{what}  \n**{shared.plain(cost)}**  \n{shared.plain(power)}")
        st.caption(shared.plain(" ".join(_small(plan))))
    picture.plotly_chart(
        enlarged(day_figure(plan.largest, dark=is_dark()), _HEIGHT), theme=None, key="present_day",
        alt=f"Replicas by hour. {words.replicas_sentence(plan)}",
        config={"displaylogo": False, "displayModeBar": False, "scrollZoom": False},
    )  # fmt: skip


def _small(plan: Plan) -> list[str]:
    """What a meeting must not take for granted."""
    found = [f"Modelled, for {plan.assumptions.demand.requests_per_day:,.10g} requests a day."]
    if not plan.checked.run.keeps(plan.setup.latency):
        found.append("The simulation does not keep the limits: nothing is promised.")
    examples = [PRICE_WORDS[one.kind] for one in plan.assumptions.stated if one.standing is Standing.EXAMPLE]
    if examples:
        found.append(f"Examples until yours are entered on Plan: {joined(examples)}.")
    if not plan.measured.under_load:
        found.append("Only one user at a time was measured.")
    return [*found, *words.device_caveats(plan)]

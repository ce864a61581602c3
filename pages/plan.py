"""Plan: what will it take, and what will it cost? From one measured machine to a fleet."""

from __future__ import annotations

import streamlit as st

from pages import shared
from pages.parts import explore_data, plan_choice, plan_data, plan_view
from pages.parts.url_state import UrlState
from trilemma.errors import PlanError


def page() -> None:
    """The page, from what is assumed to what it comes to."""
    of = explore_data.version()
    shared.heading("plan")
    start = plan_data.first_study(of)
    if start is None:
        shared.empty_state(
            ":material/dns:",
            "No speed has been measured yet",
            "Here you will see how many machines your users take through the day, what they cost in the cloud, on your "
            "own premises or on the users' devices, and what would change that. It takes a study with a workload; one "
            "with a sweep over users tells most.",
            button="Set up a study",
            to="new_study",
        )
        return
    url = UrlState("plan", plan_choice.DEFAULTS, carried=plan_choice.DEFAULTS)
    study, workload, configuration = plan_choice.choose_subject(of, start, url)
    found, tables = plan_data.known(of, study, workload, configuration), plan_data.tables()
    problem: PlanError | None = None
    assumed = None
    try:
        assumed = plan_choice.choose(url, found, tables)
    except PlanError as error:
        problem = error
    # Before anything that can be clicked: what is written late would land in the address of the page clicked to.
    url.write()
    shared.sample_note(study)
    plan_choice.subject_controls(of, url)
    plan_choice.assumption_controls(url, found, tables)
    plan = None
    if assumed is not None:
        try:
            plan = plan_view.planned(of, study, workload, configuration, assumed)
        except PlanError as error:
            problem = error
    if plan is None:
        if problem is not None:
            shared.show_error(problem)
        return
    run_id, machine = plan_data.machine(of, study, configuration)
    plan_view.summary(plan)
    plan_view.picture(of, study, plan, url)
    plan_view.table(plan)
    plan_view.notes(plan, tables, machine)
    # All that the address holds goes along: what Decide was asked, if one came from there, and what is assumed here.
    view: dict[str, str | list[str]] = {name: st.query_params.get_all(name) for name in st.query_params}
    view |= {"study": study, "c": configuration, "workload": workload}
    with st.container(horizontal=True, gap="medium"):
        shared.link("present", "Present", view, icon=shared.PAGES["present"].icon)
        shared.link("run", "Open a run of this configuration", {"id": run_id}, icon=shared.PAGES["run"].icon)


if __name__ == "__main__":  # a cold server's first deep link runs this file itself
    import app

    app.main()

"""Decide: which one, given what we care about? Limits, priorities, and what follows from them, with how surely."""

from __future__ import annotations

import streamlit as st

from pages import shared
from pages.parts import decide_choice, decide_data, decide_map, decide_view, explore_data
from pages.parts.decide_choice import Asked
from pages.parts.decide_data import Field, Question, Version
from pages.parts.url_state import UrlState
from trilemma.analysis.differences import joined


def page() -> None:
    """The page, from its question to its ranking."""
    of = explore_data.version()
    start = decide_data.first_study(of)
    shared.heading("decide")
    if start is None:
        shared.empty_state(
            ":material/balance:",
            "Nothing has been measured yet",
            "Here you will set limits and priorities and see which configuration fits them best, how surely, and what "
            "would change the answer. It takes a study with several configurations, a workload and a suite of "
            "questions.",
            button="Set up a study",
            to="new_study",
        )
        return
    url = UrlState("decide", decide_choice.DEFAULTS, carried=decide_choice.DEFAULTS)
    asked = decide_choice.choose(of, start, url)
    # Before anything that can be clicked: what is written late would land in the address of the page clicked to.
    url.write()
    shared.sample_note(url.text("study"))
    decide_choice.controls(of, url, asked)
    if asked.question is None:
        _no_axis(asked)
    else:
        _answer(of, asked, asked.question, url)
    if asked.preset is not None:
        with st.expander("What a study for this use case measures", icon=":material/add_chart:"):
            _about(asked)


def _no_axis(asked: Asked) -> None:
    names = joined([axis.value for axis in asked.missing])
    what = "these axes" if len(asked.missing) > 1 else "this axis"
    st.info(
        f"This study has no figure of {names} yet: without {what} there is nothing to weigh. Pick another study, or "
        "measure it.",
        icon=":material/info:",
    )
    shared.link("new_study", "Set up a study", icon=":material/add_chart:")


def _answer(of: Version, asked: Asked, question: Question, url: UrlState) -> None:
    decide_choice.limit_lines(of, question)
    found = decide_data.field(of, question.study, question.axes, question.limits)
    told = decide_data.recommendation(of, question)
    decide_choice.remember(question.study, told)
    view: dict[str, str | list[str]] = {name: st.query_params.get_all(name) for name in st.query_params}
    view["study"] = question.study
    view.pop("c", None)  # what Plan was about: what is planned next is what is recommended now
    picture, words = st.columns([1.15, 1], gap="large")
    with picture:
        _picture(of, found, question, url)
    with words:
        decide_view.recommendation(told)
        if told.loosen is not None:
            decide_choice.loosen(url, asked, told.loosen)
        decide_view.links(found.points, told, question, view)
    decide_view.table(of, found, question, decide_data.ranking(of, question))
    with st.expander("Figures and scoring, and what they change", icon=":material/tune:"):
        decide_choice.scoring(of, url, question)
        decide_view.effect(of, found, question)


def _picture(of: Version, found: Field, question: Question, url: UrlState) -> None:
    st.markdown(decide_view.axes_words(question))
    decide_map.picture(of, found, question, url)
    if found.eligible.any():
        decide_choice.priorities(url, question.weights)


def _about(asked: Asked) -> None:
    preset = asked.preset
    if preset is None:
        return
    st.markdown(f"**{shared.plain(preset.question)}**")
    st.markdown(shared.plain(preset.about))
    if preset.study_options:
        st.caption("Put your models in place of MODEL; `trilemma models` lists them.")
        st.code(decide_choice.study_command(preset), language="sh", wrap_lines=True)
    shared.link("new_study", "Set up a study", icon=":material/add_chart:")


if __name__ == "__main__":  # a cold server's first deep link runs this file itself
    import app

    app.main()

"""The screens of Present, each read from the back of a room, and the quiet bar below them."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator
from pathlib import Path

import streamlit as st

from pages import shared
from pages.parts import entrance, present_data, present_plan
from pages.parts.explore_view import is_dark
from pages.parts.present_data import Chosen, Version
from pages.parts.present_plan import Asked
from pages.parts.url_state import UrlState
from trilemma.analysis.odds import Standing
from trilemma.analysis.text import count_of, pareto_text
from trilemma.charts.large import enlarged
from trilemma.charts.pareto import pareto_figure
from trilemma.charts.ternary import decision_map_text
from trilemma.report import find_browser
from trilemma.report.document import DEFAULT_QUESTION, facts, file_name
from trilemma.report.gather import Material
from trilemma.report.recommended import decision_map_of
from trilemma.report.words import front_names, worth_sentence

Screen = Callable[[Version, Chosen], None]
STYLE = Path(__file__).parents[2] / "static" / "present.css"
_HEIGHT = 600
_MAP_HEIGHT = 520
_STILL = {"displaylogo": False, "displayModeBar": False, "scrollZoom": False}


def screens(of: Version, chosen: Chosen, asked: Asked) -> Iterator[Screen]:
    """The screens for which there is something to say, in order."""
    yield question
    yield picture
    if _told(of, chosen).decision is not None:
        yield recommendation
    yield functools.partial(present_plan.screen, asked=asked)


def _told(of: Version, chosen: Chosen) -> Material:
    return present_data.material(of, chosen.study, chosen.key)


def question(of: Version, chosen: Chosen) -> None:
    """What is to be decided, and what was measured for it."""
    told = _told(of, chosen)
    models = told.points.meta["model"].nunique()
    where = "on one machine, " if len(_hosts(told)) == 1 else ""
    what = f"{count_of(len(told.points), 'configuration')} of {count_of(models, 'model')}"
    with st.container(key="present_question"):
        st.title(shared.plain(chosen.view.question or DEFAULT_QUESTION), anchor=False)
        st.markdown(f"{what}, measured {where}under the same load.")
        for problem in chosen.problems:
            shared.show_error(problem)
        with st.container(key="present_facts"):
            shown = [(name, text) for name, text in facts(told) if name not in ("Options", "Note")]
            st.markdown("  \n".join(f":gray[{name}] {shared.plain(told.scrub.text(text))}" for name, text in shown))


def _hosts(told: Material) -> set[str]:
    return {run.host.id for run in told.runs if run.host is not None}


def picture(of: Version, chosen: Chosen) -> None:
    """The Pareto chart, large, under what it says."""
    told = _told(of, chosen)
    st.title(shared.plain(worth_sentence(told)), anchor=False)
    if not len(told.shown):
        return
    certain = front_names(told, Standing.CERTAIN, 4)
    if certain:
        st.markdown(f"For certain: {shared.plain('; '.join(certain))}. Nothing else is at least as good in both.")
    dark = is_dark()
    figure = pareto_figure(
        told.shown, *told.axes, size=told.size, colours=told.colours(dark), dark=dark, odds=told.odds
    )
    st.plotly_chart(
        enlarged(figure, _HEIGHT), theme=None, key="present_picture", alt=pareto_text(told.shown, told.axes),
        config=_STILL,
    )  # fmt: skip


def recommendation(of: Version, chosen: Chosen) -> None:
    """The pick in a few sentences, beside the decision map."""
    material = _told(of, chosen)
    found = material.decision
    if found is None:
        return
    st.title(shared.unbroken(shared.plain(found.told.headline)), anchor=False)
    words, picture = st.columns([1, 1.1], gap="large")
    texts = [found.told.sureness, *found.told.against[:1], *found.told.limits[:1], *found.told.changes[:1]]
    for text in filter(None, texts):
        words.markdown(shared.plain(text))
    chart = decision_map_of(material, is_dark())
    if chart is not None and found.map is not None:
        picture.plotly_chart(
            enlarged(chart, _MAP_HEIGHT), theme=None, key="present_map", config=_STILL,
            alt=decision_map_text(found.map, found.points),
        )  # fmt: skip


def bar(of: Version, chosen: Chosen, asked: Asked, url: UrlState, count: int, link: dict[str, str | list[str]]) -> None:
    """Where we are, forward and back, the report to take along, and the way out; small, and the same by keyboard."""
    now = number(url, count)

    def turn(by: int) -> None:
        # From where we are when it is pressed: of two quick ones the second comes before the next screen's buttons.
        url.put("screen", str(min(max(number(url, count) + by, 1), count)))

    with st.container(key="present_bar", horizontal=True, vertical_alignment="center", horizontal_alignment="right"):
        leave = st.button("Leave", icon=":material/close:", type="tertiary", shortcut="Escape", key="present_leave")
        with st.popover("Report", icon=":material/download:", type="tertiary"):
            _report(of, chosen, asked)
        st.button(
            "Back", icon=":material/chevron_left:", type="tertiary", shortcut="Left", key="present_back",
            disabled=now == 1, on_click=turn, args=(-1,),
        )  # fmt: skip
        st.markdown(f":gray[{now} / {count}]", width="content")
        st.button(
            "Next", icon=":material/chevron_right:", type="tertiary", shortcut="Right", key="present_next",
            disabled=now == count, on_click=turn, args=(1,),
        )  # fmt: skip
    # The other keys that a presenter or a clicker presses; they need a button each, which nobody needs to see.
    with st.container(key="present_keys"):
        for key, by in (("Space", 1), ("PageDown", 1), ("PageUp", -1), ("Home", -count), ("End", count)):
            st.button(key, shortcut=key, key=f"present_key_{key}", on_click=turn, args=(by,))
    if leave:
        shared.go("decide", link)


def number(url: UrlState, count: int) -> int:
    """The screen that the URL names, 1 where it names none that there is."""
    text = url.text("screen")
    return min(max(int(text), 1), count) if text.isascii() and text.isdigit() and len(text) < 4 else 1


def _report(of: Version, chosen: Chosen, asked: Asked) -> None:
    st.markdown("The same view as one file that needs no network: charts, figures, plan, method, machine, definitions.")
    name, key = file_name(_told(of, chosen)), chosen.report_key(asked.view)
    st.download_button(
        "HTML", data=entrance.later(lambda: present_data.html(of, chosen.study, key)), file_name=f"{name}.html",
        mime="text/html", icon=":material/download:", key="present_html", on_click="ignore",
    )  # fmt: skip
    if find_browser() is not None:
        st.download_button(
            "PDF", data=entrance.later(lambda: present_data.pdf(of, chosen.study, key)), file_name=f"{name}.pdf",
            mime="application/pdf", icon=":material/download:", key="present_pdf", on_click="ignore",
            help="Printed by the browser on this machine; takes a few seconds.",
        )  # fmt: skip
    else:
        st.caption("For a PDF, open the HTML file and print it: no Chromium or Chrome was found on this machine.")

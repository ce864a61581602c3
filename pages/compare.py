"""Compare: how do they differ, and is it luck? A few configurations of a study side by side."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

import streamlit as st

from pages import shared
from pages.parts import (
    compare_answers,
    compare_data,
    compare_figures,
    compare_traces,
    compare_waiting,
    decide_choice,
    explore_data,
    tryout_view,
    vote_view,
)
from pages.parts.compare_data import Option, Scene
from pages.parts.url_state import UrlState, Value
from trilemma.tryout.messages import AT_MOST

_AT_FIRST = 3
# Not an empty list: nothing chosen is a choice too.
_UNSET = ["unset"]
_STARTED_WITH = "compare:started with"


@dataclass(frozen=True)
class Tab:
    """One view of the chosen configurations.

    ``show`` draws it. ``defaults`` are what it keeps in the URL, while it is shown; ``prepare`` mends that before
    anything is drawn.
    """

    title: str
    show: Callable[[Scene], None]
    prepare: Callable[[Scene], None] | None = None
    defaults: Mapping[str, Value] = field(default_factory=dict)


TABS: dict[str, Tab] = {
    "figures": Tab("Figures", compare_figures.show, compare_figures.prepare, compare_figures.DEFAULTS),
    "answers": Tab("Answers", compare_answers.show, compare_answers.prepare, compare_answers.DEFAULTS),
    "waiting": Tab("Waiting", compare_waiting.show, compare_waiting.prepare, compare_waiting.DEFAULTS),
    "traces": Tab("Traces", compare_traces.show, compare_traces.prepare, compare_traces.DEFAULTS),
    "tryout": Tab("Try out", tryout_view.show),
    "vote": Tab("Vote", vote_view.show, vote_view.prepare, vote_view.DEFAULTS),
}
"""The views, in their order; another one is another line."""
COMMON: dict[str, Value] = {"study": None, "c": _UNSET, "tab": "figures"}


def page() -> None:
    """The page, from its choice of configurations to the chosen view of them."""
    shared.heading("compare")
    of = explore_data.version()
    with st.spinner("Reading figures"):
        start = compare_data.first_study(of)
    if start is None:
        shared.empty_state(
            ":material/compare_arrows:",
            "Nothing has been measured yet",
            "Here you will see two to five configurations side by side: every figure and whether a difference can be "
            "luck, how long each lets users wait, what memory and power did, and what each answered. Set up a study "
            "with two configurations.",
            button="Set up a study",
            to="new_study",
        )
        return
    defaults = COMMON | {name: value for tab in TABS.values() for name, value in tab.defaults.items()}
    url = UrlState("compare", defaults, carried=["study"])
    options, chosen = _choose(of, start, url)
    url.keep_to("tab", TABS)
    tab = TABS[url.text("tab")]
    scene = Scene(of, url.text("study"), {one: options[one] for one in chosen}, url)
    ready = len(chosen) > 1
    if ready and tab.prepare is not None:
        tab.prepare(scene)
    # Before anything that can be clicked: what is written late would land in the address of the page clicked to.
    url.write([*COMMON, *(tab.defaults if ready else [])])
    shared.sample_note(url.text("study"))
    _controls(of, options, url)
    if len(options) < 2:
        how_many = "Only one configuration" if options else "No configuration"
        st.info(
            f"{how_many} of this study has been measured. Pick another study, or set one up with several "
            "configurations.",
            icon=":material/info:",
        )
        shared.link("new_study", "Set up a study", icon=":material/add_chart:")
        return
    if not ready:
        st.info("Pick two to five configurations above.", icon=":material/checklist:")
        return
    st.segmented_control(
        "View", [*TABS], format_func=lambda name: TABS[name].title, key=url.key("tab"), required=True,
        label_visibility="collapsed",
    )  # fmt: skip
    tab.show(scene)


def _choose(of: tuple[str, int], start: str, url: UrlState) -> tuple[dict[str, Option], list[str]]:
    """What there is to compare, and what of it is chosen: at most five, the first of them the one compared with."""
    url.defaults(study=start)
    url.keep_to("study", [*explore_data.catalog(of).studies])
    options = compare_data.options(of, url.text("study"))
    told = [one for one in decide_choice.recommended(url.text("study")) if one in options]
    first = told if len(told) > 1 else compare_data.first(of, url.text("study"), _AT_FIRST)
    wanted = url.texts("c")
    url.defaults(c=first)
    untouched = wanted == st.session_state.get(_STARTED_WITH)
    if untouched or (wanted and not set(wanted) & set(options)):
        url.put("c", first)  # something else is recommended by now, or another study was picked
    st.session_state[_STARTED_WITH] = first
    chosen = [one for one in dict.fromkeys(url.texts("c")) if one in options][:AT_MOST]
    url.put("c", chosen)
    return options, chosen


def _controls(of: tuple[str, int], options: dict[str, Option], url: UrlState) -> None:
    studies = explore_data.catalog(of).studies
    left, right = st.columns([1, 2.4], vertical_alignment="top")
    left.selectbox("Study", [*studies], format_func=lambda key: studies.get(key, key), key=url.key("study"))
    right.multiselect(
        "Configurations", [*options], format_func=lambda key: options[key].name if key in options else key,
        key=url.key("c"), max_selections=AT_MOST, placeholder="Two to five",
        help="The first is the one that the others are compared with.",
    )  # fmt: skip


if __name__ == "__main__":  # a cold server's first deep link runs this file itself
    import app

    app.main()

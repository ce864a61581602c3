"""Compare: which answers better, and is it luck? A few configurations on the same questions, item by item."""

from __future__ import annotations

import math

import streamlit as st

from pages import shared
from pages.parts import compare_data, compare_view, explore_data
from pages.parts.compare_data import Comparison, Option
from pages.parts.url_state import UrlState

AT_MOST = 5
_AT_FIRST = 3
_HEAVIEST = 10.0
# Not an empty list: nothing chosen is a choice too.
_UNSET = ["unset"]
DEFAULTS: dict[str, str | list[str] | bool | None] = {
    "study": None, "c": _UNSET, "suite": None, "a": None, "b": None, "weight": [],
}  # fmt: skip


def page() -> None:
    """The page, from its choice of configurations to single questions."""
    shared.heading("compare")
    of = explore_data.version()
    start = compare_data.first_study(of)
    if start is None:
        shared.empty_state(
            ":material/compare_arrows:",
            "No question has been answered yet",
            "Here you will see how much better one configuration answers than another, whether that can be luck, and "
            "every question on which they disagree. Set up a study with two configurations and at least one suite of "
            "questions.",
            button="Set up a study",
            to="new_study",
        )
        return
    url = UrlState("compare", DEFAULTS)
    options, chosen = _choose(of, start, url)
    study = url.text("study")
    found = compare_data.comparison(of, study, tuple(chosen)) if len(chosen) > 1 else None
    weights: dict[str, float] = {}
    if found is not None and found.suites:
        _choose_items(found, chosen, url)
        weights = _weights(found, url)
    url.write()
    _controls(of, options, url)
    if len(options) < 2:
        st.info(
            "Only one configuration of this study has answered questions. Pick another study, or set one up with "
            "several configurations.",
            icon=":material/info:",
        )
        shared.link("new_study", "Set up a study", icon=":material/add_chart:")
        return
    if found is None:
        st.info("Pick two to five configurations above.", icon=":material/checklist:")
        return
    if not found.suites:
        st.info(
            "These configurations have no answers with a score from 0 to 1. Add a suite of questions to the study, "
            "such as HellaSwag or GSM8K.",
            icon=":material/info:",
        )
        return
    names = {one: options[one] for one in chosen}
    compare_view.scores(of, found, names)
    compare_view.differences(found, names)
    with st.expander("One score out of several suites", icon=":material/tune:"):
        compare_view.composed_score(of, study, found, names, weights, url)
    compare_view.disagreements(of, study, found, names, url)


def _choose(of: tuple[str, int], start: str, url: UrlState) -> tuple[dict[str, Option], list[str]]:
    """What there is to compare, and what of it is chosen: at most five, the first of them the one compared with."""
    url.defaults(study=start)
    url.keep_to("study", [*explore_data.catalog(of).studies])
    options = compare_data.options(of, url.text("study"))
    first = list(options)[:_AT_FIRST]
    wanted = url.texts("c")
    url.defaults(c=first)
    if wanted and not set(wanted) & set(options):
        url.put("c", first)  # another study was picked
    chosen = [one for one in dict.fromkeys(url.texts("c")) if one in options][:AT_MOST]
    url.put("c", chosen)
    return options, chosen


def _choose_items(found: Comparison, chosen: list[str], url: UrlState) -> None:
    """Of which suite and which two configurations the disagreements are shown."""
    first, *others = chosen
    differs = [other for other in others if any(t.disagreements(first, other) for t in found.suites.values())]
    url.defaults(a=first, b=next(iter([*differs, *others])))
    url.keep_to("a", chosen)
    url.keep_to("b", chosen)
    one, other = url.text("a"), url.text("b")
    suites = [suite for suite, table in found.suites.items() if table.disagreements(one, other)]
    url.defaults(suite=next(iter([*suites, *found.suites])))
    url.keep_to("suite", [*found.suites])


def _weights(found: Comparison, url: UrlState) -> dict[str, float]:
    """The weight of each suite, 1 where the URL says nothing that can be read."""
    weights = dict.fromkeys(found.suites, 1.0)
    for text in url.texts("weight"):
        suite, _, number = text.rpartition(":")
        try:
            value = float(number)
        except ValueError:
            continue
        if suite in weights and math.isfinite(value):
            weights[suite] = min(_HEAVIEST, max(0.0, value))
    return weights


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

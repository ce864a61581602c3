"""Compare, answers: which answers better, and is it luck? The same questions, item by item."""

from __future__ import annotations

import math

import streamlit as st

from pages.parts import compare_data, compare_texts, compare_view
from pages.parts.compare_data import Comparison, Scene
from pages.parts.url_state import UrlState, Value

DEFAULTS: dict[str, Value] = {"suite": None, "a": None, "b": None, "weight": [], **compare_texts.DEFAULTS}
_HEAVIEST = 10.0


def prepare(scene: Scene) -> None:
    """Of which suite and which two configurations the disagreements are shown, and which prompts."""
    found = compare_data.comparison(scene.of, scene.study, scene.ids)
    if found.suites:
        _choose_items(found, list(scene.ids), scene.url)
    compare_texts.prepare(scene)


def show(scene: Scene) -> None:
    """Scores and their differences, the questions that two disagree on, and any prompt answered by each."""
    of, study, names, url = scene.of, scene.study, scene.names, scene.url
    found = compare_data.comparison(of, study, scene.ids)
    if found.suites:
        weights = _weights(found, url)
        compare_view.scores(of, found, names)
        compare_view.differences(found, names)
        with st.expander("One score out of several suites", icon=":material/tune:"):
            compare_view.composed_score(of, study, found, names, weights, url)
        compare_view.disagreements(of, study, found, names, url)
    else:
        st.info(
            "These configurations have no answers with a score from 0 to 1. Add a suite of questions to the study, "
            "such as HellaSwag or GSM8K.",
            icon=":material/info:",
        )
    compare_texts.show(scene)


def _choose_items(found: Comparison, chosen: list[str], url: UrlState) -> None:
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

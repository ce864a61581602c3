"""The decision map: every mix of priorities in the colour of who wins there; a click sets the priorities."""

from __future__ import annotations

import streamlit as st

from pages.parts import decide_choice, decide_data
from pages.parts.decide_data import Field, Question, Version
from pages.parts.url_state import UrlState
from pages.parts.explore_view import is_dark
from trilemma.analysis.points import labels
from trilemma.charts.palette import MODEL_COLOURS
from trilemma.charts.ternary import ternary_figure


def picture(of: Version, found: Field, question: Question, url: UrlState) -> None:
    """The map of the configurations that keep the limits."""
    if not found.eligible.any():
        return
    whole = decide_data.whole_map(of, question.study, question.axes, question.limits, question.method, question.normalisation)
    names = [str(n) for n in labels(found.points)]
    colours = {i: MODEL_COLOURS[is_dark()][i % 8] for i in range(len(names))}

    def pick() -> None:
        hits = st.session_state["decide_ternary"].selection.points
        found = [point["customdata"] for point in hits if point.get("customdata")]
        if found:
            decide_choice.put_weights(url, found[0])

    st.plotly_chart(ternary_figure(whole, names, colours, weights=question.weights, dark=is_dark()), theme=None, key="decide_ternary",
                    on_select=pick, selection_mode="points", alt="map")

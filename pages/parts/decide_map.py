"""The decision map: every mix of priorities in the colour of who wins there; a click sets the priorities."""

from __future__ import annotations

import streamlit as st

from pages import shared
from pages.parts import chart, decide_choice, decide_data, explore_data
from pages.parts.decide_data import Field, Question, Version
from pages.parts.explore_view import is_dark
from pages.parts.url_state import UrlState
from trilemma.analysis.points import labels
from trilemma.charts.palette import model_colours
from trilemma.charts.tables import map_table
from trilemma.charts.ternary import decision_map_figure, decision_map_text, marks_text, share_words
from trilemma.schema import Axis


def picture(of: Version, found: Field, question: Question, url: UrlState) -> None:
    """The map of the configurations that keep the limits; a sentence where there is nothing to choose between."""
    if found.eligible.sum() < 2:
        count = int(found.eligible.sum())
        st.info(
            f"{'Only one configuration is' if count else 'No configuration is'} eligible, so that priorities decide "
            "nothing and there is no map.",
            icon=":material/change_history:",
        )
        return
    whole = decide_data.whole_map(
        of, question.study, question.axes, question.limits, question.method, question.normalisation
    )
    models = [*explore_data.catalog(of).models, *found.points.meta["model"].astype(str).unique()]
    presets, _ = decide_data.known_presets()
    marks = {preset.title: [preset.shares[axis] for axis in Axis] for preset in presets.values()}
    figure = decision_map_figure(
        whole, found.points, weights=question.weights, models=model_colours(models, is_dark()), marks=marks,
        dark=is_dark(),
    )  # fmt: skip

    def pick() -> None:
        for point in st.session_state["decide_ternary"].selection.points:
            weights = point.get("customdata")
            if isinstance(weights, list | tuple) and len(weights) == len(question.weights):
                decide_choice.put_weights(url, [float(weight) for weight in weights])
                return

    st.plotly_chart(
        figure, theme=None, key="decide_ternary", config=chart.config("decision map", bars=True), on_select=pick,
        selection_mode="points", alt=f"{decision_map_text(whole, found.points)} Marked use cases: {marks_text(marks)}.",
    )  # fmt: skip
    chart.saves("decide_ternary", "decision map", lambda: map_table(whole, found.points))
    won = whole.won()
    names = labels(found.points)
    first = next(iter(won))
    others = (
        f"{len(won) - 1} more {'wins' if len(won) == 2 else 'win'} elsewhere"
        if len(won) > 1
        else "no other wins most draws anywhere"
    )
    st.caption(
        "Each corner is one priority alone; the ring is where you are. Click to go elsewhere. Colours run into one "
        f"another where it is open who wins. {shared.plain(str(names.iloc[first]))} wins at "
        f"{share_words(won[first])} of all mixes; {others}."
    )
    st.caption(f"Use cases on the map: {shared.plain(marks_text(marks))}.")

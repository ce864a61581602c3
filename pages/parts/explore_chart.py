"""Explore's chart in each of its views, and what a click or a drag on it selects."""

from __future__ import annotations

import plotly.graph_objects as go
import streamlit as st

from pages.parts import chart as charts
from pages.parts import explore_selection
from pages.parts.explore_filters import Chosen
from pages.parts.url_state import UrlState
from trilemma.analysis.format import key_title
from trilemma.analysis.points import Points
from trilemma.analysis.selection import Selection
from trilemma.charts.pairs import panel_keys

_NARROW_FIGURES = 3
"""Figures of which all pairs can be read on a phone."""
_HELP = {
    "2D": "Click a point to select it, or take the box or the lasso above the chart and drag around several.",
    "3D": "Drag to turn, scroll to come closer. Select in another view or in the table below.",
    "Pairs": "Of the first four figures; on the front means of all of them at once. Drag a box around points in any "
    "chart to select them in all.",
    "Parallel": "On the front means of all these figures at once. Drag along an axis to select what passes there, "
    "along another one to keep of it what passes there too.",
}


def key_of(chosen: Chosen) -> str:
    """The key of the chart."""
    return f"explore_{chosen.view.lower()}"


def chart(
    figure: go.Figure, alt: str, shown: Points, chosen: Chosen, selection: Selection, url: UrlState
) -> None:  # fmt: skip
    """The chart; what is selected on it becomes the page's selection."""
    key, axes = key_of(chosen), chosen.axes
    config = charts.config(" and ".join(key_title(one) for one in axes), selects=chosen.view != "3D")
    if chosen.view == "3D":
        st.plotly_chart(figure, theme=None, key=key, config=config, alt=alt)
        st.caption(_HELP["3D"])
        return
    too_many = chosen.view == "Pairs" and len(axes) > _NARROW_FIGURES
    if too_many:
        with st.container(key="explore_too_narrow"):
            st.info(
                f"All pairs of {len(axes)} figures need a wider screen. Choose two or three under *Filters and axes*, "
                "turn the device, or take the view *Parallel*.",
                icon=":material/screen_rotation:",
            )

    def select() -> None:
        event = st.session_state[key].selection
        complete = shown.select(shown.complete(axes))
        if chosen.view == "Parallel":
            found = explore_selection.brushed(event, complete, axes, bool(chosen.log), selection)
        else:
            found = explore_selection.taken(
                event, complete, lambda x, y: _panel(chosen, x, y), chosen.logs, selection
            )  # fmt: skip
        explore_selection.put(url, found)

    with st.container(key="explore_many" if too_many else f"explore_{chosen.view.lower()}_box"):
        st.plotly_chart(
            figure, theme=None, key=key, config=config, alt=alt, on_select=select,
            selection_mode="box" if chosen.view == "Parallel" else ("points", "box", "lasso"),
        )  # fmt: skip
        st.caption(_HELP[chosen.view])


def _panel(chosen: Chosen, x: str, y: str) -> tuple[str, str] | None:
    if chosen.view == "Pairs":
        return panel_keys(chosen.axes, x, y)
    return (chosen.axes[0], chosen.axes[1]) if (x, y) == ("x", "y") else None

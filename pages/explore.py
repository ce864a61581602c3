"""Explore: which options are worth having? The Pareto chart of all that was measured, and the table behind it."""

from __future__ import annotations

import numpy as np
import streamlit as st

from pages import shared
from pages.parts import explore_data, explore_view
from pages.parts.explore_filters import Chosen, axis_pickers, filters, fold
from pages.parts.url_state import UrlState
from trilemma.analysis.limits import within
from trilemma.analysis.points import Points
from trilemma.analysis.text import caveats, front_headline, pareto_text
from trilemma.charts.palette import model_colours
from trilemma.charts.pareto import blank_figure, pareto_figure
from trilemma.charts.pareto3d import pareto3d_figure

DEFAULTS: dict[str, str | list[str] | bool | None] = {
    "study": None, "model": [], "quantization": [], "engine": [], "limit": [],
    "x": None, "y": None, "z": None, "size": None, "view": "2D", "log": [], "point": "",
}  # fmt: skip


def page() -> None:
    """The page, from its question to its table."""
    catalog = explore_data.catalog(explore_data.version())
    if not catalog.keys:
        shared.heading("explore")
        shared.empty_state(
            ":material/scatter_plot:",
            "Nothing has been measured yet",
            "Here you will see what each model and quantization costs, how fast it is and how well it answers, and "
            "which of them nothing else beats. Figures appear as soon as the first run is done.",
            button="Set up a study",
            to="new_study",
        )
        return
    shared.heading("explore")
    controls, answer = st.container(), st.container()
    # An empty chart first: the browser loads what draws it while the figures are read, and nothing jumps.
    blank = answer.empty()
    if "explore:url" not in st.session_state:
        blank.plotly_chart(blank_figure(), theme=None, key="explore_blank", config={"staticPlot": True})
    url = UrlState("explore", DEFAULTS)
    with controls:
        fold()
        chosen = axis_pickers(catalog, url, filters(catalog, url))
    everything = explore_data.load(chosen.study, chosen.wanted)
    shown = everything.select(chosen.mask(everything) & within(everything, chosen.limits))
    blank.empty()
    with answer:
        if not len(shown):
            _nothing_left(url, len(everything))
        else:
            _picture(shown, catalog.models, chosen, url)
    url.write()


def _nothing_left(url: UrlState, total: int) -> None:
    if total:
        st.info(f"None of {total:,} configurations passes the filters and limits.", icon=":material/filter_alt_off:")
        st.button("Clear filters", on_click=url.reset)
    else:
        st.info("No run here is done yet. Figures appear as soon as the first one is.", icon=":material/hourglass_top:")
        shared.link("queue", "See the queue", icon=":material/pending_actions:")


def _picture(shown: Points, models: list[str], chosen: Chosen, url: UrlState) -> None:
    st.markdown(f"**{front_headline(shown, chosen.axes)}** {' '.join(caveats(shown, chosen.axes))}")
    chart, side = st.columns([3, 1], gap="medium")
    with chart:
        _chart(shown, models, chosen, url)
    with side, st.container(key="explore_card"):
        explore_view.card(shown, chosen.study, chosen.axes, url)
    explore_view.table(shown, chosen.axes, chosen.columns, models, url)


def _chart(shown: Points, models: list[str], chosen: Chosen, url: UrlState) -> None:
    dark = explore_view.is_dark()
    colours = model_colours([*models, *shown.meta["model"].astype(str).unique()], dark)
    alt = pareto_text(shown, chosen.axes)
    picked = url.text("point") or None
    if len(chosen.axes) == 3:
        x, y, z = chosen.axes
        figure = pareto3d_figure(shown, x, y, z, size=chosen.size, colours=colours, dark=dark, picked=picked)
        st.plotly_chart(figure, theme=None, key="explore_3d", config=explore_view.CHART_CONFIG, alt=alt)
        st.caption("Drag to turn, scroll to come closer. Pick a point in the table below.")
        return

    def pick() -> None:
        hits = st.session_state["explore_2d"].selection.points
        found = [point["customdata"][0] for point in hits if point.get("customdata")]
        url.put("point", str(found[0]) if found else "")

    x, y = chosen.axes
    figure = pareto_figure(
        shown, x, y, size=chosen.size, colours=colours, dark=dark, log_x="x" in chosen.log, log_y="y" in chosen.log,
        picked=picked,
    )  # fmt: skip
    st.plotly_chart(
        figure, theme=None, key="explore_2d", config=explore_view.CHART_CONFIG, alt=alt, on_select=pick,
        selection_mode="points",
    )  # fmt: skip
    if not np.isfinite(shown.low[list(chosen.axes)].to_numpy()).any():
        st.caption("No intervals: each configuration has one run, and these figures have none of their own.")


if __name__ == "__main__":  # a cold server's first deep link runs this file itself
    import app

    app.main()

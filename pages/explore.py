"""Explore: which options are worth having? The Pareto chart of all that was measured, and the table behind it."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import TypedDict

import numpy as np
import plotly.graph_objects as go
import streamlit as st
from streamlit.delta_generator import DeltaGenerator

from pages import shared
from pages.parts import chart as charts
from pages.parts import (
    explore_chart,
    explore_data,
    explore_misfits,
    explore_odds,
    explore_selection,
    explore_view,
    load_view,
    removal,
)
from pages.parts.explore_filters import SEVERAL, Chosen, choose, controls
from pages.parts.explore_selection import Selected
from pages.parts.url_state import UrlState
from trilemma.analysis.format import key_title
from trilemma.analysis.limits import within
from trilemma.analysis.odds import FrontOdds
from trilemma.analysis.points import Points
from trilemma.analysis.selection import Selection
from trilemma.analysis.text import caveats, emulated_text, front_headline, odds_sentences, pareto_text
from trilemma.charts.pairs import pairs_figure
from trilemma.charts.palette import model_colours
from trilemma.charts.parallel import parallel_figure
from trilemma.charts.pareto import blank_figure, pareto_figure
from trilemma.charts.pareto3d import pareto3d_figure


class _Look(TypedDict):
    """What every chart is told."""

    colours: dict[str, str]
    dark: bool
    picked: tuple[str, ...]
    odds: FrontOdds


DEFAULTS: dict[str, str | list[str] | bool | None] = {
    "study": None, "model": [], "quantization": [], "engine": [], "engine_version": [], "measured_on": [],
    "limit": [],
    "x": None, "y": None, "z": None, "size": None, "view": "2D", "log": [], "figures": [], "logs": False,
    "point": [], "brush": [], "only": False,
}  # fmt: skip


@explore_data.answering()
def page() -> None:
    """The page, from its question to its table."""
    of = explore_data.version()
    catalog = explore_data.catalog(of)
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
    url = UrlState("explore", DEFAULTS, carried=explore_data.PICTURE)
    catalog = explore_data.catalog_of(of, url.text("study"))
    shared.sample_note(url.text("study"), partial(removal.remove_foreign, url.text("study")))
    above, answer, below = st.container(), st.container(), st.container()
    # An empty chart while figures are read: meanwhile the browser loads what draws it, and nothing jumps.
    blank = answer.empty()
    if not explore_data.at_hand(of):
        blank.plotly_chart(
            blank_figure(explore_view.is_dark()), theme=None, key="explore_blank", config={"staticPlot": True},
            alt="The chart is being made",
        )  # fmt: skip
    chosen = choose(of, catalog, url)
    # Before anything that can be clicked: what is written late would land in the address of the page clicked to.
    url.write()
    shown, total = _shown(of, chosen)
    blank.empty()
    # The picture first: the browser draws it while the widgets above and the table below are still made.
    selection = explore_selection.read(url, catalog.keys)
    selected = explore_selection.among(selection, of, chosen, shown)
    side = None
    with answer:
        if not len(shown):
            _nothing_left(url, total)
        elif chosen.load:
            load_view.explore_view(of, chosen, catalog.models)
        elif len(set(chosen.axes)) < 2 and chosen.view in SEVERAL:
            st.info("Pick at least two figures above.", icon=":material/checklist:")
        else:
            side = _picture(of, catalog.models, chosen, selected, url)
    with above:
        controls(of, catalog, url, chosen)
    if len(shown):
        if side is not None:
            found = explore_odds.sureness(of, chosen, shown)
            with side, st.container(key="explore_card"):
                explore_view.card(of, shown, chosen.study, chosen.axes, found, selected, url)
        with below:
            odds = None if side is None else explore_odds.sureness(of, chosen, shown).odds
            explore_view.table(of, shown, chosen, catalog.models, odds, selected, url)
    with below:
        explore_misfits.misfit_list(explore_data.misfits(of, chosen.study), chosen)
    explore_view.prepare(of, chosen, catalog.keys, [*url.texts("figures"), url.text("z")])


def _nothing_left(url: UrlState, total: int) -> None:
    if total:
        st.info(f"None of {total:,} configurations passes the filters and limits.", icon=":material/filter_alt_off:")
        st.button("Clear filters", on_click=url.reset)
    else:
        st.info("No run here is done yet. Figures appear as soon as the first one is.", icon=":material/hourglass_top:")
        shared.link("queue", "See the queue", icon=":material/pending_actions:")


@st.cache_resource(max_entries=32, show_spinner=False)
def _shown(of: tuple[str, int], chosen: Chosen) -> tuple[Points, int]:
    """What passes the filters and limits in the state ``of`` the store, and of how many."""
    everything = explore_data.points(of, chosen.study, tuple(sorted(chosen.wanted)))
    return everything.select(chosen.mask(everything) & within(everything, chosen.limits)), len(everything)


@dataclass(frozen=True)
class _Drawn:
    """A chart and what it says."""

    figure: go.Figure
    headline: str
    alt: str
    intervals: bool
    emulated: str


@st.cache_resource(max_entries=32, show_spinner=False)
def _drawn(
    of: tuple[str, int], chosen: Chosen, models: list[str], selection: Selection, dark: bool, _picked: tuple[str, ...]
) -> _Drawn:
    """The chart of what is shown: with thousands of points, making it takes longer than sending it.

    ``_picked`` are the shown ones of ``selection``.
    """
    shown, axes = _shown(of, chosen)[0], chosen.axes
    found = explore_odds.sureness(of, chosen, shown)
    colours = model_colours([*models, *shown.meta["model"].astype(str).unique()], dark)
    look: _Look = {"colours": colours, "dark": dark, "picked": _picked, "odds": found.odds}
    if chosen.view == "3D":
        figure = pareto3d_figure(shown, *axes[:3], size=chosen.size, **look)
    elif chosen.view == "Pairs":
        figure = pairs_figure(shown, axes, size=chosen.size, log=bool(chosen.log), **look)
    elif chosen.view == "Parallel":
        figure = parallel_figure(shown, axes, spans=selection.spans, log=bool(chosen.log), **look)
    else:
        figure = pareto_figure(
            shown, *axes[:2], size=chosen.size, log_x="x" in chosen.log, log_y="y" in chosen.log, **look
        )
    sure = odds_sentences(found.odds, found.volume)
    return _Drawn(
        figure=figure,
        headline=" ".join([f"**{front_headline(shown, axes)}**", *sure, *found.caveats, *caveats(shown, axes)]),
        alt=" ".join([pareto_text(shown, axes), *sure]),
        emulated=emulated_text(shown),
        intervals=bool(np.isfinite(shown.low[list(axes)].to_numpy()).any()),
    )


def _picture(
    of: tuple[str, int], models: list[str], chosen: Chosen, selected: Selected, url: UrlState
) -> DeltaGenerator:
    """What the chart says, and the chart; returns the column beside it."""
    shown = _shown(of, chosen)[0]
    drawn = _drawn(of, chosen, models, selected.selection, explore_view.is_dark(), selected.ids)
    st.markdown(drawn.headline)
    explore_selection.bar(selected, of, chosen, shown, url)
    chart, side = st.columns([3, 1], gap="medium")
    with chart:
        explore_chart.chart(drawn.figure, drawn.alt, shown, chosen, selected.selection, url)
        if drawn.emulated:
            st.caption(f":material/devices: {shared.plain(drawn.emulated)}")
        if chosen.view == "2D" and not drawn.intervals:
            st.caption("No intervals: each configuration has one run, and these figures have none of their own.")
        name = " and ".join(key_title(key) for key in chosen.axes)
        charts.saves(explore_chart.key_of(chosen), name, lambda: explore_view.export(shown))
    return side


if __name__ == "__main__":  # a cold server's first deep link runs this file itself
    import app

    app.main()

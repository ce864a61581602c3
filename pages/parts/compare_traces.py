"""Compare, traces: memory and power of a run of each configuration on one time axis."""

from __future__ import annotations

import streamlit as st

from pages import shared
from pages.parts import chart
from pages.parts.compare_data import Scene, Version
from pages.parts.explore_view import is_dark
from pages.parts.url_state import Value
from trilemma.analysis.alignment import AlignedRun, Start, aligned
from trilemma.charts.compare_lines import aligned_figure, aligned_text
from trilemma.charts.tables import aligned_table

DEFAULTS: dict[str, Value] = {"start": Start.LOAD.value}
_STARTS = {Start.LOAD.value: "Loading begins", Start.SERVING.value: "Serving begins"}


def prepare(scene: Scene) -> None:
    """Drop from the URL what is none of the choices."""
    scene.url.keep_to("start", _STARTS)


def show(scene: Scene) -> None:
    """The lines, the choice of second zero, and the way to each run."""
    st.segmented_control(
        "Second zero", [*_STARTS], format_func=_STARTS.__getitem__, key=scene.url.key("start"), required=True
    )
    start = Start(scene.url.text("start"))
    found = {one: _aligned(scene.of, option.run_id, start) for one, option in scene.names.items()}
    runs = {scene.short[one]: run for one, run in found.items() if run is not None}
    if not runs:
        st.info("Nothing was read while these configurations ran.", icon=":material/sensors_off:")
        return
    looks = {scene.short[one]: look for one, look in scene.looks.items()}
    st.plotly_chart(
        aligned_figure(runs, looks, start, dark=is_dark()), theme=None, key="compare_traces",
        config=chart.config("compared runs"), alt=aligned_text(runs, start),
    )  # fmt: skip
    chart.saves("compare_traces", "compared runs", lambda: aligned_table(runs))
    notes = [
        "One run of each: the newest undisturbed one. At the top the phases: amber is serving, blue answering "
        "questions; point at one for its name. The picture ends with serving: double-click to see the rest."
    ]
    missing = [scene.short[one] for one, run in found.items() if run is None]
    if missing:
        notes.append(f"Without such a phase or without readings: {shared.plain(', '.join(missing))}.")
    st.caption(" ".join(notes))
    with st.container(horizontal=True):
        for one, option in scene.names.items():
            shared.link("run", f"Run of {scene.short[one]}", {"id": option.run_id}, icon=":material/query_stats:")


@st.cache_resource(max_entries=32, show_spinner="Reading what the meters read")
def _aligned(of: Version, run_id: str, start: Start) -> AlignedRun | None:
    store = shared.get_store()
    return aligned(store.samples(run_id), store.phases(run_id), start)

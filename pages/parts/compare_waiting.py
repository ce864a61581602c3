"""Compare, waiting: how long each configuration lets its users wait, over the requests of all its repeats."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import pandas as pd
import streamlit as st

from pages import shared
from pages.parts import chart, explore_data
from pages.parts.compare_data import Scene, Version
from pages.parts.explore_view import is_dark
from pages.parts.url_state import Value
from trilemma.analysis.distributions import STATISTICS, latencies, percentile
from trilemma.analysis.format import BLANK, digits, key_definition, scale_for
from trilemma.analysis.subjects import subject_title
from trilemma.charts.compare_lines import Waits, waits_figure, waits_text
from trilemma.charts.tables import waits_table
from trilemma.figures import FIGURES
from trilemma.schema import RunState

DEFAULTS: dict[str, Value] = {"workload": None, "latency": "ttft_s"}
WAITS = ("ttft_s", "tpot_s", "e2e_s")
Requests = dict[str, dict[str, Waits]]
"""By workload and latency."""


def prepare(scene: Scene) -> None:
    """Which workload is shown at first: one that most of the configurations have."""
    counts: dict[str, int] = {}
    for one in scene.ids:
        for workload in requests_of(scene.of, scene.study, one):
            counts[workload] = counts.get(workload, 0) + 1
    known = sorted(counts, key=lambda workload: -counts[workload])
    scene.url.defaults(workload=next(iter(known), None))
    scene.url.keep_to("workload", known)
    scene.url.keep_to("latency", WAITS)


def show(scene: Scene) -> None:
    """The distribution of one latency under one workload, and its percentiles in numbers."""
    by_id = {one: requests_of(scene.of, scene.study, one) for one in scene.ids}
    workloads = list(dict.fromkeys(workload for found in by_id.values() for workload in found))
    if not workloads:
        st.info("No request of these configurations was kept.", icon=":material/hourglass_disabled:")
        return
    url = scene.url
    with st.container(horizontal=True, vertical_alignment="bottom"):
        st.selectbox("Workload and load", workloads, format_func=subject_title, key=url.key("workload"), width=320)
        st.segmented_control(
            "Latency", WAITS, format_func=lambda name: FIGURES[name].title, key=url.key("latency"), required=True,
            label_visibility="collapsed",
        )  # fmt: skip
    name, workload = url.text("latency"), url.text("workload")
    shown = {
        scene.short[one]: by_id[one][workload][name] for one in scene.ids if workload in by_id[one]
    }  # fmt: skip
    looks = {scene.short[one]: look for one, look in scene.looks.items()}
    st.plotly_chart(
        waits_figure(name, shown, looks, dark=is_dark()), theme=None, key="compare_waits",
        config=chart.config(f"compared {name}"), alt=waits_text(name, shown),
    )  # fmt: skip
    chart.saves("compare_waits", f"compared {name}", lambda: waits_table(shown))
    st.dataframe(_table(name, shown), hide_index=True, height="content", alt=waits_text(name, shown))
    notes = [
        "All requests of all repeats, warm-up and failed ones left out; marks are the median and p95. The figures on "
        "the first tab are means over repeats, so they may differ a little from these."
    ]
    if any(waits.disturbed.size for waits in shown.values()):
        notes.append("Thin dotted lines: runs during which something disturbed the machine.")
    missing = [scene.short[one] for one in scene.ids if scene.short[one] not in shown]
    if missing:
        notes.append(f"Not measured under this workload: {shared.plain(', '.join(missing))}.")
    st.caption(" ".join(notes))


@st.cache_resource(max_entries=32, show_spinner="Reading requests")
def requests_of(of: Version, study: str, configuration_id: str) -> Requests:
    """The latencies of a configuration's requests in all its repeats, those of disturbed runs apart."""
    store = shared.get_store()
    runs = explore_data.runs(of, study)
    runs = runs[(runs["configuration_id"] == configuration_id) & (runs["state"] == RunState.DONE) & ~runs["superseded"]]
    parts: dict[str, dict[str, dict[bool, list[np.ndarray]]]] = {}
    for run_id, disturbed in zip(runs["run_id"].astype(str), runs["disturbed"].astype(bool), strict=True):
        for workload, found in latencies(store.requests(run_id)).items():
            for name in WAITS:
                apart = parts.setdefault(workload, {}).setdefault(name, {True: [], False: []})
                apart[disturbed].append(found[name])
    return {
        workload: {
            name: Waits(*(np.concatenate([np.empty(0), *apart[disturbed]]) for disturbed in (False, True)))
            for name, apart in by_name.items()
        }
        for workload, by_name in parts.items()
    }


def _table(name: str, shown: Mapping[str, Waits]) -> pd.DataFrame:
    """A row a distribution; a percentile is blank where there are too few requests for it."""
    everything = [value for waits in shown.values() for value in (*waits.values, *waits.disturbed)]
    scale = scale_for(everything, key_definition(name).unit)
    rows = []
    for configuration, waits in shown.items():
        for values, note in ((waits.values, ""), (waits.disturbed, "disturbed runs")):
            if values.size:
                row = {"Configuration": configuration, "Requests": f"{values.size:,}"}
                for percent, title in STATISTICS.items():
                    value = percentile(values, percent)
                    row[f"{title}, {scale.unit}"] = BLANK if value is None else digits(scale.show(value))
                rows.append({**row, "Note": note})
    return pd.DataFrame(rows)

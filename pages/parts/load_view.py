"""Load: what more users at once, or more requests a second, do to throughput, waiting, goodput and energy."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import streamlit as st

from pages import shared
from pages.parts import chart, explore_data
from pages.parts.explore_filters import Chosen
from pages.parts.explore_view import is_dark
from trilemma.analysis.format import key_title
from trilemma.analysis.goodput import goodput_curve
from trilemma.analysis.limits import within
from trilemma.analysis.load import LoadPoint, curves_of_points, load_keys, timeline
from trilemma.analysis.points import labels
from trilemma.analysis.subjects import subject_title
from trilemma.analysis.text import load_text
from trilemma.charts.load import CurveLook, against_load_figure, load_figure, timeline_figure
from trilemma.charts.palette import model_colours, quantization_symbol
from trilemma.charts.tables import load_table, timeline_table
from trilemma.records import RequestRecord
from trilemma.schema import LatencyLimits

AGAINST = ("energy_per_token_j", "goodput", "goodput_share", "ttft_s.median", "ttft_s.p95", "tpot_s.p95")
"""Figures that can be drawn against the load, the first that is known first."""
_MANY = 400
_CURVES = 10


def curves_view(
    curves: Mapping[str, Sequence[LoadPoint]], key: str, *, looks: Mapping[str, CurveLook] | None = None
) -> None:
    """Throughput against waiting, and beside it one figure against the load, picked above it."""
    left, right = st.columns(2, gap="large")
    alt = " ".join(f"{name}: {load_text(points)}" if len(curves) > 1 else load_text(points)
                   for name, points in curves.items())  # fmt: skip
    with left:
        st.markdown("##### Throughput against waiting")
        figure = load_figure(curves, looks=looks, dark=is_dark())
        st.plotly_chart(figure, theme=None, key=f"{key}_curve", config=chart.config("load"), alt=alt)
        chart.saves(f"{key}_curve", "load", lambda: load_table(curves))
        st.caption("A mark is a level of load. Ringed: the knee, beyond which more load mostly means longer waits.")
    known = [name for name in AGAINST if any(name in point.values for points in curves.values() for point in points)]
    if not known:
        return
    with right:
        name = st.selectbox(
            "Figure against the load", known, format_func=key_title, key=f"{key}_against", label_visibility="collapsed"
        )
        against = against_load_figure(str(name), curves, looks=looks, dark=is_dark())
        if against is not None:
            st.plotly_chart(
                against, theme=None, key=f"{key}_against_chart", config=chart.config(f"{name} by load"),
                alt=f"{key_title(str(name))} by load",
            )  # fmt: skip
            chart.saves(f"{key}_against_chart", f"{name} by load", lambda: load_table(curves))
        if "energy" in str(name) and any(point.modelled for points in curves.values() for point in points):
            st.caption("Hollow marks are modelled, not measured.")


def explore_view(of: tuple[str, int], chosen: Chosen, models: Sequence[str]) -> None:
    """The curves of several configurations over each other, one workload at a time."""
    everything = explore_data.points(
        of, chosen.study, tuple(sorted({*load_keys(explore_data.catalog(of).keys), *chosen.wanted}))
    )
    shown = everything.select(chosen.mask(everything) & within(everything, chosen.limits))
    by_workload = curves_of_points(shown)
    if not by_workload:
        st.info(
            "Nothing that is shown was measured under several loads. In New study, give a use case a sweep over users "
            "or rates, and its curve appears here.",
            icon=":material/groups:",
        )
        shared.link("new_study", "Set up a study", icon=":material/add:")
        return
    workload = next(iter(by_workload))
    if len(by_workload) > 1:
        workload = str(
            st.selectbox(
                "Workload", [*by_workload], format_func=lambda name: name.replace("_", " "), key="explore_load"
            )
        )
    curves = dict(list(by_workload[workload].items())[:_CURVES])
    colours = model_colours([*models], is_dark())
    meta = zip(labels(shown), shown.meta["model"], shown.meta["quantization"], strict=True)
    looks = {str(name): CurveLook(colours[str(model)], quantization_symbol(str(bits))) for name, model, bits in meta}
    curves_view(curves, "explore_load", looks=looks)
    if len(by_workload[workload]) > _CURVES:
        st.caption(f"The first {_CURVES} of {len(by_workload[workload])} configurations; filter to see others.")


def run_view(curves: Mapping[str, Sequence[LoadPoint]], requests: Sequence[RequestRecord]) -> None:
    """The Load tab of a run: curves of its sweeps, goodput for limits of one's own, and its requests one by one."""
    for workload, points in curves.items():
        if len(curves) > 1:
            st.markdown(f"#### {shared.plain(workload.replace('_', ' '))}")
        curves_view({workload: points}, f"run_load_{workload}")
    _goodput(requests)
    _timeline(requests)


def _goodput(requests: Sequence[RequestRecord]) -> None:
    """Goodput from the stored requests, for any limits."""
    st.markdown("##### Goodput: requests within limits, per second")
    first, per_token, _ = st.columns([1, 1, 2])
    ttft_s = first.number_input(
        "First token within, s", min_value=0.001, value=0.5, format="%.3f", step=0.1, key="run_limit_ttft"
    )
    tpot_ms = per_token.number_input("Each further token within, ms", min_value=0.1, value=50.0, key="run_limit_tpot")
    limits = LatencyLimits(ttft_s=ttft_s, tpot_s=(tpot_ms or 50.0) / 1e3)
    curves = goodput_curve(requests, limits)
    if not curves:
        st.caption("No workload of this run held a steady load for long enough to tell.")
        return
    figure = against_load_figure("goodput", curves, dark=is_dark())
    if figure is not None and any(len(points) > 1 for points in curves.values()):
        st.plotly_chart(figure, theme=None, key="run_goodput", config=chart.config("goodput"), alt="Goodput by load")
        chart.saves("run_goodput", "goodput", lambda: load_table(curves))
    for name, points in curves.items():
        told = "; ".join(
            f"{point.level.words}: {point.values['goodput']:.3g} requests/s ({point.values['goodput_share']:.0%})"
            for point in points
        )
        st.caption(f"{shared.plain(name.replace('_', ' '))}: {told}")


def _timeline(requests: Sequence[RequestRecord]) -> None:
    """Each request of one workload on the run's clock."""
    subjects = list(dict.fromkeys(r.workload for r in requests if not r.warmup))
    if not subjects:
        return
    st.markdown("##### Each request on one clock")
    subject = subjects[-1]
    if len(subjects) > 1:
        subject = st.selectbox(
            "Workload", subjects, index=len(subjects) - 1, format_func=subject_title, key="run_timeline_of",
            label_visibility="collapsed", width=360,
        )  # fmt: skip
    spans = timeline(r for r in requests if r.workload == subject)
    if not spans:
        st.caption("No request of this workload was answered.")
        return
    if len(spans) > _MANY:
        st.caption(f"The first {_MANY} of {len(spans):,} requests.")
    st.plotly_chart(
        timeline_figure(spans[:_MANY], dark=is_dark()), theme=None, key="run_timeline",
        config=chart.config("requests"), alt=f"{len(spans)} requests from submission to first and last token",
    )  # fmt: skip
    chart.saves("run_timeline", "requests", lambda: timeline_table(spans))

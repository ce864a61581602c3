"""The parts of the Run page: headline figures, traces, latencies, requests, answers, machine, downloads."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

import pandas as pd
import streamlit as st

from pages import shared
from pages.parts import chart
from pages.parts.explore_view import is_dark
from trilemma.analysis.distributions import LATENCIES, latencies, percentile_table
from trilemma.analysis.format import BLANK, digits, format_figure, interval_text, key_title, scale_for
from trilemma.analysis.headline import headline_keys, in_order
from trilemma.analysis.text import latency_text, traces_text
from trilemma.analysis.traces import run_traces
from trilemma.charts.latency import ecdf_figure
from trilemma.charts.tables import latency_table, traces_table
from trilemma.charts.traces import traces_figure
from trilemma.figures import FIGURES
from trilemma.records import AnswerRecord, PhaseWindow, RequestRecord, RunRecord, Sample
from trilemma.schema import Axis, Measurement, Method
from trilemma.workloads import latency

_METHOD_ICONS = {
    Method.MEASURED: ":material/circle: measured",
    Method.MODELLED: ":material/radio_button_unchecked: modelled",
    Method.IMPORTED: ":material/diamond: imported",
}


def headline(measurements: Sequence[Measurement], asked: RunRecord | None = None) -> None:
    """The figures that stand for each axis, in three columns; ``asked`` is the repeat that was asked the questions."""
    by_key = {m.key: m for m in measurements if m.value is not None and m.provenance.valid}
    chosen = headline_keys(in_order(by_key), per_axis=4)
    for column, axis in zip(st.columns(3, gap="large"), Axis, strict=True):
        with column:
            st.markdown(f"#### {shared.axis_badge(axis)}")
            if not chosen[axis]:
                _elsewhere(asked if axis is Axis.PERFORMANCE else None)
            for key in chosen[axis]:
                _headline_figure(by_key[key])


def _elsewhere(asked: RunRecord | None) -> None:
    if asked is None or not asked.spec.suites:
        st.caption("Not measured in this run.")
        return
    st.caption(f"Questions are asked once, in repeat {asked.spec.repeat + 1}.")
    shared.link("run", "See how it answered", {"id": asked.id}, icon=":material/quiz:")


def _headline_figure(measurement: Measurement) -> None:
    definition = FIGURES[measurement.figure]
    scale = scale_for([measurement.value], definition.unit)
    value = measurement.value
    number = digits(scale.show(value)) if value is not None else BLANK
    interval = interval_text(value, measurement.low, measurement.high, scale)
    with st.container(gap=None):
        st.markdown(f":small[:gray[{shared.plain(key_title(measurement.key))}]]", help=explanation(measurement))
        unit = shared.plain(scale.unit)
        st.markdown(f"### {shared.plain(number)} :small[{unit}] :small[:gray[{shared.plain(interval)}]]")
        notes = (
            [] if measurement.provenance.method is Method.MEASURED else [_METHOD_ICONS[measurement.provenance.method]]
        )
        if notes:
            st.markdown(f":small[:gray[{' '.join(notes)}]]")


def explanation(measurement: Measurement) -> str:
    """A figure's definition, and where this one comes from, as Markdown."""
    definition, provenance = FIGURES.get(measurement.figure), measurement.provenance
    lines = [definition.definition if definition else "A figure of another program."]
    better = "" if definition is None else f"{'Less' if definition.better == 'lower' else 'More'} is better. "
    lines.append(f"{better}n = {measurement.n:,}; definition version {measurement.definition_version}.")
    lines.append(f"{provenance.method.value.capitalize()}: {provenance_text(measurement)}.")
    return "\n\n".join(shared.plain(line) for line in lines)


def provenance_text(measurement: Measurement) -> str:
    """Source, scope, window and remarks, in words."""
    p = measurement.provenance
    parts = [p.source, p.scope]
    if p.idle_subtracted is not None:
        parts.append("idle power subtracted" if p.idle_subtracted else "idle power not subtracted")
    if p.window_s is not None:
        parts.append(f"window {format_figure(p.window_s, 's')}")
    return "; ".join(part for part in (*parts, *p.reasons) if part)


def figures_table(measurements: Sequence[Measurement]) -> None:
    """Every figure with unit, interval, provenance and definition; one that is not valid says why."""
    rows = []
    by_key = {m.key: m for m in measurements}
    for key in [*in_order(by_key), *(key for key in by_key if by_key[key].figure not in FIGURES)]:
        m = by_key[key]
        definition = FIGURES.get(m.figure)
        unit = definition.unit if definition else ""
        scale = scale_for([m.value], unit)
        usable = m.provenance.valid and m.value is not None
        rows.append(
            {
                "Axis": definition.axis.value if definition else "",
                "Figure": key_title(key),
                "Value": f"{digits(scale.show(m.value))} {scale.unit}".strip()
                if usable and m.value is not None
                else BLANK,
                "95 %": interval_text(m.value, m.low, m.high, scale) if usable else "",
                "n": m.n,
                "How": m.provenance.method.value if usable else "not valid",
                "From": provenance_text(m),
                "Definition": definition.definition if definition else "",
            }
        )
    st.dataframe(pd.DataFrame(rows), hide_index=True, alt="Every figure of this run", height="content")


def traces(samples: Sequence[Sample], phases: Sequence[PhaseWindow]) -> None:
    """Memory, power and CPU over the run's seconds, and what its GPUs did."""
    if not samples:
        st.caption("No sample was taken.")
        return
    lines, _, _ = run_traces(samples, phases)
    peaks = {
        row: max((float(t.values.max()) for t in lines if t.row == row and t.values.size), default=None)
        for row in ("memory", "power", "gpu_memory")
    }
    throttled = [trace.name for trace in lines if trace.shade]
    alt = traces_text(phases, peaks["memory"], peaks["power"], peaks["gpu_memory"], throttled)
    st.plotly_chart(
        traces_figure(samples, phases, dark=is_dark()),
        theme=None,
        key="run_traces",
        config=chart.config("run"),
        alt=alt,
    )
    chart.saves("run_traces", "run", lambda: traces_table(samples, phases))


def latency_view(requests: Sequence[RequestRecord]) -> None:
    """The distribution of one latency, picked above it."""
    by_workload = latencies(requests)
    if not by_workload:
        st.caption("This run answered no request.")
        return
    name = st.segmented_control(
        "Latency", LATENCIES, default=LATENCIES[0], format_func=lambda n: FIGURES[n].title, key="run_latency",
        label_visibility="collapsed", required=True,
    )  # fmt: skip
    values = {workload: found[name] for workload, found in by_workload.items()}
    st.plotly_chart(
        ecdf_figure(name, values, dark=is_dark()),
        theme=None,
        key="run_ecdf",
        config=chart.config(f"run {name}"),
        alt=latency_text(name, values),
    )
    chart.saves("run_ecdf", f"run {name}", lambda: latency_table(values))
    if len(values) > 1:
        st.dataframe(
            percentile_table(name, values), hide_index=True, width="content", placeholder=BLANK,
            alt=f"Percentiles of {FIGURES[name].title.lower()}, a row for each workload",
        )  # fmt: skip
    st.caption("A percentile is marked only where there are enough values for it: 10 for p90, 20 for p95, 100 for p99.")


def requests_frame(requests: Sequence[RequestRecord]) -> pd.DataFrame:
    """One row a request, latencies in seconds."""
    rows = []
    for r in requests:
        whole = not r.error and len(r.token_times_ns) >= 2
        rows.append(
            {
                "workload": r.workload, "index": r.index, "warm-up": r.warmup, "prompt tokens": r.prompt_tokens,
                "prefilled": r.prefilled_tokens, "output tokens": r.output_tokens,
                "ttft, s": latency.ttft_s(r) if r.token_times_ns else None,
                "tpot, s": latency.tpot_s(r) if whole else None,
                "e2e, s": latency.e2e_s(r) if r.token_times_ns else None,
                "error": r.error, "prompt": r.prompt, "text": r.text,
            }
        )  # fmt: skip
    return pd.DataFrame(rows)


def requests_view(requests: Sequence[RequestRecord]) -> None:
    """Every request, warm-up marked."""
    if not requests:
        st.caption("This run sent no request.")
        return
    seconds = {name: st.column_config.NumberColumn(format="%.4g") for name in ("ttft, s", "tpot, s", "e2e, s")}
    st.dataframe(
        requests_frame(requests), hide_index=True, column_config=seconds, alt="Every request of this run",
        placeholder=BLANK,
    )  # fmt: skip


def answers_frame(answers: Sequence[AnswerRecord]) -> pd.DataFrame:
    """One row an item; scores each in a column of their own."""
    rows: list[dict[str, Any]] = [
        {
            "suite": a.suite, "item": a.item_id, "prompt": a.prompt, "answer": a.answer, "expected": a.expected,
            **a.scores, "detail": json.dumps(a.detail, ensure_ascii=False) if a.detail else "",
        }
        for a in answers
    ]  # fmt: skip
    return pd.DataFrame(rows)


def answers_view(answers: Sequence[AnswerRecord]) -> None:
    """Every answered item, by suite and by right or wrong; one picked row in full."""
    if not answers:
        st.caption("This run was asked no question: questions are asked in a configuration's first repeat only.")
        return
    suites = list(dict.fromkeys(a.suite for a in answers))
    with st.container(horizontal=True, vertical_alignment="bottom"):
        suite = st.segmented_control(
            "Suite", ["all", *suites], default="all", key="run_suite", required=True, format_func=shared.plain
        )
        of_suite = [a for a in answers if suite in ("all", a.suite)]
        metrics = list(dict.fromkeys(name for a in of_suite for name in a.scores))
        metric = st.selectbox("Score", metrics, key="run_metric", width=220) if metrics else None
        which = st.segmented_control("Show", ["all", "right", "wrong"], default="all", key="run_right", required=True)
    if metric is not None and which != "all":
        of_suite = [a for a in of_suite if metric in a.scores and (a.scores[metric] >= 0.5) == (which == "right")]
    st.caption(f"{len(of_suite):,} of {len(answers):,} items. Pick a row to read it in full.")
    event = st.dataframe(
        answers_frame(of_suite), hide_index=True, on_select="rerun", selection_mode="single-row", key="run_answers",
        alt="Every answered item of this run", placeholder=BLANK,
    )  # fmt: skip
    picked = event["selection"]["rows"]
    if picked and picked[0] < len(of_suite):
        one = of_suite[picked[0]]
        for title, text in (("Prompt", one.prompt), ("Answer", one.answer), ("Expected", one.expected)):
            st.caption(title)
            st.code(text or " ", language=None, wrap_lines=True)


def machine_view(run: RunRecord) -> None:
    """The machine, the engine, and the configuration that ran."""
    if run.host is not None:
        host = run.host
        facts = {
            "Name": host.name,
            "System": f"{host.system} {host.machine}",
            "CPU": f"{host.cpu}, {host.cores} usable",
            "Memory": format_figure(host.memory_bytes, "B"),
            "Virtual": {True: "yes", False: "no", None: "unknown"}[host.virtualized],
            "GPUs": ", ".join(host.gpus) or "none",
            "GPU driver": host.gpu_driver,
            "Python": host.python,
            "Trilemma": host.trilemma,
            **host.packages,
        }
        _facts("Machine", facts)
    _facts("Engine", {name: _text(value) for name, value in run.engine_info.items()})
    _facts("Settings", {name: _text(value) for name, value in run.spec.configuration.settings.items()})


def _text(value: object) -> str:
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)


def _facts(title: str, facts: dict[str, str]) -> None:
    known = {name: text for name, text in facts.items() if text}
    if known:
        st.caption(title)
        st.dataframe(
            pd.DataFrame({"": list(known), "value": list(known.values())}), hide_index=True,
            height="content", alt=title,
        )  # fmt: skip

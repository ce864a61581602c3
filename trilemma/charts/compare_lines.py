"""A few configurations over each other: how long each lets users wait, and what the meters read while it ran."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
import plotly.graph_objects as go
from numpy.typing import NDArray
from plotly.subplots import make_subplots

from trilemma.analysis.alignment import AlignedRun, Span, Start
from trilemma.analysis.distributions import STATISTICS, ecdf, percentile
from trilemma.analysis.format import digits, format_figure, key_definition, key_title, scale_for
from trilemma.analysis.subjects import subject_title
from trilemma.analysis.traces import Trace
from trilemma.charts.compare import Look
from trilemma.charts.palette import axis_colour, escape, layout, theme, with_alpha
from trilemma.schema import Axis, Phase

FloatArray = NDArray[np.float64]

_MARKED = (50, 95)
_ROWS = (("memory", "Memory", "B"), ("power", "Power", "W"), ("gpu_memory", "GPU memory", "B"))
_ROW_HEIGHT = 190
_SPAN_HEIGHT = 22
_TINTS = {Phase.SPEED: Axis.SPEED, Phase.GENERATION: Axis.SPEED, Phase.PERFORMANCE: Axis.PERFORMANCE}
_BEFORE_S = 2.0
_SECONDS_SINCE = {
    Start.LOAD: "Time since loading began, s",
    Start.SERVING: "Time since the first measured request, s",
}


@dataclass(frozen=True)
class Waits:
    """One configuration's requests: their latencies in seconds, those of disturbed runs apart."""

    values: FloatArray
    disturbed: FloatArray = field(default_factory=lambda: np.empty(0))


def waits_figure(
    name: str, by_configuration: Mapping[str, Waits], looks: Mapping[str, Look], *, dark: bool = False
) -> go.Figure:
    """The empirical distribution of a latency, one step line a configuration, its median and p95 marked.

    Requests of disturbed runs are a thin dotted line of their own, and say so. A percentile that the sample is too
    small for is not marked. Left is faster: a distribution is read from small to large, so the axis is not reversed,
    and its title says which way is better.

    Args:
        name: A figure such as ``ttft_s``.
        by_configuration: By the configurations' names, in their order.
        looks: By name.
        dark: Which theme.
    """
    figure = go.Figure(layout=layout(dark))
    everything = [values for waits in by_configuration.values() for values in (waits.values, waits.disturbed)]
    scale = scale_for(np.concatenate(everything) if everything else [], key_definition(name).unit)
    for configuration, waits in by_configuration.items():
        for values, disturbed in ((waits.values, False), (waits.disturbed, True)):
            at, share = ecdf(values)
            if not at.size:
                continue
            look = looks[configuration]
            label = f"{escape(configuration)} (n = {at.size:,}{', disturbed runs' if disturbed else ''})"
            figure.add_scatter(
                x=np.concatenate([at[:1], at]) / scale.factor, y=np.concatenate([[0.0], share]), mode="lines",
                line={"shape": "hv", "width": 1.2 if disturbed else 2, "color": look.colour,
                      "dash": "dot" if disturbed else look.dash},
                name=label,
                hovertemplate=f"%{{fullData.name}}<br>%{{y:.1%}} within %{{x:.3~g}} {scale.unit}<extra></extra>",
            )  # fmt: skip
            marked = {percent: percentile(values, percent) for percent in _MARKED}
            known = {percent: value for percent, value in marked.items() if value is not None}
            if not disturbed:
                figure.add_scatter(
                    x=[value / scale.factor for value in known.values()], y=[percent / 100 for percent in known],
                    mode="markers", name=label, showlegend=False, cliponaxis=False,
                    marker={"size": 9, "symbol": look.symbol, "color": look.colour,
                            "line": {"width": 1.5, "color": theme(dark).ground}},
                    text=[f"{STATISTICS[percent]} {digits(value / scale.factor)} {scale.unit}"
                          for percent, value in known.items()],
                    hovertemplate="%{fullData.name}<br>%{text}<extra></extra>",
                )  # fmt: skip
    figure.update_xaxes(title_text=f"{key_title(name)}, {scale.unit} (left is faster)", rangemode="normal")
    figure.update_yaxes(title_text="Share of requests", tickformat=".0%", range=[-0.02, 1.04])
    figure.update_layout(
        height=400 + 22 * len(figure.data) // 2, hovermode="closest", dragmode="zoom",
        legend={"orientation": "v", "y": -0.22, "yanchor": "top"},
    )  # fmt: skip
    return figure


def waits_text(name: str, by_configuration: Mapping[str, Waits]) -> str:
    """What the distributions say, in words."""
    unit = key_definition(name).unit
    told = []
    for configuration, waits in by_configuration.items():
        for values, note in ((waits.values, ""), (waits.disturbed, " in disturbed runs")):
            middle, high = percentile(values, 50), percentile(values, 95)
            if middle is not None:
                tail = f", p95 {format_figure(high, unit)}" if high is not None else ", too few for p95"
                told.append(f"{configuration}{note}: median {format_figure(middle, unit)}{tail} (n = {values.size:,})")
    return f"{key_title(name)}. " + ("; ".join(told) + "." if told else "No request was answered.")


def aligned_figure(
    runs: Mapping[str, AlignedRun], looks: Mapping[str, Look], start: Start, *, dark: bool = False
) -> go.Figure:
    """Memory and power of a run each on one time axis, above them the phases that each run went through.

    The picture opens on loading and serving; zooming out shows what came before and after. Power that is modelled says
    so at its axis.

    Args:
        runs: By the configurations' names, in their order; at least one.
        looks: By name.
        start: What second zero is.
        dark: Which theme.
    """
    look = theme(dark)
    rows = [
        (title, unit, row) for row, title, unit in _ROWS if any(t.row == row for r in runs.values() for t in r.traces)
    ]
    lanes = _SPAN_HEIGHT * len(runs) + 8
    heights = [lanes, *[_ROW_HEIGHT] * len(rows)]
    figure = make_subplots(
        rows=len(heights), cols=1, shared_xaxes=True, row_heights=[height / sum(heights) for height in heights],
        vertical_spacing=18 / sum(heights),
    )  # fmt: skip
    figure.update_layout(layout(dark))
    for lane, (name, run) in enumerate(runs.items()):
        figure.add_trace(_lane(lane, name, run.spans, dark), row=1, col=1)
    for position, (title, unit, row) in enumerate(rows, start=2):
        drawn = [(name, trace) for name, run in runs.items() for trace in run.traces if trace.row == row]
        tops = [float(np.nanmax(trace.values)) for _, trace in drawn if np.isfinite(trace.values).any()]
        scale = scale_for(tops, unit)
        for name, trace in drawn:
            figure.add_trace(_line(name, trace, scale.factor, scale.unit, looks[name]), row=position, col=1)
        modelled = {trace.modelled for _, trace in drawn}
        note = {frozenset({True}): ", modelled", frozenset({True, False}): ", some modelled"}.get(
            frozenset(modelled), ""
        )
        figure.update_yaxes(
            title_text=f"{title}{note}, {scale.unit}", rangemode="tozero", nticks=5, row=position, col=1
        )
    named: set[str] = set()
    for line in figure.data:
        if line.type != "bar":
            line.showlegend = line.legendgroup not in named
            named.add(line.legendgroup)
    axis = {"gridcolor": look.grid, "zeroline": False, "tickfont": {"color": look.muted, "size": 12}}
    first = min((span.start_s for run in runs.values() for span in run.spans if span.phase is Phase.LOAD), default=0.0)
    last = max(run.served_s for run in runs.values())
    figure.update_xaxes(**axis, range=[min(first, 0.0) - _BEFORE_S, last + _BEFORE_S])
    figure.update_yaxes(**axis, title_font={"color": look.muted, "size": 13}, automargin=True)
    figure.update_xaxes(
        title={"text": _SECONDS_SINCE[start], "font": {"color": look.muted, "size": 13}}, row=len(heights), col=1
    )
    figure.update_yaxes(
        tickvals=list(range(len(runs))), ticktext=[f"{escape(name, 22)} " for name in runs], showgrid=False,
        range=[len(runs) - 0.5, -0.5], fixedrange=True, row=1, col=1,
    )  # fmt: skip
    figure.update_layout(
        height=sum(heights) + 70 + 22 * len(runs), hovermode="closest", dragmode="zoom", bargap=0, barmode="overlay",
        margin={"l": 8, "r": 8, "t": 8, "b": 8},
        legend={"orientation": "v", "y": -70 / sum(heights), "yanchor": "top", "tracegroupgap": 0},
    )  # fmt: skip
    return figure


def _lane(lane: int, name: str, spans: Sequence[Span], dark: bool) -> go.Bar:
    """The phases of one run one after the other: in their axis's colour, or grey."""
    grey = with_alpha(theme(dark).line, 0.45)
    tints = [_TINTS.get(span.phase) for span in spans]
    return go.Bar(
        x=[span.end_s - span.start_s for span in spans], base=[span.start_s for span in spans], y=[lane] * len(spans),
        orientation="h", width=0.62, showlegend=False,
        marker={
            "color": [with_alpha(axis_colour(tint, dark), 0.55) if tint else grey for tint in tints],
            "line": {"width": 1, "color": theme(dark).ground},
        },
        hovertext=[_span_text(name, span) for span in spans], hovertemplate="%{hovertext}<extra></extra>",
    )  # fmt: skip


def _span_text(name: str, span: Span) -> str:
    words = [span.phase.value.replace("_", " "), *([subject_title(span.subject)] if span.subject else [])]
    return f"{escape(name)}: {escape(', '.join(words))}, {format_figure(span.end_s - span.start_s, 's')}"


def _line(name: str, trace: Trace, factor: float, unit: str, look: Look) -> go.Scatter | go.Scattergl:
    kind = go.Scattergl if trace.seconds.size > 5000 else go.Scatter
    what = f"{escape(trace.name)}: " if trace.group or trace.modelled else ""
    return kind(
        x=trace.seconds, y=trace.values / factor, mode="lines", name=escape(name), legendgroup=name, connectgaps=False,
        line={"width": 1.8, "color": look.colour, "dash": look.dash}, meta=[what],
        hovertemplate=f"%{{fullData.name}}<br>%{{meta[0]}}%{{y:.4~g}} {unit} at %{{x:.1f}} s<extra></extra>",
    )  # fmt: skip


def aligned_text(runs: Mapping[str, AlignedRun], start: Start) -> str:
    """What the lines say, in words."""
    zero = "loading" if start is Start.LOAD else "the first measured request"
    told = []
    for name, run in runs.items():
        parts = []
        for row, title, unit in _ROWS:
            tops = [float(np.nanmax(t.values)) for t in run.traces if t.row == row and np.isfinite(t.values).any()]
            if tops:
                parts.append(f"{title.lower()} up to {format_figure(max(tops), unit)}")
        parts.append(f"served until {format_figure(run.served_s, 's')}")
        told.append(f"{name}: {', '.join(parts)}")
    return f"Seconds since {zero}. {'; '.join(told)}."

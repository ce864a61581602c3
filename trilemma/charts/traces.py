"""What the meters read during a run: memory, power, CPU and GPUs on one time axis, with the phases shaded and named."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import plotly.graph_objects as go
from numpy.typing import NDArray
from plotly.subplots import make_subplots

from trilemma.analysis.format import Scale, scale_for
from trilemma.analysis.subjects import subject_title
from trilemma.analysis.traces import Trace, run_traces
from trilemma.charts.palette import Theme, axis_colour, escape, layout, theme, with_alpha
from trilemma.records import PhaseWindow, Sample
from trilemma.schema import Axis, Phase

FloatArray = NDArray[np.float64]

_AXIS_OF = {Phase.SPEED: Axis.SPEED, Phase.GENERATION: Axis.SPEED, Phase.PERFORMANCE: Axis.PERFORMANCE}
_ROWS = (
    ("memory", "Memory", "B"),
    ("power", "Power", "W"),
    ("cpu", "CPU", "cores"),
    ("gpu_memory", "GPU memory", "B"),
    ("gpu_busy", "GPU in use", "%"),
    ("gpu_clock", "GPU clock", "Hz"),
)
_GPU_DASHES = ("solid", "solid", "dash", "dash", "longdash", "longdash", "dashdot", "dashdot")
"""A dotted line is modelled power."""
_ROW_HEIGHT = 150


def traces_figure(samples: Sequence[Sample], phases: Sequence[PhaseWindow], *, dark: bool = False) -> go.Figure:
    """Memory, power and CPU of a run over its seconds.

    Phases are shaded in turn; the speed and the performance phase have the tint of their axis. A row without readings
    is left out. What others did to the machine is drawn in the warning colour beside the run's own CPU. Power that is
    modelled is a dotted line and says so. A run on GPUs has rows of them, a line a GPU; the row of the clock is shaded
    while that was held down.

    Args:
        samples: in order of time.
        phases: windows in order of start; one that has not ended is shaded up to the last sample.
        dark: which theme.
    """
    look = theme(dark)
    traces, start_ns, end_s = run_traces(samples, phases)
    rows = [(title, unit, [t for t in traces if t.row == row]) for row, title, unit in _ROWS]
    rows = [entry for entry in rows if entry[2]]
    groups = list(dict.fromkeys(trace.group for trace in traces if trace.group))
    named: set[str] = set()
    figure = make_subplots(rows=max(1, len(rows)), cols=1, shared_xaxes=True, vertical_spacing=0.045)
    figure.update_layout(layout(dark))
    for position, (title, unit, drawn) in enumerate(rows, start=1):
        tops = [float(np.nanmax(trace.values)) for trace in drawn if trace.values.size and not trace.shade]
        scale = scale_for(tops, unit)
        for trace in sorted(drawn, key=lambda trace: not trace.shade):
            line = (
                _shaded(trace, max(tops, default=1.0) / scale.factor, look)
                if trace.shade
                else _line(trace, scale, look, groups)
            )
            line.showlegend = line.name not in named
            named.add(line.name)
            figure.add_trace(line, row=position, col=1)
        figure.update_yaxes(title_text=f"{title}, {scale.unit}", rangemode="tozero", row=position, col=1)
    axis = {"gridcolor": look.grid, "zeroline": False, "tickfont": {"color": look.muted, "size": 12}}
    figure.update_xaxes(**axis, range=[0, end_s or 1])
    figure.update_yaxes(**axis, title_font={"color": look.muted, "size": 13}, nticks=5, automargin=True)
    figure.update_xaxes(
        title={"text": "Time since the run began, s", "font": {"color": look.muted, "size": 13}}, row=len(rows) or 1
    )
    _shade(figure, phases, start_ns, end_s, dark)
    figure.update_layout(
        height=90 + _ROW_HEIGHT * max(1, len(rows)),
        hovermode="x unified",
        dragmode="zoom",
        margin={"t": 44},
        legend={"y": -76 / (_ROW_HEIGHT * max(1, len(rows))), "yanchor": "top"},
    )
    return figure


def _line(trace: Trace, scale: Scale, look: Theme, groups: Sequence[str]) -> go.Scattergl | go.Scatter:
    kind = go.Scattergl if trace.seconds.size > 5000 else go.Scatter
    colour = look.warning if trace.foreign else (look.text if trace.main else look.line)
    dash = "dot" if trace.modelled else "solid"
    if trace.group:
        number = groups.index(trace.group)
        colour, dash = (look.text, look.line)[number % 2], _GPU_DASHES[number % len(_GPU_DASHES)]
    return kind(
        x=trace.seconds,
        y=trace.values / scale.factor,
        mode="lines",
        name=escape(trace.name),
        connectgaps=False,
        line={"width": 1.6 if trace.main else 1.1, "color": colour, "dash": dash},
        legendgroup=trace.group or None,
        hovertemplate=f"%{{y:.4~g}} {scale.unit}",
    )


def _shaded(trace: Trace, top: float, look: Theme) -> go.Scatter:
    """The whole height of the row, when ``trace`` is 1."""
    return go.Scatter(
        x=trace.seconds,
        y=trace.values * top * 1.05,
        mode="lines",
        name=escape(trace.name),
        fill="tozeroy",
        fillcolor=with_alpha(look.warning if trace.foreign else look.muted, 0.22),
        line={"width": 0, "shape": "hv"},
        hoverinfo="skip",
    )


def _shade(figure: go.Figure, phases: Sequence[PhaseWindow], start_ns: int, end_s: float, dark: bool) -> None:
    """Shade every phase over all rows, and name it above where the name fits."""
    look = theme(dark)
    for position, window in enumerate(phases):
        left = (window.start_ns - start_ns) / 1e9
        right = (window.end_ns - start_ns) / 1e9 if window.end_ns is not None else end_s
        axis = _AXIS_OF.get(window.phase)
        fill = with_alpha(axis_colour(axis, dark), 0.1) if axis else (look.shade if position % 2 else "rgba(0,0,0,0)")
        figure.add_shape(
            type="rect", xref="x", yref="paper", x0=left, x1=right, y0=0, y1=1, fillcolor=fill, line={"width": 0},
            layer="below",
        )  # fmt: skip
        name = subject_title(window.subject or window.phase.value)
        # On two levels in turn, so that short neighbours do not touch on a narrow screen.
        if right - left >= 0.009 * max(1, len(name)) * max(end_s, 1e-9):
            figure.add_annotation(
                x=(left + right) / 2, y=1, xref="x", yref="paper", yanchor="bottom", yshift=16 * (position % 2),
                text=escape(name, 24), showarrow=False, font={"size": 11, "color": look.muted},
            )  # fmt: skip

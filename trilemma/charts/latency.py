"""The distribution of a latency over a run's requests."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import plotly.graph_objects as go
from numpy.typing import NDArray

from trilemma.analysis.distributions import STATISTICS, ecdf, percentile
from trilemma.analysis.format import digits, key_definition, key_title, scale_for
from trilemma.analysis.subjects import subject_title
from trilemma.charts.palette import FONT, escape, layout, theme

FloatArray = NDArray[np.float64]

# Above 90 % the marks lie close, so their names part.
_BESIDE = {50: "bottom right", 90: "bottom right", 95: "top left", 99: "top right"}
_DASHES = ("solid", "dash", "dot", "dashdot", "longdash")


def ecdf_figure(name: str, by_workload: Mapping[str, FloatArray], *, dark: bool = False) -> go.Figure:
    """The empirical distribution of a latency, one step line a workload, with its percentiles marked.

    Of one workload the percentiles are written beside their marks; of several they would lie on each other, and are
    told when pointed at. A percentile that the sample is too small for is not marked. Left is faster here: a
    distribution is read from small to large, so the axis is not reversed, and its title says which way is better.

    Args:
        name: a figure such as ``ttft_s``.
        by_workload: values in seconds.
        dark: which theme.
    """
    look = theme(dark)
    everything = np.concatenate(list(by_workload.values())) if by_workload else np.empty(0)
    scale = scale_for(everything, key_definition(name).unit)
    figure = go.Figure(layout=layout(dark))
    for position, (workload, values) in enumerate(by_workload.items()):
        at, share = ecdf(values)
        if not at.size:
            continue
        label = f"{escape(subject_title(workload))} (n = {at.size:,})"
        figure.add_scatter(
            x=np.concatenate([at[:1], at]) / scale.factor, y=np.concatenate([[0.0], share]), mode="lines",
            line={"shape": "hv", "width": 2, "color": look.text, "dash": _DASHES[position % len(_DASHES)]}, name=label,
            hovertemplate=f"%{{y:.1%}} within %{{x:.3~g}} {scale.unit}<extra></extra>",
        )  # fmt: skip
        marked = {percent: percentile(values, percent) for percent in STATISTICS}
        known = {percent: value for percent, value in marked.items() if value is not None}
        figure.add_scatter(
            x=[value / scale.factor for value in known.values()], y=[percent / 100 for percent in known],
            mode="markers+text" if len(by_workload) == 1 else "markers", name=label,
            text=[f"p{percent}  {digits(value / scale.factor)} {scale.unit}" for percent, value in known.items()],
            textposition=[_BESIDE[percent] for percent in known],
            textfont={"family": FONT, "size": 12, "color": look.text}, cliponaxis=False,
            marker={"size": 8, "color": look.ground, "line": {"width": 2, "color": look.text}},
            hovertemplate="%{fullData.name}<br>%{text}<extra></extra>", showlegend=False,
        )  # fmt: skip
    largest = float(np.nanmax(everything)) / scale.factor if everything.size else 1.0
    least = float(np.nanmin(everything)) / scale.factor if everything.size else 0.0
    figure.update_xaxes(title_text=f"{key_title(name)}, {scale.unit} (left is faster)")
    figure.update_xaxes(
        range=[least - 0.04 * (largest - least or largest), largest + 0.22 * (largest - least or largest)]
    )
    figure.update_yaxes(title_text="Share of values", tickformat=".0%", range=[-0.02, 1.1])
    figure.update_layout(height=380, legend={"y": -0.2, "yanchor": "top"}, hovermode="closest", dragmode="zoom")
    return figure

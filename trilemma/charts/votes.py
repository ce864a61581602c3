"""What was preferred, as marks with intervals on a scale from never to always."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import plotly.graph_objects as go

from trilemma.analysis.format import digits
from trilemma.charts.compare import Look
from trilemma.charts.palette import FONT, escape, layout, theme
from trilemma.charts.performance import Bar

_ROW = 44


def preference_figure(bars: Sequence[Bar], title: str, looks: Mapping[str, Look], *, dark: bool = False) -> go.Figure:
    """A mark a configuration, the best on top, each with its 95 % interval; at 0.5 nothing is preferred.

    Args:
        bars: Shares from 0 to 1.
        title: What they are shares of.
        looks: How each is drawn, by the bars' names.
        dark: Which theme.
    """
    look = theme(dark)
    figure = go.Figure(layout=layout(dark))
    ordered = sorted(bars, key=lambda bar: bar.value)
    figure.add_vline(x=0.5, line={"color": look.line, "width": 1.5, "dash": "dot"})
    figure.add_scatter(
        x=[bar.value for bar in ordered], y=[*range(len(ordered))], mode="markers+text",
        marker={
            "size": 13, "color": [looks[bar.name].colour for bar in ordered],
            "symbol": [looks[bar.name].symbol for bar in ordered], "line": {"width": 1, "color": look.text},
        },
        text=[digits(bar.value, 2) for bar in ordered], textposition="top center",
        textfont={"family": FONT, "size": 12, "color": look.text},
        error_x={
            "type": "data", "symmetric": False, "color": look.muted, "thickness": 1.4, "width": 4,
            "array": [0.0 if bar.high is None else bar.high - bar.value for bar in ordered],
            "arrayminus": [0.0 if bar.low is None else bar.value - bar.low for bar in ordered],
        },
        hovertext=[_hover(bar) for bar in ordered], hovertemplate="%{hovertext}<extra></extra>", showlegend=False,
        cliponaxis=False,
    )  # fmt: skip
    figure.update_xaxes(
        title_text=f"{escape(title, 120)}<br>(more is better; dotted: no preference)", range=[-0.04, 1.04],
        tickvals=[0, 0.25, 0.5, 0.75, 1],
    )  # fmt: skip
    figure.update_yaxes(
        tickvals=[*range(len(ordered))], ticktext=[f"{escape(bar.name, 34)} " for bar in ordered],
        range=[-0.6, len(ordered) - 0.25], showgrid=False, tickfont={"color": look.text, "size": 13},
    )  # fmt: skip
    figure.update_layout(height=_ROW * len(ordered) + 90, hovermode="closest", dragmode=False)
    return figure


def _hover(bar: Bar) -> str:
    interval = ""
    if bar.low is not None and bar.high is not None:
        interval = f" ({digits(bar.low)} to {digits(bar.high)})"
    votes = f"{bar.n:,} vote{'' if bar.n == 1 else 's'}"
    return f"<b>{escape(bar.name)}</b><br>{digits(bar.value)}{interval}<br>{votes}"


def preference_text(bars: Sequence[Bar], title: str) -> str:
    """What the marks say, in words."""
    told = []
    for bar in sorted(bars, key=lambda bar: -bar.value):
        interval = "" if bar.low is None or bar.high is None else f" ({digits(bar.low, 2)} to {digits(bar.high, 2)})"
        told.append(f"{bar.name} {digits(bar.value, 2)}{interval}")
    return f"{title}: {', '.join(told)}."

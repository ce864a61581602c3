"""Throughput against waiting as users grow in number, and energy per token against their number."""

from __future__ import annotations

from collections.abc import Sequence

import plotly.graph_objects as go

from trilemma.analysis.format import Scale, axis_title, digits, key_definition, scale_for
from trilemma.analysis.load import LoadPoint, knee
from trilemma.charts.palette import FONT, layout, theme

_HEIGHT = 380


def load_figure(points: Sequence[LoadPoint], *, dark: bool = False) -> go.Figure:
    """Throughput (up is better) over the median wait for an answer (right is better), a mark a number of users.

    The knee is ringed. Points are joined in the order of their users.
    """
    look = theme(dark)
    waits = [point.e2e_s for point in points]
    scale = scale_for(waits, "s")
    bend = knee(points)
    names = [f"{_users(point)}{', the knee' if point == bend else ''}" for point in points]
    figure = go.Figure(layout=layout(dark))
    figure.add_scatter(
        x=[scale.show(wait) for wait in waits], y=[point.output_tps for point in points], mode="lines+markers+text",
        line={"width": 1.5, "color": look.muted}, marker={"size": 10, "color": look.text},
        text=names, textposition="top center", cliponaxis=False,
        textfont={"family": FONT, "size": 12, "color": look.text}, showlegend=False,
        hovertext=[_hover(point) for point in points], hovertemplate="%{hovertext}<extra></extra>",
    )  # fmt: skip
    if bend is not None:
        figure.add_scatter(
            x=[scale.show(bend.e2e_s)], y=[bend.output_tps], mode="markers", hoverinfo="skip", showlegend=False,
            marker={"symbol": "circle-open", "size": 20, "color": look.text, "line": {"width": 2}},
        )  # fmt: skip
    figure.update_xaxes(title_text=_broken("e2e_s.median", scale), autorange="reversed")
    figure.update_yaxes(title_text=_broken("output_tps", scale_for([], "tok/s")), rangemode="tozero")
    figure.update_layout(height=_HEIGHT, hovermode="closest")
    return figure


def load_energy_figure(points: Sequence[LoadPoint], *, dark: bool = False) -> go.Figure | None:
    """Energy per token against the number of users; hollow where modelled. None where no energy is known."""
    known = [point for point in points if point.energy_per_token_j is not None]
    if not known:
        return None
    look = theme(dark)
    scale = scale_for([point.energy_per_token_j for point in known], key_definition("energy_per_token_j").unit)
    values = [scale.show(point.energy_per_token_j or 0.0) for point in known]
    told = [f"{_users(point)}: {digits(value)} {scale.unit}" for point, value in zip(known, values, strict=True)]
    figure = go.Figure(layout=layout(dark))
    figure.add_scatter(
        x=[point.users for point in known], y=values, mode="lines+markers", showlegend=False,
        line={"width": 1.5, "color": look.muted},
        marker={
            "size": 10, "color": look.text, "line": {"width": 2},
            "symbol": ["circle-open" if point.modelled else "circle" for point in known],
        },
        hovertext=told, hovertemplate="%{hovertext}<extra></extra>",
    )  # fmt: skip
    figure.update_xaxes(title_text="Users at once<br> ", tickvals=[point.users for point in known])
    figure.update_yaxes(title_text=_broken("energy_per_token_j", scale), autorange="reversed")
    figure.update_layout(height=_HEIGHT, hovermode="closest")
    return figure


def _broken(key: str, scale: Scale) -> str:
    """An axis title in two lines: half a page is too narrow for one."""
    return axis_title(key, scale).replace(" (", "<br>(")


def _users(point: LoadPoint) -> str:
    return "1 user" if point.users == 1 else f"{point.users} users"


def _hover(point: LoadPoint) -> str:
    wait = scale_for([point.e2e_s], "s")
    lines = [
        f"<b>{_users(point)}</b>",
        f"Throughput: {digits(point.output_tps)} tok/s",
        f"Answer, median: {digits(wait.show(point.e2e_s))} {wait.unit}",
    ]
    if point.ttft_s is not None:
        first = scale_for([point.ttft_s], "s")
        lines.append(f"First token, median: {digits(first.show(point.ttft_s))} {first.unit}")
    return "<br>".join(lines)

"""Pictures of load: throughput against waiting, a figure against the load, and requests on a common clock."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import plotly.graph_objects as go

from trilemma.analysis.format import Scale, axis_title, digits, key_definition, scale_for
from trilemma.analysis.load import LoadPoint, Span, knee
from trilemma.charts.palette import FONT, escape, layout, theme

_HEIGHT = 380
_ROW = 22
"""A row of the legend, of which a phone needs one a curve: without room for them the picture would shrink."""
_DASHES = ("solid", "dash", "dot", "dashdot", "longdash", "longdashdot")


class CurveLook(NamedTuple):
    """A curve's colour, which is its model's, and the marker of its quantization."""

    colour: str
    symbol: str = "circle"


def load_figure(
    curves: Mapping[str, Sequence[LoadPoint]], *, looks: Mapping[str, CurveLook] | None = None, dark: bool = False
) -> go.Figure:
    """Throughput (up is better) over the median wait for an answer (right is better), a mark a level of load.

    Args:
        curves: By name, each joined in the order of its load, with its knee ringed; one alone needs no legend.
        looks: By name; dots in the colour of the text without.
        dark: Which theme.
    """
    look = theme(dark)
    scale = scale_for([point.e2e_s for points in curves.values() for point in points], "s")
    figure = go.Figure(layout=layout(dark))
    for position, (name, points) in enumerate(curves.items()):
        colour, symbol = (looks or {}).get(name, CurveLook(look.text))
        bend = knee(points)
        figure.add_scatter(
            x=[scale.show(point.e2e_s) for point in points], y=[point.output_tps for point in points],
            mode="lines+markers+text", name=escape(name, 90), showlegend=len(curves) > 1,
            line={"width": 1.5, "color": colour if len(curves) > 1 else look.muted,
                  "dash": _DASHES[position % len(_DASHES)]},
            marker={"size": 10, "color": colour, "symbol": symbol},
            text=_names(points, bend, alone=len(curves) == 1), textposition=_positions(points), cliponaxis=False,
            textfont={"family": FONT, "size": 12, "color": look.text},
            hovertext=[_hover(point) for point in points], hovertemplate="%{hovertext}<extra></extra>",
        )  # fmt: skip
        if bend is not None:
            figure.add_scatter(
                x=[scale.show(bend.e2e_s)], y=[bend.output_tps], mode="markers", hoverinfo="skip", showlegend=False,
                marker={"symbol": "circle-open", "size": 20, "color": colour, "line": {"width": 2}},
            )  # fmt: skip
    figure.update_xaxes(title_text=_broken("e2e_s.median", scale), autorange="reversed")
    figure.update_yaxes(title_text=_broken("output_tps", scale_for([], "tok/s")), rangemode="tozero")
    _place_legend(figure, len(curves))
    return figure


def _place_legend(figure: go.Figure, curves: int) -> None:
    """Below the axis title, with a row for each curve."""
    figure.update_layout(
        height=_HEIGHT + _ROW * max(0, curves - 3), hovermode="closest", legend={"y": -0.3, "yanchor": "top"}
    )


def _positions(points: Sequence[LoadPoint]) -> list[str]:
    """Beside the marks of the shortest waits the picture ends: their names stand to the left of them."""
    waits = [point.e2e_s for point in points]
    edge = min(waits) + 0.25 * (max(waits) - min(waits))
    return ["top left" if wait <= edge else "top center" for wait in waits]


def _names(points: Sequence[LoadPoint], bend: LoadPoint | None, *, alone: bool) -> list[str]:
    """What stands at the marks: all levels of one curve; of several, which may overlap, the ends and the knee."""
    ends = (points[0], points[-1], bend)
    return [
        f"{point.level.words if alone else f'{point.level.value:g}'}{', the knee' if alone and point == bend else ''}"
        if alone or point in ends
        else ""
        for point in points
    ]


def against_load_figure(
    name: str,
    curves: Mapping[str, Sequence[LoadPoint]],
    *,
    looks: Mapping[str, CurveLook] | None = None,
    dark: bool = False,
) -> go.Figure | None:
    """A figure against the load; better is up, hollow is modelled. None where no level has it.

    Args:
        name: Figure and statistic, one of :data:`trilemma.analysis.load.FIGURES`.
        curves: By name.
        looks: By name; dots in the colour of the text without.
        dark: Which theme.
    """
    known = {key: [p for p in points if name in p.values] for key, points in curves.items()}
    known = {key: points for key, points in known.items() if points}
    if not known:
        return None
    look, definition = theme(dark), key_definition(name)
    scale = scale_for([point.values[name] for points in known.values() for point in points], definition.unit)
    figure = go.Figure(layout=layout(dark))
    for position, (key, points) in enumerate(known.items()):
        colour, symbol = (looks or {}).get(key, CurveLook(look.text))
        values = [scale.show(point.values[name]) for point in points]
        told = [f"{p.level.words}: {digits(value)} {scale.unit}" for p, value in zip(points, values, strict=True)]
        figure.add_scatter(
            x=[point.level.value for point in points], y=values, mode="lines+markers", name=escape(key, 90),
            showlegend=len(known) > 1, cliponaxis=False,
            line={"width": 1.5, "color": colour if len(known) > 1 else look.muted,
                  "dash": _DASHES[position % len(_DASHES)]},
            marker={
                "size": 10, "color": colour, "line": {"width": 2},
                "symbol": [f"{symbol}-open" if point.modelled and "energy" in name else symbol for point in points],
            },
            hovertext=told, hovertemplate="%{hovertext}<extra></extra>",
        )  # fmt: skip
    levels = sorted({point.level.value for points in known.values() for point in points})
    by_rate = any(point.level.kind == "rate" for points in known.values() for point in points)
    figure.update_xaxes(title_text="Requests that come, per second<br> " if by_rate else "Users at once<br> ")
    if len(levels) <= 12:
        figure.update_xaxes(tickvals=levels, type="log" if levels[-1] > 8 * levels[0] else "linear")
    figure.update_yaxes(title_text=_broken(name, scale))
    if definition.better == "lower":
        figure.update_yaxes(autorange="reversed")
    else:
        figure.update_yaxes(rangemode="tozero")
    _place_legend(figure, len(known))
    return figure


def timeline_figure(spans: Sequence[Span], *, dark: bool = False) -> go.Figure:
    """A line a request: waiting for its first token (queue and prefill) thin, being answered (decoding) thick."""
    look = theme(dark)
    figure = go.Figure(layout=layout(dark))
    wide = max(2.0, min(10.0, 260 / max(1, len(spans))))
    waits = [(span.submitted_s, span.first_token_s) for span in spans]
    answers = [(span.first_token_s, span.last_token_s) for span in spans]
    for title, width, colour, edges in (
        ("waiting for the first token: queue and prefill", max(1.0, wide / 4), look.line, waits),
        ("being answered: decode", wide, look.text, answers),
    ):
        x: list[float | None] = []
        y: list[float | None] = []
        for row, (begin, end) in enumerate(edges, 1):
            x += [begin, end, None]
            y += [row, row, None]
        figure.add_scatter(
            x=x, y=y, mode="lines", name=title, line={"width": width, "color": colour}, hoverinfo="skip",
        )  # fmt: skip
    figure.add_scatter(
        x=[span.first_token_s for span in spans], y=list(range(1, len(spans) + 1)), mode="markers", showlegend=False,
        marker={"size": 8, "opacity": 0},
        hovertext=[
            f"<b>Request {span.position + 1}</b><br>First token after {digits(span.first_token_s - span.submitted_s)} s"
            f"<br>Answered after {digits(span.last_token_s - span.submitted_s)} s"
            for span in spans
        ],
        hovertemplate="%{hovertext}<extra></extra>",
    )  # fmt: skip
    figure.update_xaxes(title_text="Seconds since the first request", rangemode="tozero")
    figure.update_yaxes(title_text="Request, in order of submission", autorange="reversed", showgrid=False)
    height = min(720, max(_HEIGHT, 14 * len(spans) + 140))
    figure.update_layout(height=height, hovermode="closest", legend={"y": -0.2, "yanchor": "top"})
    return figure


def _broken(key: str, scale: Scale) -> str:
    """An axis title in two lines: half a page is too narrow for one."""
    return axis_title(key, scale).replace(" (", "<br>(")


def _hover(point: LoadPoint) -> str:
    wait = scale_for([point.e2e_s], "s")
    lines = [
        f"<b>{point.level.words}</b>",
        f"Throughput: {digits(point.output_tps)} tok/s",
        f"Answer, median: {digits(wait.show(point.e2e_s))} {wait.unit}",
    ]
    if (first := point.values.get("ttft_s.median")) is not None:
        scale = scale_for([first], "s")
        lines.append(f"First token, median: {digits(scale.show(first))} {scale.unit}")
    return "<br>".join(lines)

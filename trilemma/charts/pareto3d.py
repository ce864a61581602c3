"""The Pareto chart of three figures: better is up, right and to the front."""

from __future__ import annotations

from collections.abc import Collection, Mapping

import numpy as np
import plotly.graph_objects as go

from trilemma.analysis.format import Scale, axis_title
from trilemma.analysis.odds import FrontOdds
from trilemma.analysis.points import Points, better
from trilemma.charts.marks import DIMMED, legend_marks, marks, short_names
from trilemma.charts.palette import escape, layout, quantization_symbol, symbol_3d, theme, with_alpha
from trilemma.charts.pareto import HEIGHT, MANY_LADDERS
from trilemma.schema import Method, measurement_key, split_key

_NAMED_UP_TO = 40


def pareto3d_figure(
    points: Points,
    x: str,
    y: str,
    z: str,
    *,
    size: str | None = None,
    colours: Mapping[str, str] | None = None,
    dark: bool = False,
    picked: Collection[str] = (),
    odds: FrontOdds | None = None,
) -> go.Figure:
    """Three figures of every configuration; marks as in the 2-D chart, as far as 3-D charts have them.

    The front is of all three figures, so a point that the 2-D chart dims may be on it here. Intervals are in the
    hover text. Very many dominated points are dust without hover text. Axes on which less is better are reversed.

    Args:
        points: must hold ``x``, ``y``, ``z`` and ``size``; points that lack one of the axes are not drawn.
        x: key of the first horizontal axis.
        y: key of the second horizontal axis.
        z: key of the vertical axis.
        size: key that the size of a mark shows.
        colours: of every model in the catalog.
        dark: which theme.
        picked: the configurations to ring.
        odds: how surely each of ``points`` is on the front; contested ones are ringed.
    """
    keys = (x, y, z)
    shown = marks(points, keys, size=size, colours=colours, dark=dark, odds=odds)
    look = theme(dark)
    figure = go.Figure(layout=layout(dark))
    meta = shown.points.meta
    modelled = shown.method == Method.MODELLED
    symbols = {str(name): symbol_3d(quantization_symbol(str(name))) for name in meta["quantization"].unique()}
    ids = meta.index.to_numpy(dtype=object)
    ladders = shown.ladders()
    for rows in ladders if len(ladders) <= MANY_LADDERS else []:
        colour = shown.colours[str(shown.model[rows[0]])]
        a, b, c = shown.value[rows].T
        line = {"width": 3, "color": with_alpha(colour, 0.5)}
        figure.add_scatter3d(x=a, y=b, z=c, mode="lines", line=line, hoverinfo="skip", showlegend=False)
    beside = short_names(shown.points)
    if shown.crowded:
        figure.add_trace(_dust(shown.value[~shown.bright], look.line, DIMMED))
    # Each trace costs the graphics card as much as thousands of marks, so that a crowd's models share one.
    for model in [None] if shown.crowded else dict.fromkeys(shown.model):
        for bright in (True,) if shown.crowded else (True, False):
            rows = np.flatnonzero((shown.bright == bright) & ((shown.model == model) | (model is None)))
            if not rows.size:
                continue
            a, b, c = shown.value[rows].T
            names = meta["quantization"].astype(str).iloc[rows]
            named = bright and int(shown.bright.sum()) <= _NAMED_UP_TO
            drawn = [symbols[name] for name in names]
            figure.add_scatter3d(
                x=a, y=b, z=c,
                mode="markers+text" if named else "markers",
                text=[beside[row] for row in rows] if named else None,
                textfont={"size": 11, "color": look.text},
                textposition="top center",
                name=escape(model or ""), legendgroup=escape(model or ""), showlegend=False,
                marker={
                    "symbol": [_hollow(s) if modelled[row] else s for s, row in zip(drawn, rows, strict=True)],
                    "size": shown.size[rows] * 0.6, "color": [shown.colours[one] for one in shown.model[rows]],
                    "opacity": 1.0 if bright else DIMMED, "line": {"width": 0},
                },
                hovertext=[shown.hover[row] for row in rows], hovertemplate="%{hovertext}<extra></extra>",
                customdata=[[ids[row]] for row in rows],
            )  # fmt: skip
    _outline(figure, shown.value, np.flatnonzero(shown.contested), "circle-open", look.muted)
    _outline(figure, shown.value, np.flatnonzero(shown.method == Method.IMPORTED), "diamond-open", look.muted)
    _outline(figure, shown.value, np.flatnonzero(shown.disturbed), "diamond-open", look.warning)
    marked, counted = shown.picked(picked)
    if counted.size:
        figure.add_trace(_dust(shown.value[counted], look.text, 0.9))
    _outline(figure, shown.value, marked, "circle-open", look.text)
    figure.add_traces([_flat(entry) for entry in legend_marks(shown, dark, symbols, counted=shown.crowded)])
    figure.update_layout(
        height=HEIGHT,
        scene={
            **{
                f"{axis}axis": {
                    # Axis titles in 3-D neither wrap nor make room, so they are broken by hand.
                    "title": {"text": _title(key, scale), "font": {"size": 12, "color": look.muted}},
                    "autorange": "reversed" if better(key) == "lower" else True,
                    "gridcolor": look.grid,
                    "zeroline": False,
                    "showbackground": False,
                    "tickfont": {"size": 11, "color": look.muted},
                }
                for axis, key, scale in zip("xyz", keys, shown.scales, strict=True)
            },
            "camera": {"eye": {"x": 1.5, "y": -1.6, "z": 0.7}, "center": {"x": 0, "y": 0, "z": -0.1}},
            "aspectmode": "cube",
        },
        legend={"y": -0.02, "yanchor": "top"},
        xaxis={"visible": False},
        yaxis={"visible": False},
    )
    return figure


def _hollow(symbol: str) -> str:
    return symbol if symbol == "cross" else f"{symbol}-open"


def _title(key: str, scale: Scale) -> str:
    """Without the workload or suite, which the pickers name: there is no room."""
    name, _, statistic = split_key(key)
    short = axis_title(measurement_key(name, "", statistic), scale)
    return short.replace(" (", "<br>(").replace(": axis reversed", ", reversed")


def _dust(value: np.ndarray, colour: str, opacity: float) -> go.Scatter3d:
    """Very many dominated points without names, for their texts would be most of what is sent."""
    a, b, c = value.T
    marker = {"size": 2, "color": colour, "opacity": opacity}
    return go.Scatter3d(x=a, y=b, z=c, mode="markers", marker=marker, hoverinfo="skip", showlegend=False)


def _outline(figure: go.Figure, value: np.ndarray, rows: np.ndarray, symbol: str, colour: str) -> None:
    if rows.size:
        a, b, c = value[rows].T
        marker = {"symbol": symbol, "size": 15, "color": colour, "line": {"width": 2, "color": colour}}
        figure.add_scatter3d(x=a, y=b, z=c, mode="markers", marker=marker, hoverinfo="skip", showlegend=False)


def _flat(entry: go.Scatter) -> go.Scatter:
    """The legend's entry with the marker that 3-D charts have; flat, for the graphics card has nothing to draw."""
    if entry.marker.symbol == "triangle-up":
        entry.marker.symbol = "diamond-open"
    if "beaten here" in str(entry.name):
        entry.update(name="dust: beaten", marker={"symbol": "circle", "size": 5})
    return entry

"""The Pareto chart of three figures: better is up, right and to the back."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any

import numpy as np
import plotly.graph_objects as go
from numpy.typing import NDArray

from trilemma.analysis.format import Scale, axis_title
from trilemma.analysis.odds import FrontOdds
from trilemma.analysis.points import Points, better
from trilemma.charts.marks import DIMMED, FloatArray, Marks, Trace, legend_marks, marks, short_names
from trilemma.charts.palette import Theme, escape, layout, quantization_symbol, symbol_3d, theme, with_alpha
from trilemma.charts.pareto import HEIGHT, MANY_LADDERS
from trilemma.charts.unchecked import unchecked
from trilemma.schema import measurement_key, split_key

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
    symbols = {
        str(name): symbol_3d(quantization_symbol(str(name))) for name in shown.points.meta["quantization"].unique()
    }
    marked, counted = shown.picked(picked)
    ladders = shown.ladders()
    traces = [_ladder(shown, rows) for rows in (ladders if len(ladders) <= MANY_LADDERS else [])]
    if shown.crowded:
        traces.append(_dust(shown.value[~shown.bright], look.line, DIMMED))
    traces += _points(shown, symbols, look)
    for rows, symbol, colour in (
        (np.flatnonzero(shown.contested), "circle-open", look.muted),
        (shown.imported, "diamond-open", look.muted),
        (shown.warned, "diamond-open", look.warning),
    ):
        traces += _outline(shown.value[rows], symbol, colour)
    if counted.size:
        traces.append(_dust(shown.value[counted], look.text, 0.9))
    traces += _outline(shown.value[marked], "circle-open", look.text)
    base: dict[str, Any] = layout(dark)
    scene: dict[str, Any] = {
        f"{axis}axis": {
            # Axis titles in 3-D neither wrap nor make room, so they are broken by hand.
            "title": {"text": _title(key, scale), "font": {"size": 12, "color": look.muted}},
            "autorange": "reversed" if better(key) == "lower" else True,
            "gridcolor": look.grid,
            "linecolor": look.line,
            "zeroline": False,
            "showbackground": False,
            "tickfont": {"size": 11, "color": look.muted},
        }
        for axis, key, scale in zip("xyz", keys, shown.scales, strict=True)
    }
    scene |= {
        "camera": {"eye": {"x": 1.5, "y": -1.6, "z": 0.7}, "center": {"x": 0, "y": 0, "z": -0.1}},
        "aspectmode": "cube",
    }
    hidden = {"visible": False}
    return unchecked(
        [*traces, *(_flat(entry) for entry in legend_marks(shown, dark, symbols, crowd="dust: {}"))],
        {
            **base, "height": HEIGHT, "scene": scene, "legend": base["legend"] | {"y": -0.02, "yanchor": "top"},
            "xaxis": hidden, "yaxis": hidden,
        },
    )  # fmt: skip


def _points(shown: Marks, symbols: Mapping[str, str], look: Theme) -> list[Trace]:
    """Each trace costs the graphics card as much as thousands of marks, so that a crowd's models share one."""
    ids, names = shown.points.meta.index, shown.points.meta["quantization"].astype(str).to_numpy(dtype=object)
    beside = short_names(shown.points) if int(shown.bright.sum()) <= _NAMED_UP_TO else None
    found = []
    for model in [None] if shown.crowded else dict.fromkeys(shown.model):
        for bright in (True,) if shown.crowded else (True, False):
            rows = np.flatnonzero((shown.bright == bright) & ((shown.model == model) | (model is None)))
            if not rows.size:
                continue
            drawn = zip((symbols[name] for name in names[rows]), shown.modelled[rows], strict=True)
            text: Trace = {"mode": "markers"}
            if bright and beside is not None:
                text = {
                    "mode": "markers+text", "text": [beside[row] for row in rows], "textposition": "top center",
                    "textfont": {"size": 11, "color": look.text},
                }  # fmt: skip
            marker = {
                "symbol": [_hollow(symbol) if modelled else symbol for symbol, modelled in drawn],
                "size": shown.size[rows] * 0.6, "color": [shown.colours[one] for one in shown.model[rows]],
                "opacity": 1.0 if bright else DIMMED, "line": {"width": 0},
            }  # fmt: skip
            found.append(
                _at(shown.value[rows], marker, **text)
                | {
                    "name": escape(model or ""), "legendgroup": escape(model or ""), "hoverinfo": None,
                    "hovertext": [shown.hover[row] for row in rows], "hovertemplate": "%{hovertext}<extra></extra>",
                    "customdata": [[str(one)] for one in ids[rows]],
                }
            )  # fmt: skip
    return found


def _at(value: FloatArray, marker: Mapping[str, object] | None = None, **rest: object) -> Trace:
    a, b, c = value.T
    return {
        "type": "scatter3d", "x": a, "y": b, "z": c, "mode": "markers", "marker": marker, "hoverinfo": "skip",
        "showlegend": False, **rest,
    }  # fmt: skip


def _ladder(shown: Marks, rows: NDArray[np.intp]) -> Trace:
    line = {"width": 3, "color": with_alpha(shown.colours[str(shown.model[rows[0]])], 0.5)}
    return _at(shown.value[rows], mode="lines", line=line)


def _dust(value: FloatArray, colour: str, opacity: float) -> Trace:
    """Very many dominated points without names, for their texts would be most of what is sent.

    Squares, which look alike at this size: a circle is many more triangles, which take time when drawn in software.
    """
    return _at(value, {"symbol": "square", "size": 2, "color": colour, "opacity": opacity})


def _outline(value: FloatArray, symbol: str, colour: str) -> list[Trace]:
    # Rings of many points would hide one another and the points.
    size = 15 if len(value) <= _NAMED_UP_TO else 8
    marker = {"symbol": symbol, "size": size, "color": colour, "line": {"width": 2, "color": colour}}
    return [_at(value, marker)] if len(value) else []


def _flat(entry: Trace) -> Trace:
    """The legend's entry with the marker that 3-D charts have; flat, for the graphics card has nothing to draw."""
    if entry["marker"]["symbol"] == "triangle-up":
        return entry | {"marker": entry["marker"] | {"symbol": "diamond-open"}}
    if entry["name"].startswith("dust"):
        return entry | {"marker": entry["marker"] | {"symbol": "square", "size": 5}}
    return entry


def _hollow(symbol: str) -> str:
    return symbol if symbol == "cross" else f"{symbol}-open"


def _title(key: str, scale: Scale) -> str:
    """Without the workload or suite, which the pickers name: there is no room."""
    name, _, statistic = split_key(key)
    short = axis_title(measurement_key(name, "", statistic), scale)
    return short.replace(" (", "<br>(").replace(": axis reversed", ", reversed")

"""The Pareto chart of two figures: better is always up and to the right."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any

import numpy as np
import plotly.graph_objects as go
from numpy.typing import NDArray

from trilemma.analysis.format import axis_title
from trilemma.analysis.front import staircase
from trilemma.analysis.odds import FrontOdds
from trilemma.analysis.points import Points, better
from trilemma.charts.density import density
from trilemma.charts.labels import place
from trilemma.charts.marks import DIMMED, Marks, Trace, legend_marks, marks, short_names
from trilemma.charts.palette import escape, layout, theme, with_alpha
from trilemma.charts.unchecked import unchecked

MANY_LADDERS = 30
HEIGHT = 560
_MARGIN = {"l": 74, "r": 8, "t": 8, "b": 150}
"""What titles and a legend of two lines need: where it is enough, a browser draws once and not a second time."""


def pareto_figure(
    points: Points,
    x: str,
    y: str,
    *,
    size: str | None = None,
    colours: Mapping[str, str] | None = None,
    dark: bool = False,
    log_x: bool = False,
    log_y: bool = False,
    picked: Collection[str] = (),
    odds: FrontOdds | None = None,
) -> go.Figure:
    """Two figures of every configuration, with the front, intervals, ladders and provenance.

    Model by colour, quantization by marker (as many corners as bits), a thin line along each ladder, the area that the
    front dominates shaded, contested points ringed, dominated ones dimmed, or counted cell by cell where there are very
    many.
    Hollow marks are modelled, marks in a diamond imported, a small triangle means disturbed. Each mark carries its
    configuration id as ``customdata[0]``.

    Args:
        points: must hold ``x``, ``y`` and ``size``; points that lack ``x`` or ``y`` are not drawn.
        x: key of the horizontal axis, reversed where less is better.
        y: key of the vertical axis, likewise.
        size: key that the area of a mark shows.
        colours: of every model in the catalog.
        dark: which theme.
        log_x: logarithmic horizontal axis; ignored when a value is not positive.
        log_y: likewise.
        picked: the configurations to ring.
        odds: how surely each of ``points`` is on the front; contested ones get a thin ring.
    """
    shown = marks(points, (x, y), size=size, colours=colours, dark=dark, odds=odds)
    logs = (log_x and bool((shown.value[:, 0] > 0).all()), log_y and bool((shown.value[:, 1] > 0).all()))
    ranges = [_range(shown, i, logs[i], better(key) == "lower") for i, key in enumerate((x, y))]
    traces: list[Trace] = []
    if len(shown.points):
        traces = [
            *_front_area(shown, ranges, logs, dark),
            *_ladders(shown),
            *_intervals(shown, logs, dark),
            *([_crowd(shown, ranges, logs, dark)] if shown.crowded else _points(shown, bright=False)),
            *_points(shown, bright=True),
            *_contested(shown, dark),
            *_provenance(shown, dark),
            *_picked(shown, picked, ranges, logs, dark),
            *_names(shown, ranges, logs, dark),
            *legend_marks(shown, dark),
        ]
    base: dict[str, Any] = layout(dark)
    axes = {
        f"{letter}axis": base[f"{letter}axis"]
        | {
            "title": base[f"{letter}axis"]["title"] | {"text": axis_title(key, scale).replace(" (", "<br>(")},
            "type": "log" if log else "linear",
            "range": limits,
        }
        for letter, key, scale, log, limits in zip("xy", (x, y), shown.scales, logs, ranges, strict=True)
    }
    return unchecked(
        traces,
        {
            **base, **axes, "legend": base["legend"] | {"y": -0.21, "yanchor": "top"}, "height": HEIGHT,
            "hovermode": "closest", "clickmode": "event+select", "dragmode": "pan", "margin": _MARGIN,
        },
    )  # fmt: skip


def blank_figure(dark: bool) -> go.Figure:
    """Nothing, in the size of the chart."""
    hidden = {"visible": False}
    return unchecked([], layout(dark) | {"height": HEIGHT, "xaxis": hidden, "yaxis": hidden})


def _range(shown: Marks, axis: int, log: bool, lower_is_better: bool) -> list[float]:
    """The axis's ends in its own coordinates (exponents of ten on a log axis), worse first."""
    if not len(shown.points):
        return [1.0, 0.0] if lower_is_better else [0.0, 1.0]
    ends = [shown.value[:, axis]]
    if not shown.crowded:
        ends += [shown.low[:, axis], shown.high[:, axis]]
    values = np.concatenate(ends)
    values = values[np.isfinite(values) & ((values > 0) | (not log))]
    if log:
        values = np.log10(values)
    low, high = float(values.min()), float(values.max())
    pad = 0.09 * (high - low) or abs(high) * 0.1 or 1.0
    low, high = low - pad, high + pad
    return [high, low] if lower_is_better else [low, high]


def _front_area(shown: Marks, ranges: list[list[float]], logs: tuple[bool, bool], dark: bool) -> list[Trace]:
    """The front as a staircase to the chart's edges, and what it dominates as a shade."""
    corners = staircase(shown.value[shown.front], [better(key) for key in shown.keys])
    if not len(corners):
        return []
    worst = [10 ** ends[0] if log else ends[0] for ends, log in zip(ranges, logs, strict=True)]
    edge = np.vstack([[worst[0], corners[0][1]], corners, [corners[-1][0], worst[1]]])
    look = theme(dark)
    # The shade is closed by hand: a fill to the axis would go to zero, which a reversed or log axis does not have.
    area = np.vstack([edge, [worst[0], worst[1]]])
    return [
        _line(area, {"width": 0}, fill="toself", fillcolor=look.shade),
        _line(edge, {"width": 1.5, "color": look.text, "dash": "dot"})
        | {"showlegend": True, "name": "front: shaded is beaten", "legendrank": 1500},
    ]  # fmt: skip


def _line(path: NDArray[np.float64], line: Mapping[str, object], **rest: object) -> Trace:
    return {
        "type": "scatter", "x": path[:, 0], "y": path[:, 1], "mode": "lines", "line": line, "hoverinfo": "skip",
        "showlegend": False, **rest,
    }  # fmt: skip


def _joined(parts: list[NDArray[np.float64]]) -> NDArray[np.float64]:
    """Polylines one after the other, apart by NaN: points x 2."""
    gap = np.full((1, 2), np.nan)
    return np.vstack([piece for part in parts for piece in (part, gap)])


def _ladders(shown: Marks) -> list[Trace]:
    """A thin line along each ladder, in its model's colour; with very many ladders none, for they would be a carpet."""
    ladders = shown.ladders()
    if len(ladders) > MANY_LADDERS:
        return []
    by_model: dict[str, list[NDArray[np.float64]]] = {}
    for rows in ladders:
        by_model.setdefault(str(shown.model[rows[0]]), []).append(shown.value[rows])
    found = []
    for model, parts in by_model.items():
        line = {"width": 1.2, "color": with_alpha(shown.colours[model], 0.55)}
        found.append(_line(_joined(parts), line, legendgroup=escape(model)))
    return found


def _intervals(shown: Marks, logs: tuple[bool, bool], dark: bool) -> list[Trace]:
    """95 % intervals as thin crosses, fainter for dominated points."""
    look = theme(dark)
    found = []
    for bright, alpha in ((False, 0.3), (True, 0.75)):
        if not bright and shown.crowded:
            continue
        crosses = []
        for axis in (0, 1):
            low, high = shown.low[:, axis], shown.high[:, axis]
            known = np.isfinite(low) & np.isfinite(high) & (high > low) & ((low > 0) | (not logs[axis]))
            rows = np.flatnonzero(known & (shown.bright == bright))
            cross = np.repeat(shown.value[rows, None], 3, axis=1)
            cross[:, 0, axis], cross[:, 1, axis], cross[:, 2] = low[rows], high[rows], np.nan
            crosses.append(cross.reshape(-1, 2))
        path = np.vstack(crosses)
        if len(path):
            found.append(_line(path, {"width": 1.2, "color": with_alpha(look.muted, alpha)}, name="intervals"))
    return found


def _crowd(shown: Marks, ranges: list[list[float]], logs: tuple[bool, bool], dark: bool) -> Trace:
    return density(shown.value[~shown.bright], ranges, logs, [scale.unit for scale in shown.scales], dark)


def _points(shown: Marks, bright: bool) -> list[Trace]:
    """One trace a model, so that the legend can hide it."""
    opacity = 1.0 if bright else DIMMED
    ids = shown.points.meta.index
    found = []
    alike = np.flatnonzero(shown.bright == bright)
    for model in dict.fromkeys(shown.model[alike]):
        rows = alike[shown.model[alike] == model]
        colour = shown.colours[model]
        marker = {
            "symbol": shown.symbols(rows), "size": shown.size[rows], "color": colour, "opacity": opacity,
            "line": {"width": 2 if shown.modelled[rows].any() else 1, "color": colour},
        }  # fmt: skip
        found.append(
            _marks(
                shown, rows, marker, name=escape(model), legendgroup=escape(model), hoverinfo=None,
                # A click dims what is not clicked, unless it is told to leave it as it is.
                selected={"marker": {"opacity": 1.0}}, unselected={"marker": {"opacity": opacity}},
                customdata=[[str(one)] for one in ids[rows]], hovertext=[shown.hover[row] for row in rows],
                hovertemplate="%{hovertext}<extra></extra>",
            )
        )  # fmt: skip
    return found


def _marks(shown: Marks, rows: NDArray[np.intp], marker: Mapping[str, object], **rest: object) -> Trace:
    return {
        "type": "scatter", "x": shown.value[rows, 0], "y": shown.value[rows, 1], "mode": "markers", "marker": marker,
        "hoverinfo": "skip", "showlegend": False, "unselected": {"marker": {"opacity": 1}}, **rest,
    }  # fmt: skip


def _ring(shown: Marks, rows: NDArray[np.intp], symbol: str, extra: float, width: float, colour: str) -> Trace:
    marker = {"symbol": symbol, "size": shown.size[rows] + extra, "color": colour, "line": {"width": width}}
    return _marks(shown, rows, marker)


def _provenance(shown: Marks, dark: bool) -> list[Trace]:
    """A diamond around imported points, and a small warning triangle beside disturbed ones."""
    look = theme(dark)
    found = []
    if shown.imported.size:
        found.append(_ring(shown, shown.imported, "diamond-open", 12, 1.5, look.muted))
    if shown.warned.size:
        warning = {
            "symbol": "triangle-up",
            "size": 8,
            "color": look.warning,
            "line": {"width": 1, "color": look.ground},
        }
        found.append(_marks(shown, shown.warned, warning))
    return found


def _contested(shown: Marks, dark: bool) -> list[Trace]:
    rows = np.flatnonzero(shown.contested)
    return [_ring(shown, rows, "circle-open", 7, 1, theme(dark).text)] if rows.size else []


def _picked(
    shown: Marks, picked: Collection[str], ranges: list[list[float]], logs: tuple[bool, bool], dark: bool
) -> list[Trace]:
    """A ring around each mark; those that are only counted are counted once more."""
    marked, counted = shown.picked(picked)
    found: list[Trace] = []
    if counted.size:
        units = [scale.unit for scale in shown.scales]
        found.append(density(shown.value[counted], ranges, logs, units, dark, selected=True))
    if marked.size:
        found.append(_ring(shown, marked, "circle-open", 12, 2.5, theme(dark).text))
    return found


def _names(shown: Marks, ranges: list[list[float]], logs: tuple[bool, bool], dark: bool) -> list[Trace]:
    """The short name beside each front point where it fits."""
    # A crowd is no marks, so that nothing of it is in a name's way.
    drawn = np.flatnonzero(shown.alone)
    value = shown.value[drawn]
    unit = np.column_stack(
        [
            ((np.log10(value[:, i]) if logs[i] else value[:, i]) - ends[0]) / (ends[1] - ends[0])
            for i, ends in enumerate(ranges)
        ]
    )
    front = np.flatnonzero(shown.bright[drawn])
    names = dict(zip(front.tolist(), short_names(shown.points.select(drawn[front])), strict=True))
    placed = {int(drawn[at]): (names[at], where) for at, where in place(unit, shown.size[drawn], names).items()}
    if not placed:
        return []
    rows = np.array(list(placed))
    ink = theme(dark).text
    return [
        _marks(
            # Unseen marks of the points' size keep the names off the points.
            shown, rows, {"size": shown.size[rows], "opacity": 0}, mode="markers+text",
            text=[text for text, _ in placed.values()], textposition=[where for _, where in placed.values()],
            textfont={"size": 12, "color": ink}, cliponaxis=False,
            selected={"marker": {"opacity": 0}}, unselected={"marker": {"opacity": 0}, "textfont": {"color": ink}},
        )
    ]  # fmt: skip

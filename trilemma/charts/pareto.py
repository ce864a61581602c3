"""The Pareto chart of two figures: better is always up and to the right."""

from __future__ import annotations

from collections.abc import Collection, Mapping

import numpy as np
import plotly.graph_objects as go
from numpy.typing import NDArray

from trilemma.analysis.format import axis_title
from trilemma.analysis.front import staircase
from trilemma.analysis.odds import FrontOdds
from trilemma.analysis.points import Points, better
from trilemma.charts.density import density
from trilemma.charts.labels import place
from trilemma.charts.marks import DIMMED, Marks, hollow, legend_marks, marks, short_names
from trilemma.charts.palette import escape, layout, theme, with_alpha
from trilemma.schema import Method

MANY_LADDERS = 30
HEIGHT = 560

_Line = list[float | None]


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
    figure = go.Figure(layout=layout(dark))
    if len(shown.points):
        figure.add_traces(
            [
                *_front_area(shown, ranges, logs, dark),
                *_ladders(shown, dark),
                *_intervals(shown, logs, dark),
                *([_crowd(shown, ranges, logs, dark)] if shown.crowded else _points(shown, bright=False)),
                *_points(shown, bright=True),
                *_contested(shown, dark),
                *_provenance(shown, dark),
                *_picked(shown, picked, ranges, logs, dark),
                *_names(shown, ranges, logs, dark),
                *legend_marks(shown, dark, counted=shown.crowded),
            ]
        )
    for axis, key, scale, log, limits in zip("xy", (x, y), shown.scales, logs, ranges, strict=True):
        figure.update_layout(
            {
                f"{axis}axis": {
                    "title": {"text": axis_title(key, scale).replace(" (", "<br>(")},
                    "type": "log" if log else "linear",
                    "range": limits,
                    "tickformat": "" if log else None,
                }
            }
        )
    figure.update_layout(height=HEIGHT, hovermode="closest", clickmode="event+select", dragmode="pan")
    figure.update_layout(legend={"y": -0.21, "yanchor": "top"})
    return figure


def blank_figure() -> go.Figure:
    """Nothing, in the size of the chart."""
    return go.Figure(
        layout=layout(False) | {"height": HEIGHT, "xaxis": {"visible": False}, "yaxis": {"visible": False}}
    )


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


def _front_area(shown: Marks, ranges: list[list[float]], logs: tuple[bool, bool], dark: bool) -> list[go.Scatter]:
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
        go.Scatter(
            x=area[:, 0], y=area[:, 1], mode="lines", line={"width": 0}, fill="toself", fillcolor=look.shade,
            hoverinfo="skip", showlegend=False,
        ),
        go.Scatter(
            x=edge[:, 0], y=edge[:, 1], mode="lines", line={"width": 1.5, "color": look.text, "dash": "dot"},
            name="front: shaded is beaten", hoverinfo="skip", legendrank=1500,
        ),
    ]  # fmt: skip


def _joined(parts: list[NDArray[np.float64]]) -> tuple[_Line, _Line]:
    """Polylines as one trace's x and y, apart by None."""
    xs: _Line = []
    ys: _Line = []
    for part in parts:
        xs += [*part[:, 0].tolist(), None]
        ys += [*part[:, 1].tolist(), None]
    return xs, ys


def _ladders(shown: Marks, dark: bool) -> list[go.Scatter]:
    """A thin line along each ladder, in its model's colour; with very many ladders none, for they would be a carpet."""
    ladders = shown.ladders()
    if len(ladders) > MANY_LADDERS:
        return []
    by_model: dict[str, list[NDArray[np.float64]]] = {}
    for rows in ladders:
        by_model.setdefault(str(shown.model[rows[0]]), []).append(shown.value[rows])
    found = []
    for model, parts in by_model.items():
        xs, ys = _joined(parts)
        line = {"width": 1.2, "color": with_alpha(shown.colours[model], 0.55)}
        found.append(
            go.Scatter(
                x=xs, y=ys, mode="lines", line=line, hoverinfo="skip", showlegend=False, legendgroup=escape(model)
            )
        )
    return found


def _intervals(shown: Marks, logs: tuple[bool, bool], dark: bool) -> list[go.Scatter]:
    """95 % intervals as thin crosses, fainter for dominated points."""
    look = theme(dark)
    found = []
    for bright, alpha in ((False, 0.3), (True, 0.75)):
        if not bright and shown.crowded:
            continue
        parts = []
        for row in np.flatnonzero(shown.bright == bright):
            for axis in (0, 1):
                low, high = shown.low[row, axis], shown.high[row, axis]
                if np.isfinite(low) and np.isfinite(high) and high > low and not (logs[axis] and low <= 0):
                    cross = np.tile(shown.value[row], (2, 1))
                    cross[:, axis] = low, high
                    parts.append(cross)
        if parts:
            xs, ys = _joined(parts)
            line = {"width": 1.2, "color": with_alpha(look.muted, alpha)}
            found.append(
                go.Scatter(x=xs, y=ys, mode="lines", line=line, hoverinfo="skip", showlegend=False, name="intervals")
            )
    return found


def _crowd(shown: Marks, ranges: list[list[float]], logs: tuple[bool, bool], dark: bool) -> go.Heatmap:
    return density(shown.value[~shown.bright], ranges, logs, [scale.unit for scale in shown.scales], dark)


def _points(shown: Marks, bright: bool) -> list[go.Scatter]:
    """One trace a model, so that the legend can hide it."""
    opacity = 1.0 if bright else DIMMED
    modelled = shown.method == Method.MODELLED
    ids = shown.points.meta.index
    found = []
    alike = np.flatnonzero(shown.bright == bright)
    for model in dict.fromkeys(shown.model[alike]):
        rows = alike[shown.model[alike] == model]
        colour = shown.colours[model]
        marker = {
            "symbol": [hollow(shown.symbol[row]) if modelled[row] else shown.symbol[row] for row in rows],
            "size": shown.size[rows], "color": colour, "opacity": opacity,
            "line": {"width": 2 if modelled[rows].any() else 1, "color": colour},
        }  # fmt: skip
        found.append(
            go.Scatter(
                x=shown.value[rows, 0], y=shown.value[rows, 1], mode="markers", marker=marker, name=escape(model),
                legendgroup=escape(model), showlegend=False,
                # A click dims what is not clicked, unless it is told to leave it as it is.
                selected={"marker": {"opacity": 1.0}}, unselected={"marker": {"opacity": opacity}},
                customdata=[[ids[row]] for row in rows], hovertext=[shown.hover[row] for row in rows],
                hovertemplate="%{hovertext}<extra></extra>",
            )
        )  # fmt: skip
    return found


def _ring(shown: Marks, rows: NDArray[np.intp], symbol: str, extra: float, width: float, colour: str) -> go.Scatter:
    marker = {"symbol": symbol, "size": shown.size[rows] + extra, "color": colour, "line": {"width": width}}
    return go.Scatter(
        x=shown.value[rows, 0], y=shown.value[rows, 1], mode="markers", marker=marker, hoverinfo="skip",
        showlegend=False, unselected={"marker": {"opacity": 1}},
    )  # fmt: skip


def _provenance(shown: Marks, dark: bool) -> list[go.Scatter]:
    """A diamond around imported points, and a small warning triangle beside disturbed ones."""
    look = theme(dark)
    found = []
    alone = shown.bright | (not shown.crowded)
    imported = np.flatnonzero((shown.method == Method.IMPORTED) & alone)
    if imported.size:
        found.append(_ring(shown, imported, "diamond-open", 12, 1.5, look.muted))
    disturbed = np.flatnonzero(shown.disturbed & alone)
    if disturbed.size:
        found.append(
            go.Scatter(
                x=shown.value[disturbed, 0], y=shown.value[disturbed, 1], mode="markers", hoverinfo="skip",
                showlegend=False, unselected={"marker": {"opacity": 1}},
                marker={
                    "symbol": "triangle-up", "size": 8, "color": look.warning, "standoff": 0,
                    "line": {"width": 1, "color": look.ground},
                },
            )
        )  # fmt: skip
    return found


def _contested(shown: Marks, dark: bool) -> list[go.Scatter]:
    rows = np.flatnonzero(shown.contested)
    return [_ring(shown, rows, "circle-open", 7, 1, theme(dark).text)] if rows.size else []


def _picked(
    shown: Marks, picked: Collection[str], ranges: list[list[float]], logs: tuple[bool, bool], dark: bool
) -> list[go.Scatter | go.Heatmap]:
    """A ring around each mark; those that are only counted are counted once more."""
    marked, counted = shown.picked(picked)
    found: list[go.Scatter | go.Heatmap] = []
    if counted.size:
        units = [scale.unit for scale in shown.scales]
        found.append(density(shown.value[counted], ranges, logs, units, dark, selected=True))
    if marked.size:
        found.append(_ring(shown, marked, "circle-open", 12, 2.5, theme(dark).text))
    return found


def _names(shown: Marks, ranges: list[list[float]], logs: tuple[bool, bool], dark: bool) -> list[go.Scatter]:
    """The short name beside each front point where it fits."""
    # A crowd is no marks, so that nothing of it is in a name's way.
    drawn = np.flatnonzero(shown.bright | (not shown.crowded))
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
    rows = list(placed)
    return [
        go.Scatter(
            x=shown.value[rows, 0], y=shown.value[rows, 1], mode="markers+text", text=[placed[row][0] for row in rows],
            # Unseen marks of the points' size keep the names off the points.
            marker={"size": shown.size[rows], "opacity": 0}, selected={"marker": {"opacity": 0}},
            textposition=[placed[row][1] for row in rows], textfont={"size": 12, "color": theme(dark).text},
            hoverinfo="skip", showlegend=False, cliponaxis=False,
            unselected={"marker": {"opacity": 0}, "textfont": {"color": theme(dark).text}},
        )
    ]  # fmt: skip

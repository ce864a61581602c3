"""A few configurations side by side: their headline figures as bars, or as a radar."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import NamedTuple

import plotly.graph_objects as go

from trilemma.analysis.format import (
    BLANK,
    digits,
    format_figure,
    interval_text,
    key_definition,
    key_title,
    scale_for,
    short_titles,
)
from trilemma.analysis.points import Points, best_of, better
from trilemma.charts.palette import escape, layout, theme
from trilemma.schema import Method

DASHES = ("solid", "dash", "dashdot", "longdash", "longdashdot")
"""Of lines, in the order of the configurations; dotted is kept for what is less to be trusted."""
_HEADER, _ROW, _BAR, _GAP = 30, 38, 9, 14
_WIDEST = 1.4
_CENTRE = -0.25
_LABEL = 14


class Look(NamedTuple):
    """How a configuration is drawn: its model's colour, the marker of its quantization, and a line of its own."""

    colour: str
    symbol: str = "circle"
    dash: str = "solid"


class Ratio(NamedTuple):
    """A figure against the best of those shown, 1 for the best itself, with its interval where that is known."""

    value: float
    low: float | None
    high: float | None


def ratios(points: Points, key: str) -> list[Ratio | None]:
    """How near each of ``points`` comes to the best in ``key``: half as fast and twice as slow are both 0.5.

    None without the figure, and for all where there is no ratio to the best: see
    :func:`~trilemma.analysis.points.best_of`.
    """
    value, low, high = (table[key].astype(float).tolist() for table in (points.value, points.low, points.high))
    best = best_of(value, key)
    if best is None:
        return [None] * len(value)
    lower = better(key) == "lower"
    found: list[Ratio | None] = []
    for one, bottom, top in zip(value, low, high, strict=True):
        if math.isnan(one):
            found.append(None)
            continue
        ends = [None if math.isnan(end) else _ratio(end, best, lower) for end in (bottom, top)]
        found.append(Ratio(_ratio(one, best, lower), *(reversed(ends) if lower else ends)))
    return found


def _ratio(value: float, best: float, lower: bool) -> float:
    if not lower:
        return max(0.0, value / best)
    return best / value if value > 0 else math.inf


def bars_figure(
    points: Points, keys: Sequence[str], names: Mapping[str, str], looks: Mapping[str, Look], *, dark: bool = False
) -> go.Figure:
    """A block a figure, and in it a bar a configuration with its value and interval above it.

    A full bar is the best of those shown, so that longer is better in every block. A modelled figure is hollow, a
    disturbed one says so. A configuration that lacks a figure keeps its place, without a bar.

    Args:
        points: The configurations in their order; must hold ``keys``.
        keys: Figures of one axis, from the top.
        names: By configuration id.
        looks: By configuration id.
        dark: Which theme.
    """
    look = theme(dark)
    figure = go.Figure(layout=layout(dark))
    ids = [str(one) for one in points.meta.index]
    at = 0.0
    for key in keys:
        _write(figure, at + 12, f"<b>{escape(key_title(key), 60)}</b>", look.text, 13)
        at += _HEADER
        scale = scale_for(points.value[key], key_definition(key).unit)
        methods = points.methods([key])
        for row, (configuration_id, ratio) in enumerate(zip(ids, ratios(points, key), strict=True)):
            value, low, high = (float(table[key].iloc[row]) for table in (points.value, points.low, points.high))
            modelled = methods[row] is Method.MODELLED and not math.isnan(value)
            number = f"{digits(scale.show(value))} {scale.unit}".strip() if not math.isnan(value) else BLANK
            # What is counted has no interval.
            notes = [interval_text(value, low, high, scale)] if low < high else []
            notes += ["modelled"] if modelled else []
            notes += ["disturbed"] if bool(points.disturbed[key].iloc[row]) else []
            rest = " ".join(filter(None, notes))
            name = escape(names[configuration_id], 28)
            _write(figure, at + 9, name, look.muted, 12)
            written = f"{escape(number)} <span style='color:{look.muted}'>{escape(rest)}</span>"
            _write(figure, at + 9, written, look.text, 12, right=True)
            figure.add_shape(
                type="rect", x0=0, x1=1, y0=at + 20, y1=at + 20 + _BAR, fillcolor=look.grid, line={"width": 0},
                layer="below",
            )  # fmt: skip
            if ratio is not None:
                _bar(
                    figure, at + 20 + _BAR / 2, ratio, looks[configuration_id].colour,
                    f"{name}<br>{escape(number)} {escape(rest)}", hollow=modelled, dark=dark,
                )  # fmt: skip
            at += _ROW
        at += _GAP
    figure.update_xaxes(visible=False, range=[0, _reach(points, keys)], fixedrange=True)
    figure.update_yaxes(visible=False, range=[at - _GAP, 0], fixedrange=True)
    figure.update_layout(
        height=max(1, int(at - _GAP)), margin={"l": 0, "r": 0, "t": 0, "b": 0}, barmode="overlay", showlegend=False,
        hovermode="closest", dragmode=False,
    )  # fmt: skip
    return figure


def _write(figure: go.Figure, at: float, text: str, colour: str, size: int, *, right: bool = False) -> None:
    figure.add_annotation(
        x=1 if right else 0, xref="paper", xanchor="right" if right else "left", y=at, yanchor="middle", text=text,
        showarrow=False, font={"size": size, "color": colour},
    )  # fmt: skip


def _bar(figure: go.Figure, at: float, ratio: Ratio, colour: str, hover: str, *, hollow: bool, dark: bool) -> None:
    look = theme(dark)
    figure.add_bar(
        x=[ratio.value], y=[at], orientation="h", width=_BAR, hovertext=[hover],
        hovertemplate="%{hovertext}<extra></extra>",
        marker={"color": look.ground if hollow else colour, "line": {"width": 1.5 if hollow else 0, "color": colour}},
    )  # fmt: skip
    if ratio.low is None or ratio.high is None:
        return
    # Below the bar: on it, a thin line would be lost or cut it in two.
    figure.add_scatter(
        x=[ratio.value], y=[at + _BAR], mode="markers", marker={"size": 1, "opacity": 0}, hoverinfo="skip",
        error_x={
            "type": "data", "symmetric": False, "color": look.muted, "thickness": 1.2, "width": 3,
            "array": [min(ratio.high, 2 * _WIDEST) - ratio.value], "arrayminus": [ratio.value - ratio.low],
        },
    )  # fmt: skip


def _reach(points: Points, keys: Sequence[str]) -> float:
    """How far to the right the bars go, the ends of intervals included unless these are very far."""
    highs = [
        ratio.high for key in keys for ratio in ratios(points, key) if ratio is not None and ratio.high is not None
    ]
    return min(_WIDEST, max([1.0, *highs])) + 0.01


def bars_text(points: Points, keys: Sequence[str], names: Mapping[str, str]) -> str:
    """What the bars say, in words."""
    told = []
    for key in keys:
        unit = key_definition(key).unit
        values = [
            f"{names[str(one)]} {format_figure(value, unit, low, high)}"
            for one, value, low, high in zip(
                points.meta.index, *(table[key].tolist() for table in (points.value, points.low, points.high)),
                strict=True,
            )
        ]  # fmt: skip
        way = "less is better" if better(key) == "lower" else "more is better"
        told.append(f"{key_title(key)} ({way}): {', '.join(values)}")
    return "; ".join(told) + "." if told else "None of these figures was measured."


def radar_figure(
    points: Points, keys: Sequence[str], names: Mapping[str, str], looks: Mapping[str, Look], *, dark: bool = False
) -> go.Figure:
    """A spoke a figure, from the worst of those shown near the centre to the best at the rim; a line a configuration.

    The labels say what rim and centre are, for a spoke shows differences as large whatever their size. A configuration
    that lacks a figure has a gap there.

    Args:
        points: The configurations in their order; must hold ``keys``.
        keys: In order, clockwise from the top; at least three make a picture.
        names: By configuration id.
        looks: By configuration id.
        dark: Which theme.
    """
    look = theme(dark)
    figure = go.Figure(layout=layout(dark))
    spokes = list(range(len(keys)))
    places = {key: positions(points, key) for key in keys}
    for row, configuration_id in enumerate(str(one) for one in points.meta.index):
        line = looks[configuration_id]
        radius = [places[key][row] for key in keys]
        figure.add_scatterpolar(
            r=[*radius, radius[0]], theta=[360 * spoke / len(keys) for spoke in [*spokes, 0]], mode="lines+markers",
            name=escape(names[configuration_id], 60), connectgaps=False, cliponaxis=False,
            line={"color": line.colour, "width": 2, "dash": line.dash},
            marker={"symbol": line.symbol, "size": 9, "color": line.colour},
            hovertext=[_hover(points, key, row, names[configuration_id]) for key in [*keys, keys[0]]],
            hovertemplate="%{hovertext}<extra></extra>",
        )  # fmt: skip
    figure.update_layout(
        height=520, margin={"l": 8, "r": 8, "t": 48, "b": 8}, hovermode="closest", dragmode=False,
        legend={"orientation": "v", "y": -0.12, "yanchor": "top"},
        polar={
            # Room for the labels: on a phone they would be cut off.
            "domain": {"x": [0.27, 0.73], "y": [0.06, 0.94]},
            "bgcolor": "rgba(0,0,0,0)",
            "radialaxis": {"range": [_CENTRE, 1], "showticklabels": False, "ticks": "", "showline": False,
                           "gridcolor": look.grid, "tickvals": [0, 0.5, 1]},
            "angularaxis": {"tickvals": [360 * spoke / len(keys) for spoke in spokes],
                            "ticktext": _spokes(points, keys), "direction": "clockwise", "rotation": 90,
                            "gridcolor": look.grid, "linecolor": look.line,
                            "tickfont": {"size": 11, "color": look.muted}},
        },
    )  # fmt: skip
    return figure


def positions(points: Points, key: str) -> list[float | None]:
    """Where each of ``points`` lies from the worst, 0, to the best, 1; all at the best where they are equal."""
    value = points.value[key].astype(float)
    least, most = float(value.min()), float(value.max())
    if most == least:
        return [None if math.isnan(one) else 1.0 for one in value.tolist()]
    lower = better(key) == "lower"
    return [
        None if math.isnan(one) else (most - one if lower else one - least) / (most - least) for one in value.tolist()
    ]


def _hover(points: Points, key: str, row: int, name: str) -> str:
    value, low, high = (float(table[key].iloc[row]) for table in (points.value, points.low, points.high))
    written = format_figure(value, key_definition(key).unit, low, high)
    return f"<b>{escape(name)}</b><br>{escape(key_title(key))}: {escape(written)}"


def _spokes(points: Points, keys: Sequence[str]) -> list[str]:
    """What a spoke is called, with the values of its two ends in one unit."""
    titles = short_titles(keys)
    found = []
    for key in keys:
        scale = scale_for(points.value[key], key_definition(key).unit)
        least, most = (scale.show(float(one)) for one in (points.value[key].min(), points.value[key].max()))
        worst, best = (most, least) if better(key) == "lower" else (least, most)
        ends = (f"{digits(worst)} to", f"<b>{digits(best)}</b> {escape(scale.unit)}".strip())
        apart = "<br>" if len("".join(ends)) - len("<b></b>") >= _LABEL else " "
        found.append(f"{_folded(titles[key])}<br>{apart.join(ends)}")
    return found


def _folded(title: str) -> str:
    """A title on as many lines as it needs: beside a round picture there is little room."""
    lines = [""]
    for word in title.split():
        if lines[-1] and len(lines[-1]) + len(word) >= _LABEL:
            lines.append("")
        lines[-1] = f"{lines[-1]} {word}".strip()
    return "<br>".join(escape(line) for line in lines)

"""Scores as bars: a suite's, several configurations' side by side, and the score that is composed of suites."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import plotly.graph_objects as go

from trilemma.analysis.format import digits
from trilemma.charts.palette import FONT, axis_colour, escape, layout, theme, with_alpha
from trilemma.schema import Axis

_BAR = 24
_BETWEEN = 26
_PALEST = 0.4


@dataclass(frozen=True)
class Bar:
    """One score: ``low`` and ``high`` are its 95 % interval, ``n`` the items behind it."""

    name: str
    value: float
    low: float | None = None
    high: float | None = None
    n: int = 0


@dataclass(frozen=True)
class Group:
    """The bars of one suite, from the top; ``chance`` is what guessing scores, None where that is not drawn."""

    title: str
    bars: Sequence[Bar]
    chance: float | None = None


def ladder_colours(models: Mapping[str, str], colours: Mapping[str, str], *, palest: float = _PALEST) -> dict[str, str]:
    """The colour of each configuration: its model's, paler from one configuration of the model to the next.

    Args:
        models: configuration's name to model, of each model from most to fewest bits.
        colours: model to colour.
        palest: the opacity of the last one; lines need more than bars to be seen.
    """
    found: dict[str, str] = {}
    for model in dict.fromkeys(models.values()):
        names = [name for name, of in models.items() if of == model]
        step = (1 - palest) / max(1, len(names) - 1)
        found |= {name: with_alpha(colours[model], 1 - step * position) for position, name in enumerate(names)}
    return {name: found[name] for name in models}


def scores_figure(
    groups: Sequence[Group],
    *,
    title: str = "Score",
    looks: Mapping[str, str] | None = None,
    dark: bool = False,
) -> go.Figure:
    """Bars to the right, a group a suite, each with its interval and three digits; right is better.

    Args:
        groups: from the top.
        title: of the score.
        looks: colour by the bars' names, and then a legend; without it all are in the performance axis's blue.
        dark: which theme.
    """
    look = theme(dark)
    figure = go.Figure(layout=layout(dark))
    places: dict[str, list[tuple[float, Bar, Group]]] = {}
    middles, at = [], 0.0
    for group in groups:
        for position, bar in enumerate(group.bars):
            places.setdefault(bar.name, []).append((at + position, bar, group))
        middles.append(at + (len(group.bars) - 1) / 2)
        if group.chance:
            figure.add_scatter(
                x=[group.chance] * 2, y=[at - 0.5, at + len(group.bars) - 0.5], mode="lines", showlegend=False,
                line={"color": look.line, "width": 1.5, "dash": "dot"}, hoverinfo="skip",
            )  # fmt: skip
        at += len(group.bars) + _BETWEEN / _BAR
    for name, found in places.items():
        colour = (looks or {}).get(name, axis_colour(Axis.PERFORMANCE, dark))
        _bars(figure, name, found, colour, legend=looks is not None, dark=dark)
    if any(group.chance for group in groups):
        figure.add_scatter(
            x=[None], y=[None], mode="lines", name="what guessing scores",
            line={"color": look.line, "width": 1.5, "dash": "dot"},
        )  # fmt: skip
    ends = [end for found in places.values() for _, bar, _ in found for end in (bar.value, bar.low, bar.high)]
    known = [end for end in ends if end is not None]
    least, most = min([0.0, *known]), max([0.0, *known]) or 1.0
    # Room at the right for the figures.
    figure.update_xaxes(
        title_text=f"{escape(title)}<br>(more is better)", range=[1.05 * least, most + 0.16 * (most - least)]
    )
    # A space stands between a name and its bars.
    figure.update_yaxes(
        tickvals=middles, ticktext=[f"{escape(group.title, 28)} " if group.title else "" for group in groups],
        range=[at - _BETWEEN / _BAR - 0.4, -0.6], showgrid=False, tickfont={"color": look.text, "size": 13},
    )  # fmt: skip
    height = int(_BAR * at) + 80 + (26 * (len(places) + 1) if looks is not None else 30)
    figure.update_layout(
        height=height, bargap=0, hovermode="closest", dragmode=False,
        legend={"y": 1, "yanchor": "bottom", "orientation": "v", "traceorder": "normal"},
    )  # fmt: skip
    return figure


def _bars(
    figure: go.Figure,
    name: str,
    found: Sequence[tuple[float, Bar, Group]],
    colour: str,
    *,
    legend: bool,
    dark: bool,
) -> None:
    """One trace of bars, and one of the figures at their ends."""
    look = theme(dark)
    bars = [bar for _, bar, _ in found]
    rows = [place for place, _, _ in found]
    figure.add_bar(
        x=[bar.value for bar in bars], y=rows, orientation="h", width=0.78, name=escape(name, 60), showlegend=legend,
        marker={"color": colour, "line": {"width": 0}},
        hovertext=[_hover(bar, group) for _, bar, group in found], hovertemplate="%{hovertext}<extra></extra>",
    )  # fmt: skip
    # Twice, first broad and in the colour of the ground: on a dark bar a thin dark line would not be seen.
    for colour_of_line, thickness in ((look.ground, 4.0), (look.text, 1.2)):
        figure.add_scatter(
            x=[bar.value for bar in bars], y=rows, mode="markers", marker={"size": 1, "opacity": 0}, hoverinfo="skip",
            showlegend=False,
            error_x={
                "type": "data", "symmetric": False, "color": colour_of_line, "thickness": thickness, "width": 3,
                "array": [0.0 if bar.high is None else bar.high - bar.value for bar in bars],
                "arrayminus": [0.0 if bar.low is None else bar.value - bar.low for bar in bars],
            },
        )  # fmt: skip
    figure.add_scatter(
        x=[max(bar.value, bar.high if bar.high is not None else bar.value, 0.0) for bar in bars], y=rows, mode="text",
        text=[f"  {digits(bar.value)}" for bar in bars], textposition="middle right", showlegend=False,
        textfont={"family": FONT, "size": 12, "color": look.text}, hoverinfo="skip", cliponaxis=False,
    )  # fmt: skip


def _hover(bar: Bar, group: Group) -> str:
    lines = [f"<b>{escape(group.title)}</b>"] if group.title else []
    lines += [escape(bar.name)] if bar.name != group.title else []
    interval = ""
    if bar.low is not None and bar.high is not None:
        interval = f" ({digits(bar.low)} to {digits(bar.high)})"
    lines.append(f"{digits(bar.value)}{interval}{f', n = {bar.n:,}' if bar.n else ''}")
    if group.chance:
        lines.append(f"guessing scores {digits(group.chance)}")
    return "<br>".join(lines)


def scores_text(groups: Sequence[Group]) -> str:
    """What the bars say, in words."""
    told = []
    for group in groups:
        bars = [
            f"{bar.name} {digits(bar.value)}" if bar.name != group.title else digits(bar.value) for bar in group.bars
        ]
        told.append(f"{group.title}: {', '.join(bars)}" if group.title else ", ".join(bars))
    return "; ".join(told) + "."

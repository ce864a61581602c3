"""The decision map: a triangle whose every point is a mix of priorities, in the colour of who wins there."""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping, Sequence

import numpy as np
import plotly.graph_objects as go

from trilemma.analysis.decision_map import DecisionMap
from trilemma.analysis.points import Points, labels
from trilemma.analysis.uncertainty import FloatArray
from trilemma.charts.palette import Theme, axis_colour, escape, ink_on, layout, model_colours, theme
from trilemma.charts.ternary_places import apart, numbered, place_of_name
from trilemma.schema import Axis

HEIGHT = 470
_PALEST = 0.72
_HOVERED = 3
_NAMED = 8
_TYPE = 13


def region_colours(
    points: Points, rows: Sequence[int], models: Mapping[str, str], dark: bool, winners: Collection[int] = ()
) -> dict[int, str]:
    """A colour for each of ``rows``: its model's, paler from one configuration of the model to the next.

    Those of ``winners`` have regions to be told apart, so the steps are theirs; who wins only some draws is between.
    """
    ground, found = theme(dark).ground, {}
    names = points.meta["model"].astype(str).to_numpy()
    for model in dict.fromkeys(names[sorted(rows)]):
        mine = [row for row in sorted(rows) if names[row] == model]
        regions = [row for row in mine if row in winners] or mine
        for row in mine:
            step = regions.index(row) / max(1, len(regions) - 1) if row in regions else 0.5
            found[row] = mixed([models[model], ground], [1.0, _PALEST * step])
    return found


def mixed(colours: Sequence[str], parts: Sequence[float]) -> str:
    """The mean of ``#RRGGBB`` colours, each in proportion to its part."""
    return mixtures(colours, np.array([parts], dtype=np.float64))[0]


def mixtures(colours: Sequence[str], parts: FloatArray) -> list[str]:
    """:func:`mixed` for each row of ``parts``, mixtures x colours."""
    table = np.array([[int(colour[at : at + 2], 16) for at in (1, 3, 5)] for colour in colours], dtype=np.float64)
    means = np.rint(parts @ table / parts.sum(axis=1, keepdims=True)).astype(int)
    return [f"#{red:02X}{green:02X}{blue:02X}" for red, green, blue in means.tolist()]


def decision_map_figure(
    found: DecisionMap,
    points: Points,
    *,
    weights: Sequence[float] | None = None,
    models: Mapping[str, str] | None = None,
    marks: Mapping[str, Sequence[float]] | None = None,
    dark: bool = False,
) -> go.Figure:
    """The map; where the winner is in doubt, the colours of those that may win run into one another across its border.

    Args:
        found: who wins where.
        points: the configurations that its positions are of.
        weights: the present priorities, marked by a ring.
        models: the colour of every model in the catalog; chosen from the points' own models if absent.
        marks: other priorities to be marked, by name (use cases), numbered in their order.
        dark: which theme.

    Returns:
        A figure whose first trace has the grid's weights as ``customdata``, as the marks have theirs.
    """
    look = theme(dark)
    rows = [int(row) for row in found.rows]
    known = models or model_colours(sorted(set(points.meta["model"].astype(str))), dark)
    colours = region_colours(points, rows, known, dark, found.won())
    names = [str(name) for name in labels(points)]
    figure = go.Figure(layout=layout(dark))
    marker = {
        "symbol": "hexagon", "size": 17, "opacity": 1,
        "color": mixtures([colours[row] for row in rows], found.share),
    }  # fmt: skip
    # A dictionary is copied and looked through once, a trace twice, which takes as long as all the rest.
    cells = {
        "type": "scatterternary",
        "a": found.weights[:, 0],
        "b": found.weights[:, 1],
        "c": found.weights[:, 2],
        "mode": "markers",
        "marker": marker,
        # Picking a point dims the others unless it is told not to.
        "selected": {"marker": {"opacity": 1}},
        "unselected": {"marker": {"opacity": 1}},
        "customdata": found.weights.tolist(),
        "hovertext": _hover(found, rows, names),
        "hoverinfo": "text",
        "cliponaxis": True,
        "showlegend": False,
    }
    figure.add_trace(cells)
    figure.add_trace(_borders(found, look.ground))
    avoided = [*([weights] if weights is not None else []), *(marks or {}).values()]
    figure.add_traces(_names(found, points, colours, avoided))
    figure.add_traces(_legend(found, names, colours))
    if weights is not None:
        here = {"a": [weights[0]], "b": [weights[1]], "c": [weights[2]], "mode": "markers", "hoverinfo": "skip"}
        for size, width, colour in ((20, 5, look.ground), (20, 2.5, look.text)):
            ring = {"symbol": "circle-open", "size": size, "color": colour, "line": {"width": width}}
            figure.add_trace(go.Scatterternary(**here, marker=ring, cliponaxis=False, showlegend=False))
    figure.add_traces(_marks(marks or {}, look))  # over the ring, so that a number under it can be read
    axes = {
        name: {
            "title": {"text": f"<b>{axis.value.capitalize()}</b>",
                      "font": {"color": axis_colour(axis, dark), "size": 14}},
            "showticklabels": False, "ticks": "", "showgrid": False, "linecolor": look.line, "min": 0,
        }
        for name, axis in zip(("aaxis", "baxis", "caxis"), Axis, strict=True)
    }  # fmt: skip
    figure.update_layout(
        ternary={"bgcolor": "rgba(0,0,0,0)", "sum": 1, **axes}, height=HEIGHT,
        margin={"l": 58, "r": 58, "t": 36, "b": 20}, dragmode=False, hovermode="closest",
        legend={"itemclick": False, "itemdoubleclick": False, "y": -0.06, "yanchor": "top"},
    )  # fmt: skip
    return figure


def _hover(found: DecisionMap, rows: Sequence[int], names: Sequence[str]) -> list[str]:
    shown = [escape(names[row], 90) for row in rows]
    orders = np.argsort(-found.share, axis=1, kind="stable")[:, :_HOVERED].tolist()
    texts = []
    for weights, share, order in zip(found.weights.tolist(), found.share.tolist(), orders, strict=True):
        likely = [order[0], *(one for one in order[1:] if share[one] >= 0.01)]
        lines = [f"{shown[one]}: wins in {_draws_words(share[one])}" for one in likely]
        lines[0] = f"<b>{lines[0]}</b>"
        texts.append("<br>".join([*lines, _mix(weights)]))
    return texts


def _mix(weights: Sequence[float] | FloatArray) -> str:
    return ", ".join(f"{axis} {100 * weight:.0f} %" for axis, weight in zip(Axis, weights, strict=True))


def _borders(found: DecisionMap, colour: str) -> go.Scatterternary:
    """Thin lines between regions: where colours run into one another they alone say who wins more often."""
    steps = round(1 / float(found.weights[found.weights > 0].min()))
    parts = np.rint(found.weights * steps).astype(int)
    winners = {tuple(part): int(winner) for part, winner in zip(parts.tolist(), found.winner, strict=True)}
    lines: list[list[float | None]] = [[], [], []]
    for one, winner in winners.items():
        # Half of the six ways to a neighbour: the others are these from the other side.
        for way in ((1, -1, 0), (0, 1, -1), (-1, 0, 1)):
            other = (one[0] + way[0], one[1] + way[1], one[2] + way[2])
            if winners.get(other, winner) == winner:
                continue
            # The cells' common edge joins the middles of the two triangles that share both points; at the map's own
            # edge there is but one, and the border ends between the points.
            for turn in (1, -1):
                third = tuple(one[i] - way[(i + turn) % 3] for i in range(3))
                corners = [one, other, *([third] if third in winners else [])]
                for line, values in zip(lines, zip(*corners, strict=True), strict=True):
                    line.append(sum(values) / len(corners) / steps)
            for line in lines:
                line.append(None)
    return go.Scatterternary(
        a=lines[0], b=lines[1], c=lines[2], mode="lines", line={"width": 1.5, "color": colour}, hoverinfo="skip",
        showlegend=False, cliponaxis=False,
    )  # fmt: skip


def _names(
    found: DecisionMap, points: Points, colours: Mapping[int, str], avoided: Sequence[Sequence[float]]
) -> list[go.Scatterternary]:
    """The quantization of the winner inside each region that has room for it; the others are in the legend alone."""
    traces = []
    for row in found.won():
        name = escape(points.meta["quantization"].iloc[row], 14)
        at = place_of_name(found, row, len(name), _TYPE, avoided)
        if at is None:
            continue
        # A name in a narrow corner reaches beyond its region: it takes its ground along.
        halo = ", ".join([f"0 0 3px {colours[row]}"] * 4)
        traces.append(
            go.Scatterternary(
                a=[at[0]], b=[at[1]], c=[at[2]], mode="text", text=[f"<b>{name}</b>"], hoverinfo="skip",
                textfont={"size": _TYPE, "color": ink_on(colours[row]), "shadow": halo}, showlegend=False,
                cliponaxis=False,
            )
        )  # fmt: skip
    return traces


def _marks(marks: Mapping[str, Sequence[float]], look: Theme) -> list[go.Scatterternary]:
    """A small number at each named mix of weights, beside it where two would overlap; a click takes these weights."""
    groups = numbered(marks)
    if not groups:
        return []
    at = np.array([weights for weights, _ in groups])
    drawn = apart(at)
    numbers = [",".join(str(number) for number, _ in names) for _, names in groups]
    told = ["<br>".join([*(f"<b>{escape(name)}</b>" for _, name in names), _mix(weights)]) for weights, names in groups]
    disc = {
        "symbol": "circle",
        "size": 15,
        "opacity": 1,
        "color": look.ground,
        "line": {"width": 1, "color": look.text},
    }
    steady = {"marker": {"opacity": 1}, "textfont": {"color": look.text}}
    return [
        go.Scatterternary(
            a=drawn[:, 0], b=drawn[:, 1], c=drawn[:, 2], mode="markers+text", marker=disc, text=numbers,
            textfont={"size": 10, "color": look.text}, selected=steady, unselected=steady, customdata=at.tolist(),
            hovertext=told, hoverinfo="text", cliponaxis=False, showlegend=False, name="use cases",
        )
    ]  # fmt: skip


def marks_text(marks: Mapping[str, Sequence[float]]) -> str:
    """What the numbers on the map are: ``1 Phone or edge device, 2 ...``; empty without any."""
    return ", ".join(f"{number} {name}" for number, name in enumerate(marks, 1))


def _legend(found: DecisionMap, names: Sequence[str], colours: Mapping[int, str]) -> list[go.Scatterternary]:
    """What colour is who, for those who win anywhere, the largest region first."""
    entries = []
    for row in list(found.won())[:_NAMED]:
        marker = {"symbol": "square", "size": 12, "color": colours[row]}
        name = escape(names[row], 44)
        entries.append(
            go.Scatterternary(
                a=[None], b=[None], c=[None], mode="markers", marker=marker, name=name, legendgroup=name,
                hoverinfo="skip",
            )
        )  # fmt: skip
    return entries


def decision_map_text(found: DecisionMap, points: Points) -> str:
    """The text alternative: who wins where, and in how much of the triangle."""
    names = [str(name) for name in labels(points)]
    won = found.won()
    shown = list(won.items())[:5]
    parts = [f"{names[row]} wins at {share_words(share)} of all mixes of priorities" for row, share in shown]
    more = f"; {len(won) - 5} more win elsewhere" if len(won) > 5 else ""
    corners = []
    for position, axis in enumerate(Axis):
        at = int(np.argmax(found.weights[:, position]))
        corners.append(f"{names[int(found.winner[at])]} if only {axis} counts")
    return f"Decision map. {'; '.join(parts)}{more}. In the corners: {', '.join(corners)}."


def share_words(share: float) -> str:
    """``62 %`` of all mixes: rounded down, so that all of them are named only where it is all."""
    percent = math.floor(100 * share + 1e-9)
    return f"{percent} %" if percent else "less than 1 %"


def _draws_words(share: float) -> str:
    percent = math.floor(100 * share + 1e-9)
    if not percent:
        return "fewer than 1 of 100 draws"
    return f"{percent} of 100 draws" if percent < 100 else "all draws"

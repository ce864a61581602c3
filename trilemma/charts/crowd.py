"""Very many points: a few WebGL traces whose colours are numbers, for plotly checks each colour's name."""

from __future__ import annotations

import numpy as np
import plotly.graph_objects as go

from trilemma.charts.marks import DIMMED, VERY_MANY, Marks, hollow
from trilemma.schema import Method


def crowd(shown: Marks, front: bool) -> list[go.Scattergl]:
    """The dominated points, or those on the front: one trace a marker, model by colour."""
    opacity = 1.0 if front else DIMMED
    modelled = shown.method == Method.MODELLED
    models = list(dict.fromkeys(shown.model))
    number = {model: float(position) for position, model in enumerate(models)}
    codes = np.array([number[model] for model in shown.model])
    steps = len(models)
    # A flat step a model: a scale that changes between two models would mix their colours.
    scale = [[(i + edge) / steps, shown.colours[model]] for i, model in enumerate(models) for edge in (0, 1)]
    ids = shown.points.meta.index.to_numpy(dtype=object)
    hover = np.array(shown.hover, dtype=object)
    # What the hover text of a dominated point among many leaves out, plotly fills in.
    brief = len(shown.points) > VERY_MANY and not front
    tail = f"<br>%{{x:.3~g}} {shown.scales[0].unit}, %{{y:.3~g}} {shown.scales[1].unit}" if brief else ""
    coloured = {"colorscale": scale, "cmin": -0.5, "cmax": steps - 0.5}
    found = []
    for symbol in dict.fromkeys(shown.symbol):
        for empty in (False, True):
            rows = np.flatnonzero((shown.symbol == symbol) & (modelled == empty) & (shown.front == front))
            if not rows.size:
                continue
            colour = {"color": codes[rows], **coloured}
            marker = {
                "symbol": hollow(symbol) if empty else symbol, "size": shown.size[rows] * 0.7, "opacity": opacity,
                **colour, "line": {"width": 1.5 if empty else 0, **colour},
            }  # fmt: skip
            found.append(
                go.Scattergl(
                    x=shown.value[rows, 0], y=shown.value[rows, 1], mode="markers", marker=marker, showlegend=False,
                    selected={"marker": {"opacity": 1.0}}, unselected={"marker": {"opacity": opacity}},
                    customdata=ids[rows][:, None], hovertext=hover[rows],
                    hovertemplate=f"%{{hovertext}}{tail}<extra></extra>",
                )
            )  # fmt: skip
    return found

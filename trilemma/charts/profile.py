"""One point's figures as small bars, by axis, against the best of those in view."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd
import plotly.graph_objects as go

from trilemma.analysis.format import format_figure, key_definition, key_title
from trilemma.analysis.front import BoolArray
from trilemma.analysis.points import Points, axis_of, best_of, better
from trilemma.charts.palette import axis_colour, escape, layout, theme
from trilemma.charts.unchecked import unchecked
from trilemma.schema import Axis, Method

_ROW = 56


def profile_figure(
    points: Points, configuration_id: str, keys: Sequence[str], *, among: BoolArray | None = None, dark: bool = False
) -> go.Figure:
    """The figures ``keys`` of one configuration; a full bar is the best of ``points``, or of those that are ``among``.

    A bar is the ratio to the best (:func:`~trilemma.analysis.points.best_of`), hollow where the figure is modelled. A
    figure that the configuration lacks is left out.
    """
    look = theme(dark)
    row = int(np.flatnonzero(points.meta.index == configuration_id)[0])
    rows = np.ones(len(points), dtype=np.bool_) if among is None else among
    shapes: list[dict[str, object]] = []
    annotations: list[dict[str, object]] = []
    known = [key for key in keys if pd.notna(points.value[key].iloc[row])]
    for position, key in enumerate(known):
        value, low, high = (float(table[key].iloc[row]) for table in (points.value, points.low, points.high))
        best = best_of(points.value[key][rows], key)
        colour = axis_colour(axis_of(key) or Axis.EFFICIENCY, dark)
        modelled = points.method[key].iloc[row] == Method.MODELLED.value
        side = {"type": "rect", "x0": 0, "y0": position - 0.07, "y1": position + 0.07}
        shapes.append(side | {"x1": 1, "fillcolor": look.grid, "line": {"width": 0}})
        if best is not None:
            ratio = best / value if better(key) == "lower" else value / best
            fill = {"fillcolor": "rgba(0,0,0,0)" if modelled else colour}
            shapes.append(side | fill | {"x1": ratio, "line": {"width": 1.5 if modelled else 0, "color": colour}})
        unit = key_definition(key).unit
        plain = format_figure(value, unit)
        rest = format_figure(value, unit, low, high).removeprefix(plain).strip()
        number = f"<b>{escape(plain)}</b> <span style='color:{look.muted}'>{escape(rest)}</span>"
        for x, anchor, text, shift in ((0, "left", escape(key_title(key), 44), 32), (0, "left", number, 16)):
            font = {"size": 12 if shift == 32 else 13, "color": look.muted if shift == 32 else look.text}
            annotations.append(
                {
                    "x": x, "y": position, "xanchor": anchor, "yanchor": "middle", "yshift": shift, "text": text,
                    "showarrow": False, "font": font,
                }
            )  # fmt: skip
    axis = {"visible": False, "fixedrange": True}
    return unchecked(
        [],
        {
            **layout(dark), "height": _ROW * max(1, len(known)), "margin": {"l": 0, "r": 4, "t": 0, "b": 0},
            "xaxis": axis | {"range": [0, 1]}, "yaxis": axis | {"range": [len(known) - 0.85, -0.72]},
            "shapes": shapes, "annotations": annotations,
        },
    )  # fmt: skip

"""A chart as it is read from the back of a room."""

from __future__ import annotations

import textwrap

import plotly.graph_objects as go

_TYPE = 16
_MARKS = 1.35
_LINE = 36
"""Letters in a line of an axis's title: on a phone, larger type needs more lines."""


def enlarged(figure: go.Figure, height: int) -> go.Figure:
    """``figure`` with larger type and marks; the figure itself is left as it is.

    Args:
        figure: One of this package's charts.
        height: Pixels.
    """
    large = go.Figure(figure)
    large.update_layout(font_size=_TYPE, height=height, legend_font_size=_TYPE - 2, hoverlabel_font_size=_TYPE)
    triangle = any(trace.type == "scatterternary" for trace in large.data)
    # The points of a decision map touch one another at the height that it was made for.
    marks = height / (figure.layout.height or height) if triangle else _MARKS
    if triangle:
        large.update_layout({f"ternary_{name}axis_title_font_size": _TYPE for name in "abc"}, margin={"l": 64, "r": 64})
    elif figure.layout.legend.yanchor != "bottom":  # a legend above is in nobody's way
        large.update_layout(legend_y=-0.34)
    for axis in (*large.select_xaxes(), *large.select_yaxes()):
        axis.tickfont.size = _TYPE - 1
        axis.title.font.size = _TYPE
        if axis.title.text:
            lines = axis.title.text.split("<br>")
            axis.title.text = "<br>".join(line for one in lines for line in textwrap.wrap(one, _LINE) or [""])
    for trace in large.data:
        marker = getattr(trace, "marker", None)
        size = getattr(marker, "size", None)
        if marker is not None and size is not None:
            marker.size = size * marks if isinstance(size, int | float) else [one * marks for one in size]
        font = getattr(trace, "textfont", None)
        if font is not None and font.size:
            font.size = _TYPE
    return large

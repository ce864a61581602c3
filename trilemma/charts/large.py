"""A chart as it is read from the back of a room."""

from __future__ import annotations

import plotly.graph_objects as go

_TYPE = 17
_MARKS = 1.35


def enlarged(figure: go.Figure, height: int) -> go.Figure:
    """``figure`` with larger type and marks; the figure itself is left as it is.

    Args:
        figure: One of this package's charts.
        height: Pixels.
    """
    large = go.Figure(figure)
    large.update_layout(font_size=_TYPE, height=height, legend_font_size=_TYPE, hoverlabel_font_size=_TYPE)
    large.update_xaxes(tickfont_size=_TYPE - 1, title_font_size=_TYPE)
    large.update_yaxes(tickfont_size=_TYPE - 1, title_font_size=_TYPE)
    for trace in large.data:
        marker = getattr(trace, "marker", None)
        size = getattr(marker, "size", None)
        if marker is not None and size is not None:
            marker.size = size * _MARKS if isinstance(size, int | float) else [one * _MARKS for one in size]
        font = getattr(trace, "textfont", None)
        if font is not None and font.size:
            font.size = _TYPE
    return large

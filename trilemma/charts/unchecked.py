"""Figures of thousands of marks: for plotly to look at every value takes longer than all else. Tests do it instead."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import plotly.graph_objects as go

from trilemma.charts.marks import Trace


def unchecked(traces: Sequence[Trace], layout: Mapping[str, Any]) -> go.Figure:
    """A figure of ``traces`` as they are, each with its ``type``.

    Without plotly's default template, which is long, and another one as soon as Streamlit is imported: all that it sets
    is set in :func:`trilemma.charts.palette.layout`.
    """
    return go.Figure(data=list(traces), layout={**layout, "template": {}}, _validate=False)

"""Very many points: how many dominated ones lie where, for a thousand dimmed marks over each other show nothing."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import plotly.graph_objects as go
from numpy.typing import NDArray

from trilemma.charts.palette import theme, with_alpha

CELLS = (96, 54)
"""Across and down: squares of about ten pixels in a chart of the usual width."""
_FAINTEST, _DARKEST = 0.22, 0.85


def density(
    value: NDArray[np.float64],
    ranges: Sequence[Sequence[float]],
    logs: Sequence[bool],
    units: Sequence[str],
    dark: bool,
    cells: tuple[int, int] = CELLS,
    selected: bool = False,
) -> go.Heatmap:
    """The number of points in each cell of a grid over the chart, darker for more, on a logarithmic scale.

    Args:
        value: Points x 2, in the axes' units.
        ranges: Both axes' ends in their own coordinates (exponents of ten on a log axis), in any order.
        logs: Which axes are logarithmic.
        units: Of both axes, for the hover text.
        dark: Which theme.
        cells: Across and down.
        selected: Whether these are the selected ones, which lie over the others in the colour of text.

    Returns:
        A heat map whose ``z`` adds up to the number of points; cells without any are None.
    """
    placed = np.column_stack([np.log10(value[:, i]) if log else value[:, i] for i, log in enumerate(logs)])
    counts, *edges = np.histogram2d(
        placed[:, 0], placed[:, 1], bins=list(cells), range=[sorted(ends) for ends in ranges]
    )
    x, y = (10**edge if log else edge for edge, log in zip(edges, logs, strict=True))
    most = max(2.0, float(counts.max()))
    look = theme(dark)
    colour, what = (look.text, "selected") if selected else (look.muted, "beaten")
    steps = np.linspace(0, 1, 9)
    strength = _FAINTEST + (_DARKEST - _FAINTEST) * np.log1p(steps * (most - 1)) / np.log(most)
    return go.Heatmap(
        x=x, y=y, z=np.where(counts > 0, counts, np.nan).T, zmin=1, zmax=most, showscale=False, hoverongaps=False,
        colorscale=[[step, with_alpha(colour, alpha)] for step, alpha in zip(steps.tolist(), strength, strict=True)],
        hovertemplate=f"%{{z:,}} {what} here<br>about %{{x:.3~g}} {units[0]}, %{{y:.3~g}} {units[1]}<extra></extra>",
    )  # fmt: skip

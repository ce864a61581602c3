"""Very many points: how many dominated ones lie where, for a thousand dimmed marks over each other show nothing."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from trilemma.charts.marks import Trace
from trilemma.charts.palette import Theme, theme, with_alpha

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
    what: str = "beaten",
    selected: bool = False,
) -> Trace:
    """The number of points in each cell of a grid over the chart, darker for more, on a logarithmic scale.

    Args:
        value: Points x 2, in the axes' units.
        ranges: Both axes' ends in their own coordinates (exponents of ten on a log axis), in any order.
        logs: Which axes are logarithmic.
        units: Of both axes, for the hover text.
        dark: Which theme.
        cells: Across and down.
        what: What the points are.
        selected: Whether these are the selected ones, which lie over the others in the colour of text.

    Returns:
        A heat map whose ``z`` adds up to the number of points; cells without any are None.
    """
    placed = np.column_stack([np.log10(value[:, i]) if log else value[:, i] for i, log in enumerate(logs)])
    counts, *edges = np.histogram2d(
        placed[:, 0], placed[:, 1], bins=list(cells), range=[sorted(ends) for ends in ranges]
    )
    x, y = (10**edge if log else edge for edge, log in zip(edges, logs, strict=True))
    words = f"{'selected' if selected else what} here<br>about %{{x:.3~g}} {units[0]}, %{{y:.3~g}} {units[1]}"
    return counted(x, y, counts, words, theme(dark), selected=selected)


def counted(
    x: NDArray[np.float64], y: NDArray[np.float64], counts: NDArray[np.float64], words: str, look: Theme, *,
    selected: bool, faintest: float = _FAINTEST, darkest: float = _DARKEST,
) -> Trace:  # fmt: skip
    """A heat map of ``counts`` (across x up), darker for more, on a logarithmic scale; where there are none, nothing.

    Args:
        x: Where the cells are, or their edges.
        y: Likewise.
        counts: At least one above zero.
        words: What the hover text says after the number.
        look: The theme.
        selected: Whether these are the selected ones, which lie over the others in the colour of text.
        faintest: Opacity of a cell that holds one.
        darkest: Of the cell that holds most.
    """
    most = max(2.0, float(counts.max()))
    colour = look.text if selected else look.muted
    steps = np.linspace(0, 1, 9)
    strength = faintest + (darkest - faintest) * np.log1p(steps * (most - 1)) / np.log(most)
    return {
        "type": "heatmap", "x": x, "y": y, "z": np.where(counts > 0, counts, np.nan).T, "zmin": 1, "zmax": most,
        "colorscale": [[step, with_alpha(colour, alpha)] for step, alpha in zip(steps.tolist(), strength, strict=True)],
        "showscale": False, "hoverongaps": False, "hovertemplate": f"%{{z:,}} {words}<extra></extra>",
    }  # fmt: skip

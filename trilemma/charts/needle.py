"""Facts hidden in long texts: the share found, by the text's length and how deep in it they were."""

from __future__ import annotations

from collections.abc import Sequence

import plotly.graph_objects as go

from trilemma.analysis.needle import Cell
from trilemma.charts.palette import axis_colour, ink_on, layout, mixed, theme
from trilemma.schema import Axis

_ROW = 44
_FAINTEST = 0.06


def needle_figure(cells: Sequence[Cell], *, dark: bool = False) -> go.Figure:
    """A heat map in one hue, darker on light (lighter on dark) for more found, with the share in each cell.

    Depth runs down as a reader does. A length and depth that nobody was asked about stays empty.
    """
    look = theme(dark)
    lengths = sorted({cell.length for cell in cells})
    depths = sorted({cell.depth for cell in cells})
    known = {(cell.length, cell.depth): cell for cell in cells}
    grid = [[known.get((length, depth)) for length in lengths] for depth in depths]
    figure = go.Figure(layout=layout(dark))
    figure.add_trace(
        go.Heatmap(
            x=[_tokens(length) for length in lengths],
            y=[_percent(depth) for depth in depths],
            z=[[None if cell is None else cell.share for cell in row] for row in grid],
            zmin=0,
            zmax=1,
            colorscale=[[share, cell_colour(share, dark)] for share in (0.0, 1.0)],
            customdata=[[_words(cell) for cell in row] for row in grid],
            hovertemplate="%{customdata}<extra></extra>",
            hoverongaps=False,
            xgap=2,
            ygap=2,
            colorbar={
                "title": {"text": "found", "font": {"color": look.muted, "size": 12}},
                "tickformat": ".0%",
                "tickfont": {"color": look.muted, "size": 12},
                "outlinewidth": 0,
                "thickness": 12,
            },
        )
    )
    # A heat map's own text is grey or white, and on the middle of the scale neither is read well.
    figure.add_trace(
        go.Scatter(
            x=[_tokens(cell.length) for cell in cells],
            y=[_percent(cell.depth) for cell in cells],
            text=[_percent(cell.share) for cell in cells],
            mode="text",
            textfont={"color": [ink_on(cell_colour(cell.share, dark)) for cell in cells], "size": 13},
            hoverinfo="skip",
            showlegend=False,
        )
    )
    figure.update_xaxes(type="category", title_text="Length of the text, tokens", showgrid=False)
    figure.update_yaxes(type="category", title_text="Depth", autorange="reversed", showgrid=False)
    figure.update_layout(height=110 + _ROW * max(3, len(depths)))
    return figure


def cell_colour(share: float, dark: bool) -> str:
    """The colour of performance, fading into the ground where less was found, but never quite."""
    return mixed(axis_colour(Axis.PERFORMANCE, dark), theme(dark).ground, _FAINTEST + (1 - _FAINTEST) * share)


def _tokens(length: int) -> str:
    return f"{length:,}"


def _percent(share: float) -> str:
    return f"{share:.0%}"


def _words(cell: Cell | None) -> str:
    if cell is None:
        return ""
    failed = f"<br>{cell.failed:,} without an answer" if cell.failed else ""
    return f"{cell.length:,} tokens, depth {cell.depth:.0%}<br>{cell.share:.0%} found (n = {cell.n:,}){failed}"

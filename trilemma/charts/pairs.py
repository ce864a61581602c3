"""Every pair of a few figures as a small chart of its own: better is up and to the right in all of them."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import plotly.graph_objects as go
from numpy.typing import NDArray

from trilemma.analysis.format import short_titles
from trilemma.analysis.odds import FrontOdds
from trilemma.analysis.points import Points, better
from trilemma.charts.density import density
from trilemma.charts.marks import DIMMED, MANY, Marks, Trace, legend_marks, marks, narrow_title
from trilemma.charts.palette import layout, theme
from trilemma.charts.unchecked import unchecked

AT_MOST = 4
"""Figures: ten panels and more are too small to be read, and take a browser a second."""
_ROW, _REST = 160, 110
_GAP = 0.014
_SHRINK = 0.72
_MARKS = 240
"""Marks of a crowd in all panels: with a ring around each, a browser needs a quarter of a second for them."""
_MARGIN = {"l": 62, "r": 8, "t": 8, "b": 148}
"""What titles and a legend of two lines need: where it is enough, a browser draws once and not a second time."""
_TOLD = 60
"""Marks up to which each says all about itself: it is drawn once in every panel."""
_CELLS = (36, 26)
_WRAP = 17


def pairs_figure(
    points: Points,
    keys: Sequence[str],
    *,
    size: str | None = None,
    colours: Mapping[str, str] | None = None,
    dark: bool = False,
    log: bool = False,
    picked: Collection[str] = (),
    odds: FrontOdds | None = None,
) -> go.Figure:
    """The lower triangle of a scatter matrix, with the marks of the 2-D Pareto chart; of two figures, one panel.

    The front is of all ``keys`` at once, so that a mark is dimmed in every panel or in none. Each mark carries its
    configuration id as ``customdata[0]``. Dragging selects.

    Args:
        points: must hold ``keys`` and ``size``; points that lack one of ``keys`` are not drawn.
        keys: two to four figures; those on which less is better have a reversed axis.
        size: key that the area of a mark shows.
        colours: of every model in the catalog.
        dark: which theme.
        log: logarithmic axes, where all values of a figure are positive.
        picked: the configurations to ring.
        odds: how surely each of ``points`` is on the front of ``keys``; contested ones get a thin ring.
    """
    last = len(keys) - 1
    panels = max(1, last * (last + 1) // 2)
    shown = marks(points, keys, size=size, colours=colours, dark=dark, odds=odds, many=MANY // panels)
    shown = _thinned(shown, _MARKS // panels)
    look = theme(dark)
    logs = [log and bool((shown.value[:, column] > 0).all()) for column in range(len(keys))]
    ranges = [ends(shown.value[:, i], logs[i], better(key) == "lower") for i, key in enumerate(keys)]
    titles = short_titles(list(keys))
    selected = shown.picked(picked)
    traces: list[Trace] = []
    for row in range(1, last + 1 if len(shown.points) else 1):
        for column in range(row):
            panel = _Panel(shown, (column, row), (_name("x", column), _name("y", row - 1)))
            traces += _panel(panel, ranges, logs, selected, dark)
    axes: dict[str, object] = {}
    for place in range(last):
        for letter, index in (("x", place), ("y", place + 1)):
            spot = place if letter == "x" else last - 1 - place
            axes[_name(f"{letter}axis", place)] = {
                "domain": [spot / last + _GAP * (spot > 0), (spot + 1) / last - _GAP * (spot < last - 1)],
                "anchor": _name("y", last - 1) if letter == "x" else "x",
                "title": {
                    "text": narrow_title(titles[keys[index]], keys[index], shown.scales[index], _WRAP),
                    "font": {"color": look.muted, "size": 11},
                    "standoff": 6,
                },
                "type": "log" if logs[index] else "linear",
                "range": ranges[index],
                "gridcolor": look.grid, "zeroline": False, "showline": False, "ticks": "", "automargin": True,
                "nticks": 4, "tickfont": {"color": look.muted, "size": 10},
            }  # fmt: skip
    legend = {"y": -90 / (_ROW * last), "yanchor": "top", "itemclick": False, "itemdoubleclick": False}
    base: dict[str, Any] = layout(dark)
    told = legend_marks(shown, dark) if len(shown.points) else []
    return unchecked(
        [*traces, *told],
        {
            **base, **axes, "legend": base["legend"] | legend, "height": _ROW * last + _REST, "hovermode": "closest",
            "clickmode": "event+select", "dragmode": "select", "plot_bgcolor": look.shade, "margin": _MARGIN,
        },
    )  # fmt: skip


def _thinned(shown: Marks, most: int) -> Marks:
    """``shown`` with marks for ``most`` of a crowd, the likeliest on the front; the others are only counted."""
    if len(shown.points) <= most + shown.many or int(shown.bright.sum()) <= most:
        return shown
    likeliest = np.lexsort((-np.nan_to_num(shown.probability), ~shown.bright))[:most]
    bright = np.isin(np.arange(len(shown.points)), likeliest)
    return replace(shown, bright=bright, contested=shown.contested & bright, thinned=True)


def panel_keys(keys: Sequence[str], xref: str, yref: str) -> tuple[str, str] | None:
    """The two figures of the panel with plotly's axes ``xref`` and ``yref``; None if there is none."""
    names = {_name("x", place): place for place in range(len(keys) - 1)}
    ups = {_name("y", place): place + 1 for place in range(len(keys) - 1)}
    if xref not in names or yref not in ups or names[xref] >= ups[yref]:
        return None
    return keys[names[xref]], keys[ups[yref]]


def ends(values: NDArray[np.float64], log: bool, lower_is_better: bool) -> list[float]:
    """An axis's ends in its own coordinates (exponents of ten on a log axis), worse first, with some room."""
    known = values[np.isfinite(values)]
    if not known.size:
        return [1.0, 0.0] if lower_is_better else [0.0, 1.0]
    known = np.log10(known) if log else known
    low, high = float(known.min()), float(known.max())
    pad = 0.12 * (high - low) or abs(high) * 0.1 or 1.0
    return [high + pad, low - pad] if lower_is_better else [low - pad, high + pad]


def _name(letter: str, place: int) -> str:
    """Plotly's: ``x``, ``x2``, ``x3``."""
    return letter if place == 0 else f"{letter}{place + 1}"


@dataclass(frozen=True)
class _Panel:
    """One pair of figures of :class:`Marks`: which, and on which of plotly's axes."""

    shown: Marks
    at: tuple[int, int]
    axes: tuple[str, str]

    def marks(self, rows: NDArray[np.intp], **rest: object) -> dict[str, Any]:
        """A trace of the marks at ``rows``. Not by WebGL: with many small panels that takes twice as long."""
        x, y = self.shown.value[rows][:, list(self.at)].T
        where = {"x": x, "y": y, "xaxis": self.axes[0], "yaxis": self.axes[1], "mode": "markers", "showlegend": False}
        return {"type": "scatter", **where, **rest}


def _panel(
    panel: _Panel,
    ranges: Sequence[Sequence[float]],
    logs: Sequence[bool],
    selected: tuple[NDArray[np.intp], NDArray[np.intp]],
    dark: bool,
) -> list[Trace]:
    """The marks of one pair of figures: dimmed ones below, those that are or may be on the front above."""
    look, shown = theme(dark), panel.shown
    found: list[Trace] = []
    marked, counted = selected
    faint = np.flatnonzero(~shown.bright)
    if shown.crowded:
        found.append(_counted(panel, faint, ranges, logs, dark))
    else:
        found += _marks(panel, faint, DIMMED)
    if counted.size:
        found.append(_counted(panel, counted, ranges, logs, dark, selected=True))
    found += _marks(panel, np.flatnonzero(shown.bright), 1.0)
    outlines = (
        (np.flatnonzero(shown.contested), "circle-open", 6.0, 1.0, look.text),
        (shown.imported, "diamond-open", 8.0, 1.2, look.muted),
        (shown.warned, "triangle-up-open", 6.0, 1.2, look.warning),
        (marked, "circle-open", 9.0, 2.5, look.text),
    )
    for rows, symbol, extra, width, colour in outlines:
        if rows.size:
            marker = {"symbol": symbol, "size": _SHRINK * shown.size[rows] + extra, "color": colour}
            found.append(
                panel.marks(
                    rows, marker=marker | {"line": {"width": width, "color": colour}}, hoverinfo="skip",
                    unselected={"marker": {"opacity": 1}},
                )
            )  # fmt: skip
    return found


def _counted(
    panel: _Panel, rows: NDArray[np.intp], ranges: Sequence[Sequence[float]], logs: Sequence[bool], dark: bool,
    *, selected: bool = False,
) -> Trace:  # fmt: skip
    units = [panel.shown.scales[figure].unit for figure in panel.at]
    cells = density(
        panel.shown.value[rows][:, list(panel.at)], [ranges[i] for i in panel.at], [logs[i] for i in panel.at], units,
        dark, cells=_CELLS, selected=selected, what=panel.shown.counted,
    )  # fmt: skip
    return cells | {"xaxis": panel.axes[0], "yaxis": panel.axes[1]}


def _marks(panel: _Panel, rows: NDArray[np.intp], opacity: float) -> list[Trace]:
    """One trace for all models: a trace each, in ten panels, would take longer to make than to draw."""
    if not rows.size:
        return []
    shown = panel.shown
    full = len(shown.points) <= _TOLD
    units = [shown.scales[figure].unit for figure in panel.at]
    numbers = "" if full else f"<br>%{{x:.3~g}} {units[0]}, %{{y:.3~g}} {units[1]}"
    return [
        panel.marks(
            rows,
            marker={
                "symbol": shown.symbols(rows), "size": _SHRINK * shown.size[rows],
                "color": [shown.colours[one] for one in shown.model[rows]], "opacity": opacity,
                "line": {"width": 1.5 if shown.modelled[rows].any() else 0.0},
            },
            selected={"marker": {"opacity": 1.0}}, unselected={"marker": {"opacity": opacity}},
            customdata=[[str(one)] for one in shown.points.meta.index[rows]],
            hovertext=[(shown.hover if full else shown.names)[row] for row in rows],
            hovertemplate=f"%{{hovertext}}{numbers}<extra></extra>",
        )
    ]  # fmt: skip

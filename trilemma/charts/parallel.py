"""Parallel coordinates: a few figures side by side, each an axis on which better is up, each configuration a line."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import Any

import numpy as np
import plotly.graph_objects as go
from numpy.typing import NDArray

from trilemma.analysis.format import Scale, digits, short_titles
from trilemma.analysis.front import BoolArray, FloatArray
from trilemma.analysis.limits import Limit
from trilemma.analysis.odds import FrontOdds
from trilemma.analysis.points import Points
from trilemma.charts.density import counted
from trilemma.charts.marks import DIMMED, Marks, Trace, hollow, legend_marks, marks, narrow_title
from trilemma.charts.palette import Theme, escape, layout, theme, with_alpha
from trilemma.charts.rulers import Ruler, rulers
from trilemma.charts.unchecked import unchecked
from trilemma.schema import Method

HEIGHT = 560
_MARGIN = {"l": 8, "r": 8, "t": 8, "b": 76}
"""What a legend of two lines needs: where it is enough, a browser draws once and not a second time."""
_TICKS = (0.0, 0.25, 0.5, 0.75, 1.0)
_COLUMNS, _ROWS = 40, 60
"""Cells between two axes, across and up, in which very many lines are counted."""
_APART = 0.045
"""How far names at the end of lines stay apart, as a share of an axis."""
_NAMED = 14
_MARKED = 100
"""Lines up to which each has its marker on every axis: a browser draws one line as fast as a single marker."""
_WRAP = 12


def parallel_figure(
    points: Points,
    keys: Sequence[str],
    *,
    spans: Sequence[Limit] = (),
    colours: Mapping[str, str] | None = None,
    dark: bool = False,
    log: bool = False,
    picked: Collection[str] = (),
    odds: FrontOdds | None = None,
) -> go.Figure:
    """One line a configuration; model by colour, quantization by marker, hollow where that figure is modelled.

    What is or may be on the front of all ``keys`` is drawn in full, dashed where that is contested; the rest is faint,
    or counted cell by cell where it is very much. Dragging selects a box, of which
    :func:`trilemma.charts.rulers.brush` makes ranges.

    Args:
        points: must hold ``keys``; points that lack one are not drawn.
        keys: at least two figures.
        spans: selected ranges; those of ``keys`` are bars along their axes.
        colours: of every model in the catalog.
        dark: which theme.
        log: logarithmic axes, where all values of a figure are positive.
        picked: the selected configurations, which are emphasised.
        odds: how surely each of ``points`` is on the front of ``keys``.
    """
    shown = marks(points, keys, colours=colours, dark=dark, odds=odds)
    look = theme(dark)
    axes = rulers(shown.points.value, keys, log)
    traces: list[Trace] = []
    if len(shown.points):
        placed = np.column_stack([axis.place(shown.points.value[axis.key].to_numpy(dtype=np.float64)) for axis in axes])
        marked, crowd = shown.picked(picked)
        faint = ~shown.bright
        traces = [
            _rails(len(keys), look),
            *_bars(axes, spans, look),
            *([_crowd(placed[faint], look)] if shown.crowded else _lines(shown, placed, faint)),
            *([_crowd(placed[crowd], look, selected=True)] if crowd.size else []),
            *_picked(placed[marked], look),
            *_lines(shown, placed, shown.bright),
            _numbers(axes, shown.scales, look),
            *_names(shown, placed, look),
            *_legend(shown, bool(marked.size), bool(crowd.size), dark),
        ]
    titles = short_titles(list(keys))
    annotations = [
        {
            "x": place, "y": 1.08, "yanchor": "bottom", "xanchor": "center", "showarrow": False,
            "text": narrow_title(titles[key], key, scale, _WRAP), "font": {"size": 12, "color": look.text},
        }
        for place, (key, scale) in enumerate(zip(keys, shown.scales, strict=True))
    ]  # fmt: skip
    base: dict[str, Any] = layout(dark)
    legend = {"y": -0.02, "yanchor": "top", "itemclick": False, "itemdoubleclick": False}
    return unchecked(
        traces,
        {
            **base, "annotations": annotations, "legend": base["legend"] | legend, "height": HEIGHT,
            "xaxis": {"visible": False, "range": [-0.45, len(keys) - 1 + 0.7], "fixedrange": True},
            "yaxis": {"visible": False, "range": [-0.09, 1.3], "fixedrange": True},
            "hovermode": "closest", "clickmode": "event+select", "dragmode": "select", "selectdirection": "any",
            "margin": _MARGIN,
        },
    )  # fmt: skip


def _polyline(placed: FloatArray) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Lines one after the other, apart by NaN."""
    count, axes = placed.shape
    across = np.tile(np.append(np.arange(axes, dtype=np.float64), np.nan), count)
    up = np.column_stack([placed, np.full(count, np.nan)]).ravel()
    return across, up


def _path(x: object, y: object, line: Mapping[str, object], **rest: object) -> Trace:
    return {
        "type": "scatter", "x": x, "y": y, "mode": "lines", "line": line, "hoverinfo": "skip", "showlegend": False,
        **rest,
    }  # fmt: skip


def _lines(shown: Marks, placed: FloatArray, which: BoolArray) -> list[Trace]:
    """One trace for each model, and for each of certain and contested."""
    found = []
    few, ends = int(which.sum()) <= _MARKED, placed.shape[1] + 1
    # Said at every corner of a line, so that of many lines only the name is.
    told = shown.hover if few else shown.names
    for model in dict.fromkeys(shown.model[which]):
        for dashed in (False, True):
            rows = np.flatnonzero(which & (shown.model == model) & (shown.contested == dashed))
            if not rows.size:
                continue
            bright = bool(shown.bright[rows[0]])
            colour = shown.colours[str(model)]
            line = {"width": 2 if bright else 1.2, "color": colour, "dash": "dash" if dashed else "solid"}
            trace = _path(
                *_polyline(placed[rows]), line, opacity=1.0 if bright else DIMMED, hoverinfo=None,
                hovertext=[told[row] for row in rows for _ in range(ends)], hovertemplate="%{hovertext}<extra></extra>",
            )  # fmt: skip
            if few:
                methods = shown.points.method[list(shown.keys)].iloc[rows].to_numpy(dtype=object)
                symbols = [
                    symbol
                    for row, how in zip(rows, methods == Method.MODELLED.value, strict=True)
                    for symbol in (
                        *(hollow(shown.symbol[row]) if one else shown.symbol[row] for one in how),
                        "circle",
                    )
                ]
                trace |= {
                    "mode": "lines+markers", "selected": {"marker": {"opacity": 1.0}},
                    "unselected": {"marker": {"opacity": 1.0}},
                    "marker": {"symbol": symbols, "size": 9, "color": colour, "line": {"width": 1.5, "color": colour}},
                }  # fmt: skip
            found.append(trace)
    return found


def _crowd(placed: FloatArray, look: Theme, *, selected: bool = False) -> Trace:
    """How many lines pass each cell between the axes, darker for more."""
    axes = placed.shape[1]
    across = np.linspace(0, axes - 1, (axes - 1) * _COLUMNS)
    left = np.minimum(across.astype(int), axes - 2)
    # A row a column of cells, in place: of thousands of lines, copies take most of the time.
    ends = np.ascontiguousarray(placed.T * _ROWS)
    up = ends[left + 1]
    up -= ends[left]
    up *= (across - left)[:, None]
    up += ends[left]
    places = np.clip(up, 0, _ROWS - 1, out=up).astype(np.intp)
    places += np.arange(0, len(across) * _ROWS, _ROWS)[:, None]
    counts = np.bincount(places.ravel(), minlength=len(across) * _ROWS).reshape(len(across), _ROWS).astype(np.float64)
    words = f"{'selected' if selected else 'beaten'} pass here"
    return counted(
        across, (np.arange(_ROWS) + 0.5) / _ROWS, counts, words, look, selected=selected, faintest=0.08, darkest=0.8
    )


def _rails(count: int, look: Theme) -> Trace:
    across, up = np.repeat(np.arange(float(count)), 3), np.tile([0.0, 1.0, np.nan], count)
    return _path(across, up, {"width": 1, "color": look.line})


def _bars(axes: Sequence[Ruler], spans: Sequence[Limit], look: Theme) -> list[Trace]:
    """A broad bar along each axis of which a range is selected."""
    found = []
    for place, axis in enumerate(axes):
        mine = [limit for limit in spans if limit.key == axis.key and (limit.value > 0 or not axis.log)]
        if not mine:
            continue
        least = ">=" if axis.best > axis.worst else "<="
        spots = {limit.op == least: float(axis.place(np.array([limit.value]))[0]) for limit in mine}
        foot, head = max(spots.get(True, 0.0), 0.0), min(spots.get(False, 1.0), 1.0)
        line = {"width": 14, "color": with_alpha(look.text, 0.18)}
        found.append(_path([place, place], [foot, max(foot, head)], line))
    return found


def _picked(placed: FloatArray, look: Theme) -> list[Trace]:
    line = {"width": 7, "color": with_alpha(look.text, 0.3)}
    return [_path(*_polyline(placed), line)] if len(placed) else []


def _numbers(axes: Sequence[Ruler], scales: Sequence[Scale], look: Theme) -> Trace:
    """What lies where, beside each axis."""
    spots = [(place, tick) for place in range(len(axes)) for tick in _TICKS]
    where = {0.0: "bottom center", 1.0: "top center"}
    return _texts(
        [place if tick in where else place - 0.03 for place, tick in spots],
        [{0.0: -0.025, 1.0: 1.02}.get(tick, tick) for _, tick in spots],
        [digits(scales[place].show(axes[place].value(tick))) for place, tick in spots],
        [where.get(tick, "middle left") for _, tick in spots],
        {"size": 11, "color": look.muted},
    )


def _texts(x: object, y: object, texts: Sequence[str], where: object, font: Mapping[str, object]) -> Trace:
    return {
        "type": "scatter", "x": x, "y": y, "mode": "text", "text": texts, "textposition": where, "textfont": font,
        "hoverinfo": "skip", "showlegend": False, "cliponaxis": False,
    }  # fmt: skip


def _names(shown: Marks, placed: FloatArray, look: Theme) -> list[Trace]:
    """The quantization at the end of each line that is or may be on the front, where there is room."""
    rows = np.flatnonzero(shown.bright)
    if not rows.size or rows.size > _NAMED:
        return []
    taken: list[float] = []
    texts, spots = [], []
    names = shown.points.meta["quantization"].astype(str).to_numpy()
    for row in rows[np.argsort(-placed[rows, -1], kind="stable")]:
        at = float(placed[row, -1])
        if all(abs(at - other) >= _APART for other in taken):
            taken.append(at)
            texts.append(f"  {escape(names[row], 14)}")  # clear of the marker where axes are narrow
            spots.append(at)
    last = placed.shape[1] - 1
    font = {"size": 12, "color": look.text}
    return [_texts([last + 0.05] * len(spots), spots, texts, "middle right", font)]


def _legend(shown: Marks, marked: bool, counted: bool, dark: bool) -> list[Trace]:
    """The marks' legend, with lines where this chart has lines; selected ones are ``marked``, ``counted`` or both."""
    look = theme(dark)
    whole = legend_marks(shown, dark, crowd="how many {} pass here: darker for more")
    found = [one for one in whole if not one["name"].startswith("ringed")]

    def entry(name: str, rank: int, **line: object) -> Trace:
        told = {"name": name, "legendrank": rank, "legendgroup": name, "showlegend": True}
        return _path([None], [None], line) | told

    if shown.contested.any():
        found.append(entry("dashed: may be on the front or not", 1550, width=2, color=look.text, dash="dash"))
    if marked:
        found.append(entry("broad: selected", 1551, width=7, color=with_alpha(look.text, 0.3)))
    if counted:
        found.append(entry("how many selected ones pass here", 1601, width=7, color=look.text))
    return found

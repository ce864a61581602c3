"""What the 2-D and the 3-D Pareto chart share: the marks of each point, its hover text, and the legend."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
import plotly.graph_objects as go
from numpy.typing import NDArray

from trilemma.analysis.format import Scale, digits, interval_text, key_definition, key_title, scale_for
from trilemma.analysis.front import BoolArray
from trilemma.analysis.odds import SURE, FrontOdds, probability_text
from trilemma.analysis.points import Points, labels
from trilemma.charts.palette import escape, model_colours, quantization_symbol, theme, with_alpha
from trilemma.schema import Method

FloatArray = NDArray[np.float64]

MANY = 500
"""Dominated points above which they are counted cell by cell (a browser needs a quarter of a second to draw 700 marks),
and the hover text of a dominated point is brief."""
MANY_MODELS = 12
"""Models up to which the legend names them; colours come again beyond eight."""
MARK_SIZE = 13.0
DIMMED = 0.38
"""Opacity of a dominated point."""


@dataclass(frozen=True)
class Marks:
    """The points of a Pareto chart, ready to be drawn; all arrays have one entry a point."""

    points: Points
    keys: tuple[str, ...]
    scales: tuple[Scale, ...]
    value: FloatArray
    """points x keys, in the scales' units; so are ``low`` and ``high``."""
    low: FloatArray
    high: FloatArray
    front: BoolArray
    """On the front as measured."""
    contested: BoolArray
    """Neither certainly on the front nor certainly off it; none where nothing was said of how sure it is."""
    bright: BoolArray
    """On the front, or maybe: the others are dimmed."""
    method: NDArray[np.object_]
    disturbed: BoolArray
    symbol: NDArray[np.object_]
    size: FloatArray
    """Pixels."""
    model: NDArray[np.object_]
    colours: Mapping[str, str]
    hover: list[str]

    @property
    def crowded(self) -> bool:
        """Whether the dominated points are too many to be told apart as marks."""
        return int((~self.bright).sum()) > MANY

    def picked(self, ids: Collection[str]) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
        """Positions of the configurations ``ids``, as far as they are here: those that have marks of their own, and
        those that are only counted."""
        inside = self.points.meta.index.isin(list(ids)) if ids else np.zeros(len(self.points), dtype=np.bool_)
        alone = self.bright | (not self.crowded)
        return np.flatnonzero(inside & alone), np.flatnonzero(inside & ~alone)

    def ladders(self) -> list[NDArray[np.intp]]:
        """Positions of each ladder: one model, engine and settings, from most to fewest bits; at least two steps.

        None among so many points that they would be a carpet.
        """
        if self.crowded:
            return []
        meta = self.points.meta.reset_index(drop=True)
        groups = meta.groupby(
            ["model", "engine", "settings", "profile", "adapter"], sort=False, dropna=False
        ).indices.values()
        found = [np.asarray(rows)[np.argsort(-meta["bits"].to_numpy()[rows], kind="stable")] for rows in groups]
        return [rows for rows in found if len(rows) > 1]


def marks(
    points: Points,
    keys: Sequence[str],
    *,
    size: str | None = None,
    colours: Mapping[str, str] | None = None,
    dark: bool = False,
    odds: FrontOdds | None = None,
) -> Marks:
    """The marks of all ``points`` that have every one of ``keys`` (the axes).

    Args:
        points: configurations and figures; must hold ``keys`` and ``size``.
        keys: what the axes show.
        size: what the area of a mark shows; points without it get the smallest mark.
        colours: of every model in the catalog; chosen from the points' own models if absent.
        dark: which theme.
        odds: how surely each of ``points`` is on the front of ``keys``.
    """
    complete = points.complete(keys)
    shown = points.select(complete)
    value, low, high = (table[list(keys)].to_numpy(dtype=np.float64) for table in (shown.value, shown.low, shown.high))
    scales = scales_of(shown, keys)
    factors = np.array([scale.factor for scale in scales])
    model = shown.meta["model"].to_numpy(dtype=object)
    front = shown.front(keys)
    probability = np.full(len(shown), np.nan) if odds is None else odds.probability[complete]
    bright: BoolArray = front | (probability > 1 - SURE)
    return Marks(
        points=shown,
        keys=tuple(keys),
        scales=scales,
        value=value / factors,
        low=low / factors,
        high=high / factors,
        front=front,
        contested=(probability < SURE) & bright,
        bright=bright,
        method=np.array(shown.methods(keys), dtype=object),
        disturbed=np.asarray(shown.disturbed[list(keys)].any(axis=1), dtype=np.bool_),
        symbol=_symbols(shown),
        size=_sizes(shown, size),
        model=model,
        colours=colours or model_colours(sorted(set(model)), dark),
        hover=_hover(shown, [*keys, *([size] if size and size not in keys else [])], bright, probability),
    )


def scales_of(points: Points, keys: Sequence[str]) -> tuple[Scale, ...]:
    """The unit in which each axis of a chart of ``keys`` is drawn; ``points`` must have all of them."""
    return tuple(scale_for(points.value[key].to_numpy(dtype=np.float64), key_definition(key).unit) for key in keys)


def _symbols(points: Points) -> NDArray[np.object_]:
    names = points.meta["quantization"].astype(str)
    return np.array(names.map({name: quantization_symbol(name) for name in names.unique()}), dtype=object)


def short_names(points: Points) -> list[str]:
    """What stands beside a mark: its quantization, and the device where one is emulated; colour tells the model."""
    pairs = zip(points.meta["quantization"].astype(str), points.meta["profile"], strict=True)
    return [escape(name, 14) + (f", emulated {escape(str(device), 20)}" if device else "") for name, device in pairs]


def _sizes(points: Points, key: str | None) -> FloatArray:
    """Area in proportion to the figure, between 9 and 26 pixels across."""
    if key is None or key not in points.value or points.value[key].notna().sum() == 0:
        return np.full(len(points), MARK_SIZE)
    values = np.clip(points.value[key].to_numpy(dtype=np.float64), 0, None)
    across = 26.0 * np.sqrt(values / max(np.nanmax(values), 1e-300))
    sizes: FloatArray = np.clip(np.nan_to_num(across, nan=9.0), 9.0, 26.0)
    return sizes


def _hover(points: Points, keys: Sequence[str], bright: BoolArray, probability: FloatArray) -> list[str]:
    """One block of text a point: its name, each figure with interval, number of runs and where it comes from, and how
    surely it is on the front.

    Among very many points only those that may be on the front get any, for the text would be most of what is sent.
    """
    found = [""] * len(points)
    rows = np.flatnonzero(bright | ((~bright).sum() <= MANY))
    lines = {row: [f"<b>{escape(name, 90)}</b>"] for row, name in zip(rows.tolist(), labels(points, rows), strict=True)}
    for key in keys:
        title, unit = key_title(key), key_definition(key).unit
        scale = scale_for(points.value[key].to_numpy(dtype=np.float64), unit)
        tables = (points.value, points.low, points.high, points.runs, points.method, points.disturbed)
        for row, value, low, high, runs, method, disturbed in zip(
            rows.tolist(), *(table[key].to_numpy()[rows].tolist() for table in tables), strict=True
        ):
            notes = [f"{runs} runs"] if runs > 1 else []
            notes += [str(method)] if isinstance(method, str) and method != Method.MEASURED else []
            notes += ["disturbed"] if disturbed else []
            numbers = f"{digits(scale.show(value))} {scale.unit} {interval_text(value, low, high, scale)}"
            lines[row].append(
                f"{escape(title)}: {' '.join(numbers.split())}{' (' + ', '.join(notes) + ')' if notes else ''}"
            )
    for row in rows[np.isfinite(probability[rows])].tolist():
        lines[row].append(f"On the front with a probability of {escape(probability_text(float(probability[row])))}")
    for row, texts in lines.items():
        found[row] = "<br>".join(texts)
    return found


def hollow(symbol: str) -> str:
    """The outline of a marker: what a modelled figure is drawn with."""
    return f"{symbol}-open"


def legend_marks(
    shown: Marks, dark: bool, symbol_of: Mapping[str, str] | None = None, *, counted: bool = False
) -> list[go.Scatter]:
    """Empty traces whose legend entries explain the markers and the marks that this chart uses, and no others."""
    look = theme(dark)

    def entry(name: str, symbol: str, colour: str = look.muted, rank: int = 2000) -> go.Scatter:
        marker = {"symbol": symbol, "color": colour, "size": 11, "line": {"width": 1.5, "color": colour}}
        return go.Scatter(
            x=[None], y=[None], mode="markers", name=name, marker=marker, legendrank=rank, hoverinfo="skip",
            # A group of its own: entries of one group, or of none, stand below each other.
            legendgroup=name,
        )  # fmt: skip

    models = pd.unique(shown.model).tolist()
    found = []
    for position, model in enumerate(models if len(models) <= MANY_MODELS else []):
        found.append(entry(escape(model), "circle", shown.colours[model], 1000 + position))
        found[-1].legendgroup = escape(model)
    meta = shown.points.meta[["quantization", "bits"]].drop_duplicates().sort_values("bits", ascending=False)
    by_symbol: dict[str, list[str]] = {}
    for name in dict.fromkeys(meta["quantization"].astype(str)):
        by_symbol.setdefault((symbol_of or {}).get(name, quantization_symbol(name)), []).append(name)
    for position, (symbol, names) in enumerate(by_symbol.items()):
        text = ", ".join(names[:3]) + (" …" if len(names) > 3 else "")
        found.append(entry(escape(text), symbol, rank=2000 + position))
    if counted:
        found.append(entry("how many are beaten here: darker for more", "square", look.line, 1600))
    elif not shown.bright.all():
        found.append(entry("faint: beaten", "circle", with_alpha(look.muted, DIMMED), 1600))
    if shown.contested.any():
        found.append(entry("ringed: may be on the front or not", "circle-open", look.text, 1550))
    if (shown.method == Method.MODELLED).any():
        found.append(entry("hollow: modelled, not measured", "circle-open", rank=3000))
    if (shown.method == Method.IMPORTED).any():
        found.append(entry("in a diamond: imported", "diamond-open", rank=3001))
    if shown.disturbed.any():
        found.append(entry("disturbed", "triangle-up", look.warning, rank=3002))
    return found

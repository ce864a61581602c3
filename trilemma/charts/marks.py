"""What the Pareto charts, all pairs and parallel axes share: the marks of each point, its hover text, the legend."""

from __future__ import annotations

import textwrap
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, TypeAlias

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from trilemma.analysis.format import Scale, digits, interval_text, key_definition, key_title, scale_for
from trilemma.analysis.front import BoolArray
from trilemma.analysis.odds import SURE, FrontOdds, probability_text
from trilemma.analysis.points import Points, better, labels, members
from trilemma.charts.palette import escape, model_colours, quantization_symbol, theme, with_alpha
from trilemma.schema import Method

FloatArray = NDArray[np.float64]
Trace: TypeAlias = "dict[str, Any]"
"""What plotly.js draws."""

MANY = 500
"""Dominated points above which they are counted cell by cell: a browser takes a quarter of a second for 700 marks."""
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
    size_key: str | None
    scales: tuple[Scale, ...]
    value: FloatArray
    """points x keys, in the scales' units; so are ``low`` and ``high``."""
    low: FloatArray
    high: FloatArray
    front: BoolArray
    """On the front as measured."""
    probability: FloatArray
    """That it is on the front; NaN where nothing was said of it."""
    bright: BoolArray
    """On the front, or maybe: the others are dimmed."""
    contested: BoolArray
    """Neither certainly on the front nor certainly off it; none where nothing was said of how sure it is."""
    method: NDArray[np.object_]
    disturbed: BoolArray
    symbol: NDArray[np.object_]
    size: FloatArray
    """Pixels."""
    model: NDArray[np.object_]
    colours: Mapping[str, str]
    many: int
    """Dominated points above which they are counted."""
    thinned: bool = False
    """Whether some that may be on the front are counted with the dominated ones, for want of room."""

    @property
    def counted(self) -> str:
        """What those are that have no marks of their own."""
        return "beaten or less likely on the front" if self.thinned else "beaten"

    @cached_property
    def crowded(self) -> bool:
        """Whether the dominated points are too many to be told apart as marks."""
        return int((~self.bright).sum()) > self.many

    @cached_property
    def alone(self) -> BoolArray:
        """Which points have marks of their own: of a crowd, the dominated ones are only counted."""
        return self.bright | (not self.crowded)

    @cached_property
    def modelled(self) -> BoolArray:
        """Which points have a modelled figure, so that their marks are hollow."""
        return np.asarray(self.method == Method.MODELLED, dtype=np.bool_)

    @property
    def imported(self) -> NDArray[np.intp]:
        """Positions of the marks in a diamond."""
        return np.flatnonzero((self.method == Method.IMPORTED) & self.alone)

    @property
    def warned(self) -> NDArray[np.intp]:
        """Positions of the marks of what was disturbed."""
        return np.flatnonzero(self.disturbed & self.alone)

    @cached_property
    def names(self) -> list[str]:
        """The first line of each point's hover text; of a crowd, empty for those that have no mark."""
        found = [""] * len(self.points)
        rows = np.flatnonzero(self.alone)
        for row, name in zip(rows.tolist(), labels(self.points, rows), strict=True):
            found[row] = f"<b>{escape(name, 90)}</b>"
        return found

    @cached_property
    def hover(self) -> list[str]:
        """:attr:`names` with each figure, its interval, number of runs and where it comes from, and how surely the
        point is on the front."""
        return _hover(self)

    def symbols(self, rows: NDArray[np.intp]) -> list[str]:
        """The markers of those at ``rows``, hollow where a figure is modelled."""
        pairs = zip(self.symbol[rows], self.modelled[rows], strict=True)
        return [hollow(symbol) if modelled else symbol for symbol, modelled in pairs]

    def picked(self, ids: Collection[str]) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
        """Positions of the configurations ``ids``, as far as they are here: those that have marks of their own, and
        those that are only counted."""
        inside = members(self.points.meta.index, ids)
        return np.flatnonzero(inside & self.alone), np.flatnonzero(inside & ~self.alone)

    def ladders(self) -> list[NDArray[np.intp]]:
        """Positions of each ladder: one model, engine and settings, from most to fewest bits; at least two steps.

        None among so many points that they would be a carpet.
        """
        if self.crowded:
            return []
        meta = self.points.meta.reset_index(drop=True)
        groups = meta.groupby(
            ["model", "engine", "engine_version", "settings", "profile", "adapter", "machine"], sort=False, dropna=False
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
    many: int = MANY,
) -> Marks:
    """The marks of all ``points`` that have every one of ``keys`` (the axes).

    Args:
        points: configurations and figures; must hold ``keys`` and ``size``.
        keys: what the axes show.
        size: what the area of a mark shows; points without it get the smallest mark.
        colours: of every model in the catalog; chosen from the points' own models if absent.
        dark: which theme.
        odds: how surely each of ``points`` is on the front of ``keys``.
        many: dominated points above which they are counted.
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
        size_key=size,
        scales=scales,
        value=value / factors,
        low=low / factors,
        high=high / factors,
        front=front,
        probability=probability,
        bright=bright,
        contested=(probability < SURE) & bright,
        method=np.array(shown.methods(keys), dtype=object),
        disturbed=np.asarray(shown.disturbed[list(keys)].any(axis=1), dtype=np.bool_),
        symbol=_symbols(shown),
        size=_sizes(shown, size),
        model=model,
        colours=colours or model_colours(sorted(set(model)), dark),
        many=many,
    )


def scales_of(points: Points, keys: Sequence[str]) -> tuple[Scale, ...]:
    """The unit in which each axis of a chart of ``keys`` is drawn; ``points`` must have all of them."""
    return tuple(scale_for(points.value[key].to_numpy(dtype=np.float64), key_definition(key).unit) for key in keys)


def narrow_title(short: str, key: str, scale: Scale, letters: int) -> str:
    """The title of a narrow axis: what, in which unit, and whether it is reversed, in lines of so many ``letters``."""
    text = f"{short}{', ' + scale.unit if scale.unit else ''}{' (reversed)' if better(key) == 'lower' else ''}"
    return "<br>".join(escape(line) for line in textwrap.wrap(text, letters))


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


def _hover(shown: Marks) -> list[str]:
    found = list(shown.names)
    points, rows = shown.points, np.flatnonzero(shown.alone)
    lines: dict[int, list[str]] = {row: [found[row]] for row in rows.tolist()}
    for key in dict.fromkeys([*shown.keys, *([shown.size_key] if shown.size_key else [])]):
        title, unit = escape(key_title(key)), key_definition(key).unit
        scale = scale_for(points.value[key].to_numpy(dtype=np.float64), unit)
        tables = (points.value, points.low, points.high, points.runs, points.method, points.disturbed)
        for row, value, low, high, runs, method, disturbed in zip(
            rows.tolist(), *(table[key].to_numpy()[rows].tolist() for table in tables), strict=True
        ):
            notes = [f"{runs} runs"] if runs > 1 else []
            notes += [str(method)] if isinstance(method, str) and method != Method.MEASURED else []
            notes += ["disturbed"] if disturbed else []
            numbers = f"{digits(scale.show(value))} {scale.unit} {interval_text(value, low, high, scale)}"
            lines[row].append(f"{title}: {' '.join(numbers.split())}{' (' + ', '.join(notes) + ')' if notes else ''}")
    for row in rows[np.isfinite(shown.probability[rows])].tolist():
        chance = escape(probability_text(float(shown.probability[row])))
        lines[row].append(f"On the front with a probability of {chance}")
    for row, texts in lines.items():
        found[row] = "<br>".join(texts)
    return found


def hollow(symbol: str) -> str:
    """The outline of a marker: what a modelled figure is drawn with."""
    return f"{symbol}-open"


def legend_marks(
    shown: Marks,
    dark: bool,
    symbol_of: Mapping[str, str] | None = None,
    *,
    crowd: str = "how many {} lie here: darker for more",
) -> list[Trace]:
    """Empty traces whose legend entries explain the markers and the marks that this chart uses, and no others.

    Args:
        shown: What is drawn.
        dark: Which theme.
        symbol_of: Other markers of quantizations.
        crowd: What is said of those that have no marks of their own; ``{}`` stands for what they are.
    """
    look = theme(dark)

    def entry(name: str, symbol: str, colour: str = look.muted, rank: int = 2000) -> Trace:
        marker = {"symbol": symbol, "color": colour, "size": 11, "line": {"width": 1.5, "color": colour}}
        return {
            "type": "scatter", "x": [None], "y": [None], "mode": "markers", "name": name, "marker": marker,
            # A group of its own: entries of one group, or of none, stand below each other.
            "legendrank": rank, "legendgroup": name, "hoverinfo": "skip",
        }  # fmt: skip

    models = pd.unique(shown.model).tolist()
    found = []
    for position, model in enumerate(models if len(models) <= MANY_MODELS else []):
        found.append(entry(escape(model), "circle", shown.colours[model], 1000 + position))
    meta = shown.points.meta[["quantization", "bits"]].drop_duplicates().sort_values("bits", ascending=False)
    by_symbol: dict[str, list[str]] = {}
    for name in dict.fromkeys(meta["quantization"].astype(str)):
        by_symbol.setdefault((symbol_of or {}).get(name, quantization_symbol(name)), []).append(name)
    for position, (symbol, names) in enumerate(by_symbol.items()):
        text = ", ".join(names[:3]) + (" …" if len(names) > 3 else "")
        found.append(entry(escape(text), symbol, rank=2000 + position))
    if shown.crowded:
        found.append(entry(crowd.format(shown.counted), "square", look.line, 1600))
    elif not shown.bright.all():
        found.append(entry("faint: beaten", "circle", with_alpha(look.muted, DIMMED), 1600))
    if shown.contested.any():
        found.append(entry("ringed: may be on the front or not", "circle-open", look.text, 1550))
    if shown.modelled.any():
        found.append(entry("hollow: modelled, not measured", "circle-open", rank=3000))
    if shown.imported.size:
        found.append(entry("in a diamond: imported", "diamond-open", rank=3001))
    if shown.warned.size:
        found.append(entry("disturbed", "triangle-up", look.warning, rank=3002))
    return found

"""The building blocks of a report: sections of paragraphs, charts and tables, without any markup."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import pandas as pd
import plotly.graph_objects as go
import plotly.io as pio

Cell = str | float | int | bool | None


@dataclass(frozen=True)
class Chart:
    """A figure on light and on dark ground, what it says in words, and the figures behind it.

    ``name`` is what its files are called; ``rows`` have one cell a column, numbers in the columns' units.
    """

    name: str
    title: str
    alt: str
    light: dict[str, Any]
    dark: dict[str, Any]
    columns: tuple[str, ...]
    rows: tuple[tuple[Cell, ...], ...]
    caption: str = ""


@dataclass(frozen=True)
class Value:
    """One cell of a table: the number, its interval in small type, what to know of it, and a mark before it.

    ``kind`` is the class that a mark has its colour from.
    """

    text: str
    small: str = ""
    note: str = ""
    mark: str = ""
    kind: str = ""
    warning: bool = False
    """Whether ``note`` is something to beware of."""


@dataclass(frozen=True)
class Column:
    """A column of a table: its title, what is below it in small type, and whether it holds numbers."""

    title: str
    small: str = ""
    numbers: bool = False
    axis: str = ""


@dataclass(frozen=True)
class Table:
    """``rows`` have one value a column; the first names the row."""

    title: str
    columns: tuple[Column, ...]
    rows: tuple[tuple[Value, ...], ...]
    note: str = ""
    facts: bool = False
    """Two columns: a name and what it is."""


@dataclass(frozen=True)
class Listing:
    """Points of one kind, under a title if they have one."""

    title: str
    points: tuple[str, ...]


@dataclass(frozen=True)
class Section:
    """A part of the report under its heading; ``id`` is what a link to it says."""

    id: str
    title: str
    paragraphs: tuple[str, ...] = ()
    charts: tuple[Chart, ...] = ()
    tables: tuple[Table, ...] = ()
    lists: tuple[Listing, ...] = ()
    lead: tuple[str, ...] = ()
    """Said first, in larger type."""


def drawn(make: Callable[[bool], go.Figure]) -> tuple[dict[str, Any], dict[str, Any]]:
    """A figure on light and on dark ground, as plotly.js reads it; ``make`` is told whether it is dark."""
    light, dark = (plain_figure(make(one)) for one in (False, True))
    return light, dark


def plain_figure(figure: go.Figure) -> dict[str, Any]:
    """A figure as JSON values, the same in every process."""
    bare = go.Figure(figure)
    # plotly's default template is another one as soon as Streamlit has been imported.
    bare.update_layout(template=go.layout.Template())
    # Not the engine that happens to be installed: orjson writes some numbers differently.
    found: dict[str, Any] = json.loads(pio.to_json(bare, validate=False, engine="json"))
    return found


def rows_of(table: pd.DataFrame) -> tuple[tuple[str, ...], tuple[tuple[Cell, ...], ...]]:
    """The columns and rows of a table, as a chart or the raw figures keep them; what is missing is None."""
    whole = table.astype(object).where(table.notna(), None)
    return tuple(map(str, table.columns)), cells(whole.to_numpy().tolist())


def cells(rows: Sequence[Sequence[Any]]) -> tuple[tuple[Cell, ...], ...]:
    """``rows`` with numpy's numbers as Python's, and what is not finite as None."""
    return tuple(tuple(_cell(value) for value in row) for row in rows)


def _cell(value: Any) -> Cell:
    if hasattr(value, "item"):
        value = value.item()
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value if value is None or isinstance(value, str | int | float | bool) else str(value)

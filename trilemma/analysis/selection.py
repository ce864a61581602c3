"""What is selected among configurations: a few by their ids, or all within ranges of figures. One for all views."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike

from trilemma.analysis.format import digits, key_definition, key_title, scale_for
from trilemma.analysis.front import BoolArray
from trilemma.analysis.limits import Limit, kept, parse_limit
from trilemma.errors import TrilemmaError

MOST_NAMED = 50
"""Configurations that a selection names: their ids are in the address, which may not be of any length."""


@dataclass(frozen=True)
class Selection:
    """Configurations by id, or, where there are ``spans``, all within those; what lacks a figure is not within it."""

    ids: tuple[str, ...] = ()
    spans: tuple[Limit, ...] = ()

    @property
    def keys(self) -> tuple[str, ...]:
        """The figures that must be known."""
        return tuple(sorted({one.key for one in self.spans}))

    def __bool__(self) -> bool:
        return bool(self.ids or self.spans)

    def among(self, values: pd.DataFrame) -> BoolArray:
        """Which rows of ``values`` (index: configuration id; columns: at least :attr:`keys`, base units) it holds."""
        if not self.spans:
            return np.asarray(values.index.isin(list(self.ids)), dtype=np.bool_)
        inside = np.ones(len(values), dtype=np.bool_)
        for span in self.spans:
            column = values[span.key].to_numpy(dtype=np.float64)
            inside &= np.isfinite(column) & kept(column, span)
        return inside


def span_text(span: Limit) -> str:
    """``decode_tps@short_chat >= 91.25``, in the base unit: what :func:`read_spans` reads."""
    return f"{span.key} {span.op} {span.value:.6g}"


def read_spans(texts: Sequence[str], keys: Collection[str]) -> tuple[Limit, ...]:
    """The ranges behind ``texts``; what is no range of one of ``keys`` is left out."""
    found = []
    for text in texts:
        try:
            span = parse_limit(text, keys)
        except TrilemmaError:
            continue
        if np.isfinite(span.value):
            found.append(span)
    return tuple(found)


def between(key: str, one: float, other: float) -> tuple[Limit, Limit]:
    """The range of ``key`` between two values, in its base unit."""
    return Limit(key, ">=", min(one, other)), Limit(key, "<=", max(one, other))


def described(spans: Sequence[Limit]) -> list[str]:
    """``Peak memory 120 to 340 MiB``, ``Decode speed from 90 tok/s``: one text a figure."""
    texts = []
    for key in dict.fromkeys(one.key for one in spans):
        low = max((one.value for one in spans if one.key == key and one.op == ">="), default=None)
        high = min((one.value for one in spans if one.key == key and one.op == "<="), default=None)
        scale = scale_for([one for one in (high, low) if one is not None], key_definition(key).unit)
        ends = [digits(scale.show(one)) for one in (low, high) if one is not None]
        words = " to ".join(ends) if len(ends) == 2 else f"{'from' if high is None else 'up to'} {ends[0]}"
        texts.append(f"{key_title(key)} {words} {scale.unit}".rstrip())
    return texts


def inside_outline(points: ArrayLike, outline: ArrayLike) -> BoolArray:
    """Which of ``points`` (points x 2) lie inside the polygon with the corners ``outline`` (corners x 2).

    By the even-odd rule: a ray from the point crosses the polygon's edges an odd number of times (Shimrat, algorithm
    112, *Communications of the ACM* 5, 1962). A point on an edge may be counted either way; NaN is not inside.
    """
    at = np.asarray(points, dtype=np.float64).reshape(-1, 2)
    corners = np.asarray(outline, dtype=np.float64).reshape(-1, 2)
    inside = np.zeros(len(at), dtype=np.bool_)
    for (x0, y0), (x1, y1) in zip(corners, np.roll(corners, -1, axis=0), strict=True):
        if y0 == y1:
            continue
        crosses = (at[:, 1] < y0) != (at[:, 1] < y1)
        inside ^= crosses & (at[:, 0] < x0 + (at[:, 1] - y0) / (y1 - y0) * (x1 - x0))
    return inside

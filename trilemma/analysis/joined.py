"""Figures of the same configurations that were read at different times, as one table."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import fields
from typing import Any

import numpy as np
import pandas as pd

from trilemma.analysis.points import Points
from trilemma.analysis.repeats import ABSENT


def joined(parts: Mapping[str, Points], meta: pd.DataFrame) -> Points:
    """One column from each of ``parts``, which are by the key that is taken of them.

    Args:
        parts: Each holds its key; whom it does not know lacks that figure.
        meta: A row for each configuration of all parts, in their order (:attr:`Points.meta`); whom no part knows is
            left out.
    """
    # What knows all configurations, as most do, is taken as it is: its columns keep their types, and nothing is copied.
    places: dict[int, np.ndarray | None] = {}
    for part in parts.values():
        if id(part) not in places:
            same = part.meta.index.equals(meta.index)
            places[id(part)] = None if same else part.meta.index.get_indexer(meta.index)
    known = np.zeros(len(meta), dtype=np.bool_)
    for place in places.values():
        known |= True if place is None else place >= 0
    every = bool(known.all())
    index = meta.index if every else meta.index[known]
    names = [one.name for one in fields(Points) if one.name not in ("meta", "invalid")]
    columns: dict[str, dict[str, Any]] = {name: {} for name in names}
    for key, part in parts.items():
        place = places[id(part)]
        for name, found in columns.items():
            column = getattr(part, name)[key]
            absent = ABSENT.get(name, np.nan)
            found[key] = column.array if place is None else _taken(column.to_numpy(), place[known], absent)
    tables = {name: pd.DataFrame(found, index) for name, found in columns.items()}
    invalid = Counter({key: part.invalid[key] for key, part in parts.items() if key in part.invalid})
    return Points(meta if every else meta[known], **tables, invalid=dict(invalid))


def _taken(values: np.ndarray, rows: np.ndarray, absent: object) -> np.ndarray:
    """``values`` at ``rows``, and ``absent`` where a row is -1."""
    if not len(values):
        return np.full(len(rows), absent)
    found: np.ndarray = values[rows]
    found[rows < 0] = absent
    return found

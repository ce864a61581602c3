"""Figures of the same configurations that were read at different times, as one table."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import fields

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
    places: dict[int, np.ndarray] = {}
    for part in parts.values():
        if id(part) not in places:
            places[id(part)] = part.meta.index.get_indexer(meta.index)
    known = np.zeros(len(meta), dtype=np.bool_)
    for place in places.values():
        known |= place >= 0
    index = meta.index[known]
    names = [one.name for one in fields(Points) if one.name not in ("meta", "invalid")]
    columns: dict[str, dict[str, np.ndarray]] = {name: {} for name in names}
    for key, part in parts.items():
        rows = places[id(part)][known]
        for name, found in columns.items():
            found[key] = _taken(getattr(part, name)[key].to_numpy(), rows, ABSENT.get(name, np.nan))
    tables = {name: pd.DataFrame(found, index) for name, found in columns.items()}
    invalid = Counter({key: part.invalid[key] for key, part in parts.items() if key in part.invalid})
    return Points(meta[known], **tables, invalid=dict(invalid))


def _taken(values: np.ndarray, rows: np.ndarray, absent: object) -> np.ndarray:
    """``values`` at ``rows``, and ``absent`` where a row is -1."""
    if not len(values):
        return np.full(len(rows), absent)
    found: np.ndarray = values[rows]
    found[rows < 0] = absent
    return found

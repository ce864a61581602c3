"""One figure of every configuration out of its runs: the mean over repeats, or what the run had that asked most.

In arrays with an entry a run: as groups of tables, ten thousand runs would take a tenth of a second for each figure.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, fields
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from trilemma.analysis.front import BoolArray, FloatArray
from trilemma.analysis.uncertainty import NORMAL, MeanErrors, interval, mean_errors
from trilemma.schema import Method

Places = NDArray[np.intp]
Columns = dict[str, NDArray[Any]]
"""By name the tables of :class:`trilemma.analysis.points.Points`, of one figure: an entry a configuration."""

ABSENT: Mapping[str, int | bool] = {"n": 0, "runs": 0, "left_out": 0, "disturbed": False}
"""What stands for no figure, where that is not NaN."""


@dataclass(frozen=True)
class Values:
    """One figure as runs have it, an entry a run; ``at`` says which configuration it is of."""

    at: Places
    value: FloatArray
    low: FloatArray
    high: FloatArray
    n: NDArray[np.int64]
    disturbed: BoolArray
    method: NDArray[np.object_]
    source: NDArray[np.object_]

    @classmethod
    def of(cls, rows: pd.DataFrame, at: Places) -> Values:
        """The values in ``rows``, all of one figure (``Store.figure_frame``)."""
        kinds: dict[str, Any] = {"n": np.int64, "disturbed": np.bool_, "method": np.object_, "source": np.object_}
        names = [one.name for one in fields(cls) if one.name != "at"]
        return cls(at, **{name: rows[name].to_numpy(dtype=kinds.get(name, np.float64)) for name in names})

    def take(self, rows: Places) -> Values:
        """Those at ``rows``, in that order."""
        return Values(**{one.name: getattr(self, one.name)[rows] for one in fields(self)})


def repeated(runs: Values, count: int) -> Columns:
    """The mean over repeats with its interval; disturbed ones count only where there are no others.

    Args:
        runs: At least one.
        count: How many configurations there are.
    """
    steady = np.zeros(count, dtype=np.bool_)
    steady[runs.at[~runs.disturbed]] = True
    kept = ~runs.disturbed | ~steady[runs.at]
    left_out = np.bincount(runs.at[~kept], minlength=count)
    runs = runs.take(np.flatnonzero(kept)[np.argsort(runs.at[kept], kind="stable")])
    found, first, group, size = np.unique(runs.at, return_index=True, return_inverse=True, return_counts=True)
    table = np.full((2, len(found), int(size.max())), np.nan)
    table[:, group, np.arange(len(group)) - first[group]] = runs.value, (runs.high - runs.low) / (2 * NORMAL)
    values, own = table
    mean = np.nansum(values, axis=1) / size
    positive = bool(runs.value.min() > 0)
    elsewhere = np.bincount(group, runs.method == Method.IMPORTED.value) == size
    errors = _errors(np.log(values) if positive else values, own / values if positive else own, elsewhere)
    low, high = interval(mean, errors, positive)
    # What is known from one run alone is shown as the run has it.
    estimated = (np.isfinite(errors.df) | (size > 1)) & np.isfinite(errors.error)
    own_low, own_high = (np.where(size == 1, ends[first], np.nan) for ends in (runs.low, runs.high))
    return _spread(
        found, count,
        value=mean,
        low=np.where(estimated, low, own_low),
        high=np.where(estimated, high, own_high),
        error=errors.error * mean if positive else errors.error,
        df=errors.df,
        n=np.bincount(group, runs.n).astype(np.int64),
        runs=size,
        method=_told(runs.method, first, group, _least_certain),
        source=_told(runs.source, first, group, lambda sources: ", ".join(sorted(sources))),
        disturbed=~steady[found],
        left_out=left_out[found],
    )  # fmt: skip


def _errors(values: FloatArray, own: FloatArray, elsewhere: BoolArray) -> MeanErrors:
    """Of means over repeats; what was imported neither lends a variance nor borrows one: it was measured elsewhere."""
    if not elsewhere.any():
        return mean_errors(values, own)
    error, df = np.empty(len(values)), np.full(len(values), np.inf)
    error[~elsewhere], df[~elsewhere] = mean_errors(values[~elsewhere], own[~elsewhere])
    count = np.isfinite(values[elsewhere]).sum(axis=1)
    doubt = own[elsewhere]
    known = np.isfinite(doubt).sum(axis=1) == count
    error[elsewhere] = np.where(known, np.sqrt(np.nansum(doubt**2, axis=1)) / count, np.nan)
    return MeanErrors(error, df)


def asked_once(runs: Values, ended: Places, count: int) -> Columns:
    """The figure of the run that asked most items, of several the one that ended last: answers do not vary by run.

    Args:
        runs: At least one.
        ended: In which order they ended.
        count: How many configurations there are.
    """
    order = np.lexsort((ended, runs.n, runs.at))
    best = runs.take(order[np.append(np.diff(runs.at[order]) > 0, True)])
    whole = np.ones(len(best.at), dtype=np.int64)
    return _spread(
        best.at, count,
        value=best.value, low=best.low, high=best.high, error=(best.high - best.low) / (2 * NORMAL), df=whole * np.inf,
        n=best.n, runs=whole, method=best.method, source=best.source, disturbed=whole == 0, left_out=whole * 0,
    )  # fmt: skip


def _spread(places: Places, count: int, **columns: NDArray[Any]) -> Columns:
    """``columns`` of the configurations at ``places`` as those of all ``count``."""
    found = {}
    for name, values in columns.items():
        found[name] = np.full(count, ABSENT.get(name, np.nan), dtype=values.dtype)
        found[name][places] = values
    return found


def _told(
    texts: NDArray[np.object_], first: Places, group: Places, together: Callable[[set[str]], str]
) -> NDArray[np.object_]:
    """What the runs of each group say, which begins at ``first``; ``together`` where they do not say the same."""
    told = texts[first]
    for one in np.unique(group[texts != told[group]]):
        told[one] = together(set(texts[group == one]))
    return told


def _least_certain(methods: set[str]) -> str:
    return next((one for one in (Method.MODELLED, Method.IMPORTED) if one in methods), Method.MEASURED).value

"""One point a configuration: its figures over all repeats, each with an interval and where it comes from."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray

from trilemma.analysis.front import BoolArray, on_front
from trilemma.analysis.repeats import ABSENT, Columns, Values, asked_once, repeated
from trilemma.figures import FIGURES, Better
from trilemma.records import IMPORTED_FROM
from trilemma.schema import Artifact, Axis, Method, split_key

META = (
    "model", "quantization", "engine", "engine_version", "settings", "profile", "adapter", "machine", "artifact_id",
    "run_id", "runs", "bits", "requantized",
)  # fmt: skip
_PART_COLUMNS = ("value", "low", "high", "error", "df", "n", "runs", "method", "source", "disturbed", "left_out")


@dataclass(frozen=True)
class Points:
    """Configurations and their figures.

    ``meta`` has one row a configuration (index: configuration id; columns :data:`META`; ``run_id`` is the run to open:
    the newest undisturbed one). Each other table has the same rows and one column a measurement key:
    ``value``, ``low``, ``high`` (base units), ``error`` (standard error, base units) with its degrees of freedom
    ``df``, ``n`` (requests, items or samples behind it), ``runs`` (repeats behind it), ``method``
    (:class:`trilemma.schema.Method`), ``source``, ``disturbed``, and ``left_out`` (disturbed repeats
    not counted because undisturbed ones exist). ``invalid`` counts, per key, figures not shown because the run itself
    declared them invalid or could not know them.
    """

    meta: pd.DataFrame
    value: pd.DataFrame
    low: pd.DataFrame
    high: pd.DataFrame
    error: pd.DataFrame
    df: pd.DataFrame
    n: pd.DataFrame
    runs: pd.DataFrame
    method: pd.DataFrame
    source: pd.DataFrame
    disturbed: pd.DataFrame
    left_out: pd.DataFrame
    invalid: Mapping[str, int]

    def __len__(self) -> int:
        return len(self.meta)

    @property
    def keys(self) -> list[str]:
        """The measurement keys of the tables."""
        return list(self.value.columns)

    def select(self, rows: BoolArray | pd.Series[bool] | NDArray[np.intp]) -> Points:
        """The points of ``rows`` (a mask or positions), in their order."""
        index = np.asarray(rows)
        if index.dtype == np.bool_ and index.all():
            return self
        return Points(
            self.meta.iloc[index] if index.dtype != np.bool_ else self.meta[index],
            **{name: self._table(name, index) for name in _PART_COLUMNS},
            invalid=self.invalid,
        )

    def _table(self, name: str, index: NDArray[Any]) -> pd.DataFrame:
        table: pd.DataFrame = getattr(self, name)
        return table[index] if index.dtype == np.bool_ else table.iloc[index]

    @cached_property
    def settings(self) -> pd.Series[str]:
        """What tells configurations of the same model and quantization apart: :func:`varying_settings`."""
        return varying_settings(self.meta)

    def complete(self, keys: Sequence[str]) -> BoolArray:
        """Which points have all of ``keys``; what is infinite is no figure."""
        table = self.value.reindex(columns=list(keys)).to_numpy(dtype=np.float64)
        return np.asarray(np.isfinite(table).all(axis=1))

    def front(self, keys: Sequence[str]) -> BoolArray:
        """Which points are on the Pareto front of ``keys``."""
        return on_front(self.value[list(keys)].to_numpy(dtype=np.float64), [better(key) for key in keys])

    def methods(self, keys: Sequence[str]) -> list[Method]:
        """Per point, the least certain way in which any of ``keys`` came to be."""
        modelled, imported = (
            np.logical_or.reduce([np.asarray(self.method[key] == one.value) for key in keys if key in self.method])
            | np.zeros(len(self), dtype=np.bool_)
            for one in (Method.MODELLED, Method.IMPORTED)
        )
        known = np.array([Method.MEASURED, Method.IMPORTED, Method.MODELLED], dtype=object)
        return list(known[np.where(modelled, 2, imported.astype(int))])


def better(key: str) -> Better:
    """Which way the figure behind ``key`` is better; higher for an unknown one."""
    definition = FIGURES.get(split_key(key)[0])
    return definition.better if definition else "higher"


def best_of(values: ArrayLike, key: str) -> float | None:
    """The value that others can be a share of; None where none is known, or where there is no ratio to it.

    Of what is better low, none may be zero: nothing is so many times as much. Of what is better high, none below it.
    """
    known = np.asarray(values, dtype=np.float64)
    known = known[~np.isnan(known)]
    if not known.size:
        return None
    low, high = float(known.min()), float(known.max())
    if better(key) == "lower":
        return low if low > 0 else None
    return high if high > 0 and low >= 0 else None


def axis_of(key: str) -> Axis | None:
    """The axis that the figure behind ``key`` belongs to; None for an unknown one."""
    definition = FIGURES.get(split_key(key)[0])
    return definition.axis if definition else None


def members(names: pd.Index[str] | pd.Series[str], wanted: Iterable[str]) -> BoolArray:
    """Which of ``names`` are among ``wanted``: pandas' ``isin`` looks at texts one by one, 50 ms for ten thousand."""
    return np.asarray(pd.Index(wanted).unique().get_indexer(pd.Index(names)) >= 0)


def configuration_points(
    frame: pd.DataFrame, run_frame: pd.DataFrame, artifacts: Mapping[str, Artifact], keys: Sequence[str],
    meta: pd.DataFrame | None = None,
) -> Points:  # fmt: skip
    """Gather the figures ``keys`` of all runs into one point a configuration.

    Speed and efficiency are the mean over repeats. Their 95 % interval is Student's t with a variance that the
    configurations lend one another (:mod:`trilemma.analysis.uncertainty`), on the logarithm's scale for figures that
    are always positive, and never narrower than the runs' own (bootstrap over requests) make it; where nothing was
    repeated, a run has its own interval. Disturbed repeats count only where there is no undisturbed one, and then the
    point says so.
    Performance does not vary from run to run, so it comes from the run that asked most items, the newest of several.

    Args:
        frame: ``Store.figure_frame``: one row a run and measurement.
        run_frame: ``Store.run_frame``: one row a run.
        artifacts: by id; one that the catalog forgot is named by what the run frame says.
        keys: the measurement keys wanted.
        meta: of all configurations (:func:`configuration_meta`), if it is known already.

    Returns:
        Every configuration that has a finished run in ``frame``; a figure it lacks is NaN.
    """
    if meta is None:
        meta = configuration_meta(frame, run_frame, artifacts)
    meta = meta[members(meta.index, frame["configuration_id"])]
    every = Values.of(frame, meta.index.get_indexer(pd.Index(frame["configuration_id"])))
    usable = frame["valid"].to_numpy(dtype=np.bool_) & ~np.isnan(every.value) & (every.at >= 0)
    ended = pd.Index(run_frame.sort_values("finished_at", kind="stable")["run_id"])
    rows_of = frame.groupby("key").indices
    tables: dict[str, dict[str, NDArray[Any]]] = {name: {} for name in _PART_COLUMNS}
    invalid = {}
    for key in dict.fromkeys(keys):
        mine = np.asarray(rows_of.get(key, ()), dtype=np.intp)
        rows = mine[usable[mine]]
        if len(rows) < len(mine):
            invalid[key] = len(mine) - len(rows)
        found: Columns = {}
        if len(rows) and axis_of(key) is Axis.PERFORMANCE:
            found = asked_once(every.take(rows), ended.get_indexer(pd.Index(frame["run_id"].iloc[rows])), len(meta))
        elif len(rows):
            found = repeated(every.take(rows), len(meta))
        for name, columns in tables.items():
            columns[key] = found[name] if found else np.full(len(meta), ABSENT.get(name, np.nan))
    return Points(
        meta, **{name: pd.DataFrame(columns, meta.index) for name, columns in tables.items()}, invalid=invalid
    )


def configuration_meta(
    frame: pd.DataFrame, run_frame: pd.DataFrame, artifacts: Mapping[str, Artifact]
) -> pd.DataFrame:  # fmt: skip
    """:attr:`Points.meta` of the runs in ``frame`` (only its run_id is looked at): one row a configuration, newest
    undisturbed run first choice, in order of model, bits (most first), settings."""
    runs = run_frame[members(run_frame["run_id"], frame["run_id"])]
    ordered = runs.sort_values(["disturbed", "finished_at"], ascending=[True, False], na_position="last")
    one = ordered.drop_duplicates("configuration_id").set_index("configuration_id")
    meta = one[["model", "quantization", "engine", "engine_version", "settings", "artifact_id", "run_id"]]
    for name in ("profile", "adapter_id", "machine"):
        meta[name] = one[name].astype(object).where(lambda column: column.notna(), None)
    labels_of = {key: artifacts[key].label if key in artifacts else str(key)[:8] for key in meta["adapter_id"].dropna()}
    meta["adapter"] = meta["adapter_id"].map(labels_of).astype(object).where(lambda column: column.notna(), None)
    meta["runs"] = ordered["configuration_id"].value_counts()
    known = {key: artifacts[key] for key in meta["artifact_id"].unique() if key in artifacts}
    meta["bits"] = meta["artifact_id"].map({key: a.bits_per_weight for key, a in known.items()}).astype(float)
    meta["requantized"] = meta["artifact_id"].map({key: a.requantized for key, a in known.items()}).eq(True)
    # Two threads come before ten.
    natural = {text: re.sub(r"\d+", lambda match: match[0].zfill(12), text) for text in meta["settings"].unique()}
    settings = meta["settings"].map(natural)
    order = pd.DataFrame({"model": meta["model"], "bits": -meta["bits"], "settings": settings}, meta.index)
    return meta.loc[order.sort_values(["model", "bits", "settings"], kind="stable").index, list(META)]


def varying_settings(meta: pd.DataFrame) -> pd.Series[str]:
    """Per point, what tells the points apart: engine, settings, adapter and machine, as ``threads 2, context 4096``.

    What is the same for all points is left out, and all of it where nothing differs; so is the engine's version where
    every engine has one. That a device is emulated, or a run imported, is always said.
    """
    # What is told apart is told once: of a hundred thousand points few are different here.
    names_of = ["settings", "engine", "adapter", "machine", *_versions(meta), "profile"]
    rows = np.zeros(len(meta), dtype=np.intp)
    for name in names_of:
        codes, found = pd.factorize(meta[name])
        rows = pd.factorize(rows * (len(found) + 1) + codes)[0]
    first = np.unique(rows, return_index=True)[1]
    pairs = list(meta[names_of].iloc[first].itertuples(index=False, name=None))
    known = {pair: _distinctions(dict(zip(names_of, pair, strict=True))) for pair in pairs}
    absent = object()
    names = sorted({name for one in known.values() for name in one})
    varying = [name for name in names if len({_spelled(one.get(name, absent)) for one in known.values()}) > 1]
    texts = {}
    for pair, one in known.items():
        words = [_words(name, one[name]) for name in varying if name in one]
        if IMPORTED_FROM in one and IMPORTED_FROM not in varying:
            words.append(f"imported from {one[IMPORTED_FROM]}")
        texts[pair] = ", ".join([*words, *([f"emulated {pair[-1]}"] if pair[-1] else [])])
    told = np.array([texts[pair] for pair in pairs], dtype=object)
    return pd.Series(told[rows] if len(rows) else rows, index=meta.index, dtype=object)


def _versions(meta: pd.DataFrame) -> list[str]:
    several = len(meta[["engine", "engine_version"]].drop_duplicates()) > meta["engine"].nunique()
    return ["engine_version"] if several else []


def _distinctions(about: Mapping[str, object]) -> dict[str, Any]:
    named = {name: about[name] for name in ("adapter", "machine", "engine_version") if about.get(name)}
    return {**_settings(about["settings"]), "engine": about["engine"], **named}


def _words(name: str, value: object) -> str:
    if name == "engine_version" and " " in str(value):  # as in "llama-cpp-python 0.3": it says itself what it is
        return str(value)
    return f"{name.replace('_', ' ')} {value}"


def _settings(text: object) -> dict[str, Any]:
    try:
        value = json.loads(text) if isinstance(text, str) else {}
    except (ValueError, RecursionError):
        return {}
    return value if isinstance(value, dict) else {}


def _spelled(value: object) -> str:
    return json.dumps(value, sort_keys=True, default=str) if type(value) is not object else "absent"


def labels(points: Points, rows: NDArray[np.intp] | None = None) -> pd.Series[str]:
    """``SmolLM2-135M-Instruct Q4_K_M``, with the settings that tell points apart where there are any.

    Args:
        points: All that are to be told apart.
        rows: The positions of those whose names are wanted; all if None.
    """
    extra, meta = points.settings, points.meta
    if rows is not None:
        extra, meta = extra.iloc[rows], meta.iloc[rows]
    names = meta["model"].astype(str) + " " + meta["quantization"].astype(str)
    return names.where(extra == "", names + " · " + extra)

"""The figures behind a chart as a table, in base units: what its CSV holds."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd

from trilemma.analysis.alignment import AlignedRun
from trilemma.analysis.decision_map import DecisionMap
from trilemma.analysis.load import LoadPoint, Span
from trilemma.analysis.needle import Cell
from trilemma.analysis.points import Points, labels
from trilemma.analysis.traces import Trace, run_traces
from trilemma.charts.compare_lines import Waits
from trilemma.charts.performance import Group
from trilemma.records import PhaseWindow, Sample
from trilemma.schema import Axis

_PARTS = ("value", "low", "high", "n", "runs", "method", "source", "disturbed")
_ABOUT = ("model", "quantization", "engine", "engine_version", "settings", "profile", "adapter", "machine")


def points_table(points: Points, keys: Sequence[str]) -> pd.DataFrame:
    """One row a configuration: what it is, and its figures with intervals and provenance, in full precision."""
    columns: dict[str, pd.Series[Any]] = {"configuration_id": points.meta.index.to_series()}
    columns |= {name: points.meta[name] for name in _ABOUT}
    for key in dict.fromkeys(keys):
        columns |= {
            key if part == "value" else f"{key}:{part}": getattr(points, part)[key] for part in _PARTS
        }  # fmt: skip
    return pd.DataFrame(columns).reset_index(drop=True)


def map_table(found: DecisionMap, points: Points) -> pd.DataFrame:
    """One row a mix of priorities: the weights, who wins most draws there, and in which share of them."""
    weights = {axis.value: found.weights[:, position] for position, axis in enumerate(Axis)}
    winner = {
        "winner": labels(points).iloc[found.winner].to_numpy(),
        "configuration_id": points.meta.index[found.winner].to_numpy(),
    }
    return pd.DataFrame({**weights, **winner, "probability": found.probability})


def waits_table(by_configuration: Mapping[str, Waits]) -> pd.DataFrame:
    """One row a request: the configuration, the latency in seconds, and whether something disturbed its run."""
    parts = [
        pd.DataFrame({"name": name, "value_s": np.sort(values), "disturbed": disturbed})
        for name, waits in by_configuration.items()
        for values, disturbed in ((waits.values, False), (waits.disturbed, True))
    ]
    return pd.concat(parts, ignore_index=True) if parts else pd.DataFrame()


def aligned_table(runs: Mapping[str, AlignedRun]) -> pd.DataFrame:
    """One row a reading of a line of a run, at a second of the common axis."""
    parts = [_lines(run.traces).assign(name=name) for name, run in runs.items()]
    return pd.concat(parts, ignore_index=True) if parts else pd.DataFrame()


def scores_table(groups: Sequence[Group]) -> pd.DataFrame:
    """One row a bar."""
    return pd.DataFrame(
        [
            {"suite": group.title, "name": bar.name, "value": bar.value, "low": bar.low, "high": bar.high,
             "n": bar.n or None, "chance": group.chance}
            for group in groups for bar in group.bars
        ]
    )  # fmt: skip


def load_table(curves: Mapping[str, Sequence[LoadPoint]]) -> pd.DataFrame:
    """One row a configuration and level of load, one column a figure."""
    return pd.DataFrame(
        [
            {"name": name, "load": point.level.value, "of": point.level.kind, "modelled": point.modelled,
             **dict(sorted(point.values.items()))}
            for name, points in curves.items() for point in points
        ]
    )  # fmt: skip


def timeline_table(spans: Sequence[Span]) -> pd.DataFrame:
    """One row a request, seconds from the first submission on."""
    return pd.DataFrame([span._asdict() for span in spans])


def latency_table(by_workload: Mapping[str, np.ndarray]) -> pd.DataFrame:
    """One row a request: the workload and the latency in seconds, ascending."""
    parts = [pd.DataFrame({"workload": name, "value_s": np.sort(values)}) for name, values in by_workload.items()]
    return pd.concat(parts, ignore_index=True) if parts else pd.DataFrame()


def needle_table(cells: Sequence[Cell]) -> pd.DataFrame:
    """One row a length and depth."""
    return pd.DataFrame([cell._asdict() for cell in cells])


def traces_table(samples: Sequence[Sample], phases: Sequence[PhaseWindow]) -> pd.DataFrame:
    """One row a reading of a line: bytes, watts, cores, percent or hertz at a second of the run."""
    return _lines(run_traces(samples, phases)[0])


def _lines(traces: Sequence[Trace]) -> pd.DataFrame:
    parts = [
        pd.DataFrame({"row": line.row, "line": line.name, "second": line.seconds, "value": line.values})
        for line in traces
    ]
    return pd.concat(parts, ignore_index=True) if parts else pd.DataFrame()

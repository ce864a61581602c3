"""The figures behind a chart as a table, in base units: what its CSV holds."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd

from trilemma.analysis.load import LoadPoint, Span
from trilemma.analysis.needle import Cell
from trilemma.analysis.traces import run_traces
from trilemma.charts.performance import Group
from trilemma.records import PhaseWindow, Sample


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
    lines, _, _ = run_traces(samples, phases)
    parts = [
        pd.DataFrame({"row": line.row, "line": line.name, "second": line.seconds, "value": line.values})
        for line in lines
    ]
    return pd.concat(parts, ignore_index=True) if parts else pd.DataFrame()

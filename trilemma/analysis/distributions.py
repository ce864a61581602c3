"""Distributions of latencies: the empirical distribution and percentiles, blank where the sample is too small."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray

from trilemma.analysis.format import format_figure, key_definition
from trilemma.analysis.subjects import subject_title
from trilemma.records import RequestRecord
from trilemma.workloads import latency

FloatArray = NDArray[np.float64]

LATENCIES = ("ttft_s", "tpot_s", "itl_s", "e2e_s")
"""The latencies that have a distribution of their own in the pages."""

STATISTICS = {50: "median", 90: "p90", 95: "p95", 99: "p99"}


def ecdf(values: ArrayLike) -> tuple[FloatArray, FloatArray]:
    """The sorted values, and the share of values that are at most each; NaN is left out."""
    sample = np.asarray(values, dtype=np.float64)
    ordered = np.sort(sample[~np.isnan(sample)])
    return ordered, np.arange(1, ordered.size + 1) / max(1, ordered.size)


def percentile(values: ArrayLike, percent: int) -> float | None:
    """The percentile by linear interpolation; None where the sample is too small for it (p99 needs 100, p95 20).

    The sizes are those that the stored figures obey: :data:`trilemma.workloads.latency.NEEDED`.
    """
    sample = np.asarray(values, dtype=np.float64)
    sample = sample[~np.isnan(sample)]
    if sample.size < latency.NEEDED[STATISTICS[percent]]:
        return None
    return float(np.percentile(sample, percent))


def latencies(requests: Iterable[RequestRecord]) -> dict[str, dict[str, FloatArray]]:
    """Per workload and latency (:data:`LATENCIES`), all values in seconds.

    Warm-up, failed and single-token requests are left out, as they are from the figures.
    """
    by_workload: dict[str, list[RequestRecord]] = {}
    for request in latency.complete(list(requests)):
        by_workload.setdefault(request.workload, []).append(request)
    return {
        workload: {
            "ttft_s": np.array([latency.ttft_s(r) for r in group]),
            "tpot_s": np.array([latency.tpot_s(r) for r in group]),
            "itl_s": latency.itl_s(group),
            "e2e_s": np.array([latency.e2e_s(r) for r in group]),
        }
        for workload, group in by_workload.items()
    }


def percentile_table(name: str, by_workload: Mapping[str, FloatArray]) -> pd.DataFrame:
    """One row a workload: how many values of the latency ``name`` there are, and their percentiles in words.

    A percentile that a sample is too small for is empty, and left out where all are.
    """
    unit = key_definition(name).unit
    rows = []
    for workload, values in by_workload.items():
        found = {told: percentile(values, percent) for percent, told in STATISTICS.items()}
        words = {told: None if value is None else format_figure(value, unit) for told, value in found.items()}
        rows.append({"workload": subject_title(workload), "n": int((~np.isnan(values)).sum()), **words})
    return pd.DataFrame(rows).dropna(axis="columns", how="all")

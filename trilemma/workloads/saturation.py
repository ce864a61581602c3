"""When more load brings no more throughput, and where a sweep may therefore end."""

from __future__ import annotations

from collections.abc import Sequence

from trilemma.records import RequestRecord
from trilemma.schema import Measurement, Method, Provenance, WorkloadSpec
from trilemma.workloads import latency
from trilemma.workloads.requests import Trace, is_open_loop

LEAST_GAIN = 0.05
"""Throughput that grows by less from one number of users to the next has stopped growing."""
KEEPS_UP = 0.9
"""A server that answers less than this share of what arrives does not keep up."""


def served_per_s(records: Sequence[RequestRecord], spec: WorkloadSpec, trace: Trace = ()) -> float:
    """Output tokens a second of the steady window where users wait; in an open loop, the share of arrivals answered."""
    whole = latency.complete(records)
    open_loop = is_open_loop(spec, trace)
    window = latency.steady_window(records, spec.concurrency, open_loop=open_loop)
    if window is None:
        return 0.0
    if open_loop:
        offered, answered = arrivals_and_answers(whole, window)
        return answered / offered if offered else 1.0
    return float(latency.tokens_between(whole, window).sum()) / ((window[1] - window[0]) / 1e9)


def arrivals_and_answers(whole: Sequence[RequestRecord], window: tuple[int, int]) -> tuple[int, int]:
    """How many requests came, and how many answers ended, within ``window``."""
    came = sum(window[0] < r.submitted_ns <= window[1] for r in whole)
    return came, sum(window[0] < r.token_times_ns[-1] <= window[1] for r in whole)


def saturated(levels: Sequence[float], spec: WorkloadSpec) -> bool:
    """Whether the last of ``levels`` (see :func:`served_per_s`) is as much as there is."""
    if spec.rate is not None:
        return levels[-1] < KEEPS_UP
    return len(levels) > 1 and levels[-1] < (1 + LEAST_GAIN) * max(levels[:-1])


def saturation_measurement(spec: WorkloadSpec, level: WorkloadSpec | None) -> Measurement:
    """Where a sweep stopped growing: the number of users, or the rate, of ``level``; None where it never did."""
    provenance = Provenance(method=Method.MEASURED, source="client's clock", scope="sweep")
    figure = "saturation_rate" if spec.rate is not None else "saturation_users"
    if level is None:
        reason = f"throughput still grew at {spec.sweep[-1]:g}, the last value of the sweep"
        unknown = provenance.model_copy(update={"valid": False, "reasons": (reason,)})
        return Measurement(figure=figure, subject=spec.name, value=None, n=len(spec.sweep), provenance=unknown)
    value = level.rate if level.rate is not None else float(level.concurrency)
    return Measurement(figure=figure, subject=spec.name, value=value, n=len(spec.sweep), provenance=provenance)

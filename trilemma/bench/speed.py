"""Speed figures of one workload out of its requests."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from trilemma.records import PhaseWindow, RequestRecord
from trilemma.schema import Measurement, Method, Provenance
from trilemma.workloads import latency
from trilemma.workloads.latency import Array, Estimate, bootstrap, statistic

_CLIENT = Provenance(method=Method.MEASURED, source="client's clock", scope="request")
_PARTS = 20
"""Into how many parts a steady window is cut for an interval of its throughput."""
_ENGINE = Provenance(method=Method.MEASURED, source="engine's performance counters", scope="request")


def speed_measurements(workload: str, records: Sequence[RequestRecord], concurrency: int = 1) -> list[Measurement]:
    """All speed figures of ``workload``; empty when no request was complete.

    A percentile that the number of requests is too small for has no value, and says so. Under load the speed of one
    request's prefill and decoding has no meaning of its own, so those figures are left out.
    """
    whole = latency.complete(records)
    if not whole:
        return []
    figures: list[Measurement] = []
    per_request: dict[str, Array] = {
        "ttft_s": np.array([latency.ttft_s(r) for r in whole]),
        "tpot_s": np.array([latency.tpot_s(r) for r in whole]),
        "e2e_s": np.array([latency.e2e_s(r) for r in whole]),
    }
    for name, values in per_request.items():
        figures += _statistics(name, workload, values, len(whole))
    figures += _statistics("itl_s", workload, latency.itl_s(whole), len(whole))
    if concurrency > 1:
        return figures + _throughput_under_load(workload, whole, concurrency)
    prompt = np.array([float(r.prompt_tokens) for r in whole])
    figures.append(_rate("prefill_tps", workload, prompt, per_request["ttft_s"], _CLIENT))
    decoded = np.array([float(len(r.token_times_ns) - 1) for r in whole])
    decode_s = per_request["tpot_s"] * decoded
    figures.append(_rate("decode_tps", workload, decoded, decode_s, _CLIENT))
    figures += _engine_figures(workload, whole, decoded, decode_s)
    figures += _throughput(workload, whole)
    return figures


def _statistics(name: str, workload: str, values: Array, requests: int) -> list[Measurement]:
    return [
        _measurement(name, workload, bootstrap((values,), statistic(kind)), _CLIENT, kind)
        if requests >= needed
        else Measurement(
            figure=name,
            subject=workload,
            statistic=kind,
            value=None,
            n=requests,
            provenance=_CLIENT.model_copy(
                update={"valid": False, "reasons": (f"{kind} needs {needed} requests, there are {requests}",)}
            ),
        )
        for kind, needed in latency.NEEDED.items()
    ]


def _engine_figures(workload: str, whole: list[RequestRecord], decoded: Array, decode_s: Array) -> list[Measurement]:
    timed = [r.engine_prefill_s is not None and r.engine_decode_s is not None for r in whole]
    if not all(timed):
        return []
    prompt = np.array([float(r.prefilled_tokens) for r in whole])
    prefill_s = np.array([r.engine_prefill_s or 0.0 for r in whole])
    engine_s = np.array([r.engine_decode_s or 0.0 for r in whole])
    loop = bootstrap((decode_s - engine_s, decoded), _ratio_of_sums)
    return [
        _rate("engine_prefill_tps", workload, prompt, prefill_s, _ENGINE),
        _rate("engine_decode_tps", workload, decoded, engine_s, _ENGINE),
        _measurement("loop_overhead_s", workload, loop, _CLIENT),
    ]


def _throughput(workload: str, whole: list[RequestRecord]) -> list[Measurement]:
    window = latency.steady_window(whole)
    assert window is not None
    seconds = (window[1] - window[0]) / 1e9
    provenance = _CLIENT.model_copy(update={"window_s": seconds})
    tokens = np.array([float(len(r.token_times_ns)) for r in whole])
    each_s = np.array([latency.e2e_s(r) for r in whole])
    output = bootstrap((tokens, each_s), _ratio_of_sums)
    requests = bootstrap((np.ones_like(each_s), each_s), _ratio_of_sums)
    # The value is the window's own; resampled requests tell only how much it might vary.
    scale = each_s.sum() / seconds
    return [
        _measurement("output_tps", workload, _scaled(output, scale), provenance),
        _measurement("request_rate", workload, _scaled(requests, scale), provenance),
    ]


def _throughput_under_load(workload: str, whole: list[RequestRecord], concurrency: int) -> list[Measurement]:
    """Tokens and answers of the steady window a second; the interval is over equal parts of the window."""
    window = latency.steady_window(whole, concurrency)
    if window is None:
        reason = f"{concurrency} users never asked at once; a steady window takes more requests"
        provenance = _CLIENT.model_copy(update={"valid": False, "reasons": (reason,)})
        return [
            Measurement(figure=name, subject=workload, value=None, n=len(whole), provenance=provenance)
            for name in ("output_tps", "request_rate")
        ]
    seconds = (window[1] - window[0]) / 1e9
    provenance = _CLIENT.model_copy(update={"window_s": seconds})
    parts = latency.tokens_between(whole, np.linspace(*window, _PARTS + 1)) / (seconds / _PARTS)
    ended = sum(window[0] < r.token_times_ns[-1] <= window[1] for r in whole)
    return [
        _measurement("output_tps", workload, bootstrap((parts,), statistic("mean")), provenance),
        Measurement(
            figure="request_rate", subject=workload, value=ended / seconds, n=ended, provenance=provenance,
        ),
    ]  # fmt: skip


def _scaled(estimate: Estimate, factor: float) -> Estimate:
    def times(value: float | None) -> float | None:
        return None if value is None else value * factor

    return Estimate(estimate.value * factor, times(estimate.low), times(estimate.high), estimate.n)


def _ratio_of_sums(over: Array, under: Array, axis: int = -1) -> Array:
    return np.asarray(over.sum(axis=axis) / under.sum(axis=axis))


def _rate(name: str, workload: str, tokens: Array, seconds: Array, provenance: Provenance) -> Measurement:
    """Tokens per second as the median over requests: one slow request does not move it."""
    function: Callable[..., Array] = statistic("median")
    return _measurement(name, workload, bootstrap((tokens / seconds,), function), provenance)


def _measurement(figure: str, workload: str, estimate: Estimate, provenance: Provenance, kind: str = "") -> Measurement:
    return Measurement(
        figure=figure,
        subject=workload,
        statistic=kind,
        value=estimate.value,
        low=estimate.low,
        high=estimate.high,
        n=estimate.n,
        provenance=provenance,
    )


def load_measurement(phase: PhaseWindow | None) -> list[Measurement]:
    """Time to load, from the load phase's window."""
    if phase is None or phase.end_ns is None:
        return []
    seconds = (phase.end_ns - phase.start_ns) / 1e9
    return [
        Measurement(figure="load_s", value=seconds, n=1, provenance=_CLIENT.model_copy(update={"scope": "process"}))
    ]

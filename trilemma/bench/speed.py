"""Speed figures of one workload out of its requests."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from trilemma.bench.under_load import ALONE, CLIENT, Load, goodput_measurements, throughput_measurements
from trilemma.records import PhaseWindow, RequestRecord
from trilemma.schema import Measurement, Method, Provenance
from trilemma.workloads import latency
from trilemma.workloads.latency import Array, Estimate, bootstrap, statistic

_ENGINE = Provenance(method=Method.MEASURED, source="engine's performance counters", scope="request")


def speed_measurements(workload: str, records: Sequence[RequestRecord], load: Load = ALONE) -> list[Measurement]:
    """All speed figures of ``workload``; empty when no request was complete.

    A percentile that the number of requests is too small for has no value, and says so. Under load the speed of one
    request's prefill and decoding has no meaning of its own, so those figures are left out.
    """
    whole = latency.complete(records)
    figures = _failures(workload, records) + goodput_measurements(workload, records, load)
    if not whole:
        return figures
    per_request: dict[str, Array] = {
        "ttft_s": np.array([latency.ttft_s(r) for r in whole]),
        "tpot_s": np.array([latency.tpot_s(r) for r in whole]),
        "e2e_s": np.array([latency.e2e_s(r) for r in whole]),
    }
    for name, values in per_request.items():
        figures += _statistics(name, workload, values, len(whole))
    figures += _gaps(workload, whole)
    if not load.alone:
        return figures + throughput_measurements(workload, whole, load)
    prompt = np.array([float(r.prompt_tokens) for r in whole])
    figures.append(_rate("prefill_tps", workload, prompt, per_request["ttft_s"], CLIENT))
    decoded = np.array([float(len(r.token_times_ns) - 1) for r in whole])
    decode_s = per_request["tpot_s"] * decoded
    figures.append(_rate("decode_tps", workload, decoded, decode_s, CLIENT))
    figures += _engine_figures(workload, whole, decoded, decode_s)
    figures += _throughput(workload, whole)
    return figures


def _failures(workload: str, records: Sequence[RequestRecord]) -> list[Measurement]:
    """The share of requests that failed, if any did: their latencies count nowhere."""
    asked = [r for r in records if not r.warmup]
    failed = [r.error for r in asked if r.error]
    if not failed:
        return []
    provenance = CLIENT.model_copy(update={"reasons": tuple(dict.fromkeys(failed))[:3]})
    share = len(failed) / len(asked)
    return [Measurement(figure="failed_share", subject=workload, value=share, n=len(asked), provenance=provenance)]


def _gaps(workload: str, whole: list[RequestRecord]) -> list[Measurement]:
    """The gaps between tokens; unknown where an engine gave several at a time."""
    if all(r.token_timing == "token" for r in whole):
        return _statistics("itl_s", workload, latency.itl_s(whole), len(whole))
    reason = "tokens came in groups, so the gaps between them are unknown"
    provenance = CLIENT.model_copy(update={"valid": False, "reasons": (reason,)})
    return [
        Measurement(
            figure="itl_s", subject=workload, statistic="median", value=None, n=len(whole), provenance=provenance
        )
    ]


def _statistics(name: str, workload: str, values: Array, requests: int) -> list[Measurement]:
    return [
        _measurement(name, workload, bootstrap((values,), statistic(kind)), CLIENT, kind)
        if requests >= needed
        else Measurement(
            figure=name,
            subject=workload,
            statistic=kind,
            value=None,
            n=requests,
            provenance=CLIENT.model_copy(
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
        _measurement("loop_overhead_s", workload, loop, CLIENT),
    ]


def _throughput(workload: str, whole: list[RequestRecord]) -> list[Measurement]:
    window = latency.steady_window(whole)
    assert window is not None
    seconds = (window[1] - window[0]) / 1e9
    provenance = CLIENT.model_copy(update={"window_s": seconds})
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
    return [Measurement(figure="load_s", value=seconds, n=1, provenance=CLIENT.model_copy(update={"scope": "process"}))]

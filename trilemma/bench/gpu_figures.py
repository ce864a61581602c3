"""Figures of the GPUs that a run used: memory held, utilisation, throttling."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from statistics import fmean

from trilemma.bench.efficiency import serving_samples, unused_pool
from trilemma.bench.under_load import ALONE, Load, window_of
from trilemma.meters.gpu.driver import label
from trilemma.meters.gpu.steadiness import throttle_shares
from trilemma.meters.windows import channel
from trilemma.records import PhaseWindow, RequestRecord, Sample
from trilemma.schema import Measurement, Method, Phase, Provenance

HELD = "gpu_memory_bytes"
_IN_USE = "gpu_memory_total_used_bytes"
_NOT_TOLD = (
    "the driver does not tell the run's processes apart: this is the memory in use on the GPU less that before the run"
)


def gpu_memory_measurements(
    samples: Sequence[Sample],
    windows: Mapping[tuple[Phase, str], PhaseWindow],
    gpus: Sequence[str],
    accounted: Sequence[Measurement],
) -> list[Measurement]:
    """Peak memory of serving on all GPUs together, with and without an unused reserve, and on each.

    Args:
        samples: Of the whole run.
        windows: Phases by (phase, subject).
        gpus: Ids of those that the run used.
        accounted: Measurements so far, with the engine's own split: those of scope GPU count.
    """
    if not gpus:
        return []
    idle = windows.get((Phase.IDLE, ""))
    before = [s for s in samples if idle and idle.end_ns and s.time_ns <= idle.end_ns]
    each, reasons = _held(before, serving_samples(samples, windows), gpus)
    provenance = Provenance(
        method=Method.MEASURED,
        source="the GPU driver's account of each process" if not reasons else "the GPU driver's account of all",
        scope=" + ".join(label(gpu) for gpu in gpus),
        reasons=reasons,
    )
    if each is None:
        unknown = provenance.model_copy(
            update={"valid": False, "reasons": ("the GPU driver does not say how much memory is held",)}
        )
        return [Measurement(figure="peak_gpu_memory_bytes", value=None, n=0, provenance=unknown)]
    together = [sum(reading) for reading in zip(*each, strict=True)]
    peak, n = max(together), len(together)
    unused = _unused_pool(accounted)
    noted = provenance
    if unused:
        left_out = f"{unused / 1e6:.0f} MB of the reserved KV cache were never in use and are left out"
        noted = provenance.model_copy(update={"reasons": (*reasons, left_out)})
    found = [Measurement(figure="peak_gpu_memory_bytes", value=peak - unused, n=n, provenance=noted)]
    if unused:
        found.append(Measurement(figure="reserved_gpu_memory_bytes", value=peak, n=n, provenance=provenance))
    for gpu, readings in zip(gpus, each, strict=True):
        of_one = provenance.model_copy(update={"scope": label(gpu)})
        found.append(Measurement(figure=HELD, subject=label(gpu), value=max(readings), n=n, provenance=of_one))
    return found


def _held(
    before: Sequence[Sample], serving: Sequence[Sample], gpus: Sequence[str]
) -> tuple[list[list[float]] | None, tuple[str, ...]]:
    """What is held on each GPU at the times at which all were read, and what to know about it."""
    asked = [s for s in serving if all(f"gpu_foreign_processes.{gpu}" in s.values for gpu in gpus)]
    told = [s for s in asked if all(f"{HELD}.{gpu}" in s.values for gpu in gpus)]
    if told and len(told) == len(asked):
        return [[s.values[f"{HELD}.{gpu}"] for s in told] for gpu in gpus], ()
    names = [f"{_IN_USE}.{gpu}" for gpu in gpus]
    whole = [s for s in serving if all(name in s.values for name in names)]
    base = next((s for s in reversed(before) if all(name in s.values for name in names)), None)
    if not whole or base is None:
        return None, ()
    return [[max(0.0, s.values[name] - base.values[name]) for s in whole] for name in names], (_NOT_TOLD,)


def _unused_pool(accounted: Sequence[Measurement]) -> float:
    """Bytes of a KV-cache pool on the GPU that were reserved and never used; 0 for an engine without a pool."""
    return unused_pool({m.figure: m.value for m in accounted if m.provenance.scope == "GPU"})


def gpu_workload_measurements(
    workload: str,
    requests: Sequence[RequestRecord],
    samples: Sequence[Sample],
    gpus: Sequence[str],
    load: Load = ALONE,
) -> list[Measurement]:
    """Utilisation and throttling over one workload's steady window."""
    steady = window_of(requests, load)
    if steady is None or not gpus:
        return []
    readings = {gpu: channel(samples, f"gpu_utilization.{gpu}", *steady)[1].tolist() for gpu in gpus}
    means = {gpu: fmean(values) for gpu, values in readings.items() if values}
    shares = {gpu: found for gpu in gpus if (found := throttle_shares(samples, *steady, gpu)) is not None}
    busy = [f"{label(gpu)}: {mean:.0%}" for gpu, mean in means.items()]
    reasons = [
        f"{label(gpu)}: {reason} for {share:.0%}{_limit(samples, steady, gpu) if reason == 'power cap' else ''}"
        for gpu, of_gpu in shares.items()
        for reason, share in of_gpu.items()
        if reason != "any"
    ]
    length_s = (steady[1] - steady[0]) / 1e9

    def measurement(figure: str, value: float | None, known: Mapping[str, object], notes: list[str]) -> Measurement:
        silent = [f"{label(gpu)} does not say" for gpu in gpus if gpu not in known]
        provenance = Provenance(
            method=Method.MEASURED,
            source="the GPU driver",
            scope=" + ".join(label(gpu) for gpu in gpus),
            window_s=length_s,
            valid=not silent,
            reasons=tuple(notes + silent),
        )
        n = min((len(values) for values in readings.values()), default=0)
        return Measurement(figure=figure, subject=workload, value=None if silent else value, n=n, provenance=provenance)

    return [
        measurement("gpu_utilization", fmean(means.values()) if means else None, means, busy),
        measurement(
            "gpu_throttled", max((of_gpu.get("any", 0.0) for of_gpu in shares.values()), default=None), shares, reasons
        ),
    ]


def _limit(samples: Sequence[Sample], window: tuple[int, int], gpu: str) -> str:
    _, watts = channel(samples, f"gpu_power_limit_w.{gpu}", *window)
    return f" (limit {watts[-1]:.0f} W)" if len(watts) else ""

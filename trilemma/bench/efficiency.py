"""Efficiency figures: memory of serving, and energy over each workload's window."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from trilemma.bench.under_load import ALONE, Load, window_of
from trilemma.meters.base import EnergyDomain
from trilemma.meters.sources import headline_domains
from trilemma.meters.windows import (
    EnergyWindow,
    cpu_cores,
    energy_window,
    idle_power,
    peak_memory,
    total_energy,
)
from trilemma.records import PhaseWindow, RequestRecord, Sample
from trilemma.schema import Artifact, EnergyCoefficients, Measurement, Method, Phase, Provenance
from trilemma.workloads import latency
from trilemma.workloads.latency import Estimate, bootstrap

SERVING = (Phase.LOAD, Phase.LOADED_IDLE, Phase.WARMUP, Phase.SPEED)
"""The phases whose memory is that of serving."""
_KINDS = {"pss": "proportional set size", "uss": "unique set size", "rss": "resident set size"}


def file_measurements(artifact: Artifact) -> list[Measurement]:
    """Size on disk and bits per weight, from the file itself."""
    if artifact.format == "endpoint":
        return []
    provenance = Provenance(method=Method.MEASURED, source="the artifact's file", scope="file")
    return [
        Measurement(figure="weights_bytes", value=float(artifact.size_bytes), n=1, provenance=provenance),
        Measurement(figure="bits_per_weight", value=artifact.bits_per_weight or None, n=1, provenance=provenance),
    ]


def serving_samples(samples: Sequence[Sample], windows: Mapping[tuple[Phase, str], PhaseWindow]) -> list[Sample]:
    """The samples from loading to the end of the speed phase; of the generation phase where speed was not measured.

    A sample's tag is the phase that the supervisor knew of: after serving has ended it may still say speed, while the
    measured process makes room for the suites already. The windows are the measured process's own.
    """
    serving = phases_of_serving(windows)
    ends = [w.end_ns for (phase, _), w in windows.items() if phase in serving]
    over = max((end for end in ends if end is not None), default=None) if None not in ends else None
    return [s for s in samples if s.phase in serving and (over is None or s.time_ns <= over)]


def phases_of_serving(windows: Mapping[tuple[Phase, str], PhaseWindow]) -> tuple[Phase, ...]:
    """The phases whose memory counts: a run without workloads serves only in its suites."""
    timed = any(phase is Phase.SPEED for phase, _ in windows)
    return SERVING if timed else (*SERVING, Phase.GENERATION)


def memory_measurements(
    samples: Sequence[Sample],
    windows: Mapping[tuple[Phase, str], PhaseWindow],
    accounted: Sequence[Measurement],
) -> list[Measurement]:
    """Peak memory of serving, and what of it is neither weights nor KV cache.

    Args:
        samples: Of the whole run.
        windows: Phases by (phase, subject).
        accounted: Measurements so far, with the engine's own split.
    """
    peak = peak_memory(serving_samples(samples, windows), phases_of_serving(windows))
    if peak is None:
        return []
    provenance = Provenance(
        method=Method.MEASURED,
        source=f"{_KINDS[peak.kind]} of the process tree",
        scope="process tree",
        reasons=() if peak.kind == "pss" else (f"this system has no PSS; this is the {_KINDS[peak.kind]}",),
    )
    split = {m.figure: m.value for m in accounted if m.provenance.scope == "process"}
    unused = unused_pool(split)
    needed = float(peak.value) - unused
    found = [Measurement(figure="peak_memory_bytes", value=needed, n=peak.n, provenance=provenance)]
    if unused:
        left_out = f"{unused / 1e6:.0f} MB of the reserved KV cache were never in use and are left out"
        noted = provenance.model_copy(update={"reasons": (*provenance.reasons, left_out)})
        found = [
            Measurement(figure="peak_memory_bytes", value=needed, n=peak.n, provenance=noted),
            Measurement(figure="reserved_memory_bytes", value=float(peak.value), n=peak.n, provenance=provenance),
        ]
    known = [part for name in ("weights_memory_bytes", "kv_cache_bytes") if (part := split.get(name)) is not None]
    if len(known) == 2:
        rest = needed - sum(known)
        note = () if rest >= 0 else ("the engine accounts for more than was ever resident",)
        found.append(
            Measurement(
                figure="other_memory_bytes",
                value=rest if rest >= 0 else None,
                n=1,
                provenance=provenance.model_copy(update={"valid": rest >= 0, "reasons": provenance.reasons + note}),
            )
        )
    return found


def unused_pool(split: Mapping[str, float | None]) -> float:
    """Bytes of a KV-cache pool that were reserved and never used; 0 for an engine without a pool."""
    reserved, used = split.get("kv_cache_reserved_bytes"), split.get("kv_cache_bytes")
    return 0.0 if reserved is None or used is None else max(0.0, reserved - used)


class EnergyReading:
    """The energy counters of a run, summed over the domains of the best source present.

    Args:
        samples: Of the whole run.
        windows: Phases by (phase, subject).
        domains: All counters, best first; the headline ones of them are used, which never overlap in what they cover.
        coefficients: Of the modelled source.
    """

    def __init__(
        self,
        samples: Sequence[Sample],
        windows: Mapping[tuple[Phase, str], PhaseWindow],
        domains: Sequence[EnergyDomain],
        coefficients: EnergyCoefficients,
    ) -> None:
        self._samples = samples
        self._domains = headline_domains(domains)
        self._coefficients = coefficients
        self._windows = windows
        self._idle_w = {domain.channel: self._idle_power(domain) for domain in self._domains}

    def _idle_power(self, domain: EnergyDomain) -> float | None:
        window = self._windows.get((Phase.IDLE, ""))
        if window is None or window.end_ns is None:
            return None
        return idle_power(self._samples, window.start_ns, window.end_ns, domain)

    def over(self, start_ns: int, end_ns: int) -> EnergyWindow | None:
        """Energy over a window, all domains together; None without any source."""
        if not self._domains:
            return None
        return total_energy(
            [energy_window(self._samples, start_ns, end_ns, d, self._idle_w[d.channel]) for d in self._domains]
        )

    def idle_measurements(self) -> list[Measurement]:
        """Power of the machine at rest, and with the engine loaded but idle."""
        found = []
        for phase in (Phase.IDLE, Phase.LOADED_IDLE):
            window = self._windows.get((phase, ""))
            if window is None or window.end_ns is None:
                continue
            energy = self.over(window.start_ns, window.end_ns)
            if energy is None:
                continue
            seconds = (window.end_ns - window.start_ns) / 1e9
            found.append(
                Measurement(
                    figure="idle_power_w",
                    subject=phase.value,
                    value=None if energy.gross_j is None else energy.gross_j / seconds,
                    n=1,
                    provenance=self.annotate(energy.provenance.model_copy(update={"idle_subtracted": False})),
                )
            )
        return found

    def annotate(self, provenance: Provenance) -> Provenance:
        """State the coefficients of a modelled figure beside it."""
        if provenance.method is not Method.MODELLED:
            return provenance
        c = self._coefficients
        note = f"modelled with {c.watts_per_busy_core:g} W per busy core and {c.watts_per_gb:g} W per GB held"
        return provenance.model_copy(update={"reasons": (*provenance.reasons, note)})


def workload_measurements(
    workload: str,
    requests: Sequence[RequestRecord],
    samples: Sequence[Sample],
    energy: EnergyReading,
    load: Load = ALONE,
) -> list[Measurement]:
    """Energy and CPU of one workload's steady window."""
    steady = window_of(requests, load)
    if steady is None:
        return []
    found = []
    cores = cpu_cores(samples, *steady)
    if cores is not None:
        provenance = Provenance(method=Method.MEASURED, source="CPU time of the process tree", scope="process tree")
        found.append(Measurement(figure="cpu_cores", subject=workload, value=cores, n=1, provenance=provenance))
    total = energy.over(*steady)
    if total is None:
        return found
    whole = latency.complete(requests)
    tokens = np.array([float(len(r.token_times_ns)) for r in whole])
    produced, answers = float(tokens.sum()), float(len(whole))
    if not load.alone:
        produced = float(latency.tokens_between(whole, steady).sum())
        answers = float(sum(steady[0] < r.token_times_ns[-1] <= steady[1] for r in whole))
    each = [energy.over(r.submitted_ns, r.token_times_ns[-1]) for r in whole]
    joules = [window.net_j for window in each if window is not None and window.net_j is not None]
    provenance = energy.annotate(total.provenance)

    def measurement(figure: str, value: float | None, estimate: Estimate | None = None) -> Measurement:
        # The resampled requests tell how much the figure varies; the value is the whole window's own.
        spread = estimate if estimate is not None and value is not None else None
        scale = value / estimate.value if spread and estimate and value and estimate.value else 1.0
        return Measurement(
            figure=figure,
            subject=workload,
            value=value,
            low=spread.low * scale if spread and spread.low is not None else None,
            high=spread.high * scale if spread and spread.high is not None else None,
            n=len(whole),
            provenance=provenance,
        )

    per_token = per_request = None
    # Requests that overlap share their joules, so that a single one's cannot be told.
    if load.alone and len(joules) == len(whole) and len(whole) > 1:
        per_token = bootstrap((np.array(joules), tokens), lambda e, t, axis=-1: e.sum(axis=axis) / t.sum(axis=axis))
        per_request = bootstrap((np.array(joules),), lambda e, axis=-1: e.mean(axis=axis))
    net = total.net_j
    return [
        *found,
        measurement("energy_j", net),
        measurement("energy_gross_j", total.gross_j),
        measurement("power_w", total.mean_power_w),
        measurement("energy_per_token_j", None if net is None or not produced else net / produced, per_token),
        measurement("energy_per_request_j", None if net is None or not answers else net / answers, per_request),
    ]

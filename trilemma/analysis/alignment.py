"""Several runs on one time axis: what the meters read, in seconds since a phase that all of them went through."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from enum import StrEnum

from trilemma.analysis.traces import Trace, run_traces
from trilemma.records import PhaseWindow, Sample
from trilemma.schema import Phase

ROWS = ("memory", "power", "gpu_memory")
"""What of a run is laid over others."""
_SERVING = (Phase.SPEED, Phase.GENERATION)


class Start(StrEnum):
    """What counts as second zero."""

    LOAD = "load"
    """The engine begins to load the weights."""
    SERVING = "serving"
    """The first measured request, after loading and warm-up."""


@dataclass(frozen=True)
class Span:
    """A phase in seconds since second zero; what came before is negative."""

    phase: Phase
    subject: str
    start_s: float
    end_s: float


@dataclass(frozen=True)
class AlignedRun:
    """A run's lines and phases on the common axis; it has served from second zero or later until ``served_s``."""

    traces: tuple[Trace, ...]
    spans: tuple[Span, ...]
    served_s: float


def aligned(samples: Sequence[Sample], phases: Sequence[PhaseWindow], start: Start) -> AlignedRun | None:
    """One run from ``start`` on; None where it has no such phase, or nothing was read.

    Args:
        samples: In order of time.
        phases: Windows in order of start; one that has not ended lasts until the last sample.
        start: What all runs of a picture have in common.
    """
    wanted = (Phase.LOAD,) if start is Start.LOAD else _SERVING
    zero_ns = next((window.start_ns for window in phases if window.phase in wanted), None)
    if zero_ns is None or not samples:
        return None
    traces, origin_ns, _ = run_traces(samples, phases)
    late = (zero_ns - origin_ns) / 1e9
    last_ns = samples[-1].time_ns
    spans = [
        Span(
            window.phase,
            window.subject,
            (window.start_ns - zero_ns) / 1e9,
            ((last_ns if window.end_ns is None else window.end_ns) - zero_ns) / 1e9,
        )
        for window in phases
    ]
    kept = [trace for trace in traces if trace.row in ROWS and trace.main and not trace.foreign and not trace.shade]
    served = [span.end_s for span in spans if span.phase in _SERVING]
    return AlignedRun(
        traces=tuple(replace(trace, seconds=trace.seconds - late) for trace in kept),
        spans=tuple(spans),
        served_s=max(served, default=max(span.end_s for span in spans)),
    )

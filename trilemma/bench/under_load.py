"""Speed figures that have a meaning when several requests are in flight: throughput, what was offered, and goodput."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from trilemma.records import RequestRecord
from trilemma.schema import LatencyLimits, Measurement, Method, Provenance, WorkloadSpec
from trilemma.workloads import latency
from trilemma.workloads.latency import bootstrap, statistic
from trilemma.workloads.saturation import KEEPS_UP, arrivals_and_answers

CLIENT = Provenance(method=Method.MEASURED, source="client's clock", scope="request")
_PARTS = 20
"""Into how many parts a steady window is cut for an interval of its throughput."""


class Load(NamedTuple):
    """Under which load requests were measured, and what they had to keep."""

    users: int = 1
    open_loop: bool = False
    limits: LatencyLimits | None = None

    @property
    def alone(self) -> bool:
        """Whether each request had the engine to itself."""
        return self.users == 1 and not self.open_loop


ALONE = Load()
"""One request at a time."""


def load_of(spec: WorkloadSpec | None, *, recorded: bool = False) -> Load:
    """The load of a workload; ``recorded`` if its trace says when requests come."""
    if spec is None:
        return ALONE
    return Load(spec.concurrency, spec.rate is not None or recorded, spec.limits)


def window_of(records: Sequence[RequestRecord], load: Load) -> tuple[int, int] | None:
    """The steady window, ns; None where the load never held."""
    return latency.steady_window(records, load.users, open_loop=load.open_loop)


def throughput_measurements(workload: str, whole: Sequence[RequestRecord], load: Load) -> list[Measurement]:
    """Tokens and answers of the steady window a second; the interval is over equal parts of the window.

    In an open loop the rate at which requests came stands beside it, and a server that did not keep up is named.
    """
    window = window_of(whole, load)
    if window is None:
        reason = (
            "the first answer ended after the last request had come; a steady window takes more requests"
            if load.open_loop
            else f"{load.users} users never asked at once; a steady window takes more requests"
        )
        return [_unknown(name, workload, len(whole), reason) for name in ("output_tps", "request_rate")]
    seconds = (window[1] - window[0]) / 1e9
    came, ended = arrivals_and_answers(whole, window)
    behind = f"the server did not keep up: {ended} answers to {came} requests" if ended < KEEPS_UP * came else ""
    noted = (behind,) if load.open_loop and behind else ()
    provenance = CLIENT.model_copy(update={"window_s": seconds, "reasons": noted})
    parts = latency.tokens_between(whole, np.linspace(*window, _PARTS + 1)) / (seconds / _PARTS)
    tokens = bootstrap((parts,), statistic("mean"))
    found = [
        Measurement(
            figure="output_tps", subject=workload, value=tokens.value, low=tokens.low, high=tokens.high, n=tokens.n,
            provenance=provenance,
        ),
        Measurement(figure="request_rate", subject=workload, value=ended / seconds, n=ended, provenance=provenance),
    ]  # fmt: skip
    if load.open_loop:
        found.append(
            Measurement(figure="offered_rate", subject=workload, value=came / seconds, n=came, provenance=provenance)
        )
    return found


def goodput_measurements(workload: str, records: Sequence[RequestRecord], load: Load) -> list[Measurement]:
    """Requests of the steady window that kept the limits, a second and as a share; a failed request kept none.

    Empty without limits.
    """
    limits = load.limits
    if limits is None or (limits.ttft_s is None and limits.tpot_s is None):
        return []
    window = window_of(records, load)
    if window is None:
        return [
            _unknown(name, workload, len(records), "there was no steady window")
            for name in ("goodput", "goodput_share")
        ]
    seconds = (window[1] - window[0]) / 1e9
    kept, ended = latency.within(records, window, limits)
    stated = ", ".join(
        f"{name} at most {value:g} s"
        for name, value in (("time to first token", limits.ttft_s), ("time per output token", limits.tpot_s))
        if value is not None
    )
    provenance = CLIENT.model_copy(update={"window_s": seconds, "reasons": (stated,)})
    share = kept / ended if ended else None
    return [
        Measurement(figure="goodput", subject=workload, value=kept / seconds, n=ended, provenance=provenance),
        Measurement(figure="goodput_share", subject=workload, value=share, n=ended, provenance=provenance),
    ]


def _unknown(figure: str, workload: str, n: int, reason: str) -> Measurement:
    provenance = CLIENT.model_copy(update={"valid": False, "reasons": (reason,)})
    return Measurement(figure=figure, subject=workload, value=None, n=n, provenance=provenance)

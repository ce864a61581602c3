"""What is promised to users: latencies, and that enough replicas are up."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
from pydantic import Field
from scipy import stats

from trilemma.base import Frozen
from trilemma.errors import PlanError
from trilemma.planning.service import ServiceCurve

SHARE = 0.95
"""Of the requests of the hour, how many keep a latency limit."""
LATENCY_WORDS = {
    "ttft": "time to first token", "e2e": "time to last token", "tpot": "time per output token",
    "wait": "wait for a slot",
}  # fmt: skip
_MOST_SPARES = 1000


class Aim(NamedTuple):
    """One latency that is limited: its name, and the limit, s."""

    name: str
    limit_s: float


class Latency(Frozen):
    """What 95 of 100 requests of an hour must keep, waiting for a slot included; None is no limit."""

    ttft_p95_s: float | None = Field(default=None, gt=0, le=1e6, description="Submission to first token.")
    e2e_p95_s: float | None = Field(default=None, gt=0, le=1e6, description="Submission to last token.")
    tpot_p95_s: float | None = Field(default=None, gt=0, le=1e6, description="Time per output token after the first.")

    def aims(self) -> Iterator[Aim]:
        """Those that are set."""
        for name in ("ttft", "e2e", "tpot"):
            limit = getattr(self, f"{name}_p95_s")
            if limit is not None:
                yield Aim(name, limit)

    def looser(self, factor: float) -> Latency:
        """All limits by ``factor``."""
        return Latency(**{f"{aim.name}_p95_s": aim.limit_s * factor for aim in self.aims()})


class Availability(Frozen):
    """How many replicas stand by: a fixed number, or as many as a target asks for.

    With a target the smallest number of spares is taken with which at least the replicas needed are up with that
    probability, replicas failing independently: a k-out-of-n system (Barlow and Proschan, *Statistical Theory of
    Reliability and Life Testing*, 1975).
    """

    spares: int = Field(default=1, ge=0, le=_MOST_SPARES)
    target: float | None = Field(default=None, gt=0, lt=1, description="For example 0.999; overrides spares.")
    replica: float = Field(default=0.995, gt=0, lt=1, description="Share of time in which one replica is up.")

    def spares_for(self, needed: int) -> int:
        """How many replicas beside ``needed``.

        Raises:
            PlanError: no reasonable number reaches the target.
        """
        if needed == 0:
            return 0
        if self.target is None:
            return self.spares
        counts = np.arange(needed, needed + _MOST_SPARES + 1)
        up = stats.binom.sf(needed - 1, counts, self.replica)
        enough = np.flatnonzero(up >= self.target)
        if not enough.size:
            raise PlanError(
                f"With replicas up {100 * self.replica:.6g} % of the time, {_MOST_SPARES:,} spares are too few for "
                f"{100 * self.target:.8g} %.",
                "Lower the target, or enter a better availability of one replica.",
            )
        return int(enough[0])


def alone(curve: ServiceCurve) -> dict[str, float]:
    """The 95th percentile of each latency of a request that has a replica to itself, s: no fleet does better."""
    prefill, decode = (curve.variation(1) * [curve.prefill[0], curve.decode[0]]).T
    per_token = decode / max(1.0, curve.output_tokens - 1)
    values = {"ttft": prefill, "e2e": prefill + decode, "tpot": per_token}
    return {name: float(np.percentile(times, 100 * SHARE)) for name, times in values.items()}


def unreachable(curve: ServiceCurve, latency: Latency) -> list[Aim]:
    """The limits that not even a request alone on a replica keeps: no number of replicas will do."""
    best = alone(curve)
    return [aim for aim in latency.aims() if best[aim.name] > aim.limit_s * (1 + 1e-12)]


def rounded_up(value: float) -> float:
    """``value`` to two digits, never less."""
    if value <= 0:
        return 0.0
    step = 10.0 ** (math.floor(math.log10(value)) - 1)
    return round(math.ceil(value / step - 1e-9) * step, 12)


def default_latency(curve: ServiceCurve) -> Latency:
    """A first token within a second, after which people's thoughts wander (Nielsen, *Usability Engineering*, 1993,
    chapter 5); twice what a request alone takes where that is more."""
    return Latency(ttft_p95_s=max(1.0, rounded_up(2 * alone(curve)["ttft"])))

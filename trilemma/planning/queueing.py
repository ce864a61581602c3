"""Queueing arithmetic: how long requests wait for given replicas and arrivals. Approximate; the simulation checks it.

The number of requests in the system is taken as a birth-death process: Poisson arrivals at a constant rate, and with
``k`` requests spread evenly over the replicas a total rate of completion that is the replicas' measured one. Above all
slots it is an M/M/1 queue's geometric tail, so that a wait, if there is one, is exponential (Kleinrock, *Queueing
Systems* I, 1975, sections 3.2 and 3.5). Service times vary less than exponential ones do; waits are scaled by (1 +
cv^2) / 2, cv being the coefficient of variation of the measured times (Allen and Cunneen's approximation; Whitt,
"Approximations for the GI/G/m queue", Production and Operations Management 2(2), 1993).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from trilemma.planning.arrays import FloatArray
from trilemma.planning.limits import SHARE, Latency, unreachable
from trilemma.planning.service import ServiceCurve

FULLEST = 0.97
"""The largest share of its top rate at which a replica is ever planned: nearer to it, a few more requests than foreseen
make queues without end."""
_STEPS = 40


@dataclass(frozen=True)
class Occupancy:
    """The stationary state of ``replicas`` at a rate of arrivals.

    ``admitted`` is the probability that an arriving request makes the 1st ... last slot of its replica busy without
    waiting, shape (slots,); ``waits`` that it finds all slots busy. ``busy`` is the mean number of replicas with
    0 ... slots busy, shape (slots + 1,). ``wait_rate`` is 1 / mean wait of those that wait.
    """

    admitted: FloatArray
    waits: float
    busy: FloatArray
    wait_rate: float


def occupancy(curve: ServiceCurve, replicas: int, rate: float) -> Occupancy:
    """The stationary state.

    Raises:
        ValueError: the replicas do not keep up with ``rate`` (requests a second).
    """
    slots, top = curve.slots, replicas * curve.top_rate
    if not 0 <= rate < top:
        raise ValueError(f"{replicas} replicas complete {top:g} requests a second, {rate:g} come")
    if rate == 0:
        idle = np.zeros(slots + 1)
        idle[0] = replicas
        return Occupancy(np.eye(1, slots)[0], 0.0, idle, top)
    full = replicas * slots
    k = np.arange(1, full + 1)
    low, more = np.divmod(k, replicas)
    by_busy = np.concatenate([[0.0], curve.rate])
    # k requests spread evenly: some replicas have one more than the others.
    completed = (replicas - more) * by_busy[low] + more * by_busy[np.minimum(low + 1, slots)]
    log = np.concatenate([[0.0], np.cumsum(np.log(rate) - np.log(completed))])
    weights = np.exp(log - log.max())
    load = rate / top
    tail = weights[-1] * load / (1 - load)  # more requests than slots
    total = weights.sum() + tail
    states = weights / total
    waits = float(states[-1] + tail / total)
    found = np.divmod(np.arange(full), replicas)[0]
    admitted = np.bincount(found, weights=states[:-1], minlength=slots)
    low, more = np.divmod(np.arange(full + 1), replicas)
    busy = np.bincount(low, weights=states * (replicas - more), minlength=slots + 1)
    busy += np.bincount(np.minimum(low + 1, slots), weights=states * more, minlength=slots + 1)
    busy[slots] += replicas * tail / total
    return Occupancy(
        admitted.astype(np.float64), waits, busy.astype(np.float64), (top - rate) * 2 / (1 + variability(curve))
    )


def variability(curve: ServiceCurve) -> float:
    """The squared coefficient of variation of the service times with all slots busy."""
    times = curve.variation(curve.slots) @ [curve.prefill[-1], curve.decode[-1]]
    return float(np.var(times) / np.mean(times) ** 2)


def exceeding(curve: ServiceCurve, state: Occupancy, name: str, limit_s: float) -> float:
    """The share of requests whose latency ``name`` (ttft, e2e or tpot) is above ``limit_s``."""
    share = 0.0
    for busy in range(1, curve.slots + 1):
        times = _times(curve, busy, name)
        share += float(state.admitted[busy - 1] * (times > limit_s).mean())
    times = _times(curve, curve.slots, name)
    if name == "tpot":
        return share + float(state.waits * (times > limit_s).mean())
    left = np.maximum(0.0, limit_s - times)
    return share + float(state.waits * np.where(times > limit_s, 1.0, np.exp(-state.wait_rate * left)).mean())


def _times(curve: ServiceCurve, busy: int, name: str) -> FloatArray:
    prefill, decode = (curve.variation(busy) * [curve.prefill[busy - 1], curve.decode[busy - 1]]).T
    if name == "tpot":
        return np.asarray(decode / max(1.0, curve.output_tokens - 1))
    return np.asarray(prefill if name == "ttft" else prefill + decode)


def missed(curve: ServiceCurve, replicas: int, rate: float, latency: Latency) -> tuple[str, ...]:
    """The names of the limits that do not hold by this arithmetic.

    Raises:
        ValueError: the replicas do not keep up with ``rate`` (requests a second).
    """
    state = occupancy(curve, replicas, rate)
    aims = latency.aims()
    return tuple(aim.name for aim in aims if exceeding(curve, state, aim.name, aim.limit_s) > 1 - SHARE)


def arithmetic_rate(curve: ServiceCurve, replicas: int, latency: Latency) -> float:
    """The highest rate of arrivals that ``replicas`` bear within the limits by this arithmetic, requests a second; 0
    where a request alone already breaks one."""
    if unreachable(curve, latency):
        return 0.0
    low, high = 0.0, FULLEST * replicas * curve.top_rate
    if not missed(curve, replicas, high, latency):
        return high
    for _ in range(_STEPS):
        middle = (low + high) / 2
        low, high = (low, middle) if missed(curve, replicas, middle, latency) else (middle, high)
    return low


def best_slots(curve: ServiceCurve, latency: Latency, replicas: int = 4) -> int:
    """How many slots, of those measured, let ``replicas`` bear most within the limits; the fewest of equals.

    Fewer at once are answered faster each and wait longer for a slot, so that a limit on the time per token may ask for
    fewer slots than a limit on the first token.
    """
    most = int(curve.levels[-1]) if curve.levels[-1] >= 1 else 1
    tried = sorted({*(int(level) for level in curve.levels if level >= 1), most, 1} - {0})
    rates = {slots: arithmetic_rate(curve.with_slots(slots), replicas, latency) for slots in tried}
    best = max(rates.values())
    return min(slots for slots, rate in rates.items() if rate >= best * (1 - 1e-9))

"""A second simulation of a fleet, written apart from the planner's, and random scenarios to try both on.

It shares no code with :mod:`trilemma.planning`: no simpy, no virtual clocks. Every running request has its remaining
work, which is brought up to date whenever anything changes on its replica.
"""

from __future__ import annotations

import heapq
import math
from collections import deque
from dataclasses import dataclass, field

import numpy as np
from scipy import stats

BATCHES = 20


@dataclass(frozen=True)
class Scenario:
    """A replica's measured times by concurrency, a day's demand, and limits, all drawn at random."""

    levels: list[int]
    prefill_s: list[float]
    decode_s: list[float]
    variations: list[list[tuple[float, float]]]
    output_tokens: int
    requests_per_day: float
    shares: list[float]
    limits: dict[str, float]
    seed: int = 0

    @property
    def peak_rate(self) -> float:
        """Requests a second in the hour with most."""
        return self.requests_per_day * max(self.shares) / sum(self.shares) / 3600


def scenario(number: int) -> Scenario:
    """The ``number``-th: one to sixteen slots, from half a replica to thirty of them, limits from tight to loose."""
    rng = np.random.default_rng([20260401, number])

    def between(low: float, high: float) -> float:
        return float(np.exp(rng.uniform(math.log(low), math.log(high))))

    levels = [2**power for power in range(int(rng.integers(0, 5)) + 1)]
    tokens = int(rng.integers(16, 512))
    alone = np.array([between(0.03, 1.0), tokens * between(0.004, 0.05)])
    crowding = np.array([between(0.02, 0.9), between(0.02, 0.6)])
    times = np.array([alone * (1 + crowding * (n - 1)) * rng.normal(1, 0.03, 2) for n in levels])
    spread = [between(0.01, 0.5), between(0.01, 0.5)]
    variations = []
    for _ in levels:
        rows = np.exp(rng.normal(0, spread, (int(rng.integers(20, 60)), 2)))
        variations.append([(float(a), float(b)) for a, b in rows / rows.mean(axis=0)])
    rows = np.array(variations[0]) * times[0]
    best = {"ttft": rows[:, 0], "e2e": rows.sum(axis=1), "tpot": rows[:, 1] / (tokens - 1)}
    chosen = [("ttft",), ("e2e",), ("ttft", "tpot"), ("ttft", "e2e"), ("ttft", "e2e", "tpot")][int(rng.integers(5))]
    limits = {name: float(np.percentile(best[name], 95)) * between(1.2, 6.0) for name in chosen}
    hours = rng.gamma(2.0, 1.0, 24)
    shares = [float(value) for value in hours]
    top = max(n / float(t.sum()) for n, t in zip(levels, times, strict=True))
    peak = between(0.5, 30.0) * top * float(rng.uniform(0.4, 0.95))
    return Scenario(
        levels, [float(t) for t in times[:, 0]], [float(t) for t in times[:, 1]], variations, tokens,
        peak * 3600 * sum(shares) / max(shares), shares, limits, number,
    )  # fmt: skip


@dataclass
class _Machine:
    running: list[list[float]] = field(default_factory=list)  # [phase, left, other work, number]
    at: float = 0.0
    stamp: int = 0


@dataclass(frozen=True)
class Outcome:
    """95th percentiles and their standard errors by latency; ``broken_for_certain`` where it ended early."""

    p95: dict[str, float]
    error: dict[str, float]
    broken_for_certain: bool = False


def reference(case: Scenario, slots: int, replicas: int, requests: int, seed: int) -> Outcome:
    """Simulate the peak hour's rate in the steady state; stops once the limits are broken for certain."""
    rng = np.random.default_rng([seed, case.seed, replicas])
    rising = [np.maximum.accumulate(values) for values in (case.prefill_s, case.decode_s)]
    speed = [[float(np.interp(n, case.levels, values)) for n in range(1, slots + 1)] for values in rising]
    nearest = [min(range(len(case.levels)), key=lambda i: (abs(case.levels[i] - n), i)) for n in range(1, slots + 1)]
    skipped = max(requests // 5, 4 * replicas * slots, 500)
    machines = [_Machine() for _ in range(replicas)]
    queue: deque[tuple[int, float]] = deque()
    came: dict[int, float] = {}
    first_token: dict[int, float] = {}
    kept: dict[int, tuple[float, float, float]] = {}
    bounds = [case.limits.get(name, math.inf) for name in ("ttft", "e2e", "tpot")]
    over, allowed = [0, 0, 0], 0.05 * requests + 1
    events: list[tuple[float, int, int]] = []
    now = float(rng.exponential(1 / case.peak_rate))
    heapq.heappush(events, (now, -1, 0))
    number = 0

    def progress(machine: _Machine) -> None:
        passed = now - machine.at
        if machine.running and passed:
            share = [passed / speed[phase][len(machine.running) - 1] for phase in (0, 1)]
            for job in machine.running:
                job[1] -= share[int(job[0])]
        machine.at = now

    def plan(index: int) -> None:
        machine = machines[index]
        machine.stamp += 1
        if machine.running:
            busy = len(machine.running)
            soonest = min(max(0.0, job[1]) * speed[int(job[0])][busy - 1] for job in machine.running)
            heapq.heappush(events, (now + soonest, index, machine.stamp))

    def start(index: int, who: int) -> None:
        machine = machines[index]
        progress(machine)
        choices = case.variations[nearest[len(machine.running)]]
        prefill, decode = choices[int(rng.integers(len(choices)))]
        machine.running.append([0, prefill, decode, who])

    while len(kept) < requests and max(over) <= allowed:
        now, index, stamp = heapq.heappop(events)
        if index < 0:
            came[number] = now
            fewest = min(len(machine.running) for machine in machines)
            if fewest < slots:
                free = [i for i, machine in enumerate(machines) if len(machine.running) == fewest]
                chosen = free[int(rng.integers(len(free)))]
                start(chosen, number)
                plan(chosen)
            else:
                queue.append((number, now))
            number += 1
            heapq.heappush(events, (now + float(rng.exponential(1 / case.peak_rate)), -1, 0))
            continue
        machine = machines[index]
        if stamp != machine.stamp:
            continue
        progress(machine)
        job = min(machine.running, key=lambda one: one[1] * speed[int(one[0])][len(machine.running) - 1])
        who = int(job[3])
        if job[0] == 0:
            first_token[who] = now
            job[0], job[1] = 1, job[2]
        else:
            machine.running.remove(job)
            arrival, first = came.pop(who), first_token.pop(who)
            if skipped <= who < skipped + requests:
                kept[who] = (first - arrival, now - arrival, (now - first) / (case.output_tokens - 1))
                over = [count + (value > bound) for count, value, bound in zip(over, kept[who], bounds, strict=True)]
            if queue:
                start(index, queue.popleft()[0])
        plan(index)
    if max(over) > allowed:
        return Outcome({}, {}, True)
    rows = np.array([kept[who] for who in sorted(kept)])
    p95, error = {}, {}
    for column, name in enumerate(("ttft", "e2e", "tpot")):
        parts = [np.percentile(part, 95) for part in np.array_split(rows[:, column], BATCHES)]
        p95[name] = float(np.percentile(rows[:, column], 95))
        error[name] = float(np.std(parts, ddof=1) / math.sqrt(BATCHES))
    return Outcome(p95, error)


def verdict(outcome: Outcome, limits: dict[str, float]) -> tuple[bool, bool]:
    """Whether all limits hold by the estimates, and whether every one is clear of its limit by a 95 % interval."""
    if outcome.broken_for_certain:
        return False, True
    quantile = float(stats.t.ppf(0.975, BATCHES - 1))
    holds = all(outcome.p95[name] <= limit for name, limit in limits.items())
    broken = [outcome.p95[n] - quantile * outcome.error[n] > limit for n, limit in limits.items()]
    kept = [outcome.p95[n] + quantile * outcome.error[n] <= limit for n, limit in limits.items()]
    return holds, any(broken) or all(kept)

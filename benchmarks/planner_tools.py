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
_NAMES = ("ttft", "e2e", "tpot")


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
    """The ``number``-th: one to sixteen slots, up to thirty replicas at full speed, tight and loose limits."""
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


@dataclass(frozen=True)
class Outcome:
    """The share of requests above each limit and its standard error; ``stopped`` where it ended early.

    It ends as soon as so many requests are above a limit that this run's percentile is, whatever comes. That says
    nothing of how far the run's luck went, so there is no interval.
    """

    over: dict[str, float]
    error: dict[str, float]
    stopped: bool = False


def reference(case: Scenario, slots: int, replicas: int, requests: int, seed: int) -> Outcome:
    """Simulate the peak hour's rate in the steady state; stops once one of its percentiles must be above its limit."""
    return _Simulation(case, slots, replicas, requests, seed).outcome()


@dataclass
class _Machine:
    running: list[list[float]] = field(default_factory=list)  # [phase, left, work of the other phase, number]
    at: float = 0.0
    stamp: int = 0


class _Simulation:
    """Events are arrivals (machine -1) and the next first or last token of a machine, void if its stamp is old."""

    def __init__(self, case: Scenario, slots: int, replicas: int, requests: int, seed: int) -> None:
        self._case, self._slots, self._requests = case, slots, requests
        self._rng = np.random.default_rng([seed, case.seed, replicas])
        rising = [np.maximum.accumulate(values) for values in (case.prefill_s, case.decode_s)]
        self._pace = [[float(np.interp(n, case.levels, values)) for n in range(1, slots + 1)] for values in rising]
        self._nearest = [
            min(range(len(case.levels)), key=lambda i: (abs(case.levels[i] - n), i)) for n in range(1, slots + 1)
        ]
        self._skipped = max(requests // 5, 4 * replicas * slots, 500)
        self._machines = [_Machine() for _ in range(replicas)]
        self._queue: deque[int] = deque()
        self._came: dict[int, float] = {}
        self._first: dict[int, float] = {}
        self._kept: dict[int, tuple[float, float, float]] = {}
        self._limits = [case.limits.get(name, math.inf) for name in _NAMES]
        self._over = [0, 0, 0]
        self._events: list[tuple[float, int, int]] = []
        self._now, self._number = 0.0, 0

    def outcome(self) -> Outcome:
        allowed = 0.05 * self._requests + 1
        self._next_arrival()
        while len(self._kept) < self._requests and max(self._over) <= allowed:
            self._now, index, stamp = heapq.heappop(self._events)
            if index < 0:
                self._arrival()
            elif stamp == self._machines[index].stamp:
                self._token(index)
        if max(self._over) > allowed:
            return Outcome({}, {}, True)
        rows = np.array([self._kept[who] for who in sorted(self._kept)])
        share, error = {}, {}
        for column, name in enumerate(_NAMES):
            if name in self._case.limits:
                broken = rows[:, column] > self._case.limits[name]
                share[name] = float(broken.mean())
                batches = [part.mean() for part in np.array_split(broken, BATCHES)]
                error[name] = float(np.std(batches, ddof=1) / math.sqrt(BATCHES))
        return Outcome(share, error)

    def _next_arrival(self) -> None:
        gap = float(self._rng.exponential(1 / self._case.peak_rate))
        heapq.heappush(self._events, (self._now + gap, -1, 0))

    def _arrival(self) -> None:
        self._came[self._number] = self._now
        fewest = min(len(machine.running) for machine in self._machines)
        if fewest < self._slots:
            free = [i for i, machine in enumerate(self._machines) if len(machine.running) == fewest]
            chosen = free[int(self._rng.integers(len(free)))]
            self._start(chosen, self._number)
            self._plan(chosen)
        else:
            self._queue.append(self._number)
        self._number += 1
        self._next_arrival()

    def _start(self, index: int, who: int) -> None:
        machine = self._machines[index]
        self._progress(machine)
        choices = self._case.variations[self._nearest[len(machine.running)]]
        prefill, decode = choices[int(self._rng.integers(len(choices)))]
        machine.running.append([0, prefill, decode, who])

    def _progress(self, machine: _Machine) -> None:
        passed = self._now - machine.at
        if machine.running and passed:
            share = [passed / pace[len(machine.running) - 1] for pace in self._pace]
            for job in machine.running:
                job[1] -= share[int(job[0])]
        machine.at = self._now

    def _time_left(self, job: list[float], busy: int) -> float:
        return job[1] * self._pace[int(job[0])][busy - 1]

    def _plan(self, index: int) -> None:
        machine = self._machines[index]
        machine.stamp += 1
        if machine.running:
            soonest = min(self._time_left(job, len(machine.running)) for job in machine.running)
            heapq.heappush(self._events, (self._now + max(0.0, soonest), index, machine.stamp))

    def _token(self, index: int) -> None:
        machine = self._machines[index]
        self._progress(machine)
        job = min(machine.running, key=lambda one: self._time_left(one, len(machine.running)))
        who = int(job[3])
        if job[0] == 0:
            self._first[who] = self._now
            job[0], job[1] = 1, job[2]
        else:
            machine.running.remove(job)
            self._finished(who)
            if self._queue:
                self._start(index, self._queue.popleft())
        self._plan(index)

    def _finished(self, who: int) -> None:
        arrival, first = self._came.pop(who), self._first.pop(who)
        if self._skipped <= who < self._skipped + self._requests:
            values = (first - arrival, self._now - arrival, (self._now - first) / (self._case.output_tokens - 1))
            self._kept[who] = values
            for index, (value, limit) in enumerate(zip(values, self._limits, strict=True)):
                self._over[index] += value > limit


def verdict(outcome: Outcome) -> tuple[bool, bool]:
    """Whether at most 5 of 100 requests break each limit, and whether a 95 % interval of each share says the same."""
    if outcome.stopped:
        return False, False
    quantile = float(stats.t.ppf(0.975, BATCHES - 1))
    holds = all(share <= 0.05 for share in outcome.over.values())
    broken = [outcome.over[name] - quantile * outcome.error[name] > 0.05 for name in outcome.over]
    kept = [outcome.over[name] + quantile * outcome.error[name] <= 0.05 for name in outcome.over]
    return holds, any(broken) or all(kept)

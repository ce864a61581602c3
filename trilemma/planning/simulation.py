"""A discrete-event simulation of a fleet: the measured service times replayed against Poisson arrivals.

Requests come at a constant rate, go to the replica with fewest busy slots, and wait in one queue, first come first
served, while all slots are busy. An admitted request is one of those measured at the concurrency it meets: it has that
one's prefill and decode time over the mean, and goes through both as fast as its replica does with as many as are busy
at each moment. The steady state begins after a warm-up that is thrown away.
"""

from __future__ import annotations

import heapq
import math
from collections import deque
from collections.abc import Generator, Iterator
from dataclasses import dataclass

import numpy as np
import simpy
from scipy import stats

from trilemma.planning.arrays import FloatArray, Interval
from trilemma.planning.limits import SHARE, Latency
from trilemma.planning.service import ServiceCurve

BATCHES = 10
REQUESTS = 12_000
_CHUNK = 4096


@dataclass(frozen=True)
class Simulated:
    """What became of the measured requests, in order of arrival, s; shape (requests,).

    ``wait`` is for a slot, ``ttft`` and ``e2e`` count from arrival, ``tpot`` is per token after the first. ``busy`` is
    the mean share of slots in use, ``in_system`` the mean number of requests there, over ``span_s``. ``stopped`` says
    that it ended early because too many had broken a limit already; the rest is then of those that were answered.
    """

    wait: FloatArray
    ttft: FloatArray
    e2e: FloatArray
    tpot: FloatArray
    busy: float
    in_system: float
    span_s: float
    stopped: bool = False

    def percentile(self, name: str, q: float = 100 * SHARE) -> Interval:
        """A percentile of ``wait``, ``ttft``, ``e2e`` or ``tpot`` with its 95 % interval.

        The interval is that of the share of requests below the percentile, by batch means, carried over to the
        percentiles at both of its ends: a batch's own percentile jumps where few requests wait, a share does not
        (Heidelberger and Lewis, "Quantile estimation in dependent sequences", Operations Research 32(1), 1984).
        """
        values = getattr(self, name)
        if not len(values):
            return Interval(math.nan)
        whole = float(np.percentile(values, q))
        half = self.share_over(name, whole)
        if half.high is None:
            return Interval(whole)
        off = 100 * (half.high - half.value)
        low, high = np.percentile(values, [max(0.0, q - off), min(100.0, q + off)])
        return Interval(whole, float(low), float(high))

    def share_over(self, name: str, limit_s: float) -> Interval:
        """The share of requests whose ``name`` is above ``limit_s``, with its 95 % interval.

        By batch means: requests that follow one another have waited together, so the interval comes of consecutive
        batches, not of single requests (Law, *Simulation Modeling and Analysis*, 5th edition, 2015, section 9.5).
        """
        over = getattr(self, name) > limit_s
        share = float(over.mean())
        if len(over) < 20 * BATCHES:
            return Interval(share)
        batches = [float(part.mean()) for part in np.array_split(over, BATCHES)]
        half = float(stats.t.ppf(0.975, BATCHES - 1) * np.std(batches, ddof=1) / math.sqrt(BATCHES))
        return Interval(share, max(0.0, share - half), min(1.0, share + half))

    def keeps(self, latency: Latency, *, surely: bool = False) -> bool:
        """Whether 95 of 100 requests keep each limit; ``surely``, whether that is so at the ends of the intervals."""
        if self.stopped:
            return False
        shares = [self.share_over(aim.name, aim.limit_s) for aim in latency.aims()]
        most = [share.high if surely and share.high is not None else share.value for share in shares]
        return all(share <= 1 - SHARE + 1e-12 for share in most)


def length_for(load: float, replicas: int, requests: int = REQUESTS) -> int:
    """How many requests to simulate at a share ``load`` of the top rate: ``requests`` for few replicas, half busy.

    Of many replicas one more or less makes little difference, which takes a longer simulation to tell.

    Near saturation queues remember: one of a single server takes about ``load / (1 - sqrt(load))^2`` arrivals to forget
    (its relaxation time; Cohen, *The Single Server Queue*, 1982, III.7.3).
    """
    memory = load / (1 - math.sqrt(min(load, 0.999))) ** 2
    return int(requests * min(6.0, max(1.0, memory / 400, replicas / 8)))


def simulate(
    curve: ServiceCurve,
    replicas: int,
    rate: float,
    *,
    requests: int = REQUESTS,
    seed: int = 0,
    until_broken: Latency | None = None,
) -> Simulated:
    """Simulate ``replicas`` at ``rate`` arrivals a second; the same for the same arguments.

    Args:
        curve: A replica as measured.
        replicas: At least one.
        rate: Above zero.
        requests: How many are measured, at least 20 a batch; an eighth as many, and enough to fill all slots three
            times, come before as a warm-up.
        seed: Of arrivals and of which measured requests are replayed.
        until_broken: Stop as soon as so many requests have broken one of these limits that its percentile has, too.
    """
    if replicas < 1 or rate <= 0 or requests < 20 * BATCHES:
        raise ValueError("a simulation takes a replica, a rate above zero, and twenty requests a batch")
    warmup = max(requests // 8, 3 * replicas * curve.slots, 200)
    return _Fleet(curve, replicas, rate, warmup, requests, seed, until_broken).run()


class _Fleet:
    """The state of one simulation."""

    def __init__(
        self, curve: ServiceCurve, replicas: int, rate: float, warmup: int, requests: int, seed: int,
        until_broken: Latency | None,
    ) -> None:  # fmt: skip
        self.env = simpy.Environment()
        self.slots = curve.slots
        self.prefill, self.decode = curve.prefill.tolist(), curve.decode.tolist()
        self.kinds = [[tuple(row) for row in curve.variation(busy).tolist()] for busy in range(1, self.slots + 1)]
        self._further = max(1.0, curve.output_tokens - 1)
        self._replicas = [_Replica(self) for _ in range(replicas)]
        self._queue: deque[int] = deque()
        self._first, self._last = warmup, warmup + requests
        self._draws = _draws(rate, seed)
        self.times: list[list[float]] = []  # arrival, admission, first token, last token
        self._luck: list[float] = []
        self._left = requests
        self._done = self.env.event()
        limits = {aim.name: aim.limit_s for aim in until_broken.aims()} if until_broken else {}
        self._limits = [limits.get(name, math.inf) for name in ("ttft", "e2e", "tpot")]
        self._broken = [0, 0, 0]
        # Of n values this many above the limit put the percentile, linear between two of them, above it for certain.
        self._too_many = (1 - SHARE) * requests + 1 if limits else math.inf
        self._stopped = False
        self._present = self._area = self._slots_area = self._since = self._started = 0.0
        self._watching = False

    def run(self) -> Simulated:
        self.env.process(self._arrivals())
        self.env.run(until=self._done)
        self._count(0)
        rows = np.array([row for row in self.times[self._first : self._last] if len(row) == 4]).reshape(-1, 4)
        arrival, admitted, first, last = rows.T
        span = self.env.now - self._started if self._watching else 0.0
        slots = len(self._replicas) * self.slots
        return Simulated(
            wait=admitted - arrival, ttft=first - arrival, e2e=last - arrival, tpot=(last - first) / self._further,
            busy=self._slots_area / span / slots if span else 0.0, in_system=self._area / span if span else 0.0,
            span_s=span, stopped=self._stopped,
        )  # fmt: skip

    def _arrivals(self) -> Generator[simpy.Event]:
        for gap, luck in self._draws:
            yield self.env.timeout(gap)
            number = len(self.times)
            self.times.append([self.env.now])
            self._luck.append(luck)
            if number == self._first:
                self._watching, self._started, self._since = True, self.env.now, self.env.now
                self._area = self._slots_area = 0.0
            self._count(1)
            free = min(self._replicas, key=_busy)
            if free.busy < self.slots:
                free.admit(number)
            else:
                self._queue.append(number)

    def kind(self, number: int, busy: int) -> tuple[float, ...]:
        """Which measured request is replayed, by its number and how many are busy with it."""
        choices = self.kinds[busy - 1]
        return choices[int(self._luck[number] * len(choices))]

    def finished(self, replica: _Replica, number: int) -> None:
        """A request has its last token, and its slot is free."""
        self._count(-1)
        if self._queue:
            replica.admit(self._queue.popleft(), now_free=True)
        if not self._first <= number < self._last or self._done.triggered:
            return
        arrival, _, first, last = self.times[number]
        values = (first - arrival, last - arrival, (last - first) / self._further)
        for index, (value, limit) in enumerate(zip(values, self._limits, strict=True)):
            self._broken[index] += value > limit
        self._left -= 1
        self._stopped = max(self._broken) > self._too_many
        if self._stopped or not self._left:
            self._done.succeed()

    def _count(self, change: int) -> None:
        now = self.env.now
        self._area += self._present * (now - self._since)
        self._slots_area += (self._present - len(self._queue)) * (now - self._since)
        self._present += change
        self._since = now


def _busy(replica: _Replica) -> int:
    return replica.busy


class _Replica:
    """Slots that share one machine.

    Two clocks run as fast as the machine does prefill and decoding with as many busy as there are; a request is due
    when a clock has advanced by its own work. So a change of speed touches the clocks and no request.
    """

    def __init__(self, fleet: _Fleet) -> None:
        self._fleet = fleet
        self.busy = 0
        self._clocks = [0.0, 0.0]
        self._waiting: tuple[list[tuple[float, int, float]], list[tuple[float, int, float]]] = ([], [])
        self._at = 0.0
        self._plan = 0
        self._next = 0

    def admit(self, number: int, *, now_free: bool = False) -> None:
        """Begin with a request; ``now_free`` where this happens within :meth:`_due`, which looks ahead itself."""
        self._advance()
        self.busy += 1
        self._fleet.times[number].append(self._fleet.env.now)
        prefill, decode = self._fleet.kind(number, self.busy)
        heapq.heappush(self._waiting[0], (self._clocks[0] + prefill, number, decode))
        if not now_free:
            self._look_ahead()

    def _advance(self) -> None:
        now = self._fleet.env.now
        if self.busy:
            self._clocks[0] += (now - self._at) / self._fleet.prefill[self.busy - 1]
            self._clocks[1] += (now - self._at) / self._fleet.decode[self.busy - 1]
        self._at = now

    def _look_ahead(self) -> None:
        """Plan the next first or last token; what was planned before no longer counts."""
        self._plan += 1
        if not self.busy:
            return
        prefill, decode = self._waiting
        speeds = self._fleet.prefill[self.busy - 1], self._fleet.decode[self.busy - 1]
        first = (prefill[0][0] - self._clocks[0]) * speeds[0] if prefill else math.inf
        last = (decode[0][0] - self._clocks[1]) * speeds[1] if decode else math.inf
        self._next = 0 if first <= last else 1
        event = self._fleet.env.timeout(max(0.0, min(first, last)), self._plan)
        assert event.callbacks is not None
        event.callbacks.append(self._due)

    def _due(self, event: simpy.Event) -> None:
        if event.value != self._plan:
            return
        self._advance()
        _, number, decode = heapq.heappop(self._waiting[self._next])
        self._fleet.times[number].append(self._fleet.env.now)
        if self._next == 0:
            heapq.heappush(self._waiting[1], (self._clocks[1] + decode, number, 0.0))
        else:
            self.busy -= 1
            self._fleet.finished(self, number)
        self._look_ahead()


def _draws(rate: float, seed: int) -> Iterator[tuple[float, float]]:
    """Gaps between arrivals, s, and luck from 0 to 1; of one seed the same, but for gaps in proportion to 1 / rate."""
    rng = np.random.default_rng(seed)
    while True:
        gaps, luck = rng.standard_exponential(_CHUNK) / rate, rng.random(_CHUNK)
        yield from zip(gaps.tolist(), luck.tolist(), strict=True)

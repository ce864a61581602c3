"""How many replicas a rate of arrivals takes so that the simulation keeps the limits."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import numpy as np

from trilemma.errors import PlanError
from trilemma.planning.arrays import FloatArray, IntArray
from trilemma.planning.limits import LATENCY_WORDS, Latency, unreachable
from trilemma.planning.queueing import FULLEST, arithmetic_rate
from trilemma.planning.service import ServiceCurve
from trilemma.planning.simulation import REQUESTS, Simulated, length_for, simulate

SEED = 20260301
CHECK_SEED = 20260302
CHECK_LENGTH = 3
"""How many times longer the simulation is that checks the plan than those that made it."""
SIZES = (1, 2, 3, 4, 6, 8, 12, 16, 24, 32, 48, 64, 96, 128, 192, 256)
"""Fleets that are simulated. What one replica of a fleet bears rises with its size, ever more slowly: a line between
two of these is not above the truth, and neither is the last one's share for a larger fleet."""
_STEP = 1.005
_LEAST = 1400
"""A thousandth of the top rate: 1.005 ** -1400."""


@dataclass(frozen=True)
class Checked:
    """Replicas for one rate, and the longer simulation with other luck that they were checked by.

    ``added`` is how many replicas this check asked for beyond the first answer.
    """

    rate: float
    replicas: int
    added: int
    run: Simulated


@dataclass(frozen=True)
class Kept:
    """What was simulated before for one replica and one set of limits: rates by size, and checks by rate."""

    rates: dict[int, float] = field(default_factory=dict)
    checks: dict[float, Checked] = field(default_factory=dict)


class Capacity:
    """The highest rate that fleets of every size bear within the limits, found when asked for, and kept.

    For each size of :data:`SIZES` the highest rate, in steps of one in two hundred, at which a simulation keeps the
    limits at the ends of its 95 % intervals, at most :data:`trilemma.planning.queueing.FULLEST` of the top rate. The
    search starts at what the arithmetic says. A rate is found without regard to any demand, so that more demand never
    takes fewer replicas.

    Args:
        curve: A replica as measured.
        latency: The limits.
        requests: Length of one simulation.
        kept: Results of the same replica, limits and length; added to.
        progress: Told, before each size, which one is simulated.
    """

    def __init__(
        self,
        curve: ServiceCurve,
        latency: Latency,
        *,
        requests: int = REQUESTS,
        kept: Kept | None = None,
        progress: Callable[[int], None] = lambda _: None,
    ) -> None:
        self.curve, self.latency, self.requests, self.progress = curve, latency, requests, progress
        self.kept = Kept() if kept is None else kept
        self._reckoned: dict[int, float] = {}

    def rate(self, replicas: int) -> float:
        """Requests a second that a fleet of ``replicas`` bears; 0 where the limits cannot be kept."""
        if replicas < 1:
            return 0.0
        if replicas > SIZES[-1]:
            return self._simulated(SIZES[-1]) * replicas / SIZES[-1]
        above = next(i for i, size in enumerate(SIZES) if size >= replicas)
        if SIZES[above] == replicas:
            return self._simulated(replicas)
        low, high = SIZES[above - 1], SIZES[above]
        each = np.interp(replicas, [low, high], [self._simulated(low) / low, self._simulated(high) / high])
        return float(replicas * each)

    def needed(self, rate: float) -> int:
        """The smallest fleet that bears ``rate`` (requests a second); 0 for none.

        Raises:
            PlanError: no number of replicas keeps the limits.
        """
        return int(self.needed_each([rate])[0])

    def needed_each(self, rates: Sequence[float] | FloatArray) -> IntArray:
        """:meth:`needed` of each of ``rates``; same shape.

        Raises:
            PlanError: no number of replicas keeps the limits.
        """
        asked = np.asarray(rates, dtype=np.float64)
        positive = asked[asked > 0]
        if not positive.size:
            return np.zeros(asked.shape, dtype=np.int64)
        self._reachable()
        low, high = self._bracket(float(positive.min()))[0], self._bracket(float(positive.max()))[1]
        sizes = np.arange(low, high + 1)
        table = np.maximum.accumulate([self.rate(int(size)) for size in sizes])
        found = sizes[np.minimum(np.searchsorted(table, asked), len(sizes) - 1)]
        last = SIZES[-1]
        beyond = np.ceil(asked / (self._simulated(last) / last) - 1e-9) if high == last else found
        many = (asked > table[-1]) & (high == last)
        return np.where(asked > 0, np.where(many, beyond, found), 0).astype(np.int64)

    def ratio(self, replicas: int) -> float:
        """What the simulation allows over what the arithmetic does, for the nearest fleet simulated so far; 1 for none.

        With it the arithmetic alone can tell what other assumptions would change, without simulating each.
        """
        known = [size for size in self.kept.rates if self.kept.rates[size] > 0]
        if not known:
            return 1.0
        size = min(known, key=lambda one: abs(math.log(one / max(1, replicas))))
        return self.kept.rates[size] / self._arithmetic(size)

    def _reachable(self) -> None:
        if missed := unreachable(self.curve, self.latency):
            name, limit = missed[0]
            raise PlanError(
                f"No number of replicas keeps the {LATENCY_WORDS[name]} of 95 of 100 requests within {limit:g} s: one "
                "that has a replica to itself takes longer.",
                "Loosen the limit, shorten prompts or answers, or choose a faster configuration.",
            )
        if not self._simulated(SIZES[0]) and not self._simulated(SIZES[-1]):
            raise PlanError(
                "The limits are so near to what a request alone takes that no fleet keeps them for certain.",
                "Loosen the limits a little, or choose a faster configuration.",
            )

    def _bracket(self, rate: float) -> tuple[int, int]:
        """The simulated sizes next to the fleet that bears ``rate``: one that does not, or the smallest, and one that
        does, or the largest."""
        guess = next((i for i, size in enumerate(SIZES) if self._arithmetic(size) >= rate), len(SIZES) - 1)
        while guess < len(SIZES) - 1 and self._simulated(SIZES[guess]) < rate:
            guess += 1
        while guess > 0 and self._simulated(SIZES[guess - 1]) >= rate:
            guess -= 1
        return SIZES[max(0, guess - 1)], SIZES[guess]

    def _arithmetic(self, replicas: int) -> float:
        if replicas not in self._reckoned:
            self._reckoned[replicas] = arithmetic_rate(self.curve, replicas, self.latency)
        return self._reckoned[replicas]

    def _simulated(self, replicas: int) -> float:
        if replicas not in self.kept.rates:
            self.kept.rates[replicas] = self._search(replicas)
        return self.kept.rates[replicas]

    def _search(self, replicas: int) -> float:
        """The highest rate that holds, on a grid of rates that does not depend on where the search begins."""
        top = FULLEST * replicas * self.curve.top_rate
        start = self._arithmetic(replicas)
        if not any(True for _ in self.latency.aims()) or not start:
            return start
        self.progress(replicas)

        def holds(step: int) -> bool:
            return self._holds(replicas, top * _STEP**-step)

        at, stride = min(_LEAST, max(0, round(math.log(top / start) / math.log(_STEP)))), 6
        bad, good = -1, _LEAST + 1
        while bad < at < good and (bad < 0 or good > _LEAST):
            bad, good = (bad, at) if holds(at) else (at, good)
            at = max(0, good - stride) if bad < 0 else min(_LEAST, bad + stride)
            stride *= 2
        while good - bad > 1:
            middle = (good + bad) // 2
            bad, good = (bad, middle) if holds(middle) else (middle, good)
        return top * _STEP**-good if good <= _LEAST else 0.0

    def _holds(self, replicas: int, rate: float) -> bool:
        length = length_for(rate / (replicas * self.curve.top_rate), replicas, self.requests)
        run = simulate(self.curve, replicas, rate, requests=length, seed=SEED, until_broken=self.latency)
        return run.keeps(self.latency, surely=True)


class Estimated(Capacity):
    """The arithmetic in place of the simulation, times what the simulation of ``based_on`` allowed over its arithmetic.

    For what would be if an assumption were another: hundreds of fleets, too many to simulate. Sizes that ``based_on``
    has simulated stay as they are where replica and limits are the same.
    """

    def __init__(self, based_on: Capacity, curve: ServiceCurve | None = None, latency: Latency | None = None) -> None:
        same = curve is None and latency is None
        super().__init__(curve or based_on.curve, latency or based_on.latency, requests=based_on.requests)
        self._based_on = based_on
        if same:
            self.kept.rates.update(based_on.kept.rates)
            self._reckoned = based_on._reckoned

    def _search(self, replicas: int) -> float:
        top = FULLEST * replicas * self.curve.top_rate
        return min(top, self._arithmetic(replicas) * self._based_on.ratio(replicas))


def checked(capacity: Capacity, rate: float, *, seed: int = CHECK_SEED) -> Checked:
    """The replicas for ``rate``, with as many more as a longer simulation asks for.

    Of a fleet larger than :data:`SIZES`, the largest of these is simulated with its share of the arrivals: it bears no
    more, replica for replica, and a hundred thousand replicas would take hours.

    Raises:
        PlanError: no number of replicas keeps the limits.
    """
    if seed == CHECK_SEED and rate in capacity.kept.checks:
        return capacity.kept.checks[rate]
    first = replicas = capacity.needed(rate)
    while True:
        load = rate / (replicas * capacity.curve.top_rate)
        size = min(replicas, SIZES[-1])
        length = length_for(load, size, CHECK_LENGTH * capacity.requests)
        run = simulate(capacity.curve, size, rate * size / replicas, requests=length, seed=seed)
        if run.keeps(capacity.latency) or replicas >= 2 * first + 2:
            break
        replicas += -(-replicas // SIZES[-1])  # one more of those that are simulated
    found = Checked(rate, replicas, replicas - first, run)
    if seed == CHECK_SEED:
        capacity.kept.checks[rate] = found
    return found

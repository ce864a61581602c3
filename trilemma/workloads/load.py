"""Who asks when: users who wait for their answers and think (closed loop), or arrivals that wait for nobody (open)."""

from __future__ import annotations

import heapq
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import NamedTuple, Protocol

import numpy as np

from trilemma.engines.base import Generation, GenerationRequest, Server
from trilemma.workloads.in_flight import InFlight


class Answered(NamedTuple):
    """An answer, the position of its request, and how much later than due the request was submitted, s."""

    position: int
    generation: Generation
    lag_s: float


class Schedule(Protocol):
    """Says when requests are due, s from the start."""

    def first(self, count: int) -> list[float]:
        """The times that are known before anything is answered, ascending; at most ``count``."""

    def after(self, now_s: float) -> float | None:
        """When whoever has just got an answer asks again; None if nobody does."""


@dataclass
class ClosedLoop:
    """``users`` who ask, wait for all of the answer, pause for an exponential time of mean ``think_time_s``, ask again.

    The pauses are fixed by ``seed``.
    """

    users: int
    think_time_s: float = 0.0
    seed: int = 0

    def __post_init__(self) -> None:
        self._rng = np.random.default_rng(self.seed)

    def first(self, count: int) -> list[float]:
        """All users begin at once."""
        return [0.0] * min(self.users, count)

    def after(self, now_s: float) -> float | None:
        """Now, or when the user has thought."""
        return now_s + (float(self._rng.exponential(self.think_time_s)) if self.think_time_s else 0.0)


@dataclass(frozen=True)
class OpenLoop:
    """Requests that come at ``times_s``, whatever becomes of the earlier ones."""

    times_s: Sequence[float]

    def first(self, count: int) -> list[float]:
        """All of them."""
        return sorted(self.times_s)[:count]

    def after(self, now_s: float) -> float | None:
        """An answer brings no request about."""
        return None


def poisson(rate: float, count: int, seed: int = 0) -> OpenLoop:
    """``count`` arrivals of a Poisson process of ``rate`` a second: independent exponential gaps, fixed by ``seed``."""
    return OpenLoop(np.cumsum(np.random.default_rng(seed).exponential(1 / rate, count)).tolist())


def drive(server: Server, requests: Sequence[GenerationRequest], schedule: Schedule) -> Iterator[Answered]:
    """Have ``requests`` asked in order as ``schedule`` says; each is yielded when it is answered, failed ones too.

    A request counts as submitted when it was *due*, also where the server or this loop was busy then: leaving the delay
    out would make a server look quicker the busier it is (coordinated omission).

    Args:
        server: What answers; one with fewer slots than requests in flight lets the others wait.
        requests: Taken one after the other by whoever asks next.
        schedule: When they are due.
    """
    start_ns = time.perf_counter_ns()
    due = [start_ns + round(at_s * 1e9) for at_s in schedule.first(len(requests))]
    heapq.heapify(due)
    waiting = iter(enumerate(requests))
    left = len(requests) - len(due)
    in_flight: InFlight[tuple[int, float]] = InFlight(server)
    while due or in_flight:
        while due and due[0] <= (now := time.perf_counter_ns()):
            due_ns = heapq.heappop(due)
            position, request = next(waiting)
            in_flight.submit((position, (now - due_ns) / 1e9), request, due_ns)
        patience_s = max(0.0, (due[0] - time.perf_counter_ns()) / 1e9) if due else None
        if not in_flight:
            time.sleep(patience_s or 0.0)
            continue
        for (position, lag_s), generation in in_flight.step(patience_s):
            again_s = schedule.after((time.perf_counter_ns() - start_ns) / 1e9) if left else None
            if again_s is not None:
                left -= 1
                heapq.heappush(due, start_ns + round(again_s * 1e9))
            yield Answered(position, generation, lag_s)


def closed_loop(server: Server, requests: Sequence[GenerationRequest], users: int) -> Iterator[tuple[int, Generation]]:
    """:func:`drive` with ``users`` users who do not think: answers with their positions."""
    for answer in drive(server, requests, ClosedLoop(users)):
        yield answer.position, answer.generation

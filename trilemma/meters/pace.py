"""Keeps a costly reading to a small share of the sampler's time."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager


class Pace:
    """When a reading is due: every ``interval_s``, or more seldom if it would take more than ``duty`` of a core.

    Walking page tables for the proportional set size, or listing all processes, costs more the larger the machine
    and the model are. A sampler that took them at a fixed rate would bend what it measures on exactly those.
    """

    def __init__(self, interval_s: float, duty: float) -> None:
        self._interval_ns = interval_s * 1e9
        self._duty = duty
        self._cost_ns = 0.0
        self._last_ns: int | None = None

    def due(self, *, sooner: float = 1.0) -> bool:
        """Whether it is time; ``sooner`` divides both the interval and the wait that the cost asks for."""
        if self._last_ns is None:
            return True
        wait = max(self._interval_ns, self._cost_ns / self._duty) / sooner
        # A tick of slack: without it a reading due "every second" at 10 Hz slips to every 1.1 s.
        return time.perf_counter_ns() - self._last_ns >= wait - 5e6

    @contextmanager
    def spend(self) -> Iterator[None]:
        """Around the reading: notes when it was and what CPU time it took (smoothed, so that one outlier passes)."""
        self._last_ns = time.perf_counter_ns()
        start = time.thread_time_ns()
        try:
            yield
        finally:
            cost = time.thread_time_ns() - start
            self._cost_ns = cost if self._cost_ns == 0 else 0.7 * self._cost_ns + 0.3 * cost

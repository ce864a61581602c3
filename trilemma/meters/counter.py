"""Joules out of a device's counter of millijoules, or out of its power where it has none."""

from __future__ import annotations

import time

from trilemma.meters.base import EnergyDomain


class Counter:
    """One counter of millijoules, turned into joules since it was first read.

    Where a device gives power but no counter, the joules are the integral of its readings (trapezoid).

    A RAPL counter wraps around, which zeus notices up to a second late. Until then it seems to have gone back: such
    readings are left out (``wraps``), and a counter that does not recover becomes a gap.

    Args:
        domain: What is counted.
        counts: Whether the device has a counter; else power is integrated.
        wraps: Whether the counter begins anew when it is full.
    """

    def __init__(self, domain: EnergyDomain, *, counts: bool = True, wraps: bool = False) -> None:
        self.domain = domain
        self._counts = counts
        self._wraps = wraps
        self._first_mj: float | None = None
        self._last_mj = 0.0
        self._integral_j = 0.0
        self._last_w: float | None = None
        self._last_at: float | None = None

    def count(
        self, energy_mj: float | None, power_mw: float | None, elapsed_s: float | None = None
    ) -> dict[str, float]:
        """The channels of one reading: joules, and watts where the device says them; what is None is left out.

        ``elapsed_s`` since the last one; None for as long as the clock says.
        """
        now = time.perf_counter()
        if elapsed_s is None:
            elapsed_s = 0.0 if self._last_at is None else now - self._last_at
        self._last_at = now
        values: dict[str, float] = {}
        if power_mw is not None:
            values[f"power_w.{self.domain.channel.removeprefix('energy_j.')}"] = power_mw / 1e3
        if self._counts and energy_mj is not None:
            if self._first_mj is None:
                self._first_mj = self._last_mj = energy_mj
            if self._wraps and energy_mj < self._last_mj:
                return values
            self._last_mj = energy_mj
            values[self.domain.channel] = (energy_mj - self._first_mj) / 1e3
        elif not self._counts and power_mw is not None:
            watts = power_mw / 1e3
            if self._last_w is not None:
                self._integral_j += (self._last_w + watts) / 2 * max(0.0, elapsed_s)
            self._last_w = watts
            values[self.domain.channel] = self._integral_j
        return values

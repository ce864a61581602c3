"""CPU time of the measured process tree, and of everybody else."""

from __future__ import annotations

import os
import sys
import time
from pathlib import Path
from typing import ClassVar, NamedTuple

import psutil

from trilemma.engines.base import Availability
from trilemma.errors import MeterError
from trilemma.meters.base import Target
from trilemma.meters.dashboards import DashboardClock
from trilemma.meters.pace import Pace
from trilemma.meters.tree_clock import TreeClock
from trilemma.settings import get_settings

_SHORTEST_S = 0.05
"""Over less than a few of the kernel's ticks a rate says nothing; the time is added to the next reading's."""


class MachineTimes(NamedTuple):
    """CPU-seconds of all CPUs together since boot."""

    busy: float
    steal: float
    total: float


class CpuMeter:
    """Reads ``cpu_s``, ``others_cpu_cores``, ``dashboard_cpu_s``, ``steal_fraction`` and ``sampler_cpu_s``.

    What others use is the time in which the machine was busy, less the tree's own and less the sampler's. The kernel
    counts the former in ticks (10 ms as a rule), so that a single reading may be a tick or two off, below zero even;
    readings are not clipped, because the mean of clipped ones would be too high. Interrupts count as others, and so do
    dashboards; what those take is counted beside it, by their processes' own clocks.

    Args:
        dashboards: Where dashboards say that they are there; the data folder's place for it if None.
    """

    name: ClassVar[str] = "cpu"

    def __init__(self, dashboards: Path | None = None) -> None:
        self._dashboards = DashboardClock(dashboards or get_settings().dashboards_dir)
        self._clock = TreeClock()
        self._client = TreeClock()
        self._stat_fd = -1
        # On machines with many CPUs and interrupts /proc/stat takes milliseconds.
        self._pace = Pace(0.0, duty=0.004)
        self._last: tuple[MachineTimes, float, float] | None = None
        self._elapsed_s = 0.0

    @classmethod
    def availability(cls) -> Availability:
        """Always there."""
        if sys.platform == "linux":
            return Availability(True, "CPU time of the process tree, of others and stolen by the hypervisor")
        return Availability(True, "CPU time of the process tree and of others, through psutil")

    def start(self, target: Target) -> None:
        """Count the CPU time of ``target``, on top of what earlier targets used."""
        self._clock.start(target.pid)
        self._client.start(target.client_pid)
        self._dashboards.start()
        if sys.platform == "linux" and self._stat_fd < 0:
            try:
                self._stat_fd = os.open("/proc/stat", os.O_RDONLY | os.O_CLOEXEC)
            except OSError as error:
                raise MeterError(f"/proc/stat cannot be read ({error.strerror}).") from error
        if self._last is None:
            self._last = (self._machine(), self._ours(), time.process_time())

    def read(self, elapsed_s: float) -> dict[str, float]:
        """The channels; those of the machine are left out when it is not their turn.

        Raises:
            MeterError: the machine's CPU times cannot be read.
        """
        own, sampler = self._ours(), time.process_time()
        values = {"cpu_s": self._clock.read(), "dashboard_cpu_s": self._dashboards.read(), "sampler_cpu_s": sampler}
        self._elapsed_s += elapsed_s
        if self._last is None or self._elapsed_s < _SHORTEST_S or not self._pace.due():
            return values
        with self._pace.spend():
            machine = self._machine()
        before, own_before, sampler_before = self._last
        others = (machine.busy - before.busy) - (own - own_before) - (sampler - sampler_before)
        values["others_cpu_cores"] = others / self._elapsed_s
        if machine.total > before.total:
            values["steal_fraction"] = max(0.0, (machine.steal - before.steal) / (machine.total - before.total))
        self._last, self._elapsed_s = (machine, own, sampler), 0.0
        return values

    def _ours(self) -> float:
        """CPU-seconds that are not others': the target's and its client's."""
        return self._clock.read() + self._client.read()

    def close(self) -> None:
        """Close what is open; the counters keep their values."""
        self._clock.close()
        self._client.close()
        self._dashboards.close()
        if self._stat_fd >= 0:
            os.close(self._stat_fd)
            self._stat_fd = -1
        self._last = None

    def _machine(self) -> MachineTimes:
        if self._stat_fd < 0:
            times = psutil.cpu_times()
            idle = times.idle + getattr(times, "iowait", 0.0)
            total = float(sum(times))
            return MachineTimes(total - idle, 0.0, total)
        try:
            # user nice system idle iowait irq softirq steal; guest time, which follows, is part of user and nice.
            ticks = [int(field) for field in os.pread(self._stat_fd, 256, 0).split(maxsplit=9)[1:9]]
        except (OSError, ValueError) as error:
            raise MeterError(f"/proc/stat cannot be read ({error}).") from error
        hz = os.sysconf("SC_CLK_TCK")
        user, nice, system, idle, iowait, irq, softirq, steal = ticks
        busy = user + nice + system + irq + softirq
        return MachineTimes(busy / hz, steal / hz, (busy + idle + iowait + steal) / hz)

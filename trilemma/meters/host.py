"""The state of the machine beside the run: clock, load and memory to spare."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import ClassVar

from trilemma.engines.base import Availability
from trilemma.errors import MeterError
from trilemma.limits import available_bytes, usable_cpus
from trilemma.meters.base import Target
from trilemma.meters.machine import host_info, hypervisor
from trilemma.meters.pace import Pace

__all__ = ["HostMeter", "host_info"]


class HostMeter:
    """Reads ``frequency_hz``, ``load1`` and ``available_bytes``, once a second: they change no faster, or cost more.

    A clock that a virtual machine reports is the nominal one, whatever the CPU does: it is left out.
    """

    name: ClassVar[str] = "host"

    def __init__(self) -> None:
        self._pace = Pace(1.0, duty=0.003)
        self._clocks: list[int] = []

    @classmethod
    def availability(cls) -> Availability:
        """Always there; says whether the clock is among it."""
        if clock_files():
            return Availability(True, "CPU clock, load and available memory")
        return Availability(True, "load and available memory; the CPU clock is not readable here")

    def start(self, target: Target) -> None:
        """Open the clocks; the target does not matter."""
        self.close()
        self._clocks = [os.open(path, os.O_RDONLY) for path in clock_files()]

    def read(self, elapsed_s: float) -> dict[str, float]:
        """The channels, or nothing when it is not their turn.

        Raises:
            MeterError: the system does not say.
        """
        if not self._pace.due():
            return {}
        with self._pace.spend():
            try:
                values = {"available_bytes": float(available_bytes()), "load1": os.getloadavg()[0]}
                if self._clocks:
                    values["frequency_hz"] = self._mean_clock_hz()
            except (OSError, ValueError) as error:
                raise MeterError(f"The state of the machine cannot be read ({error}).") from error
        return values

    def close(self) -> None:
        """Close the clocks."""
        for fd in self._clocks:
            os.close(fd)
        self._clocks = []

    def _mean_clock_hz(self) -> float:
        return sum(int(os.pread(fd, 32, 0)) for fd in self._clocks) / len(self._clocks) * 1e3


def clock_files(root: Path = Path("/")) -> list[Path]:
    """The files that give the present clock of each CPU that this process may use, in kHz."""
    if sys.platform != "linux" or hypervisor(root):
        return []
    base = root / "sys/devices/system/cpu"
    paths = (base / f"cpu{cpu}/cpufreq/scaling_cur_freq" for cpu in sorted(usable_cpus()))
    return [path for path in paths if os.access(path, os.R_OK)]

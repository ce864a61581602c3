"""Energy where nothing measures it: a stated model of what the process tree does."""

from __future__ import annotations

import time
from typing import ClassVar

from trilemma.engines.base import Availability
from trilemma.meters.base import EnergyDomain, Target
from trilemma.meters.tree_clock import TreeClock
from trilemma.schema import EnergyCoefficients, Method

CHANNEL = "energy_j.modelled"
BYTES_PER_GB = 1e9
_STALE_S = 2.0


class ModelledMeter:
    """Counts ``energy_j.modelled``.

    energy = CPU-seconds of the tree x watts per busy core + integral of memory held x watts per GB (1e9 bytes),
    the form of Lannelongue et al., "Green Algorithms", Advanced Science 8 (2021), 2100707, without its factor for the
    data centre. Memory held is PSS (USS, else RSS, where there is none); between two readings, about a second apart,
    it is taken as unchanged. Before the target exists nothing is held and nothing is used: its idle power is zero.
    """

    name: ClassVar[str] = "modelled"

    def __init__(self) -> None:
        self._clock = TreeClock()
        self._coefficients = EnergyCoefficients()
        self._cpu_s = 0.0
        self._joules = 0.0
        self._fresh_at = 0.0

    @classmethod
    def availability(cls) -> Availability:
        """Always there, and always an estimate."""
        return Availability(True, "an estimate: CPU time x watts per busy core + memory held x watts per GB")

    def domains(self) -> list[EnergyDomain]:
        """The one counter."""
        return [EnergyDomain(CHANNEL, "modelled", "process tree", Method.MODELLED)]

    def start(self, target: Target) -> None:
        """Go on with ``target`` and its coefficients; what was counted stays."""
        self._clock.start(target.pid)
        self._coefficients = target.energy
        self._cpu_s = self._clock.read()

    def read(self, elapsed_s: float) -> dict[str, float]:
        """The counter, J."""
        cpu_s = self._clock.read()
        joules = (cpu_s - self._cpu_s) * self._coefficients.watts_per_busy_core
        joules += self._held_bytes() / BYTES_PER_GB * self._coefficients.watts_per_gb * max(0.0, elapsed_s)
        self._cpu_s = cpu_s
        self._joules += joules
        return {CHANNEL: self._joules}

    def close(self) -> None:
        """Let go of the target; the counter keeps its value."""
        self._clock.close()

    def _held_bytes(self) -> float:
        tree = self._clock.tree
        if tree is None:
            return 0.0
        if tree.full is None or time.monotonic() - self._fresh_at > _STALE_S:
            # The memory meter, where it runs, has read this already; alone, this meter asks for it itself.
            self._fresh_at = time.monotonic()
            tree.full_memory()
        full = tree.full
        if full is None:
            return float(tree.rss_bytes() or 0)
        return float(next(figure for figure in (full.pss, full.uss, full.rss) if figure is not None))

"""What the run of this moment uses: memory and power out of its samples, second by second."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import pairwise

from trilemma.records import Sample

WINDOW_S = 120
_ENERGY = "energy_j."
_GPU_MEMORY = "gpu_memory_bytes."
_MODELLED = "energy_j.modelled"


@dataclass
class LiveTrace:
    """The last two minutes of a run, fed with samples as they come."""

    run_id: str
    attempt: int
    last_ns: int | None = None
    proportional: dict[int, float] = field(default_factory=dict)
    """Second of the clock to the most proportional memory read in it, bytes."""
    resident: dict[int, float] = field(default_factory=dict)
    """The same of resident memory, which is read more often but counts what is shared in full."""
    on_gpus: dict[int, float] = field(default_factory=dict)
    """The most memory that the run held on all GPUs together, bytes."""
    energy: dict[int, tuple[int, float]] = field(default_factory=dict)
    """Second of the clock to the first reading of the counters in it: time, ns, and joules."""
    modelled: bool = False
    _counters: set[str] = field(default_factory=set)

    def feed(self, samples: Sequence[Sample]) -> None:
        """Take in samples, in order of time."""
        for sample in samples:
            second = sample.time_ns // 1_000_000_000
            for kept, channel in ((self.proportional, "pss_bytes"), (self.resident, "rss_bytes")):
                if channel in sample.values:
                    kept[second] = max(sample.values[channel], kept.get(second, 0.0))
            held = [value for name, value in sample.values.items() if name.startswith(_GPU_MEMORY)]
            if held:
                self.on_gpus[second] = max(sum(held), self.on_gpus.get(second, 0.0))
            if (joules := self._joules(sample)) is not None:
                self.energy.setdefault(second, (sample.time_ns, joules))
            self.last_ns = sample.time_ns
        oldest = (self.last_ns or 0) // 1_000_000_000 - WINDOW_S
        self.proportional = {second: held for second, held in self.proportional.items() if second >= oldest}
        self.resident = {second: held for second, held in self.resident.items() if second >= oldest}
        self.on_gpus = {second: held for second, held in self.on_gpus.items() if second >= oldest}
        self.energy = {second: reading for second, reading in self.energy.items() if second >= oldest}

    def _joules(self, sample: Sample) -> float | None:
        counters = {name: value for name, value in sample.values.items() if name.startswith(_ENERGY)}
        measured = {name: value for name, value in counters.items() if not name.startswith(_MODELLED)}
        self._counters |= measured.keys()
        self.modelled = not self._counters
        if self.modelled:
            return counters.get(_MODELLED)
        # A sum that lacks one of the counters would look like a fall and a jump.
        return sum(measured.values()) if measured.keys() == self._counters else None

    def memory_bytes(self) -> list[float]:
        """The most memory held in each second, oldest first: proportional where it is read, else resident."""
        held = self.proportional or self.resident
        return [held[second] for second in sorted(held)]

    def gpu_memory_bytes(self) -> list[float]:
        """The most memory held on all GPUs in each second, oldest first; empty when none is held."""
        return [self.on_gpus[second] for second in sorted(self.on_gpus)] if any(self.on_gpus.values()) else []

    def power_w(self) -> list[float]:
        """Mean power from one second's first reading to the next one's, oldest first.

        Counters begin anew when the engine starts; a step back is no power and is left out.
        """
        readings = [self.energy[second] for second in sorted(self.energy)]
        steps = pairwise(readings)
        return [(j1 - j0) / ((t1 - t0) / 1e9) for (t0, j0), (t1, j1) in steps if j1 >= j0]

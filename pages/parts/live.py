"""What the run of this moment uses: memory and power out of its samples, second by second."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import pairwise

from trilemma.records import Sample

WINDOW_S = 120
_ENERGY = "energy_j."
_MODELLED = "energy_j.modelled"


@dataclass
class LiveTrace:
    """The last two minutes of a run, fed with samples as they come."""

    run_id: str
    attempt: int
    last_ns: int | None = None
    memory: dict[int, float] = field(default_factory=dict)
    """Second of the clock to the most memory held in it, bytes."""
    energy: dict[int, tuple[int, float]] = field(default_factory=dict)
    """Second of the clock to the first reading of the counters in it: time, ns, and joules."""
    modelled: bool = False

    def feed(self, samples: Sequence[Sample]) -> None:
        """Take in samples, in order of time."""
        for sample in samples:
            second = sample.time_ns // 1_000_000_000
            held = sample.values.get("pss_bytes", sample.values.get("rss_bytes"))
            if held is not None:
                self.memory[second] = max(held, self.memory.get(second, 0.0))
            if (joules := self._joules(sample)) is not None:
                self.energy.setdefault(second, (sample.time_ns, joules))
            self.last_ns = sample.time_ns
        newest = max(self.memory, default=0)
        for kept in (self.memory, self.energy):
            for second in [s for s in kept if s < newest - WINDOW_S]:
                del kept[second]

    def _joules(self, sample: Sample) -> float | None:
        counters = {name: value for name, value in sample.values.items() if name.startswith(_ENERGY)}
        measured = [value for name, value in counters.items() if not name.startswith(_MODELLED)]
        self.modelled = not measured
        return sum(measured) if measured else counters.get(_MODELLED)

    def memory_bytes(self) -> list[float]:
        """The most memory held in each second, oldest first."""
        return [self.memory[second] for second in sorted(self.memory)]

    def power_w(self) -> list[float]:
        """Mean power from one second's first reading to the next one's, oldest first.

        Counters begin anew when the engine starts; a step back is no power and is left out.
        """
        readings = [self.energy[second] for second in sorted(self.energy)]
        steps = pairwise(readings)
        return [(j1 - j0) / ((t1 - t0) / 1e9) for (t0, j0), (t1, j1) in steps if j1 >= j0]

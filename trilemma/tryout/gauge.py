"""What an answering process takes: memory and power, out of the sampler's readings."""

from __future__ import annotations

import os

from trilemma.bench.gpu_figures import HELD
from trilemma.bench.gpu_watch import GpuWatch
from trilemma.meters.base import Target
from trilemma.meters.sampler import Sampler
from trilemma.meters.steadiness import Thresholds, disturbances
from trilemma.meters.windows import energy_window, total_energy
from trilemma.records import PhaseWindow, Sample
from trilemma.schema import Configuration, EnergyCoefficients, Phase, RunSpec
from trilemma.tryout.messages import Reading, Ready

_WINDOW_NS = 2_000_000_000
# More than in a run: the dashboard is one of the others, and draws while the answer is written.
_DISTURBED = Thresholds(others_cores=0.5, burst_cores=1.0)


class Gauge:
    """Reads one configuration's process.

    Args:
        sampler: Started; it is pointed at the process.
        configuration: What answers.
        energy: What modelled power is reckoned with.
        pid: The answering process.

    Raises:
        TrilemmaError: there is no such engine.
    """

    def __init__(self, sampler: Sampler, configuration: Configuration, energy: EnergyCoefficients, pid: int) -> None:
        self._sampler, self._energy, self._pid = sampler, energy, pid
        self._gpus = GpuWatch(sampler.meters, RunSpec(configuration=configuration))
        self._gpus.expect()
        self._nobody = ""
        self._samples: list[Sample] = []
        sampler.set_phase(Phase.LOAD)
        sampler.retarget(Target(pid, energy))
        sampler.drain()

    def ready(self, word: Ready) -> None:
        """It is loaded: from now on read whom it names, from a full reading on."""
        if word.elsewhere:
            self._sampler.retarget(Target(word.pid, self._energy, client_pid=self._pid))
            self._sampler.drain()  # what was read of the answering process is not the server's
            self._samples = []
        if word.pid is None:
            self._nobody = word.reason or "Nobody knows the server's process."
        self._sampler.set_phase(Phase.GENERATION)
        self._sampler.read_now()

    def now(self) -> Reading:
        """Memory as it was read last, and mean power over the last two seconds, idle power included."""
        self._take()
        if not self._samples:
            return Reading(note=self._nobody)
        end = self._samples[-1].time_ns
        return self._reading(max(end - _WINDOW_NS, self._samples[0].time_ns), end, mean=False)

    def over(self, start_ns: int, end_ns: int) -> Reading:
        """Memory now, by a full reading; mean power between two times, ``perf_counter_ns``; what disturbed it."""
        self._sampler.read_now()
        self._take()
        answer = PhaseWindow(phase=Phase.GENERATION, start_ns=start_ns, end_ns=end_ns)
        found = () if self._nobody else disturbances(self._samples, [answer], os.cpu_count(), _DISTURBED)
        return self._reading(start_ns, end_ns, mean=True).model_copy(update={"disturbances": found})

    def _take(self) -> None:
        new = self._sampler.drain()
        self._gpus.take(new)
        self._samples += new

    def _reading(self, start_ns: int, end_ns: int, *, mean: bool) -> Reading:
        if self._nobody:
            return Reading(note=self._nobody, mean=mean)
        domains = self._sampler.domains(self._gpus.cards)
        energy = total_energy([energy_window(self._samples, start_ns, end_ns, one, None) for one in domains])
        known = energy.gross_j is not None and end_ns > start_ns
        kind = self._sampler.memory_kind
        held = (sample.values.get(f"{kind}_bytes") for sample in reversed(self._samples))
        on_gpus = [value for name, value in self._samples[-1].values.items() if name.startswith(f"{HELD}.")]
        return Reading(
            memory_bytes=next((value for value in held if value is not None), None),
            memory_kind=kind,
            gpu_memory_bytes=sum(on_gpus) if any(on_gpus) else None,
            power_w=(energy.gross_j or 0.0) / ((end_ns - start_ns) / 1e9) if known else None,
            method=energy.provenance.method if known else None,
            mean=mean,
        )

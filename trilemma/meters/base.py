"""What a meter must do. A meter is found by name (entry point group ``trilemma.meters``).

Channels (keys of :attr:`trilemma.records.Sample.values`); a meter that cannot know one leaves it out:

==========================  ==========================================================================================
``rss_bytes``               resident memory summed over the measured process tree
``largest_rss_bytes``       resident memory of its largest process, where there are several
``pss_bytes``               proportional memory of the tree (once a second while it changes: it is costly)
``uss_bytes``               unshared memory of the tree (with ``pss_bytes``)
``file_bytes``              the part of ``pss_bytes`` that maps files: weights that are memory-mapped
``cpu_s``                   CPU-seconds of the tree since the run began (never falls, exited children included)
``others_cpu_cores``        cores kept busy by everybody else since the last reading of it (the sampler's own excluded);
                            a tick of the kernel's clock off either way, below zero even: clip means, not readings
``dashboard_cpu_s``         CPU-seconds of Trilemma's own dashboards on this data folder, and of what they started,
                            since the run began; ``others_cpu_cores`` contains them
``steal_fraction``          share of CPU time that the hypervisor gave to others since the last sample
``frequency_hz``            mean clock of the CPUs, where readable
``load1``                   the system's one-minute load average
``available_bytes``         memory that a new process could have
``sampler_cpu_s``           CPU-seconds of the sampling process itself
``energy_j.<source>``       a counter of joules since the run began, one per energy domain, such as
                            ``energy_j.rapl.package-0`` or ``energy_j.nvml.0``
``energy_j.modelled``       the same, modelled: CPU-seconds of the tree x watts per busy core + integral of
                            ``pss_bytes`` (USS or RSS where there is none) x watts per 1e9 bytes
``power_w.<source>``        power read directly, where a source gives it
``gpu_memory_bytes.<i>``    memory that the measured tree holds on GPU ``i`` (``0``, or ``0-1`` for a MIG instance);
                            left out where whose a process is, or what it holds, cannot be told
``gpu_memory_total_used_     memory in use on it by all processes and the driver
bytes.<i>``
``gpu_utilization.<i>``     share of the driver's last period in which any kernel ran, 0 to 1
``gpu_clock_hz.<i>``        clock of its multiprocessors; ``gpu_memory_clock_hz.<i>`` of its memory
``gpu_temperature_c.<i>``   temperature of the chip, degrees Celsius
``gpu_power_limit_w.<i>``   the power limit in force
``gpu_throttle_bits.<i>``   why its clock is held where it is (bits: ``meters/gpu/throttle.py``)
``gpu_foreign_processes     how many processes of others compute on it (once a second; a desktop that only draws is
.<i>``                      not counted)
==========================  ==========================================================================================
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, NamedTuple, Protocol, runtime_checkable

from trilemma.engines.base import Availability
from trilemma.schema import EnergyCoefficients, Method

__all__ = ["Availability", "EnergyDomain", "EnergyMeter", "FullMeter", "Intruder", "Meter", "Target"]


@dataclass(frozen=True)
class Target:
    """What is measured: a process tree (None before it exists: machine idle), and the coefficients in force."""

    pid: int | None
    energy: EnergyCoefficients
    client_pid: int | None = None
    """The process that asks a server, where that is another one: what it uses is neither the server's nor others'."""


@dataclass(frozen=True)
class EnergyDomain:
    """One energy counter: which channel, what it covers and how it knows.

    ``device`` is the number of the GPU that it is of, empty for the rest of the machine. ``fault`` says why its joules
    are not the run's, whatever it reads; empty when they are.
    """

    channel: str
    source: str
    scope: str
    method: Method
    device: str = ""
    fault: str = ""


class Intruder(NamedTuple):
    """A process of somebody else on a device that a run needs for itself. ``name`` is fit to be shown."""

    device: str
    """The GPU's number."""
    label: str
    """The device as people read it."""
    pid: int
    name: str
    memory_bytes: int | None


class Meter(Protocol):
    """Reads some channels of a target."""

    name: ClassVar[str]

    @classmethod
    def availability(cls) -> Availability:
        """Whether the meter works on this machine; if not, why and what would make it."""

    def start(self, target: Target) -> None:
        """Begin (again) with ``target``; counters count from here on and never fall."""

    def read(self, elapsed_s: float) -> dict[str, float]:
        """The channels known now; ``elapsed_s`` since the last reading.

        Raises:
            MeterError: the reading failed; the sample then lacks these channels.
        """

    def close(self) -> None:
        """Release what was opened."""


@runtime_checkable
class EnergyMeter(Meter, Protocol):
    """A meter that counts joules."""

    def domains(self) -> list[EnergyDomain]:
        """Its counters, known after :meth:`start`."""


@runtime_checkable
class FullMeter(Meter, Protocol):
    """A meter of which some channels are too costly for every reading."""

    def read_full(self) -> dict[str, float]:
        """All its channels, now.

        Raises:
            MeterError: as for :meth:`read`.
        """

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
==========================  ==========================================================================================
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Protocol, runtime_checkable

from trilemma.engines.base import Availability
from trilemma.schema import EnergyCoefficients, Method

__all__ = ["Availability", "EnergyDomain", "EnergyMeter", "FullMeter", "Meter", "Target"]


@dataclass(frozen=True)
class Target:
    """What is measured: a process tree (None before it exists: machine idle), and the coefficients in force."""

    pid: int | None
    energy: EnergyCoefficients


@dataclass(frozen=True)
class EnergyDomain:
    """One energy counter: which channel, what it covers and how it knows."""

    channel: str
    source: str
    scope: str
    method: Method


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

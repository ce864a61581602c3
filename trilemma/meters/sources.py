"""Which meters there are, and which energy counters to believe first."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence

from trilemma import registry
from trilemma.engines.base import Availability
from trilemma.meters.base import EnergyDomain, EnergyMeter, Meter
from trilemma.schema import Method

GROUP = "trilemma.meters"
WHOLE_CPU = ("package", "SoC")
"""Scopes that contain what the CPU takes."""


def meter_availability() -> dict[str, Availability]:
    """Of each registered meter, whether it works here, why not, and what would make it."""
    found: dict[str, Availability] = {}
    for name in registry.names(GROUP):
        try:
            found[name] = registry.load(GROUP, name).availability()
        except Exception as error:  # another package's meter may fail in any way; the others must go on
            found[name] = Availability(False, f"it cannot be loaded: {error}", "Update or remove the package.")
    return found


def open_meters() -> list[Meter]:
    """One of each registered meter that works here."""
    usable = [name for name, availability in meter_availability().items() if availability.available]
    # The memory meter reads first: what it found serves the modelled meter in the same tick.
    return [registry.load(GROUP, name)() for name in sorted(usable, key=lambda name: (name == "modelled", name))]


def best_energy(meters: Iterable[Meter], gpus: Collection[str] = ()) -> tuple[EnergyDomain, ...]:
    """The energy counters of started ``meters`` for a run on ``gpus``, best first.

    Measured stands before modelled, with one exception: where the measured counters do not contain what did the work
    (only the GPU is metered, and the engine computes on the CPU), the modelled one stands first.

    Args:
        meters: Started ones; an energy meter's counters are not known before.
        gpus: The numbers of the GPUs that the engine computes on; none for an engine on the CPU. Counters of other GPUs
            are left out. One without a counter is there with a fault: a sum that lacks it would look like a saving.
    """
    known = [domain for meter in meters if isinstance(meter, EnergyMeter) for domain in meter.domains()]
    domains = [domain for domain in known if not domain.device or domain.device in gpus]
    if not any(domain.scope in ("SoC", "GPU") for domain in domains):
        missing = sorted(set(gpus) - {domain.device for domain in domains})
        domains += [_unread(gpu) for gpu in missing]
    return tuple(sorted(domains, key=lambda domain: _rank(domain, domains, bool(gpus))))


def _unread(gpu: str) -> EnergyDomain:
    fault = f"the energy of GPU {gpu}, which the engine computed on, could not be read"
    return EnergyDomain(f"energy_j.gpu.{gpu}", "none", f"GPU {gpu}", Method.MEASURED, device=gpu, fault=fault)


def headline_domains(domains: Sequence[EnergyDomain]) -> tuple[EnergyDomain, ...]:
    """Those of ``domains`` whose joules add up to the run's: every measured one, or the modelled one alone.

    Args:
        domains: As :func:`best_energy` orders them.
    """
    if not domains:
        return ()
    first = domains[0]
    if first.method is not Method.MEASURED:
        return (first,)
    return tuple(domain for domain in domains if domain.method is Method.MEASURED)


def _rank(domain: EnergyDomain, domains: Sequence[EnergyDomain], accelerated: bool) -> tuple[int, int, str]:
    measured = [other for other in domains if other.method is Method.MEASURED]
    covered = accelerated or any(other.scope in WHOLE_CPU for other in measured)
    scopes = ("GPU", *WHOLE_CPU) if accelerated else (*WHOLE_CPU, "GPU")
    scope = "GPU" if domain.device else domain.scope
    order = scopes.index(scope) if scope in scopes else len(scopes)
    first = Method.MEASURED if covered else Method.MODELLED
    return (0 if domain.method is first else 1, order, domain.channel)

"""Measured energy of the CPU and of systems on a chip through zeus: RAPL, Apple silicon and Jetson.

GPUs have a meter of their own: :mod:`trilemma.meters.gpu`.

zeus is heavy (pandas, scikit-learn, amdsmi): it is an extra, and is imported in :meth:`ZeusMeter.start`, which only the
sampling process calls. For RAPL it starts a small process that watches for counters that wrap around; that process
imports the main module again, which therefore does nothing on import.
"""

from __future__ import annotations

import dataclasses
import importlib
import os
import platform
import sys
from collections.abc import Callable, Iterable
from importlib.util import find_spec
from pathlib import Path
from typing import ClassVar, NamedTuple

from trilemma.engines.base import Availability
from trilemma.errors import MeterError
from trilemma.meters.base import EnergyDomain, Target
from trilemma.meters.counter import Counter
from trilemma.schema import Method

INSTALL = "pip install 'trilemma[gpu]'"
RAPL_REMEDY = (
    "Run zeusd as root and set ZEUSD_SOCK_PATH for Trilemma, or let your user read "
    "/sys/class/powercap/intel-rapl/*/energy_uj."
)
_SOC_SCOPES = {
    "total_energy_mj": "SoC",
    "cpu_total_mj": "package",
    "cpu_energy_mj": "package",
    "gpu_mj": "GPU",
    "gpu_sram_mj": "GPU SRAM",
    "gpu_energy_mj": "GPU",
    "dram_mj": "DRAM",
    "ane_mj": "neural engine",
}


class Hardware(NamedTuple):
    """Energy counters that the machine seems to have, seen without opening them."""

    nvidia: bool
    amd: bool
    rapl: bool
    rapl_readable: bool
    apple: bool
    jetson: bool

    @property
    def any(self) -> bool:
        """Whether there is anything beside GPUs to measure energy with."""
        return self.rapl or self.apple or self.jetson


class _Source(NamedTuple):
    """A counter and where its millijoules are read."""

    counter: Counter
    energy_mj: Callable[[], float]

    def read(self) -> dict[str, float]:
        """The joules. A device's error is the caller's to report."""
        return self.counter.count(float(self.energy_mj()), None)


class ZeusMeter:
    """Counts ``energy_j.rapl.package-0`` and the like."""

    name: ClassVar[str] = "zeus"

    def __init__(self) -> None:
        self._counters: list[_Source] = []

    @classmethod
    def availability(cls) -> Availability:
        """Whether there is a counter and zeus to read it with; zeus itself is not imported."""
        return explain(look_for_hardware(), find_spec("zeus") is not None)

    def domains(self) -> list[EnergyDomain]:
        """The counters that were found; none before :meth:`start`."""
        return [source.counter.domain for source in self._counters]

    def start(self, target: Target) -> None:
        """Find the devices, once: they count the whole machine, whatever the target.

        Raises:
            MeterError: zeus is missing, or nothing that it knows can be read here.
        """
        if self._counters:
            return
        if find_spec("zeus") is None:
            raise MeterError("zeus is not installed.", INSTALL)
        reasons: list[str] = []
        for find in (_cpu_counters, _soc_counters):
            try:
                self._counters += find()
            except Exception as error:  # zeus and the drivers under it raise each their own kinds
                reasons.append(str(error).splitlines()[0] if str(error) else type(error).__name__)
        if not self._counters:
            raise MeterError(
                f"No energy counter can be read: {'; '.join(reasons)}", explain(look_for_hardware()).remedy
            )

    def read(self, elapsed_s: float) -> dict[str, float]:
        """All counters.

        Raises:
            MeterError: a device that could be read at the start no longer can.
        """
        values: dict[str, float] = {}
        del elapsed_s  # these are counters
        for source in self._counters:
            try:
                values |= source.read()
            except Exception as error:  # as above
                raise MeterError(f"{source.counter.domain.channel} cannot be read: {error}") from error
        return values

    def close(self) -> None:
        """Keep the devices: zeus holds them for the life of the process anyway."""


def look_for_hardware(root: Path = Path("/")) -> Hardware:
    """Look for device files and the like under ``root``; nothing is opened but RAPL's counters, for permission."""
    # The last is where zeus looks in a container, which has no powercap folder of its own.
    folders = ("sys/class/powercap", "sys/class/powercap/intel-rapl", "zeus_sys/class/powercap/intel-rapl")
    zones = [zone for folder in folders for zone in (root / folder).glob("intel-rapl:*/energy_uj")]
    return Hardware(
        # The latter where Windows has the driver (WSL).
        nvidia=(root / "dev/nvidiactl").exists() or (root / "usr/lib/wsl/lib/libnvidia-ml.so.1").exists(),
        amd=(root / "dev/kfd").exists(),
        rapl=bool(zones),
        rapl_readable=any(_readable(zone) for zone in zones) or bool(os.environ.get("ZEUSD_SOCK_PATH")),
        apple=sys.platform == "darwin" and platform.machine() == "arm64",
        jetson=(root / "etc/nv_tegra_release").exists(),
    )


def explain(hardware: Hardware, installed: bool = True) -> Availability:
    """What can be measured beside GPUs, or why nothing can and what would change that."""
    found = [
        name
        for name, there in (
            ("RAPL", hardware.rapl),
            ("Apple silicon", hardware.apple),
            ("Jetson", hardware.jetson),
        )
        if there
    ]
    if not hardware.any:
        return Availability(
            False,
            "no energy counter of the CPU here (a virtual machine has none as a rule); its energy is modelled",
            "Run on a physical machine with RAPL or Apple silicon to measure the CPU's energy.",
        )
    if hardware.rapl and not hardware.rapl_readable and len(found) == 1:
        remedy = RAPL_REMEDY if installed else f"{INSTALL}. {RAPL_REMEDY}"
        return Availability(False, "RAPL is there, but its counters may be read by root only", remedy)
    names = ", ".join(found)
    if not installed:
        extra = f"{INSTALL} 'zeus[apple]'" if hardware.apple else INSTALL
        return Availability(False, f"{names}: there, but zeus, which reads it, is not installed", extra)
    if hardware.rapl and not hardware.rapl_readable:
        return Availability(True, f"{names}; RAPL's counters may be read by root only", RAPL_REMEDY)
    return Availability(True, names)


def _cpu_counters() -> list[_Source]:
    cpus = importlib.import_module("zeus.device").get_cpus()
    counters: list[_Source] = []
    for index, cpu in enumerate(cpus.cpus):
        first = cpu.get_total_energy_consumption()
        read = cpu.get_total_energy_consumption
        package = EnergyDomain(f"energy_j.rapl.package-{index}", "rapl", "package", Method.MEASURED)
        counters.append(_Source(Counter(package, wraps=True), lambda read=read: read().cpu_mj))  # type: ignore[misc]
        if first.dram_mj is not None:
            dram = EnergyDomain(f"energy_j.rapl.dram-{index}", "rapl", "DRAM", Method.MEASURED)
            counters.append(_Source(Counter(dram, wraps=True), lambda read=read: read().dram_mj))  # type: ignore[misc]
    return counters


def _soc_counters() -> list[_Source]:
    soc = importlib.import_module("zeus.device").get_soc()
    source = "jetson" if "jetson" in type(soc).__name__.lower() else "apple"
    first = soc.get_total_energy_consumption()
    there = {field.name for field in dataclasses.fields(first) if isinstance(getattr(first, field.name), (int, float))}
    return [
        _Source(
            Counter(
                EnergyDomain(
                    f"energy_j.{source}.{name.removesuffix('_mj')}", source, _SOC_SCOPES[name], Method.MEASURED
                )
            ),
            lambda name=name: float(getattr(soc.get_total_energy_consumption(), name)),  # type: ignore[misc]
        )
        for name in _soc_fields(there)
    ]


def _soc_fields(there: Iterable[str]) -> list[str]:
    """The parts to count: the total alone where there is one, for it contains the others."""
    known = sorted(set(there) & set(_SOC_SCOPES))
    return ["total_energy_mj"] if "total_energy_mj" in known else known


def _readable(path: Path) -> bool:
    try:
        return bool(path.read_text().strip())
    except OSError:
        return False

"""The GPU meter: what a driver knows of each visible GPU, as channels."""

from __future__ import annotations

from importlib.util import find_spec
from typing import ClassVar

from trilemma.engines.base import Availability
from trilemma.errors import MeterError
from trilemma.meters.base import EnergyDomain, Intruder, Target
from trilemma.meters.counter import Counter
from trilemma.meters.gpu.driver import GpuDevice, GpuDriver, NoGpus
from trilemma.meters.gpu.nvml import NvmlDriver
from trilemma.meters.gpu.ownership import Ownership
from trilemma.meters.gpu.rocm import RocmDriver
from trilemma.meters.pace import Pace
from trilemma.meters.zeus_energy import INSTALL, look_for_hardware
from trilemma.schema import Method

_PLAIN = (
    ("gpu_memory_total_used_bytes", "memory_used_bytes"),
    ("gpu_utilization", "utilization"),
    ("gpu_clock_hz", "clock_hz"),
    ("gpu_memory_clock_hz", "memory_clock_hz"),
    ("gpu_temperature_c", "temperature_c"),
    ("gpu_power_limit_w", "power_limit_w"),
    ("gpu_throttle_bits", "throttle_bits"),
)
"""Channel and field of a driver's reading."""


class GpuMeter:
    """Reads ``energy_j.nvml.0``, ``gpu_memory_bytes.0`` and the other ``gpu_`` channels of every visible GPU.

    Who is on a GPU is asked once a second and at the edges of phases, everything else each time.

    Args:
        driver: Where readings come from; None for this machine's own.
    """

    name: ClassVar[str] = "gpu"

    def __init__(self, driver: GpuDriver | None = None) -> None:
        self._driver = driver
        self._devices: list[GpuDevice] = []
        self._counters: dict[str, Counter] = {}
        self._ownership: Ownership | None = None
        self._pace = Pace(1.0, duty=0.005)
        self._intruders: dict[str, tuple[Intruder, ...]] = {}
        self.version = ""

    @classmethod
    def availability(cls) -> Availability:
        """Whether there is a GPU and zeus to read it with; neither is opened."""
        hardware = look_for_hardware()
        found = [name for name, there in (("NVIDIA GPU", hardware.nvidia), ("AMD GPU", hardware.amd)) if there]
        if not found:
            return Availability(
                False,
                "no NVIDIA or AMD GPU on this machine",
                "Only engines that run on a GPU need one, and its driver.",
            )
        if find_spec("zeus") is None:
            return Availability(
                False, f"{', '.join(found)}: there, but zeus, which reads it, is not installed", INSTALL
            )
        return Availability(True, ", ".join(found))

    def devices(self) -> list[GpuDevice]:
        """The GPUs that are read; none before :meth:`start`."""
        return list(self._devices)

    def domains(self) -> list[EnergyDomain]:
        """A counter for each card; none before :meth:`start`."""
        return [counter.domain for counter in self._counters.values()]

    def intruders(self) -> tuple[Intruder, ...]:
        """Others that computed on a visible GPU when last looked."""
        return tuple(one for of_device in self._intruders.values() for one in of_device)

    def start(self, target: Target) -> None:
        """Find the GPUs, once, and go on with ``target``: its processes are no intruders.

        Raises:
            MeterError: the driver cannot be used, or which GPUs are visible cannot be told.
        """
        if self._driver is None:
            self._driver = open_driver()
        if self._ownership is None:
            self._devices = self._driver.devices()
            self.version = self._driver.version
            self._ownership = Ownership(self._driver.shares_pids)
            for device in self._devices:
                self._counters.setdefault(device.card, Counter(_domain(device), counts=device.counts_energy))
        self._ownership.start(target.pid)

    def read(self, elapsed_s: float) -> dict[str, float]:
        """All channels; who is on a GPU only when it is due.

        Raises:
            MeterError: no GPU answers. One of several that does not is left out.
        """
        del elapsed_s  # a GPU that was left out for a while has a time of its own
        return self._read(everyone=self._pace.due())

    def read_full(self) -> dict[str, float]:
        """All channels, now."""
        return self._read(everyone=True)

    def close(self) -> None:
        """Keep the driver: zeus holds it for the life of the process anyway."""

    def _read(self, *, everyone: bool) -> dict[str, float]:
        assert self._driver is not None
        values: dict[str, float] = {}
        failed: list[MeterError] = []
        counted: set[str] = set()
        for device in self._devices:
            try:
                reading = self._driver.read(device)
            except MeterError as error:
                failed.append(error)
                continue
            for channel, field in _PLAIN:
                if (value := getattr(reading, field)) is not None:
                    values[f"{channel}.{device.id}"] = float(value)
            if device.card not in counted:
                counted.add(device.card)
                values |= self._counters[device.card].count(reading.energy_mj, reading.power_mw)
            if everyone:
                values |= self._who(device)
        if failed and len(failed) == len(self._devices):
            raise failed[0]
        return values

    def _who(self, device: GpuDevice) -> dict[str, float]:
        assert self._driver is not None
        assert self._ownership is not None
        with self._pace.spend():
            try:
                shares = self._ownership.split(device, self._driver.processes(device))
            except MeterError:
                return {}
        self._intruders[device.id] = shares.intruders
        values = {f"gpu_foreign_processes.{device.id}": float(len(shares.intruders))}
        if shares.own_bytes is not None:
            values[f"gpu_memory_bytes.{device.id}"] = float(shares.own_bytes)
        return values


def open_driver() -> GpuDriver:
    """The driver of the GPUs that this machine has.

    Raises:
        MeterError: there is one, and it cannot be used.
    """
    hardware = look_for_hardware()
    if hardware.nvidia:
        return NvmlDriver()
    return RocmDriver() if hardware.amd else NoGpus()


def _domain(device: GpuDevice) -> EnergyDomain:
    card = f"GPU {device.card}"
    source = device.source if device.counts_energy else f"{device.source}, power integrated"
    fault = ""
    if device.hidden_instances:
        fault = (
            f"{card} is shared with {device.hidden_instances} other MIG instances: whose energy it is cannot be told"
        )
        card = f"{card} (shared by MIG instances)"
    return EnergyDomain(
        f"energy_j.{device.source}.{device.card}", source, card, Method.MEASURED, device=device.card, fault=fault
    )

"""What the GPU meter asks of a driver. What a driver cannot tell is None: never a zero, never a guess."""

from __future__ import annotations

from typing import NamedTuple, Protocol


class GpuDevice(NamedTuple):
    """A GPU that the run may see, or an instance (MIG) of one."""

    id: str
    """Its number among the system's GPUs, such as ``0``; with an instance's number behind it, such as ``0-1``."""
    card: str
    """The number of the GPU that energy, clocks and temperature are those of; ``id`` where it is not an instance."""
    name: str
    uuid: str
    source: str
    """Where its figures come from: ``nvml`` or ``rocm``."""
    memory_bytes: int | None
    counts_energy: bool = True
    """Whether there is a counter of joules; else they are integrated from power."""
    hidden_instances: int = 0
    """Instances of the same card that this run does not see: whose joules the card's counter holds cannot be told."""

    @property
    def label(self) -> str:
        """As people read it."""
        return label(self.id)


def label(device_id: str) -> str:
    """``GPU 0`` for ``0``, ``GPU 0 instance 1`` for ``0-1``."""
    card, _, instance = device_id.partition("-")
    return f"GPU {card}" + (f" instance {instance}" if instance else "")


class GpuReading(NamedTuple):
    """One device at one time."""

    energy_mj: float | None = None
    """A counter of millijoules since some time before; NVML's moves about every 100 ms."""
    power_mw: float | None = None
    memory_used_bytes: int | None = None
    """Held by all processes together, and by the driver."""
    utilization: float | None = None
    """Share of the last driver period (NVML: 1/6 s to 1 s) in which a kernel ran, 0 to 1."""
    clock_hz: float | None = None
    """Of the multiprocessors."""
    memory_clock_hz: float | None = None
    temperature_c: float | None = None
    power_limit_w: float | None = None
    """The limit in force."""
    throttle_bits: int | None = None
    """Why the clock is where it is: :mod:`trilemma.meters.gpu.throttle`."""


class GpuProcess(NamedTuple):
    """A process on a device. ``name`` is whatever the process calls itself."""

    pid: int
    name: str
    memory_bytes: int | None = None
    """None where the driver does not say: WSL, some MIG drivers, other users' processes."""
    graphics: bool = False
    """Draws, and computes nothing: a desktop."""


class GpuDriver(Protocol):
    """Reads the GPUs of this machine."""

    version: str
    """The driver's, as its maker writes it."""
    shares_pids: bool
    """Whether the driver's process numbers are those of this process's namespace: in a container they are not."""

    def devices(self) -> list[GpuDevice]:
        """The visible ones, in the order in which an engine takes them.

        Raises:
            MeterError: which ones are visible cannot be told, or the driver does not answer.
        """

    def read(self, device: GpuDevice) -> GpuReading:
        """The device, now.

        Raises:
            MeterError: it does not answer any more.
        """

    def processes(self, device: GpuDevice) -> list[GpuProcess]:
        """Everybody's processes on the device.

        Raises:
            MeterError: the driver does not say.
        """


class NoGpus:
    """The driver of a machine without GPUs."""

    version = ""
    shares_pids = True

    def devices(self) -> list[GpuDevice]:
        """None."""
        return []

    def read(self, device: GpuDevice) -> GpuReading:
        """Nothing."""
        return GpuReading()

    def processes(self, device: GpuDevice) -> list[GpuProcess]:
        """None."""
        return []

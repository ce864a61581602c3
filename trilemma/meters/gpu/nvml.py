"""NVIDIA's GPUs: energy, power and temperature through zeus, the rest through NVML's own Python binding.

Not yet run on a real GPU: ``docs/hardware.md`` says what has been.
"""

from __future__ import annotations

import importlib
import os
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, TypeVar

from trilemma.errors import MeterError
from trilemma.meters.gpu.driver import GpuDevice, GpuProcess, GpuReading
from trilemma.meters.gpu.visible import Card, visible

T = TypeVar("T")
_FIRST_PID_NAMESPACE = 0xEFFFFFFC
"""The inode of the namespace that the system began with (Linux, ``PROC_PID_INIT_INO``)."""


class NvmlDriver:
    """Reads through ``libnvidia-ml``.

    Args:
        environment: Where ``CUDA_VISIBLE_DEVICES`` is looked up.

    Raises:
        MeterError: NVML cannot be used.
    """

    def __init__(self, environment: Mapping[str, str] = os.environ) -> None:
        try:
            self._nvml = importlib.import_module("pynvml")
            self._zeus = importlib.import_module("zeus.device.gpu.nvidia")
            self._nvml.nvmlInit()
            self.version = _text(self._nvml.nvmlSystemGetDriverVersion())
        except Exception as error:  # either package raises kinds of its own
            raise MeterError(f"NVML cannot be used: {error}", "Check that `nvidia-smi` works.") from error
        self.shares_pids = in_first_pid_namespace()
        self._environment = environment
        self._gpus: dict[str, Any] = {}
        """zeus's view of each card, by number."""
        self._handles: dict[str, Any] = {}
        """NVML's handle of each visible device, by id."""

    def devices(self) -> list[GpuDevice]:
        """The visible GPUs, MIG instances one by one.

        Raises:
            MeterError: which ones are visible cannot be told, or NVML does not answer.
        """
        try:
            handles = [self._nvml.nvmlDeviceGetHandleByIndex(i) for i in range(self._nvml.nvmlDeviceGetCount())]
            instances = [self._instances(handle) for handle in handles]
            cards = [
                Card(
                    _text(self._nvml.nvmlDeviceGetName(handle)),
                    _text(self._nvml.nvmlDeviceGetUUID(handle)),
                    tuple(_text(self._nvml.nvmlDeviceGetUUID(instance)) for instance in of_card),
                )
                for handle, of_card in zip(handles, instances, strict=True)
            ]
            chosen = visible(cards, self._environment)
            found = []
            for card, instance in chosen:
                gpu = self._gpus.setdefault(str(card), self._zeus.NVIDIAGPU(card))
                name = str(card) if instance is None else f"{card}-{instance}"
                handle = self._handles[name] = handles[card] if instance is None else instances[card][instance]
                seen = sum(1 for other, _ in chosen if other == card)
                memory = self._maybe(self._nvml.nvmlDeviceGetMemoryInfo, handle)
                found.append(
                    GpuDevice(
                        id=name,
                        card=str(card),
                        name=_text(self._nvml.nvmlDeviceGetName(handle)),
                        uuid=cards[card].uuid if instance is None else cards[card].instances[instance],
                        source="nvml",
                        memory_bytes=None if memory is None else int(memory.total),
                        counts_energy=bool(gpu.supports_get_total_energy_consumption()),
                        hidden_instances=0 if instance is None else len(instances[card]) - seen,
                    )
                )
        except MeterError:
            raise
        except Exception as error:  # as above
            raise MeterError(f"The GPUs cannot be listed: {error}", "Check that `nvidia-smi` works.") from error
        return found

    def read(self, device: GpuDevice) -> GpuReading:
        """Energy, power and clocks are the card's, memory is the instance's.

        Raises:
            MeterError: the GPU is lost.
        """
        nvml, gpu, handle = self._nvml, self._gpus[device.card], self._handles[device.id]
        card = gpu.handle
        power = self._maybe(gpu.get_instant_power_usage)
        memory = self._maybe(nvml.nvmlDeviceGetMemoryInfo, handle)
        busy = self._maybe(nvml.nvmlDeviceGetUtilizationRates, handle)
        clock = self._maybe(nvml.nvmlDeviceGetClockInfo, card, nvml.NVML_CLOCK_SM)
        memory_clock = self._maybe(nvml.nvmlDeviceGetClockInfo, card, nvml.NVML_CLOCK_MEM)
        limit = self._maybe(nvml.nvmlDeviceGetEnforcedPowerLimit, card)
        return GpuReading(
            energy_mj=self._maybe(gpu.get_total_energy_consumption) if device.counts_energy else None,
            power_mw=self._maybe(gpu.get_average_power_usage) if power is None else power,
            memory_used_bytes=None if memory is None else int(memory.used),
            utilization=None if busy is None else busy.gpu / 100,
            clock_hz=None if clock is None else clock * 1e6,
            memory_clock_hz=None if memory_clock is None else memory_clock * 1e6,
            temperature_c=self._maybe(self._temperature_c, gpu),
            power_limit_w=None if limit is None else limit / 1e3,
            throttle_bits=self._maybe(self._throttle_bits, card),
        )

    def processes(self, device: GpuDevice) -> list[GpuProcess]:
        """Computing processes, and those that only draw.

        Raises:
            MeterError: NVML does not say.
        """
        nvml, handle = self._nvml, self._handles[device.id]
        try:
            computing = nvml.nvmlDeviceGetComputeRunningProcesses(handle)
        except Exception as error:  # also when the binding is newer than the driver, which is no NVMLError
            raise MeterError(f"The processes on {device.label} cannot be listed: {error}") from error
        drawing = self._maybe(nvml.nvmlDeviceGetGraphicsRunningProcesses, handle) or []
        pids = {process.pid for process in computing}
        return [
            *(self._process(process, graphics=False) for process in computing),
            *(self._process(process, graphics=True) for process in drawing if process.pid not in pids),
        ]

    def _process(self, process: Any, *, graphics: bool) -> GpuProcess:
        name = self._maybe(self._nvml.nvmlSystemGetProcessName, process.pid)
        used = process.usedGpuMemory
        return GpuProcess(int(process.pid), _text(name or ""), None if used is None else int(used), graphics)

    def _instances(self, handle: Any) -> list[Any]:
        """Handles of the card's MIG instances; the places without one are skipped."""
        nvml = self._nvml
        mode = self._maybe(nvml.nvmlDeviceGetMigMode, handle)
        if mode is None or mode[0] != nvml.NVML_DEVICE_MIG_ENABLE:
            return []
        count = self._maybe(nvml.nvmlDeviceGetMaxMigDeviceCount, handle) or 0
        found = (self._maybe(nvml.nvmlDeviceGetMigDeviceHandleByIndex, handle, i) for i in range(count))
        return [instance for instance in found if instance is not None]

    def _temperature_c(self, gpu: Any) -> float:
        try:
            return float(gpu.get_gpu_temperature())
        except Exception:  # drivers before 570 lack what zeus asks for
            return float(self._nvml.nvmlDeviceGetTemperature(gpu.handle, self._nvml.NVML_TEMPERATURE_GPU))

    def _throttle_bits(self, card: Any) -> int:
        try:
            return int(self._nvml.nvmlDeviceGetCurrentClocksEventReasons(card))
        except self._nvml.NVMLError_FunctionNotFound:  # drivers before 535 know it by its old name
            return int(self._nvml.nvmlDeviceGetCurrentClocksThrottleReasons(card))

    def _maybe(self, call: Callable[..., T], *arguments: Any) -> T | None:
        """What ``call`` gives; None where this card, driver or user is refused it.

        Raises:
            MeterError: the GPU is gone, so that nothing else will answer either.
        """
        try:
            return call(*arguments)
        except Exception as error:  # zeus raises kinds of its own
            if "lost" in type(error).__name__.lower():
                raise MeterError("The GPU has fallen off the bus.", "Restart the machine.") from error
            return None


def in_first_pid_namespace(path: Path = Path("/proc/self/ns/pid")) -> bool:
    """Whether process numbers here are the kernel's own, as NVML gives them; not so in a container."""
    if sys.platform != "linux":
        return True
    try:
        return path.stat().st_ino == _FIRST_PID_NAMESPACE
    except OSError:
        return False


def _text(value: str | bytes) -> str:
    return value.decode(errors="replace") if isinstance(value, bytes) else value

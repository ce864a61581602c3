"""AMD's GPUs: energy and power through zeus, the rest through AMD SMI, which zeus brings along.

zeus numbers them as HIP does and obeys ``HIP_VISIBLE_DEVICES``, by number only. It leaves out energy counters that
contradict the power. Not yet run on a real GPU: ``docs/hardware.md`` says what has been.
"""

from __future__ import annotations

import contextlib
import importlib
from collections.abc import Callable, Mapping
from typing import Any, TypeVar

from trilemma.errors import MeterError
from trilemma.meters.gpu import throttle
from trilemma.meters.gpu.driver import GpuDevice, GpuProcess, GpuReading
from trilemma.meters.gpu.nvml import in_first_pid_namespace

T = TypeVar("T")
_VIOLATIONS = {
    "active_ppt_pwr": throttle.POWER_CAP,
    "active_prochot_thrm": throttle.HARDWARE_HEAT,
    "active_socket_thrm": throttle.HEAT,
    "active_vr_thrm": throttle.HEAT,
    "active_hbm_thrm": throttle.HEAT,
}


class RocmDriver:
    """Reads through ``libamd_smi``.

    Raises:
        MeterError: AMD SMI cannot be used, or the visible devices are not given by number.
    """

    def __init__(self) -> None:
        try:
            with contextlib.redirect_stdout(None):  # amdsmi prints when its library is missing
                self._smi = importlib.import_module("amdsmi")
            self._gpus: list[Any] = list(importlib.import_module("zeus.device.gpu.amd").AMDGPUs().gpus)
        except Exception as error:  # either package raises kinds of its own
            raise MeterError(
                f"AMD SMI cannot be used: {error}",
                "Check that `amd-smi` works, that amdsmi is as new as ROCm, and that HIP_VISIBLE_DEVICES has numbers.",
            ) from error
        self.shares_pids = in_first_pid_namespace()
        info = self._maybe(self._smi.amdsmi_get_gpu_driver_info, self._gpus[0].handle) or {}
        self.version = str(info.get("driver_version", ""))

    def devices(self) -> list[GpuDevice]:
        """The visible GPUs."""
        found = []
        for gpu in self._gpus:
            handle = gpu.handle
            memory = self._ask("vram_total", self._smi.amdsmi_get_gpu_vram_usage, handle)
            found.append(
                GpuDevice(
                    id=str(gpu.gpu_index),
                    card=str(gpu.gpu_index),
                    name=str(self._maybe(gpu.get_name) or "AMD GPU"),
                    uuid=str(self._maybe(self._smi.amdsmi_get_gpu_device_uuid, handle) or ""),
                    source="rocm",
                    memory_bytes=_bytes(memory),
                    counts_energy=bool(gpu.supports_get_total_energy_consumption()),
                )
            )
        return found

    def read(self, device: GpuDevice) -> GpuReading:
        """The device, now; what AMD SMI does not know ("N/A") is left out."""
        smi, gpu = self._smi, self._gpu(device)
        power = self._maybe(gpu.get_instant_power_usage)
        busy = _number(self._ask("gfx_activity", smi.amdsmi_get_gpu_activity, gpu.handle))
        clock = _number(self._ask("clk", smi.amdsmi_get_clock_info, gpu.handle, smi.AmdSmiClkType.GFX))
        memory = _number(self._ask("clk", smi.amdsmi_get_clock_info, gpu.handle, smi.AmdSmiClkType.MEM))
        limit = self._maybe(gpu.get_power_management_limit)
        status = self._maybe(smi.amdsmi_get_violation_status, gpu.handle)
        return GpuReading(
            energy_mj=self._maybe(gpu.get_total_energy_consumption) if device.counts_energy else None,
            power_mw=self._maybe(gpu.get_average_power_usage) if power is None else power,
            memory_used_bytes=_bytes(self._ask("vram_used", smi.amdsmi_get_gpu_vram_usage, gpu.handle)),
            utilization=None if busy is None else busy / 100,
            clock_hz=None if clock is None else clock * 1e6,
            memory_clock_hz=None if memory is None else memory * 1e6,
            temperature_c=self._maybe(gpu.get_gpu_temperature),
            power_limit_w=None if limit is None else limit / 1e3,
            throttle_bits=None if status is None else bits_of(status),
        )

    def processes(self, device: GpuDevice) -> list[GpuProcess]:
        """Processes with a compute queue, or memory, on the device.

        Raises:
            MeterError: AMD SMI does not say.
        """
        try:
            listed = self._smi.amdsmi_get_gpu_process_list(self._gpu(device).handle)
        except Exception as error:  # the kinds are the package's own
            raise MeterError(f"The processes on {device.label} cannot be listed: {error}") from error
        return [
            GpuProcess(int(one["pid"]), str(one["name"]), int(one["memory_usage"]["vram_mem"]) or None)
            for one in listed
        ]

    def _gpu(self, device: GpuDevice) -> Any:
        return next(gpu for gpu in self._gpus if str(gpu.gpu_index) == device.id)

    def _ask(self, key: str, call: Callable[..., Mapping[str, Any]], *arguments: Any) -> Any:
        answer = self._maybe(call, *arguments)
        return None if answer is None else answer.get(key)

    @staticmethod
    def _maybe(call: Callable[..., T], *arguments: Any) -> T | None:
        try:
            return call(*arguments)
        except Exception:  # refused on this card or to this user; the kinds are the packages' own
            return None


def bits_of(status: Mapping[str, Any]) -> int | None:
    """The throttle bits of a violation status; None where the card tells none of them."""
    if not any(isinstance(status.get(name), int) for name in _VIOLATIONS):
        return None
    return sum({bit for name, bit in _VIOLATIONS.items() if status.get(name) is True or status.get(name) == 1})


def _number(value: Any) -> float | None:
    return float(value) if isinstance(value, (int, float)) and not isinstance(value, bool) else None


def _bytes(mebibytes: Any) -> int | None:
    """AMD SMI gives video memory in MiB."""
    number = _number(mebibytes)
    return None if number is None else int(number) << 20

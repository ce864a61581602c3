"""A driver that plays back a recording: the test double for GPUs, behind the same interface as the real drivers.

No setting, environment variable or entry point leads to it: only a test that hands it to a
:class:`~trilemma.meters.gpu.meter.GpuMeter` plays it. ``docs/hardware.md`` describes the recording.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from typing import Literal

import psutil
from pydantic import Field, ValidationError

from trilemma.errors import MeterError
from trilemma.meters.gpu.driver import GpuDevice, GpuProcess, GpuReading
from trilemma.schema import Frozen

IDLE_MW = 60_000.0
"""What a card without frames draws."""


class Frame(Frozen):
    """What a GPU reads for one period of the recording; names and units as :class:`GpuReading`."""

    power_mw: float = IDLE_MW
    memory_used_bytes: int | None = None
    utilization: float | None = None
    clock_hz: float | None = None
    memory_clock_hz: float | None = None
    temperature_c: float | None = None
    power_limit_w: float | None = None
    throttle_bits: int | None = None
    lost: bool = Field(default=False, description="The GPU does not answer.")


class Presence(Frozen):
    """A process on a GPU, and when."""

    pid: int | Literal["run"] = Field(description="run: the process that is measured.")
    name: str
    memory_bytes: int | None = None
    graphics: bool = False
    after_s: float = Field(default=0.0, description="Seconds since the recording began to play (run: since it runs).")


class RecordedGpu(Frozen):
    """A GPU: frames while nothing is measured, and frames while the run's process is there, each played in a loop."""

    device: GpuDevice
    energy_mj: float = Field(default=0.0, description="The counter when the recording begins.")
    idle: tuple[Frame, ...] = (Frame(),)
    busy: tuple[Frame, ...] = ()
    processes: tuple[Presence, ...] = ()


class GpuRecording(Frozen):
    """GPUs, frame by frame. The energy counter moves once a period, by the frame's power, as NVML's does."""

    version: str = "0"
    shares_pids: bool = True
    period_s: float = Field(default=0.1, gt=0)
    gpus: tuple[RecordedGpu, ...] = ()


def measured_process() -> int | None:
    """The measured process that this process has started; None while there is none."""
    for child in psutil.Process().children():
        try:
            if "trilemma.bench.measure" in child.cmdline() and child.status() != psutil.STATUS_ZOMBIE:
                return int(child.pid)
        except psutil.Error:
            continue
    return None


class ReplayDriver:
    """Plays a :class:`GpuRecording` in real time.

    Args:
        recording: What to play.
        run: Gives the pid of the measured process, None while there is none.
        clock: Seconds.
    """

    def __init__(
        self,
        recording: GpuRecording,
        run: Callable[[], int | None] = measured_process,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.version = recording.version
        self.shares_pids = recording.shares_pids
        self._recording = recording
        self._run = run
        self._clock = clock
        self._began = clock()
        self._busy_since: float | None = None
        self._energy = {gpu.device.id: gpu.energy_mj for gpu in recording.gpus}
        self._period = dict.fromkeys(self._energy, 0)

    @classmethod
    def from_file(cls, path: Path) -> ReplayDriver:
        """Read a recording in JSON.

        Raises:
            MeterError: it is not one.
        """
        try:
            return cls(GpuRecording.model_validate_json(path.read_text()))
        except (OSError, ValidationError) as error:
            raise MeterError(
                f"{path.name} is not a recording: {error}", "See trilemma.meters.gpu.replay.GpuRecording."
            ) from error

    def devices(self) -> list[GpuDevice]:
        """Those of the recording."""
        return [gpu.device for gpu in self._recording.gpus]

    def read(self, device: GpuDevice) -> GpuReading:
        """The frame of this moment, the counter moved by those since the last reading.

        Raises:
            MeterError: the frame says that the GPU is lost.
        """
        gpu = self._gpu(device)
        now = int((self._clock() - self._began) / self._recording.period_s)
        frames = self._frames(gpu)
        for period in range(self._period[device.id], now):
            self._energy[device.id] += frames[period % len(frames)].power_mw * self._recording.period_s
        self._period[device.id] = now
        frame = frames[now % len(frames)]
        if frame.lost:
            raise MeterError(f"{device.label} has fallen off the bus.")
        values = frame.model_dump(exclude={"lost"})
        return GpuReading(energy_mj=self._energy[device.id] if device.counts_energy else None, **values)

    def processes(self, device: GpuDevice) -> list[GpuProcess]:
        """Those that are there now."""
        now, run = self._clock(), self._pid()
        found = []
        for one in self._gpu(device).processes:
            since = self._busy_since if one.pid == "run" else self._began
            pid = run if one.pid == "run" else one.pid
            if pid is not None and since is not None and now - since >= one.after_s:
                found.append(GpuProcess(pid, one.name, one.memory_bytes, one.graphics))
        return found

    def _gpu(self, device: GpuDevice) -> RecordedGpu:
        return next(gpu for gpu in self._recording.gpus if gpu.device.id == device.id)

    def _frames(self, gpu: RecordedGpu) -> tuple[Frame, ...]:
        return gpu.busy if gpu.busy and self._pid() is not None else gpu.idle

    def _pid(self) -> int | None:
        run = self._run()
        if run is None:
            self._busy_since = None
        elif self._busy_since is None:
            self._busy_since = self._clock()
        return run

"""The memory of an emulated device: asked for before loading, watched while the model serves."""

from __future__ import annotations

import time
from collections.abc import Iterable, Mapping

from pydantic import ByteSize, JsonValue

from trilemma.bench.cgroup import MemoryGroup
from trilemma.engines.base import Engine
from trilemma.errors import DoesNotFitError, OutOfMemoryError, ProfileError
from trilemma.limits import cpus_apart, memory_budget, started_on
from trilemma.meters.sampler import Sampler
from trilemma.profiles import obstacle
from trilemma.records import Sample
from trilemma.schema import Artifact, Configuration, DeviceProfile, Measurement, Method, Provenance

_LOOK_EVERY_S = 0.25
ESTIMATED = "weights and KV cache alone, estimated before loading"
REACHED = "what it held when it was ended; it needs at least that"
PEAK = "the peak of serving, measured to its end"


def _cpus(device: DeviceProfile | None) -> set[int] | None:
    return cpus_apart(device.cores) if device and device.cores else None


def check_fits(engine: Engine, artifact: Artifact, configuration: Configuration) -> None:
    """:meth:`Engine.check`, with no more memory and CPUs than the emulated device has.

    Raises:
        DoesNotFitError: the device has too little.
        ProfileError: this machine has fewer cores than the device.
        EngineError: as the engine says; also when this machine is short of memory that the device would have.
    """
    device = configuration.profile
    if device and (why := obstacle(device)):  # as on a machine that another one planned for
        raise ProfileError(why, "Measure it on a machine with more cores.")
    budget = device.memory_bytes if device else None
    try:
        with memory_budget(budget), started_on(_cpus(device)):
            engine.check(artifact, configuration.settings)
    except OutOfMemoryError as error:
        if device is None or budget is None or error.needed_bytes is None or error.needed_bytes <= budget:
            raise
        raise does_not_fit(device, budget, error.needed_bytes, ESTIMATED) from error


def does_not_fit(device: DeviceProfile, budget: int, needed_bytes: int, basis: str) -> DoesNotFitError:
    """The verdict, with what was needed and what there is."""
    least = "" if basis == PEAK else "at least "
    return DoesNotFitError(
        f"It does not fit {device.name}: it needs {least}{_size(needed_bytes)} of memory, and the budget is "
        f"{_size(budget)} ({basis}).",
        needed_bytes,
        basis,
    )


def _size(size_bytes: int) -> str:
    return ByteSize(size_bytes).human_readable(separator=" ")


def held_alone(values: Mapping[str, float]) -> float:
    """What the tree of a sample would hold at least if it had the machine to itself, bytes.

    Proportional memory (PSS) is divided by all who share it: another process that maps the same weights, a server or a
    second benchmark, halves it. Resident memory of one process is not; of several, the largest one's is a lower bound,
    for they may share among themselves.
    """
    return values.get("largest_rss_bytes", values.get("rss_bytes", 0.0))


class MemoryWatch:
    """Ends a run whose process tree holds more than the device has, while the model is loaded and serves.

    A control group keeps the limit where one can be made; the sampled memory (resident of the largest process, and PSS
    of all where the system has it) is watched in any case, because pages of the weights' file that were cached before
    belong to no new group.

    Args:
        device: The emulated device.
        sampler: Reads the process tree already.
        run_id: Names the control group.
        pid: The measured process.
    """

    def __init__(self, device: DeviceProfile, sampler: Sampler, run_id: str, pid: int) -> None:
        self.device = device
        self._sampler = sampler
        self._looked = 0.0
        self._exceeded = False
        self._budget = device.memory_bytes
        self._group = None if self._budget is None else MemoryGroup.create(f"trilemma-{run_id}", self._budget, pid)

    def describe(self) -> dict[str, JsonValue]:
        """The device and how its memory is kept, for the run's record."""
        found: dict[str, JsonValue] = {"emulated": self.device.label}
        if self._budget is not None:
            found["memory_limit"] = ("control group and " if self._group else "") + "watchdog on the sampled memory"
        return found

    def check(self) -> None:
        """Look whether more is held than the device has; quick while it is clearly less.

        To be called after the measured process's events were read, and only while it serves. One look is not enough:
        serving may have ended since those events, and the memory be a suite's. The next look comes after newer ones.

        Raises:
            DoesNotFitError: it was more at the last look too.
        """
        if self._budget is None:
            return
        latest, now = self._sampler.latest, time.monotonic()
        held = held_alone(latest)
        # Resident memory is never less than proportional memory, which is costly to read.
        if held <= self._budget < latest.get("rss_bytes", 0.0):
            if now - self._looked < _LOOK_EVERY_S:
                return
            self._looked = now
            held = self._sampler.read_now().values.get(f"{self._sampler.memory_kind}_bytes", 0.0)
        if held > self._budget and self._exceeded:
            raise does_not_fit(self.device, self._budget, int(held), REACHED)
        self._exceeded = held > self._budget

    def check_end(self, exit_status: int | None) -> None:
        """Look whether the kernel ended the process because its group was full.

        Raises:
            DoesNotFitError: it did.
        """
        if exit_status and self._budget is not None and self._group is not None and self._group.kills():
            raise does_not_fit(self.device, self._budget, self._budget, REACHED)

    def check_peak(self, measurements: Iterable[Measurement], samples: Iterable[Sample]) -> None:
        """Look whether a peak between two looks was more than the device has; ``samples`` are those of serving.

        Raises:
            DoesNotFitError: it was.
        """
        peaks = [m.value for m in measurements if m.figure == "peak_memory_bytes" and m.value is not None]
        peaks += [held_alone(sample.values) for sample in samples]
        if self._budget is not None and max(peaks, default=0.0) > self._budget:
            raise does_not_fit(self.device, self._budget, int(max(peaks)), PEAK)

    def lift(self) -> None:
        """Serving is over: what the suites hold beside the model is no memory that the device would need."""
        if self._group:
            self._group.lift()

    def close(self) -> None:
        """Delete the control group."""
        if self._group:
            self._group.remove()


def verdict_measurements(device: DeviceProfile, error: DoesNotFitError) -> list[Measurement]:
    """What was needed, and what there would have been."""
    method = Method.MODELLED if error.basis == ESTIMATED else Method.MEASURED
    needed = Provenance(method=method, source=error.basis, scope="process tree", reasons=(error.basis,))
    budget = Provenance(method=Method.IMPORTED, source=f"device profile {device.name}", scope="process tree")
    return [
        Measurement(figure="needed_memory_bytes", value=float(error.needed_bytes), n=1, provenance=needed),
        Measurement(figure="memory_budget_bytes", value=float(device.memory_bytes or 0), provenance=budget),
    ]


def with_emulation(measurements: list[Measurement], device: DeviceProfile | None) -> list[Measurement]:
    """The measurements, each saying which device was emulated; those of the file itself stay as they are."""
    if device is None:
        return measurements
    note = f"emulated: {device.label}"
    return [
        m
        if m.provenance.scope == "file"
        else m.model_copy(
            update={"provenance": m.provenance.model_copy(update={"reasons": (*m.provenance.reasons, note)})}
        )
        for m in measurements
    ]

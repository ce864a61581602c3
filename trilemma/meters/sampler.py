"""The one sampler: reads all meters at fixed times, in the process that supervises the measured one."""

from __future__ import annotations

import dataclasses
import threading
import time
from collections.abc import Callable, Collection, Sequence
from types import TracebackType
from typing import Self, TypeVar

from trilemma.errors import MeterError
from trilemma.meters.base import EnergyDomain, FullMeter, Meter, Target
from trilemma.meters.memory import MemoryKind, memory_kind_here
from trilemma.meters.sources import best_energy, headline_domains, open_meters
from trilemma.records import Sample
from trilemma.schema import EnergyCoefficients, Phase

__all__ = ["Sampler", "open_meters"]

T = TypeVar("T")


class Sampler:
    """Reads ``meters`` ``hz`` times a second in a thread, until :meth:`stop`.

    It must not live in the measured process: there the interpreter's lock would bend both. Readings are due at fixed
    times after the start, so that they do not drift; one that comes too late is skipped, not made up for. All methods
    may be called from any thread.

    Args:
        meters: What to read; the sampler starts and closes them.
        hz: Readings per second.
        clock: Nanoseconds, for deadlines and for ``Sample.time_ns``.

    Attributes:
        problems: Of each meter that failed, what it said last; its channels are missing from those samples.
    """

    def __init__(
        self, meters: Sequence[Meter], hz: float = 10.0, clock: Callable[[], int] = time.perf_counter_ns
    ) -> None:
        self.meters = tuple(meters)
        self.problems: dict[str, str] = {}
        self._period_ns = round(1e9 / hz)
        self._clock = clock
        self._phase = Phase.IDLE
        self._samples: list[Sample] = []
        self._latest: dict[str, float] = {}
        self._target = Target(None, EnergyCoefficients())
        self._last_read_ns: list[int] = []
        self._started: set[int] = set()
        self._lock = threading.Lock()
        self._stopping = threading.Event()
        self._thread: threading.Thread | None = None

    def start(self, target: Target) -> None:
        """Start the meters with ``target`` and the thread; the first reading is taken before this returns."""
        if self._thread is not None:
            self.retarget(target)
            return
        with self._lock:
            self._last_read_ns = [self._clock()] * len(self.meters)
            self._start_meters(target)
            self._read(full=True)
        self._thread = threading.Thread(target=self._run, name="sampler", daemon=True)
        self._thread.start()

    def retarget(self, target: Target | int | None) -> None:
        """Go on with another process (or target): the counters go on where they were."""
        if not isinstance(target, Target):
            target = dataclasses.replace(self._target, pid=target)
        with self._lock:
            # A last reading of the old target, so that nothing that it used is lost.
            self._read(full=False)
            self._start_meters(target)

    def add(self, meter: Meter) -> None:
        """Read one more meter from now on."""
        with self._lock:
            self.meters = (*self.meters, meter)
            self._last_read_ns.append(self._clock())
            if self._guard(meter, lambda: meter.start(self._target) or {}) is not None:  # type: ignore[func-returns-value]
                self._started.add(len(self.meters) - 1)

    def set_phase(self, phase: Phase) -> None:
        """Tag readings from now on with ``phase``."""
        with self._lock:
            self._phase = phase

    def read_now(self) -> Sample:
        """A full reading beside the regular ones, which :meth:`drain` hands out too: for both ends of a window."""
        with self._lock:
            return self._read(full=True)

    @property
    def latest(self) -> dict[str, float]:
        """The channels of the last reading, whether or not it was drained."""
        return self._latest

    def drain(self) -> list[Sample]:
        """The samples since the last time, in the order of time."""
        with self._lock:
            samples, self._samples = self._samples, []
        return samples

    def domains(self, gpus: Collection[str] = ()) -> tuple[EnergyDomain, ...]:
        """The energy counters whose joules add up to those of a run on ``gpus``
        (:func:`trilemma.meters.sources.headline_domains`)."""
        return headline_domains(best_energy(self.meters, gpus))

    @property
    def memory_kind(self) -> MemoryKind:
        """What peak memory is taken from: the memory meter's word, or what this system would give."""
        kinds = [kind for meter in self.meters if (kind := getattr(meter, "memory_kind", None))]
        return kinds[0] if kinds else memory_kind_here()

    def stop(self) -> None:
        """End the thread and close the meters; what was read stays to be drained. Does nothing a second time."""
        self._stopping.set()
        if self._thread is not None:
            self._thread.join()
            self._thread = None
        with self._lock:
            for index in sorted(self._started):
                self._guard(self.meters[index], self.meters[index].close)
            self._started.clear()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    def _run(self) -> None:
        start = self._clock()
        count = 0
        while True:
            count = max(count, (self._clock() - start) // self._period_ns) + 1
            wait_ns = start + count * self._period_ns - self._clock()
            if self._stopping.wait(max(0, wait_ns) / 1e9):
                return
            with self._lock:
                self._read(full=False)

    def _start_meters(self, target: Target) -> None:
        self._target = target
        for index, meter in enumerate(self.meters):
            if self._guard(meter, lambda meter=meter: meter.start(target) or {}) is None:  # type: ignore[misc]
                self._started.discard(index)
            else:
                self._started.add(index)

    def _read(self, *, full: bool) -> Sample:
        now = self._clock()
        values: dict[str, float] = {}
        for index in sorted(self._started):
            meter = self.meters[index]
            if full and isinstance(meter, FullMeter):
                found = self._guard(meter, meter.read_full)
            else:
                elapsed_s = (now - self._last_read_ns[index]) / 1e9
                found = self._guard(meter, lambda meter=meter, elapsed_s=elapsed_s: meter.read(elapsed_s))  # type: ignore[misc]
            if found is not None:
                # A failed reading leaves the time where it was: rates of the next one span the gap.
                self._last_read_ns[index] = now
                values |= found
        sample = Sample(time_ns=now, phase=self._phase, values=values)
        self._samples.append(sample)
        self._latest = values
        return sample

    def _guard(self, meter: Meter, call: Callable[[], T]) -> T | None:
        try:
            return call()
        except MeterError as error:
            self.problems[meter.name] = str(error)
        except Exception as error:  # another package's meter may fail in any way: the run must not
            self.problems[meter.name] = f"{type(error).__name__}: {error}"
        return None

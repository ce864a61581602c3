"""How the measured process tells its supervisor what happens."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterator
from typing import TextIO

from trilemma.bench.events import Event, PhaseEvent, ProgressEvent
from trilemma.schema import Phase


class Channel:
    """Writes events for the supervisor, one JSON object a line."""

    def __init__(self, stream: TextIO, total_s: float) -> None:
        self._stream = stream
        self._total_s = max(total_s, 1e-9)
        self._done_s = 0.0

    def send(self, event: Event) -> None:
        """Write one event."""
        self._stream.write(event.model_dump_json() + "\n")
        self._stream.flush()

    @contextlib.contextmanager
    def phase(self, phase: Phase, subject: str = "") -> Iterator[None]:
        """Bracket a phase, also when it fails."""
        self.send(PhaseEvent(phase=phase, subject=subject, edge="start", time_ns=time.perf_counter_ns()))
        try:
            yield
        finally:
            self.send(PhaseEvent(phase=phase, subject=subject, edge="end", time_ns=time.perf_counter_ns()))

    def advance(self, expected_s: float, fraction: float, note: str) -> None:
        """Report that ``fraction`` of a step that should take ``expected_s`` is done."""
        self.send(ProgressEvent(fraction=min((self._done_s + expected_s * fraction) / self._total_s, 1.0), note=note))

    def finish_step(self, expected_s: float) -> None:
        """Add a finished step to what is done."""
        self._done_s += expected_s

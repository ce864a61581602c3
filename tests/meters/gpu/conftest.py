"""Two recorded GPUs, played at a clock that the test holds."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from trilemma.meters.gpu.meter import GpuMeter
from trilemma.meters.gpu.replay import GpuRecording, ReplayDriver

RECORDING = Path(__file__).parent / "two_gpus.json"


class Stage:
    """A meter over a recording, the clock of which stands until it is turned."""

    def __init__(self, recording: GpuRecording) -> None:
        self.now = 0.0
        self.run: int | None = None
        self.driver = ReplayDriver(recording, run=lambda: self.run, clock=lambda: self.now)
        self.meter = GpuMeter(self.driver)


@pytest.fixture
def recording() -> GpuRecording:
    return GpuRecording.model_validate_json(RECORDING.read_text())


@pytest.fixture
def stage() -> Callable[[GpuRecording], Stage]:
    return Stage

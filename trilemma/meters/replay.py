"""A meter that plays back readings from a file: the shipped test double for counters that need real hardware."""

from __future__ import annotations

import json
from pathlib import Path
from typing import ClassVar

from pydantic import Field, TypeAdapter

from trilemma.engines.base import Availability
from trilemma.errors import MeterError
from trilemma.meters.base import EnergyDomain, Target
from trilemma.schema import Frozen


class Recording(Frozen):
    """What a :class:`ReplayMeter` plays.

    ``readings`` are handed out one a call, the last one again and again; one that is a text is a failure with it.
    """

    domains: tuple[EnergyDomain, ...] = ()
    readings: tuple[dict[str, float] | str, ...] = Field(min_length=1)


_RECORDING = TypeAdapter(Recording)


class ReplayMeter:
    """Plays a :class:`Recording`, as a real meter would give it.

    Not registered: a study can never be measured with it.
    """

    name: ClassVar[str] = "replay"

    def __init__(self, recording: Recording) -> None:
        self._recording = recording
        self._next = 0

    @classmethod
    def from_file(cls, path: Path) -> ReplayMeter:
        """Read a recording in JSON.

        Raises:
            MeterError: it is not one.
        """
        try:
            return cls(_RECORDING.validate_python(json.loads(path.read_text())))
        except (OSError, ValueError) as error:
            raise MeterError(
                f"{path.name} is not a recording: {error}", "See trilemma.meters.replay.Recording."
            ) from error

    @classmethod
    def availability(cls) -> Availability:
        """Everywhere."""
        return Availability(True, "plays back readings")

    def domains(self) -> list[EnergyDomain]:
        """The recording's counters."""
        return list(self._recording.domains)

    def start(self, target: Target) -> None:
        """Go on where it was: counters do not fall when the target changes."""

    def read(self, elapsed_s: float) -> dict[str, float]:
        """The next reading.

        Raises:
            MeterError: the recording has a failure here.
        """
        readings = self._recording.readings
        reading = readings[min(self._next, len(readings) - 1)]
        self._next += 1
        if isinstance(reading, str):
            raise MeterError(reading)
        return dict(reading)

    def close(self) -> None:
        """Nothing is open."""

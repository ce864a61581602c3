"""A wall clock that jumps, for whole processes: imported by a ``sitecustomize`` before anything asks for the time.

The offset in seconds is read from the file that ``FAULTS_CLOCK`` names whenever somebody asks. What asks for wall time
(``time.time``, ``datetime.now``) gets it moved, and so does the time of boot that psutil reckons processes' ages from,
as on a machine whose clock is set. Monotonic clocks stay, as there.
"""

from __future__ import annotations

import datetime as datetime_module
import os
import time
from datetime import UTC, timedelta, tzinfo
from pathlib import Path
from typing import Any

VARIABLE = "FAULTS_CLOCK"

_datetime = datetime_module.datetime
_time, _time_ns = time.time, time.time_ns


def offset_s() -> float:
    """How far the clock is off now."""
    try:
        return float(Path(os.environ[VARIABLE]).read_text())
    except (KeyError, OSError, ValueError):  # nobody set it, or it is being written
        return 0.0


class _AsDatetime(type):
    def __instancecheck__(cls, value: object) -> bool:
        return isinstance(value, _datetime)

    def __subclasscheck__(cls, kind: type) -> bool:
        return issubclass(kind, _datetime)


class _Moved(_datetime, metaclass=_AsDatetime):
    @classmethod
    def now(cls, tz: tzinfo | None = None) -> Any:
        return _datetime.now(tz) + timedelta(seconds=offset_s())

    @classmethod
    def utcnow(cls) -> Any:
        return (_datetime.now(UTC) + timedelta(seconds=offset_s())).replace(tzinfo=None)


def install() -> None:
    """Move this process's wall clock from now on."""
    import psutil._pslinux as linux

    boot_time = linux.boot_time
    linux.boot_time = lambda: boot_time() + offset_s()
    time.time = lambda: _time() + offset_s()
    time.time_ns = lambda: _time_ns() + int(offset_s() * 1e9)
    datetime_module.datetime = _Moved  # type: ignore[misc]

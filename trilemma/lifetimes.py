"""When a process was created, by a clock that nobody sets."""

from __future__ import annotations

import functools
import os
import sys
from pathlib import Path

import psutil

_BOOT = 1e9
"""Seconds that lie between two boots, as counted here; no machine runs for so long."""


def created(pid: int) -> float:
    """A number that tells a process from any other that has, had or will have its pid on this machine.

    On Linux that is the seconds from boot to its creation, to a hundredth, plus a number of the boot. Unlike its time
    of day it stays the same when the clock is set.

    Raises:
        ProcessLookupError: there is no such process.
        PermissionError: somebody else's, and hidden.
    """
    if sys.platform != "linux":
        try:
            return float(psutil.Process(pid).create_time())
        except psutil.NoSuchProcess as error:
            raise ProcessLookupError(pid) from error
        except psutil.AccessDenied as error:
            raise PermissionError(pid) from error
    try:
        stat = Path(f"/proc/{pid}/stat").read_bytes()
    except FileNotFoundError as error:
        raise ProcessLookupError(pid) from error
    # The name of the program, in brackets, may hold anything; the time is field 22, and the one after the name is 3.
    ticks = int(stat.rpartition(b")")[2].split()[19])
    return _boot() * _BOOT + ticks / os.sysconf("SC_CLK_TCK")


@functools.cache
def _boot() -> int:
    """A number of this boot, out of 4096: two of the same leave seconds from boot to tell processes apart."""
    try:
        return int(Path("/proc/sys/kernel/random/boot_id").read_text()[:3], 16)
    except (OSError, ValueError):
        return 0

"""When a process was created, by a clock that nobody sets, and whether it still runs."""

from __future__ import annotations

import functools
import os
import sys
from pathlib import Path

import psutil

_SAME_S = 0.05
"""Creation times are counted in hundredths of seconds, and stored as floating point."""
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


def lives(pid: int, since: float) -> bool:
    """Whether the process that was :func:`created` at ``since`` still runs; a zombie does not."""
    try:
        return abs(created(pid) - since) <= _SAME_S and not is_zombie(psutil.Process(pid))
    except (psutil.NoSuchProcess, ProcessLookupError):
        return False
    except (psutil.AccessDenied, PermissionError):  # somebody else's process: it exists
        return True


def is_zombie(process: psutil.Process) -> bool:
    """Whether all that is left of a process is its exit code.

    The first thread of a process that is being killed may be gone before the others, and then the kernel calls the
    process a zombie, while they still hold its files and with them the lock of the device.

    Raises:
        psutil.Error: the process is gone, or not ours to look at.
    """
    return bool(process.status() == psutil.STATUS_ZOMBIE and process.num_threads() <= 1)


@functools.cache
def _boot() -> int:
    """A number of this boot, out of 4096: two of the same leave seconds from boot to tell processes apart."""
    try:
        return int(Path("/proc/sys/kernel/random/boot_id").read_text()[:3], 16)
    except (OSError, ValueError):
        return 0

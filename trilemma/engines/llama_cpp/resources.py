"""What of this machine the process may use: CPUs under affinity and quota, memory under a container's limit."""

from __future__ import annotations

import math
import os
from collections.abc import Iterator
from pathlib import Path

import psutil

_CGROUP = Path("/sys/fs/cgroup")
_UNLIMITED = 1 << 60
"""Version 1 says "no limit" with a number near 2^63."""


def usable_cpus(cgroup: Path = _CGROUP, membership: Path = Path("/proc/self/cgroup")) -> int:
    """CPUs that this process may keep busy: its affinity, cut to the whole CPUs of a container's quota."""
    try:
        cpus = len(os.sched_getaffinity(0))
    except AttributeError:  # macOS and Windows have no affinity to ask for
        cpus = os.cpu_count() or 1
    for folder in _folders("cpu", cgroup, membership):
        quota = _cpu_quota(folder)
        if quota is not None:
            cpus = min(cpus, max(1, math.floor(quota)))
    return max(1, cpus)


def available_memory(cgroup: Path = _CGROUP, membership: Path = Path("/proc/self/cgroup")) -> int:
    """Bytes that a new process could take: what the system has available, cut to what a container's limit leaves."""
    available = int(psutil.virtual_memory().available)
    for folder in _folders("memory", cgroup, membership):
        room = _memory_room(folder)
        if room is not None:
            available = min(available, max(0, room))
    return available


def _folders(controller: str, cgroup: Path, membership: Path) -> Iterator[Path]:
    """The control groups that this process is in, from its own up to the root, of either version."""
    try:
        lines = membership.read_text().splitlines()
    except OSError:
        return
    for line in lines:
        _, _, rest = line.partition(":")
        controllers, _, path = rest.partition(":")
        if controllers and controller not in controllers.split(","):
            continue
        root = cgroup / controller if controllers else cgroup
        # Inside a container the path may be the host's, while what is mounted is the container's own root.
        inside = Path(path.lstrip("/"))
        for relative in (inside, *inside.parents):
            if ".." not in relative.parts:
                yield root / relative


def _read(path: Path) -> str | None:
    try:
        return path.read_text().strip()
    except OSError:
        return None


def _cpu_quota(folder: Path) -> float | None:
    second = (_read(folder / "cpu.max") or "").split()
    try:
        if len(second) == 2 and second[0] != "max":
            return int(second[0]) / int(second[1])
        quota = int(_read(folder / "cpu.cfs_quota_us") or -1)
        period = int(_read(folder / "cpu.cfs_period_us") or 0)
    except (ValueError, ZeroDivisionError):
        return None
    return quota / period if quota > 0 and period > 0 else None


def _memory_room(folder: Path) -> int | None:
    for limit_name, usage_name, cache_key in (
        ("memory.max", "memory.current", "inactive_file"),
        ("memory.limit_in_bytes", "memory.usage_in_bytes", "total_inactive_file"),
    ):
        limit, usage = _read(folder / limit_name), _read(folder / usage_name)
        if limit is None or usage is None or not limit.isdigit() or not usage.isdigit() or int(limit) > _UNLIMITED:
            continue
        # Cached file pages that nobody uses are given back before a limit bites.
        statistics = dict(
            line.split(" ", 1) for line in (_read(folder / "memory.stat") or "").splitlines() if " " in line
        )
        return int(limit) - int(usage) + int(statistics.get(cache_key, "0"))
    return None

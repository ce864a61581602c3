"""What of this machine a process may use: CPUs under affinity and quota, memory under a container's limit."""

from __future__ import annotations

import contextlib
import contextvars
import math
import os
import sys
from collections.abc import Iterator
from pathlib import Path

import psutil

_ROOT = Path("/")
_budget: contextvars.ContextVar[int | None] = contextvars.ContextVar("memory_budget", default=None)


def usable_cpus() -> set[int]:
    """The logical CPUs that this process may run on."""
    if sys.platform == "linux":
        return set(os.sched_getaffinity(0))
    return set(range(os.cpu_count() or 1))


def cpu_count(root: Path = _ROOT) -> int:
    """CPUs that this process may keep busy: its affinity, cut to the whole CPUs of a container's quota."""
    quota = cpu_quota(root)
    cpus = len(usable_cpus())
    return cpus if quota is None else max(1, min(cpus, math.floor(quota)))


def cpus_apart(count: int, root: Path = _ROOT) -> set[int]:
    """``count`` of the CPUs that this process may use: of different cores first, then the second threads of cores.

    The highest numbers are taken, because the system's own work tends to be on the lowest.
    """
    rank: dict[int, tuple[int, int]] = {}
    seen: dict[str, int] = {}
    for cpu in sorted(usable_cpus(), reverse=True):
        core = read_text(root / f"sys/devices/system/cpu/cpu{cpu}/topology/thread_siblings_list") or str(cpu)
        rank[cpu] = (seen.get(core, 0), -cpu)
        seen[core] = seen.get(core, 0) + 1
    return set(sorted(rank, key=lambda cpu: rank[cpu])[:count])


@contextlib.contextmanager
def started_on(cpus: set[int] | None) -> Iterator[None]:
    """Processes that this thread starts meanwhile, and theirs, run on ``cpus`` alone; None changes nothing."""
    if cpus is None or sys.platform != "linux":
        yield
        return
    before = os.sched_getaffinity(0)
    os.sched_setaffinity(0, cpus)
    try:
        yield
    finally:
        os.sched_setaffinity(0, before)


@contextlib.contextmanager
def memory_budget(size_bytes: int | None) -> Iterator[None]:
    """What is asked meanwhile finds at most ``size_bytes`` of memory available; None changes nothing."""
    token = _budget.set(size_bytes)
    try:
        yield
    finally:
        _budget.reset(token)


def available_bytes(root: Path = _ROOT) -> int:
    """Memory that a new process could have: the system's, or less where a control group or a budget limits it."""
    limits = (int(psutil.virtual_memory().available), cgroup_available_bytes(root), _budget.get())
    return min(limit for limit in limits if limit is not None)


def cgroup_folders(controller: str, root: Path = _ROOT) -> list[Path]:
    """The folders of this process's control group that carry ``controller``'s limits, up to the topmost."""
    mount = root / "sys/fs/cgroup"
    found: list[Path] = []
    for line in read_text(root / "proc/self/cgroup").splitlines():
        _, controllers, path = line.split(":", 2)
        if controllers == "":
            top = mount
        elif controller in controllers.split(","):
            top = mount / controllers
        else:
            continue
        folder = top / path.lstrip("/")
        # Inside a container the group's own path may not be mounted; the mount's top then is the group.
        while folder != top and not folder.is_dir():
            folder = folder.parent
        found += [folder, *(parent for parent in folder.parents if parent.is_relative_to(top))]
    return found


def cgroup_available_bytes(root: Path = _ROOT) -> int | None:
    """Bytes left under the tightest memory limit of this process's control groups (v2 or v1); None without a limit."""
    left: list[int] = []
    for folder in cgroup_folders("memory", root):
        for limit_name, use_name, cache_name in (
            ("memory.max", "memory.current", "inactive_file"),
            ("memory.limit_in_bytes", "memory.usage_in_bytes", "total_inactive_file"),
        ):
            limit, use = read_text(folder / limit_name), read_text(folder / use_name)
            # v1 writes "no limit" as the largest multiple of a page.
            if not limit.isdigit() or not use.isdigit() or int(limit) >= 1 << 60:
                continue
            stat = dict(line.split(" ", 1) for line in read_text(folder / "memory.stat").splitlines() if " " in line)
            # The page cache counts as used but is given back when memory is short.
            left.append(max(0, int(limit) - int(use) + int(stat.get(cache_name, 0))))
    return min(left, default=None)


def cpu_quota(root: Path = _ROOT) -> float | None:
    """How many CPUs' worth of time the tightest control group may use (v2 or v1); None without a limit."""
    quotas: list[float] = []
    for folder in cgroup_folders("cpu", root):
        fields = read_text(folder / "cpu.max").split() or [
            read_text(folder / "cpu.cfs_quota_us"),
            read_text(folder / "cpu.cfs_period_us"),
        ]
        # Without a limit v2 writes "max" and v1 -1.
        if len(fields) == 2 and all(field.isdigit() and int(field) for field in fields):
            quotas.append(int(fields[0]) / int(fields[1]))
    return min(quotas, default=None)


def oom_kills(counters: Path = Path("/proc/vmstat")) -> int:
    """How many processes the kernel has ended for want of memory; 0 where it does not tell.

    Args:
        counters: The system's, or a control group's: a file of lines of a name and a number.
    """
    for line in read_text(counters).splitlines():
        name, _, value = line.partition(" ")
        if name == "oom_kill" and value.isdigit():
            return int(value)
    return 0


def read_text(path: Path) -> str:
    """The text of a file of the system, stripped; empty where it cannot be read."""
    try:
        return path.read_text(errors="replace").strip()
    except OSError:
        return ""

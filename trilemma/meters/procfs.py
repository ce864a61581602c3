"""One process as Linux's /proc shows it, through files that are opened once and read in place."""

from __future__ import annotations

import os
import time
from pathlib import Path
from typing import NamedTuple

PROC = Path("/proc")
_TICK_S = 1.0 / os.sysconf("SC_CLK_TCK") if hasattr(os, "sysconf") else 0.01
_PAGE = os.sysconf("SC_PAGE_SIZE") if hasattr(os, "sysconf") else 4096


class CpuTimes(NamedTuple):
    """CPU-seconds of a process, and of those of its children that it has waited for (theirs included)."""

    own_s: float
    children_s: float


class Rollup(NamedTuple):
    """Memory of one process, bytes, as ``smaps_rollup`` gives it (kernel documentation, filesystems/proc)."""

    pss: int
    uss: int
    file: int


class ProcProcess:
    """A live or zombie process. The open files stay bound to it: a reused number is never mistaken for it."""

    __slots__ = ("_clock", "_rollup_fd", "_stat_fd", "_statm_fd", "counted", "pid")

    def __init__(self, pid: int) -> None:
        """Open it.

        Raises:
            OSError: there is no such process, or it is not ours to read.
        """
        self.pid = pid
        self.counted = CpuTimes(0.0, 0.0)
        self._rollup_fd = -1
        self._statm_fd = -1
        self._stat_fd = os.open(f"/proc/{pid}/stat", os.O_RDONLY | os.O_CLOEXEC)
        try:
            self._statm_fd = os.open(f"/proc/{pid}/statm", os.O_RDONLY | os.O_CLOEXEC)
        except OSError:
            self.close()
            raise
        # The process's CPU clock (what clock_getcpuclockid(3) returns on Linux) counts in ns; stat counts in 10 ms.
        self._clock: int | None = (~pid << 3) | 2

    def stat(self) -> CpuTimes | None:
        """CPU times in the kernel's ticks; None once the process is gone."""
        try:
            data = os.pread(self._stat_fd, 1024, 0)
        except OSError:
            return None
        fields = data[data.rindex(b")") + 2 :].split(maxsplit=15)
        return CpuTimes((int(fields[11]) + int(fields[12])) * _TICK_S, (int(fields[13]) + int(fields[14])) * _TICK_S)

    def own_cpu_s(self, in_ticks: float) -> float:
        """CPU-seconds of the process's threads, dead ones included; ``in_ticks`` where there is no finer clock."""
        if self._clock is None:
            return in_ticks
        try:
            return time.clock_gettime(self._clock)
        except OSError:
            self._clock = None
            return in_ticks

    def rss(self) -> int:
        """Resident bytes; 0 when gone."""
        try:
            return int(os.pread(self._statm_fd, 128, 0).split(maxsplit=2)[1]) * _PAGE
        except (OSError, IndexError):
            return 0

    def rollup(self) -> Rollup | None:
        """Proportional, unshared and file-backed bytes; None when gone, a zombie, or not ours to see.

        Raises:
            PermissionError: the process is somebody else's.
        """
        data = b""
        for _ in range(2):
            try:
                if self._rollup_fd < 0:
                    self._rollup_fd = os.open(f"/proc/{self.pid}/smaps_rollup", os.O_RDONLY | os.O_CLOEXEC)
                data = os.pread(self._rollup_fd, 4096, 0)
            except PermissionError:
                raise
            except OSError:
                data = b""
            if data:
                break
            # The file stays with the address space that it was opened on: after an exec it is an empty one.
            self._close_rollup()
        if not data:
            return None
        pss = uss = file = 0
        for line in data.splitlines()[1:]:
            key, _, rest = line.partition(b":")
            if key == b"Pss":
                pss = int(rest.split()[0]) << 10
            elif key == b"Pss_File":
                file = int(rest.split()[0]) << 10
            elif key in (b"Private_Clean", b"Private_Dirty"):
                uss += int(rest.split()[0]) << 10
        return Rollup(pss, uss, file)

    def close(self) -> None:
        """Close the files."""
        self._close_rollup()
        for fd in (self._stat_fd, self._statm_fd):
            if fd >= 0:
                os.close(fd)
        self._stat_fd = self._statm_fd = -1

    def _close_rollup(self) -> None:
        if self._rollup_fd >= 0:
            os.close(self._rollup_fd)
            self._rollup_fd = -1


def descendants(members: set[int]) -> set[int]:
    """The processes below ``members`` that are not among them, by each process's parent.

    The kernel's own lists of children are used where it keeps them (CONFIG_PROC_CHILDREN), else all processes are
    looked at once.
    """
    found: set[int] = set()
    if (PROC / "self" / "task" / str(os.getpid()) / "children").exists():
        waiting = list(members)
        while waiting:
            for child in _listed_children(waiting.pop()):
                if child not in found and child not in members:
                    found.add(child)
                    waiting.append(child)
        return found
    parents = _parents()
    grown = True
    while grown:
        fresh = {pid for pid, ppid in parents.items() if (ppid in members or ppid in found) and pid not in found}
        fresh -= members
        grown = bool(fresh)
        found |= fresh
    return found


def _listed_children(pid: int) -> list[int]:
    children: list[int] = []
    try:
        for task in os.listdir(f"/proc/{pid}/task"):  # noqa: PTH208 - ten times quicker than Path.iterdir
            children += map(int, Path(f"/proc/{pid}/task/{task}/children").read_bytes().split())
    except OSError:
        pass  # the process or thread has ended since
    return children


def _parents() -> dict[int, int]:
    parents: dict[int, int] = {}
    for name in os.listdir(PROC):  # noqa: PTH208 - ten times quicker than Path.iterdir
        if not name.isdigit():
            continue
        try:
            fd = os.open(f"/proc/{name}/stat", os.O_RDONLY | os.O_CLOEXEC)
        except OSError:
            continue
        try:
            data = os.read(fd, 512)
            parents[int(name)] = int(data[data.rindex(b")") + 2 :].split(maxsplit=2)[1])
        except OSError:
            pass
        finally:
            os.close(fd)
    return parents

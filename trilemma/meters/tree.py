"""The measured process and all that it started: memory and CPU time of the whole tree, read frugally.

Meters of the same target share one tree (:func:`open_tree`), so that processes are looked for once.
"""

from __future__ import annotations

import contextlib
import sys
from abc import ABC, abstractmethod
from typing import NamedTuple

import psutil

from trilemma.meters.pace import Pace
from trilemma.meters.procfs import CpuTimes, ProcProcess, descendants

__all__ = ["FullMemory", "Tree", "open_tree"]

RSS_HIGH = 1.01
"""A resident size this much above the highest seen asks for a full reading soon: a peak must not slip between two."""
RSS_STILL = 0.002
"""A resident size this close to that of the last full reading has not changed: the next one can wait five seconds."""


class FullMemory(NamedTuple):
    """Memory of the tree, bytes; None where the system does not know it."""

    pss: int | None
    uss: int | None
    file: int | None
    rss: int


class Tree(ABC):
    """A process tree. Not safe for several threads at once.

    Attributes:
        full: The last reading of the costly figures; None before the first and once nothing is left.
        largest_rss: Resident bytes of its largest process, when they were read last.
    """

    def __init__(self, pid: int) -> None:
        self.pid = pid
        self.users = 0
        self.full: FullMemory | None = None
        self.largest_rss = 0
        self._highest_rss = 0
        self._full_pace = Pace(1.0, duty=0.005)
        self._scan_pace = Pace(1.0, duty=0.003)
        self._cpu_s = 0.0

    @property
    @abstractmethod
    def alive(self) -> bool:
        """Whether any process of it is there (a zombie is)."""

    @abstractmethod
    def cpu_s(self) -> float:
        """CPU-seconds since the tree was opened; never falls, ended processes included."""

    def rss_bytes(self) -> int | None:
        """Resident bytes, summed, shared pages counted for each process; None when nothing is left."""
        self._rescan()
        return self._sum_rss()

    def full_memory(self, *, force: bool = False) -> FullMemory | None:
        """Read the costly figures if they are due, or at once; the last reading in any case."""
        if force:
            self._rescan(force=True)
        rss = self._sum_rss()
        if rss is None:
            self.full = None
            return None
        if force or self._full_pace.due(sooner=self._hurry(rss)):
            with self._full_pace.spend():
                self.full = self._read_full()
            self._highest_rss = max(self._highest_rss, rss)
        return self.full

    def _hurry(self, rss: int) -> float:
        """How much sooner than once a second the costly figures are due: they change with resident memory."""
        if rss > self._highest_rss * RSS_HIGH:
            return 2.0
        still = self.full is not None and abs(rss - self.full.rss) <= RSS_STILL * rss
        return 0.2 if still else 1.0

    def close(self) -> None:
        """Give up one use of it; the last one releases what is open."""
        self.users -= 1
        if self.users <= 0:
            self._release()
            if _open.get(self.pid) is self:
                del _open[self.pid]

    def _rescan(self, *, force: bool = False) -> None:
        if force or self._scan_pace.due():
            with self._scan_pace.spend():
                self._scan()

    @abstractmethod
    def _scan(self) -> None:
        """Look for processes that were started since."""

    def _sum_rss(self) -> int | None:
        each = self._each_rss()
        self.largest_rss = max(each, default=0)
        return sum(each) or None

    @abstractmethod
    def _each_rss(self) -> list[int]: ...

    @abstractmethod
    def _read_full(self) -> FullMemory | None: ...

    @abstractmethod
    def _release(self) -> None: ...


_open: dict[int, Tree] = {}


def open_tree(pid: int) -> Tree:
    """The tree below ``pid``, shared with whoever has opened it already."""
    tree = _open.get(pid)
    if tree is None or not tree.alive:
        tree = _open[pid] = LinuxTree(pid) if sys.platform == "linux" else PsutilTree(pid)
    tree.users += 1
    return tree


class LinuxTree(Tree):
    """Out of /proc."""

    def __init__(self, pid: int) -> None:
        super().__init__(pid)
        self._processes: dict[int, ProcProcess] = {}
        self._add(pid, from_now=True)
        self._rescan(force=True)

    @property
    def alive(self) -> bool:
        return bool(self._processes)

    def cpu_s(self) -> float:
        """CPU-seconds since the tree was opened.

        A child's time moves to its parent's account when the parent waits for it. What was counted while it lived is
        therefore taken off what its parent's account gains as it goes; one that nobody waited for stays counted.
        """
        self._rescan()
        times = self._consistent_times()
        grown_own = grown_children = moved = 0.0
        for pid, process in list(self._processes.items()):
            now = times.get(pid)
            if now is None:
                moved += process.counted.own_s + process.counted.children_s
                process.close()
                del self._processes[pid]
                continue
            grown_own += now.own_s - process.counted.own_s
            grown_children += now.children_s - process.counted.children_s
            process.counted = now
        self._cpu_s += max(0.0, grown_own) + max(0.0, grown_children - moved)
        return self._cpu_s

    def _consistent_times(self) -> dict[int, CpuTimes]:
        """Times of the processes that are there, none of them waited for while they were read."""
        for _ in range(3):
            before = {pid: process.stat() for pid, process in self._processes.items()}
            times = {
                pid: CpuTimes(self._processes[pid].own_cpu_s(stat.own_s), stat.children_s)
                for pid, stat in before.items()
                if stat is not None
            }
            if len(before) == 1:
                break
            after = {pid: process.stat() for pid, process in self._processes.items()}
            pairs = zip(before.values(), after.values(), strict=True)
            if all((a and a.children_s) == (b and b.children_s) for a, b in pairs):
                break
        return times

    def _add(self, pid: int, *, from_now: bool = False) -> None:
        try:
            process = ProcProcess(pid)
        except OSError:
            return  # it has ended since it was listed
        stat = process.stat()
        if stat is None:
            process.close()
            return
        if from_now:
            process.counted = CpuTimes(process.own_cpu_s(stat.own_s), stat.children_s)
        self._processes[pid] = process

    def _scan(self) -> None:
        if self._processes:
            for pid in descendants(set(self._processes)):
                self._add(pid)

    def _each_rss(self) -> list[int]:
        return [process.rss() for process in self._processes.values()]

    def _read_full(self) -> FullMemory | None:
        pss = uss = file = 0
        try:
            for process in self._processes.values():
                rollup = process.rollup()
                if rollup is not None:
                    pss += rollup.pss
                    uss += rollup.uss
                    file += rollup.file
        except PermissionError:
            return FullMemory(None, None, None, self._sum_rss() or 0)
        rss = self._sum_rss() or 0
        return FullMemory(pss, uss, file, rss) if pss else None

    def _release(self) -> None:
        for process in self._processes.values():
            process.close()
        self._processes.clear()


class PsutilTree(Tree):
    """Through psutil, where there is no /proc. Ended processes count with what they had used when last seen."""

    def __init__(self, pid: int) -> None:
        super().__init__(pid)
        self._processes: dict[int, psutil.Process] = {}
        self._counted: dict[int, float] = {}
        try:
            self._processes[pid] = psutil.Process(pid)
            self._counted[pid] = self._used(self._processes[pid])
        except psutil.Error:
            self._processes.clear()
        self._rescan(force=True)

    @property
    def alive(self) -> bool:
        return any(process.is_running() for process in self._processes.values())

    def cpu_s(self) -> float:
        self._rescan()
        for pid, process in list(self._processes.items()):
            try:
                used = self._used(process)
            except psutil.Error:
                del self._processes[pid]
                continue
            self._cpu_s += max(0.0, used - self._counted.get(pid, 0.0))
            self._counted[pid] = used
        return self._cpu_s

    @staticmethod
    def _used(process: psutil.Process) -> float:
        times = process.cpu_times()
        return float(times.user + times.system)

    def _scan(self) -> None:
        for process in list(self._processes.values()):
            try:
                for child in process.children(recursive=True):
                    self._processes.setdefault(child.pid, child)
            except psutil.Error:
                continue

    def _each_rss(self) -> list[int]:
        each: list[int] = []
        for process in self._processes.values():
            with contextlib.suppress(psutil.Error):
                each.append(int(process.memory_info().rss))
        return each

    def _read_full(self) -> FullMemory | None:
        uss = 0
        for process in self._processes.values():
            try:
                uss += int(process.memory_full_info().uss)
            except psutil.AccessDenied:
                return FullMemory(None, None, None, self._sum_rss() or 0)
            except (psutil.Error, AttributeError):
                continue
        return FullMemory(None, uss or None, None, self._sum_rss() or 0)

    def _release(self) -> None:
        self._processes.clear()

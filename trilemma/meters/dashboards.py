"""Which processes are dashboards of a data folder, and how much CPU they take while something is measured.

A dashboard says in the data folder that it is there; whoever measures reads that, so that what it takes of the machine
is told apart from what strangers take. A file is believed only as long as the very process that wrote it lives.
"""

from __future__ import annotations

import os
from contextlib import suppress
from pathlib import Path

import psutil

from trilemma.lifetimes import created, lives
from trilemma.meters.pace import Pace
from trilemma.meters.tree_clock import TreeClock
from trilemma.whole_files import written_whole

_LOOK_EVERY_S = 2.0
_MOST = 100
"""Files that are looked at: a folder of more was not filled by dashboards."""


def announce(folder: Path) -> None:
    """Say in ``folder`` that this process is a dashboard; what ended ones left there is removed.

    Raises:
        StoreError: the folder cannot be written.
    """
    with written_whole(folder / str(os.getpid())) as path:
        path.write_text(repr(created(os.getpid())))
    for one in _named(folder):
        if not _alive(one):
            with suppress(OSError):  # it is no dashboard's, and nobody believes it
                one.unlink()


def present(folder: Path) -> list[int]:
    """The process ids of the dashboards that are there now."""
    return [int(path.name) for path in _named(folder) if _alive(path)]


def _named(folder: Path) -> list[Path]:
    """Files whose name is a process id."""
    try:
        with os.scandir(folder) as found:
            names = sorted(entry.name for entry in found if entry.name.isdecimal() and entry.name.isascii())
    except OSError:
        return []
    return [folder / name for name in names[:_MOST] if len(name) <= 10]


def _alive(path: Path) -> bool:
    """Whether the process that wrote ``path`` still runs."""
    try:
        with path.open("rb") as file:
            since = float(file.read(64))
        return lives(int(path.name), since)
    except (OSError, ValueError, OverflowError):
        return False


class DashboardClock:
    """CPU-seconds of all dashboards of ``folder``, with what they started, in one counter that never falls.

    A dashboard that started this process is left out: what is measured would be among what it started.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._clocks: dict[int, TreeClock] = {}
        self._gone_s = 0.0
        self._own = {os.getpid(), *(parent.pid for parent in psutil.Process().parents())}
        self._pace = Pace(_LOOK_EVERY_S, duty=0.001)

    def start(self) -> None:
        """Count those that are there, from here on."""
        with self._pace.spend():
            self._look()

    def read(self) -> float:
        """CPU-seconds so far."""
        if self._pace.due():
            with self._pace.spend():
                self._look()
        return self._gone_s + sum(clock.read() for clock in self._clocks.values())

    def close(self) -> None:
        """Keep the figure, let go of the processes."""
        for pid in list(self._clocks):
            self._drop(pid)

    def _look(self) -> None:
        there = set(present(self._folder)) - self._own
        for pid in self._clocks.keys() - there:
            self._drop(pid)
        for pid in there - self._clocks.keys():
            self._clocks[pid] = TreeClock()
            self._clocks[pid].start(pid)

    def _drop(self, pid: int) -> None:
        clock = self._clocks.pop(pid)
        clock.close()  # reads it once more
        self._gone_s += clock.read()

"""Whose a process on a GPU is: the run's, somebody else's, or not to be told."""

from __future__ import annotations

from collections.abc import Iterable
from contextlib import suppress
from typing import NamedTuple

import psutil

from trilemma.meters.base import Intruder
from trilemma.meters.gpu.driver import GpuDevice, GpuProcess

_NAME_LENGTH = 40


class Shares(NamedTuple):
    """Who is on one device."""

    own_bytes: int | None
    """What the run's processes hold; None where the driver does not say, or whose a process is cannot be told."""
    intruders: tuple[Intruder, ...]
    """Others that compute."""


class Ownership:
    """Tells the measured tree's processes on GPUs from those of others.

    While nothing is measured yet, whoever computes is somebody else. Later a process is the run's if it descends from
    the measured one. In a container the driver's numbers are not ours (``shares_pids``): then only those seen
    before are known to be others'.
    """

    def __init__(self, shares_pids: bool) -> None:
        self._shares_pids = shares_pids
        self._root: int | None = None
        self._own: set[int] = set()
        self._others: set[int] = set()

    def start(self, root: int | None) -> None:
        """Go on with the tree below ``root``; None while there is none."""
        self._root = root
        self._own.clear()

    def split(self, device: GpuDevice, processes: Iterable[GpuProcess]) -> Shares:
        """Who is who on ``device``."""
        told = self._shares_pids or self._root is None
        own: list[int | None] = []
        intruders = []
        for process in processes:
            mine = self._is_own(process.pid)
            if mine:
                own.append(process.memory_bytes)
            elif mine is False and not process.graphics:
                self._others.add(process.pid)
                intruders.append(Intruder(device.card, device.label, process.pid, named(process), process.memory_bytes))
        known = [held for held in own if held is not None]
        return Shares(sum(known) if told and len(known) == len(own) else None, tuple(intruders))

    def _is_own(self, pid: int) -> bool | None:
        """None where it cannot be told: in a container, or because the process has just ended."""
        if self._root is None or pid in self._others:
            return False
        if not self._shares_pids:
            return None
        if pid not in self._own:
            try:
                line = {pid, *(parent.pid for parent in psutil.Process(pid).parents())}
            except psutil.NoSuchProcess:
                return None
            except psutil.Error:
                return False  # another user's
            if self._root not in line:
                return False
            self._own.add(pid)  # it stays the run's when its parent ends and it is adopted
        return True


def named(process: GpuProcess) -> str:
    """What the process is called, fit to be shown: the last part of a path, printable, at most 40 characters."""
    name = process.name
    with suppress(psutil.Error):
        name = name or psutil.Process(process.pid).name()
    last = name.replace("\\", "/").rstrip("/").rpartition("/")[2]
    clean = "".join(character for character in last if character.isprintable()).strip()
    if not clean:
        return "a process without a name"
    return clean if len(clean) <= _NAME_LENGTH else f"{clean[: _NAME_LENGTH - 1]}…"

"""Memory of the measured process tree."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import ClassVar, Literal

from trilemma.engines.base import Availability
from trilemma.meters.base import Target
from trilemma.meters.tree import FullMemory, Tree, open_tree

MemoryKind = Literal["pss", "uss", "rss"]


def memory_kind_here() -> MemoryKind:
    """The best account of memory that this system gives."""
    if sys.platform == "linux":
        return "pss" if Path("/proc/self/smaps_rollup").exists() else "rss"
    return "uss"


class MemoryMeter:
    """Reads ``rss_bytes`` each time (``largest_rss_bytes`` too where there are several processes), and ``pss_bytes``,
    ``uss_bytes`` and ``file_bytes`` once a second.

    The latter make the kernel walk the page tables (3-5 ms and more): they come sooner while resident memory is at a
    new high, every five seconds while it does not change, more seldom where they would take more than half a percent
    of a core, and at once from :meth:`read_full`.

    Attributes:
        memory_kind: What the headline is taken from: ``pss``, else ``uss``, else ``rss``.
    """

    name: ClassVar[str] = "memory"

    def __init__(self) -> None:
        self.memory_kind: MemoryKind = memory_kind_here()
        self._tree: Tree | None = None
        self._told: FullMemory | None = None

    @classmethod
    def availability(cls) -> Availability:
        """Always there; says how good the account is."""
        match memory_kind_here():
            case "pss":
                return Availability(True, "proportional set size (PSS) of the process tree, from smaps_rollup")
            case "uss":
                return Availability(True, "unique set size (USS) of the process tree; this system has no PSS")
            case _:
                return Availability(
                    True, "resident set size (RSS) only: shared pages count fully", "Use Linux 4.14 or newer for PSS."
                )

    def start(self, target: Target) -> None:
        """Watch the tree of ``target``."""
        self.close()
        self.memory_kind = memory_kind_here()
        if target.pid is not None:
            self._tree = open_tree(target.pid)

    def read(self, elapsed_s: float) -> dict[str, float]:
        """Resident memory, and the costly channels when they were just read; nothing once the tree has ended."""
        return self._read(force=False)

    def read_full(self) -> dict[str, float]:
        """All channels, now: for the edges of phases."""
        return self._read(force=True)

    def _read(self, *, force: bool) -> dict[str, float]:
        if self._tree is None:
            return {}
        full = self._tree.full_memory(force=force)
        rss = self._tree.rss_bytes()
        if rss is None:
            return {}
        values = {"rss_bytes": float(rss)}
        if self._tree.largest_rss < rss:
            values["largest_rss_bytes"] = float(self._tree.largest_rss)
        if full is not None and full is not self._told:
            self._told = full
            for channel, figure in (("pss_bytes", full.pss), ("uss_bytes", full.uss), ("file_bytes", full.file)):
                if figure is not None:
                    values[channel] = float(figure)
            if full.pss is None:
                self.memory_kind = "rss" if full.uss is None else "uss"
        return values

    def close(self) -> None:
        """Stop watching."""
        if self._tree is not None:
            self._tree.close()
        self._tree = self._told = None

"""A control group (v2) that limits the measured process's memory, where this process may make one."""

from __future__ import annotations

import contextlib
from pathlib import Path

from trilemma.limits import cgroup_folders, oom_kills, read_text

_ROOT = Path("/")


class MemoryGroup:
    """A group with a hard limit; made by :meth:`create`, which also says whether one can be had."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    @classmethod
    def create(cls, name: str, limit_bytes: int, pid: int, root: Path = _ROOT) -> MemoryGroup | None:
        """A new group that holds ``pid``; None where there is no v2 hierarchy, or none of it is ours to divide.

        Only a group that passes memory control on already is divided, ours or the one above it: to switch it on, all
        processes would have to leave it.
        """
        for parent in cgroup_folders("memory", root)[:2]:
            if "memory" not in read_text(parent / "cgroup.subtree_control").split():
                continue
            group = cls(parent / name)
            group.remove()  # what a run that was killed left under this name
            try:
                group.folder.mkdir(exist_ok=True)
                (group.folder / "memory.max").write_text(str(limit_bytes))
                with contextlib.suppress(OSError):  # there is none without swap
                    (group.folder / "memory.swap.max").write_text("0")
                (group.folder / "cgroup.procs").write_text(str(pid))
            except OSError:
                group.remove()
                continue
            return group
        return None

    def kills(self) -> int:
        """How many processes the kernel ended because the group was full."""
        return oom_kills(self.folder / "memory.events")

    def lift(self) -> None:
        """Take the limit off."""
        with contextlib.suppress(OSError):
            (self.folder / "memory.max").write_text("max")

    def remove(self) -> None:
        """End what is left in it, and delete it."""
        with contextlib.suppress(OSError):
            if (self.folder / "cgroup.kill").exists():
                (self.folder / "cgroup.kill").write_text("1")
        with contextlib.suppress(OSError):
            self.folder.rmdir()

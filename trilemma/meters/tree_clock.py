"""CPU time of process trees, one after the other, in one counter."""

from __future__ import annotations

from trilemma.meters.tree import Tree, open_tree


class TreeClock:
    """CPU-seconds of one target after the other in one counter that never falls."""

    def __init__(self) -> None:
        self._tree: Tree | None = None
        self._offset = 0.0
        self._total = 0.0

    def start(self, pid: int | None) -> None:
        """Go on with ``pid``, counting from here."""
        self.close()
        if pid is not None:
            self._tree = open_tree(pid)
            self._offset = self._total - self._tree.cpu_s()

    def read(self) -> float:
        """CPU-seconds of all targets so far."""
        if self._tree is not None:
            self._total = max(self._total, self._offset + self._tree.cpu_s())
        return self._total

    @property
    def tree(self) -> Tree | None:
        """The tree that is being watched."""
        return self._tree

    def close(self) -> None:
        """Keep the figure, let go of the processes."""
        if self._tree is not None:
            self.read()
            self._tree.close()
            self._tree = None

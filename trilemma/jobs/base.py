"""What an executor must do: run one benchmark at a time on a device, in a process of its own.

An executor is found by name (entry point group ``trilemma.executors``) and made with the settings.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import ClassVar, NamedTuple, Protocol


class Identity(NamedTuple):
    """A process that its pid's later owners cannot be taken for."""

    pid: int
    created: float
    """As :func:`trilemma.lifetimes.created` counts."""


class Ending(NamedTuple):
    """How a run's process ended: its exit code (negative: the signal that killed it), and what it left in words."""

    code: int
    explanation: str
    """One sentence on the code, and what to do; used only when the run itself recorded nothing."""


class Handle(Protocol):
    """A run's process."""

    @property
    def identity(self) -> Identity:
        """Which process it is."""

    def poll(self) -> Ending | None:
        """None while it runs."""

    def stop(self, grace_s: float) -> Ending:
        """Ask it and its whole group to end, and after ``grace_s`` seconds make them; 0 does not ask first."""


class Reservation(Protocol):
    """A device that is ours alone until it is given back and everything started on it has ended."""

    def start(self, run_id: str, worker_id: str, command: Sequence[str], log: Path) -> Handle:
        """Start a run's process, its output appended to ``log``.

        Raises:
            OSError: it cannot be started.
        """

    def release(self) -> None:
        """Give the device back."""


class Executor(Protocol):
    """Where runs run."""

    name: ClassVar[str]

    def reserve(self, device: str) -> Reservation | None:
        """The device for ourselves; None while another worker, or what one left behind, has it.

        Raises:
            StoreError: the data folder cannot be written.
        """

    def clear(self, run_id: str, worker_id: str, process: Identity | None) -> bool:
        """End every process that ``worker_id`` started for a run and that is still there; False if one resists."""

"""What an executor must do: run one benchmark at a time on a device, in a process of its own.

An executor is found by name (entry point group ``trilemma.executors``) and made with the settings. One that works on
other machines brings back what their runs record (:meth:`Handle.poll`): the store is here, and nowhere else.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import ClassVar, NamedTuple, Protocol

from trilemma.needs import ANYWHERE, Needs
from trilemma.records import Machine, RunRecord
from trilemma.store import Store

Command = Callable[[str], list[str]]
"""The command that measures the run of a given id; called in the process that starts it, wherever that is."""


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
    lost: bool = False
    """Whether the machine failed it and not the run itself: it then starts over, perhaps on another."""
    refused: bool = False
    """Whether the machine did not take it, for a reason of its own: the run waits for another, none the worse."""
    engine: str = ""
    """Of a machine that only lacks this engine (:func:`~trilemma.needs.engine_of`), and takes runs of others."""


class Handle(Protocol):
    """A run's process."""

    @property
    def identity(self) -> Identity | None:
        """Which process of this machine it is; None where it is another machine's."""

    def poll(self) -> Ending | None:
        """None while it runs; what it recorded elsewhere since the last time is brought to the store first.

        Raises:
            StoreError: the store cannot be written now; to be called again.
        """

    def stop(self, grace_s: float) -> Ending:
        """Ask it and its whole group to end, and after ``grace_s`` seconds make them; 0 does not ask first."""


class Reservation(Protocol):
    """A device that is ours alone until it is given back and everything started on it has ended."""

    @property
    def machine(self) -> str:
        """The name of the machine that it is on; empty for this one."""

    def start(self, run: RunRecord, store: Store, worker_id: str, command: Command, log: Path) -> Handle:
        """Start a run's process, its output appended to ``log``; what it records ends up in ``store``.

        Raises:
            OSError: it cannot be started.
        """

    def release(self) -> None:
        """Give the device back."""


class Executor(Protocol):
    """Where runs run."""

    name: ClassVar[str]
    cluster: ClassVar[bool]
    """Whether it has several machines to choose from."""

    def lanes(self) -> int:
        """How many runs it could carry out at the same time, now: that many workers are worth having."""

    def machines(self) -> tuple[Machine, ...]:
        """The machines that it chooses from; none where there is only this one."""

    def reserve(self, device: str, needs: Needs = ANYWHERE) -> Reservation | None:
        """A device that has what is needed, for ourselves; None while there is none free.

        Raises:
            StoreError: the data folder cannot be written.
            RunError: the machines cannot be reached.
        """

    def clear(self, run_id: str, worker_id: str, process: Identity | None) -> bool:
        """End every process that ``worker_id`` started for a run and that is still there; False if one resists."""

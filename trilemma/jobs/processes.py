"""Processes: which one it is, whether it lives, who belongs to it, how it died, and that it is asked to end."""

from __future__ import annotations

import os
import shutil
import signal
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from types import FrameType

import psutil

from trilemma.bench.run_log import DISK_FULL_STATUS
from trilemma.errors import DiskFullError
from trilemma.jobs.base import Ending, Identity
from trilemma.lifetimes import created, is_zombie, lives
from trilemma.limits import cgroup_folders, oom_kills

RUN_VARIABLE = "TRILEMMA_RUN_ID"
WORKER_VARIABLE = "TRILEMMA_WORKER_ID"

ROOM_BYTES = 2**20
"""Of a disk on which a run may begin; what it records is as a rule less."""
_LAST_WORDS = 400


def identity(pid: int) -> Identity:
    """The process that has this pid now.

    Raises:
        ProcessLookupError: there is none.
    """
    return Identity(pid, created(pid))


def alive(process: Identity) -> bool:
    """Whether that very process still runs; a zombie does not."""
    return lives(process.pid, process.created)


def members(run_id: str, worker_id: str, leader: Identity | None) -> Iterator[psutil.Process]:
    """The processes of one attempt at a run: those of its session, and those that inherited its environment.

    The worker's id tells the attempt from a later one by another worker.
    """
    session = None
    if leader is not None and (alive(leader) or not psutil.pid_exists(leader.pid)):
        session = leader.pid  # else the pid belongs to a stranger by now
    for process in psutil.process_iter():
        with suppress(psutil.Error, OSError):
            if process.pid == os.getpid() or is_zombie(process):
                continue
            if session is not None and os.getsid(process.pid) == session:
                yield process
                continue
            environment = process.environ()
            if environment.get(RUN_VARIABLE) == run_id and environment.get(WORKER_VARIABLE) == worker_id:
                yield process


class OomWatch:
    """Notices whether the kernel killed something for lack of memory since the watch was made.

    Args:
        places: Files of ``name value`` lines that count ``oom_kill``, by what they are about; None for the kernel's.
    """

    def __init__(self, places: Mapping[str, Path] | None = None) -> None:
        self._places = _kernel_counters() if places is None else places
        self._before = {where: oom_kills(path) for where, path in self._places.items()}

    def evidence(self) -> str:
        """What the kernel counted, or an empty string."""
        for where, path in self._places.items():
            if (more := oom_kills(path) - self._before[where]) > 0:
                return f"{where} counts {more} out-of-memory kill{'s' if more > 1 else ''} meanwhile"
        return ""


def check_room(folder: Path) -> None:
    """Refuse where a run could hardly begin.

    Raises:
        DiskFullError: so it is.
    """
    if shutil.disk_usage(folder).free < ROOM_BYTES:
        raise DiskFullError(
            f"The disk of {folder} is full; runs wait.", "Free some space, or set TRILEMMA_HOME to another disk."
        )


def explain(code: int, memory: OomWatch) -> Ending:
    """An ending, explained as far as the exit code and the kernel's counters tell."""
    if code == 0:
        text = "The run's process ended without recording a result. Look at the log, then retry."
    elif code == DISK_FULL_STATUS:
        text = "The run's process ended because a disk is full: free some space, or set TRILEMMA_HOME to another disk."
        return Ending(code, text, lost=True)
    elif code > 0:
        text = f"The run's process ended with code {code} and without a word. Look at the log, then retry."
    elif -code == signal.SIGKILL and (evidence := memory.evidence()):
        text = (
            f"The run was killed (SIGKILL), probably out of memory: {evidence}. "
            "Try a smaller model, context or batch, or close other programs."
        )
    elif -code == signal.SIGKILL:
        text = (
            "The run was killed (SIGKILL) from outside; the kernel recorded no lack of memory. "
            "Retry it, and if it happens again look for what killed it."
        )
    else:
        text = f"The run's process crashed ({_signal_name(-code)}). Look at the end of the log, then retry."
    return Ending(code, text)


def with_last_words(ending: Ending, log_tail: str) -> Ending:
    """An ending with what the process said last, where it ended by itself: that is mostly why."""
    said = [line.strip() for line in log_tail.splitlines() if line.strip()]
    if ending.lost or ending.code <= 0 or not said:
        return ending
    return ending._replace(
        explanation=f"The run's process ended with code {ending.code}; it said last: {said[-1][:_LAST_WORDS]}"
    )


def _signal_name(number: int) -> str:
    try:
        return signal.Signals(number).name
    except ValueError:
        return f"signal {number}"


def _kernel_counters() -> dict[str, Path]:
    """This process's control group, which a container's limit is set on, and the whole system."""
    named = (folder / name for folder in cgroup_folders("memory") for name in ("memory.events", "memory.oom_control"))
    group = next((path for path in named if path.is_file()), None)
    return ({} if group is None else {"the control group": group}) | {"the system": Path("/proc/vmstat")}


@contextmanager
def stopped_by_signals(stop: threading.Event) -> Iterator[None]:
    """SIGTERM and SIGINT set ``stop`` (only the main thread can see to that)."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return

    def handler(number: int, frame: FrameType | None) -> None:
        stop.set()

    previous = {number: signal.signal(number, handler) for number in (signal.SIGTERM, signal.SIGINT)}
    try:
        yield
    finally:
        for number, old in previous.items():
            signal.signal(number, old)

"""The log of a run's measured process, and who waits for the run."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

from trilemma.errors import DiskFullError, TrilemmaError, is_disk_full

DISK_FULL_STATUS = 74
"""The exit status (EX_IOERR of sysexits.h) of a run's process that ended because a disk is full, maybe its log's."""

_LOG_TAIL_BYTES = 8_000


def tail_of(path: Path, extra: list[str]) -> str:
    """The end of a log, and what else there is to tell."""
    try:
        with path.open("rb") as log:
            log.seek(max(path.stat().st_size - _LOG_TAIL_BYTES, 0))
            text = log.read().decode(errors="replace")
    except OSError:
        text = ""
    return "\n".join([text.rstrip(), *extra]).strip()


def log_path_of(logs_dir: Path, run_id: str) -> Path:
    """Where a run's log is written."""
    return logs_dir / f"{run_id}.log"


def parent_watch(parent_pid: int | None) -> Callable[[], bool]:
    """A function that says whether the process that asked for this run is gone."""
    if parent_pid is None:
        return lambda: False
    return lambda: os.getppid() != parent_pid


def exit_status(error: TrilemmaError | OSError) -> int:
    """The status with which a run's process ends because of ``error``, which is told in the log as far as it goes.

    Raises:
        OSError: ``error`` itself, where only its traceback tells what it is about.
    """
    full = isinstance(error, DiskFullError) or is_disk_full(error)
    if not full and isinstance(error, OSError):
        raise error
    with suppress(OSError):
        sys.stderr.write(f"{error}\n")
    return DISK_FULL_STATUS if full else 1

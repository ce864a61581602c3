"""What runs have printed: where it is kept, and how it ends."""

from __future__ import annotations

import os
from pathlib import Path

from trilemma.bench.run_log import log_path_of
from trilemma.errors import NotFoundError
from trilemma.settings import Settings

_TAIL_BYTES = 16 * 1024
_TAIL_LINES = 60


def log_path(settings: Settings, run_id: str) -> Path:
    """Where a run's output is kept.

    Raises:
        NotFoundError: ``run_id`` could not be the id of a run.
    """
    if not run_id.isalnum():
        raise NotFoundError(f"There is no run {run_id!r}.")
    return log_path_of(settings.logs_dir, run_id)


def log_tail(settings: Settings, run_id: str) -> str:
    """The last lines of a run's output; empty where there is none."""
    try:
        with log_path(settings, run_id).open("rb") as file:
            file.seek(max(file.seek(0, os.SEEK_END) - _TAIL_BYTES, 0))
            text = file.read().decode(errors="replace")
    except OSError:
        return ""
    return "\n".join(text.splitlines()[-_TAIL_LINES:])

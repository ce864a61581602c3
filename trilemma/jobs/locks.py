"""Locks that outlive nobody: files that are locked while a descriptor of them is open, here or in who inherited it."""

from __future__ import annotations

import fcntl
import os
from pathlib import Path

from trilemma.errors import StoreError


def try_lock(path: Path, *, shared: bool = False) -> int | None:
    """A descriptor that holds the lock of ``path`` until its last copy is closed; None while somebody else holds it.

    Args:
        path: The file; it is made where it is not there.
        shared: Whether others may hold it at the same time, if they share it, too.

    Raises:
        StoreError: the file cannot be opened or locked.
    """
    try:
        lock = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
    except OSError as error:
        raise StoreError(
            f"{path} cannot be opened ({error.strerror}).", "Check the permissions of the data folder."
        ) from error
    try:
        fcntl.flock(lock, (fcntl.LOCK_SH if shared else fcntl.LOCK_EX) | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(lock)
        return None
    except OSError as error:
        os.close(lock)
        raise StoreError(
            f"{path} cannot be locked ({error.strerror}).", "Put TRILEMMA_HOME on a local disk."
        ) from error
    return lock

"""A run's process that cannot go on says why, by its exit status where its log lies on a full disk."""

from __future__ import annotations

import errno
import subprocess
import sys
from pathlib import Path

import pytest

from trilemma.bench.run_log import DISK_FULL_STATUS, exit_status
from trilemma.errors import StoreError


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="a disk that is always full is Linux's")
@pytest.mark.parametrize("error", ["OSError(errno.ENOSPC, 'No space')", "DiskFullError('The disk is full.', 'Free.')"])
def test_a_full_disk_is_told_though_nothing_can_be_written(error: str) -> None:
    program = (
        "import errno, sys\n"
        "from trilemma.bench.run_log import exit_status\n"
        "from trilemma.errors import DiskFullError\n"
        f"sys.exit(exit_status({error}))"
    )
    with Path("/dev/full").open("wb") as log:
        ended = subprocess.run([sys.executable, "-c", program], stdout=log, stderr=log, check=False)
    assert ended.returncode == DISK_FULL_STATUS


def test_what_the_log_can_tell_is_told_there(capsys: pytest.CaptureFixture[str]) -> None:
    assert exit_status(StoreError("The database is damaged.", "Restore it.")) == 1
    assert "The database is damaged." in capsys.readouterr().err
    with pytest.raises(PermissionError):
        exit_status(PermissionError(errno.EACCES, "Permission denied"))

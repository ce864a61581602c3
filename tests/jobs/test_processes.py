"""Processes are told apart whatever becomes of the clock, and what they said last is told."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest

from trilemma.bench.run_log import DISK_FULL_STATUS
from trilemma.jobs.base import Ending
from trilemma.jobs.processes import OomWatch, alive, explain, identity, with_last_words
from trilemma.lifetimes import created


@pytest.mark.skipif(sys.platform != "linux", reason="elsewhere the system tells the time of day alone")
@pytest.mark.parametrize("jump_s", [3600.0, -3600.0])
def test_a_process_lives_on_when_the_clock_is_set(monkeypatch: pytest.MonkeyPatch, jump_s: float) -> None:
    me, before = identity(os.getpid()), psutil.Process().create_time()
    boot_time = psutil.boot_time()
    # As the kernel does: the time of boot moves with the clock, and with it every process's age by the time of day.
    monkeypatch.setattr("psutil._pslinux.boot_time", lambda: boot_time + jump_s)
    assert abs(psutil.Process().create_time() - before) > 3000, "the clock was not set after all"
    assert alive(me)
    assert identity(os.getpid()) == me


def test_processes_of_different_ages_differ() -> None:
    with subprocess.Popen(["sleep", "10"]) as first:
        time.sleep(0.1)
        with subprocess.Popen(["sleep", "10"]) as second:
            assert created(first.pid) < created(second.pid)
            second.kill()
        first.kill()
    with pytest.raises(ProcessLookupError):
        created(2**22 + 1)


def test_a_program_with_an_odd_name_is_found(tmp_path: Path) -> None:
    odd = tmp_path / "a) 1 (b"
    odd.symlink_to("/bin/sleep")
    with subprocess.Popen([odd, "10"]) as child:
        assert 0 <= created(child.pid) - created(os.getpid()) < 1e9
        child.kill()


def test_a_run_that_ends_by_itself_says_what_it_said_last() -> None:
    ending = explain(1, OomWatch())
    said = with_last_words(ending, "Loading\n\nThe disk that holds /x is full. Free some space.\n \n")
    assert said.code == 1
    assert said.explanation.endswith("it said last: The disk that holds /x is full. Free some space.")
    assert with_last_words(ending, " \n") == ending
    full = explain(DISK_FULL_STATUS, OomWatch())
    assert with_last_words(full, "Loading") == full, "it could not say why"
    killed = Ending(-9, "The run was killed.")
    assert with_last_words(killed, "Loading") == killed

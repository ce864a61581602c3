"""What Trilemma's own dashboards take is told apart from what strangers take."""

from __future__ import annotations

import os
import subprocess
import sys
import textwrap
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from trilemma.errors import StoreError
from trilemma.lifetimes import created
from trilemma.meters.base import Target
from trilemma.meters.cpu import CpuMeter
from trilemma.meters.dashboards import DashboardClock, announce, present
from trilemma.schema import EnergyCoefficients

DASHBOARD = """
import sys, time
from pathlib import Path
from trilemma.meters.dashboards import announce
announce(Path({folder!r}))
print("ready", flush=True)
for line in sys.stdin:
    end = time.process_time() + float(line)
    while time.process_time() < end:
        pass
    print("done", flush=True)
"""


def test_a_dashboard_is_known_while_it_lives(tmp_path: Path, spawn: Callable) -> None:
    folder = tmp_path / "dashboards"
    assert present(folder) == []
    process = spawn(DASHBOARD.format(folder=str(folder)))
    assert present(folder) == [process.pid]
    process.kill()
    process.wait()
    assert present(folder) == []
    announce(folder)  # which clears away what the other one left
    assert [path.name for path in folder.iterdir()] == [str(os.getpid())]


@pytest.mark.parametrize("text", ["", "nan", "1e400", "yesterday", "\udcff" * 3, "0.0", "9" * 5000])
def test_a_file_that_this_process_did_not_write_is_not_believed(tmp_path: Path, text: str) -> None:
    (tmp_path / str(os.getpid())).write_bytes(text.encode("utf-8", "surrogateescape"))
    assert present(tmp_path) == []


def test_a_process_that_got_the_number_of_an_ended_dashboard_is_none(tmp_path: Path) -> None:
    (tmp_path / str(os.getpid())).write_text(repr(created(os.getpid()) - 60))
    assert present(tmp_path) == []


@pytest.mark.parametrize("name", ["..", "-1", "1" * 30, "²", "notes.txt", "0"])
def test_other_names_are_no_process(tmp_path: Path, name: str) -> None:
    if name != "..":
        (tmp_path / name).write_text(repr(created(os.getpid())))
    assert present(tmp_path) == []


def test_a_folder_that_cannot_be_written_is_an_error_with_a_reason(tmp_path: Path) -> None:
    (tmp_path / "dashboards").write_text("a file")
    with pytest.raises(StoreError, match="cannot be written"):
        announce(tmp_path / "dashboards")


def test_its_cpu_is_counted_beside_that_of_others(tmp_path: Path, spawn: Callable, ask: Callable) -> None:
    folder = tmp_path / "dashboards"
    dashboard = spawn(DASHBOARD.format(folder=str(folder)))
    stranger = spawn(DASHBOARD.format(folder=str(tmp_path / "elsewhere")))
    meter = CpuMeter(folder)
    meter.start(Target(None, EnergyCoefficients()))
    before, start = meter.read(0.1)["dashboard_cpu_s"], time.monotonic()
    ask(dashboard, "0.4")
    ask(stranger, "0.4")
    found = meter.read(time.monotonic() - start)
    assert found["dashboard_cpu_s"] - before == pytest.approx(0.4, abs=0.1)
    # Others contain it: that is what disturbs a run.
    assert found["others_cpu_cores"] * (time.monotonic() - start) > 0.6
    meter.close()


def test_one_that_comes_and_goes_leaves_the_counter_where_it_was(
    tmp_path: Path, spawn: Callable, ask: Callable
) -> None:
    clock = DashboardClock(tmp_path)
    clock.start()
    assert clock.read() == 0.0
    process = spawn(DASHBOARD.format(folder=str(tmp_path)))
    ask(process, "0.1")
    clock.start()
    ask(process, "0.3")
    used = clock.read()
    assert used == pytest.approx(0.3, abs=0.1)
    process.kill()
    process.wait()
    clock.start()
    assert clock.read() == pytest.approx(used, abs=0.02)
    clock.close()
    assert clock.read() == pytest.approx(used, abs=0.02)


def test_a_dashboard_that_started_what_is_measured_is_left_out(tmp_path: Path) -> None:
    """As the host of a try-out is: what it measures would be counted as the dashboard's."""
    code = f"""
        import subprocess, sys
        from pathlib import Path
        from trilemma.meters.dashboards import announce
        announce(Path({str(tmp_path)!r}))
        inner = (
            "from pathlib import Path\\n"
            "from trilemma.meters.dashboards import DashboardClock, present\\n"
            "clock = DashboardClock(Path({str(tmp_path)!r}))\\n"
            "clock.start()\\n"
            "print(len(present(Path({str(tmp_path)!r}))), sum(range(3000000)) > 0 and clock.read())"
        )
        subprocess.run([sys.executable, "-c", inner], check=True)
    """
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(code)], capture_output=True, text=True, check=True, timeout=60
    )
    assert done.stdout.split() == ["1", "0.0"]

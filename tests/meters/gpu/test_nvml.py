"""The NVML driver, the real packages below it (nvidia-ml-py, zeus), and a stand-in for the driver's library."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("zeus", reason="the gpu extra is not installed")
COMPILER = shutil.which("cc")
pytestmark = pytest.mark.skipif(not COMPILER or sys.platform != "linux", reason="needs Linux and a C compiler")

SCRIPT = """
import json, os
from trilemma.errors import MeterError
from trilemma.meters.gpu.nvml import NvmlDriver
driver = NvmlDriver()
devices = driver.devices()
found = {"version": driver.version, "devices": devices, "processes": [driver.processes(d) for d in devices]}
try:
    found["readings"] = [driver.read(d)._asdict() for d in devices]
except MeterError as error:
    found["error"] = str(error)
print(json.dumps(found))
"""


@pytest.fixture(scope="module")
def library(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("nvml")
    source = Path(__file__).parent / "nvml_stand_in.c"
    assert COMPILER
    subprocess.run([COMPILER, "-shared", "-fPIC", "-o", folder / "libnvidia-ml.so.1", source], check=True)
    return folder


def ask(library: Path, **environment: str) -> dict[str, Any]:
    clean = {k: v for k, v in os.environ.items() if not k.startswith(("CUDA_", "ZEUSD_"))}
    told = subprocess.run(
        [sys.executable, "-c", SCRIPT],
        capture_output=True,
        text=True,
        check=False,
        env={**clean, "LD_LIBRARY_PATH": str(library), **environment},
    )
    assert told.returncode == 0, told.stderr
    found: dict[str, Any] = json.loads(told.stdout.splitlines()[-1])
    return found


def test_everything_is_read_in_si_units(library: Path) -> None:
    found = ask(library)
    assert found["version"] == "535.99"
    assert [d[0] for d in found["devices"]] == ["0", "1-0", "1-1"]
    assert found["devices"][0] == ["0", "0", "Stand-in A100", "GPU-0000", "nvml", 80_000_000_000, True, 0]
    assert found["devices"][1][1:4] == ["1", "Stand-in A100 MIG 3g.40gb", "MIG-aaaa"]
    assert found["readings"][0] == {
        "energy_mj": 123_456_789,
        "power_mw": 251_000,
        "memory_used_bytes": 5_000_000_000,
        "utilization": 0.87,
        "clock_hz": 1.41e9,
        "memory_clock_hz": 1.593e9,
        "temperature_c": 61.0,
        "power_limit_w": 400.0,
        "throttle_bits": 0x24,
    }
    # An instance: memory of its own, the card's energy, no utilisation.
    assert found["readings"][1]["energy_mj"] == 123_456_790
    assert found["readings"][1]["utilization"] is None
    # Both a compute and a graphics context count once; memory that is not told is None, not 2**64 - 1.
    assert found["processes"][0] == [
        [4242, "/usr/bin/trainer", 2_000_000_000, False],
        [77, "", None, False],
        [900, "", 30_000_000, True],
    ]
    assert found["processes"][1] == []


def test_one_visible_instance_of_two_says_that_another_is_hidden(library: Path) -> None:
    (device,) = ask(library, CUDA_VISIBLE_DEVICES="MIG-bbbb")["devices"]
    assert (device[0], device[1], device[7]) == ("1-1", "1", 1)


def test_a_lost_gpu_is_an_error_and_not_a_blank(library: Path) -> None:
    found = ask(library, STAND_IN_LOST="1")
    assert "fallen off the bus" in found["error"]


def test_without_the_library_the_driver_says_what_to_look_at(tmp_path: Path) -> None:
    code = "from trilemma.meters.gpu.nvml import NvmlDriver\nNvmlDriver()"
    told = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    if told.returncode == 0:
        pytest.skip("this machine has NVML")
    assert "NVML cannot be used" in told.stderr
    assert "nvidia-smi" in told.stderr

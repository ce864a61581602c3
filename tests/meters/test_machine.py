"""What the machine is and has, from folders laid out as Linux does."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import psutil
import pytest

from trilemma.limits import available_bytes, cgroup_available_bytes, cpu_count, cpu_quota, usable_cpus
from trilemma.meters.base import Target
from trilemma.meters.host import HostMeter, clock_files
from trilemma.meters.machine import cpu_model, host_info, hypervisor, machine_id
from trilemma.schema import EnergyCoefficients


def write(root: Path, files: dict[str, str]) -> Path:
    for name, text in files.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return root


def test_this_machine_is_described() -> None:
    info = host_info()
    assert info.cores == len(usable_cpus()) <= (os.cpu_count() or 1)
    assert info.memory_bytes == psutil.virtual_memory().total
    assert info.cpu
    assert info.python == ".".join(map(str, sys.version_info[:3]))
    assert info.packages["psutil"] == psutil.__version__


def test_the_id_is_stable_and_does_not_tell_the_machines_own(tmp_path: Path) -> None:
    root = write(tmp_path, {"etc/machine-id": "0123456789abcdef0123456789abcdef\n"})
    first = machine_id(root)
    assert first == machine_id(root)
    assert len(first) == 16
    assert first not in "0123456789abcdef0123456789abcdef"
    (root / "etc/machine-id").write_text("ffffffffffffffffffffffffffffffff\n")
    assert machine_id(root) != first
    (root / "etc/machine-id").unlink()
    assert machine_id(root) == machine_id(root) != first


def test_cpu_and_hypervisor_are_read_from_cpuinfo(tmp_path: Path) -> None:
    virtual = "processor : 0\nmodel name\t: Some  CPU @ 2GHz\nflags\t\t: fpu hypervisor avx2\n"
    root = write(tmp_path, {"proc/cpuinfo": virtual})
    assert cpu_model(root) == "Some CPU @ 2GHz"
    assert hypervisor(root) is True
    write(tmp_path, {"proc/cpuinfo": virtual.replace("hypervisor ", "")})
    assert hypervisor(root) is False
    write(tmp_path, {"proc/cpuinfo": "processor : 0\nFeatures : fp asimd\n"})
    assert hypervisor(root) is None
    write(tmp_path, {"sys/class/dmi/id/sys_vendor": "QEMU\n"})
    assert hypervisor(root) is True


@pytest.mark.skipif(sys.platform != "linux", reason="Linux's own layout")
def test_a_nominal_clock_of_a_virtual_machine_is_left_out(tmp_path: Path) -> None:
    cpu = min(usable_cpus())
    root = write(
        tmp_path,
        {
            f"sys/devices/system/cpu/cpu{cpu}/cpufreq/scaling_cur_freq": "2300000\n",
            "proc/cpuinfo": "flags : fpu avx2\n",
        },
    )
    assert len(clock_files(root)) == 1
    write(tmp_path, {"proc/cpuinfo": "flags : fpu hypervisor\n"})
    assert clock_files(root) == []


def test_memory_left_is_that_of_the_tightest_group_of_version_2(tmp_path: Path) -> None:
    root = write(
        tmp_path,
        {
            "proc/self/cgroup": "0::/machine/container\n",
            "sys/fs/cgroup/machine/container/memory.max": "max\n",
            "sys/fs/cgroup/machine/container/memory.current": "100\n",
            "sys/fs/cgroup/machine/memory.max": "1000000\n",
            "sys/fs/cgroup/machine/memory.current": "900000\n",
            "sys/fs/cgroup/machine/memory.stat": "anon 600000\ninactive_file 300000\n",
        },
    )
    assert cgroup_available_bytes(root) == 400_000
    assert available_bytes(root) == 400_000
    write(tmp_path, {"sys/fs/cgroup/machine/container/memory.max": "5000\n"})
    assert cgroup_available_bytes(root) == 4_900


def test_memory_left_is_read_from_version_1_and_without_limits(tmp_path: Path) -> None:
    files = {
        "proc/self/cgroup": "4:memory:/box\n1:cpu:/\n0::/\n",
        "sys/fs/cgroup/memory/box/memory.limit_in_bytes": "9223372036854771712\n",
        "sys/fs/cgroup/memory/box/memory.usage_in_bytes": "50\n",
    }
    root = write(tmp_path, files)
    assert cgroup_available_bytes(root) is None
    assert available_bytes(root) == pytest.approx(psutil.virtual_memory().available, rel=0.2)
    write(tmp_path, {"sys/fs/cgroup/memory/box/memory.limit_in_bytes": "1050\n"})
    assert cgroup_available_bytes(root) == 1000


def test_a_group_whose_own_path_is_not_mounted_is_the_mounts_top(tmp_path: Path) -> None:
    root = write(
        tmp_path,
        {
            "proc/self/cgroup": "0::/kubepods/pod1\n",
            "sys/fs/cgroup/memory.max": "2000\n",
            "sys/fs/cgroup/memory.current": "500\n",
            "sys/fs/cgroup/cpu.max": "150000 100000\n",
        },
    )
    assert cgroup_available_bytes(root) == 1500
    assert cpu_quota(root) == 1.5
    write(tmp_path, {"sys/fs/cgroup/cpu.max": "max 100000\n"})
    assert cpu_quota(root) is None


def test_an_old_groups_cpu_quota_counts(tmp_path: Path) -> None:
    files = {
        "proc/self/cgroup": "3:cpu,cpuacct:/x\n2:memory:/y\n",
        "sys/fs/cgroup/cpu,cpuacct/x/cpu.cfs_quota_us": "50000\n",
        "sys/fs/cgroup/cpu,cpuacct/x/cpu.cfs_period_us": "100000\n",
    }
    root = write(tmp_path, files)
    assert cpu_quota(root) == 0.5
    assert cpu_count(root) == 1, "half a CPU still takes one thread"
    write(tmp_path, {"sys/fs/cgroup/cpu,cpuacct/x/cpu.cfs_quota_us": "-1\n"})
    assert cpu_quota(root) is None
    assert cpu_count(root) == len(usable_cpus())


def test_the_host_meter_reads_once_a_second() -> None:
    meter = HostMeter()
    meter.start(Target(None, EnergyCoefficients()))
    first = meter.read(0.1)
    assert 0 < first["available_bytes"] <= psutil.virtual_memory().total
    assert first["load1"] == pytest.approx(os.getloadavg()[0], abs=1.0)
    assert meter.read(0.1) == {}
    meter.close()

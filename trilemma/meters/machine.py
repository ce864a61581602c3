"""What the machine is: CPU, memory, limits, virtual or not, graphics cards, versions."""

from __future__ import annotations

import functools
import hashlib
import os
import platform
import shutil
import subprocess
import sys
import uuid
from importlib import metadata
from pathlib import Path

import psutil

from trilemma.meters.zeus_energy import visible_gpu_names
from trilemma.records import HostInfo

PACKAGES = ("gguf", "huggingface-hub", "llama-cpp-python", "moocore", "numpy", "psutil", "sqlalchemy", "vllm", "zeus")
_HYPERVISORS = ("qemu", "kvm", "vmware", "virtualbox", "xen", "microsoft corporation", "amazon ec2", "google compute")
_ROOT = Path("/")


@functools.cache
def host_info() -> HostInfo:
    """The machine that this process runs on. The id is a hash: it names the machine without telling whose it is."""
    return HostInfo(
        id=machine_id(),
        system=f"{platform.system()} {platform.release()}",
        machine=platform.machine(),
        cpu=cpu_model(),
        cores=len(usable_cpus()),
        memory_bytes=int(psutil.virtual_memory().total),
        virtualized=hypervisor(),
        gpus=visible_gpu_names(),
        python=platform.python_version(),
        trilemma=_version("trilemma") or "",
        packages={name: version for name in PACKAGES if (version := _version(name))},
    )


def usable_cpus() -> set[int]:
    """The logical CPUs that this process may run on."""
    if sys.platform == "linux":
        return set(os.sched_getaffinity(0))
    return set(range(os.cpu_count() or 1))


def machine_id(root: Path = _ROOT) -> str:
    """16 hex digits, the same each time on one machine."""
    for path in ("etc/machine-id", "var/lib/dbus/machine-id"):
        text = _read(root / path)
        if text:
            break
    else:
        # uuid.getnode makes up a number, with this bit set, where there is no network card to ask.
        node = uuid.getnode()
        text = f"{platform.node()} {cpu_model(root)}" if node >> 40 & 1 else f"{node:x}"
    return hashlib.sha256(f"trilemma host {text}".encode()).hexdigest()[:16]


def cpu_model(root: Path = _ROOT) -> str:
    """The CPU's name as its maker gives it, as far as the system tells."""
    for line in _read(root / "proc/cpuinfo").splitlines():
        key, _, value = line.partition(":")
        if key.strip() in ("model name", "Model", "cpu model") and value.strip():
            return " ".join(value.split())
    if sys.platform == "darwin":
        told = subprocess.run(
            ["/usr/sbin/sysctl", "-n", "machdep.cpu.brand_string"], capture_output=True, text=True, check=False
        )
        if told.stdout.strip():
            return told.stdout.strip()
    return platform.processor() or platform.machine()


def hypervisor(root: Path = _ROOT) -> bool | None:
    """Whether this is a virtual machine; None where it cannot be told."""
    flags = next((line for line in _read(root / "proc/cpuinfo").splitlines() if line.startswith("flags")), "")
    if flags:
        return "hypervisor" in flags.split()
    vendor = f"{_read(root / 'sys/class/dmi/id/sys_vendor')} {_read(root / 'sys/class/dmi/id/product_name')}".lower()
    if any(name in vendor for name in _HYPERVISORS):
        return True
    if root == _ROOT and (tool := shutil.which("systemd-detect-virt")):
        told = subprocess.run([tool, "--vm"], capture_output=True, text=True, check=False).stdout.strip()
        return told != "none" if told else None
    return None


def cgroup_folders(controller: str, root: Path = _ROOT) -> list[Path]:
    """The folders of this process's control group that carry ``controller``'s limits, up to the topmost."""
    mount = root / "sys/fs/cgroup"
    found: list[Path] = []
    for line in _read(root / "proc/self/cgroup").splitlines():
        _, controllers, path = line.split(":", 2)
        if controllers == "":
            top = mount
        elif controller in controllers.split(","):
            top = mount / controllers
        else:
            continue
        folder = top / path.lstrip("/")
        # Inside a container the group's own path may not be mounted; the mount's top then is the group.
        while folder != top and not folder.is_dir():
            folder = folder.parent
        found += [folder, *(parent for parent in folder.parents if parent.is_relative_to(top))]
    return found


def cgroup_available_bytes(root: Path = _ROOT) -> int | None:
    """Bytes left under the tightest memory limit of this process's control groups (v2 or v1); None without a limit."""
    left: list[int] = []
    for folder in cgroup_folders("memory", root):
        for limit_name, use_name, cache_name in (
            ("memory.max", "memory.current", "inactive_file"),
            ("memory.limit_in_bytes", "memory.usage_in_bytes", "total_inactive_file"),
        ):
            limit, use = _read(folder / limit_name), _read(folder / use_name)
            # v1 writes "no limit" as the largest multiple of a page.
            if not limit.isdigit() or not use.isdigit() or int(limit) >= 1 << 60:
                continue
            stat = dict(line.split(" ", 1) for line in _read(folder / "memory.stat").splitlines() if " " in line)
            # The page cache counts as used but is given back when memory is short.
            left.append(max(0, int(limit) - int(use) + int(stat.get(cache_name, 0))))
    return min(left, default=None)


def cpu_quota(root: Path = _ROOT) -> float | None:
    """How many CPUs' worth of time the control group may use (v2); None without a limit."""
    quotas: list[float] = []
    for folder in cgroup_folders("cpu", root):
        fields = _read(folder / "cpu.max").split()
        if len(fields) == 2 and fields[0].isdigit():
            quotas.append(int(fields[0]) / int(fields[1]))
    return min(quotas, default=None)


def _version(package: str) -> str | None:
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return None


def _read(path: Path) -> str:
    try:
        return path.read_text(errors="replace").strip()
    except OSError:
        return ""

"""What the machine is: CPU, memory, limits, virtual or not, graphics cards, versions."""

from __future__ import annotations

import functools
import hashlib
import platform
import shutil
import subprocess
import sys
import uuid
from importlib import metadata
from pathlib import Path

import psutil

from trilemma.limits import read_text, usable_cpus
from trilemma.records import HostInfo
from trilemma.settings import get_settings

PACKAGES = ("gguf", "huggingface-hub", "llama-cpp-python", "moocore", "numpy", "psutil", "sqlalchemy", "vllm", "zeus")
_HYPERVISORS = ("qemu", "kvm", "vmware", "virtualbox", "xen", "microsoft corporation", "amazon ec2", "google compute")
_ROOT = Path("/")


@functools.cache
def host_info() -> HostInfo:
    """The machine that this process runs on. The id is a hash: it names the machine without telling whose it is."""
    return HostInfo(
        id=machine_id(),
        name=get_settings().machine,
        system=f"{platform.system()} {platform.release()}",
        machine=platform.machine(),
        cpu=cpu_model(),
        cores=len(usable_cpus()),
        memory_bytes=int(psutil.virtual_memory().total),
        virtualized=hypervisor(),
        python=platform.python_version(),
        trilemma=_version("trilemma") or "",
        packages={name: version for name in PACKAGES if (version := _version(name))},
    )


def machine_id(root: Path = _ROOT) -> str:
    """16 hex digits, the same each time on one machine."""
    for path in ("etc/machine-id", "var/lib/dbus/machine-id"):
        text = read_text(root / path)
        if text:
            break
    else:
        # uuid.getnode makes up a number, with this bit set, where there is no network card to ask.
        node = uuid.getnode()
        text = f"{platform.node()} {cpu_model(root)}" if node >> 40 & 1 else f"{node:x}"
    return hashlib.sha256(f"trilemma host {text}".encode()).hexdigest()[:16]


def cpu_model(root: Path = _ROOT) -> str:
    """The CPU's name as its maker gives it, as far as the system tells."""
    for line in read_text(root / "proc/cpuinfo").splitlines():
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
    flags = next((line for line in read_text(root / "proc/cpuinfo").splitlines() if line.startswith("flags")), "")
    if flags:
        return "hypervisor" in flags.split()
    vendor = (
        f"{read_text(root / 'sys/class/dmi/id/sys_vendor')} {read_text(root / 'sys/class/dmi/id/product_name')}".lower()
    )
    if any(name in vendor for name in _HYPERVISORS):
        return True
    if root == _ROOT and (tool := shutil.which("systemd-detect-virt")):
        told = subprocess.run([tool, "--vm"], capture_output=True, text=True, check=False).stdout.strip()
        return told != "none" if told else None
    return None


def _version(package: str) -> str | None:
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return None

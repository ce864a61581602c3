"""The Ray cluster as the worker sees it; with :mod:`trilemma.jobs.ray_executor` all that imports Ray."""

from __future__ import annotations

import contextlib
import functools
import importlib
import io
import os
import re
import socket
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from trilemma.errors import RunError
from trilemma.jobs import ray_token
from trilemma.needs import MACHINE_NAME, Needs
from trilemma.records import Machine
from trilemma.settings import Settings

SLOT = "trilemma_slot"
"""Of a machine's, each run takes one: so one device measures one run at a time."""
_MACHINE = "trilemma_machine_"
_TYPE = "accelerator_type:"
_ADDRESS = "node:"
_TOUCH = 0.001
"""The share of a resource that only says where a run may go."""
PORT = 6379
_KNOCK_S = 5.0

ENVIRONMENT = {
    "RAY_USAGE_STATS_ENABLED": "0",
    # Which GPUs a run sees is set by the agent: else one that asked for none would see none.
    "RAY_EXPERIMENTAL_NOSET_CUDA_VISIBLE_DEVICES": "1",
    "RAY_EXPERIMENTAL_NOSET_ROCR_VISIBLE_DEVICES": "1",
    "RAY_EXPERIMENTAL_NOSET_HIP_VISIBLE_DEVICES": "1",
    # Ray kills what it started where memory is short; here the measured process is what must say so.
    "RAY_memory_monitor_refresh_ms": "0",
    "RAY_worker_oom_score_adjustment": "0",
    # What is measured inherits how Ray's workers are nice to others.
    "RAY_worker_niceness": "0",
}
"""What Ray's processes on every machine run with."""


def load_ray() -> Any:
    """The package.

    Raises:
        RunError: it is not installed.
    """
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    if _amdsmi_is_broken():
        sys.modules["amdsmi"] = None  # type: ignore[assignment]  # importing it is then an ImportError
    try:
        import ray  # noqa: PLC0415 - 70 MB, which machines without a cluster do without
    except ModuleNotFoundError as error:
        raise RunError("Ray is not installed.", "Run: pip install 'trilemma[ray]'") from error
    return ray


@functools.cache  # importing fails otherwise the second time
def _amdsmi_is_broken() -> bool:
    """Whether zeus brought the package to a machine without AMD's library: importing it then fails in a way that Ray,
    which looks for GPUs with it, does not expect."""
    try:
        with contextlib.redirect_stdout(io.StringIO()):
            importlib.import_module("amdsmi")
    except ImportError:
        return False
    except Exception:
        return True
    return False


def node_environment(settings: Settings) -> dict[str, str]:
    """What Ray's processes on this machine run with, besides what this process does.

    Raises:
        OSError: the data folder cannot be written.
        RunError: the cluster's token is not on this machine.
    """
    common = ENVIRONMENT | ray_token.environment(settings)
    if not _amdsmi_is_broken():
        return common
    shadow = _shadow(settings)
    shadow.mkdir(parents=True, exist_ok=True)
    (shadow / "amdsmi.py").write_text('raise ImportError("AMD\'s library is not on this machine")\n', encoding="utf-8")
    paths = [str(shadow), *filter(None, [os.environ.get("PYTHONPATH")])]
    return common | {"PYTHONPATH": os.pathsep.join(paths)}


def forget_node_environment(settings: Settings) -> None:
    """Take out of this process's environment what is meant for Ray, so that a run does not inherit it."""
    # Ray limits the threads of what it starts to the CPUs that it was asked for, which are none.
    # Its token is nothing to what is measured: answers may be programs.
    for name in ("OMP_NUM_THREADS", "OMP_THREAD_LIMIT", *ray_token.VARIABLES):
        os.environ.pop(name, None)
    paths = [path for path in os.environ.pop("PYTHONPATH", "").split(os.pathsep) if path]
    if kept := [path for path in paths if Path(path) != _shadow(settings)]:
        os.environ["PYTHONPATH"] = os.pathsep.join(kept)


def _shadow(settings: Settings) -> Path:
    return settings.home / "ray"


def node_command(slots: int, name: str, address: str | None, port: int, extra: Sequence[str]) -> list[str]:
    """The command that makes this machine a part of the cluster at ``address``, or the head of a new one.

    Raises:
        RunError: Ray is not installed.
    """
    load_ray()
    resources = f'{{"{SLOT}": {slots}, "{_MACHINE}{name}": 1}}'
    place = ["--head", f"--port={port}", "--include-dashboard=false"] if address is None else [f"--address={address}"]
    return [
        *(sys.executable, "-m", "ray.scripts.scripts", "start", *place),
        *(f"--resources={resources}", "--disable-usage-stats", "--block", *extra),
    ]


def connect(settings: Settings) -> Any:
    """Ray, connected to the cluster of the settings; remembered by Ray itself.

    Raises:
        RunError: it is not installed, no cluster answers, or its token is not here.
    """
    ray = sys.modules.get("ray")
    return ray if ray is not None and ray.is_initialized() else _connected(settings)


def _connected(settings: Settings) -> Any:
    if not settings.ray_address:
        raise RunError("No Ray cluster is named.", "Set TRILEMMA_RAY_ADDRESS to the HOST:PORT of its head.")
    try:
        _knock(settings.ray_address)
    except (OSError, ValueError) as error:
        raise _unanswered(settings, error) from error
    os.environ.update(ray_token.environment(settings))  # read by Ray when it is imported
    ray = load_ray()
    try:
        ray.init(
            address=settings.ray_address, namespace="trilemma", log_to_driver=False, logging_level="ERROR",
            configure_logging=False,
        )  # fmt: skip
    except (OSError, RuntimeError, ValueError, ray.exceptions.RayError) as error:
        raise _unanswered(settings, error) from error
    return ray


def _unanswered(settings: Settings, error: Exception) -> RunError:
    return RunError(
        f"No Ray cluster answers at {settings.ray_address} ({str(error)[:200]}).",
        "Start one with `trilemma node --head` there, and `trilemma node --address` on this machine. If there is one, "
        f"compare its token with {settings.ray_token_path}.",
    )


def _knock(address: str) -> None:
    """See that somebody listens there: Ray itself goes on asking for minutes.

    Raises:
        OSError: nobody does.
    """
    host, _, port = address.rpartition(":")
    if host and port.isdigit() and "://" not in address:
        socket.create_connection((host.strip("[]"), int(port)), _KNOCK_S).close()


def machines_of(ray: Any) -> dict[str, Machine]:
    """The machines that joined as ``trilemma node`` does and that answer, by Ray's id of them.

    Of several that are called alike only one is: what they measure could not be told apart. One that went and came back
    is there twice until Ray notices.

    Raises:
        RunError: the cluster's head does not answer.
    """
    try:
        nodes = ray.nodes()
    except ray.exceptions.RayError as error:
        raise RunError(
            f"The head of the Ray cluster does not answer ({str(error)[:200]}).",
            "See that `trilemma node --head` still runs there.",
        ) from error
    found: dict[str, Machine] = {}
    addresses: dict[str, set[str]] = {}
    for node in nodes:
        resources: dict[str, float] = node.get("Resources") or {}
        names = [key.removeprefix(_MACHINE) for key in resources if key.startswith(_MACHINE)]
        names = [name for name in names if re.fullmatch(MACHINE_NAME, name)]
        if node.get("Alive") and names and resources.get(SLOT, 0) >= 1:
            types = [key.removeprefix(_TYPE) for key in resources if key.startswith(_TYPE)]
            address = str(node.get("NodeManagerAddress") or "")
            addresses.setdefault(names[0], set()).add(address)
            found[str(node["NodeID"])] = Machine(
                name=names[0],
                address=address,
                slots=int(resources[SLOT]),
                cpus=resources.get("CPU", 0.0),
                memory_bytes=int(resources.get("memory", 0)),
                gpus=resources.get("GPU", 0.0),
                gpu_type=types[0] if types else "",
            )
    first = {name: sorted(ones) for name, ones in addresses.items()}
    return {
        node: one.model_copy(update={"namesakes": tuple(first[one.name][1:])})
        for node, one in found.items()
        if one.address == first[one.name][0]
    }


def bundle_of(needs: Needs, machine: Machine) -> dict[str, float]:
    """What a run takes of a machine's resources, as Ray calls them."""
    wanted = {
        SLOT: 1.0,
        "CPU": float(needs.cpus),
        "GPU": float(needs.gpus),
        "memory": float(needs.memory_bytes),
        f"{_TYPE}{needs.gpu_type}": _TOUCH if needs.gpu_type else 0.0,
        f"{_MACHINE}{machine.name}": _TOUCH,
        f"{_ADDRESS}{machine.address}": _TOUCH if machine.address else 0.0,
    }
    return {name: amount for name, amount in wanted.items() if amount}

"""Runs on this machine: one child process a run, one run a device at a time."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import time
from collections.abc import Sequence
from contextlib import ExitStack, suppress
from pathlib import Path
from typing import ClassVar

import psutil

from trilemma.catalog.files import HashCache
from trilemma.catalog.share import verified
from trilemma.errors import InvalidArtifactError, NotFoundError
from trilemma.jobs.base import Command, Ending, Identity
from trilemma.jobs.locks import try_lock
from trilemma.jobs.processes import RUN_VARIABLE, WORKER_VARIABLE, OomWatch, explain, identity, members
from trilemma.lifetimes import is_zombie
from trilemma.needs import ANYWHERE, Needs, has
from trilemma.records import Machine, RunRecord
from trilemma.schema import content_id
from trilemma.settings import Settings
from trilemma.store import Store

_KILL_WAIT_S = 10.0


class LocalExecutor:
    """Starts each run in a session of its own.

    A device is reserved by an exclusive ``flock`` on a file in the data folder. The run's process inherits the open
    file, so a device stays taken until the worker *and* what it started are gone, however they went. Who takes one slot
    of a device shares that lock with those who have the others, and holds one of the slot's own.

    Args:
        settings: Whose data folder holds the locks.
        inside: The settings that the runs' processes see; None for the same. Who makes a data folder for a run has
            seen to its weights.

    Raises:
        StoreError: the data folder cannot be written.
    """

    name: ClassVar[str] = "local"
    cluster: ClassVar[bool] = False

    def __init__(self, settings: Settings, inside: Settings | None = None) -> None:
        settings.ensure_home()
        self._settings = settings
        self._inside = inside or settings

    def lanes(self) -> int:
        """One: there is one device."""
        return 1

    def machines(self) -> tuple[Machine, ...]:
        """None: there is no choice."""
        return ()

    def reserve(self, device: str, needs: Needs = ANYWHERE, slot: int | None = None) -> LocalReservation | None:
        """The device's lock, or None while somebody holds it, or where another machine is asked for.

        Args:
            device: Which one.
            needs: What is asked for.
            slot: Which of its slots; None for the device with all of them.

        Raises:
            StoreError: a lock file cannot be opened.
        """
        if not has(self._settings.machine, needs):
            return None
        name = f"device-{_file_name(device)}"
        wanted = {f"{name}.lock": slot is not None} | ({} if slot is None else {f"{name}.{slot}.lock": False})
        locks = []
        with ExitStack() as undo:
            for file, shared in wanted.items():
                if (lock := try_lock(self._settings.home / file, shared=shared)) is None:
                    return None
                undo.callback(os.close, lock)
                locks.append(lock)
            undo.pop_all()
        hashes = HashCache(self._settings.home) if self._inside is self._settings else None
        return LocalReservation(locks, self._inside, hashes)

    def clear(self, run_id: str, worker_id: str, process: Identity | None) -> bool:
        """Kill what is left of an attempt at a run, and wait until it is gone."""
        return _kill(list(members(run_id, worker_id, process)))


class LocalReservation:
    """The locks of a device, held."""

    machine = ""

    def __init__(self, locks: Sequence[int], settings: Settings, hashes: HashCache | None) -> None:
        self._locks = locks
        self._hashes = hashes
        self._settings = settings

    def start(self, run: RunRecord, store: Store, worker_id: str, command: Command, log: Path) -> LocalHandle:
        """Start ``command`` with the locks, this worker's settings and the run's name in its environment.

        It writes to the store of those settings itself.

        Raises:
            InvalidArtifactError: weights that it measures are not those that were added to the catalog.
            OSError: it cannot be started.
        """
        if self._hashes is not None:
            _check_weights(run, store, self._hashes)
        environment = os.environ | {
            "TRILEMMA_HOME": str(self._settings.home),
            "TRILEMMA_DATABASE": self._settings.database_url,
            RUN_VARIABLE: run.id,
            WORKER_VARIABLE: worker_id,
        }
        memory = OomWatch()
        with log.open("ab") as output:
            child = subprocess.Popen(
                command(run.id),
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                env=environment,
                start_new_session=True,
                pass_fds=self._locks,
            )
        return LocalHandle(child, run.id, worker_id, memory)

    def release(self) -> None:
        """Close our side of the locks: unlocking them would take them from an inheriting process, too."""
        for lock in self._locks:
            os.close(lock)


class LocalHandle:
    """A child process that leads its own session and process group."""

    def __init__(self, child: subprocess.Popen[bytes], run_id: str, worker_id: str, memory: OomWatch) -> None:
        self._child = child
        self._run_id = run_id
        self._worker_id = worker_id
        self._memory = memory
        self.identity = identity(child.pid)  # ours until it is waited for, so it cannot be missing

    def poll(self) -> Ending | None:
        """None while it runs; what it left behind is killed once it has ended."""
        code = self._child.poll()
        return None if code is None else self._end(code)

    def stop(self, grace_s: float) -> Ending:
        """Terminate the group, kill it after ``grace_s`` seconds; with 0 it is not asked first."""
        if grace_s > 0 and self._child.poll() is None:
            with suppress(ProcessLookupError, PermissionError):
                os.killpg(self._child.pid, signal.SIGTERM)
            with suppress(subprocess.TimeoutExpired):
                self._child.wait(grace_s)
        if self._child.returncode is None:
            with suppress(ProcessLookupError, PermissionError):
                os.killpg(self._child.pid, signal.SIGKILL)
        return self._end(self._child.wait())

    def _end(self, code: int) -> Ending:
        _kill(list(members(self._run_id, self._worker_id, self.identity)))
        return explain(code, self._memory)


def _check_weights(run: RunRecord, store: Store, hashes: HashCache) -> None:
    """See that no file was replaced since: figures are kept, and used again, under the hash of what was added."""
    chosen = run.spec.configuration
    for artifact_id in filter(None, (chosen.artifact_id, chosen.adapter_id, run.spec.reference_id)):
        with suppress(NotFoundError):  # then the run says so itself
            artifact = store.artifact(artifact_id)
            path = Path(artifact.path)
            # Whether what is gone can be done without, the engine says.
            if artifact.format != "endpoint" and path.exists() and not verified(path, artifact, hashes):
                raise InvalidArtifactError(
                    f"{path} is no longer what was added as {artifact.label}.",
                    "Add it again, and measure the new artifact.",
                )


def _kill(processes: list[psutil.Process]) -> bool:
    for process in processes:
        with suppress(psutil.Error):
            process.kill()
    # Not psutil.wait_procs: it waits for zombies, too, which their parent may never collect.
    deadline = time.monotonic() + _KILL_WAIT_S
    while remaining := [process for process in processes if _running(process)]:
        if time.monotonic() > deadline:
            return False
        processes = remaining
        time.sleep(0.01)
    return True


def _running(process: psutil.Process) -> bool:
    try:
        return bool(process.is_running()) and not is_zombie(process)
    except psutil.Error:
        return False


def _file_name(device: str) -> str:
    plain = re.sub(r"[^A-Za-z0-9_-]", "_", device)[:40]
    return plain if plain == device else f"{plain}-{content_id(device, 8)}"

"""What the worker has on each machine of its Ray cluster: an agent that measures one run there.

The agent is a Ray actor. It holds the machine's device with the same lock that a worker there would hold, and starts
the same ``python -m trilemma.bench`` as a child, which writes to a small store of its own beside it. The worker asks
the agent how that run stands, and fetches all of it when it has ended. When the agent goes, for whatever reason, the
child notices and ends.
"""

from __future__ import annotations

import os
import shutil
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import psutil

import trilemma
from trilemma.bench.plan import check_engine
from trilemma.catalog.files import HashCache, megabytes
from trilemma.catalog.share import Share, place, verified
from trilemma.errors import CatalogError, InvalidArtifactError, RunCancelledError, TrilemmaError
from trilemma.jobs.base import Command, Ending
from trilemma.jobs.local import LocalExecutor, LocalHandle, LocalReservation
from trilemma.jobs.locks import try_lock
from trilemma.jobs.parcel import Files, Greeting, Parcel, Report, pack, unpack, write_files
from trilemma.jobs.processes import check_room
from trilemma.jobs.ray_cluster import forget_node_environment, load_ray
from trilemma.meters.machine import host_info
from trilemma.schema import Artifact, RunSpec
from trilemma.settings import Settings, get_settings
from trilemma.store import Store, open_store

_LOG_BYTES = 1 << 18
_LOOK_S = 0.1
_ATTEMPT = "attempt"
"""The file that says by what name the processes of a workspace's attempt go."""


class Agent:
    """Measures one run on the machine that it is made on. Its methods are called from several threads.

    What is asked of it and what it answers are documents (:mod:`trilemma.jobs.parcel`).
    """

    def __init__(self) -> None:
        self._settings = get_settings()
        forget_node_environment(self._settings)
        self._settings.ensure_home()
        self._hashes = HashCache(self._settings.home)
        self._note = ""
        self._cancelled = threading.Event()
        self._workspace: Path | None = None
        self._reservation: LocalReservation | None = None
        self._store: Store | None = None
        self._handle: LocalHandle | None = None
        self._run_id = ""
        self._log = Path()

    def hello(self) -> bytes:
        """A :class:`Greeting`."""
        return pack(Greeting(trilemma=trilemma.__version__, host=host_info()))

    def unfit(self, spec: bytes) -> str:
        """Why nothing can be measured here with the engine of a :class:`~trilemma.schema.RunSpec`, or nothing."""
        try:
            check_engine(unpack(RunSpec, spec))
        except TrilemmaError as error:
            return str(error)
        return ""

    def missing(self, parcel: bytes) -> list[str]:
        """The ids of those artifacts that are not on this machine."""
        wanted = unpack(Parcel, parcel)
        return [one.id for one in wanted.artifacts if one.format != "endpoint" and self._find(one) is None]

    def start(self, parcel: bytes, files: Files, worker_id: str, command: Command) -> bytes:
        """Bring the weights here and start the run's process; a :class:`Report`, with an ending if that cannot be.

        Args:
            parcel: The :class:`Parcel`.
            files: What the run reads.
            worker_id: Whose run it is.
            command: What measures it.
        """
        try:
            self._start(unpack(Parcel, parcel), files, worker_id, command)
        except (InvalidArtifactError, RunCancelledError, ValueError) as error:  # it would be so on any machine
            return pack(Report(ending=Ending(1, str(error))))
        except (TrilemmaError, OSError) as error:
            return pack(Report(ending=Ending(1, str(error) or type(error).__name__, refused=True)))
        return pack(Report())

    def report(self, after_ns: int, log_offset: int) -> tuple[bytes, bytes]:
        """A :class:`Report` with the samples later than ``after_ns``, and the log from ``log_offset`` on."""
        if self._handle is None or self._store is None:
            return pack(Report(note=self._note)), b""
        ending = self._handle.poll()  # first, so that what is read below is all there was
        run = self._store.run(self._run_id)
        report = Report(
            fraction=run.progress,
            note=run.note,
            phase=run.phase,
            remaining_s=run.remaining_s,
            begun=run.host is not None,
            samples=tuple(self._store.samples(self._run_id, after_ns=after_ns)),
            ending=ending,
        )
        return pack(report), self._log_from(log_offset)

    def results(self) -> bytes:
        """The :class:`~trilemma.records.WholeRun` as it is now."""
        assert self._store is not None, "only a run that was started has results"
        return pack(self._store.whole_run(self._store.run(self._run_id)))

    def stop(self, grace_s: float) -> bytes:
        """End the run; a :class:`Report` of how it ended."""
        self._cancelled.set()
        if self._handle is None:
            return pack(Report(ending=Ending(0, "It had not begun.")))
        return pack(Report(ending=self._handle.stop(grace_s)))

    def close(self) -> None:
        """Give the device back, and remove what the run left here."""
        self.stop(0)
        if self._store is not None:
            self._store.close()
        if self._workspace is not None:
            shutil.rmtree(self._workspace, ignore_errors=True)
        if self._reservation is not None:
            self._reservation.release()
            self._reservation = None

    def _start(self, parcel: Parcel, files: Files, worker_id: str, command: Command) -> None:
        check_room(self._settings.home)
        if parcel.run.spec.needs.gpus:  # else the run sees all that the machine shows
            os.environ["CUDA_VISIBLE_DEVICES"] = ",".join(map(str, load_ray().get_gpu_ids()))
        attempt = f"{worker_id}:{parcel.run.attempt}"  # what an earlier one left may be ended, and this one not
        inside = self._make_workspace(parcel, attempt)
        self._reservation = self._reserve(LocalExecutor(self._settings, inside))
        self._note = ""
        write_files(inside, files)
        artifacts = [self._bring(artifact) for artifact in parcel.artifacts]
        store = open_store(inside.database_url)
        for artifact in artifacts:
            store.add_artifact(artifact)
        store.lend_run(parcel.run, parcel.studies, parcel.others)
        self._run_id, self._log = parcel.run.id, inside.logs_dir / f"{parcel.run.id}.log"
        if self._cancelled.is_set():
            raise RunCancelledError("The run was cancelled.", "Retry it from the queue.")
        handle = self._reservation.start(parcel.run, store, attempt, command, self._log)
        self._store, self._handle = store, handle

    def _make_workspace(self, parcel: Parcel, attempt: str) -> Settings:
        """A data folder for this attempt alone; what agents that are gone have left behind is ended and removed."""
        base = self._settings.home / "node"
        for left in base.glob("*-*-*"):
            run_id, _, pid = left.name.rsplit("-", 2)
            if pid.isdigit() and not psutil.pid_exists(int(pid)):
                with suppress(OSError):
                    LocalExecutor(self._settings).clear(run_id, (left / _ATTEMPT).read_text(), None)
                shutil.rmtree(left, ignore_errors=True)
        if not parcel.run.id.isalnum():
            raise ValueError(f"{parcel.run.id!r} cannot be the id of a run.")
        self._workspace = base / f"{parcel.run.id}-{parcel.run.attempt}-{os.getpid()}"
        inside = self._settings.model_copy(update={"home": self._workspace, "database": ""})
        inside.ensure_home()
        (self._workspace / _ATTEMPT).write_text(attempt)
        tasks, dashboards = self._settings.home / "lm_eval_tasks", self._settings.dashboards_dir
        dashboards.mkdir(exist_ok=True)  # one may be opened while the run lasts
        for folder in (tasks, dashboards):
            if folder.is_dir():
                (inside.home / folder.name).symlink_to(folder)
        return inside

    def _reserve(self, executor: LocalExecutor) -> LocalReservation:
        """The device, or one of its slots, against whatever else measures here: a worker, a try-out, an orphan.

        It is waited for as a worker waits for it: to fail the run would fail all that come to this machine after it.
        """
        slots: list[int | None] = [*range(self._settings.slots)] if self._settings.slots > 1 else [None]
        while True:
            for slot in slots:
                if (found := executor.reserve(self._settings.device, slot=slot)) is not None:
                    return found
            self._note = "Waiting for what else measures on its machine"
            self._wait()

    def _wait(self) -> None:
        if self._cancelled.wait(_LOOK_S):
            raise RunCancelledError("The run was cancelled.", "Retry it from the queue.")

    def _bring(self, artifact: Artifact) -> Artifact:
        """The artifact with its path here, its hash checked.

        Raises:
            CatalogError: it is not to be had.
        """
        if artifact.format == "endpoint":
            return artifact
        path = self._find(artifact)
        if path is None:
            with self._alone_with(artifact):
                path = self._find(artifact) or self._fetch(artifact)
        return artifact.model_copy(update={"path": str(path)})

    @contextmanager
    def _alone_with(self, artifact: Artifact) -> Iterator[None]:
        """While the agents of other slots wait: what one brings here, all find."""
        self._own.mkdir(parents=True, exist_ok=True)
        while (lock := try_lock(self._own / f".{artifact.id}.lock")) is None:
            self._note = f"Waiting for {artifact.label}, which another run fetches"
            self._wait()
        try:
            yield
        finally:
            os.close(lock)

    def _fetch(self, artifact: Artifact) -> Path:
        if not self._settings.artifacts_url:
            raise CatalogError(
                f"{artifact.label} ({artifact.id[:12]}) is not on this machine.",
                "Set TRILEMMA_ARTIFACTS_URL on every machine to a folder that all of them see, or to an object store.",
            )
        path = Share(self._settings.artifacts_url).get(artifact, self._own, self._progress)
        if not verified(path, artifact, self._hashes):
            raise CatalogError(f"{artifact.label} arrived damaged.", "Look at the disk of this machine, then retry.")
        return path

    @property
    def _own(self) -> Path:
        return self._settings.artifacts_dir / "shared"

    def _find(self, artifact: Artifact) -> Path | None:
        """Among what was brought here before, then where the worker's machine has it: a disk that both see."""
        for path in (place(self._own / artifact.id), Path(artifact.path)):
            if verified(path, artifact, self._hashes):
                return path
        return None

    def _progress(self, done: int, total: int) -> None:
        if self._cancelled.is_set():
            raise RunCancelledError("The run was cancelled.", "Retry it from the queue.")
        self._note = f"Fetching weights: {megabytes(done)} of {megabytes(total)}"

    def _log_from(self, offset: int) -> bytes:
        with suppress(OSError), self._log.open("rb") as file:
            file.seek(offset)
            return file.read(_LOG_BYTES)
        return b""

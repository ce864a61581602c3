"""Takes runs from the queue and sees each to its end, one at a time on its device.

Whatever is killed, and whenever: a run is claimed in one transaction, only while the device's lock is held; the run's
own process inherits that lock; and a run whose worker is gone is put back into the queue only after its process has
been ended, and only while it is still that worker's. So no run is lost, and none runs twice at once. On a machine that
is lost, a process may live on unseen: what it records goes nowhere, because nobody fetches it any more.
"""

from __future__ import annotations

import logging
import os
import secrets
import socket
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial

from trilemma import registry
from trilemma.errors import DatabaseUnavailableError, InvalidArtifactError, NotFoundError, StoreError
from trilemma.jobs.base import Command, Ending, Executor, Handle, Identity, Reservation
from trilemma.jobs.logs import log_path, log_tail
from trilemma.jobs.processes import alive, check_room, stopped_by_signals, with_last_words
from trilemma.jobs.queue import idle
from trilemma.needs import has
from trilemma.records import RunRecord
from trilemma.schema import RunState
from trilemma.settings import Settings
from trilemma.store import Store
from trilemma.store.kept import path_of, patiently, restore

log = logging.getLogger(__name__)

_RETRY_S = 5.0

_working: set[str] = set()
"""The ids of this process's workers: their pid alone does not tell them apart."""


def bench_command(run_id: str) -> list[str]:
    """Measure a run in a process of its own that ends when this one does."""
    return [sys.executable, "-m", "trilemma.bench", run_id, "--parent-pid", str(os.getpid())]


class Worker:
    """Works through the queue of one device.

    Args:
        store: Where the queue is.
        settings: Of the same store: a run's process finds its store through them.
        executor: Where runs run; None for the one that the settings name.
        command: What measures the run of a given id.
        device: Whose runs to take; None for this machine's, as the settings name it.
        poll_s: How often the run's process and its cancellation are looked at, s.
        grace_s: How long a cancelled run may take to end by itself, s.
        max_interruptions: A run whose worker vanished so many times is failed instead of tried again.
    """

    def __init__(
        self,
        store: Store,
        settings: Settings,
        executor: Executor | None = None,
        *,
        command: Command = bench_command,
        device: str | None = None,
        poll_s: float = 0.5,
        grace_s: float = 5.0,
        max_interruptions: int = 3,
    ) -> None:
        self.id = f"{socket.gethostname()}:{os.getpid()}:{secrets.token_hex(4)}"
        self._store = store
        self._settings = settings
        self._executor = executor or registry.load("trilemma.executors", settings.executor_name)(settings)
        self._command = command
        self._device = device or settings.device
        self._takes = None if self._executor.cluster else partial(has, settings.machine)
        self._poll_s = poll_s
        self._grace_s = grace_s
        self._max_interruptions = max_interruptions

    def run(self, stop: threading.Event | None = None, *, once: bool = False, drain: bool = False) -> int:
        """Work until ``stop`` is set, or SIGTERM or SIGINT comes; the run at hand then goes back into the queue.

        Args:
            stop: Ends the work.
            once: End after one run, or when none can start.
            drain: End when nothing is left to do, or when the queue is paused.

        Returns:
            How many runs were started.

        Raises:
            StoreError: the store or the data folder cannot be used (only at the beginning; later it is tried again;
                with ``once`` or ``drain``, a database that is away is waited for as long as the settings say).
        """
        stop = stop or threading.Event()
        self._settings.ensure_home()
        started = 0
        give_up_at = time.monotonic() + self._settings.database_patience_s
        _working.add(self.id)
        try:
            with stopped_by_signals(stop):
                while not stop.is_set():
                    try:
                        worked = self.step(stop)
                    except NotFoundError:  # deleted under our hands
                        continue
                    except StoreError as error:
                        away = isinstance(error, DatabaseUnavailableError) and time.monotonic() < give_up_at
                        if (once or drain) and not away:
                            raise
                        log.error("%s Trying again in %.0f s.", error, _RETRY_S)
                        stop.wait(_RETRY_S)
                        continue
                    give_up_at = time.monotonic() + self._settings.database_patience_s
                    started += worked
                    if once or (drain and not worked and idle(self._store, self._device, self._takes)):
                        break
                    if not worked:
                        stop.wait(self._poll_s)
        finally:
            _working.discard(self.id)
        return started

    def step(self, stop: threading.Event) -> bool:
        """Mend what dead workers left, then do the next run; False when none can start now."""
        self.recover()
        for run_id in self._store.reruns_due(self._device):
            again = self._store.add_rerun(run_id)
            log.info("Run %s was disturbed; it is measured once more as %s", run_id, again, extra={"run": run_id})
        needed = self._store.waiting_needs(self._device)
        if needed:  # else each of them would be begun, and fail
            check_room(self._settings.home)
        for needs in needed:
            reservation = self._executor.reserve(self._device, needs)
            if reservation is None:
                continue
            try:
                run = self._store.claim_next(self.id, self._device, needs=needs, machine=reservation.machine)
                if run is None:
                    continue
                self._measure(run, reservation, stop)
            finally:
                reservation.release()
            return True
        return False

    def recover(self) -> None:
        """Put runs whose worker is gone back into the queue, their processes ended.

        Several workers may find the same one: it is given back only while it is still the lost worker's.
        """
        for run, worker_id, process in self._orphans():
            if not self._executor.clear(run.id, worker_id, process):
                log.warning("What is left of run %s does not end", run.id, extra={"run": run.id})
                continue
            if self._restore(run.id):
                continue
            log.warning("The worker of run %s vanished", run.id, extra={"run": run.id})
            self._start_over(run.id, worker_id, "Its worker vanished.")

    def _start_over(self, run_id: str, worker_id: str, cause: str, *, refused: bool = False) -> None:
        """Give back what ``worker_id`` was interrupted at; or give it up, where that happened too often.

        Args:
            run_id: The run.
            worker_id: Only while it is that worker's.
            cause: What interrupted it, in a sentence.
            refused: Whether its machine did not take it, which does not count.
        """
        count = self._store.interruptions(run_id) + 1
        if self._store.cancel_requested(run_id):
            state, reason = RunState.CANCELLED, "Cancelled."
        elif refused:
            text = f"{cause} It waits for another machine, or until that one is asked again."
            self._store.release(run_id, text, owner=worker_id)
            return
        elif count >= self._max_interruptions:
            state = RunState.FAILED
            reason = f"The run was interrupted {count} times, at last so: {cause} Find out what ends it, then retry."
        else:
            self._store.release(run_id, f"{cause} It starts over.", interrupted=True, owner=worker_id)
            return
        tail = log_tail(self._settings, run_id)
        self._store.finish_run(run_id, state, reason=reason, log_tail=tail, owner=worker_id)

    def _orphans(self) -> Iterator[tuple[RunRecord, str, Identity | None]]:
        for run in self._store.runs(states=(RunState.RUNNING,)):
            owner = self._store.owner(run.id)
            if run.spec.device != self._device or owner is None or self._lives(owner):
                continue
            process = self._store.process(run.id)
            yield run, owner[0], None if process is None else Identity(*process[1:])

    def _lives(self, owner: tuple[str, int, float]) -> bool:
        worker_id, pid, created = owner
        if worker_id == self.id:
            return False  # asked only between our runs
        if pid == os.getpid():
            return worker_id in _working
        if worker_id.partition(":")[0] != self.id.partition(":")[0]:
            # On another machine, which we cannot know; or on this one under an earlier name, as containers have.
            return self._executor.cluster or self._settings.shares_database or not self._device_is_free()
        return alive(Identity(pid, created))

    def _device_is_free(self) -> bool:
        """Whether no run is measured here: the process of one holds the device as long as it lives."""
        reservation = self._executor.reserve(self._device)
        if reservation is None:
            return False
        reservation.release()
        return True

    def _measure(self, run: RunRecord, reservation: Reservation, stop: threading.Event) -> None:
        path = log_path(self._settings, run.id)
        log.info("Run %s, attempt %d, begins; its log is %s", run.id, run.attempt, path, extra={"run": run.id})
        try:
            handle = reservation.start(run, self._store, self.id, self._command, path)
        except InvalidArtifactError as error:
            self._store.finish_run(run.id, RunState.FAILED, reason=str(error), owner=self.id)
            return
        except OSError as error:
            why = f"The run could not be started ({error}). Check the disk and the installation, then retry."
            self._store.finish_run(run.id, RunState.FAILED, reason=why, owner=self.id)
            return
        cancelled = False
        try:
            if handle.identity is not None:
                try:
                    self._store.set_process(run.id, *handle.identity)
                except StoreError as error:  # it has finished already, or can be found without
                    log.debug("%s", error)
            ending = self._watch(run.id, handle, stop)
            if ending is None:
                cancelled = self._store.cancel_requested(run.id)
                # A worker that ends does not ask the run to: a run that is asked ends as cancelled.
                handle.stop(self._grace_s if cancelled else 0)
        except BaseException:
            handle.stop(0)
            raise
        if ending is None:
            self._settle(run.id, None, cancelled=cancelled)
        else:  # what it recorded, or could not record, shall not be lost with the database's being away
            patience_s = self._settings.database_patience_s
            patiently(lambda: self._settle(run.id, ending, cancelled=False), patience_s, stop.is_set)

    def _settle(self, run_id: str, ending: Ending | None, *, cancelled: bool) -> None:
        """See to it that a run whose process is gone has an end in the store."""
        tail = log_tail(self._settings, run_id)
        ending = ending and with_last_words(ending, tail)
        if cancelled:
            reason = "Cancelled while it ran."
            self._store.finish_run(run_id, RunState.CANCELLED, reason=reason, log_tail=tail, owner=self.id)
        elif ending is None:
            self._store.release(run_id, "The worker was stopped; the run starts over.", owner=self.id)
        elif self._store.run(run_id).state is RunState.RUNNING and not self._restore(run_id):
            if ending.lost or ending.refused:
                log.warning("Run %s: %s", run_id, ending.explanation, extra={"run": run_id})
                self._start_over(run_id, self.id, ending.explanation, refused=ending.refused)
            else:
                self._store.finish_run(run_id, RunState.FAILED, reason=ending.explanation, log_tail=tail, owner=self.id)
        state = self._store.run(run_id).state
        log.info("Run %s is %s", run_id, state.label, extra={"run": run_id, "state": state.value})

    def _restore(self, run_id: str) -> bool:
        """Record what a run kept in a file while the database was away; whether it is finished by that."""
        restored = restore(self._store, path_of(self._settings.logs_dir, run_id), run_id)
        if restored:
            log.info("Run %s is recorded from the file in which it was kept", run_id, extra={"run": run_id})
        return restored

    def _watch(self, run_id: str, handle: Handle, stop: threading.Event) -> Ending | None:
        """The run's ending by itself; None when it shall be stopped."""
        while True:
            try:
                with _outlived():
                    if (ending := handle.poll()) is not None:
                        return ending
                with _outlived():  # also where what it recorded cannot be brought here
                    if self._store.cancel_requested(run_id):
                        return None
            except NotFoundError:
                return None
            if stop.wait(self._poll_s):
                return None


@contextmanager
def _outlived() -> Iterator[None]:
    """A benchmark is not thrown away because the store cannot be asked; only that a run is gone ends it."""
    try:
        yield
    except NotFoundError:
        raise
    except StoreError as error:
        log.warning("%s", error)

"""As many workers as the executor has use for: one on this machine alone, one a slot of a cluster."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Sequence
from functools import partial
from typing import Any

from trilemma import registry
from trilemma.errors import DatabaseUnavailableError, RunError, StoreError, TrilemmaError
from trilemma.jobs.base import Executor
from trilemma.jobs.local import LocalExecutor
from trilemma.jobs.processes import stopped_by_signals
from trilemma.jobs.queue import idle
from trilemma.jobs.worker import Worker
from trilemma.needs import Needs
from trilemma.records import Machine
from trilemma.settings import Settings
from trilemma.store import Store

log = logging.getLogger(__name__)

_LOOK_S = 2.0
_CREW = "crew of {}"
"""The lock of those who work through the queue of a device; no device can be called so."""


def work(
    store: Store, settings: Settings, stop: threading.Event | None = None, *, drain: bool = False, **options: Any
) -> None:
    """Work through the queue until ``stop`` is set, or SIGTERM or SIGINT comes.

    Args:
        store: Where the queue is.
        settings: Of the same store.
        stop: Ends the work.
        drain: End when nothing is left to do, or when the queue is paused.
        options: For each :class:`Worker`.

    Raises:
        StoreError: the store or the data folder cannot be used.
        RunError: with ``drain``, the cluster cannot be reached.
    """
    executor: Executor = registry.load("trilemma.executors", settings.executor_name)(settings)
    stop = stop or threading.Event()
    if not executor.cluster:
        Worker(store, settings, executor, **options).run(stop, drain=drain)
        return
    with stopped_by_signals(stop):
        # One hands out the runs; another waits until it is gone, or has left nothing to do.
        while (lock := LocalExecutor(settings).reserve(_CREW.format(settings.device))) is None:
            if stop.wait(_LOOK_S) or (drain and idle(store, settings.device)):
                return
        try:
            _Crew(store, settings, executor, options).run(stop, drain=drain)
        finally:
            lock.release()


def _taken(machines: Sequence[Machine], needs: Needs) -> bool:
    return any(machine.takes(needs) for machine in machines)


class _Crew:
    """Workers in threads of this process; each sees one run at a time to its end."""

    def __init__(self, store: Store, settings: Settings, executor: Executor, options: dict[str, Any]) -> None:
        self._store = store
        self._settings = settings
        self._executor = executor
        self._options = options
        self._threads: list[threading.Thread] = []

    def run(self, stop: threading.Event, *, drain: bool) -> None:
        known: set[str] = set()
        remarked: dict[str, tuple[str, ...]] = {}
        device, patience_s = self._settings.device, self._settings.database_patience_s
        give_up_at = time.monotonic() + patience_s
        try:
            while not stop.is_set():
                try:
                    machines, lanes = self._executor.machines(), self._executor.lanes()
                    self._store.see_machines(machines, device)
                    takes = partial(_taken, machines)
                    done = drain and idle(self._store, device, takes, "what no machine has that takes runs now")
                except (RunError, StoreError) as error:
                    away = isinstance(error, DatabaseUnavailableError) and time.monotonic() < give_up_at
                    if drain and not away:
                        raise
                    log.error("%s Trying again.", error)
                    stop.wait(_LOOK_S)
                    continue
                give_up_at = time.monotonic() + patience_s
                names = {machine.name for machine in machines}
                for name in sorted(names ^ known):
                    log.info("%s is %s", name, "there" if name in names else "gone")
                known = names
                for machine in machines:
                    for remark in set(machine.remarks) - set(remarked.get(machine.name, ())):
                        log.warning("%s: %s", machine.name, remark)
                remarked = {machine.name: machine.remarks for machine in machines}
                self._threads = [thread for thread in self._threads if thread.is_alive()]
                if done:
                    break
                for _ in range(len(self._threads), lanes):
                    self._add(stop)
                stop.wait(_LOOK_S if not drain else _LOOK_S / 4)
        finally:
            stop.set()
            for thread in self._threads:
                thread.join()

    def _add(self, stop: threading.Event) -> None:
        worker = Worker(self._store, self._settings, self._executor, **self._options)
        thread = threading.Thread(target=self._work, args=(worker, stop), daemon=True)
        thread.start()
        self._threads.append(thread)

    @staticmethod
    def _work(worker: Worker, stop: threading.Event) -> None:
        try:
            worker.run(stop)
        except TrilemmaError as error:  # the next look at the machines brings another worker
            log.error("A worker ended: %s", error)
        except Exception:
            log.exception("A worker ended")

"""Whose turn it is on this machine: a try-out's, or the queue's. Runs go first."""

from __future__ import annotations

import time

from trilemma import registry
from trilemma.errors import RunError
from trilemma.jobs.base import Executor, Reservation
from trilemma.jobs.local import LocalExecutor
from trilemma.schema import RunState
from trilemma.settings import Settings, get_settings
from trilemma.store import Store

_LOOK_S = 0.1
# A worker that looks for its next run holds the device for a moment, twice a second.
_WITHIN_S = 3.0


def reserve(settings: Settings, store: Store, within_s: float = _WITHIN_S) -> Reservation:
    """The device for ourselves, as a worker reserves it.

    Raises:
        RunError: a run is measured or waits, or another try-out has the device.
        TrilemmaError: there is no such executor, or the store or the data folder cannot be used.
    """
    executor: Executor = registry.load("trilemma.executors", settings.executor)(settings)
    if executor.cluster:  # whose machines measure runs; a try-out is answered on this one
        executor = LocalExecutor(settings)
    deadline = time.monotonic() + within_s
    while True:
        check_queue(store)
        if (reservation := executor.reserve(settings.device)) is not None:
            return reservation
        for run in store.runs(states=(RunState.RUNNING,)):
            if run.spec.device == settings.device:
                label = store.artifact(run.spec.configuration.artifact_id).label
                raise RunError(
                    f"A run is being measured ({label}, {run.progress:.0%} done), and a model that answers beside it "
                    "would falsify it.",
                    "Wait until it is done, or cancel it on the Queue page.",
                )
        if time.monotonic() > deadline:
            raise RunError("Something else has this machine, perhaps another try-out.", "Try again in a moment.")
        time.sleep(_LOOK_S)


def check_queue(store: Store) -> None:
    """See that no run waits for the device in a queue that is not paused.

    Raises:
        RunError: one does.
        StoreError: the store cannot be read.
    """
    if store.queue_paused():
        return
    device = get_settings().device
    if store.waiting_needs(device) or store.reruns_due(device):
        raise RunError(
            "Runs wait in the queue, and they go first: one thing at a time uses this machine.",
            "Wait until they are measured, or pause the queue on the Queue page.",
        )

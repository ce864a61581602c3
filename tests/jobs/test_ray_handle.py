"""What the worker makes of what a machine answers, or does not; without a cluster."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, cast

import pytest
from support import add_runs

from trilemma.errors import DatabaseUnavailableError, RunError
from trilemma.jobs import ray_run
from trilemma.jobs.base import Ending
from trilemma.jobs.parcel import Report
from trilemma.jobs.ray_run import Journey, RayHandle
from trilemma.records import RunRecord
from trilemma.schema import RunState
from trilemma.store import Store


class Machine:
    """In place of a journey to one: it answers what it was told to, and raises what is an error."""

    patience_s = 20.0

    def __init__(self, store: Store, run: RunRecord, *begins: str | Exception) -> None:
        self.store, self.run, self.begins = store, run, [*begins]
        self.report_or_error: Report | Exception = Report(note="Fetching weights")
        self.over = threading.Event()

    def begin(self, worker_id: str, command: Any) -> str:
        return cast(str, self._told(self.begins.pop(0)))

    def report(self, after_ns: int, log_offset: int) -> tuple[Report, bytes]:
        return cast(Report, self._told(self.report_or_error)), b""

    def results(self) -> Any:
        return self.store.whole_run(self.run)

    def stop(self, grace_s: float) -> Ending:
        return Ending(0, "It had not begun.")

    def gone(self, error: Exception) -> bool:
        return isinstance(error, ConnectionResetError)

    def unreached(self, error: Exception) -> bool:
        return isinstance(error, ConnectionError)

    @staticmethod
    def _told(answer: object) -> object:
        if isinstance(answer, Exception):
            raise answer
        return answer


@pytest.fixture
def run(store: Store) -> RunRecord:
    add_runs(store, 1)
    claimed = store.claim_next("w", machine="north")
    assert claimed is not None
    return claimed


def handle_of(machine: Machine, tmp_path: Path) -> RayHandle:
    return RayHandle(cast(Journey, machine), "north", "w", lambda _: [], tmp_path / "run.log")


def until(condition: Callable[[], object]) -> None:
    deadline = time.monotonic() + 20
    while not condition():
        assert time.monotonic() < deadline, "it never came true"
        time.sleep(0.01)


def test_a_database_that_is_away_at_the_beginning_costs_no_run(store: Store, run: RunRecord, tmp_path: Path) -> None:
    machine = Machine(store, run, DatabaseUnavailableError("It is away."), DatabaseUnavailableError("Still."), "")
    handle = handle_of(machine, tmp_path)
    until(lambda: not machine.begins)
    assert handle.poll() is None
    assert store.run(run.id).note == "Fetching weights"


def test_a_machine_that_cannot_be_reached_at_the_beginning_is_lost_and_not_at_fault(
    store: Store, run: RunRecord, tmp_path: Path
) -> None:
    handle = handle_of(Machine(store, run, ConnectionError("no way")), tmp_path)
    until(handle.poll)
    ending = handle.poll()
    assert ending is not None
    assert ending.lost
    assert "starts over" in ending.explanation


def test_what_a_machine_refuses_fails_the_run_with_its_words(store: Store, run: RunRecord, tmp_path: Path) -> None:
    handle = handle_of(Machine(store, run, RunError("It has another version.", "Install it.")), tmp_path)
    until(handle.poll)
    ending = handle.poll()
    assert ending is not None
    assert not ending.lost
    assert "another version" in ending.explanation


def test_silence_counts_as_loss_only_when_it_lasts(
    store: Store, run: RunRecord, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ray_run, "_LOST_S", 0.3)
    machine = Machine(store, run, "")
    handle = handle_of(machine, tmp_path)
    assert handle.poll() is None
    machine.report_or_error = TimeoutError()
    assert handle.poll() is None
    until(handle.poll)
    ending = handle.poll()
    assert ending is not None
    assert ending.lost


def test_a_late_answer_of_a_run_that_is_elsewhere_by_now_ends_the_watch(
    store: Store, run: RunRecord, tmp_path: Path
) -> None:
    machine = Machine(store, run, "")
    handle = handle_of(machine, tmp_path)
    store.release(run.id, interrupted=True)
    again = store.claim_next("w2", machine="south")
    assert again is not None
    machine.report_or_error = Report(fraction=1.0, begun=True, ending=(0, "It ended."))
    ending = handle.poll()
    assert ending is not None
    assert "no longer" in ending.explanation
    now = store.run(run.id)
    assert (now.state, now.attempt, now.machine) == (RunState.RUNNING, 2, "south")
    handle.stop(0)
    assert machine.over.is_set()

"""What the worker makes of what a machine answers, or does not; without a cluster."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest
from stand_in import HOST
from support import add_runs

from trilemma.errors import DatabaseUnavailableError, RunError, StoreError
from trilemma.jobs import Worker, ray_run
from trilemma.jobs.base import Ending, Executor
from trilemma.jobs.parcel import Report
from trilemma.jobs.ray_cluster import load_ray, machines_of
from trilemma.jobs.ray_run import Journey, RayHandle
from trilemma.needs import ANYWHERE, Needs
from trilemma.records import RunRecord
from trilemma.schema import RunState
from trilemma.settings import Settings
from trilemma.store import Store


class Machine:
    """In place of a journey to one: it answers what it was told to, and raises what is an error."""

    patience_s = 20.0

    def __init__(self, store: Store, run: RunRecord, *begins: Ending | Exception | None) -> None:
        self.store, self.run, self.begins = store, run, [*begins]
        self.left_out: list[tuple[str, str, str]] = []
        self.report_or_error: Report | Exception = Report(note="Fetching weights")
        self.results_or_error: Exception | None = None
        self.over = threading.Event()

    def begin(self, worker_id: str, command: Any) -> Ending | None:
        return cast(Ending | None, self._told(self.begins.pop(0)))

    def report(self, after_ns: int, log_offset: int) -> tuple[Report, bytes]:
        return cast(Report, self._told(self.report_or_error)), b""

    def results(self) -> Any:
        return self._told(self.results_or_error or self.store.whole_run(self.run))

    def stop(self, grace_s: float) -> Ending:
        return Ending(0, "It had not begun.")

    def gone(self, error: Exception) -> bool:
        return isinstance(error, ConnectionResetError)

    def unmade(self, error: Exception) -> bool:
        return isinstance(error, ConnectionRefusedError)

    def unreached(self, error: Exception) -> bool:
        return isinstance(error, ConnectionError)

    def cause(self, error: Exception) -> str:
        return f"failed: {error}"

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
    def leave_out(*one: str) -> None:
        machine.left_out.append(cast(tuple[str, str, str], one))

    return RayHandle(cast(Journey, machine), "north", "w", lambda _: [], tmp_path / "run.log", leave_out)


def until(condition: Callable[[], object]) -> None:
    deadline = time.monotonic() + 20
    while not condition():
        assert time.monotonic() < deadline, "it never came true"
        time.sleep(0.01)


def test_a_database_that_is_away_at_the_beginning_costs_no_run(store: Store, run: RunRecord, tmp_path: Path) -> None:
    machine = Machine(store, run, DatabaseUnavailableError("It is away."), DatabaseUnavailableError("Still."), None)
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
    assert ending.explanation == "north failed: no way."


def test_what_is_wrong_with_the_run_itself_fails_it_and_no_machine(
    store: Store, run: RunRecord, tmp_path: Path
) -> None:
    machine = Machine(store, run, RunError("The file is not here.", "Add it again."))
    handle = handle_of(machine, tmp_path)
    until(handle.poll)
    assert handle.poll() == Ending(1, "The file is not here. Add it again.")
    assert machine.left_out == []


def test_a_machine_that_refuses_a_run_is_left_out(store: Store, run: RunRecord, tmp_path: Path) -> None:
    machine = Machine(store, run, Ending(1, "It has another version.", refused=True, engine="vllm"))
    handle = handle_of(machine, tmp_path)
    until(handle.poll)
    assert machine.left_out == [("north", "It has another version.", "vllm")]


def test_an_agent_that_cannot_be_made_refuses_every_run(store: Store, run: RunRecord, tmp_path: Path) -> None:
    machine = Machine(store, run, ConnectionRefusedError("config.toml"))
    handle = handle_of(machine, tmp_path)
    until(handle.poll)
    assert handle.poll() == Ending(-9, "north failed: config.toml.", refused=True)
    assert machine.left_out == [("north", "north failed: config.toml.", "")]


def test_an_agent_that_holds_back_its_results_is_lost_after_a_while(
    store: Store, run: RunRecord, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also while it goes on answering how the run stands."""
    monkeypatch.setattr(ray_run, "_LOST_S", 0.3)
    machine = Machine(store, run, None)
    handle = handle_of(machine, tmp_path)
    assert handle.poll() is None
    machine.report_or_error = Report(fraction=1.0, begun=True, ending=Ending(0, "It ended."))
    machine.results_or_error = TimeoutError()
    assert handle.poll() is None
    until(handle.poll)
    ending = handle.poll()
    assert ending is not None
    assert ending.lost
    assert machine.left_out == [], "it had begun"


def test_silence_counts_as_loss_only_when_it_lasts(
    store: Store, run: RunRecord, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ray_run, "_LOST_S", 0.3)
    machine = Machine(store, run, None)
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
    machine = Machine(store, run, None)
    handle = handle_of(machine, tmp_path)
    store.release(run.id, interrupted=True)
    again = store.claim_next("w2", machine="south")
    assert again is not None
    machine.report_or_error = Report(fraction=1.0, begun=True, ending=Ending(0, "It ended."))
    ending = handle.poll()
    assert ending is not None
    assert "no longer" in ending.explanation
    now = store.run(run.id)
    assert (now.state, now.attempt, now.machine) == (RunState.RUNNING, 2, "south")
    handle.stop(0)
    assert machine.over.is_set()
    with pytest.raises(StoreError, match="attempt 2"):  # as the thread would that brought the first one there
        store.start_run(run.id, HOST, attempt=1)
    assert store.run(run.id).host is None


class Cluster:
    """An executor whose machines each fail the run that they are given, in their own way."""

    name, cluster = "cluster", True

    def __init__(self, store: Store, *causes: str) -> None:
        self.store, self.causes, self.cleared = store, [*causes], 0

    def reserve(self, device: str, needs: Needs = ANYWHERE) -> Any:
        self.machine = f"machine-{len(self.causes)}"
        return self

    def start(self, run: RunRecord, store: Store, worker_id: str, command: Any, log: Path) -> Any:
        assert run.machine == self.machine
        return self

    identity = None

    def poll(self) -> Ending:
        return Ending(-9, f"{self.machine} {self.causes.pop(0)}.", lost=True)

    def stop(self, grace_s: float) -> Ending:
        raise AssertionError("it has ended by itself")

    def release(self) -> None:
        self.cleared += 1


def test_a_lost_run_says_each_time_what_ended_it_and_is_given_up_after_three(store: Store, settings: Settings) -> None:
    ids = add_runs(store, 1)
    cluster = Cluster(store, "was lost", "was lost", "could not begin (SettingsError: slots is no number)")
    worker = Worker(store, settings, cast(Executor, cluster), poll_s=0.01)
    for attempt in (1, 2):
        assert worker.step(threading.Event())
        run = store.run(ids[0])
        assert (run.state, run.attempt, run.machine) == (RunState.WAITING, attempt, "")
        assert run.reason == f"machine-{4 - attempt} was lost. It starts over."
        assert store.interruptions(run.id) == attempt
    assert worker.step(threading.Event())
    run = store.run(ids[0])
    assert (run.state, run.attempt) == (RunState.FAILED, 3)
    assert "3 times" in run.reason
    assert "machine-1 could not begin (SettingsError: slots is no number)" in run.reason
    assert cluster.cleared == 3
    assert not worker.step(threading.Event())


def test_a_run_that_a_machine_refuses_waits_and_is_none_the_worse(store: Store, settings: Settings) -> None:
    ids = add_runs(store, 1)
    cluster = Cluster(store)
    cluster.poll = lambda: Ending(1, "north does not take it: it is full.", refused=True)  # type: ignore[method-assign]
    worker = Worker(store, settings, cast(Executor, cluster), poll_s=0.01, max_interruptions=1)
    for attempt in (1, 2, 3):
        assert worker.step(threading.Event())
        run = store.run(ids[0])
        assert (run.state, run.attempt, store.interruptions(run.id)) == (RunState.WAITING, attempt, 0)
    assert run.reason == (
        "north does not take it: it is full. It waits for another machine, or until that one is asked again."
    )
    refuse = cluster.poll

    def cancelled_meanwhile() -> Ending:
        store.request_cancel(ids[0])
        return refuse()

    cluster.poll = cancelled_meanwhile  # type: ignore[method-assign]
    assert worker.step(threading.Event())
    assert store.run(ids[0]).state is RunState.CANCELLED


def test_a_lost_run_that_was_to_be_cancelled_does_not_start_over(store: Store, settings: Settings) -> None:
    ids = add_runs(store, 1)
    cluster = Cluster(store, "was lost")
    lose = cluster.poll

    def cancelled_meanwhile() -> Ending:
        store.request_cancel(ids[0])
        return lose()

    cluster.poll = cancelled_meanwhile  # type: ignore[method-assign]
    assert Worker(store, settings, cast(Executor, cluster), poll_s=0.01).step(threading.Event())
    assert store.run(ids[0]).state is RunState.CANCELLED
    assert store.interruptions(ids[0]) == 0


def test_a_run_whose_records_cannot_be_brought_here_can_be_cancelled(store: Store, settings: Settings) -> None:
    ids = add_runs(store, 1)
    cluster, polled = Cluster(store, ""), []

    def refused() -> Ending:
        polled.append(store.request_cancel(ids[0]))
        raise StoreError("It does not fit.")

    cluster.poll = refused  # type: ignore[method-assign]
    cluster.stop = lambda grace_s: Ending(0, "")  # type: ignore[method-assign]
    assert Worker(store, settings, cast(Executor, cluster), poll_s=0.01).step(threading.Event())
    assert store.run(ids[0]).state is RunState.CANCELLED
    assert len(polled) == 1


@pytest.fixture
def ray() -> Any:
    """Ray's errors."""
    if find_spec("ray") is None:
        pytest.skip("Ray is not installed: pip install 'trilemma[ray]'")
    return load_ray().exceptions


def test_a_head_that_does_not_answer_is_an_error_of_ours(ray: Any) -> None:
    def nodes() -> None:
        raise ray.RpcError("no way")

    with pytest.raises(RunError, match="no way"):
        machines_of(SimpleNamespace(exceptions=ray, nodes=nodes))


def test_what_ray_says_of_an_agent_becomes_one_sentence(
    ray: Any, store: Store, run: RunRecord, settings: Settings
) -> None:
    journey = Journey(settings, SimpleNamespace(exceptions=ray), None, run, store)
    raised = """Traceback (most recent call last):
  File "/srv/app/trilemma/jobs/ray_node.py", line 52, in __init__
    self._settings = get_settings()
                     ^^^^^^^^^^^^^^
trilemma.errors.SettingsError: The settings cannot be read: 1 validation error
slots
  Input should be a number. Mend config.toml."""
    task = ray.RayTaskError("Agent.__init__", raised, ValueError(), proctitle="ray::Agent.__init__", pid=1, ip="-")
    assert "\x1b" in str(task)
    made = ray.ActorDiedError.from_task_error(task)
    assert journey.gone(made)
    assert journey.unreached(made)
    assert journey.cause(made) == (
        "could not begin (trilemma.errors.SettingsError: The settings cannot be read: 1 validation error slots Input "
        "should be a number. Mend config.toml)"
    )
    assert not journey.unreached(task)
    gone = ray.RayActorError(error_msg="The actor is dead because its node has died. Node Id: 1f")
    assert journey.cause(gone) == "was lost"
    gone = ray.RayActorError(error_msg="The actor is dead because its worker process has died. Worker exit type: X")
    assert journey.cause(gone) == "lost the process that watches over the run"
    assert journey.cause(ray.GetTimeoutError("Get timed out.")) == (
        "does not answer any more (GetTimeoutError: Get timed out)"
    )

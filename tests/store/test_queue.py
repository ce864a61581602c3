"""The queue: by itself as a state machine, and with several processes claiming at once."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from collections import Counter
from collections.abc import Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import Bundle, RuleBasedStateMachine, consumes, invariant, rule
from studies import HOST, add, claim, finish, measurement, records, run_specs, url_of

from tests.postgres import server
from trilemma.errors import NotFoundError, RunCancelledError, StoreError
from trilemma.lifetimes import created
from trilemma.schema import RunState
from trilemma.store import Store, open_store

CLAIM = """
import sys
from trilemma.schema import RunState
from trilemma.store import open_store
with open_store() as store:
    print("ready", flush=True)
    sys.stdin.readline()
    while store.runs(states=[RunState.WAITING, RunState.RUNNING], limit=1):
        run = store.claim_next(sys.argv[1])
        if run is not None:
            assert len(store.runs(states=[RunState.RUNNING])) == 1
            print(run.id, run.attempt)
            store.finish_run(run.id, RunState.DONE)
"""


def test_four_processes_claim_every_run_once(home: Path, store: Store) -> None:
    _, ids = add(store, run_specs(60))
    children = [
        subprocess.Popen(
            [sys.executable, "-c", CLAIM, str(number)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        for number in range(4)
    ]
    for child in children:  # none begins before all can
        assert child.stdout is not None
        assert child.stdout.readline() == "ready\n"
    for child in children:
        assert child.stdin is not None
        child.stdin.write("\n")
        child.stdin.flush()
    results = [child.communicate(timeout=120) for child in children]
    assert [err for _, err in results] == [""] * 4
    claimed = [line.split() for out, _ in results for line in out.splitlines()]
    assert Counter(run_id for run_id, _ in claimed) == Counter(ids)
    assert {attempt for _, attempt in claimed} == {"1"}
    assert sum(bool(out) for out, _ in results) > 1, "only one process got a turn"


class Queue(RuleBasedStateMachine):
    """A model in plain dictionaries, held against the store."""

    runs = Bundle("runs")

    @staticmethod
    @contextmanager
    def fresh() -> Iterator[str]:
        """The URL of a database of its own."""
        with tempfile.TemporaryDirectory() as folder:
            yield url_of(Path(folder))

    def __init__(self) -> None:
        super().__init__()
        self.closing = ExitStack()
        self.store = self.closing.enter_context(open_store(self.closing.enter_context(self.fresh())))
        self.state: dict[str, RunState] = {}
        self.order: list[str] = []
        self.paused = False
        self.made = 0

    def teardown(self) -> None:
        self.closing.close()

    @rule(target=runs, count=st.integers(1, 3))
    def queue(self, count: int) -> list[str]:
        self.made += 1
        _, ids = add(self.store, run_specs(count, study=self.made))
        self.order += ids
        self.state |= dict.fromkeys(ids, RunState.WAITING)
        return ids

    @rule()
    def claim(self) -> None:
        run = self.store.claim_next("worker")
        waiting = [i for i in self.order if self.state[i] is RunState.WAITING]
        if self.paused or RunState.RUNNING in self.state.values() or not waiting:
            assert run is None
        else:
            assert run is not None
            assert run.id == waiting[0]
            assert self.store.samples(run.id) == []
            self.state[run.id] = RunState.RUNNING
            self.store.start_run(run.id, HOST)
            self.store.write_batch(run.id, **records())

    @rule(ids=runs)
    def release(self, ids: list[str]) -> None:
        self.store.release(ids[0], "gone")
        if self.state[ids[0]] is RunState.RUNNING:
            self.state[ids[0]] = RunState.WAITING

    @rule(ids=runs, state=st.sampled_from([RunState.DONE, RunState.FAILED]), disturbed=st.booleans())
    def finish(self, ids: list[str], state: RunState, disturbed: bool) -> None:
        run_id = ids[-1]
        if self.state[run_id] is RunState.WAITING:
            with pytest.raises(StoreError):
                self.store.finish_run(run_id, state)
            return
        took_effect = self.store.finish_run(run_id, state, reason="said", disturbed=disturbed)
        assert took_effect is (self.state[run_id] is RunState.RUNNING)
        if took_effect:
            self.state[run_id] = state

    @rule(ids=runs)
    def cancel(self, ids: list[str]) -> None:
        self.store.request_cancel(ids[0])
        if self.state[ids[0]] is RunState.WAITING:
            self.state[ids[0]] = RunState.CANCELLED
        expected = self.state[ids[0]] in (RunState.RUNNING, RunState.CANCELLED)
        assert self.store.cancel_requested(ids[0]) is expected

    @rule(ids=runs)
    def retry(self, ids: list[str]) -> None:
        if self.state[ids[0]] in (RunState.FAILED, RunState.CANCELLED):
            self.store.retry(ids[0])
            self.state[ids[0]] = RunState.WAITING
        else:
            with pytest.raises(StoreError):
                self.store.retry(ids[0])

    @rule(ids=consumes(runs))
    def rerun(self, ids: list[str]) -> None:
        if self.state[ids[0]] is RunState.DONE:
            new = self.store.add_rerun(ids[0])
            if new not in self.state:
                waiting = [i for i in self.order if self.state[i] is RunState.WAITING]
                self.order.insert(self.order.index(waiting[0]) if waiting else len(self.order), new)
                self.state[new] = RunState.WAITING

    @rule(paused=st.booleans())
    def pause(self, paused: bool) -> None:
        (self.store.pause_queue if paused else self.store.resume_queue)()
        self.paused = paused

    @invariant()
    def nothing_is_lost(self) -> None:
        runs = self.store.runs()
        assert {run.id: run.state for run in runs} == self.state
        assert self.store.queue_paused() is self.paused
        for run in runs:
            begun = run.state in (RunState.RUNNING, RunState.DONE, RunState.FAILED)
            assert len(self.store.samples(run.id)) == (3 if begun else 0) or run.state is RunState.CANCELLED


class QueueOnPostgres(Queue):
    """The same on PostgreSQL."""

    @staticmethod
    def fresh() -> AbstractContextManager[str]:
        return server().database()


@pytest.fixture(autouse=True)
def wanted(request: pytest.FixtureRequest) -> None:
    if request.cls is QueueOnPostgres.TestCase and request.config.getoption("--database") == "sqlite":
        pytest.skip("--database sqlite")


TestQueue = Queue.TestCase
TestQueue.settings = settings(max_examples=20, stateful_step_count=20, suppress_health_check=list(HealthCheck))
TestQueueOnPostgres = QueueOnPostgres.TestCase
TestQueueOnPostgres.settings = settings(TestQueue.settings, max_examples=8)


def test_a_process_may_claim_again_what_it_gave_up(store: Store) -> None:
    _, (run_id,) = add(store, run_specs(1))
    for _ in range(2):
        claim(store)
        store.start_run(run_id, HOST)
        store.release(run_id)
    assert store.run(run_id).attempt == 2


def test_claiming_states_the_owner(store: Store) -> None:
    _, (run_id,) = add(store, run_specs(1))
    assert store.owner(run_id) is None
    claim(store)
    assert store.owner(run_id) == ("worker", os.getpid(), created(os.getpid()))
    assert store.process(run_id) is None
    store.set_process(run_id, 123, 4.5)
    assert store.process(run_id) == ("worker", 123, 4.5)
    store.set_owner(run_id, "other", 7, 8.5)
    assert store.owner(run_id) == ("other", 7, 8.5)
    store.release(run_id, "gone", interrupted=True)
    assert (store.owner(run_id), store.process(run_id), store.interruptions(run_id)) == (None, None, 1)
    assert store.run(run_id).reason == "gone"
    with pytest.raises(StoreError):
        store.set_process(run_id, 123, 4.5)


def test_devices_do_not_wait_for_each_other(store: Store) -> None:
    local, gpu = run_specs(2)
    _, ids = add(store, [local, gpu.model_copy(update={"device": "gpu"}), local.model_copy(update={"repeat": 7})])
    assert claim(store).id == ids[0]
    assert store.claim_next("worker") is None
    other = store.claim_next("worker", "gpu")
    assert other is not None
    assert other.id == ids[1]


def test_an_attempt_that_was_given_up_may_not_write_any_more(home: Path, store: Store) -> None:
    _, (run_id,) = add(store, run_specs(1))
    claim(store)
    with open_store() as orphan:
        orphan.start_run(run_id, HOST)
        orphan.write_batch(run_id, **records())
        store.release(run_id)
        with pytest.raises(StoreError, match="waiting"):
            orphan.write_batch(run_id, **records())
        claim(store)
        assert store.run(run_id).attempt == 2
        for late in (
            lambda: orphan.write_batch(run_id, **records()),
            lambda: orphan.set_measurements(run_id, [measurement()]),
            lambda: orphan.finish_run(run_id, RunState.DONE),
        ):
            with pytest.raises(StoreError, match="anew"):
                late()
    store.start_run(run_id, HOST)
    store.write_batch(run_id, **records())
    assert store.finish_run(run_id, RunState.DONE)
    assert len(store.samples(run_id)) == 3


def test_a_cancelled_run_may_not_write_any_more(store: Store) -> None:
    _, (run_id,) = add(store, run_specs(1))
    claim(store)
    store.finish_run(run_id, RunState.CANCELLED)
    with pytest.raises(RunCancelledError):
        store.set_progress(run_id, 0.5)


def test_a_disturbed_run_is_due_until_it_is_queued_again(store: Store) -> None:
    study, ids = add(store, run_specs(3))
    add(store, run_specs(1), name="shares the first run")
    finish(store, claim(store), disturbed=True, disturbances=("others were busy",))
    assert store.reruns_due() == [ids[0]]
    assert store.reruns_due("gpu") == []
    again = store.add_rerun(ids[0])
    assert store.add_rerun(ids[0]) == again
    assert store.reruns_due() == []
    assert store.run(again).rerun_of == ids[0]
    assert set(store.run(again).study_ids) == set(store.run(ids[0]).study_ids)
    assert len(store.run(again).study_ids) == 2
    assert [run.id for run in store.runs(study)] == [ids[0], again, *ids[1:]]
    assert claim(store).id == again, "ahead of the others"
    store.finish_run(again, RunState.DONE, disturbed=True)
    assert store.reruns_due() == [], "a re-run is not re-run"
    with pytest.raises(StoreError, match="itself a re-run"):
        store.add_rerun(again)


def test_no_rerun_where_the_study_does_not_ask(store: Store) -> None:
    add(store, run_specs(1), rerun_disturbed=False)
    finish(store, claim(store), disturbed=True)
    assert store.reruns_due() == []


@pytest.mark.parametrize(
    "call",
    ["run", "release", "retry", "owner", "process", "interruptions", "request_cancel", "cancel_requested", "add_rerun"],
)
def test_a_run_that_is_not_there(store: Store, call: str) -> None:
    with pytest.raises(NotFoundError, match="nosuchrun"):
        getattr(store, call)("nosuchrun")


def test_a_run_does_not_finish_as_running(store: Store) -> None:
    _, (run_id,) = add(store, run_specs(1))
    claim(store)
    with pytest.raises(ValueError, match="running"):
        store.finish_run(run_id, RunState.RUNNING)

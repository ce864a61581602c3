"""The database server is stopped and started for real while a worker measures: no finished measurement is lost."""

from __future__ import annotations

import signal
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from campaign import start_worker, strays
from support import add_runs, check_records, command, lines

from tests.postgres import server
from trilemma.schema import RunState
from trilemma.store import Store, open_store


@pytest.fixture
def shared(home: Path, database: str) -> Iterator[Store]:
    """The store on the server; the worker's processes find it, too."""
    if not database:
        pytest.skip("SQLite has no server to restart")
    with open_store(database) as store:
        yield store


def steps(home: Path, count: int) -> None:
    """Wait until the run has done so many."""
    deadline = time.monotonic() + 30
    while len(lines(home / "steps")) < count:
        assert time.monotonic() < deadline, (home / "worker.log").read_text()
        time.sleep(0.01)


@pytest.mark.parametrize("how", [signal.SIGINT, signal.SIGQUIT], ids=["in order", "as by a crash"])
def test_a_restart_in_the_middle_of_a_run_costs_nothing(shared: Store, home: Path, how: signal.Signals) -> None:
    ids = add_runs(shared, 2)
    worker = start_worker(home, command("--step-s", "0.1"), "--drain")
    steps(home, 4)
    server().stop(how)
    steps(home, 9)  # it measures on
    server().start()
    assert worker.wait(60) == 0, (home / "worker.log").read_text()
    runs = [shared.run(run_id) for run_id in ids]
    assert [(run.state, run.attempt) for run in runs] == [(RunState.DONE, 1)] * 2
    check_records(shared, runs)
    assert strays(home) == []


def test_results_outlast_a_server_that_stays_away_for_longer_than_anyone_waits(
    shared: Store, home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TRILEMMA_DATABASE_PATIENCE_S", "0.5")
    ids = add_runs(shared, 1)
    worker = start_worker(home, command("--step-s", "0.05"), "--drain")
    steps(home, 4)
    server().stop()
    assert worker.wait(60) == 1, (home / "worker.log").read_text()
    assert [path.name for path in (home / "logs").glob("*.kept.gz")] == [f"{ids[0]}.kept.gz"]
    server().start()
    assert shared.run(ids[0]).state is RunState.RUNNING
    assert start_worker(home, command(), "--drain").wait(60) == 0, (home / "worker.log").read_text()
    run = shared.run(ids[0])
    assert (run.state, run.attempt) == (RunState.DONE, 1), "recorded, not measured again"
    check_records(shared, [run])
    assert lines(home / "started") == ids
    assert list((home / "logs").glob("*.kept.gz")) == []
    assert (home / "logs" / f"{ids[0]}.log").exists()


def test_a_worker_waits_for_a_server_that_is_away_when_it_looks_for_work(shared: Store, home: Path) -> None:
    worker = start_worker(home, command())
    try:
        ids = add_runs(shared, 1)
        steps(home, 12)
        server().stop()
        time.sleep(0.5)
        server().start()
        ids += add_runs(shared, 1, first=7)
        steps(home, 24)
        deadline = time.monotonic() + 20
        while any(shared.run(run_id).state is not RunState.DONE for run_id in ids):
            assert time.monotonic() < deadline
            time.sleep(0.05)
    finally:
        worker.terminate()
        assert worker.wait(20) == 0

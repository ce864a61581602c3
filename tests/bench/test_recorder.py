"""What is measured while the database is away: held, written once when it is back, kept in a file if it stays away."""

from __future__ import annotations

import errno
import os
import sqlite3
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path

import pytest
from sqlalchemy.engine import make_url

from tests.factory import HOST, MEASURED
from tests.postgres import server
from trilemma.bench.recorder import Recorder
from trilemma.errors import DatabaseUnavailableError, DiskFullError, NotFoundError, RunCancelledError, StoreError
from trilemma.figures import FIGURES as FIGURE_DEFINITIONS
from trilemma.records import AnswerRecord, PhaseWindow, RequestRecord, RunRecord, Sample
from trilemma.schema import Configuration, Measurement, Phase, RunSpec, RunState, StudySpec
from trilemma.store import Store
from trilemma.store.dialects import base
from trilemma.store.dialects.sqlite import SqliteDialect
from trilemma.store.kept import Batch, KeptRun, keep, restore

FIGURES = (Measurement(figure="ttft_s", value=1.0, n=3, provenance=MEASURED),)


@pytest.fixture(autouse=True)
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(base, "BUSY_TIMEOUT_S", 0.05)


@pytest.fixture
def run(impatient: None, store: Store) -> RunRecord:
    configuration = Configuration(artifact_id="a" * 64, engine="none")
    store.add_study(StudySpec(name="s", configurations=(configuration,)), [RunSpec(configuration=configuration)])
    found = store.claim_next("test")
    assert found is not None
    store.start_run(found.id, HOST)
    return found


def away(home: Path, database: str) -> AbstractContextManager[None]:
    """The database cannot be written: the server is down, or somebody holds the file."""

    @contextmanager
    def locked() -> Iterator[None]:
        other = sqlite3.connect(home / "trilemma.db", isolation_level=None)
        other.execute("BEGIN EXCLUSIVE")
        yield
        other.execute("ROLLBACK")
        other.close()

    @contextmanager
    def down() -> Iterator[None]:
        server().stop()
        try:
            yield
        finally:
            server().start()

    return down() if database else locked()


def test_a_figure_is_stored_with_the_version_of_its_definition(
    run: RunRecord, store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    later = FIGURE_DEFINITIONS["ttft_s"].model_copy(update={"version": 2})
    monkeypatch.setitem(FIGURE_DEFINITIONS, "ttft_s", later)
    Recorder(store, run, tmp_path / "kept", 0).finish(RunState.DONE, FIGURES)
    assert [one.definition_version for one in store.measurements(run.id)] == [2]
    assert store.definition_versions(store.studies()[0].id) == {"ttft_s": (2,)}


def batch(number: int) -> Batch:
    return Batch(
        phases=(PhaseWindow(phase=Phase.SPEED, start_ns=1, end_ns=number),),
        samples=(Sample(time_ns=number, phase=Phase.SPEED, values={"rss_bytes": 1.0}),),
        requests=(RequestRecord(workload="w", index=number, submitted_ns=number, token_times_ns=(number + 1,)),),
        answers=(AnswerRecord(suite="s", item_id="i", index=number, prompt="", answer="", scores={}),),
    )


def progress(number: int) -> tuple[float, str, Phase, None]:
    return number / 10, "working", Phase.SPEED, None


def everything(store: Store, run_id: str) -> list[list[int]]:
    return [
        [sample.time_ns for sample in store.samples(run_id)],
        [request.index for request in store.requests(run_id)],
        [answer.index for answer in store.answers(run_id)],
    ]


def test_what_comes_while_it_is_away_is_written_once_when_it_is_back(
    home: Path, store: Store, run: RunRecord, database: str
) -> None:
    recorder = Recorder(store, run, home / "kept", patience_s=20)
    recorder.write(batch(0), progress(0))
    with away(home, database):
        for number in (1, 2):
            recorder.write(batch(number), progress(number))
        recorder.set_engine_info({"build": "b1"})
    recorder.finish(RunState.DONE, FIGURES, disturbances=("others",))
    assert everything(store, run.id) == [[0, 1, 2]] * 3
    done = store.run(run.id)
    assert (done.state, done.disturbances, done.engine_info) == (RunState.DONE, ("others",), {"build": "b1"})
    assert tuple(store.measurements(run.id)) == FIGURES
    assert not (home / "kept").exists()


def test_if_it_stays_away_the_results_are_kept_and_recorded_later(
    home: Path, store: Store, run: RunRecord, database: str
) -> None:
    recorder = Recorder(store, run, home / "kept", patience_s=0)
    recorder.write(batch(0), progress(0))
    with away(home, database):
        recorder.write(batch(1), progress(1))
        with pytest.raises(DatabaseUnavailableError, match="kept"):
            recorder.finish(RunState.DONE, FIGURES, reason="r", log_tail="the end")
        with pytest.raises(DatabaseUnavailableError):
            restore(store, home / "kept", run.id)
        assert (home / "kept").exists()
    assert store.run(run.id).state is RunState.RUNNING
    assert restore(store, home / "kept", run.id)
    assert everything(store, run.id) == [[0, 1]] * 3
    assert (store.run(run.id).state, store.run(run.id).log_tail) == (RunState.DONE, "the end")
    assert not (home / "kept").exists()
    assert not restore(store, home / "kept", run.id)


def test_a_batch_that_had_been_committed_when_the_connection_broke_is_not_written_twice(
    home: Path, store: Store, run: RunRecord, monkeypatch: pytest.MonkeyPatch
) -> None:
    recorder = Recorder(store, run, home / "kept", patience_s=5)
    written = store.write_batch

    def break_afterwards(*arguments: object, **options: object) -> None:
        monkeypatch.undo()
        written(*arguments, **options)  # type: ignore[arg-type]
        raise DatabaseUnavailableError("The connection broke while it was committed.")

    monkeypatch.setattr(store, "write_batch", break_afterwards)
    recorder.write(batch(0), progress(0))
    recorder.write(batch(1), progress(1))
    recorder.finish(RunState.DONE, FIGURES)
    assert everything(store, run.id) == [[0, 1]] * 3


def test_who_records_does_not_wait_for_the_database(
    home: Path, store: Store, run: RunRecord, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A host that has vanished answers nothing, not even no."""
    hangs, written = threading.Event(), store.write_batch

    def hang(*arguments: object, **options: object) -> None:
        hangs.wait(30)
        written(*arguments, **options)  # type: ignore[arg-type]

    recorder = Recorder(store, run, home / "kept", patience_s=5)
    monkeypatch.setattr(store, "write_batch", hang)
    began = time.monotonic()
    for number in range(3):
        recorder.write(batch(number), progress(number))
    assert time.monotonic() - began < 5
    assert everything(store, run.id) == [[]] * 3
    hangs.set()
    recorder.finish(RunState.DONE, FIGURES)
    assert everything(store, run.id) == [[0, 1, 2]] * 3


def test_that_the_user_stopped_the_run_is_found_by_the_next_batch(home: Path, store: Store, run: RunRecord) -> None:
    recorder = Recorder(store, run, home / "kept", patience_s=5)
    store.finish_run(run.id, RunState.CANCELLED)
    recorder.write(batch(0), progress(0))
    recorder.wait()
    with pytest.raises(RunCancelledError):
        recorder.write(batch(1), progress(1))


@pytest.mark.parametrize("code", ["SQLITE_IOERR_WRITE", "SQLITE_IOERR_FSYNC"])
def test_a_disk_that_fails_is_waited_for_and_a_quota_is_a_full_disk(
    code: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    error = sqlite3.OperationalError("disk I/O error")
    error.sqlite_errorname = code
    dialect = SqliteDialect(make_url(f"sqlite:///{tmp_path / 'a.db'}"))
    assert type(dialect.explain(error)) is DatabaseUnavailableError

    def no_quota(*_: object, **__: object) -> None:
        raise OSError(errno.EDQUOT, "Disk quota exceeded")

    monkeypatch.setattr(tempfile, "TemporaryFile", no_quota)
    assert type(dialect.explain(error)) is DiskFullError


def test_what_is_kept_and_cannot_be_read_is_not_thrown_away(
    home: Path, store: Store, run: RunRecord, monkeypatch: pytest.MonkeyPatch
) -> None:
    keep(home / "kept", kept(run))

    def fails(_: Path) -> bytes:
        raise OSError(errno.EIO, "Input/output error")

    with monkeypatch.context() as broken:
        broken.setattr(Path, "read_bytes", fails)
        with pytest.raises(StoreError, match="cannot be read"):
            restore(store, home / "kept", run.id)
    assert restore(store, home / "kept", run.id)


def kept(run: RunRecord, **changes: object) -> KeptRun:
    values = {"run_id": run.id, "attempt": run.attempt, "batches": (batch(0),), "state": RunState.DONE}
    return KeptRun.model_validate(values | {"measurements": FIGURES} | changes)


def test_results_of_an_earlier_attempt_are_not_those_of_this_one(home: Path, store: Store, run: RunRecord) -> None:
    keep(home / "kept", kept(run, attempt=run.attempt + 1))
    assert not restore(store, home / "kept", run.id)
    keep(home / "kept", kept(run, run_id="another"))
    assert not restore(store, home / "kept", run.id)
    (home / "kept").write_bytes(b"half a file")
    assert not restore(store, home / "kept", run.id)
    store.finish_run(run.id, RunState.CANCELLED)
    keep(home / "kept", kept(run))
    assert not restore(store, home / "kept", run.id)
    assert store.run(run.id).state is RunState.CANCELLED
    assert everything(store, run.id) == [[]] * 3
    with pytest.raises(NotFoundError):
        keep(home / "kept", kept(run))
        restore(store, home / "kept", "nosuchrun")


@contextmanager
def full(store: Store) -> Iterator[None]:
    """SQLite's file may not grow, as on a disk that is full."""

    def limit(pages: str) -> None:
        with store._db.read() as connection:
            connection.exec_driver_sql(f"PRAGMA max_page_count={pages}")

    with store._db.read() as connection:
        now = connection.exec_driver_sql("PRAGMA page_count").scalar()
    limit(str(now))
    yield
    limit("1000000")


def large(number: int) -> Batch:
    """A batch that no free page has room for."""
    text = "".join(chr(97 + (number + i * i) % 26) for i in range(40_000))
    answer = AnswerRecord(suite="s", item_id="i", index=number, prompt=text, answer=text, scores={})
    return batch(number).model_copy(update={"answers": (answer,)})


def test_a_full_disk_is_waited_for_and_what_was_kept_is_not_thrown_away(
    home: Path, store: Store, run: RunRecord, database: str
) -> None:
    if database:
        pytest.skip("a server's disk is its own")
    recorder = Recorder(store, run, home / "kept", patience_s=0)
    recorder.write(batch(0), progress(0))
    recorder.wait()
    with full(store):
        recorder.write(large(1), progress(1))  # it measures on
        with pytest.raises(DiskFullError, match="kept"):
            recorder.finish(RunState.DONE, FIGURES)
        with pytest.raises(DiskFullError):
            restore(store, home / "kept", run.id)
        assert (home / "kept").exists()
    assert restore(store, home / "kept", run.id)
    assert everything(store, run.id) == [[0, 1]] * 3
    assert store.run(run.id).state is RunState.DONE


def test_what_is_kept_stays_where_the_database_fails_for_any_other_reason(
    home: Path, store: Store, run: RunRecord, monkeypatch: pytest.MonkeyPatch
) -> None:
    keep(home / "kept", kept(run))

    def fail(*_: object, **__: object) -> None:
        raise StoreError("The database failed (it is not said why).", "Look at its log.")

    with monkeypatch.context() as broken:
        broken.setattr(KeptRun, "record", fail)
        assert not restore(store, home / "kept", run.id)
    assert restore(store, home / "kept", run.id)


def test_what_is_kept_is_on_the_disk_with_its_name(home: Path, run: RunRecord, monkeypatch: pytest.MonkeyPatch) -> None:
    synced = []
    fsync = os.fsync

    def watched(descriptor: int) -> None:
        synced.append((Path(f"/proc/self/fd/{descriptor}").readlink(), (home / "kept").exists()))
        fsync(descriptor)

    monkeypatch.setattr(os, "fsync", watched)
    keep(home / "kept", kept(run))
    assert synced == [(home / "kept.part", False), (home, True)]

"""What PostgreSQL asks of the store beyond what every test of it asks of both databases."""

from __future__ import annotations

import math
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator

import pytest
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from studies import HOST, add, artifact, claim, finish, measurement, records, run_specs
from test_opening import OPEN

from tests.postgres import PASSWORD, server
from trilemma.doctor import Status, diagnose
from trilemma.errors import DatabaseTooNewError, DatabaseUnavailableError, StoreError
from trilemma.records import AnswerRecord
from trilemma.schema import RunState
from trilemma.settings import Settings
from trilemma.store import Store, open_store
from trilemma.store.dialects import base
from trilemma.store.tables import metadata


@pytest.fixture(autouse=True)
def wanted(request: pytest.FixtureRequest) -> None:
    if request.config.getoption("--database") == "sqlite":
        pytest.skip("--database sqlite")


@pytest.fixture
def empty() -> Iterator[str]:
    """The URL of a database without tables."""
    with server().database(empty=True) as url:
        yield url


@pytest.fixture
def url() -> Iterator[str]:
    with server().database() as made:
        yield made


@pytest.fixture
def store(url: str) -> Iterator[Store]:
    with open_store(url) as opened:
        yield opened


def test_several_processes_make_the_tables_at_once(empty: str) -> None:
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
    children = [subprocess.Popen([sys.executable, "-c", OPEN, empty], **pipes) for _ in range(4)]  # type: ignore[call-overload]
    for child in children:
        child.stdin.write("\n")
        child.stdin.flush()
    results = [child.communicate(timeout=60) for child in children]
    assert [out for out, _ in results] == ["0 True\n"] * 4, results


def test_the_migrations_make_the_tables_that_the_code_uses(empty: str) -> None:
    with open_store(empty) as store, store._db.read() as connection:
        context = MigrationContext.configure(connection, opts={"compare_type": True, "compare_server_default": True})
        assert compare_metadata(context, metadata) == []


def test_a_newer_database_is_refused_and_left_alone(url: str) -> None:
    name = url.rpartition("/")[2]
    server().ask("UPDATE alembic_version SET version_num = '9999'", name)
    with pytest.raises(DatabaseTooNewError, match="9999"):
        open_store(url)
    assert server().ask("SELECT version_num FROM alembic_version", name) == [("9999",)]


def test_another_programs_database_is_left_alone(empty: str) -> None:
    server().ask("CREATE TABLE recipes (name text)", empty.rpartition("/")[2])
    with pytest.raises(StoreError, match="another program"):
        open_store(empty)


def test_a_schema_of_its_own_makes_room_in_a_database_that_others_use(empty: str) -> None:
    name = empty.rpartition("/")[2]
    server().ask("CREATE TABLE runs (distance real)", name)
    server().ask("CREATE SCHEMA trilemma", name)
    with open_store(f"{empty}?options=-csearch_path%3Dtrilemma") as store:
        add(store, run_specs(1))
        assert "options" not in store.url
    assert server().ask("SELECT count(*) FROM trilemma.studies", name) == [(1,)]
    assert server().ask("SELECT * FROM public.runs", name) == []


def test_an_encoding_that_does_not_hold_every_text_is_refused() -> None:
    server().ask("CREATE DATABASE latin ENCODING 'LATIN1' LOCALE 'C' LOCALE_PROVIDER libc TEMPLATE template0")
    try:
        with pytest.raises(StoreError, match="LATIN1") as caught:
            open_store(server().url("latin"))
        assert "UTF8" in caught.value.hint
    finally:
        server().ask("DROP DATABASE latin WITH (FORCE)")


def addresses() -> dict[str, str]:
    """URLs that do not work, by what the error says of them; all hold the password."""
    good = server().url("postgres")
    return {
        "lets nobody in": server().url("postgres", password=PASSWORD + " or so"),
        "There is no database": server().url("nosuchdatabase"),
        "does not answer": good.replace(str(server().port), "1"),
        "nonsense": f"{good}?nonsense=1",
    }


@pytest.mark.parametrize(
    "says", ["lets nobody in", "There is no database", "does not answer", "nonsense"], ids=lambda s: s.split()[0]
)
def test_a_url_that_does_not_work_is_explained_without_its_password(says: str) -> None:
    url = addresses()[says]
    with pytest.raises(StoreError) as caught:
        open_store(url)
    assert says in str(caught.value)
    assert PASSWORD not in str(caught.value)
    assert PASSWORD.replace(" ", "%20") not in str(caught.value)
    finding = next(f for f in diagnose(Settings(database=url)) if f.name == "Database")
    assert finding.status is Status.MISSING
    assert finding.remedy
    assert PASSWORD not in finding.detail + finding.remedy


def test_the_password_is_shown_nowhere(url: str) -> None:
    settings = Settings(database=url.replace("trilemma:", "trilemma:", 1))
    assert PASSWORD.split()[0] + "%20" not in repr(settings)
    secret = PASSWORD.replace(" ", "%20")
    elsewhere = url.replace(f":{secret}@", "@") + f"?password={secret}"
    for one in (url, elsewhere):
        with open_store(one) as store:
            shown = store.url + store.about()
            assert PASSWORD not in shown
            assert secret not in shown
            assert "PostgreSQL 18" in store.about()
            assert "127.0.0.1" in store.url
    finding = {f.name: f for f in diagnose(settings)}
    assert "PostgreSQL" in finding["Database"].detail
    assert finding["Name in the queue"].status is Status.WARN
    named = {f.name: f for f in diagnose(settings.model_copy(update={"device": "rack-7"}))}
    assert named["Name in the queue"].status is Status.OK


def test_a_mistyped_setting_does_not_tell_what_it_held(tmp_path, monkeypatch: pytest.MonkeyPatch) -> None:
    from trilemma.errors import SettingsError
    from trilemma.settings import get_settings

    (tmp_path / "config.toml").write_text('databse = "postgresql://u:hunter2@h/d"\n')
    monkeypatch.setenv("TRILEMMA_HOME", str(tmp_path))
    get_settings.cache_clear()
    with pytest.raises(SettingsError, match="databse") as caught:
        get_settings()
    get_settings.cache_clear()
    assert "hunter2" not in str(caught.value)


def test_names_are_as_long_as_they_are_and_sort_by_their_bytes(store: Store) -> None:
    store.add_artifact(artifact(model="M" * 1000 + "\x00"))
    _, (run_id,) = add(store, run_specs(1))
    claim(store)
    keys = ["Zeta", "alpha", "ärger", "a" * 300]
    store.set_measurements(run_id, [measurement(key) for key in keys])
    store.finish_run(run_id, RunState.DONE)
    assert store.figure_keys() == sorted(keys)


def test_json_that_is_not_finite_comes_back_as_it_was(store: Store) -> None:
    _, (run_id,) = add(store, run_specs(1))
    claim(store)
    detail = {"logprobs": [-math.inf, 1.5, None], "deep": {"$float": "text", "s": "lone \ud83d \x00"}}
    answer = AnswerRecord.model_construct(
        suite="s", item_id="1", index=0, prompt="", answer="", expected="",
        scores={"good": 0.5, "bad": math.inf}, detail=detail,
    )  # fmt: skip
    store.add_answers(run_id, [answer])
    with store._db.read() as connection:
        rows = connection.exec_driver_sql("SELECT detail, scores FROM answers").all()
    kept = detail | {"deep": {"$float": "text", "s": "lone \ufffd \x00"}}
    assert rows == [(kept, {"good": 0.5, "bad": math.inf})]
    assert list(store.score_frame("s", "good", [run_id])["score"]) == [0.5]
    assert len(store.score_frame("s", "bad", [run_id])) == 0


def test_a_restarted_server_is_found_again(store: Store) -> None:
    add(store, run_specs(1))
    server().stop()
    with pytest.raises(DatabaseUnavailableError, match="does not answer"):
        store.runs()
    with pytest.raises(DatabaseUnavailableError):
        store.pause_queue()
    server().start()
    assert len(store.runs()) == 1
    store.pause_queue()
    assert store.queue_paused()


def test_a_server_that_crashed_has_all_that_was_finished(store: Store) -> None:
    _, ids = add(store, run_specs(2))
    finish(store, claim(store))
    server().stop(signal.SIGQUIT)
    server().start()
    assert [run.state for run in store.runs()] == [RunState.DONE, RunState.WAITING]
    assert len(store.samples(ids[0])) == 3


def test_a_connection_that_breaks_in_a_transaction_says_so_and_leaves_nothing(store: Store) -> None:
    with pytest.raises(DatabaseUnavailableError), store._db.write() as connection:
        connection.exec_driver_sql("UPDATE meta SET value = 7 WHERE name = 'paused'")
        server().ask(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity "
            "WHERE application_name = 'trilemma' AND state = 'idle in transaction'"
        )
        connection.exec_driver_sql("SELECT 1")
    assert not store.queue_paused()


def test_a_writer_is_waited_for_and_then_named(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(base, "BUSY_TIMEOUT_S", 0.3)
    with open_store(url) as store, open_store(url) as other:
        with other._db.write(), pytest.raises(DatabaseUnavailableError, match="locked"):
            store.pause_queue()
        store.pause_queue()


def test_a_standby_is_away_and_not_broken(url: str) -> None:
    name = url.rpartition("/")[2]
    with open_store(url) as store:
        server().ask(f"ALTER DATABASE {name} SET default_transaction_read_only = on")
        store._db.engine.dispose()  # what it is, a session is told when it begins
        with pytest.raises(DatabaseUnavailableError, match="read-only"):
            store.pause_queue()
        server().ask(f"ALTER DATABASE {name} RESET default_transaction_read_only")
        store._db.engine.dispose()
        store.pause_queue()
        assert store.queue_paused()


def test_many_workers_record_while_another_writes(url: str) -> None:
    with open_store(url) as store, open_store(url) as other:
        _, (run_id,) = add(store, run_specs(1))
        claim(store)
        store.start_run(run_id, HOST)
        with other._db.write():  # an import, say, which takes its time
            done = threading.Thread(target=store.write_batch, args=(run_id,), kwargs=records())
            done.start()
            done.join(20)
            assert not done.is_alive()
        assert len(store.samples(run_id)) == 3


def test_a_reader_sees_one_state_throughout(url: str) -> None:
    with open_store(url) as store, open_store(url) as other, store._db.read() as connection:
        count = "SELECT count(*) FROM studies"
        before = connection.exec_driver_sql(count).scalar()
        add(other, run_specs(1))
        assert connection.exec_driver_sql(count).scalar() == before


def test_a_backup_is_the_servers_business(store: Store, tmp_path) -> None:
    with pytest.raises(StoreError, match="pg_dump"):
        store.backup(tmp_path / "copy")
    assert list(tmp_path.iterdir()) == []

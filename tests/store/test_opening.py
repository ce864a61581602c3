"""Opening a database: fresh, at once, too new, damaged, read-only, full, locked."""

from __future__ import annotations

import os
import sqlite3
import subprocess
import sys
import threading
from pathlib import Path

import pytest
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import event
from sqlalchemy.engine import Connection
from studies import add, artifact, claim, records, run_specs, url_of

from trilemma.errors import DatabaseTooNewError, DiskFullError, StoreError
from trilemma.schema import RunState
from trilemma.store import open_store
from trilemma.store.dialects import base
from trilemma.store.migrate import _SCRIPTS, HEAD
from trilemma.store.tables import metadata

OPEN = """
import sys
from trilemma.store import open_store
sys.stdin.readline()
with open_store(sys.argv[1]) as store:
    store.pause_queue()
    print(store.version(), store.queue_paused())
"""


def test_several_processes_create_it_at_once(tmp_path: Path) -> None:
    for attempt in range(2):
        url = url_of(tmp_path / f"new {attempt} %d")  # alembic's own configuration would choke on the percent sign
        start = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
        children = [subprocess.Popen([sys.executable, "-c", OPEN, url], **start) for _ in range(4)]  # type: ignore[call-overload]
        for child in children:
            child.stdin.write("\n")
            child.stdin.flush()
        results = [child.communicate(timeout=60) for child in children]
        assert [out for out, _ in results] == ["0 True\n"] * 4, results


def test_reopening_keeps_everything_and_writes_ahead(tmp_path: Path) -> None:
    with open_store(url_of(tmp_path)) as store:
        add(store, run_specs(2))
    with open_store(url_of(tmp_path)) as store:
        assert len(store.runs()) == 2
        with store._db.read() as connection:
            pragma = {
                name: connection.exec_driver_sql(f"PRAGMA {name}").scalar()
                for name in ("journal_mode", "foreign_keys", "synchronous", "busy_timeout")
            }
    assert pragma == {"journal_mode": "wal", "foreign_keys": 1, "synchronous": 1, "busy_timeout": 30_000}


def test_what_is_finished_is_on_the_disk_before_it_is_said_to_be(tmp_path: Path) -> None:
    """In write-ahead mode SQLite leaves commits to the system, and a power cut takes them, unless told otherwise."""
    with open_store(url_of(tmp_path)) as store:
        _, (run_id,) = add(store, run_specs(1))
        claim(store)
        seen = []

        @event.listens_for(store._db.engine, "commit")
        def commit(connection: Connection) -> None:
            seen.append(connection.exec_driver_sql("PRAGMA synchronous").scalar())

        store.write_batch(run_id, **records())
        store.finish_run(run_id, RunState.DONE)
        add(store, run_specs(2))
    assert seen == [1, 2, 2]


def test_the_migrations_make_the_tables_that_the_code_uses(tmp_path: Path) -> None:
    with open_store(url_of(tmp_path)) as store, store._db.read() as connection:
        context = MigrationContext.configure(connection, opts={"compare_type": True, "compare_server_default": True})
        assert compare_metadata(context, metadata) == []


def test_head_is_the_newest_migration() -> None:
    assert ScriptDirectory(str(_SCRIPTS)).get_current_head() == HEAD


def test_a_newer_database_is_refused_and_left_alone(tmp_path: Path) -> None:
    open_store(url_of(tmp_path)).close()
    path = tmp_path / "trilemma.db"
    with sqlite3.connect(path) as raw:
        raw.execute("UPDATE alembic_version SET version_num = '9999'")
    raw.close()
    with pytest.raises(DatabaseTooNewError, match="9999") as caught:
        open_store(url_of(tmp_path))
    assert "pip install -U trilemma" in caught.value.hint
    raw = sqlite3.connect(path)
    assert raw.execute("SELECT version_num FROM alembic_version").fetchall() == [("9999",)]
    raw.close()


def test_another_programs_database_is_left_alone(tmp_path: Path) -> None:
    raw = sqlite3.connect(tmp_path / "trilemma.db")
    raw.execute("CREATE TABLE recipes (name)")
    raw.commit()
    raw.close()
    with pytest.raises(StoreError, match="another program"):
        open_store(url_of(tmp_path))


@pytest.mark.parametrize("content", [b"This is not a database, though it is long enough to be one." * 40, b"short"])
def test_a_file_that_is_no_database(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "trilemma.db").write_bytes(content)
    with pytest.raises(StoreError, match="not a database") as caught:
        open_store(url_of(tmp_path))
    assert "Move it away" in caught.value.hint
    assert (tmp_path / "trilemma.db").read_bytes() == content


def test_a_damaged_database_says_so(tmp_path: Path) -> None:
    with open_store(url_of(tmp_path)) as store:
        for number in range(200):
            store.add_artifact(artifact(number))
        raw = sqlite3.connect(tmp_path / "trilemma.db")
        raw.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        raw.close()
    path = tmp_path / "trilemma.db"
    whole = path.read_bytes()
    path.write_bytes(whole[:8192] + b"\xff" * (len(whole) - 8192))
    with pytest.raises(StoreError, match="damaged"), open_store(url_of(tmp_path)) as store:
        store.artifacts()


def unprivileged(folder: Path, url: str) -> subprocess.CompletedProcess[str]:
    """Opens the store as a user that owns nothing, since root may write everywhere."""
    code = (
        "import os, sys\n"
        "from trilemma.store import open_store\n"
        "import trilemma.store.queue, alembic.command, alembic.config, alembic.script, filelock\n"
        "os.setgid(65534); os.setuid(65534)\n"
        "try:\n    open_store(sys.argv[1]).pause_queue()\n"
        "except Exception as error:\n    print(type(error).__name__, error)\n"
    )
    return subprocess.run([sys.executable, "-c", code, url], capture_output=True, text=True, check=False, cwd=folder)


@pytest.mark.skipif(os.geteuid() != 0, reason="changes its user")
@pytest.mark.parametrize("existing", [False, True])
def test_a_folder_that_may_not_be_written(tmp_path: Path, existing: bool) -> None:
    folder = tmp_path / "home"
    folder.mkdir()
    if existing:
        open_store(url_of(folder)).close()
    for parent in (tmp_path, *tmp_path.parents[:3]):
        parent.chmod(parent.stat().st_mode | 0o055)
    folder.chmod(0o555)
    result = unprivileged(tmp_path, url_of(folder))
    assert result.stdout.startswith("StoreError"), result
    assert "permissions" in result.stdout
    missing = unprivileged(tmp_path, url_of(folder / "deeper"))
    assert missing.stdout.startswith("StoreError"), missing
    assert "TRILEMMA_HOME" in missing.stdout


def test_a_folder_that_is_a_file(tmp_path: Path) -> None:
    (tmp_path / "home").touch()
    with pytest.raises(StoreError, match="cannot be made"):
        open_store(url_of(tmp_path / "home" / "deeper"))


def test_a_full_disk_is_said_and_nothing_is_half_written(tmp_path: Path) -> None:
    with open_store(url_of(tmp_path)) as store:
        _, (run_id,) = add(store, run_specs(1))
        claim(store)
        with store._db.read() as connection:
            pages = connection.exec_driver_sql("PRAGMA page_count").scalar()
            connection.exec_driver_sql(f"PRAGMA max_page_count={pages + 3}")
        with pytest.raises(DiskFullError, match="full") as caught:
            store.write_batch(run_id, **records(2000, text="x" * 500))
        assert "TRILEMMA_HOME" in caught.value.hint
        assert (store.samples(run_id), store.requests(run_id), store.answers(run_id)) == ([], [], [])


def test_a_locked_database_is_waited_for_and_then_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    open_store(url_of(tmp_path)).close()
    other = sqlite3.connect(tmp_path / "trilemma.db", isolation_level=None, check_same_thread=False)
    other.execute("BEGIN IMMEDIATE")
    monkeypatch.setattr(base, "BUSY_TIMEOUT_S", 0.2)
    with open_store(url_of(tmp_path)) as store:
        assert store.studies() == [], "a reader does not wait for a writer"
        with pytest.raises(StoreError, match="locked"):
            store.pause_queue()
    monkeypatch.setattr(base, "BUSY_TIMEOUT_S", 20)
    with open_store(url_of(tmp_path), busy_timeout_s=1.0) as store, pytest.raises(StoreError, match="for 1 s"):
        store.pause_queue()
    timer = threading.Timer(0.3, other.execute, ("COMMIT",))
    timer.start()
    with open_store(url_of(tmp_path)) as store:
        store.pause_queue()
        assert store.queue_paused()
    timer.join()
    other.close()


@pytest.mark.parametrize(
    ("url", "says"),
    [
        ("mysql://user:secret@localhost/x", "no database driver"),
        ("postgresql://user:secret@localhost/x?nonsense=1", "nonsense"),
        ("sqlite://", "in memory"),
        ("sqlite:///:memory:", "in memory"),
        ("not a url", "cannot be understood"),
        ("nosuchdatabase://x", "no database driver"),
    ],
)
def test_a_url_that_cannot_be_used(url: str, says: str) -> None:
    with pytest.raises(StoreError) as caught:
        open_store(url)
    assert says in str(caught.value)
    assert "secret" not in str(caught.value)

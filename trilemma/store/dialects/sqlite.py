"""SQLite: one file, no server."""

from __future__ import annotations

import shutil
import sqlite3
import tempfile
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

import filelock
import sqlalchemy as sa
from sqlalchemy import event, exc
from sqlalchemy.engine import URL, Connection, Engine
from sqlalchemy.engine.interfaces import DBAPIConnection
from sqlalchemy.pool import ConnectionPoolEntry

from trilemma.errors import DatabaseUnavailableError, DiskFullError, StoreError, is_disk_full
from trilemma.store.dialects import base
from trilemma.store.dialects.base import Dialect

_NEARLY_FULL_BYTES = 1 << 20


class SqliteDialect(Dialect):
    """A file; writes exclude each other, readers wait for nobody (write-ahead log)."""

    def __init__(self, url: URL, busy_timeout_s: float | None = None) -> None:
        super().__init__(url, busy_timeout_s)
        if not url.database or url.database == ":memory:":
            raise StoreError(
                "A database in memory cannot be shared between processes.",
                "Give a file: sqlite:////folder/trilemma.db.",
            )
        self.path = Path(url.database)

    @property
    def shown(self) -> str:
        """The file."""
        return str(self.path)

    def engine(self) -> Engine:
        """With transactions that are begun here, not by the driver, which would begin them too late and unlocked."""
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise StoreError(
                f"The folder {self.path.parent} cannot be made ({error.strerror}).",
                "Set TRILEMMA_HOME to a folder that you may write to.",
            ) from error
        engine = sa.create_engine(self.url)

        @event.listens_for(engine, "connect")
        def connect(connection: DBAPIConnection, record: ConnectionPoolEntry) -> None:
            connection.isolation_level = None
            cursor = connection.cursor()
            cursor.execute(f"PRAGMA busy_timeout={int(self.busy_timeout_s * 1000)}")
            cursor.execute("PRAGMA foreign_keys=ON")
            cursor.execute("PRAGMA synchronous=NORMAL")
            cursor.close()

        @event.listens_for(engine, "begin")
        def begin(connection: Connection) -> None:
            write = connection.get_execution_options().get("trilemma_write", False)
            # A write that begins as a read would fail at once, without waiting, when another process wrote in between.
            connection.exec_driver_sql("BEGIN IMMEDIATE" if write else "BEGIN")

        return engine

    def before_write(self, connection: Connection, *, durable: bool) -> None:
        """A durable transaction, and with it all before it, is on the disk before it is said to be written."""
        cursor = connection.connection.cursor()
        cursor.execute(f"PRAGMA synchronous={'FULL' if durable else 'NORMAL'}")
        cursor.close()

    def begin_write(self, connection: Connection) -> None:
        """BEGIN IMMEDIATE has waited already."""

    def is_there(self) -> bool:
        """Whether the file is."""
        return self.path.exists() and self.path.stat().st_size > 0

    @contextmanager
    def alone(self) -> Iterator[None]:
        """A lock beside the file: switching it to write-ahead mode does not wait its turn by itself."""
        try:
            lock = filelock.FileLock(f"{self.path}.lock", timeout=base.BUSY_TIMEOUT_S).acquire()
        except filelock.Timeout as error:
            raise DatabaseUnavailableError(
                f"Another process has been upgrading {self.path} for {base.BUSY_TIMEOUT_S:.0f} s.",
                "Wait for it, or end it.",
            ) from error
        except OSError as error:
            raise StoreError(
                f"The folder {self.path.parent} cannot be written ({error.strerror}).",
                "Check its permissions, or set TRILEMMA_HOME to a folder that you may write to.",
            ) from error
        with lock:
            yield

    def prepare(self, engine: Engine) -> None:
        """Write-ahead mode."""
        raw = engine.raw_connection()
        try:
            raw.cursor().execute("PRAGMA journal_mode=WAL").close()
        except sqlite3.Error as error:
            raise self.explain(error) from error
        finally:
            raw.close()

    def explain(self, error: exc.SQLAlchemyError | sqlite3.Error) -> StoreError:
        """By SQLite's result code."""
        origin = error.orig if isinstance(error, exc.DBAPIError) else error
        code = getattr(origin, "sqlite_errorname", "") or ""
        path = self.path
        if code == "SQLITE_FULL" or (code.startswith(("SQLITE_IOERR", "SQLITE_CANTOPEN")) and _full(path)):
            return DiskFullError(
                f"The disk that holds {path} is full.", "Free some space, or set TRILEMMA_HOME to another disk."
            )
        if code.startswith("SQLITE_IOERR"):
            return DatabaseUnavailableError(
                f"The database {path} could not be read or written ({origin}).", "Check the disk, then try again."
            )
        if code.startswith(("SQLITE_READONLY", "SQLITE_CANTOPEN", "SQLITE_PERM", "SQLITE_AUTH")):
            return StoreError(
                f"The database {path} cannot be opened for writing ({origin}).",
                "Check the permissions of the file and its folder, or set TRILEMMA_HOME to a folder that you may write "
                "to.",
            )
        if code.startswith(("SQLITE_BUSY", "SQLITE_LOCKED")):
            return DatabaseUnavailableError(
                f"The database {path} was locked by another program for {self.busy_timeout_s:.0f} s.",
                "Close whatever else has it open (a database browser, a backup), then try again.",
            )
        if code.startswith(("SQLITE_NOTADB", "SQLITE_CORRUPT")):
            return StoreError(
                f"{path} is not a database, or is damaged ({origin}).",
                "Move it away to start afresh, or restore it from a backup.",
            )
        return StoreError(f"The database {path} failed ({origin}).", "Check the disk, then try again.")

    def number(self, column: sa.ColumnElement[Any], name: str) -> sa.ColumnElement[float]:
        """SQLite reads NaN in JSON as NULL by itself."""
        found: sa.ColumnElement[float] = column[name].as_float()
        return found

    def backup(self, target: Path) -> None:
        """By SQLite's own means: one state of the database, whoever writes meanwhile."""
        part = target.with_name(f"{target.name}.part")
        try:
            with closing(sqlite3.connect(self.path)) as source, closing(sqlite3.connect(part)) as copy:
                source.backup(copy)
            part.replace(target)
        except sqlite3.Error as error:
            part.unlink(missing_ok=True)
            raise StoreError(f"{target} cannot be written ({error}).", "Check the disk and the folder.") from error
        except OSError as error:
            raise StoreError(f"{target} cannot be written ({error.strerror}).", "Choose another folder.") from error

    def version(self, connection: Connection) -> str:
        """The library's."""
        return f"SQLite {sqlite3.sqlite_version}"


def _full(path: Path) -> bool:
    """Whether there is no space, or none that this account may use: a quota shows only when something is written."""
    try:
        if shutil.disk_usage(path.parent).free < _NEARLY_FULL_BYTES:
            return True
        with tempfile.TemporaryFile(dir=path.parent) as probe:
            probe.write(b"\0" * _NEARLY_FULL_BYTES)
            probe.flush()
    except OSError as error:
        return is_disk_full(error)
    return False

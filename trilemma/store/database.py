"""The engine behind the store: connections, transactions and what their failures mean.

The only module that speaks SQLite's own dialect (pragmas and ``BEGIN IMMEDIATE``).
"""

from __future__ import annotations

import copy
import shutil
import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Protocol

import sqlalchemy as sa
from sqlalchemy import event, exc
from sqlalchemy.engine import URL, Connection, Engine, make_url
from sqlalchemy.engine.interfaces import DBAPIConnection
from sqlalchemy.pool import ConnectionPoolEntry

from trilemma.errors import AccessError, DiskFullError, StoreError

BUSY_TIMEOUT_S = 30.0
"""How long a write waits for another process's write."""

_NEARLY_FULL_BYTES = 1 << 20


class Witness(Protocol):
    """Is called at the end of every write that it goes with."""

    def ends(self, connection: Connection) -> None:
        """Before the write is committed, in its transaction; an error undoes the write."""

    def kept(self) -> None:
        """After it was."""


class Database:
    """A SQLAlchemy engine whose writes exclude each other and whose errors are :class:`StoreError`.

    Safe to use from several threads; each process opens its own.
    """

    def __init__(self, url: str) -> None:
        self.url = _parse(url)
        self.path = _sqlite_path(self.url)
        if self.path is not None:
            _make_folder(self.path.parent)
        try:
            self.engine = sa.create_engine(self.url)
        except ModuleNotFoundError as error:
            raise _no_driver(self.url, error) from error
        except exc.NoSuchModuleError as error:
            raise StoreError(
                f"There is no database driver for {self.url.drivername!r}.",
                "Use a sqlite:/// or postgresql+psycopg:// URL.",
            ) from error
        if self.path is not None:
            _use_sqlite(self.engine)
        self._sealed = False
        self._witness: Witness | None = None

    def sealed(self) -> Database:
        """The same database, for reading alone: every write is refused."""
        other = copy.copy(self)
        other._sealed = True
        return other

    def witnessed(self, witness: Witness) -> Database:
        """The same database, whose writes ``witness`` goes with."""
        other = copy.copy(self)
        other._sealed, other._witness = False, witness
        return other

    @contextmanager
    def read(self) -> Iterator[Connection]:
        """A connection in a transaction that sees one state of the database throughout."""
        with self.errors(), self.engine.connect() as connection:
            yield connection

    @contextmanager
    def write(self) -> Iterator[Connection]:
        """A connection in a transaction that excludes other writers; committed at the end, or undone on any error.

        Raises:
            AccessError: this is the database for reading alone.
        """
        if self._sealed:
            raise AccessError("Nothing may be changed from here.", "This is a defect; please report it.")
        with self.errors(), self.engine.connect() as connection:
            connection.execution_options(trilemma_write=True)
            with connection.begin():
                yield connection
                if self._witness is not None:
                    self._witness.ends(connection)
        if self._witness is not None:
            self._witness.kept()

    @contextmanager
    def errors(self) -> Iterator[None]:
        """Turn database errors into :class:`StoreError`."""
        try:
            yield
        except exc.IntegrityError as error:
            raise StoreError(
                f"A record contradicts what is stored ({error.orig}).", "This is a defect; please report it."
            ) from error
        except exc.SQLAlchemyError as error:
            raise self._explain(error) from error

    def use_wal(self) -> None:
        """Put a SQLite file into write-ahead mode, in which readers and a writer do not wait for each other."""
        if self.path is None:
            return
        with self.errors():
            raw = self.engine.raw_connection()
            try:
                raw.cursor().execute("PRAGMA journal_mode=WAL").close()
            except sqlite3.Error as error:
                raise self._explain(error) from error
            finally:
                raw.close()

    def close(self) -> None:
        """Close all connections."""
        self.engine.dispose()

    def _explain(self, error: exc.SQLAlchemyError | sqlite3.Error) -> StoreError:
        origin = error.orig if isinstance(error, exc.DBAPIError) else error
        if self.path is None or not isinstance(origin, sqlite3.Error):
            shown = self.url.render_as_string(hide_password=True)
            return StoreError(
                f"The database {shown} failed ({origin}).", "Check that it runs and that the URL is right."
            )
        return _explain_sqlite(self.path, origin)


def _explain_sqlite(path: Path, error: sqlite3.Error) -> StoreError:
    code = getattr(error, "sqlite_errorname", "") or ""
    if code == "SQLITE_FULL" or (code.startswith(("SQLITE_IOERR", "SQLITE_CANTOPEN")) and _full(path)):
        return DiskFullError(
            f"The disk that holds {path} is full.", "Free some space, or set TRILEMMA_HOME to another disk."
        )
    if code.startswith(("SQLITE_READONLY", "SQLITE_CANTOPEN", "SQLITE_PERM", "SQLITE_AUTH")):
        return StoreError(
            f"The database {path} cannot be opened for writing ({error}).",
            "Check the permissions of the file and its folder, or set TRILEMMA_HOME to a folder that you may write to.",
        )
    if code.startswith(("SQLITE_BUSY", "SQLITE_LOCKED")):
        return StoreError(
            f"The database {path} was locked by another program for {BUSY_TIMEOUT_S:.0f} s.",
            "Close whatever else has it open (a database browser, a backup), then try again.",
        )
    if code.startswith(("SQLITE_NOTADB", "SQLITE_CORRUPT")):
        return StoreError(
            f"{path} is not a database, or is damaged ({error}).",
            "Move it away to start afresh, or restore it from a backup.",
        )
    return StoreError(f"The database {path} failed ({error}).", "Check the disk, then try again.")


def _full(path: Path) -> bool:
    try:
        return shutil.disk_usage(path.parent).free < _NEARLY_FULL_BYTES
    except OSError:
        return False


def _parse(url: str) -> URL:
    try:
        parsed = make_url(url)
    except exc.ArgumentError as error:
        raise StoreError(
            "The database URL cannot be understood.",
            "It looks like sqlite:////folder/trilemma.db or postgresql+psycopg://...",
        ) from error
    if parsed.drivername in ("postgresql", "postgres"):  # the driver that the extra installs
        parsed = parsed.set(drivername="postgresql+psycopg")
    return parsed


def _sqlite_path(url: URL) -> Path | None:
    if url.get_backend_name() != "sqlite":
        return None
    if not url.database or url.database == ":memory:":
        raise StoreError(
            "A database in memory cannot be shared between processes.", "Give a file: sqlite:////folder/trilemma.db."
        )
    return Path(url.database)


def _make_folder(folder: Path) -> None:
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise StoreError(
            f"The folder {folder} cannot be made ({error.strerror}).",
            "Set TRILEMMA_HOME to a folder that you may write to.",
        ) from error


def _no_driver(url: URL, error: ModuleNotFoundError) -> StoreError:
    install = (
        "pip install 'trilemma[postgres]'" if url.get_backend_name() == "postgresql" else f"pip install {error.name}"
    )
    return StoreError(f"The driver for {url.drivername} databases is not installed ({error}).", f"Run: {install}")


def _use_sqlite(engine: Engine) -> None:
    @event.listens_for(engine, "connect")
    def connect(connection: DBAPIConnection, record: ConnectionPoolEntry) -> None:
        # Transactions are begun below, not by the driver, which would begin them too late and unlocked.
        connection.isolation_level = None
        cursor = connection.cursor()
        cursor.execute(f"PRAGMA busy_timeout={int(BUSY_TIMEOUT_S * 1000)}")
        cursor.execute("PRAGMA foreign_keys=ON")
        cursor.execute("PRAGMA synchronous=NORMAL")
        cursor.close()

    @event.listens_for(engine, "begin")
    def begin(connection: Connection) -> None:
        write = connection.get_execution_options().get("trilemma_write", False)
        # A write that begins as a read would fail at once, without waiting, when another process wrote in between.
        connection.exec_driver_sql("BEGIN IMMEDIATE" if write else "BEGIN")

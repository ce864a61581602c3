"""The engine behind the store: connections, transactions and what their failures mean."""

from __future__ import annotations

import copy
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Protocol

import sqlalchemy as sa
from sqlalchemy import exc
from sqlalchemy.engine import URL, Connection, make_url

from trilemma.errors import AccessError, DatabaseUnavailableError, StoreError
from trilemma.store.dialects.base import Dialect
from trilemma.store.dialects.postgres import PostgresDialect
from trilemma.store.dialects.sqlite import SqliteDialect

_AGAIN_S = 1.0
"""How long to wait before a connection is asked for once more: a server that is restarted is soon back."""


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

    def __init__(self, url: str, busy_timeout_s: float | None = None) -> None:
        parsed = _parse(url)
        self.dialect = _dialect(parsed, busy_timeout_s)
        try:
            self.engine = self.dialect.engine()
        except ModuleNotFoundError as error:
            raise _no_driver(parsed, error) from error
        except (exc.ArgumentError, exc.NoSuchModuleError) as error:
            raise _not_understood(parsed) from error
        self._reader = self.engine.execution_options(**self.dialect.read_options)
        self._writer = self.engine.execution_options(trilemma_write=True)
        self._sealed = False
        self._witness: Witness | None = None

    @property
    def shown(self) -> str:
        """The database as people may read it: without its password."""
        return self.dialect.shown

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
        with self.errors(), self._connected(self._reader) as connection:
            yield connection

    @contextmanager
    def write(self, *, alone: bool = True, durable: bool = False) -> Iterator[Connection]:
        """A connection in a transaction; committed at the end, or undone on any error.

        Args:
            alone: Exclude all other such writes. Without, only what locks a row of its own is safe.
            durable: Survive also a power cut that comes right after.

        Raises:
            AccessError: this is the database for reading alone.
        """
        if self._sealed:
            raise AccessError("Nothing may be changed from here.", "This is a defect; please report it.")
        with self.errors(), self._connected(self._writer) as connection:
            self.dialect.before_write(connection, durable=durable)
            with connection.begin():
                if alone:
                    self.dialect.begin_write(connection)
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
            # What SQLAlchemy's own error quotes (statements, values) stays out of the message.
            raise self.dialect.explain(error) from error

    def close(self) -> None:
        """Close all connections."""
        self.engine.dispose()

    @contextmanager
    def _connected(self, engine: sa.Engine) -> Iterator[Connection]:
        """A connection; one that cannot be had is asked for once more."""
        try:
            connection = engine.connect()
        except exc.SQLAlchemyError as error:
            if not isinstance(self.dialect.explain(error), DatabaseUnavailableError):
                raise
            time.sleep(_AGAIN_S)
            connection = engine.connect()
        with connection:
            yield connection


def _parse(url: str) -> URL:
    try:
        parsed = make_url(url)
    except exc.ArgumentError:  # which quotes the URL
        raise StoreError(
            "The database URL cannot be understood.",
            "It looks like sqlite:////folder/trilemma.db or postgresql+psycopg://...",
        ) from None
    if parsed.drivername in ("postgresql", "postgres"):  # the driver that the extra installs
        parsed = parsed.set(drivername="postgresql+psycopg")
    if password := parsed.query.get("password"):  # libpq takes it there, but nobody would hide it
        parsed = parsed.difference_update_query(["password"]).set(password=str(password))
    return parsed


def _dialect(url: URL, busy_timeout_s: float | None) -> Dialect:
    if url.get_backend_name() == "sqlite":
        return SqliteDialect(url, busy_timeout_s)
    if url.drivername == "postgresql+psycopg":
        return PostgresDialect(url, busy_timeout_s)
    raise _not_understood(url)


def _not_understood(url: URL) -> StoreError:
    return StoreError(
        f"There is no database driver for {url.drivername!r} here.", "Use a sqlite:/// or postgresql+psycopg:// URL."
    )


def _no_driver(url: URL, error: ModuleNotFoundError) -> StoreError:
    return StoreError(
        f"The driver for {url.drivername} databases is not installed ({error}).",
        "Run: pip install 'trilemma[postgres]'",
    )

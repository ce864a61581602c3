"""PostgreSQL, through psycopg."""

from __future__ import annotations

import json
import math
import sqlite3
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import Any, ClassVar

import sqlalchemy as sa
from sqlalchemy import event, exc
from sqlalchemy.engine import Connection, Engine
from sqlalchemy.engine.interfaces import DBAPIConnection
from sqlalchemy.pool import ConnectionPoolEntry

from trilemma.errors import DatabaseUnavailableError, DiskFullError, StoreError
from trilemma.store.dialects.base import Dialect

_AWAY = ("08", "57P", "53300", "40001", "40P01", "55P03", "25P03", "25006")
"""SQLSTATEs after which asking again may help: no connection, shutting down, starting up, too many, locked, standby."""
_MEANINGS: tuple[tuple[tuple[str, ...], tuple[str, ...], type[StoreError], str, str], ...] = (
    (
        ("53100",),
        ("No space left",),
        DiskFullError,
        "The disk of the database server is full ({told}).",
        "Free some space there.",
    ),
    (
        ("28",),
        ("authentication failed", "no password supplied", "no pg_hba.conf entry"),
        StoreError,
        "The database {shown} lets nobody in ({told}).",
        "Check user and password in TRILEMMA_DATABASE.",
    ),
    (
        ("3D000",),
        ('" does not exist',),
        StoreError,
        "There is no database {name!r} for this user on that server ({told}).",
        "Make it first (createdb), or check the URL in TRILEMMA_DATABASE.",
    ),
    (
        ("42501",),
        (),
        StoreError,
        "The database {shown} cannot be written ({told}).",
        "Give the user the right to make tables and to write them.",
    ),
    (
        ("22",),
        (),
        StoreError,
        "A value is larger or longer than the database takes ({told}).",
        "Nothing was written. If no file was imported, this is a defect; please report it.",
    ),
    (
        ("55P03",),
        (),
        DatabaseUnavailableError,
        "The database {shown} was locked by another writer for {wait_s:.0f} s.",
        "Try again; if it lasts, look on the server for a transaction that was left open.",
    ),
)
"""SQLSTATEs, or words where the connection failed before there was any: the error, what happened, what to do."""
_CONNECT_ARGS = {"connect_timeout": "10", "keepalives_idle": "30", "tcp_user_timeout": "30000"}
_WRITE_LOCK = 7_451_163
_IDLE_TIMEOUT_S = 120
"""After how long a client that vanished inside a transaction loses its locks."""


class PostgresDialect(Dialect):
    """A server that several machines share."""

    read_options: ClassVar[dict[str, Any]] = {"isolation_level": "REPEATABLE READ", "postgresql_readonly": True}

    @property
    def shown(self) -> str:
        """Without the password, and without options, which may hold another."""
        return self.url.set(query={}).render_as_string(hide_password=True)

    def engine(self) -> Engine:
        """Connections that were dropped meanwhile (the server was restarted) are noticed before they are used."""
        given = {name: value for name, value in _CONNECT_ARGS.items() if name not in self.url.query}
        engine = sa.create_engine(
            self.url,
            pool_pre_ping=True,
            connect_args=given | {"client_encoding": "utf8", "application_name": "trilemma"},
            json_serializer=_dumps,
            json_deserializer=_loads,
        )

        @event.listens_for(engine, "connect")
        def connect(connection: DBAPIConnection, record: ConnectionPoolEntry) -> None:
            cursor = connection.cursor()
            cursor.execute(
                f"SET lock_timeout = {int(self.busy_timeout_s * 1000)}; SET timezone = 'UTC'; "
                f"SET idle_in_transaction_session_timeout = '{_IDLE_TIMEOUT_S}s'"
            )
            cursor.close()
            connection.commit()

        return engine

    def before_write(self, connection: Connection, *, durable: bool) -> None:
        """Every transaction is durable as the server is set up."""

    def begin_write(self, connection: Connection) -> None:
        """One lock for all who would otherwise have to agree on numbers, places in the queue and who is first."""
        connection.execute(sa.select(sa.func.pg_advisory_xact_lock(_WRITE_LOCK)))

    def is_there(self) -> bool:
        """Looking makes nothing."""
        return True

    def alone(self) -> AbstractContextManager[object]:
        """The tables are made in one transaction that excludes others."""
        return nullcontext()

    def prepare(self, engine: Engine) -> None:
        """Refuse an encoding that cannot hold what models write."""
        with engine.connect() as connection:
            encoding = connection.exec_driver_sql("SHOW server_encoding").scalar()
        if encoding != "UTF8":
            raise StoreError(
                f"The database {self.shown} is encoded in {encoding}, which cannot hold every text.",
                "Make one with CREATE DATABASE ... ENCODING 'UTF8' TEMPLATE template0.",
            )

    def explain(self, error: exc.SQLAlchemyError | sqlite3.Error) -> StoreError:
        """By SQLSTATE; a failure without one never reached the server."""
        origin = error.orig if isinstance(error, exc.DBAPIError) else error
        code = getattr(origin, "sqlstate", None) or ""
        told = self._without_password(" ".join(str(origin).split()))
        unreached = isinstance(error, exc.OperationalError | exc.InterfaceError) and not code
        for codes, words, kind, message, hint in _MEANINGS:
            if code.startswith(codes) or (unreached and any(word in told for word in words)):
                said = message.format(shown=self.shown, name=self.url.database, told=told, wait_s=self.busy_timeout_s)
                return kind(said, hint)
        dropped = isinstance(error, exc.DBAPIError) and error.connection_invalidated
        if dropped or unreached or code.startswith(_AWAY) or isinstance(error, exc.TimeoutError):
            return DatabaseUnavailableError(
                f"The database {self.shown} does not answer ({told}).",
                "Check that the server runs and can be reached, then try again.",
            )
        return StoreError(f"The database {self.shown} failed ({told}).", "Look at the server's log, then try again.")

    def _without_password(self, text: str) -> str:
        password = self.url.password
        return text.replace(str(password), "***") if password else text

    def number(self, column: sa.ColumnElement[Any], name: str) -> sa.ColumnElement[float]:
        """What is not finite is stored as an object, see ``_dumps``."""
        return sa.case((sa.func.json_typeof(column[name]) == "number", column[name].as_float()), else_=None)

    def backup(self, target: Path) -> None:
        """The server has better means."""
        raise StoreError(
            f"The database {self.shown} is a server's.", "Use pg_dump, which comes with it: see docs/teams.md."
        )

    def version(self, connection: Connection) -> str:
        """The server's."""
        return f"PostgreSQL {str(connection.exec_driver_sql('SHOW server_version').scalar()).split()[0]}"


_NOT_FINITE = "$float"


def _dumps(value: Any) -> str:
    """JSON; NaN and infinities, which PostgreSQL's JSON does not know, as ``{"$float": "nan"}``."""
    try:
        return json.dumps(value, allow_nan=False)
    except ValueError:
        return json.dumps(_marked(value), allow_nan=False)


def _marked(value: Any) -> Any:
    if isinstance(value, float) and not math.isfinite(value):
        return {_NOT_FINITE: repr(value)}
    if isinstance(value, dict):
        return {key: _marked(one) for key, one in value.items()}
    return [_marked(one) for one in value] if isinstance(value, list | tuple) else value


def _loads(text: str | bytes) -> Any:
    return json.loads(text, object_hook=_unmarked)


def _unmarked(found: dict[str, Any]) -> Any:
    if len(found) == 1 and found.get(_NOT_FINITE) in ("nan", "inf", "-inf"):
        return float(found[_NOT_FINITE])
    return found

"""What a kind of database must do."""

from __future__ import annotations

import sqlite3
from abc import ABC, abstractmethod
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any, ClassVar

import sqlalchemy as sa
from sqlalchemy import exc
from sqlalchemy.engine import URL, Connection, Engine

from trilemma.errors import StoreError

BUSY_TIMEOUT_S = 30.0
"""How long a write waits for another process's write."""


class Dialect(ABC):
    """One kind of database, at one URL."""

    read_options: ClassVar[dict[str, Any]] = {}
    """Of a connection that only reads, so that it sees one state throughout."""

    def __init__(self, url: URL, busy_timeout_s: float | None = None) -> None:
        self.url = url
        self.busy_timeout_s = BUSY_TIMEOUT_S if busy_timeout_s is None else busy_timeout_s

    @property
    @abstractmethod
    def shown(self) -> str:
        """The database as people may read it: without its password."""

    @abstractmethod
    def engine(self) -> Engine:
        """A SQLAlchemy engine for it.

        Raises:
            StoreError: its folder cannot be made.
        """

    @abstractmethod
    def before_write(self, connection: Connection, *, durable: bool) -> None:
        """Called outside the transaction that will write."""

    @abstractmethod
    def begin_write(self, connection: Connection) -> None:
        """Wait, in the transaction just begun, until no other that excludes others writes."""

    @abstractmethod
    def is_there(self) -> bool:
        """Whether there may be tables already; False where opening it to look would make the database."""

    @abstractmethod
    def alone(self) -> AbstractContextManager[object]:
        """A lock for the time of :meth:`prepare`, where the database does not wait its turn by itself."""

    @abstractmethod
    def prepare(self, engine: Engine) -> None:
        """Make a new database ready for its tables.

        Raises:
            StoreError: it cannot hold them.
        """

    @abstractmethod
    def explain(self, error: exc.SQLAlchemyError | sqlite3.Error) -> StoreError:
        """What went wrong and what to do."""

    @abstractmethod
    def number(self, column: sa.ColumnElement[Any], name: str) -> sa.ColumnElement[float]:
        """A number in a JSON object; NULL where it is missing or not finite."""

    @abstractmethod
    def backup(self, target: Path) -> None:
        """Copy the database to a file that is not there yet.

        Raises:
            StoreError: it cannot be.
        """

    @abstractmethod
    def version(self, connection: Connection) -> str:
        """Name and version of the program behind it."""

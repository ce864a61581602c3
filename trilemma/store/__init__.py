"""Tables, queries and migrations; nothing outside this package speaks SQL."""

from __future__ import annotations

import time
from pathlib import Path
from types import TracebackType
from typing import Self

from trilemma.errors import StoreError
from trilemma.settings import get_settings
from trilemma.store.archive import ArchiveStore
from trilemma.store.artifacts import ArtifactStore
from trilemma.store.audit import AuditStore, Trail
from trilemma.store.database import Database
from trilemma.store.deletion import DeletionStore
from trilemma.store.imports import ImportStore
from trilemma.store.machines import MachineStore
from trilemma.store.migrate import migrate
from trilemma.store.queue import QueueStore
from trilemma.store.transfer import TransferStore
from trilemma.store.votes import VoteStore

__all__ = ["Store", "open_store"]


class Store(
    ArtifactStore,
    QueueStore,
    DeletionStore,
    TransferStore,
    ArchiveStore,
    ImportStore,
    VoteStore,
    AuditStore,
    MachineStore,
):
    """Everything that is kept: the catalog, studies, the queue, what runs recorded, and their figures.

    A context manager. Safe to share between threads; each process opens its own, which is cheap.
    Every method raises StoreError where the database cannot be used (DiskFullError where the disk is full).
    """

    @property
    def url(self) -> str:
        """The database's file or URL, the latter without its password and options."""
        return self._db.shown

    def about(self) -> str:
        """Name and version of the program behind it, and how long it took to answer."""
        begin = time.perf_counter()
        with self._db.read() as connection:
            version = self._db.dialect.version(connection)
        return f"{version}, {self.url}, answered in {(time.perf_counter() - begin) * 1e3:.0f} ms"

    def backup(self, target: Path) -> None:
        """Copy the whole database to a new file, also while it is used.

        Raises:
            StoreError: the file exists or cannot be written, or the database is a server's.
        """
        if target.exists():
            raise StoreError(f"{target} exists already.", "Choose another name, or move it away.")
        with self._db.errors():
            self._db.dialect.backup(target)

    def reading(self) -> Store:
        """The same store, for reading alone: a method that writes raises AccessError."""
        return Store(self._db.sealed())

    def reading_as(self, kind: type[Store]) -> Store:
        """As :meth:`reading`, by a class that shows less."""
        return kind(self._db.sealed())

    def acting(self, trail: Trail) -> Store:
        """The same store for one action: its writes leave a row in the log, and say who asked for what is added."""
        return Store(self._db.witnessed(trail), by=trail.entry.who)

    def close(self) -> None:
        """Close the connections."""
        self._db.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def open_store(url: str | None = None, busy_timeout_s: float | None = None) -> Store:
    """Open the store, created or upgraded as needed.

    Args:
        url: A SQLAlchemy URL; None for the one of the settings.
        busy_timeout_s: How long a write waits for another process's; None for as long as anybody would.

    Raises:
        DatabaseTooNewError: a newer Trilemma wrote it.
        StoreError: it cannot be opened, and what to do about it.
    """
    database = Database(get_settings().database_url if url is None else url, busy_timeout_s)
    try:
        migrate(database)
    except BaseException:
        database.close()
        raise
    return Store(database)

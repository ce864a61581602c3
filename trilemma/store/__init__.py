"""Tables, queries and migrations; nothing outside this package speaks SQL."""

from __future__ import annotations

from types import TracebackType
from typing import Self

from trilemma.settings import get_settings
from trilemma.store.artifacts import ArtifactStore
from trilemma.store.database import Database
from trilemma.store.machines import MachineStore
from trilemma.store.migrate import migrate
from trilemma.store.queue import QueueStore
from trilemma.store.reading import ReadStore
from trilemma.store.sample import SampleStore
from trilemma.store.transfer import TransferStore
from trilemma.store.votes import VoteStore

__all__ = ["Store", "open_store"]


class Store(ArtifactStore, QueueStore, TransferStore, ReadStore, SampleStore, VoteStore, MachineStore):
    """Everything that is kept: the catalog, studies, the queue, what runs recorded, and their figures.

    A context manager. Safe to share between threads; each process opens its own, which is cheap.
    Every method raises StoreError where the database cannot be used (DiskFullError where the disk is full).
    """

    @property
    def url(self) -> str:
        """The database's URL, its password hidden."""
        return self._db.url.render_as_string(hide_password=True)

    def close(self) -> None:
        """Close the connections."""
        self._db.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def open_store(url: str | None = None) -> Store:
    """Open the store, created or upgraded as needed.

    Args:
        url: A SQLAlchemy URL; None for the one of the settings.

    Raises:
        DatabaseTooNewError: a newer Trilemma wrote it.
        StoreError: it cannot be opened, and what to do about it.
    """
    database = Database(get_settings().database_url if url is None else url)
    try:
        migrate(database)
    except BaseException:
        database.close()
        raise
    return Store(database)

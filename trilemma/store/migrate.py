"""Brings a database to the present schema, by alembic, safely when several processes open it at once."""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext
from pathlib import Path

import filelock
import sqlalchemy as sa
from sqlalchemy.engine import Connection

from trilemma.errors import DatabaseTooNewError, StoreError
from trilemma.store.database import BUSY_TIMEOUT_S, Database

HEAD = "0004"
"""The newest revision, known without importing alembic so that opening is quick; a test holds it to the scripts."""

_SCRIPTS = Path(__file__).with_name("migrations")


def migrate(database: Database) -> None:
    """Create or upgrade the tables.

    Raises:
        DatabaseTooNewError: a newer Trilemma wrote it.
        StoreError: it cannot be read or written, or belongs to another program.
    """
    exists = database.path is None or (database.path.exists() and database.path.stat().st_size > 0)
    if exists and _revision(database) == HEAD:
        return
    with _alone(database):
        database.use_wal()
        if (revision := _revision(database)) != HEAD:
            _upgrade(database, revision)


def _revision(database: Database) -> str | None:
    with database.read() as connection:
        names = set(sa.inspect(connection).get_table_names())
        if not names:
            return None
        if "alembic_version" not in names or "runs" not in names:
            shown = database.url.render_as_string(hide_password=True)
            raise StoreError(
                f"The database {shown} belongs to another program.",
                "Set TRILEMMA_DATABASE or TRILEMMA_HOME to another place.",
            )
        return connection.execute(sa.text("SELECT version_num FROM alembic_version")).scalar()


def _upgrade(database: Database, revision: str | None) -> None:
    from alembic import command  # noqa: PLC0415  slow to import, and seldom needed
    from alembic.config import Config  # noqa: PLC0415
    from alembic.script import ScriptDirectory  # noqa: PLC0415

    config = Config()
    config.set_main_option("script_location", str(_SCRIPTS).replace("%", "%%"))
    known = {script.revision for script in ScriptDirectory.from_config(config).walk_revisions()}
    if revision is not None and revision not in known:
        raise DatabaseTooNewError(
            f"A newer version of Trilemma wrote the database (its schema is {revision}, this one knows {HEAD}).",
            "Upgrade Trilemma (pip install -U trilemma), or set TRILEMMA_HOME to another folder.",
        )
    with database.write() as connection:
        _lock(connection)
        config.attributes["connection"] = connection
        command.upgrade(config, "head")


def _alone(database: Database) -> AbstractContextManager[object]:
    """A lock beside a SQLite file: switching it to write-ahead mode does not wait its turn by itself."""
    if database.path is None:
        return nullcontext()
    try:
        return filelock.FileLock(f"{database.path}.lock", timeout=BUSY_TIMEOUT_S).acquire()
    except filelock.Timeout as error:
        raise StoreError(
            f"Another process has been upgrading {database.path} for {BUSY_TIMEOUT_S:.0f} s.", "Wait for it, or end it."
        ) from error
    except OSError as error:
        raise StoreError(
            f"The folder {database.path.parent} cannot be written ({error.strerror}).",
            "Check its permissions, or set TRILEMMA_HOME to a folder that you may write to.",
        ) from error


def _lock(connection: Connection) -> None:
    """PostgreSQL's counterpart of the file lock; held until the transaction ends."""
    if connection.dialect.name == "postgresql":
        connection.execute(sa.select(sa.func.pg_advisory_xact_lock(7_451_163)))

"""Brings a database to the present schema, by alembic, safely when several processes open it at once."""

from __future__ import annotations

from pathlib import Path

import sqlalchemy as sa

from trilemma.errors import DatabaseTooNewError, StoreError
from trilemma.store.database import Database

HEAD = "0007"
"""The newest revision, known without importing alembic so that opening is quick; a test holds it to the scripts."""

_SCRIPTS = Path(__file__).with_name("migrations")


def migrate(database: Database) -> None:
    """Create or upgrade the tables.

    Raises:
        DatabaseTooNewError: a newer Trilemma wrote it.
        StoreError: it cannot be read or written, or belongs to another program.
    """
    if database.dialect.is_there() and _revision(database) == HEAD:
        return
    with database.dialect.alone(), database.errors():
        database.dialect.prepare(database.engine)
        if (revision := _revision(database)) != HEAD:
            _upgrade(database, revision)


def _revision(database: Database) -> str | None:
    with database.read() as connection:
        names = set(sa.inspect(connection).get_table_names())
        if not names:
            return None
        if "alembic_version" not in names or "runs" not in names:
            raise StoreError(
                f"The database {database.shown} belongs to another program.",
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
    with database.write(durable=True) as connection:
        config.attributes["connection"] = connection
        command.upgrade(config, "head")

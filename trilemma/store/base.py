"""What all parts of the store share."""

from __future__ import annotations

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from trilemma.errors import NotFoundError, RunCancelledError, StoreError
from trilemma.schema import RunState, utc_now
from trilemma.store import tables as t
from trilemma.store.database import Database


class StoreBase:
    """Holds the database, and the attempt that each run started by this store is at.

    Args:
        database: Where everything is kept.
        by: Who asks for what is added; None where nobody in particular does.
    """

    def __init__(self, database: Database, by: str | None = None) -> None:
        self._db = database
        self._by = by
        self._attempts: dict[str, int] = {}

    def version(self) -> int:
        """A number that grows with every write that changes what Explore shows, and with few others.

        What is read under it is read anew for everybody who looks, beside a run that may be measured meanwhile.
        """
        with self._db.read() as connection:
            return int(connection.execute(sa.select(t.meta.c.value).where(t.meta.c.name == "changes")).scalar_one())

    @staticmethod
    def _changed(connection: Connection) -> None:
        connection.execute(sa.update(t.meta).where(t.meta.c.name == "changes").values(value=t.meta.c.value + 1))

    @staticmethod
    def _state(connection: Connection, run_id: str) -> RunState:
        """The state of a run, its row locked for the rest of the transaction.

        Raises:
            NotFoundError: there is no such run.
        """
        state = connection.execute(sa.select(t.runs.c.state).where(t.runs.c.id == run_id).with_for_update()).scalar()
        if state is None:
            raise no_run(run_id)
        return RunState(state)

    def _require_running(self, connection: Connection, run_id: str) -> int:
        """The attempt that a run is at; a process that outlived its attempt may not write any more.

        Raises:
            NotFoundError: there is no such run.
            RunCancelledError: the user stopped it.
            StoreError: it is not running, or has been started anew elsewhere.
        """
        query = sa.select(t.runs.c.state, t.runs.c.attempt).where(t.runs.c.id == run_id).with_for_update()
        row = connection.execute(query).one_or_none()
        if row is None:
            raise no_run(run_id)
        if row.state == RunState.CANCELLED:
            raise RunCancelledError(f"Run {run_id} was cancelled.")
        if row.state != RunState.RUNNING:
            raise StoreError(f"Run {run_id} is {row.state}, so nothing can be recorded for it.", "Claim it first.")
        if self._attempts.get(run_id, row.attempt) != row.attempt:
            raise StoreError(f"Run {run_id} has been started anew, so this attempt at it may not record any more.")
        return int(row.attempt)

    @staticmethod
    def _note_device_time(connection: Connection, these: sa.ColumnElement[bool]) -> None:
        """Keep how long the runs that fulfil a condition had the device, before their rows forget it."""
        r = t.runs.c
        ended = sa.func.coalesce(r.finished_at, sa.literal(utc_now(), r.finished_at.type))
        spent = sa.select(r.created_by, r.started_at, ended)
        spent = spent.where(these, r.started_at.is_not(None), r.created_by.is_not(None))
        columns = ["who", "started_at", "finished_at"]
        connection.execute(sa.insert(t.device_time).from_select(columns, spent))

    @staticmethod
    def _delete_records(connection: Connection, run_id: str) -> None:
        for table in t.RECORDS:
            connection.execute(sa.delete(table).where(table.c.run_id == run_id))


def no_run(run_id: str) -> NotFoundError:
    """The error for a run that is not there."""
    return NotFoundError(f"There is no run {run_id!r}.", "List the runs with `trilemma show`.")


def owned(connection: Connection, run_id: str, owner: str | None) -> bool:
    """Whether a run is that worker's; None asks for nobody in particular."""
    if owner is None:
        return True
    return bool(connection.execute(sa.select(t.runs.c.worker_id).where(t.runs.c.id == run_id)).scalar_one() == owner)

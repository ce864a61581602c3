"""Studies that are deleted, with what belongs to nothing else."""

from __future__ import annotations

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from trilemma.errors import StoreError
from trilemma.records import SAMPLE
from trilemma.schema import RunState
from trilemma.store import tables as t
from trilemma.store.studies import StudyStore


class DeletionStore(StudyStore):
    """Runs are shared by studies: those of a deleted one go where no other has them."""

    def runs_only_in(self, study_id: str) -> list[str]:
        """The ids of the runs that belong to this study and to no other: they go with it."""
        with self._db.read() as connection:
            return list(connection.execute(sa.select(t.runs.c.id).where(_only_in(study_id))).scalars())

    def delete_study(self, study_id: str) -> list[str]:
        """Delete a study, and of its runs those that belong to no other study, with all that they recorded.

        Time that they had the device still counts for whoever asked for them.

        Returns:
            The ids of the runs that were deleted.

        Raises:
            NotFoundError: there is no such study.
            StoreError: one of those runs is running, or it is the sample study.
        """
        if study_id == SAMPLE:
            raise StoreError("The sample study is not deleted like others.", "`trilemma sample remove` does it.")
        self.study(study_id)
        with self._db.write(durable=True) as connection:
            these = _only_in(study_id)
            deleted = list(connection.execute(sa.select(t.runs.c.id).where(these)).scalars())
            running = sa.select(t.runs.c.id).where(these, t.runs.c.state == RunState.RUNNING.value)
            if (run_id := connection.execute(running).scalar()) is not None:
                raise StoreError(
                    f"Run {run_id} of this study is running.", "Cancel it first, or wait for it to finish."
                )
            self._note_device_time(connection, these)
            connection.execute(sa.delete(t.runs).where(these))
            connection.execute(sa.delete(t.studies).where(t.studies.c.id == study_id))
            delete_unused_hosts(connection)
            self._changed(connection)
        return deleted


def delete_unused_hosts(connection: Connection) -> None:
    """Delete the machines that no run was measured on."""
    connection.execute(sa.delete(t.hosts).where(~sa.exists().where(t.runs.c.host_id == t.hosts.c.id)))


def _only_in(study_id: str) -> sa.ColumnElement[bool]:
    mine = sa.select(t.study_runs.c.run_id).where(t.study_runs.c.study_id == study_id)
    others = sa.select(t.study_runs.c.run_id).where(t.study_runs.c.study_id != study_id)
    return sa.and_(t.runs.c.id.in_(mine), t.runs.c.id.not_in(others))

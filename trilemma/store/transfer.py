"""Runs that are measured on another machine, in a store of its own there, and then taken over here."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import sqlalchemy as sa

from trilemma.errors import StoreError
from trilemma.records import RunRecord, StudyRecord, WholeRun
from trilemma.schema import content_id, utc_now
from trilemma.store import tables as t
from trilemma.store.records import RecordStore
from trilemma.store.studies import insert_runs, new_run
from trilemma.store.whole import insert, insert_hosts, insert_records


class TransferStore(RecordStore):
    """Both ends of the way: a run is lent to another store, and comes back with all that it recorded."""

    def lend_run(self, run: RunRecord, studies: Sequence[StudyRecord], others: Sequence[WholeRun]) -> None:
        """Add a run that another store is at, running, under the same id and attempt, and what it has to know.

        Args:
            run: The run.
            studies: Those that it belongs to.
            others: Finished runs, with the answers that matter to it.

        Raises:
            StoreError: it is here already.
        """
        runs = [*(one.run for one in others), run]
        known = {study.id for study in studies}
        with self._db.write() as connection:
            made = [{"id": s.id, "spec": s.spec.model_dump(mode="json"), "created_at": s.created_at} for s in studies]
            insert(connection, t.studies, [one | {"rerun_disturbed": False} for one in made])
            insert_runs(connection, [_lent(one, position) for position, one in enumerate(runs, 1)])
            links = [{"study_id": study, "run_id": one.id} for one in runs for study in one.study_ids if study in known]
            insert(connection, t.study_runs, links)
            for one in others:
                insert_records(connection, one)

    def take_over(self, whole: WholeRun) -> bool:
        """Put all that an attempt at a run recorded elsewhere in place of what is known of it here, in one transaction.

        A run that ended there has ended here, too. May be called again with the same.

        Returns:
            False when the run had ended here already, which then stands.

        Raises:
            NotFoundError: there is no such run (any more).
            StoreError: the run is not running, or is at another attempt by now.
        """
        run = whole.run
        with self._db.write(durable=True) as connection:
            if self._state(connection, run.id).final:
                return False
            attempt = self._require_running(connection, run.id)
            if attempt != run.attempt:
                raise StoreError(
                    f"Run {run.id} has been started anew: attempt {run.attempt} at it came back too late.",
                    "Nothing is to be done: the later attempt counts.",
                )
            self._delete_records(connection, run.id)
            insert_records(connection, whole)
            values: dict[str, Any] = {"engine_info": dict(run.engine_info), "engine_version": run.engine_version}
            values["started_at"] = run.started_at
            if run.host is not None:
                insert_hosts(connection, [whole])
                values["host_id"] = content_id(run.host, 64)
            if run.state.final:
                values |= {
                    **{name: getattr(run, name) for name in ("reason", "log_tail", "disturbed", "progress")},
                    "state": run.state.value,
                    "disturbances": list(run.disturbances),
                    "finished_at": run.finished_at or utc_now(),
                    **{"note": "", "remaining_s": None, "cancel_requested": False},
                    **{"worker_pid": None, "process_pid": None},
                }
            connection.execute(sa.update(t.runs).where(t.runs.c.id == run.id).values(**values))
            if run.state.final:
                self._changed(connection)
        if run.state.final:
            self._attempts.pop(run.id, None)
        return True


def _lent(run: RunRecord, position: int) -> dict[str, Any]:
    names = ("id", "attempt", "created_at", "started_at", "finished_at", "machine")
    return new_run(run.spec, position) | {name: getattr(run, name) for name in names} | {"state": run.state.value}

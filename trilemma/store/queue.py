"""The queue: which run is next, who runs it, and what becomes of it when its process is gone.

waiting -> running -> done | failed | cancelled | does not fit
   ^          |                |
   +-release--+                |
   +-----------retry-----------+
"""

from __future__ import annotations

import os

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from trilemma.errors import StoreError
from trilemma.lifetimes import created
from trilemma.needs import Needs
from trilemma.records import RunRecord, is_foreign
from trilemma.schema import RunState
from trilemma.store import tables as t
from trilemma.store.base import no_run, owned
from trilemma.store.machines import waiting
from trilemma.store.studies import StudyStore, insert_runs, new_run

_FRESH: dict[str, object] = {
    "phase": None,
    "progress": 0.0,
    "note": "",
    "remaining_s": None,
    "started_at": None,
    "finished_at": None,
    "cancel_requested": False,
    "disturbed": False,
    "disturbances": [],
    "engine_info": {},
    "worker_id": None,
    "worker_pid": None,
    "worker_created": None,
    "process_pid": None,
    "process_created": None,
    "machine": "",
}


class QueueStore(StudyStore):
    """Every change is one transaction that excludes all others, so that no run is lost or given out twice."""

    def claim_next(
        self, worker_id: str, device: str = "local", *, needs: Needs | None = None, machine: str = ""
    ) -> RunRecord | None:
        """Give the next waiting run of ``device`` to the calling process and make it running.

        None when the queue is paused or empty, or when a run of that device is running.

        In a cluster, the runs of one configuration in one study stay on the machine that had the first of them, as long
        as it is there: repeats on another machine would be no repeats.

        Args:
            worker_id: Who asks.
            device: Whose runs.
            needs: Only a run that asks for this; None for any.
            machine: The cluster's machine that is reserved for it; other machines' runs do not matter then.
        """
        with self._db.write() as connection:
            if self._paused(connection) or (not machine and self._busy(connection, device)):
                return None
            queued = waiting(connection, device, 1 if needs is None else None)
            fit = (one for one, asks in queued if needs is None or asks == needs)
            # Looked at once more with its row locked, for databases in which others write meanwhile.
            run_id = next((one for one in fit if self._state(connection, one) is RunState.WAITING), None)
            if run_id is None:
                return None
            values = _FRESH | {
                "state": RunState.RUNNING.value,
                "attempt": t.runs.c.attempt + 1,
                "reason": "",
                "log_tail": "",
                "machine": machine,
                "worker_id": worker_id,
                "worker_pid": os.getpid(),
                "worker_created": created(os.getpid()),
            }
            connection.execute(sa.update(t.runs).where(t.runs.c.id == run_id).values(values))
            self._delete_records(connection, run_id)
        # Whoever claims a run begins a new attempt, also where the same process had given up an earlier one.
        self._attempts.pop(run_id, None)
        return self.run(run_id)

    def release(self, run_id: str, reason: str = "", *, interrupted: bool = False, owner: str | None = None) -> None:
        """Put a running run, whose process is gone, back into the queue and delete what it recorded.

        ``interrupted`` counts towards :meth:`interruptions`. A run that is not running is left as it is: it may have
        finished the moment before. So is one that is no longer the worker's whose name is ``owner``.
        """
        with self._db.write() as connection:
            if self._state(connection, run_id) is not RunState.RUNNING or not owned(connection, run_id, owner):
                return
            more = t.runs.c.interruptions + int(interrupted)
            self._start_over(connection, run_id, reason=reason, interruptions=more)

    def waiting_needs(self, device: str = "local") -> list[Needs]:
        """What the waiting runs of ``device`` ask of their machines, each once, in the order of the queue.

        Nothing while the queue is paused. See :meth:`claim_next` for the machines that runs stay on.
        """
        with self._db.read() as connection:
            if self._paused(connection):
                return []
            return list(dict.fromkeys(needs for _, needs in waiting(connection, device)))

    def retry(self, run_id: str) -> None:
        """Put a failed or cancelled run back into its place in the queue and delete what it recorded.

        Raises:
            NotFoundError: there is no such run.
            StoreError: it did not fail and was not cancelled, or was measured elsewhere.
        """
        with self._db.write() as connection:
            state = self._state(connection, run_id)
            if state not in (RunState.FAILED, RunState.CANCELLED):
                raise StoreError(f"Run {run_id} is {state}: only a failed or cancelled run can be retried.")
            if is_foreign(connection.execute(sa.select(t.runs.c.device).where(t.runs.c.id == run_id)).scalar_one()):
                # It would lose what it recorded there, and wait for ever: no worker has its device.
                raise StoreError(f"Run {run_id} was measured elsewhere.", "Measure the same in a study of your own.")
            self._start_over(connection, run_id, reason="", interruptions=0)

    def interruptions(self, run_id: str) -> int:
        """How often the run's worker vanished while it ran."""
        query = sa.select(t.runs.c.interruptions).where(t.runs.c.id == run_id)
        with self._db.read() as connection:
            count = connection.execute(query).scalar()
        if count is None:
            raise no_run(run_id)
        return int(count)

    def owner(self, run_id: str) -> tuple[str, int, float] | None:
        """The worker that runs a run: its name, pid and the pid's creation time; None when it is not running."""
        return self._who(run_id, t.runs.c.worker_id, t.runs.c.worker_pid, t.runs.c.worker_created)

    def set_owner(self, run_id: str, worker_id: str, pid: int, create_time: float) -> None:
        """State which worker process a running run belongs to; :meth:`claim_next` states the calling one."""
        self._set_running(run_id, worker_id=worker_id, worker_pid=pid, worker_created=create_time)

    def process(self, run_id: str) -> tuple[str, int, float] | None:
        """The process that measures a running run: its worker's name, pid and the pid's creation time."""
        return self._who(run_id, t.runs.c.worker_id, t.runs.c.process_pid, t.runs.c.process_created)

    def set_process(self, run_id: str, pid: int, create_time: float) -> None:
        """State which process measures a running run."""
        self._set_running(run_id, process_pid=pid, process_created=create_time)

    def pause_queue(self) -> None:
        """Let no further run start; the one that is running goes on."""
        self._set_paused(1)

    def resume_queue(self) -> None:
        """Let runs start again."""
        self._set_paused(0)

    def queue_paused(self) -> bool:
        """Whether the queue is paused."""
        with self._db.read() as connection:
            return self._paused(connection)

    def request_cancel(self, run_id: str) -> None:
        """Cancel a waiting run at once; ask the worker of a running one to stop it. A finished run stays as it is."""
        with self._db.write() as connection:
            state = self._state(connection, run_id)
            where = t.runs.c.id == run_id
            if state is RunState.WAITING:
                values = {"state": RunState.CANCELLED.value, "reason": "Cancelled before it started."}
                connection.execute(sa.update(t.runs).where(where).values(values))
                self._changed(connection)
            elif state is RunState.RUNNING:
                connection.execute(sa.update(t.runs).where(where).values(cancel_requested=True))

    def cancel_requested(self, run_id: str) -> bool:
        """Whether a running run shall stop, or was cancelled.

        Raises:
            NotFoundError: there is no such run (any more).
        """
        query = sa.select(t.runs.c.cancel_requested, t.runs.c.state).where(t.runs.c.id == run_id)
        with self._db.read() as connection:
            row = connection.execute(query).one_or_none()
        if row is None:
            raise no_run(run_id)
        return bool(row.cancel_requested) or row.state == RunState.CANCELLED

    def add_rerun(self, run_id: str) -> str:
        """Queue a run once more, ahead of all others and for the same studies; the new run's id.

        Asked again for the same run it answers with the first re-run.

        Raises:
            NotFoundError: there is no such run.
            StoreError: it is itself a re-run.
        """
        original = self.run(run_id)
        if original.rerun_of is not None:
            raise StoreError(f"Run {run_id} is itself a re-run, and is not re-run again.")
        with self._db.write() as connection:
            self._state(connection, run_id)
            existing = connection.execute(sa.select(t.runs.c.id).where(t.runs.c.rerun_of == run_id)).scalar()
            if existing is not None:
                return str(existing)
            first = sa.select(sa.func.min(t.runs.c.position)).where(t.runs.c.state == RunState.WAITING.value)
            last = sa.select(sa.func.max(t.runs.c.position))
            ahead = connection.execute(first).scalar()
            position = ahead - 1 if ahead is not None else int(connection.execute(last).scalar() or 0) + 1
            row = new_run(original.spec, position, rerun_of=run_id, created_by=original.created_by)
            insert_runs(connection, [row])
            mine = sa.select(t.study_runs.c.study_id, sa.literal(row["id"])).where(t.study_runs.c.run_id == run_id)
            connection.execute(sa.insert(t.study_runs).from_select(["study_id", "run_id"], mine))
            self._changed(connection)
        return str(row["id"])

    def reruns_due(self, device: str = "local") -> list[str]:
        """Disturbed runs of ``device`` that a study wants measured once more, and that have not been queued again."""
        again = t.runs.alias()
        asked = sa.exists().where(
            t.study_runs.c.run_id == t.runs.c.id,
            t.study_runs.c.study_id == t.studies.c.id,
            t.studies.c.rerun_disturbed.is_(True),
        )
        query = (
            sa.select(t.runs.c.id)
            .where(t.runs.c.state == RunState.DONE.value, t.runs.c.device == device, t.runs.c.disturbed.is_(True))
            .where(t.runs.c.rerun_of.is_(None), ~sa.exists().where(again.c.rerun_of == t.runs.c.id), asked)
            .order_by(t.runs.c.number)
        )
        with self._db.read() as connection:
            return list(connection.execute(query).scalars())

    def _start_over(
        self, connection: Connection, run_id: str, *, reason: str, interruptions: int | sa.ColumnElement[int]
    ) -> None:
        self._note_device_time(connection, t.runs.c.id == run_id)
        values = _FRESH | {
            "state": RunState.WAITING.value,
            "reason": reason,
            "log_tail": "",
            "interruptions": interruptions,
        }
        connection.execute(sa.update(t.runs).where(t.runs.c.id == run_id).values(values))
        self._delete_records(connection, run_id)
        self._changed(connection)

    def _who(
        self, run_id: str, name: sa.Column[str], pid: sa.Column[int], created: sa.Column[float]
    ) -> tuple[str, int, float] | None:
        with self._db.read() as connection:
            row = connection.execute(
                sa.select(t.runs.c.state, name, pid, created).where(t.runs.c.id == run_id)
            ).one_or_none()
        if row is None:
            raise no_run(run_id)
        if row[0] != RunState.RUNNING or row[1] is None or row[2] is None:
            return None
        return str(row[1]), int(row[2]), float(row[3])

    def _set_running(self, run_id: str, **values: object) -> None:
        with self._db.write() as connection:
            self._require_running(connection, run_id)
            connection.execute(sa.update(t.runs).where(t.runs.c.id == run_id).values(**values))

    def _set_paused(self, value: int) -> None:
        with self._db.write() as connection:
            connection.execute(sa.update(t.meta).where(t.meta.c.name == "paused").values(value=value))

    @staticmethod
    def _paused(connection: Connection) -> bool:
        # Locked in a write, so that two claims never overlap where the database itself would let them.
        query = sa.select(t.meta.c.value).where(t.meta.c.name == "paused")
        if connection.get_execution_options().get("trilemma_write"):
            query = query.with_for_update()
        return bool(connection.execute(query).scalar_one())

    @staticmethod
    def _busy(connection: Connection, device: str) -> bool:
        running = sa.exists().where(t.runs.c.state == RunState.RUNNING.value, t.runs.c.device == device)
        return bool(connection.execute(sa.select(running)).scalar_one())

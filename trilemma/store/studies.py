"""Studies and runs: adding them, and reading their records."""

from __future__ import annotations

import json
import secrets
from collections import defaultdict
from collections.abc import Collection, Iterable, Sequence
from typing import Any

import sqlalchemy as sa
from sqlalchemy.engine import Connection, Row

from trilemma.errors import NotFoundError
from trilemma.needs import ANYWHERE, Needs
from trilemma.records import IMPORTED, OF_TOOL, SAMPLE, HostInfo, RunRecord, StudyRecord
from trilemma.schema import RunSpec, RunState, StudySpec, utc_now
from trilemma.settings import get_settings
from trilemma.store import tables as t
from trilemma.store.base import StoreBase, no_run
from trilemma.store.column_types import whole_json

_HIDDEN = {"number", "position", "fingerprint", "configuration_id", "artifact_id", "engine", "settings", "repeat"} | {
    "adapter_id",
    "profile",
}
_HIDDEN |= {"device", "needs", "interruptions", "cancel_requested", "host_id", "engine_version"}
_HIDDEN |= {"worker_id", "worker_pid", "worker_created", "process_pid", "process_created"}
_COLUMNS = [column for column in t.runs.c if column.name not in _HIDDEN]


class StudyStore(StoreBase):
    """Studies, and the runs that they share."""

    def add_study(self, spec: StudySpec, runs: Sequence[RunSpec]) -> StudyRecord:
        """Add a study and queue its runs in the order given.

        A run that is done undisturbed, running or waiting already (equal fingerprint) is shared, not queued again.
        """
        study_id = secrets.token_hex(6)
        with self._db.write(durable=True) as connection:
            values = {
                "id": study_id,
                "spec": spec.model_dump(mode="json"),
                "rerun_disturbed": spec.rerun_disturbed,
                "created_at": utc_now(),
                "created_by": self._by,
            }
            connection.execute(sa.insert(t.studies).values(values))
            known = _reusable(connection)
            position = int(connection.execute(sa.select(sa.func.max(t.runs.c.position))).scalar() or 0)
            fresh = []
            for run in runs:
                if run.fingerprint not in known:
                    position += 1
                    row = new_run(run, position, created_by=self._by)
                    known[run.fingerprint] = row["id"]
                    fresh.append(row)
            insert_runs(connection, fresh)
            linked = dict.fromkeys(known[run.fingerprint] for run in runs)
            if linked:
                rows = [{"study_id": study_id, "run_id": run_id} for run_id in linked]
                connection.execute(sa.insert(t.study_runs), rows)
            self._changed(connection)
        return self.study(study_id)

    def reusable(self) -> set[str]:
        """Fingerprints of the runs that a new study would share instead of queueing them again."""
        with self._db.read() as connection:
            return set(_reusable(connection))

    def studies(self) -> list[StudyRecord]:
        """All studies, the newest first."""
        return self._studies(None)

    def study(self, study_id: str) -> StudyRecord:
        """One study.

        Raises:
            NotFoundError: there is no such study.
        """
        found = self._studies(study_id)
        if not found:
            raise NotFoundError(f"There is no study {study_id!r}.", "List the studies with `trilemma show`.")
        return found[0]

    def run(self, run_id: str) -> RunRecord:
        """One run.

        Raises:
            NotFoundError: there is no such run.
        """
        with self._db.read() as connection:
            found = read_runs(connection, sa.select(*_COLUMNS, t.hosts.c.document).where(t.runs.c.id == run_id))
        if not found:
            raise no_run(run_id)
        return found[0]

    def runs(
        self,
        study_id: str | None = None,
        states: Collection[RunState] | None = None,
        limit: int | None = None,
        newest_first: bool = False,
        artifact_id: str | None = None,
    ) -> list[RunRecord]:
        """Runs in the order of the queue, the next one last among those done and first among those waiting.

        Without ``study_id`` those that were measured here: the sample's and imported ones were never in this queue.
        """
        query = sa.select(*_COLUMNS, t.hosts.c.document)
        query = query.where(is_own(t.runs) if study_id is None else in_study(study_id))
        if artifact_id is not None:
            query = query.where(t.runs.c.artifact_id == artifact_id)
        if states is not None:
            query = query.where(t.runs.c.state.in_([RunState(state).value for state in states]))
        order = (t.runs.c.position, t.runs.c.number)
        query = query.order_by(*(column.desc() for column in order)) if newest_first else query.order_by(*order)
        with self._db.read() as connection:
            return read_runs(connection, query.limit(limit))

    def run_counts(self) -> dict[RunState, int]:
        """How many runs of the user's own are in each state; a state that none is in is missing."""
        query = sa.select(t.runs.c.state, sa.func.count()).where(is_own(t.runs)).group_by(t.runs.c.state)
        with self._db.read() as connection:
            return {RunState(state): int(count) for state, count in connection.execute(query)}

    def _last_run(self, condition: sa.ColumnElement[bool]) -> RunRecord | None:
        """Of the runs that fulfil a condition, the one that finished last."""
        query = sa.select(*_COLUMNS, t.hosts.c.document).where(condition)
        query = query.order_by(t.runs.c.finished_at.desc(), t.runs.c.id.desc()).limit(1)
        with self._db.read() as connection:
            return next(iter(read_runs(connection, query)), None)

    def _studies(self, study_id: str | None) -> list[StudyRecord]:
        query = sa.select(t.studies).order_by(t.studies.c.created_at.desc(), t.studies.c.id)
        counts = (
            sa.select(t.study_runs.c.study_id, t.runs.c.state, sa.func.count())
            .join_from(t.study_runs, t.runs)
            .group_by(t.study_runs.c.study_id, t.runs.c.state)
        )
        if study_id is not None:
            query = query.where(t.studies.c.id == study_id)
            counts = counts.where(t.study_runs.c.study_id == study_id)
        with self._db.read() as connection:
            rows = connection.execute(query).all()
            states: dict[str, dict[RunState, int]] = defaultdict(dict)
            for study, state, count in connection.execute(counts):
                states[study][RunState(state)] = count
        return [
            StudyRecord(
                id=row.id,
                spec=StudySpec.model_validate(row.spec),
                created_at=row.created_at,
                created_by=row.created_by,
                runs_by_state=states.get(row.id, {}),
            )
            for row in rows
        ]


def is_own(runs: sa.FromClause) -> sa.ColumnElement[bool]:
    """The condition that a run is the user's own: neither of the sample study nor imported."""
    return sa.and_(runs.c.device != SAMPLE, runs.c.device.not_like(f"{IMPORTED}%"))


def is_of_tool(runs: sa.FromClause) -> sa.ColumnElement[bool]:
    """The condition that a run came out of another tool's file."""
    return runs.c.device.like(f"{OF_TOOL}%")


def is_mine(runs: sa.FromClause) -> sa.ColumnElement[bool]:
    """The condition that a run was queued for this machine, which may not be the only one that shares the database."""
    return runs.c.device == get_settings().device


def in_study(study_id: str | None) -> sa.ColumnElement[bool]:
    """The condition that a run belongs to a study.

    Without one, that it was measured on this machine. Where nothing was: on others that share the database, else that
    it was imported, else that it is the sample study's; so none is ever shown among the others. What came out of
    another tool's file is shown beside them all, because every figure and configuration of it says what it is.
    """
    if study_id is None:
        others = t.runs.alias()
        mine, own, any_but_sample = (
            sa.exists().where(condition) for condition in (is_mine(others), is_own(others), others.c.device != SAMPLE)
        )
        level = sa.case((mine, 0), (own, 1), (any_but_sample, 2), else_=3)
        of_run = sa.case((is_mine(t.runs), 0), (is_own(t.runs), 1), (t.runs.c.device != SAMPLE, 2), else_=3)
        return sa.or_(of_run == level, is_of_tool(t.runs))
    return t.runs.c.id.in_(sa.select(t.study_runs.c.run_id).where(t.study_runs.c.study_id == study_id))


def read_runs(connection: Connection, query: sa.Select[Any]) -> list[RunRecord]:
    """Run records out of a selection of ``_COLUMNS`` and the host's document."""
    rows = connection.execute(query.outerjoin(t.hosts, t.runs.c.host_id == t.hosts.c.id)).all()
    studies = _studies_of(connection, [row.id for row in rows])
    return [_record(row, studies.get(row.id, ())) for row in rows]


def new_run(spec: RunSpec, position: int, rerun_of: str | None = None, created_by: str | None = None) -> dict[str, Any]:
    """The row of a waiting run, but for its number."""
    return {
        "id": secrets.token_hex(6),
        "position": position,
        "fingerprint": spec.fingerprint,
        "configuration_id": spec.configuration.id,
        "artifact_id": spec.configuration.artifact_id,
        "engine": spec.configuration.engine,
        "settings": json.dumps(whole_json(spec.configuration.settings), sort_keys=True),
        "adapter_id": spec.configuration.adapter_id,
        "profile": spec.configuration.profile.name if spec.configuration.profile else None,
        "repeat": spec.repeat,
        "device": spec.device,
        "spec": spec.model_dump(mode="json"),
        "state": RunState.WAITING.value,
        "progress": 0.0,
        "note": "",
        "attempt": 0,
        "interruptions": 0,
        "cancel_requested": False,
        "created_at": utc_now(),
        "reason": "",
        "log_tail": "",
        "disturbed": False,
        "disturbances": [],
        "rerun_of": rerun_of,
        "engine_info": {},
        "created_by": created_by,
        "needs": needs_text(spec.needs),
        "machine": "",
        "engine_version": spec.engine_version,
    }


def needs_text(needs: Needs) -> str:
    """Needs as the table has them; equal for equal ones."""
    return "" if needs == ANYWHERE else json.dumps(needs.model_dump(mode="json", exclude_defaults=True), sort_keys=True)


def insert_runs(connection: Connection, rows: Iterable[dict[str, Any]]) -> None:
    """Insert rows of :func:`new_run`, numbered on from the last run."""
    first = int(connection.execute(sa.select(sa.func.max(t.runs.c.number))).scalar() or 0) + 1
    numbered = [row | {"number": number} for number, row in enumerate(rows, first)]
    if numbered:
        connection.execute(sa.insert(t.runs), numbered)


def _reusable(connection: Connection) -> dict[str, str]:
    """Fingerprints of runs that need not be queued again, with the run to share."""
    usable = sa.or_(
        t.runs.c.state.in_([RunState.WAITING.value, RunState.RUNNING.value, RunState.DOES_NOT_FIT.value]),
        sa.and_(t.runs.c.state == RunState.DONE.value, t.runs.c.disturbed.is_(False)),
    )
    done_last = sa.case((t.runs.c.state.in_([RunState.DONE.value, RunState.DOES_NOT_FIT.value]), 1), else_=0)
    query = sa.select(t.runs.c.fingerprint, t.runs.c.id).where(usable, is_own(t.runs))
    query = query.order_by(done_last, t.runs.c.number)
    return dict(connection.execute(query).all())


def _studies_of(connection: Connection, run_ids: Sequence[str]) -> dict[str, tuple[str, ...]]:
    found: dict[str, list[str]] = defaultdict(list)
    query = sa.select(t.study_runs).join(t.studies).order_by(t.studies.c.created_at)
    for batch in _batches(run_ids):
        for study_id, run_id in connection.execute(query.where(t.study_runs.c.run_id.in_(batch))):
            found[run_id].append(study_id)
    return {run_id: tuple(ids) for run_id, ids in found.items()}


def _batches(items: Sequence[str], size: int = 500) -> Iterable[Sequence[str]]:
    return (items[start : start + size] for start in range(0, len(items), size))


def _record(row: Row[Any], study_ids: tuple[str, ...]) -> RunRecord:
    values = dict(row._mapping)
    document = values.pop("document")
    host = None if document is None else HostInfo.model_validate(document)
    return RunRecord.model_validate(values | {"study_ids": study_ids, "host": host})

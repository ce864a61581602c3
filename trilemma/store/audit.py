"""The log of what was done and refused, and what each person takes of queue, device and disk."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Literal

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from trilemma.errors import NotFoundError
from trilemma.records import AuditRecord, Outcome, Usage
from trilemma.schema import Artifact, RunSpec, RunState, utc_now
from trilemma.store import tables as t
from trilemma.store.base import StoreBase

LONGEST = 400
"""Characters of a subject or a detail that are kept."""
LONGEST_WHO = 255
_AGAIN = timedelta(minutes=1)
"""Within this time the same refusal is kept once: reloading a page shall not fill the disk."""

Kind = Literal["run", "study", "artifact", "vote"]
_TABLES: dict[Kind, sa.Table] = {"run": t.runs, "study": t.studies, "artifact": t.artifacts, "vote": t.votes}


class AuditStore(StoreBase):
    """Rows of the log are added and read; nothing changes or deletes them."""

    def add_audit(self, entry: AuditRecord) -> None:
        """Keep a row of its own; a refusal that was kept within the last minute is not kept again."""
        with self._db.write() as connection:
            if entry.outcome is Outcome.REFUSED and connection.execute(_same_refusal(entry)).scalar() is not None:
                return
            _insert(connection, entry)

    def audit(self, limit: int = 200, *, who: str | None = None, outcome: Outcome | None = None) -> list[AuditRecord]:
        """The log, the newest first."""
        columns = [column for column in t.audit.c if column.name != "id"]
        query = sa.select(*columns).order_by(t.audit.c.id.desc()).limit(limit)
        if who is not None:
            query = query.where(t.audit.c.who == who)
        if outcome is not None:
            query = query.where(t.audit.c.outcome == outcome.value)
        with self._db.read() as connection:
            return [AuditRecord.model_validate(dict(row._mapping)) for row in connection.execute(query)]

    def created_by(self, kind: Kind, id_: str) -> str | None:
        """Who asked for a run, a study, an artifact or a vote; None where that is not known.

        Raises:
            NotFoundError: there is no such thing.
        """
        table = _TABLES[kind]
        with self._db.read() as connection:
            row = connection.execute(sa.select(table.c.created_by).where(table.c.id == id_)).one_or_none()
        if row is None:
            raise NotFoundError(f"There is no {kind} {id_[:32]!r}.", "Perhaps it has been deleted meanwhile.")
        return None if row.created_by is None else str(row.created_by)

    def usage(self, who: str, since: datetime) -> Usage:
        """What ``who`` takes, of the device since ``since``."""
        with self._db.read() as connection:
            return _usage(connection, who, since)


class Trail:
    """Goes with all writes of one action: a row of the log in the first one's transaction, and limits in each.

    Args:
        entry: The row.
        check: Is told what the person takes once the write is made; an error undoes it.
        since: From when on time on the device counts.
    """

    def __init__(
        self, entry: AuditRecord, check: Callable[[Usage], None] | None = None, since: datetime | None = None
    ) -> None:
        self.entry, self._check, self._since = entry, check, since
        self.written = False

    def ends(self, connection: Connection) -> None:
        """Check, then add the row."""
        if self._check is not None:
            self._check(_usage(connection, self.entry.who, self._since or utc_now()))
        if not self.written:
            _insert(connection, self.entry)

    def kept(self) -> None:
        """The row is there."""
        self.written = True


def _insert(connection: Connection, entry: AuditRecord) -> None:
    values = entry.model_dump() | {
        "who": entry.who[:LONGEST_WHO],
        "subject": entry.subject[:LONGEST],
        "detail": entry.detail[:LONGEST],
        "outcome": entry.outcome.value,
    }
    connection.execute(sa.insert(t.audit).values(values))


def _same_refusal(entry: AuditRecord) -> sa.Select[tuple[int]]:
    a = t.audit.c
    query = sa.select(a.id).where(a.who == entry.who[:LONGEST_WHO], a.action == entry.action)
    query = query.where(a.outcome == Outcome.REFUSED.value, a.subject == entry.subject[:LONGEST])
    return query.where(a.at > entry.at - _AGAIN).limit(1)


def _usage(connection: Connection, who: str, since: datetime) -> Usage:
    r = t.runs.c
    waiting = sa.select(r.spec, t.artifacts.c.document).outerjoin_from(
        t.runs, t.artifacts, r.artifact_id == t.artifacts.c.id
    )
    waiting = waiting.where(r.created_by == who, r.state.in_([RunState.WAITING.value, RunState.RUNNING.value]))
    times = sa.select(r.started_at, r.finished_at).where(r.created_by == who, r.started_at.is_not(None))
    times = times.where(sa.or_(r.finished_at > since, r.state == RunState.RUNNING.value))
    d = t.device_time.c
    gone = sa.select(d.started_at, d.finished_at).where(d.who == who, d.finished_at > since)
    mine = sa.select(t.artifacts.c.document).where(t.artifacts.c.created_by == who)
    files = sa.select(sa.func.sum(t.audit.c.size_bytes)).where(t.audit.c.who == who)
    files = files.where(t.audit.c.outcome == Outcome.DONE.value)
    now = utc_now()
    # A clock that is set back meanwhile gives nobody time.
    spent = [*connection.execute(times), *connection.execute(gone)]
    taken = [max((end or now) - max(start, since), timedelta()) for start, end in spent]
    return Usage(
        open_runs=tuple(
            (RunSpec.model_validate(spec), None if document is None else Artifact.model_validate(document))
            for spec, document in connection.execute(waiting)
        ),
        device_s=sum(taken, timedelta()).total_seconds(),
        artifacts=tuple(Artifact.model_validate(document) for document in connection.execute(mine).scalars()),
        files_bytes=int(connection.execute(files).scalar() or 0),
    )

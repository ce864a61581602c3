"""Writing whole studies at once, with all that their finished runs recorded elsewhere."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from trilemma.records import WholeRun
from trilemma.schema import content_id
from trilemma.store import tables as t
from trilemma.store.records import chunk_row, measurement_row, request_row
from trilemma.store.studies import new_run


def insert(connection: Connection, table: sa.Table, rows: Sequence[dict[str, Any]]) -> None:
    """Add ``rows``, of which there may be none."""
    if rows:
        connection.execute(sa.insert(table), list(rows))


def insert_hosts(connection: Connection, runs: Sequence[WholeRun]) -> None:
    """Add the machines that runs ran on and that are not known yet."""
    documents = [run.run.host.model_dump(mode="json") for run in runs if run.run.host is not None]
    rows = {content_id(document, 64): document for document in documents}
    known = set(connection.execute(sa.select(t.hosts.c.id).where(t.hosts.c.id.in_(list(rows)))).scalars())
    insert(connection, t.hosts, [{"id": key, "document": rows[key]} for key in rows if key not in known])


def ended_run(whole: WholeRun, position: int, device: str) -> dict[str, Any]:
    """The row of a run that is over, but for its number; ``device`` is what it is known by here."""
    run = whole.run
    spec = run.spec.model_copy(update={"device": device})
    return new_run(spec, position, rerun_of=run.rerun_of) | {
        "id": run.id,
        "state": run.state.value,
        "phase": None if run.phase is None else run.phase.value,
        "progress": run.progress,
        "attempt": run.attempt,
        "created_at": run.created_at,
        "started_at": run.started_at,
        "finished_at": run.finished_at,
        "reason": run.reason,
        "log_tail": run.log_tail,
        "disturbed": run.disturbed,
        "disturbances": list(run.disturbances),
        "machine": run.machine,
        "host_id": None if run.host is None else content_id(run.host, 64),
        "engine_info": dict(run.engine_info),
        "engine_version": run.engine_version,
    }


def insert_records(connection: Connection, whole: WholeRun) -> None:
    """Add everything that a run recorded."""
    run_id = whole.run.id
    phases = [window.model_dump(mode="json") | {"run_id": run_id} for window in whole.phases]
    answers = [answer.model_dump() | {"run_id": run_id} for answer in whole.answers]
    figures = [measurement_row(run_id, order, one) for order, one in enumerate(whole.measurements)]
    insert(connection, t.phases, phases)
    insert(connection, t.sample_chunks, [chunk_row(run_id, whole.samples)] if whole.samples else [])
    insert(connection, t.requests, [request_row(run_id, request) for request in whole.requests])
    insert(connection, t.answers, answers)
    insert(connection, t.measurements, figures)

"""The sample study: another machine's results, kept apart from the user's own by the device that its runs name.

A worker claims runs of its own device only, a run of another device has another fingerprint, and readings of all
studies leave that device out: so nothing of the sample is measured again, reused or mixed with what was measured here.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from trilemma.records import SAMPLE, SampleFacts, StudyRecord, WholeRun, WholeStudy
from trilemma.schema import content_id
from trilemma.store import tables as t
from trilemma.store.artifacts import artifact_row
from trilemma.store.records import insert, insert_records
from trilemma.store.studies import StudyStore, insert_runs, is_own, new_run

_OFFERED = "sample"


class SampleStore(StudyStore):
    """The sample study, with one id in every store."""

    def add_sample(self, whole: WholeStudy) -> StudyRecord:
        """Add the sample study with all that its runs recorded, in one transaction; one that is there is replaced.

        Its artifacts are known by name and not listed in the catalog: their weights are not here.
        """
        with self._db.write() as connection:
            _delete(connection)
            _mark_offered(connection)
            known = set(connection.execute(sa.select(t.artifacts.c.id)).scalars())
            fresh = [artifact_row(artifact, forgotten=True) for artifact in whole.artifacts if artifact.id not in known]
            insert(connection, t.artifacts, fresh)
            study = {
                "id": SAMPLE,
                "spec": whole.study.spec.model_dump(mode="json"),
                "rerun_disturbed": False,
                "created_at": whole.study.created_at,
            }
            connection.execute(sa.insert(t.studies).values(study))
            _insert_hosts(connection, whole.runs)
            last = int(connection.execute(sa.select(sa.func.max(t.runs.c.position))).scalar() or 0)
            insert_runs(connection, [_run_row(run, position) for position, run in enumerate(whole.runs, last + 1)])
            insert(connection, t.study_runs, [{"study_id": SAMPLE, "run_id": one.run.id} for one in whole.runs])
            for one in whole.runs:
                insert_records(connection, one)
            self._changed(connection)
        return self.study(SAMPLE)

    def remove_sample(self) -> bool:
        """Delete the sample study with all that belongs to it alone; whether it was there. It is not offered again."""
        with self._db.write() as connection:
            _mark_offered(connection)
            found = _delete(connection)
            self._changed(connection)
        return found

    def sample_offered(self) -> bool:
        """Whether the sample study was ever added or removed: then it does not come by itself."""
        with self._db.read() as connection:
            return bool(connection.execute(sa.select(t.meta.c.value).where(t.meta.c.name == _OFFERED)).scalar())

    def sample(self) -> SampleFacts | None:
        """Where and when the sample study was measured; None where it is not there."""
        runs = [run for run in self.runs(SAMPLE) if run.host is not None and run.finished_at is not None]
        if not runs:
            return None
        last = max(runs, key=lambda run: (run.finished_at, run.id))
        with self._db.read() as connection:
            own = connection.execute(sa.select(sa.exists().where(is_own(t.runs)))).scalar_one()
        return SampleFacts.model_validate({"host": last.host, "measured_at": last.finished_at, "alone": not own})


def _mark_offered(connection: Connection) -> None:
    where = t.meta.c.name == _OFFERED
    if connection.execute(sa.update(t.meta).where(where).values(value=1)).rowcount == 0:
        connection.execute(sa.insert(t.meta).values(name=_OFFERED, value=1))


def _delete(connection: Connection) -> bool:
    """Delete the sample; of artifacts and machines, those that nothing else refers to."""
    mine = t.runs.c.device == SAMPLE
    artifacts = list(connection.execute(sa.select(t.runs.c.artifact_id).where(mine).distinct()).scalars())
    connection.execute(sa.delete(t.runs).where(mine))
    found = connection.execute(sa.delete(t.studies).where(t.studies.c.id == SAMPLE)).rowcount > 0
    used = sa.exists().where(t.runs.c.artifact_id == t.artifacts.c.id)
    unused = sa.and_(t.artifacts.c.id.in_(artifacts), t.artifacts.c.forgotten.is_(True), ~used)
    connection.execute(sa.delete(t.artifacts).where(unused))
    connection.execute(sa.delete(t.hosts).where(~sa.exists().where(t.runs.c.host_id == t.hosts.c.id)))
    return found


def _insert_hosts(connection: Connection, runs: Sequence[WholeRun]) -> None:
    documents = [run.run.host.model_dump(mode="json") for run in runs if run.run.host is not None]
    known = set(connection.execute(sa.select(t.hosts.c.id)).scalars())
    rows = {content_id(document, 64): document for document in documents}
    insert(connection, t.hosts, [{"id": key, "document": rows[key]} for key in rows if key not in known])


def _run_row(whole: WholeRun, position: int) -> dict[str, Any]:
    """The row of a run that is over, but for its number."""
    run = whole.run
    spec = run.spec.model_copy(update={"device": SAMPLE})
    return new_run(spec, position, rerun_of=run.rerun_of) | {
        "id": run.id,
        "state": run.state.value,
        "progress": 1.0,
        "attempt": run.attempt,
        "created_at": run.created_at,
        "started_at": run.started_at,
        "finished_at": run.finished_at,
        "reason": run.reason,
        "log_tail": run.log_tail,
        "disturbed": run.disturbed,
        "disturbances": list(run.disturbances),
        "host_id": None if run.host is None else content_id(run.host, 64),
        "engine_info": dict(run.engine_info),
    }

"""The sample study: another machine's results, kept apart from the user's own by the device that its runs name.

A worker claims runs of its own device only, a run of another device has another fingerprint, and readings of all
studies leave that device out: so nothing of the sample is measured again, reused or mixed with what was measured here.
"""

from __future__ import annotations

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from trilemma.records import SAMPLE, SampleFacts, StudyRecord, WholeStudy
from trilemma.store import tables as t
from trilemma.store.artifacts import artifact_row
from trilemma.store.deletion import delete_unused_hosts
from trilemma.store.studies import StudyStore, in_study, insert_runs, is_own
from trilemma.store.whole import ended_run, insert, insert_hosts, insert_records

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
            insert_hosts(connection, whole.runs)
            last = int(connection.execute(sa.select(sa.func.max(t.runs.c.position))).scalar() or 0)
            rows = [ended_run(run, position, SAMPLE) for position, run in enumerate(whole.runs, last + 1)]
            insert_runs(connection, rows)
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
        return self.origin(SAMPLE)

    def origin(self, study_id: str | None) -> SampleFacts | None:
        """Where and when the sample study or an imported one was measured; None of a study of the user's own.

        Without ``study_id``, of what the readings of all studies show: None where that is the user's own.
        """
        if study_id is None:
            imported = [one for one in self.foreign_studies() if one != SAMPLE]
            return None if self._any(is_own(t.runs)) else self.origin(imported[0] if imported else SAMPLE)
        known = sa.and_(t.runs.c.host_id.is_not(None), t.runs.c.finished_at.is_not(None))
        last = self._last_run(sa.and_(in_study(study_id), ~is_own(t.runs), known))
        if last is None:
            return None
        alone = not self._any(t.runs.c.device != SAMPLE)
        facts = {"host": last.host, "measured_at": last.finished_at, "alone": alone}
        return SampleFacts.model_validate(facts | {"imported": study_id != SAMPLE})

    def _any(self, condition: sa.ColumnElement[bool]) -> bool:
        with self._db.read() as connection:
            return bool(connection.execute(sa.select(sa.exists().where(condition))).scalar_one())

    def foreign_studies(self) -> list[str]:
        """The ids of the studies with runs that were not measured here: the sample study and imported ones."""
        query = sa.select(t.study_runs.c.study_id).join(t.runs).where(~is_own(t.runs)).distinct()
        with self._db.read() as connection:
            return sorted(connection.execute(query).scalars())


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
    delete_unused_hosts(connection)
    return found

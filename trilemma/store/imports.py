"""Studies out of other tools' files: kept apart from what was measured here by the devices that their runs name.

No worker claims runs of these devices, they are never reused, and the queue does not list them. Explore shows them
beside those that were measured here, each figure marked as imported.
"""

from __future__ import annotations

import sqlalchemy as sa

from trilemma.records import RunRecord, StudyRecord, WholeStudy
from trilemma.store import tables as t
from trilemma.store.artifacts import artifact_row
from trilemma.store.studies import StudyStore, insert_runs
from trilemma.store.whole import ended_run, insert, insert_hosts, insert_records


class ImportStore(StudyStore):
    """Imported studies, each with an id that follows from its file."""

    def add_import(self, whole: WholeStudy) -> tuple[StudyRecord, bool]:
        """Add an imported study with its runs in one transaction, unless the same was imported before.

        Its weights are known by name and not listed in the catalog; weights that are there already stay as they are.

        Returns:
            The study, and whether it was added now.
        """
        study_id = whole.study.id
        with self._db.write(durable=True) as connection:
            if connection.execute(sa.select(t.studies.c.id).where(t.studies.c.id == study_id)).scalar() is None:
                known = set(connection.execute(sa.select(t.artifacts.c.id)).scalars())
                fresh = {artifact.id: artifact for artifact in whole.artifacts if artifact.id not in known}
                insert(connection, t.artifacts, [artifact_row(one, forgotten=True) for one in fresh.values()])
                values = {
                    "id": study_id,
                    "spec": whole.study.spec.model_dump(mode="json"),
                    "rerun_disturbed": False,
                    "created_at": whole.study.created_at,
                    "created_by": self._by,
                }
                connection.execute(sa.insert(t.studies).values(values))
                insert_hosts(connection, whole.runs)
                last = int(connection.execute(sa.select(sa.func.max(t.runs.c.position))).scalar() or 0)
                rows = [ended_run(one, at, one.run.spec.device) for at, one in enumerate(whole.runs, last + 1)]
                insert_runs(connection, rows)
                insert(connection, t.study_runs, [{"study_id": study_id, "run_id": row["id"]} for row in rows])
                for run in whole.runs:
                    insert_records(connection, run)
                self._changed(connection)
                added = True
            else:
                added = False
        return self.study(study_id), added

    def all_runs(self) -> list[RunRecord]:
        """The user's own runs, and after them those out of other tools' files."""
        studies = [study.id for study in reversed(self.studies()) if study.imported]
        imported = {run.id: run for study_id in studies for run in self.runs(study_id) if run.imported}
        return [*self.runs(), *imported.values()]
